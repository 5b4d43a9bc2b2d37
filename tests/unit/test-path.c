/* SPDX-License-Identifier: Apache-2.0 */

#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/file.h"
#include "own_directory.h"

static void safe_name_refuses_separators_dots_controls_and_options(void **state)
{
	static const char *const bad[] = {"",    ".",   "..",  "a/b",  "a\\b",
					  "-rf", "a b", "a\n", "\x7f", "a\x80"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(path_is_safe_name(bad[i]));
	assert_true(path_is_safe_name("addon.yaml"));
	assert_true(path_is_safe_name("..."));
}

static void normal_path_is_absolute_and_without_detours(void **state)
{
	static const char *const bad[] = {"",      "a",      "/",       "//a",   "/a/",
					  "/a//b", "/a/./b", "/a/../b", "/a/..", "/a\nb"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(path_is_normal_absolute(bad[i]));
	assert_true(path_is_normal_absolute("/a/b.c"));
}

static void below_compares_whole_components(void **state)
{
	(void)state;
	assert_true(path_is_below("/a/b", "/a"));
	assert_true(path_is_below("/a", "/a"));
	assert_false(path_is_below("/ab", "/a"));
}

/* Without openat2(), as in the updater's own sandbox. */
static bool is_without_openat2;

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

long __wrap_syscall(long number, ...)
{
	va_list arguments;
	long at;
	const char *path;
	const void *how;
	size_t size;

	assert_int_equal(number, SYS_openat2);
	if (is_without_openat2) {
		errno = ENOSYS;
		return -1;
	}
	va_start(arguments, number);
	at = va_arg(arguments, int);
	path = va_arg(arguments, const char *);
	how = va_arg(arguments, const void *);
	size = va_arg(arguments, size_t);
	va_end(arguments);
	return __real_syscall(number, at, path, how, size);
}

struct place {
	char path[64];
	int fd;
};

/* A directory with `dir/file`, `link` to /etc, `dirlink` to dir and `filelink` to dir/file. */
static int make_place(void **state)
{
	static const struct file_attributes attributes = {.mode = 0644};
	struct place *place = calloc(1, sizeof(*place));
	cleanup_fd int dir = -EBADF;

	assert_non_null(place);
	own_directory_make(place->path);
	place->fd = open(place->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(place->fd >= 0);
	assert_int_equal(mkdirat(place->fd, "dir", 0755), 0);
	dir = openat(place->fd, "dir", O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(file_replace(dir, "file", "text", 4, &attributes), 0);
	assert_int_equal(file_replace_link(place->fd, "link", "/etc"), 0);
	assert_int_equal(file_replace_link(place->fd, "dirlink", "dir"), 0);
	assert_int_equal(file_replace_link(place->fd, "filelink", "dir/file"), 0);
	*state = place;
	return 0;
}

static int make_place_without_openat2(void **state)
{
	is_without_openat2 = true;
	return make_place(state);
}

static int remove_place(void **state)
{
	struct place *place = *state;
	struct stat st;

	(void)fd_close(place->fd);
	is_without_openat2 = false;
	own_directory_remove(place->path);
	assert_int_equal(lstat(place->path, &st), -1);
	free(place);
	return 0;
}

static int open_beneath(const struct place *place, const char *path, int flags)
{
	cleanup_fd int fd = -EBADF;

	return path_open_beneath(place->fd, path, flags, flags & O_CREAT ? 0600 : 0, &fd);
}

static void beneath_refuses_links_wherever_they_stand(void **state)
{
	static const char *const links[] = {"link", "link/passwd", "dirlink/file", "filelink"};

	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		assert_int_equal(open_beneath(*state, links[i], O_RDONLY), -ELOOP);
		assert_int_equal(open_beneath(*state, links[i], O_PATH), -ELOOP);
		assert_int_equal(open_beneath(*state, links[i], O_RDONLY | O_DIRECTORY), -ELOOP);
		assert_int_equal(open_beneath(*state, links[i], O_WRONLY | O_CREAT), -ELOOP);
	}
}

static void beneath_refuses_every_way_out(void **state)
{
	static const char *const ways[] = {"..", "../etc", "dir/../../etc", "/..", "./.."};

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		assert_int_equal(open_beneath(*state, ways[i], O_RDONLY), -EXDEV);
}

static void beneath_opens_what_is_there_and_makes_what_is_asked_for(void **state)
{
	const struct place *place = *state;
	cleanup_fd int fd = -EBADF;
	struct stat opened;
	struct stat st;

	assert_int_equal(path_open_beneath(place->fd, "/dir//file", O_RDONLY, 0, &fd), 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fstat(fd, &opened), 0);
	assert_int_equal(fstatat(place->fd, "dir/file", &st, 0), 0);
	assert_int_equal(opened.st_ino, st.st_ino);
	assert_int_equal(open_beneath(place, "", O_PATH | O_DIRECTORY), 0);
	assert_int_equal(open_beneath(place, "dir/", O_PATH | O_DIRECTORY), 0);
	assert_int_equal(open_beneath(place, "dir/new", O_WRONLY | O_CREAT | O_EXCL), 0);
	assert_int_equal(fstatat(place->fd, "dir/new", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void beneath_says_what_is_in_the_way(void **state)
{
	char name[PATH_NAME_MAX + 2];

	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(open_beneath(*state, "absent/file", O_RDONLY), -ENOENT);
	assert_int_equal(open_beneath(*state, "dir/file/more", O_RDONLY), -ENOTDIR);
	assert_int_equal(open_beneath(*state, "dir/file", O_RDONLY | O_DIRECTORY), -ENOTDIR);
	assert_int_equal(open_beneath(*state, name, O_RDONLY), -ENAMETOOLONG);
}

/* The last component may be opened as the link that it is, if that is what was asked for. */
static void beneath_opens_a_link_itself_on_demand(void **state)
{
	const struct place *place = *state;
	cleanup_fd int fd = -EBADF;
	struct stat st;

	assert_int_equal(path_open_beneath(place->fd, "link", O_PATH | O_NOFOLLOW, 0, &fd), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
}

static void in_root_follows_links_inside_the_root_only(void **state)
{
	const struct place *place = *state;
	cleanup_fd int fd = -EBADF;

	assert_int_equal(path_open_in_root(place->fd, "link/passwd", O_RDONLY, 0, &fd), -ENOENT);
	assert_int_equal(path_open_in_root(place->fd, "/dirlink/file", O_RDONLY, 0, &fd), 0);
}

/* Nobody but the kernel can do that safely: without it there is an error, not a guess. */
static void in_root_without_openat2_is_only_for_the_own_root(void **state)
{
	const struct place *place = *state;
	cleanup_fd int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	cleanup_fd int fd = -EBADF;

	assert_int_equal(path_open_in_root(place->fd, "/dir/file", O_RDONLY, 0, &fd), -ENOSYS);
	assert_int_equal(path_open_in_root(root, place->path, O_PATH, 0, &fd), 0);
}

/* Both ways of resolving are held to the same. */
#define WITH(test) cmocka_unit_test_setup_teardown(test, make_place, remove_place)
#define WITHOUT(test) \
	cmocka_unit_test_setup_teardown(test, make_place_without_openat2, remove_place)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(safe_name_refuses_separators_dots_controls_and_options),
		cmocka_unit_test(normal_path_is_absolute_and_without_detours),
		cmocka_unit_test(below_compares_whole_components),
		WITH(beneath_refuses_links_wherever_they_stand),
		WITHOUT(beneath_refuses_links_wherever_they_stand),
		WITH(beneath_refuses_every_way_out),
		WITHOUT(beneath_refuses_every_way_out),
		WITH(beneath_opens_what_is_there_and_makes_what_is_asked_for),
		WITHOUT(beneath_opens_what_is_there_and_makes_what_is_asked_for),
		WITH(beneath_says_what_is_in_the_way),
		WITHOUT(beneath_says_what_is_in_the_way),
		WITH(beneath_opens_a_link_itself_on_demand),
		WITHOUT(beneath_opens_a_link_itself_on_demand),
		WITH(in_root_follows_links_inside_the_root_only),
		WITHOUT(in_root_without_openat2_is_only_for_the_own_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
