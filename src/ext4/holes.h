/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/* Ranges of a file that were holes before they were written to, so that they can be again. */
struct hole;

struct holes {
	struct hole *items;
	size_t count;
	size_t allocated;
};

/* What of *size* bytes from *offset* on is a hole now. Where that cannot be told, nothing is. 0 or
 * -ENOMEM. */
must_check int holes_note(struct holes *holes, int fd, uint64_t offset, uint64_t size);
/* Makes holes of all of them, as far as the file system can. */
void holes_punch(const struct holes *holes, int fd);
void holes_done(struct holes *holes);
