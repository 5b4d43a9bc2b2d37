/* SPDX-License-Identifier: Apache-2.0 */

/* Ranges that follow each other are kept as one: content comes in order. */

#include "ext4/holes.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"

#define STORED_MAX ((HOLES_SIZE / sizeof(uint64_t) - 1) / 2)

#include "base/memory.h"

struct hole {
	uint64_t begin;
	uint64_t end;
};

int holes_add(struct holes *holes, uint64_t begin, uint64_t end)
{
	holes->is_new = true;
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
			r = holes_add(holes, offset, hole_end);
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

void holes_get(const struct holes *holes, size_t i, uint64_t *ret_begin, uint64_t *ret_end)
{
	*ret_begin = holes->items[i].begin;
	*ret_end = holes->items[i].end;
}

int holes_store(struct holes *holes, int fd, uint64_t offset)
{
	uint64_t words[HOLES_SIZE / sizeof(uint64_t)] = {0};
	size_t n = MIN(holes->count, STORED_MAX);

	if (!holes->is_new)
		return 0;
	holes->is_new = false;
	words[0] = htole64(n);
	for (size_t i = 0; i < n; i++) {
		words[1 + 2 * i] = htole64(holes->items[i].begin);
		words[2 + 2 * i] = htole64(holes->items[i].end);
	}
	return fd_pwrite_full(fd, words, sizeof(words), offset);
}

int holes_load(int fd, uint64_t offset, struct holes *ret)
{
	uint64_t words[HOLES_SIZE / sizeof(uint64_t)] = {0};
	size_t size = 0;
	int r = fd_pread_full(fd, words, sizeof(words), offset, &size);
	uint64_t n = le64toh(words[0]);

	if (r < 0 || size < sizeof(words) || n > STORED_MAX)
		return r;
	for (uint64_t i = 0; r == 0 && i < n; i++) {
		uint64_t begin = le64toh(words[1 + 2 * i]);
		uint64_t end = le64toh(words[2 + 2 * i]);

		if (begin < end)
			r = holes_add(ret, begin, end);
	}
	return r;
}
