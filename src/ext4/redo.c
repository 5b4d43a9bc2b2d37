/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The staging half of redo.h: an io_manager for libext2fs whose writes go to cells of the redo file
 * and whose reads find them there. libext2fs's own undo_io is the other way round, it changes the
 * image and keeps what was there, so that a killed writer leaves a broken image until somebody
 * knows to run e2undo; and its test_io and unix_io write where they are told.
 *
 * Cells are 1024 bytes, the smallest block that ext4 has and the superblock's place and size, so
 * that every write of libext2fs is whole cells. A cell is staged once; a later write goes over it.
 */

#include "ext4/redo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "ext4/redo_private.h"

#define MAP_SIZE_MIN 1024U
#define AHEAD_FIRST  32768UL
#define AHEAD_SIZE   262144UL
#define FLUSH_MIN    65536U /* less is left to the sync */
#define SMALL_SIZE   262144UL
#define DIRECT_MIN   65536U

static size_t hash(uint64_t cell, size_t map_size)
{
	/* Fibonacci hashing: neighbours are spread. */
	return (size_t)((cell * 0x9e3779b97f4a7c15ULL) >> 20) & (map_size - 1);
}

/* Where the map has *cell*, or the empty place where it belongs. */
static uint32_t *find_place(const struct redo *redo, uint64_t cell)
{
	size_t i = hash(cell, redo->map_size);

	while (redo->map[i] != 0 && redo->cells[redo->map[i] - 1] != cell)
		i = (i + 1) & (redo->map_size - 1);
	return &redo->map[i];
}

static int grow_map(struct redo *redo)
{
	size_t size = MAX(redo->map_size * 2, (size_t)MAP_SIZE_MIN);
	uint32_t *larger = calloc(size, sizeof(*larger));

	if (!larger)
		return -ENOMEM;
	free(redo->map);
	redo->map = larger;
	redo->map_size = size;
	for (size_t i = 0; i < redo->n_cells; i++)
		*find_place(redo, redo->cells[i]) = (uint32_t)i + 1;
	return 0;
}

static int grow_cells(struct redo *redo)
{
	size_t n = MAX(redo->n_allocated * 2, (size_t)MAP_SIZE_MIN);
	uint64_t *larger;

	if (redo->n_cells >= REDO_CELLS_MAX)
		return -EFBIG;
	larger = reallocarray(redo->cells, n, sizeof(*larger));
	if (!larger)
		return -ENOMEM;
	redo->cells = larger;
	redo->n_allocated = n;
	return 0;
}

/* The index of *cell* among the staged ones, or -1. */
static int64_t find_cell(const struct redo *redo, uint64_t cell)
{
	return redo->map_size > 0 ? (int64_t)*find_place(redo, cell) - 1 : -1;
}

bool redo_has_cell(const struct redo *redo, uint64_t cell)
{
	return find_cell(redo, cell) >= 0;
}

static int add_cell(struct redo *redo, uint64_t cell, int64_t *ret)
{
	int r = 0;

	*ret = find_cell(redo, cell);
	if (*ret >= 0)
		return 0;
	if (redo->n_cells == redo->n_allocated)
		r = grow_cells(redo);
	if (r == 0 && redo->n_cells * 2 >= redo->map_size)
		r = grow_map(redo);
	if (r < 0)
		return r;
	redo->cells[redo->n_cells] = cell;
	*ret = (int64_t)redo->n_cells++;
	*find_place(redo, cell) = (uint32_t)*ret + 1;
	return 0;
}

static uint64_t staged_offset(int64_t index)
{
	return REDO_HEADER_SIZE + (uint64_t)index * REDO_CELL_SIZE;
}

static bool is_inside(const struct redo *redo, uint64_t position, uint64_t size)
{
	return position <= redo->place.size && size <= redo->place.size - position;
}

