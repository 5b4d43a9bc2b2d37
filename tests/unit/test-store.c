/* SPDX-License-Identifier: Apache-2.0 */

#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/file.h"
#include "own_directory.h"
#include "sample_plan.h"

/* A tree of its own for each test. */
struct fixture {
	char path[64];
	struct tree tree;
	struct store store;
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	own_directory_make(fixture->path);
	assert_int_equal(tree_open(fixture->path, false, &fixture->tree), 0);
	assert_int_equal(mkdirat(fixture->tree.rootfd, "var", 0755), 0);
	assert_int_equal(mkdirat(fixture->tree.rootfd, "var/lib", 0755), 0);
	assert_int_equal(store_open(&fixture->tree, true, &fixture->store), 0);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	store_done(&fixture->store);
	tree_done(&fixture->tree);
	own_directory_remove(fixture->path);
	free(fixture);
	return 0;
}

/* The system call that is to fail next, or kill. */
static struct {
	const char *call;
	int error;
} broken;

static bool is_broken(const char *call)
{
	if (!broken.call || strcmp(broken.call, call) != 0)
		return false;
	errno = broken.error;
	return true;
}

int __real_renameat(int old_dirfd, const char *old_name, int new_dirfd, const char *new_name);
int __wrap_renameat(int old_dirfd, const char *old_name, int new_dirfd, const char *new_name);

int __wrap_renameat(int old_dirfd, const char *old_name, int new_dirfd, const char *new_name)
{
	return is_broken("rename") ? -1 : __real_renameat(old_dirfd, old_name, new_dirfd, new_name);
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);

int __wrap_fsync(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	if (is_broken(S_ISDIR(st.st_mode) ? "fsync directory" : "fsync file"))
		return -1;
	return __real_fsync(fd);
}

int __real_syncfs(int fd);
int __wrap_syncfs(int fd);

int __wrap_syncfs(int fd)
{
	return is_broken("sync file system") ? -1 : __real_syncfs(fd);
}

ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size);

/* A disk that fills up half-way. */
ssize_t __wrap_write(int fd, const void *data, size_t size)
{
	static bool is_second;

	if (!broken.call || strcmp(broken.call, "write") != 0)
		return __real_write(fd, data, size);
	is_second = !is_second;
	if (is_second)
		return __real_write(fd, data, size / 2);
	errno = broken.error;
	return -1;
}

static struct record *make_record(const char *id, uint64_t newest_created)
{
	struct record *record = NULL;

	assert_int_equal(record_new(id, &record), 0);
	record->newest_created = newest_created;
	return record;
}

static void save(const struct fixture *fixture, const char *id, uint64_t newest_created)
{
	cleanup_record struct record *record = make_record(id, newest_created);

	assert_int_equal(store_save(&fixture->store, record), 0);
}

static uint64_t saved_created(const struct fixture *fixture, const char *id)
{
	cleanup_record struct record *record = NULL;

	assert_int_equal(store_load(&fixture->store, id, &record, NULL), 0);
	return record->newest_created;
}

static void write_file(const struct fixture *fixture, const char *name, const char *text)
{
	const struct file_attributes attributes = {
		.mode = 0600, .uid = geteuid(), .gid = getegid()};

	assert_int_equal(file_replace(fixture->store.dirfd, name, text, strlen(text), &attributes),
			 0);
}

static void assert_bad_record(const struct fixture *fixture, const char *id, const char *expected)
{
	struct refusal refusal = REFUSAL_INIT;
	struct record *record = NULL;

	assert_int_equal(store_load(&fixture->store, id, &record, &refusal), REFUSAL_BAD_RECORD);
	assert_null(record);
	assert_non_null(strstr(refusal.text, "/var/lib/affix/updater/"));
	assert_non_null(strstr(refusal.text, "remove it"));
	if (!strstr(refusal.text, expected))
		fail_msg("'%s', expected '%s'", refusal.text, expected);
}

