/* SPDX-License-Identifier: Apache-2.0 */

#include "control/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"

struct place {
	char path[64];
	int artifacts;
	int incoming;
};

static int set_up(void **state)
{
	static struct place place;
	char name[128];
	int fd;

	(void)snprintf(place.path, sizeof(place.path), "/tmp/affix-confine-XXXXXX");
	if (!mkdtemp(place.path))
		return -1;
	for (unsigned i = 0; i < 2; i++) {
		(void)snprintf(name, sizeof(name), "%s/%u", place.path, i);
		if (mkdir(name, 0700) < 0)
			return -1;
		fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		*(i == 0 ? &place.artifacts : &place.incoming) = fd;
	}
	fd = openat(place.artifacts, "bundle", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	(void)close(fd);
	*state = &place;
	return 0;
}

static int tear_down(void **state)
{
	struct place *place = *state;
	char name[128];

	(void)unlinkat(place->artifacts, "bundle", 0);
	(void)unlinkat(place->incoming, "left", 0);
	for (unsigned i = 0; i < 2; i++) {
		(void)snprintf(name, sizeof(name), "%s/%u", place->path, i);
		(void)rmdir(name);
	}
	(void)close(place->artifacts);
	(void)close(place->incoming);
	return rmdir(place->path);
}

/* A front, or what talks to registries, with the two directories as cache and incoming. */
enum who {
	FRONT,
	PULLER,
};

/* The latest version of Landlock that the kernel tells of. */
static long version_max = LONG_MAX;

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

long __wrap_syscall(long number, ...)
{
	unsigned long a[6];
	va_list arguments;
	long r;

	va_start(arguments, number);
	for (unsigned i = 0; i < 6; i++)
		a[i] = va_arg(arguments, unsigned long);
	va_end(arguments);
	r = __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (number == SYS_landlock_create_ruleset && a[2] == LANDLOCK_CREATE_RULESET_VERSION)
		return MIN(r, version_max);
	return r;
}

/* Runs *probe* in a confined child: what it returns, NO_FILES where files cannot be confined. */
#define NO_FILES 100

static int try_confined(const struct place *place, enum who who,
			int (*probe)(const struct place *place))
{
	bool has_files = false;
	int status = 0;
	pid_t pid = fork();
	int r;

	assert_true(pid >= 0);
	if (pid == 0) {
		if (who == FRONT)
			r = confine(place->artifacts, place->incoming, &has_files);
		else
			r = confine_puller(place->artifacts, place->incoming, NULL, NULL,
					   &has_files);
		_exit(r < 0 ? 99 : has_files ? probe(place) : NO_FILES);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int confined(const struct place *place, enum who who,
		    int (*probe)(const struct place *place))
{
	long version = __real_syscall(SYS_landlock_create_ruleset, 0UL, 0UL,
				      LANDLOCK_CREATE_RULESET_VERSION);

	if (version < (who == FRONT ? 1 : 2))
		skip();
	return try_confined(place, who, probe);
}

static int failed_with(long result, int error)
{
	return result < 0 && errno == error ? 0 : 1;
}

static int probe_strange_files(const struct place *place)
{
	int r = failed_with(open("/etc/passwd", O_RDONLY | O_CLOEXEC), EACCES);

	r |= failed_with(open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), EACCES);
	r |= failed_with(openat(place->artifacts, "..", O_RDONLY | O_CLOEXEC), EACCES);
	r |= failed_with(openat(place->artifacts, "bundle", O_WRONLY | O_CLOEXEC), EACCES);
	r |= failed_with(openat(place->artifacts, "new", O_WRONLY | O_CREAT | O_CLOEXEC, 0600),
			 EACCES);
	r |= failed_with(unlinkat(place->artifacts, "bundle", 0), EACCES);
	return r;
}

static int probe_own_files(const struct place *place)
{
	int fd = openat(place->artifacts, "bundle", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 1;
	fd = openat(place->incoming, "upload", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, "x", 1) != 1)
		return 2;
	return unlinkat(place->incoming, "upload", 0) < 0 ? 3 : 0;
}

/* Nobody else is signalled or limited; oneself is, by abort() for one. */
static int probe_signals(void)
{
	const struct rlimit limit = {64, 64};
	pid_t parent = getppid();
	siginfo_t info = {0};
	int r;

	info.si_code = SI_QUEUE;
	r = failed_with(kill(parent, 0), EPERM);
	r |= failed_with(syscall(SYS_tkill, parent, 0), EPERM);
	r |= failed_with(syscall(SYS_tgkill, parent, parent, 0), EPERM);
	r |= failed_with(syscall(SYS_rt_sigqueueinfo, parent, 0, &info), EPERM);
	r |= failed_with(syscall(SYS_rt_tgsigqueueinfo, parent, parent, 0, &info), EPERM);
	r |= failed_with(prlimit(parent, RLIMIT_NOFILE, NULL, NULL), EPERM);
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 4;
	return raise(SIGURG) != 0 ? 5 : r;
}

static int probe_calls(const struct place *place)
{
	char *const none[] = {NULL};
	int r = failed_with(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), EPERM);

	(void)place;
	r |= failed_with(execve("/bin/true", none, none), EPERM);
	r |= failed_with(fork(), EPERM);
	return r | probe_signals();
}

static int probe_puller_files(const struct place *place)
{
	int r = failed_with(open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), EACCES);

	r |= failed_with(openat(place->artifacts, "../secret", O_RDONLY | O_CLOEXEC), EACCES);
	r |= failed_with(open("/etc/hosts", O_WRONLY | O_CLOEXEC), EACCES);
	r |= failed_with(open("/etc/affix-new", O_WRONLY | O_CREAT | O_CLOEXEC, 0600), EACCES);
	/* The key of affixd may be anywhere there. */
	r |= failed_with(open("/etc/passwd", O_RDONLY | O_CLOEXEC), EACCES);
	r |= failed_with(open("/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC), EACCES);
	r |= failed_with(open("/run", O_RDONLY | O_DIRECTORY | O_CLOEXEC), EACCES);
	if (open("/etc/hosts", O_RDONLY | O_CLOEXEC) < 0 ||
	    (access("/etc/ssl/certs", F_OK) == 0 &&
	     open("/etc/ssl/certs", O_RDONLY | O_DIRECTORY | O_CLOEXEC) < 0) ||
	    open("/etc/nsswitch.conf", O_RDONLY | O_CLOEXEC) < 0)
		return 2;
	if (linkat(place->artifacts, "bundle", place->incoming, "upload", 0) < 0)
		return 3;
	return unlinkat(place->incoming, "upload", 0) < 0 ? 4 : r;
}

static void *do_nothing(void *nothing)
{
	return nothing;
}

static int probe_puller_calls(const struct place *place)
{
	char *const none[] = {NULL};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r = failed_with(listen(fd, 1), EPERM);
	pthread_t thread;

	(void)place;
	r |= failed_with(execve("/bin/true", none, none), EPERM);
	r |= failed_with(fork(), EPERM);
	r |= failed_with(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0), EPERM);
	r |= failed_with(syscall(SYS_clone3, NULL, 0), ENOSYS);
	/* Which resolves names. */
	if (pthread_create(&thread, NULL, do_nothing, NULL) != 0 || pthread_join(thread, NULL) != 0)
		return 3;
	return fd < 0 ? 2 : r | probe_signals();
}

static void who_pulls_reads_the_system_and_keeps_what_came(void **state)
{
	const struct place *place = *state;
	int fd = openat(place->artifacts, "../secret", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	int r;

	assert_true(fd >= 0);
	(void)close(fd);
	r = confined(place, PULLER, probe_puller_files);
	(void)unlinkat(place->artifacts, "../secret", 0);
	assert_int_equal(r, 0);
}

static void who_pulls_connects_and_starts_nothing(void **state)
{
	assert_int_equal(confined(*state, PULLER, probe_puller_calls), 0);
}

static void other_files_are_out_of_reach(void **state)
{
	assert_int_equal(confined(*state, FRONT, probe_strange_files), 0);
}

static void bundles_are_read_and_uploads_made(void **state)
{
	assert_int_equal(confined(*state, FRONT, probe_own_files), 0);
}

static void nothing_is_started_connected_or_signalled(void **state)
{
	assert_int_equal(confined(*state, FRONT, probe_calls), 0);
}

static int reset_version(void **state)
{
	version_max = LONG_MAX;
	return tear_down(state);
}

/* It knows neither of moving files to other directories nor of cutting them short. */
static void the_first_landlock_confines_a_front(void **state)
{
	version_max = 1;
	assert_int_equal(confined(*state, FRONT, probe_strange_files), 0);
}

static void the_first_landlock_is_none_for_who_pulls(void **state)
{
	version_max = 1;
	assert_int_equal(try_confined(*state, PULLER, probe_puller_files), NO_FILES);
	version_max = 2;
	assert_int_equal(confined(*state, PULLER, probe_puller_calls), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(other_files_are_out_of_reach, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_pulls_reads_the_system_and_keeps_what_came,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_pulls_connects_and_starts_nothing, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(bundles_are_read_and_uploads_made, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(nothing_is_started_connected_or_signalled, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(the_first_landlock_confines_a_front, set_up,
						reset_version),
		cmocka_unit_test_setup_teardown(the_first_landlock_is_none_for_who_pulls, set_up,
						reset_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
