/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/* Ranges of a file that were holes before they were written to, so that they can be again. */
struct hole;

struct holes {
	struct hole *items;
	size_t count;
	size_t allocated;
	bool is_new; /* there is more than was stored */
};

/* What of *size* bytes from *offset* on is a hole now. Where that cannot be told, nothing is. 0 or
 * -ENOMEM. */
must_check int holes_note(struct holes *holes, int fd, uint64_t offset, uint64_t size);
/* Makes holes of all of them, as far as the file system can. */
void holes_punch(const struct holes *holes, int fd);
void holes_done(struct holes *holes);

must_check int holes_add(struct holes *holes, uint64_t begin, uint64_t end);
void holes_get(const struct holes *holes, size_t i, uint64_t *ret_begin, uint64_t *ret_end);

/* For whoever comes after a process that was killed: what fits into HOLES_SIZE bytes of *fd*, if it
 * is not there yet; a number, and as many pairs of begin and end, of 8 bytes each, little-endian.
 * 0 or -errno. */
#define HOLES_SIZE 2048U
must_check int holes_store(struct holes *holes, int fd, uint64_t offset);
/* What is not such a list is none. 0 or -errno. */
must_check int holes_load(int fd, uint64_t offset, struct holes *ret);
