/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/*
 * Numbers for things, so that somebody else can name them after they are gone: a number is given
 * once only (until 2^24 things had the same place), fits in 48 bits and is never 0.
 */
struct slot {
	void *item;
	uint32_t turn; /* how often the place was used */
	uint32_t next_free;
};

struct slots {
	struct slot *slots;
	uint32_t count;    /* places that exist */
	uint32_t used;     /* items that there are */
	uint32_t free_one; /* 1 + the first free place, 0 for none */
};

#define SLOTS_INIT     \
	(struct slots) \
	{              \
	}

/* Borrows *item*, which is not NULL. 0 or -ENOMEM. */
must_check int slots_add(struct slots *slots, void *item, uint64_t *ret_number);
/* NULL: nothing has that number any more. */
void *slots_get(const struct slots *slots, uint64_t number);
/* Forgets it; nothing happens if nothing has that number. */
void slots_remove(struct slots *slots, uint64_t number);
/* The item in the place *index* < count, or NULL. */
void *slots_at(const struct slots *slots, uint32_t index);
void slots_done(struct slots *slots);
