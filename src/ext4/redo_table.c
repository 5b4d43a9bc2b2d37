/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a redo file knows of the image that it is for. A superblock does not tell images apart:
 * builds of the same input, or of nearly the same, have equal ones, and so has a copy of the image
 * from before. So each cell that is replaced is held against what was there, and each that was
 * written past the file against what must be there.
 *
 * A cell that a power cut left half copied is old in one sector and new in the other: checksums are
 * of sectors, the least that a disk writes. They keep mistakes out and not forgers, who would need
 * the right to write to the image (redo_finish()): so they are CRCs, of the library that
 * decompresses layers. BLAKE2b took as long for all content as the plan's own digests of it do.
 */

#include <endian.h>
#include <errno.h>
#include <isa-l/crc64.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "ext4/redo_private.h"

#define SECTORS (REDO_CELL_SIZE / REDO_SECTOR_SIZE)

size_t redo_table_run(const struct redo_row *rows, size_t n)
{
	size_t run = 1;

	while (run < MIN(n, REDO_RUN_MAX) && le64toh(rows[run].cell) == le64toh(rows[0].cell) + run)
		run++;
	return run;
}

static uint64_t sum_sector(const char *data)
{
	return htole64(crc64_ecma_refl(0, (const unsigned char *)data, REDO_SECTOR_SIZE));
}

void redo_table_set(struct redo_row *row, uint64_t cell, const char *data)
{
	row->cell = htole64(cell);
	for (size_t k = 0; k < SECTORS; k++)
		row->checksums[k] = sum_sector(data + k * REDO_SECTOR_SIZE);
}

static int add_checksums(const struct redo *redo, struct redo_row *rows, size_t n)
{
	cleanup_free char *buffer = malloc(REDO_RUN_MAX * REDO_CELL_SIZE);
	int r = buffer ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < n;) {
		size_t run = redo_table_run(rows + i, n - i);

		r = redo_read_exactly(redo->image_fd, buffer, run * REDO_CELL_SIZE,
				      redo->place.offset + le64toh(rows[i].cell) * REDO_CELL_SIZE);
		for (size_t k = 0; r == 0 && k < run * SECTORS; k++)
			rows[i + k / SECTORS].checksums[k % SECTORS] =
				sum_sector(buffer + k * REDO_SECTOR_SIZE);
		i += run;
	}
	return r;
}

static int write_rows(const struct redo *redo, const struct redo_row *rows, size_t n, size_t first)
{
	return fd_pwrite_full(redo->fd, rows, n * sizeof(*rows),
			      redo_table_offset(redo->n_cells) + first * sizeof(*rows));
}

static int write_staged(const struct redo *redo)
{
	size_t n = redo->n_cells;
	cleanup_free struct redo_row *rows = calloc(MAX(n, 1U), sizeof(*rows));
	int r;

	if (!rows)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		rows[i].cell = htole64(redo->cells[i]);
	r = add_checksums(redo, rows, n);
	return r < 0 ? r : write_rows(redo, rows, n, 0);
}

/* What was written past the file and then staged after all is among the cells. */
static int write_written(struct redo *redo)
{
	struct redo_row *rows = redo->written;
	size_t n = 0;
	int r;

	for (size_t i = 0; i < redo->n_written; i++) {
		if (!redo_has_cell(redo, le64toh(rows[i].cell)))
			rows[n++] = rows[i];
	}
	redo->n_written = n;
	r = redo->is_rewritten ? add_checksums(redo, rows, n) : 0;
	return r < 0 ? r : write_rows(redo, rows, n, redo->n_cells);
}

int redo_table_write(struct redo *redo, uint64_t *ret_n)
{
	int r = write_staged(redo);

	if (r == 0)
		r = write_written(redo);
	*ret_n = redo->n_cells + redo->n_written;
	return r;
}

int redo_table_read(int fd, uint64_t n_cells, uint64_t n, struct redo_row **ret)
{
	cleanup_free struct redo_row *rows = calloc(MAX(n, 1U), sizeof(*rows));
	int r;

	if (!rows)
		return -ENOMEM;
	r = redo_read_exactly(fd, rows, n * sizeof(*rows), redo_table_offset(n_cells));
	if (r == 0)
		*ret = TAKE_PTR(rows);
	return r;
}

/* Whether the cell *data* of the image is what *row* says, or of sectors that are not, what the
 * redo file brings: its cell *index*, none where that is negative. */
static int check_cell(int fd, const struct redo_row *row, const char *data, int64_t index,
		      bool *ret)
{
	char brought[REDO_CELL_SIZE];
	bool is_read = false;

	*ret = true;
	for (size_t k = 0; k < SECTORS && *ret; k++) {
		const char *sector = data + k * REDO_SECTOR_SIZE;
		int r = 0;

		if (sum_sector(sector) == row->checksums[k])
			continue;
		if (index >= 0 && !is_read)
			r = redo_read_exactly(fd, brought, sizeof(brought),
					      REDO_HEADER_SIZE + (uint64_t)index * REDO_CELL_SIZE);
		if (r != 0)
			return r;
		is_read = true;
		*ret = index >= 0 &&
		       memcmp(sector, brought + k * REDO_SECTOR_SIZE, REDO_SECTOR_SIZE) == 0;
	}
	return 0;
}

int redo_table_check(int image_fd, int fd, uint64_t offset, const struct redo_row *rows,
		     uint64_t n_cells, uint64_t n, bool *ret)
{
	cleanup_free char *buffer = malloc(REDO_RUN_MAX * REDO_CELL_SIZE);
	int r = buffer ? 0 : -ENOMEM;

	*ret = true;
	for (size_t i = 0; r == 0 && *ret && i < n;) {
		size_t run = redo_table_run(rows + i, n - i);

		r = redo_read_exactly(image_fd, buffer, run * REDO_CELL_SIZE,
				      offset + le64toh(rows[i].cell) * REDO_CELL_SIZE);
		for (size_t k = 0; r == 0 && *ret && k < run; k++)
			r = check_cell(fd, &rows[i + k], buffer + k * REDO_CELL_SIZE,
				       i + k < n_cells ? (int64_t)(i + k) : -1, ret);
		i += run;
	}
	return r;
}
