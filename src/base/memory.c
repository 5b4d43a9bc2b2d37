/* SPDX-License-Identifier: Apache-2.0 */

/* Memory that is new has no pages yet. To get one at each first touch takes longer than to fill it:
 * a quarter of the time of reading a bundle was that. */

#include "base/memory.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/cleanup.h"

#define ITEMS_MIN ((size_t)64)

#define LARGE_PAGE (2UL << 20) /* of most machines; on others it is no help */

void *memory_new_large(size_t size)
{
	size_t whole = (size + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
	void *room = whole >= size ? aligned_alloc(LARGE_PAGE, whole) : NULL;

	if (room)
		(void)madvise(room, whole, MADV_HUGEPAGE);
	return room;
}

void *memory_grow(void *items, size_t count, size_t *allocated, size_t size)
{
	size_t n = MAX(*allocated + *allocated, ITEMS_MIN);
	size_t bytes = 0;
	void *larger;

	if (count < *allocated)
		return items;
	if (n <= count || __builtin_mul_overflow(n, size, &bytes))
		return NULL;
	larger = realloc(items, bytes);
	if (larger)
		*allocated = n;
	return larger;
}