/* How many of *n* cells from *cell* on lie in one piece: all staged in a row, or none staged. */
static size_t count_run(const struct redo *redo, uint64_t cell, size_t n, int64_t first)
{
	size_t run = 1;

	if (redo->map_size == 0)
		return n;
	while (run < n && find_cell(redo, cell + run) == (first >= 0 ? first + (int64_t)run : -1))
		run++;
	return run;
}

/* Past the staging, into the image. */
static int write_past(struct redo *redo, uint64_t position, const void *data, size_t size)
{
	uint64_t offset = redo->place.offset + position;
	int r;

	redo->is_unsettled = true;
	redo->ahead_size = 0;
	r = fd_pwrite_full(redo->image_fd, data, size, offset);
	/* The disk is at it while more is made: a hint, the sync to come says what went wrong. */
	if (r == 0 && size >= FLUSH_MIN)
		(void)sync_file_range(redo->image_fd, (off_t)offset, (off_t)size,
				      SYNC_FILE_RANGE_WRITE);
	return r;
}

static int flush_small(struct redo *redo)
{
	int r = 0;

	if (redo->small_size > 0)
		r = write_past(redo, redo->small_position, redo->small, redo->small_size);
	if (r == 0)
		redo->small_size = 0;
	return r;
}

/* Before the image is looked at there. */
static int flush_small_at(struct redo *redo, uint64_t position, size_t size)
{
	return position < redo->small_position + redo->small_size &&
			       redo->small_position < position + size
		       ? flush_small(redo)
		       : 0;
}

/* Small files lie side by side: they are written as one. Each write waits for whoever reads from
 * the disk just then. */
static int write_small(struct redo *redo, uint64_t position, const void *data, size_t size)
{
	bool goes_on = position == redo->small_position + redo->small_size;
	int r = 0;

	if (!redo->small)
		redo->small = malloc(SMALL_SIZE);
	if (!redo->small)
		return -ENOMEM;
	if (!goes_on || size > SMALL_SIZE - redo->small_size)
		r = flush_small(redo);
	if (r < 0)
		return r;
	if (redo->small_size == 0)
		redo->small_position = position;
	memcpy(redo->small + redo->small_size, data, size);
	redo->small_size += size;
	return 0;
}

/* Part of the image into memory, as much as there is. The more was wanted of what followed, the
 * more is taken: holes of a sparse image are filled with zeroes for it, and a disk reads for
 * nothing. */
static int fill_ahead(struct redo *redo, uint64_t position)
{
	bool goes_on = position == redo->ahead_position + redo->ahead_size;

	redo->ahead_next = goes_on ? MIN(redo->ahead_next * 2, AHEAD_SIZE) : AHEAD_FIRST;
	redo->ahead_size = 0;
	redo->ahead_position = position;
	return fd_pread_full(redo->image_fd, redo->ahead,
			     (size_t)MIN(redo->ahead_next, redo->place.size - position),
			     redo->place.offset + position, &redo->ahead_size);
}

/* Bytes of the image. libext2fs asks for block after block: what follows is read with it. */
static int read_image(struct redo *redo, uint64_t position, char *data, size_t size)
{
	bool is_next = position == redo->read_end;
	int r = flush_small_at(redo, position, size);

	redo->read_end = position + size;
	if (r < 0)
		return r;
	if (redo->ahead_size > 0 && position >= redo->ahead_position && size <= redo->ahead_size &&
	    position - redo->ahead_position <= redo->ahead_size - size) {
		memcpy(data, redo->ahead + (position - redo->ahead_position), size);
		return 0;
	}
	if (is_next && size <= AHEAD_FIRST && !redo->ahead)
		redo->ahead = malloc(AHEAD_SIZE);
	if (!is_next || size > AHEAD_FIRST || !redo->ahead)
		return redo_read_exactly(redo->image_fd, data, size, redo->place.offset + position);
	r = fill_ahead(redo, position);
	if (r < 0 || redo->ahead_size < size)
		return r < 0 ? r : -ENODATA;
	memcpy(data, redo->ahead, size);
	return 0;
}

