/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <errno.h>
#include <stddef.h>

/*
 * Room for one more than *count* items behind *items*, of which *allocated* were allocated: both
 * are changed where the array has to become larger, by as many again. 0 or -ENOMEM,
 * and nothing is changed. What is added lies at (*items)[count] and is nothing yet.
 */
#define memory_make_room(items, count, allocated)                               \
	({                                                                      \
		void *roomy_items = memory_grow(*(items), (count), (allocated), \
						sizeof(__typeof__(**(items)))); \
                                                                                \
		if (roomy_items)                                                \
			*(items) = roomy_items;                                 \
		roomy_items ? 0 : -ENOMEM;                                      \
	})
/* What it stands on: *items*, or in their place a larger array; NULL. */
void *memory_grow(void *items, size_t count, size_t *allocated, size_t size);

/* Room for *size* bytes that will all be used, at the beginning of a page; NULL. The kernel may
 * make it of large pages: one fault then does for 512. free() it. */
void *memory_new_large(size_t size);
