/* SPDX-License-Identifier: Apache-2.0 */

#include "ext4/redo.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "ext4/redo_private.h"

#define CELLS 64U
#define NAME  "image" REDO_SUFFIX

struct place {
	char path[64];
	int dirfd;
	int image;
};

static int set_up(void **state)
{
	static struct place place;

	(void)snprintf(place.path, sizeof(place.path), "/tmp/affix-redo-XXXXXX");
	if (!mkdtemp(place.path))
		return -1;
	place.dirfd = open(place.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	place.image = openat(place.dirfd, "image", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	*state = &place;
	return place.image < 0 || ftruncate(place.image, CELLS * REDO_CELL_SIZE) < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	const struct place *place = *state;

	(void)unlinkat(place->dirfd, "image", 0);
	(void)unlinkat(place->dirfd, NAME, 0);
	(void)close(place->image);
	(void)close(place->dirfd);
	return rmdir(place->path);
}

static void stage(struct redo *redo, uint64_t cell, int byte)
{
	char data[REDO_CELL_SIZE];

	memset(data, byte, sizeof(data));
	assert_int_equal(redo_write(redo, cell * REDO_CELL_SIZE, data, sizeof(data)), 0);
}

static void write_through(struct redo *redo, uint64_t cell, int byte)
{
	char data[REDO_CELL_SIZE];

	memset(data, byte, sizeof(data));
	assert_int_equal(redo_write_through(redo, cell * REDO_CELL_SIZE, data, sizeof(data)), 0);
	assert_int_equal(redo_settle(redo), 0);
}

static struct redo *open_redo(const struct place *place)
{
	const struct disk_place whole = {.size = CELLS * REDO_CELL_SIZE};
	struct redo *redo = NULL;

	assert_int_equal(redo_open(place->image, place->dirfd, NAME, &whole, &redo), 0);
	return redo;
}

/* Commits, and dies before anything of it is in the image. */
static void commit_and_die(struct redo *redo)
{
	bool is_committed = false;

	assert_int_equal(redo_file_commit(redo, &is_committed), 0);
	assert_true(is_committed);
	redo->is_done = true;
	redo_free(redo);
}

/* What the next process does. */
static int finish(const struct place *place)
{
	CLEANUP(holes_done) struct holes left = {0};
	struct problem problem = PROBLEM_INIT;

	return redo_finish(place->image, "image", place->dirfd, NAME, &left, &problem);
}

static void assert_cell(const struct place *place, uint64_t cell, int byte)
{
	char wanted[REDO_CELL_SIZE];
	char found[REDO_CELL_SIZE];

	memset(wanted, byte, sizeof(wanted));
	assert_int_equal(
		redo_read_exactly(place->image, found, sizeof(found), cell * REDO_CELL_SIZE), 0);
	assert_memory_equal(found, wanted, sizeof(wanted));
}

static void test_what_is_staged_after_it_was_prepared_is_committed_too(void **state)
{
	const struct place *place = *state;
	struct redo *redo = open_redo(place);

	stage(redo, 5, 'a');
	assert_int_equal(redo_prepare(redo), 0);
	stage(redo, 5, 'b');
	stage(redo, 9, 'c');
	commit_and_die(redo);
	assert_int_equal(finish(place), 0);
	assert_cell(place, 5, 'b');
	assert_cell(place, 9, 'c');
}

/* An image that has lost it is not the one that the change was made for. */
static void test_what_is_written_past_it_after_it_was_prepared_is_looked_for_too(void **state)
{
	const struct place *place = *state;
	struct redo *redo = open_redo(place);

	stage(redo, 5, 'a');
	assert_int_equal(redo_prepare(redo), 0);
	write_through(redo, 40, 'd');
	commit_and_die(redo);
	assert_int_equal(pwrite(place->image, "x", 1, 40 * REDO_CELL_SIZE), 1);
	assert_int_equal(finish(place), PROBLEM_E_REFUSED);
	assert_cell(place, 5, 0);
}

static void test_what_was_prepared_and_not_committed_is_nothing(void **state)
{
	const struct place *place = *state;
	struct redo *redo = open_redo(place);

	stage(redo, 5, 'a');
	assert_int_equal(redo_prepare(redo), 0);
	redo->is_done = true;
	redo_free(redo);
	assert_int_equal(finish(place), 0);
	assert_cell(place, 5, 0);
	assert_int_equal(faccessat(place->dirfd, NAME, F_OK, 0), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_what_is_staged_after_it_was_prepared_is_committed_too, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(
			test_what_is_written_past_it_after_it_was_prepared_is_looked_for_too,
			set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_was_prepared_and_not_committed_is_nothing,
						set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
