/* SPDX-License-Identifier: Apache-2.0 */

/* Against the interface, whatever is behind it; damage and locks are what a file can suffer. */

#include "control/store.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <signal.h>
#include <sqlite3.h>

#include "base/fd.h"
#include "base/file.h"
#include "control/store_schema.h"
#include "own_directory.h"

#define NAME "test.db"

struct fixture {
	char path[32];
	int dir;
	struct store *store;
	char problem[STORE_PROBLEM_MAX];
};

static void open_store(struct fixture *f)
{
	if (store_open(f->dir, NAME, &f->store, f->problem) != 0)
		fail_msg("%s", f->problem);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	own_directory_make(f->path);
	f->dir = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	open_store(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)store_free(f->store);
	own_directory_remove(f->path);
	(void)fd_close(f->dir);
	free(f);
	return 0;
}

static int put(struct fixture *f, const char *name, const char *value)
{
	return store_run(f->store, "INSERT INTO secret (name, value) VALUES ($1, $2)",
			 STORE_TEXT(name), STORE_BLOB(value, strlen(value)));
}

static int64_t count(struct fixture *f)
{
	int64_t n = -1;

	assert_int_equal(store_number(f->store, &n, -1, "SELECT count(*) FROM secret"), 0);
	return n;
}

static void a_change_needs_a_transaction(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(put(f, "a", "1"), -EINVAL);
	assert_int_equal(store_begin(f->store), 0);
	assert_int_equal(put(f, "a", "1"), 0);
	assert_int_equal(store_commit(f->store), 0);
	assert_int_equal(count(f), 1);
}

static void what_is_committed_is_there_after_a_restart_and_the_rest_is_not(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(store_begin(f->store), 0);
	assert_int_equal(put(f, "a", "1"), 0);
	assert_int_equal(store_commit(f->store), 0);
	assert_int_equal(store_begin(f->store), 0);
	assert_int_equal(put(f, "b", "1"), 0);
	f->store = store_free(f->store);
	open_store(f);
	assert_int_equal(count(f), 1);
}

static void a_part_is_taken_back_alone(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(store_mark(f->store), 0);
	assert_int_equal(put(f, "a", "1"), 0);
	assert_int_equal(store_keep(f->store), 0);
	assert_int_equal(store_mark(f->store), 0);
	assert_int_equal(put(f, "b", "1"), 0);
	assert_int_equal(store_mark(f->store), 0);
	assert_int_equal(put(f, "c", "1"), 0);
	store_undo(f->store);
	assert_int_equal(store_keep(f->store), 0);
	assert_int_equal(store_mark(f->store), 0);
	assert_int_equal(put(f, "d", "1"), 0);
	store_undo(f->store);
	assert_int_equal(store_commit(f->store), 0);
	assert_int_equal(count(f), 2);
}

static void values_come_back_as_they_went_in(void **state)
{
	struct fixture *f = *state;
	cleanup_rows struct store_rows *rows = NULL;
	const void *blob;
	size_t size = 0;
	bool row = false;

	assert_int_equal(store_select(f->store, &rows, "SELECT $1, $2, $3, $4, CAST($1 AS TEXT)",
				      STORE_INT(-7), STORE_TEXT("b\xc3\xa4h"),
				      STORE_BLOB("a\0b", 3), STORE_TEXT(NULL)),
			 0);
	assert_int_equal(store_next(rows, &row), 0);
	assert_true(row);
	assert_int_equal(store_int(rows, 0), -7);
	assert_string_equal(store_text(rows, 1), "b\xc3\xa4h");
	blob = store_blob(rows, 2, &size);
	assert_int_equal(size, 3);
	assert_memory_equal(blob, "a\0b", 3);
	assert_true(store_is_null(rows, 3));
	assert_null(store_text(rows, 3));
	assert_string_equal(store_text(rows, 4), "-7");
	assert_int_equal(store_next(rows, &row), 0);
	assert_false(row);
}

static void parameters_go_by_their_number_and_not_by_their_place(void **state)
{
	struct fixture *f = *state;
	int64_t n = 0;

	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(store_number(f->store, &n, 0, "SELECT $2 * 100 + $1 * 10 + $2",
					      STORE_INT(3), STORE_INT(7)),
				 0);
		assert_int_equal(n, 737);
	}
	assert_int_equal(store_number(f->store, &n, 0, "SELECT $1", STORE_INT(1), STORE_INT(2)),
			 -EINVAL);
}

static void taken_keys_and_missing_rows_are_conditions(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(store_begin(f->store), 0);
	assert_int_equal(put(f, "a", "1"), 0);
	assert_int_equal(put(f, "a", "2"), STORE_E_EXISTS);
	assert_int_equal(
		store_run(f->store, "INSERT INTO label (host, key, value) VALUES (99, 'a', 'b')"),
		STORE_E_REFERENCE);
	/* The transaction goes on. */
	assert_int_equal(put(f, "b", "1"), 0);
	assert_int_equal(store_commit(f->store), 0);
	assert_int_equal(count(f), 2);
}

