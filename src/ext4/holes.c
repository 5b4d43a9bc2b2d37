/* SPDX-License-Identifier: Apache-2.0 */

/* Ranges that follow each other are kept as one: content comes in order. */

#include "ext4/holes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"

struct hole {
	uint64_t begin;
	uint64_t end;
};

static int add(struct holes *holes, uint64_t begin, uint64_t end)
{
	if (holes->count > 0 && holes->items[holes->count - 1].end == begin) {
		holes->items[holes->count - 1].end = end;
		return 0;
	}
	if (memory_make_room(&holes->items, holes->count, &holes->allocated) < 0)
		return -ENOMEM;
	holes->items[holes->count++] = (struct hole){.begin = begin, .end = end};
	return 0;
}

int holes_note(struct holes *holes, int fd, uint64_t offset, uint64_t size)
{
	uint64_t end = offset + size;
	int r = 0;

	while (r == 0 && offset < end) {
		off_t data = lseek(fd, (off_t)offset, SEEK_DATA);
		uint64_t hole_end = data < 0 ? end : MIN((uint64_t)data, end);

		/* ENXIO: there is no more data. */
		if (data < 0 && errno != ENXIO)
			return 0;
		if (hole_end > offset)
			r = add(holes, offset, hole_end);
		if (hole_end == end)
			return r;
		data = lseek(fd, (off_t)hole_end, SEEK_HOLE);
		if (data < 0 || (uint64_t)data <= offset)
			return r;
		offset = (uint64_t)data;
	}
	return r;
}

void holes_punch(const struct holes *holes, int fd)
{
	for (size_t i = 0; i < holes->count; i++) {
		const struct hole *hole = &holes->items[i];

		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)hole->begin,
			      (off_t)(hole->end - hole->begin)) < 0)
			return;
	}
}

void holes_done(struct holes *holes)
{
	free(holes->items);
	*holes = (struct holes){0};
}
