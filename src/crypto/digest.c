/* SPDX-License-Identifier: Apache-2.0 */

/* BLAKE2b-512 through libsodium. */

#include "crypto/digest.h"

#include <errno.h>
#include <string.h>

#include "base/fd.h"

/* Large enough that the system call is no cost, small enough to stay in the cache. */
#define CHUNK_SIZE (128UL * 1024)

void digest_begin(struct digest_state *state)
{
	(void)crypto_generichash_blake2b_init(&state->blake2b, NULL, 0, DIGEST_SIZE);
}

void digest_add(struct digest_state *state, const void *data, size_t size)
{
	(void)crypto_generichash_blake2b_update(&state->blake2b, data, size);
}

void digest_end(struct digest_state *state, struct digest *ret)
{
	(void)crypto_generichash_blake2b_final(&state->blake2b, ret->bytes, DIGEST_SIZE);
}

void digest_of(const void *data, size_t size, struct digest *ret)
{
	struct digest_state state;

	digest_begin(&state);
	digest_add(&state, data, size);
	digest_end(&state, ret);
}

int digest_of_fd(int fd, struct digest *ret, uint64_t *ret_size)
{
	cleanup_free char *chunk = malloc(CHUNK_SIZE);
	struct digest_state state;
	uint64_t offset = 0;

	if (!chunk)
		return -ENOMEM;
	digest_begin(&state);
	for (;;) {
		size_t n = 0;
		int r = fd_pread_full(fd, chunk, CHUNK_SIZE, offset, &n);

		if (r < 0)
			return r;
		if (n == 0)
			break;
		digest_add(&state, chunk, n);
		offset += n;
	}
	digest_end(&state, ret);
	if (ret_size)
		*ret_size = offset;
	return 0;
}

bool digest_is_equal(const struct digest *a, const struct digest *b)
{
	return sodium_memcmp(a->bytes, b->bytes, DIGEST_SIZE) == 0;
}

void digest_to_string(const struct digest *digest, char text[DIGEST_TEXT_SIZE])
{
	(void)sodium_bin2hex(text, DIGEST_TEXT_SIZE, digest->bytes, DIGEST_SIZE);
}

int digest_from_string(const char *text, struct digest *ret)
{
	struct digest digest;
	size_t size = 0;

	if (strspn(text, "0123456789abcdef") != DIGEST_TEXT_SIZE - 1 ||
	    text[DIGEST_TEXT_SIZE - 1] != '\0')
		return -EINVAL;
	if (sodium_hex2bin(digest.bytes, DIGEST_SIZE, text, DIGEST_TEXT_SIZE - 1, NULL, &size,
			   NULL) != 0 ||
	    size != DIGEST_SIZE)
		return -EINVAL;
	*ret = digest;
	return 0;
}