static int read_cells(struct redo *redo, uint64_t cell, char *data, size_t n)
{
	while (n > 0) {
		int64_t index = find_cell(redo, cell);
		size_t run = count_run(redo, cell, n, index);
		int r;

		if (index >= 0)
			r = redo_read_exactly(redo->fd, data, run * REDO_CELL_SIZE,
					      staged_offset(index));
		else
			r = read_image(redo, cell * REDO_CELL_SIZE, data, run * REDO_CELL_SIZE);
		if (r < 0)
			return r;
		cell += run;
		data += run * REDO_CELL_SIZE;
		n -= run;
	}
	return 0;
}

static int write_cells(struct redo *redo, uint64_t cell, const char *data, size_t n)
{
	redo->is_prepared = false;
	while (n > 0) {
		int64_t first = 0;
		int64_t next = 0;
		size_t run = 1;
		int r = add_cell(redo, cell, &first);

		while (r == 0 && run < n) {
			r = add_cell(redo, cell + run, &next);
			if (r < 0 || next != first + (int64_t)run)
				break;
			run++;
		}
		if (r == 0)
			r = fd_pwrite_full(redo->fd, data, run * REDO_CELL_SIZE,
					   staged_offset(first));
		if (r < 0)
			return r;
		cell += run;
		data += run * REDO_CELL_SIZE;
		n -= run;
	}
	return 0;
}

int redo_read(struct redo *redo, uint64_t position, void *data, size_t size)
{
	uint64_t offset = position;
	char *bytes = data;

	if (!is_inside(redo, position, size))
		return -ERANGE;
	while (size > 0) {
		size_t skip = (size_t)(offset % REDO_CELL_SIZE);
		char cell[REDO_CELL_SIZE];
		size_t n = MIN(size, REDO_CELL_SIZE - skip);
		int r;

		if (skip == 0 && size >= REDO_CELL_SIZE) {
			n = size - size % REDO_CELL_SIZE;
			r = read_cells(redo, offset / REDO_CELL_SIZE, bytes, n / REDO_CELL_SIZE);
		} else {
			r = read_cells(redo, offset / REDO_CELL_SIZE, cell, 1);
			if (r == 0)
				memcpy(bytes, cell + skip, n);
		}
		if (r < 0)
			return r;
		bytes += n;
		offset += n;
		size -= n;
	}
	return 0;
}

int redo_write(struct redo *redo, uint64_t position, const void *data, size_t size)
{
	uint64_t offset = position;
	const char *bytes = data;

	if (redo->fd < 0 && !redo->is_direct)
		return -EROFS;
	if (!is_inside(redo, position, size))
		return -ERANGE;
	if (redo->is_direct)
		return write_past(redo, position, data, size);
	while (size > 0) {
		size_t skip = (size_t)(offset % REDO_CELL_SIZE);
		char cell[REDO_CELL_SIZE];
		size_t n = MIN(size, REDO_CELL_SIZE - skip);
		int r;

		if (skip == 0 && size >= REDO_CELL_SIZE) {
			n = size - size % REDO_CELL_SIZE;
			r = write_cells(redo, offset / REDO_CELL_SIZE, bytes, n / REDO_CELL_SIZE);
		} else {
			r = read_cells(redo, offset / REDO_CELL_SIZE, cell, 1);
			if (r == 0) {
				memcpy(cell + skip, bytes, n);
				r = write_cells(redo, offset / REDO_CELL_SIZE, cell, 1);
			}
		}
		if (r < 0)
			return r;
		bytes += n;
		offset += n;
		size -= n;
	}
	return 0;
}

/* Where something is staged already, in a block that had another use meanwhile, that would be found
 * instead. */
static bool is_staged(const struct redo *redo, uint64_t position, size_t size)
{
	for (uint64_t at = 0; at < size; at += REDO_CELL_SIZE) {
		if (redo_has_cell(redo, (position + at) / REDO_CELL_SIZE))
			return true;
	}
	return false;
}