static void one_text_may_run_inside_its_own_rows(void **state)
{
	struct fixture *f = *state;
	static const char sql[] = "SELECT name FROM secret ORDER BY name";
	cleanup_rows struct store_rows *outer = NULL;
	bool row = false;

	assert_int_equal(store_begin(f->store), 0);
	assert_int_equal(put(f, "a", "1"), 0);
	assert_int_equal(put(f, "b", "1"), 0);
	assert_int_equal(store_select(f->store, &outer, sql), 0);
	assert_int_equal(store_next(outer, &row), 0);
	{
		cleanup_rows struct store_rows *inner = NULL;

		assert_int_equal(store_select(f->store, &inner, sql), 0);
		assert_int_equal(store_next(inner, &row), 0);
		assert_string_equal(store_text(inner, 0), "a");
	}
	assert_int_equal(store_next(outer, &row), 0);
	assert_string_equal(store_text(outer, 0), "b");
}

static void a_database_that_is_held_by_another_is_busy(void **state)
{
	struct fixture *f = *state;
	char path[64];
	sqlite3 *other = NULL;

	(void)snprintf(path, sizeof(path), "%s/" NAME, f->path);
	assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(store_begin(f->store), -EBUSY);
	assert_int_equal(count(f), 0);
	assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(store_begin(f->store), 0);
	(void)sqlite3_close(other);
}

static void a_full_disk_ends_the_transaction_and_nothing_of_it_stays(void **state)
{
	struct fixture *f = *state;
	static char big[1 << 20];
	const struct rlimit small = {200000, RLIM_INFINITY};
	struct rlimit before;
	int r = 0;

	memset(big, 'x', sizeof(big) - 1);
	assert_int_equal(store_begin(f->store), 0);
	assert_int_equal(put(f, "before", "1"), 0);
	assert_int_equal(store_commit(f->store), 0);
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(store_begin(f->store), 0);
	for (int i = 0; i < 40 && r == 0; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "n%d", i);
		r = put(f, name, big);
	}
	if (r == 0)
		r = store_commit(f->store);
	assert_true(r < 0);
	assert_true(strlen(store_problem(f->store)) > 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	/* Whatever the database did with it, nothing runs outside of what was begun. */
	store_rollback(f->store);
	assert_int_equal(count(f), 1);
	assert_int_equal(store_begin(f->store), 0);
	assert_int_equal(put(f, "after", "1"), 0);
	assert_int_equal(store_commit(f->store), 0);
	assert_int_equal(count(f), 2);
}

static void damage_is_said_at_the_start(void **state)
{
	struct fixture *f = *state;
	cleanup_fd int fd = -EBADF;
	char page[4096];

	assert_int_equal(store_begin(f->store), 0);
	for (int i = 0; i < 200; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "n%d", i);
		assert_int_equal(put(f, name, "a value that takes some room in a page"), 0);
	}
	assert_int_equal(store_commit(f->store), 0);
	f->store = store_free(f->store);
	fd = openat(f->dir, NAME, O_RDWR | O_CLOEXEC);
	memset(page, 0x5a, sizeof(page));
	for (off_t at = 4096; at < 40 * 4096; at += 4096)
		assert_int_equal(pwrite(fd, page, sizeof(page), at), sizeof(page));
	assert_int_equal(store_open(f->dir, NAME, &f->store, f->problem), 1);
	assert_non_null(strstr(f->problem, "backup"));
}

static void what_is_no_database_is_not_overwritten(void **state)
{
	struct fixture *f = *state;
	const struct file_attributes attributes = {0600, (uid_t)-1, (gid_t)-1};
	cleanup_free char *text = NULL;
	size_t size = 0;
	static const char letter[] = "Dear administrator, this is not a database at all, but "
				     "a letter of more than a hundred bytes in length.";

	f->store = store_free(f->store);
	assert_int_equal(file_replace(f->dir, NAME, letter, strlen(letter), &attributes), 0);
	assert_int_equal(store_open(f->dir, NAME, &f->store, f->problem), 1);
	assert_int_equal(fd_read_file_at(f->dir, NAME, 1000, &text, &size), 0);
	assert_string_equal(text, letter);
}

static void a_newer_database_is_left_alone(void **state)
{
	struct fixture *f = *state;
	char path[64];
	sqlite3 *other = NULL;

	f->store = store_free(f->store);
	(void)snprintf(path, sizeof(path), "%s/" NAME, f->path);
	assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "PRAGMA user_version = 4711", NULL, NULL, NULL),
			 SQLITE_OK);
	(void)sqlite3_close(other);
	assert_int_equal(store_open(f->dir, NAME, &f->store, f->problem), 1);
	assert_non_null(strstr(f->problem, "newer affixd"));
}

static void the_schema_counts_its_steps(void **state)
{
	struct fixture *f = *state;
	int64_t version = 0;

	assert_int_equal(store_number(f->store, &version, 0, "PRAGMA user_version"), 0);
	assert_int_equal(version, store_schema_n_steps);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_change_needs_a_transaction),
		TEST(what_is_committed_is_there_after_a_restart_and_the_rest_is_not),
		TEST(a_part_is_taken_back_alone),
		TEST(values_come_back_as_they_went_in),
		TEST(parameters_go_by_their_number_and_not_by_their_place),
		TEST(taken_keys_and_missing_rows_are_conditions),
		TEST(one_text_may_run_inside_its_own_rows),
		TEST(a_database_that_is_held_by_another_is_busy),
		TEST(a_full_disk_ends_the_transaction_and_nothing_of_it_stays),
		TEST(damage_is_said_at_the_start),
		TEST(what_is_no_database_is_not_overwritten),
		TEST(a_newer_database_is_left_alone),
		TEST(the_schema_counts_its_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
