/* SPDX-License-Identifier: Apache-2.0 */

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"

/* A path of so many components is longer than any that the kernel takes at once. */
#define DEEP 1000U

struct place {
	char path[64];
	int fd;
};

static int set_up(void **state)
{
	static struct place place;

	(void)snprintf(place.path, sizeof(place.path), "/tmp/affix-file-XXXXXX");
	if (!mkdtemp(place.path))
		return -1;
	place.fd = open(place.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = &place;
	return place.fd < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	const struct place *place = *state;

	(void)close(place->fd);
	return rmdir(place->path);
}

static void make_file(int dirfd, const char *name)
{
	cleanup_fd int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
}

/* A chain of directories, each with a file beside the next one. */
static void make_chain(int dirfd, const char *name, unsigned depth)
{
	cleanup_fd int at = fcntl(dirfd, F_DUPFD_CLOEXEC, 3);

	for (unsigned i = 0; i < depth; i++) {
		int next;

		assert_int_equal(mkdirat(at, name, 0700), 0);
		next = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		make_file(next, "file");
		(void)fd_close(at);
		at = next;
		name = "below";
	}
}

static void tree_of_any_depth_is_removed_with_few_descriptors(void **state)
{
	const struct place *place = *state;
	struct rlimit limit;
	struct rlimit few;
	int r;

	make_chain(place->fd, "deep", DEEP);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	few = (struct rlimit){64, limit.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	r = tree_remove(place->fd, "deep");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(r, 0);
	assert_int_equal(faccessat(place->fd, "deep", F_OK, AT_SYMLINK_NOFOLLOW), -1);
}

static void names_that_are_taken_are_passed_over(void **state)
{
	const struct place *place = *state;

	make_chain(place->fd, "deep", 100);
	make_chain(place->fd, "deep/.affix-moved-0", 3);
	make_file(place->fd, "deep/.affix-moved-1");
	assert_int_equal(tree_remove(place->fd, "deep"), 0);
	assert_int_equal(faccessat(place->fd, "deep", F_OK, AT_SYMLINK_NOFOLLOW), -1);
}

static void links_are_removed_and_not_followed(void **state)
{
	const struct place *place = *state;

	assert_int_equal(mkdirat(place->fd, "kept", 0700), 0);
	make_file(place->fd, "kept/file");
	assert_int_equal(mkdirat(place->fd, "gone", 0700), 0);
	assert_int_equal(symlinkat("../kept", place->fd, "gone/link"), 0);
	assert_int_equal(symlinkat("kept", place->fd, "link"), 0);
	assert_int_equal(tree_remove(place->fd, "gone"), 0);
	assert_int_equal(tree_remove(place->fd, "link"), 0);
	assert_int_equal(tree_remove(place->fd, "link"), 0);
	assert_int_equal(faccessat(place->fd, "kept/file", F_OK, 0), 0);
	assert_int_equal(tree_remove(place->fd, "kept"), 0);
}

/* In mounts of its own: removes *name* after `foreign` was mounted on *where*. */
static int remove_mounted(const struct place *place, const char *where, const char *name)
{
	cleanup_fd int fd = -EBADF;

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "", MS_REC | MS_PRIVATE, NULL) < 0 ||
	    chdir(place->path) < 0 || mount("foreign", where, "", MS_BIND, NULL) < 0)
		return 1;
	fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return tree_remove(fd, name) == -EBUSY ? 0 : 2;
}

static void what_is_mounted_from_the_same_file_system_is_kept(void **state)
{
	static const char *const places[] = {"gone", "gone/m", "gone/deep/m"};
	const struct place *place = *state;

	if (geteuid() != 0)
		skip();
	assert_int_equal(mkdirat(place->fd, "foreign", 0700), 0);
	make_file(place->fd, "foreign/file");
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		int status = 0;
		pid_t child;

		assert_int_equal(mkdirat(place->fd, "gone", 0700), 0);
		assert_int_equal(mkdirat(place->fd, "gone/m", 0700), 0);
		assert_int_equal(mkdirat(place->fd, "gone/deep", 0700), 0);
		assert_int_equal(mkdirat(place->fd, "gone/deep/m", 0700), 0);
		child = fork();
		if (child == 0)
			_exit(remove_mounted(place, places[i], "gone"));
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
		assert_int_equal(faccessat(place->fd, "foreign/file", F_OK, 0), 0);
		assert_int_equal(tree_remove(place->fd, "gone"), 0);
	}
	assert_int_equal(tree_remove(place->fd, "foreign"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		TEST(tree_of_any_depth_is_removed_with_few_descriptors),
		TEST(names_that_are_taken_are_passed_over),
		TEST(links_are_removed_and_not_followed),
		TEST(what_is_mounted_from_the_same_file_system_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
