/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What was written is to be read from the disk, and not from the kernel's memory of it. The kernel
 * is told to forget it, and asked for all of it before any of it is looked at: a disk answers many
 * questions in the time of one. What lies scattered is asked for by its own pages, or a hundred
 * times as much would be read.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "ext4/redo.h"
#include "ext4/redo_private.h"

/* The kernel forgets only what it holds together: of a file that was just read or written from its
 * beginning to its end, that is as much as a page of page tables leads to. */
#define HELD_PAGES 512U

static uint64_t page_size(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

static void round_out(uint64_t unit, struct redo_range *range)
{
	range->begin -= range->begin % unit;
	range->end += unit - 1 - (range->end - 1) % unit;
}

void redo_ranges_done(struct redo_ranges *ranges)
{
	free(ranges->items);
	*ranges = (struct redo_ranges){0};
}

/* Whether *next* goes on where *range* is, which has it then. */
static bool join(struct redo_range *range, const struct redo_range *next)
{
	if (next->begin < range->begin || next->begin > range->end ||
	    next->is_direct != range->is_direct)
		return false;
	range->end = MAX(range->end, next->end);
	return true;
}

int redo_ranges_add(struct redo_ranges *ranges, uint64_t offset, uint64_t size, bool is_direct)
{
	struct redo_range range = {offset, offset + size, is_direct};

	if (size == 0)
		return 0;
	round_out(page_size(), &range);
	if (ranges->count > 0 && join(&ranges->items[ranges->count - 1], &range))
		return 0;
	if (memory_make_room(&ranges->items, ranges->count, &ranges->allocated) < 0)
		return -ENOMEM;
	ranges->items[ranges->count++] = range;
	return 0;
}

static void advise(int fd, const struct redo_range *range, int advice)
{
	(void)posix_fadvise(fd, (off_t)range->begin, (off_t)(range->end - range->begin), advice);
}

void redo_forget(int fd, uint64_t offset, uint64_t size)
{
	struct redo_range range = {offset, offset + size, false};

	round_out(HELD_PAGES * page_size(), &range);
	advise(fd, &range, POSIX_FADV_DONTNEED);
}

void redo_ranges_fetch(struct redo_ranges *ranges, int fd)
{
	const uint64_t held_size = HELD_PAGES * page_size();
	size_t n = ranges->count;

	ranges->count = 0;
	for (size_t i = 0; i < n;) {
		struct redo_range held = ranges->items[i];

		round_out(held_size, &held);
		for (i++; i < n; i++) {
			struct redo_range next = ranges->items[i];

			round_out(held_size, &next);
			if (!join(&held, &next))
				break;
		}
		if (!held.is_direct)
			advise(fd, &held, POSIX_FADV_DONTNEED);
	}
	for (size_t i = 0; i < n; i++) {
		if (!ranges->items[i].is_direct)
			advise(fd, &ranges->items[i], POSIX_FADV_WILLNEED);
	}
}