static int note_written(struct redo *redo, uint64_t cell, const char *data, size_t n)
{
	redo->is_prepared = false;
	if (n > REDO_CELLS_MAX - redo->n_written)
		return -EFBIG;
	if (redo->n_written + n > redo->n_written_allocated) {
		size_t wanted = MAX(redo->n_written_allocated * 2, redo->n_written + n);
		struct redo_row *larger = reallocarray(redo->written, wanted, sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		redo->written = larger;
		redo->n_written_allocated = wanted;
	}
	for (size_t i = 0; i < n; i++)
		redo_table_set(&redo->written[redo->n_written++], cell + i,
			       data + i * REDO_CELL_SIZE);
	redo->is_rewritten = redo->is_rewritten || cell < redo->written_end;
	redo->written_end = MAX(redo->written_end, cell + n);
	return 0;
}

int redo_write_through(struct redo *redo, uint64_t position, const void *data, size_t size)
{
	int r;

	if (redo->is_direct)
		return redo_write(redo, position, data, size);
	if (redo->fd < 0)
		return -EROFS;
	if (!is_inside(redo, position, size))
		return -ERANGE;
	if (position % REDO_CELL_SIZE != 0 || size % REDO_CELL_SIZE != 0 ||
	    is_staged(redo, position, size))
		return redo_write(redo, position, data, size);
	/* First to the disk, which works while the checksums are made. */
	if (size < FLUSH_MIN)
		r = write_small(redo, position, data, size);
	else
		r = flush_small(redo);
	if (r == 0 && size >= FLUSH_MIN)
		r = write_past(redo, position, data, size);
	return r < 0 ? r
		     : note_written(redo, position / REDO_CELL_SIZE, data, size / REDO_CELL_SIZE);
}

int redo_note_holes(struct redo *redo, struct holes *holes)
{
	return redo->fd < 0 ? 0 : holes_store(holes, redo->fd, REDO_HOLES_OFFSET);
}

int redo_settle(struct redo *redo)
{
	int r = flush_small(redo);

	if (r < 0 || !redo->is_unsettled)
		return r;
	if (fdatasync(redo->image_fd) < 0)
		return -errno;
	redo->is_unsettled = false;
	return 0;
}

/* What is long enough is read by the disk itself: no page is taken for it, and none is copied. */
static bool can_go_direct(const struct redo *redo, uint64_t position, uint64_t size)
{
	return redo->direct_fd >= 0 && size % REDO_ALIGNMENT == 0 &&
	       (redo->place.offset + position) % REDO_ALIGNMENT == 0;
}

static bool goes_direct(const struct redo *redo, uint64_t position, uint64_t size)
{
	return size >= DIRECT_MIN && can_go_direct(redo, position, size);
}

int redo_want(struct redo *redo, uint64_t position, uint64_t size)
{
	return is_inside(redo, position, size)
		       ? redo_ranges_add(&redo->wanted, redo->place.offset + position, size,
					 goes_direct(redo, position, size))
		       : -ERANGE;
}

int redo_find_direct(struct redo *redo, uint64_t position, size_t size, uint64_t *ret_offset)
{
	*ret_offset = redo->place.offset + position;
	return is_inside(redo, position, size) && can_go_direct(redo, position, size) &&
			       !is_staged(redo, position, size) &&
			       flush_small_at(redo, position, size) == 0
		       ? redo->direct_fd
		       : -EBADF;
}

int redo_read_back(struct redo *redo, uint64_t position, void *data, size_t size)
{
	uint64_t offset = redo->place.offset + position;
	int r = -EINVAL;

	if (!is_inside(redo, position, size))
		return -ERANGE;
	if (!goes_direct(redo, position, size) || is_staged(redo, position, size))
		return redo_read(redo, position, data, size);
	if (!redo->refuses_direct)
		r = redo_read_exactly(redo->direct_fd, data, size, offset);
	if (r == 0)
		return 0;
	/* A disk or a file system of another kind; if the disk is broken, it says so once more. */
	redo->refuses_direct = true;
	redo_forget(redo->image_fd, offset, size);
	/* Nothing beyond it is brought ahead: that is not forgotten yet. */
	return redo_read_exactly(redo->image_fd, data, size, offset);
}

void redo_fetch(struct redo *redo)
{
	redo->ahead_size = 0;
	redo_ranges_fetch(&redo->wanted, redo->image_fd);
}

/* What an earlier process left is not committed: redo_finish() was there first. */
static int make_file(struct redo *redo)
{
	int r = path_open_beneath(redo->dirfd, redo->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW,
				  0600, &redo->fd);

	return r < 0 ? r : (ftruncate(redo->fd, REDO_HEADER_SIZE) < 0 ? -errno : 0);
}

/* The file behind *fd* past the kernel's memory of it; -EBADF where that cannot be had. Some file
 * systems take the flag and pay no heed to it, which Linux 6.1 and later tell. */
static int open_direct(int fd)
{
	cleanup_fd int direct = -EBADF;
	struct statx stx = {0};
	char self[64];

	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	direct = open(self, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (direct < 0)
		return -EBADF;
	if (statx(direct, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
	    (stx.stx_mask & STATX_DIOALIGN) &&
	    (stx.stx_dio_offset_align == 0 || stx.stx_dio_offset_align > REDO_ALIGNMENT))
		return -EBADF;
	return TAKE_FD(direct);
}

static struct redo *new_redo(int image_fd, const struct disk_place *place, bool is_written)
{
	struct redo *redo = calloc(1, sizeof(*redo));

	if (!redo)
		return NULL;
	redo->direct_fd = is_written ? open_direct(image_fd) : -EBADF;
	redo->fd = -EBADF;
	redo->dirfd = -EBADF;
	redo->image_fd = image_fd;
	redo->place = *place;
	return redo;
}

int redo_open(int image_fd, int dirfd, const char *name, const struct disk_place *place,
	      struct redo **ret)
{
	cleanup_redo struct redo *redo = new_redo(image_fd, place, name != NULL);
	int r;

	if (!redo)
		return -ENOMEM;
	redo->dirfd = dirfd;
	redo->name = name;
	r = name ? make_file(redo) : 0;
	if (r < 0)
		return r;
	*ret = TAKE_PTR(redo);
	return 0;
}

int redo_open_new(int image_fd, const struct disk_place *place, struct redo **ret)
{
	struct redo *redo = new_redo(image_fd, place, true);

	if (!redo)
		return -ENOMEM;
	redo->is_direct = true;
	*ret = redo;
	return 0;
}

struct redo *redo_free(struct redo *redo)
{
	if (!redo)
		return NULL;
	if (redo->fd >= 0 && !redo->is_done)
		ignore_result(redo_remove_left(redo->dirfd, redo->name, redo->fd));
	(void)fd_close(redo->fd);
	(void)fd_close(redo->direct_fd);
	free(redo->cells);
	free(redo->map);
	free(redo->written);
	free(redo->header);
	free(redo->ahead);
	free(redo->small);
	redo_ranges_done(&redo->wanted);
	free(redo);
	return NULL;
}

uint64_t redo_size(const struct redo *redo)
{
	return (uint64_t)redo->n_cells * REDO_CELL_SIZE;
}

int redo_prepare(struct redo *redo)
{
	int r;

	if (redo->fd < 0 || redo->n_cells == 0)
		return 0;
	r = redo_settle(redo);
	return r < 0 ? r : redo_file_prepare(redo);
}

int redo_commit(struct redo *redo, bool *ret_committed)
{
	int r = redo_settle(redo);

	*ret_committed = false;
	if (r == 0)
		r = redo_file_commit(redo, ret_committed);
	redo->is_done = *ret_committed;
	redo->ahead_size = 0;
	return r < 0 ? r : redo_file_apply(redo->image_fd, redo->dirfd, redo->name, redo->fd);
}
