/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <sodium.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/* BLAKE2b-512, unkeyed: what `b2sum FILE` prints and what a minisign signature covers. The one
 * digest we use. */
#define DIGEST_SIZE      64U
#define DIGEST_TEXT_SIZE (DIGEST_SIZE * 2 + 1)

struct digest {
	uint8_t bytes[DIGEST_SIZE];
};

#define DIGEST_INIT     \
	(struct digest) \
	{               \
	}

struct digest_state {
	crypto_generichash_blake2b_state blake2b;
};

void digest_begin(struct digest_state *state);
void digest_add(struct digest_state *state, const void *data, size_t size);
void digest_end(struct digest_state *state, struct digest *ret);

/* The digest of *size* bytes at once. */
void digest_of(const void *data, size_t size, struct digest *ret);

/* The digest of what *fd* holds from offset 0 to its end (pread, the position does not move).
 * -errno. */
must_check int digest_of_fd(int fd, struct digest *ret, uint64_t *ret_size);

bool digest_is_equal(const struct digest *a, const struct digest *b);

/* Lower-case hexadecimal. */
void digest_to_string(const struct digest *digest, char text[DIGEST_TEXT_SIZE]);
/* 0, or -EINVAL for anything but 128 lower-case hexadecimal digits. */
must_check int digest_from_string(const char *text, struct digest *ret);
