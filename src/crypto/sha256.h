/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <sodium.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/* SHA-256, the digest of other people's formats (OCI); ours is digest.h. */
#define SHA256_SIZE      32U
#define SHA256_TEXT_SIZE (SHA256_SIZE * 2 + 1)

/* Zero-initialised, or begun; sha256_done() takes both. */
struct sha256 {
	void *context; /* libcrypto's, or NULL */
	crypto_hash_sha256_state plain;
};

/* 0 or -ENOMEM. What was begun before is forgotten. */
must_check int sha256_begin(struct sha256 *hash);
void sha256_add(struct sha256 *hash, const void *data, size_t size);
/* Lower-case hexadecimal; the state is done then. */
void sha256_end(struct sha256 *hash, char ret_text[SHA256_TEXT_SIZE]);
void sha256_done(struct sha256 *hash);
#define cleanup_sha256 CLEANUP(sha256_done)

/* Of *size* bytes at once. 0 or -ENOMEM. */
must_check int sha256_of(const void *data, size_t size, char ret_text[SHA256_TEXT_SIZE]);
/* Of all bytes of a file, whatever its position. 0 or -errno. */
must_check int sha256_of_fd(int fd, char ret_text[SHA256_TEXT_SIZE], uint64_t *ret_size);