static void directory_is_made_private_and_only_when_asked(void **state)
{
	struct fixture *fixture = *state;
	cleanup_store struct store store = {.dirfd = -EBADF};
	struct stat st;

	assert_int_equal(fstat(fixture->store.dirfd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(fstatat(fixture->tree.rootfd, "var/lib/affix", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(tree_remove(fixture->tree.rootfd, "var/lib/affix"), 0);
	assert_int_equal(store_open(&fixture->tree, false, &store), -ENOENT);
	assert_int_equal(fstatat(fixture->tree.rootfd, "var/lib/affix", &st, 0), -1);
}

static void directory_is_found_behind_links_in_the_tree_but_not_below_var_lib(void **state)
{
	struct fixture *fixture = *state;
	cleanup_store struct store store = {.dirfd = -EBADF};

	save(fixture, "foo", 7);
	assert_int_equal(renameat(fixture->tree.rootfd, "var", fixture->tree.rootfd, "real"), 0);
	assert_int_equal(symlinkat("/real", fixture->tree.rootfd, "var"), 0);
	assert_int_equal(store_open(&fixture->tree, false, &store), 0);
	store_done(&store);
	assert_int_equal(renameat(fixture->tree.rootfd, "real/lib/affix", fixture->tree.rootfd,
				  "real/lib/moved"),
			 0);
	assert_int_equal(symlinkat("moved", fixture->tree.rootfd, "real/lib/affix"), 0);
	assert_int_equal(store_open(&fixture->tree, true, &store), -ELOOP);
}

static void directory_that_others_may_write_is_not_used(void **state)
{
	struct fixture *fixture = *state;
	cleanup_store struct store store = {.dirfd = -EBADF};

	assert_int_equal(fchmod(fixture->store.dirfd, 0770), 0);
	assert_int_equal(store_open(&fixture->tree, true, &store), -ENOTRECOVERABLE);
}

static void saved_record_loads_the_same(void **state)
{
	struct fixture *fixture = *state;
	cleanup_json json_t *json = sample_record_json();
	cleanup_record struct record *record = NULL;
	cleanup_record struct record *loaded = NULL;
	cleanup_json json_t *again = NULL;
	struct stat st;

	assert_int_equal(record_from_json(json, &record, NULL), 0);
	assert_int_equal(store_save(&fixture->store, record), 0);
	assert_int_equal(store_load(&fixture->store, "node-exporter", &loaded, NULL), 0);
	again = record_to_json(loaded);
	assert_true(json_equal(json, again));
	assert_int_equal(fstatat(fixture->store.dirfd, "node-exporter.json", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static blkcnt_t reserve_blocks(const struct fixture *fixture)
{
	struct stat st;

	return fstatat(fixture->store.dirfd, ".reserve", &st, AT_SYMLINK_NOFOLLOW) < 0
		       ? -1
		       : st.st_blocks;
}

static void each_save_keeps_room_for_one_more(void **state)
{
	struct fixture *fixture = *state;
	cleanup_json json_t *json = sample_record_json();
	cleanup_record struct record *record = NULL;
	cleanup_fd int fd = -EBADF;

	assert_int_equal(store_spend_reserve(&fixture->store), -ENOENT);
	assert_int_equal(record_from_json(json, &record, NULL), 0);
	assert_int_equal(store_save(&fixture->store, record), 0);
	assert_true(reserve_blocks(fixture) >= 64);
	assert_int_equal(store_spend_reserve(&fixture->store), 0);
	assert_int_equal(reserve_blocks(fixture), -1);
	/* A copy has a hole for it. */
	fd = openat(fixture->store.dirfd, ".reserve", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(store_save(&fixture->store, record), 0);
	assert_true(reserve_blocks(fixture) >= 64);
}

static void a_copy_of_parts_of_an_image_keeps_no_room(void **state)
{
	struct fixture *fixture = *state;
	cleanup_json json_t *json = sample_record_json();
	cleanup_record struct record *record = NULL;

	fixture->store.is_copy = true;
	assert_int_equal(record_from_json(json, &record, NULL), 0);
	assert_int_equal(store_save(&fixture->store, record), 0);
	assert_int_equal(reserve_blocks(fixture), -1);
}

static void absent_record_and_impossible_id_are_told_apart(void **state)
{
	struct fixture *fixture = *state;
	struct record *record = NULL;

	assert_int_equal(store_load(&fixture->store, "foo", &record, NULL), -ENOENT);
	assert_int_equal(store_load(&fixture->store, "../foo", &record, NULL), -EINVAL);
	assert_int_equal(store_load(&fixture->store, "locks", &record, NULL), -ENOENT);
}

static void broken_record_is_refused_by_name_and_stops_no_other(void **state)
{
	struct fixture *fixture = *state;

	save(fixture, "good", 5);
	write_file(fixture, "foo.json", "{\"schema\":1");
	assert_bad_record(fixture, "foo", "line 1 column 11");
	write_file(fixture, "foo.json", "");
	assert_bad_record(fixture, "foo", "foo.json");
	write_file(fixture, "foo.json", "{\"schema\":7}");
	assert_bad_record(fixture, "foo", "newer affix");
	write_file(fixture, "foo.json", "{\"schema\":1,\"schema\":1}");
	assert_bad_record(fixture, "foo", "duplicate");
	assert_int_equal(saved_created(fixture, "good"), 5);
}

static void record_of_another_add_on_is_refused(void **state)
{
	struct fixture *fixture = *state;

	save(fixture, "bar", 5);
	assert_int_equal(
		renameat(fixture->store.dirfd, "bar.json", fixture->store.dirfd, "foo.json"), 0);
	assert_bad_record(fixture, "foo", "another add-on's");
}

static void what_is_no_private_regular_file_is_refused(void **state)
{
	struct fixture *fixture = *state;

	save(fixture, "foo", 5);
	assert_int_equal(fchmodat(fixture->store.dirfd, "foo.json", 0620, 0), 0);
	assert_bad_record(fixture, "foo", "others than root");
	assert_int_equal(unlinkat(fixture->store.dirfd, "foo.json", 0), 0);
	assert_int_equal(symlinkat("/etc/passwd", fixture->store.dirfd, "foo.json"), 0);
	assert_bad_record(fixture, "foo", "not a regular file");
	assert_int_equal(unlinkat(fixture->store.dirfd, "foo.json", 0), 0);
	assert_int_equal(mkfifoat(fixture->store.dirfd, "foo.json", 0600), 0);
	assert_bad_record(fixture, "foo", "not a regular file");
	assert_int_equal(unlinkat(fixture->store.dirfd, "foo.json", 0), 0);
	assert_int_equal(mkdirat(fixture->store.dirfd, "foo.json", 0700), 0);
	assert_bad_record(fixture, "foo", "not a regular file");
}

static void oversized_record_is_neither_read_nor_written(void **state)
{
	struct fixture *fixture = *state;
	cleanup_record struct record *record = make_record("foo", 2);
	cleanup_fd int fd = -EBADF;
	cleanup_free char *large = malloc(RECORD_SIZE_MAX);

	save(fixture, "foo", 1);
	assert_non_null(large);
	memset(large, 'x', RECORD_SIZE_MAX - 1);
	large[RECORD_SIZE_MAX - 1] = '\0';
	record->config = json_pack("{s:s}", "key", large);
	assert_int_equal(store_save(&fixture->store, record), -EFBIG);
	assert_int_equal(saved_created(fixture, "foo"), 1);
	fd = openat(fixture->store.dirfd, "foo.json", O_WRONLY | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, RECORD_SIZE_MAX + 1), 0);
	assert_bad_record(fixture, "foo", "larger than 8 MiB");
}

static void record_that_could_not_be_read_again_is_not_written(void **state)
{
	struct fixture *fixture = *state;
	cleanup_record struct record *record = make_record("foo", 2);

	save(fixture, "foo", 1);
	assert_int_equal(strv_add(&record->created, "/etc/ssh"), 0);
	assert_int_equal(store_save(&fixture->store, record), -EBADMSG);
	assert_int_equal(saved_created(fixture, "foo"), 1);
}

/* `{"a":{"a":…{}…}}`, *depth* objects in all. */
static json_t *make_nested(unsigned depth)
{
	json_t *json = json_object();

	while (json && --depth > 0)
		json = json_pack("{s:o}", "a", json);
	assert_non_null(json);
	return json;
}

/* What json_parse_object() takes from a stranger must not cost us the record that keeps it. */
static void configuration_as_deep_as_any_that_is_taken_is_kept(void **state)
{
	const struct fixture *fixture = *state;
	cleanup_record struct record *record = make_record("foo", 1);
	cleanup_record struct record *loaded = NULL;
	cleanup_json json_t *taken = NULL;
	cleanup_json json_t *nested = make_nested(64);
	cleanup_free char *text = json_to_canonical(nested);

	assert_int_equal(json_parse_object(text, strlen(text), &taken, NULL), 0);
	record->config = json_incref(taken);
	record->transaction = calloc(1, sizeof(*record->transaction));
	record->transaction->operation = RECORD_UNINSTALL;
	record->transaction->config = json_incref(taken);
	record->transaction->request_id = strdup("");
	record->transaction->boot_id = strdup("");
	assert_int_equal(store_save(&fixture->store, record), 0);
	assert_int_equal(store_load(&fixture->store, "foo", &loaded, NULL), 0);
	assert_true(json_equal(loaded->transaction->config, nested));
}

static void record_whose_text_could_not_be_read_again_is_not_written(void **state)
{
	const struct fixture *fixture = *state;
	cleanup_record struct record *record = make_record("foo", 2);

	save(fixture, "foo", 1);
	record->config = make_nested(100);
	assert_int_equal(store_save(&fixture->store, record), -EBADMSG);
	assert_int_equal(saved_created(fixture, "foo"), 1);
}

static void failing_save_leaves_the_old_record_and_nothing_else(void **state)
{
	static const struct {
		const char *call;
		int error;
	} cases[] = {
		{"write",      ENOSPC},
                {"fsync file", EIO   },
                {"rename",     EIO   }
        };
	struct fixture *fixture = *state;
	cleanup_record struct record *record = make_record("foo", 2);

	save(fixture, "foo", 1);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_strv struct strv ids = STRV_INIT;
		struct stat st;
		int r;

		broken.call = cases[i].call;
		broken.error = cases[i].error;
		r = store_save(&fixture->store, record);
		broken.call = NULL;
		assert_int_equal(r, -cases[i].error);
		assert_int_equal(saved_created(fixture, "foo"), 1);
		assert_int_equal(fstatat(fixture->store.dirfd, ".foo.json.affix-new", &st, 0), -1);
		assert_int_equal(store_list(&fixture->store, &ids), 0);
		assert_int_equal(ids.count, 1);
	}
}

static void save_without_durable_rename_says_so_and_may_be_the_new_record(void **state)
{
	/* A new store syncs more than its own directory. */
	static const char *const calls[] = {"fsync directory", "sync file system"};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		cleanup_record struct record *record = make_record("foo", 2);
		int r;

		save(fixture, "foo", 1);
		fixture->store.is_new = i > 0;
		broken.call = calls[i];
		broken.error = EIO;
		r = store_save(&fixture->store, record);
		broken.call = NULL;
		assert_int_equal(r, -EIO);
		assert_int_equal(saved_created(fixture, "foo"), 2);
	}
}

static void leftover_of_a_killed_save_is_overwritten(void **state)
{
	struct fixture *fixture = *state;
	cleanup_strv struct strv ids = STRV_INIT;

	save(fixture, "foo", 1);
	write_file(fixture, ".foo.json.affix-new", "{\"half");
	assert_int_equal(saved_created(fixture, "foo"), 1);
	save(fixture, "foo", 2);
	assert_int_equal(saved_created(fixture, "foo"), 2);
	assert_int_equal(store_list(&fixture->store, &ids), 0);
	assert_int_equal(ids.count, 1);
}

static void leftover_of_a_killed_save_is_found_and_removed(void **state)
{
	struct fixture *fixture = *state;
	cleanup_strv struct strv ids = STRV_INIT;
	cleanup_strv struct strv none = STRV_INIT;

	save(fixture, "foo", 1);
	write_file(fixture, ".foo.json.affix-new", "{\"half");
	write_file(fixture, ".bar.json.affix-new", "");
	write_file(fixture, ".Foo.json.affix-new", "");
	write_file(fixture, ".affix-new", "");
	write_file(fixture, ".abcdefghijklmnopqrstuvwxyzabcdef.json.affix-new", "");
	assert_int_equal(store_list_unfinished(&fixture->store, &ids), 0);
	assert_int_equal(ids.count, 2);
	assert_string_equal(ids.items[0], "bar");
	assert_string_equal(ids.items[1], "foo");
	assert_int_equal(store_forget_unfinished(&fixture->store, "foo"), 0);
	assert_int_equal(store_forget_unfinished(&fixture->store, "bar"), 0);
	assert_int_equal(store_forget_unfinished(&fixture->store, "baz"), 0);
	assert_int_equal(store_list_unfinished(&fixture->store, &none), 0);
	assert_int_equal(none.count, 0);
	assert_int_equal(saved_created(fixture, "foo"), 1);
}

static void list_holds_the_ids_of_records_in_order(void **state)
{
	struct fixture *fixture = *state;
	cleanup_strv struct strv ids = STRV_INIT;

	save(fixture, "foo", 1);
	save(fixture, "bar", 1);
	write_file(fixture, "Foo.json", "{}");
	write_file(fixture, "foo.json.bak", "{}");
	write_file(fixture, "abcdefghijklmnopqrstuvwxyz.json", "{}");
	assert_int_equal(store_list(&fixture->store, &ids), 0);
	assert_int_equal(ids.count, 2);
	assert_string_equal(ids.items[0], "bar");
	assert_string_equal(ids.items[1], "foo");
}

static void time_floor_is_the_highest_of_all_records(void **state)
{
	struct fixture *fixture = *state;
	uint64_t floor = 99;

	assert_int_equal(store_time_floor(&fixture->store, &floor, NULL), 0);
	assert_int_equal(floor, 0);
	save(fixture, "foo", 30);
	save(fixture, "bar", 50);
	save(fixture, "baz", 40);
	assert_int_equal(store_time_floor(&fixture->store, &floor, NULL), 0);
	assert_int_equal(floor, 50);
}

static void time_floor_is_not_lowered_by_a_broken_record(void **state)
{
	struct fixture *fixture = *state;
	struct refusal refusal = REFUSAL_INIT;
	uint64_t floor = 99;

	save(fixture, "foo", 30);
	write_file(fixture, "bar.json", "{}");
	assert_int_equal(store_time_floor(&fixture->store, &floor, &refusal), REFUSAL_BAD_RECORD);
	assert_non_null(strstr(refusal.text, "bar.json"));
	assert_int_equal(floor, 99);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		TEST(directory_is_made_private_and_only_when_asked),
		TEST(directory_is_found_behind_links_in_the_tree_but_not_below_var_lib),
		TEST(directory_that_others_may_write_is_not_used),
		TEST(saved_record_loads_the_same),
		TEST(each_save_keeps_room_for_one_more),
		TEST(a_copy_of_parts_of_an_image_keeps_no_room),
		TEST(absent_record_and_impossible_id_are_told_apart),
		TEST(broken_record_is_refused_by_name_and_stops_no_other),
		TEST(record_of_another_add_on_is_refused),
		TEST(what_is_no_private_regular_file_is_refused),
		TEST(oversized_record_is_neither_read_nor_written),
		TEST(record_that_could_not_be_read_again_is_not_written),
		TEST(configuration_as_deep_as_any_that_is_taken_is_kept),
		TEST(record_whose_text_could_not_be_read_again_is_not_written),
		TEST(failing_save_leaves_the_old_record_and_nothing_else),
		TEST(save_without_durable_rename_says_so_and_may_be_the_new_record),
		TEST(leftover_of_a_killed_save_is_overwritten),
		TEST(leftover_of_a_killed_save_is_found_and_removed),
		TEST(list_holds_the_ids_of_records_in_order),
		TEST(time_floor_is_the_highest_of_all_records),
		TEST(time_floor_is_not_lowered_by_a_broken_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
