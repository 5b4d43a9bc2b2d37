/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Two hash tables of chains (all flows by socket and peer, and the first of the peers of each
 * socket) and one list by last use. Tables double when they are as full as they have places, and
 * never before a flow asks for it: an idle host costs nothing.
 */

#include "netprobe/flow_table.h"

#include <string.h>

#include "netprobe/hash.h"

#define FIRST_PLACES 256U

struct flow_table {
	struct flow_entry **flows; /* by socket and peer */
	struct flow_entry **peers; /* by socket: every flow with a peer */
	uint32_t places;           /* of both; a power of two */
	uint32_t size, max;
	struct hash_key key;
	struct flow_entry *oldest, *newest;
};

static const struct flow_peer no_peer;

static uint32_t place_of(const struct flow_table *table, uint64_t cookie,
			 const struct flow_peer *peer)
{
	uint64_t words[4] = {cookie, [3] = peer->port};

	memcpy(&words[1], peer->address, sizeof(peer->address));
	return (uint32_t)hash_of(&table->key, words, sizeof(words)) & (table->places - 1);
}

static uint32_t place_of_socket(const struct flow_table *table, uint64_t cookie)
{
	return (uint32_t)hash_of(&table->key, &cookie, sizeof(cookie)) & (table->places - 1);
}

static struct flow_peer peer_of(const struct flow_entry *entry)
{
	struct flow_peer peer = no_peer;

	if (entry->is_peer) {
		memcpy(peer.address, entry->remote, sizeof(peer.address));
		peer.port = entry->remote_port;
	}
	return peer;
}

struct flow_table *flow_table_new(uint32_t max)
{
	struct flow_table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->places = FIRST_PLACES;
	table->max = max;
	table->key = hash_key_new();
	table->flows = calloc(FIRST_PLACES, sizeof(struct flow_entry *));
	table->peers = calloc(FIRST_PLACES, sizeof(struct flow_entry *));
	return table->flows && table->peers ? table : flow_table_free(table);
}

struct flow_table *flow_table_free(struct flow_table *table)
{
	struct flow_entry *following;

	if (!table)
		return NULL;
	for (struct flow_entry *entry = table->oldest; entry; entry = following) {
		following = entry->after;
		free(entry);
	}
	free(table->flows);
	free(table->peers);
	free(table);
	return NULL;
}

uint32_t flow_table_size(const struct flow_table *table)
{
	return table->size;
}

struct flow_entry *flow_table_find(const struct flow_table *table, uint64_t cookie,
				   const struct flow_peer *peer)
{
	const struct flow_peer *key = peer ? peer : &no_peer;
	struct flow_entry *entry = table->flows[place_of(table, cookie, key)];

	for (; entry; entry = entry->next) {
		if (entry->cookie != cookie || entry->is_peer != !!peer)
			continue;
		if (!peer || (entry->remote_port == peer->port &&
			      memcmp(entry->remote, peer->address, sizeof(peer->address)) == 0))
			return entry;
	}
	return NULL;
}

struct flow_entry *flow_table_find_peer(const struct flow_table *table, uint64_t cookie)
{
	struct flow_entry *entry = table->peers[place_of_socket(table, cookie)];

	while (entry && entry->cookie != cookie)
		entry = entry->next_peer;
	return entry;
}

static void hang(struct flow_table *table, struct flow_entry *entry)
{
	struct flow_peer peer = peer_of(entry);
	struct flow_entry **place = &table->flows[place_of(table, entry->cookie, &peer)];

	entry->next = *place;
	*place = entry;
	if (!entry->is_peer)
		return;
	place = &table->peers[place_of_socket(table, entry->cookie)];
	entry->previous_peer = NULL;
	entry->next_peer = *place;
	if (*place)
		(*place)->previous_peer = entry;
	*place = entry;
}

/* Without memory the chains get longer, and nothing else is worse. */
static void grow(struct flow_table *table)
{
	uint32_t places = table->places * 2;
	struct flow_entry **flows = calloc(places, sizeof(struct flow_entry *));
	struct flow_entry **peers = calloc(places, sizeof(struct flow_entry *));

	if (!flows || !peers) {
		free(flows);
		free(peers);
		return;
	}
	free(table->flows);
	free(table->peers);
	table->flows = flows;
	table->peers = peers;
	table->places = places;
	for (struct flow_entry *entry = table->oldest; entry; entry = entry->after)
		hang(table, entry);
}

static void append(struct flow_table *table, struct flow_entry *entry)
{
	entry->before = table->newest;
	entry->after = NULL;
	if (table->newest)
		table->newest->after = entry;
	else
		table->oldest = entry;
	table->newest = entry;
}

static void unlink_use(struct flow_table *table, struct flow_entry *entry)
{
	if (entry->before)
		entry->before->after = entry->after;
	else
		table->oldest = entry->after;
	if (entry->after)
		entry->after->before = entry->before;
	else
		table->newest = entry->before;
}

struct flow_entry *flow_table_add(struct flow_table *table, uint64_t cookie,
				  const struct flow_peer *peer)
{
	struct flow_entry *entry;

	if (flow_table_is_full(table))
		return NULL;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return NULL;
	if (table->size >= table->places)
		grow(table);
	entry->cookie = cookie;
	if (peer) {
		entry->is_peer = true;
		memcpy(entry->remote, peer->address, sizeof(entry->remote));
		entry->remote_port = peer->port;
	}
	hang(table, entry);
	append(table, entry);
	table->size++;
	return entry;
}

bool flow_table_is_full(const struct flow_table *table)
{
	return table->size >= table->max;
}

struct flow_entry *flow_table_oldest(const struct flow_table *table)
{
	return table->oldest;
}

struct flow_entry *flow_table_next(const struct flow_entry *entry)
{
	return entry->after;
}

static uint32_t reverse(uint32_t value)
{
	uint32_t reversed = 0;

	for (unsigned bit = 0; bit < 32; bit++)
		reversed |= (value >> bit & 1U) << (31 - bit);
	return reversed;
}

/* The cursor counts from its highest bit down: when the table has doubled, the two places that one
 * became are both behind it or both before it. */
bool flow_table_scan(const struct flow_table *table, uint32_t *cursor,
		     void (*each)(void *context, const struct flow_entry *entry), void *context)
{
	uint32_t mask = table->places - 1;

	for (const struct flow_entry *entry = table->flows[*cursor & mask]; entry;
	     entry = entry->next)
		each(context, entry);
	*cursor = reverse(reverse(*cursor | ~mask) + 1);
	return *cursor != 0;
}

void flow_table_touch(struct flow_table *table, struct flow_entry *entry)
{
	if (table->newest == entry)
		return;
	unlink_use(table, entry);
	append(table, entry);
}

void flow_table_remove(struct flow_table *table, struct flow_entry *entry)
{
	struct flow_peer peer = peer_of(entry);
	struct flow_entry **place = &table->flows[place_of(table, entry->cookie, &peer)];

	while (*place != entry)
		place = &(*place)->next;
	*place = entry->next;
	if (entry->is_peer) {
		if (entry->previous_peer)
			entry->previous_peer->next_peer = entry->next_peer;
		else
			table->peers[place_of_socket(table, entry->cookie)] = entry->next_peer;
		if (entry->next_peer)
			entry->next_peer->previous_peer = entry->previous_peer;
	}
	unlink_use(table, entry);
	table->size--;
	free(entry);
}
