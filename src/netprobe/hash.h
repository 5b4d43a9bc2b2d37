/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <sodium/crypto_shorthash.h>
#include <sodium/randombytes.h>
#include <stddef.h>
#include <stdint.h>

/* SipHash, for tables whose keys somebody else chooses: addresses and ports, above all. Nobody who
 * does not know the key makes them collide. */

struct hash_key {
	uint8_t bytes[crypto_shorthash_KEYBYTES];
};

static inline struct hash_key hash_key_new(void)
{
	struct hash_key key;

	randombytes_buf(key.bytes, sizeof(key.bytes));
	return key;
}

static inline uint64_t hash_of(const struct hash_key *key, const void *data, size_t size)
{
	uint64_t hash = 0;

	(void)crypto_shorthash((uint8_t *)&hash, data, size, key->bytes);
	return hash;
}
