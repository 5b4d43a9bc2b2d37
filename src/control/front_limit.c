/* SPDX-License-Identifier: Apache-2.0 */

/* Counting of connections by address: a tree of those that have any open. */

#include "control/front_limit.h"

#include <errno.h>
#include <netinet/in.h>
#include <search.h>
#include <string.h>

#define ADDRESS_SIZE     16U
#define V6_NETWORK_BYTES 8U
#define TOKEN_PARTS      1000U

struct limit_address {
	uint8_t bytes[ADDRESS_SIZE];
	unsigned connections;
	unsigned unproven;
};

static int compare(const void *a, const void *b)
{
	return memcmp(((const struct limit_address *)a)->bytes,
		      ((const struct limit_address *)b)->bytes, ADDRESS_SIZE);
}

static void set_bytes(uint8_t bytes[ADDRESS_SIZE], const struct sockaddr_storage *peer)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)peer;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)peer;

	if (peer->ss_family == AF_INET) {
		/* As an IPv4-mapped address, which is what a socket for both calls it. */
		bytes[10] = UINT8_MAX;
		bytes[11] = UINT8_MAX;
		memcpy(bytes + 12, &v4->sin_addr, sizeof(v4->sin_addr));
	} else if (peer->ss_family == AF_INET6) {
		memcpy(bytes, &v6->sin6_addr,
		       IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) ? ADDRESS_SIZE : V6_NETWORK_BYTES);
	}
}

int limit_take(struct limits *limits, const struct sockaddr_storage *peer,
	       struct limit_address **ret)
{
	cleanup_free struct limit_address *fresh = calloc(1, sizeof(*fresh));
	struct limit_address *address;
	void *node;

	if (!fresh)
		return -ENOMEM;
	set_bytes(fresh->bytes, peer);
	node = tsearch(fresh, &limits->tree, compare);
	if (!node)
		return -ENOMEM;
	address = *(struct limit_address **)node;
	if (address == fresh)
		ignore_result(TAKE_PTR(fresh));
	if (address->connections >= limits->connections_max ||
	    address->unproven >= limits->unproven_max)
		return 1;
	address->connections++;
	address->unproven++;
	*ret = address;
	return 0;
}

void limit_prove(struct limit_address *address)
{
	if (address)
		address->unproven--;
}

void limit_release(struct limits *limits, struct limit_address *address, bool is_proven)
{
	if (!address)
		return;
	address->connections--;
	if (!is_proven)
		address->unproven--;
	if (address->connections > 0)
		return;
	(void)tdelete(address, &limits->tree, compare);
	free(address);
}

bool limit_bucket_take(struct limit_bucket *bucket, uint64_t now, unsigned rate, unsigned burst)
{
	uint64_t back = (now - bucket->msec) * rate;

	/* A token a second is TOKEN_PARTS parts in a thousand milliseconds. */
	bucket->spent -= back < bucket->spent ? back : bucket->spent;
	bucket->msec = now;
	if (bucket->spent + TOKEN_PARTS > (uint64_t)burst * TOKEN_PARTS)
		return false;
	bucket->spent += TOKEN_PARTS;
	return true;
}
