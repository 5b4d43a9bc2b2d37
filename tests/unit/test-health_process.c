/* SPDX-License-Identifier: Apache-2.0 */

#include "engine/health_process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"

/* Users and capabilities are tried under a real systemd, by test-health_grant.c. */

static char self[512];
static char root[] = "root";
static char nobody[] = "affix-nobody-made";
static char missing[] = "/nonexistent/daemon";

/* Errors that the next looks at a program end with; 0: none. With 64-bit offsets the call is
 * fstatat64(). */
static int stat_error;
static int link_error;

int __real_fstatat64(int dirfd, const char *path, struct stat *st, int flags);
int __wrap_fstatat64(int dirfd, const char *path, struct stat *st, int flags);

int __wrap_fstatat64(int dirfd, const char *path, struct stat *st, int flags)
{
	if (stat_error == 0 || strcmp(path, "exe") != 0)
		return __real_fstatat64(dirfd, path, st, flags);
	errno = stat_error;
	return -1;
}

ssize_t __real_readlinkat(int dirfd, const char *path, char *target, size_t size);
ssize_t __wrap_readlinkat(int dirfd, const char *path, char *target, size_t size);

ssize_t __wrap_readlinkat(int dirfd, const char *path, char *target, size_t size)
{
	if (link_error == 0)
		return __real_readlinkat(dirfd, path, target, size);
	errno = link_error;
	return -1;
}

static const struct plan *sample_plan(void)
{
	static struct plan plan;

	plan = (struct plan){
		.user = root,
		.binary = self,
	};
	return &plan;
}

static int check(const struct plan *plan, pid_t pid, char reason[HEALTH_REASON_MAX])
{
	struct tree tree;
	int r;

	assert_int_equal(tree_open("/", true, &tree), 0);
	r = health_process_check(plan, &tree, pid, reason);
	tree_done(&tree);
	return r;
}

/* A mask of our own status. */
static uint64_t own_mask(const char *field)
{
	cleanup_free char *text = NULL;
	cleanup_fd int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	const char *at;

	assert_int_equal(fd_read_all(fd, 1 << 20, &text, NULL), 0);
	at = strstr(text, field);
	assert_non_null(at);
	return strtoull(at + strlen(field), NULL, 16);
}

static void own_process_is_right_for_a_plan_that_grants_what_it_has(void **state)
{
	struct plan plan = *sample_plan();
	char reason[HEALTH_REASON_MAX] = "";

	(void)state;
	plan.capabilities = own_mask("CapBnd:");
	plan.file_capabilities = true;
	if (getuid() != 0 || own_mask("CapPrm:") != plan.capabilities || own_mask("CapAmb:") != 0)
		skip();
	assert_int_equal(check(&plan, getpid(), reason), 0);
	plan.capabilities ^= 1;
	assert_int_equal(check(&plan, getpid(), reason), HEALTH_PROCESS_E_WRONG);
	assert_non_null(strstr(reason, "bounding"));
}

static void name_of_a_process_cannot_pose_as_its_status(void **state)
{
	struct plan plan = *sample_plan();
	char reason[HEALTH_REASON_MAX] = "";
	char name[16] = "";

	(void)state;
	if (getuid() != 0)
		skip();
	assert_int_equal(prctl(PR_GET_NAME, name), 0);
	assert_int_equal(prctl(PR_SET_NAME, "\nCapBnd:\t1\n"), 0);
	plan.capabilities = 1;
	plan.file_capabilities = true;
	assert_int_equal(check(&plan, getpid(), reason), HEALTH_PROCESS_E_WRONG);
	assert_int_equal(prctl(PR_SET_NAME, name), 0);
}

static void user_that_does_not_exist_is_wrong(void **state)
{
	struct plan plan = *sample_plan();
	char reason[HEALTH_REASON_MAX] = "";

	(void)state;
	plan.user = nobody;
	assert_int_equal(check(&plan, getpid(), reason), HEALTH_PROCESS_E_WRONG);
	assert_non_null(strstr(reason, "affix-nobody-made"));
}

static void missing_binary_is_wrong(void **state)
{
	struct plan plan = *sample_plan();
	char reason[HEALTH_REASON_MAX] = "";

	(void)state;
	plan.binary = missing;
	assert_int_equal(check(&plan, getpid(), reason), HEALTH_PROCESS_E_WRONG);
	assert_string_equal(reason, "'/nonexistent/daemon' is missing");
}

static void process_that_ended_is_gone_also_as_a_zombie(void **state)
{
	char reason[HEALTH_REASON_MAX] = "";
	siginfo_t info;
	pid_t pid;

	(void)state;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(check(sample_plan(), pid, reason), HEALTH_PROCESS_E_GONE);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(check(sample_plan(), pid, reason), HEALTH_PROCESS_E_GONE);
}

static void other_program_is_named(void **state)
{
	char reason[HEALTH_REASON_MAX] = "";
	int ready[2];
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)execl("/bin/sleep", "sleep", "60", (char *)NULL);
		_exit(127);
	}
	(void)fd_close(ready[1]);
	/* The pipe closes with the exec. */
	assert_int_equal(read(ready[0], &byte, 1), 0);
	(void)fd_close(ready[0]);
	assert_int_equal(check(sample_plan(), pid, reason), HEALTH_PROCESS_E_OTHER);
	assert_non_null(strstr(reason, "sleep' instead of '"));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void program_that_cannot_be_looked_at_is_another_one(void **state)
{
	char reason[HEALTH_REASON_MAX] = "";

	(void)state;
	stat_error = EACCES;
	assert_int_equal(check(sample_plan(), getpid(), reason), HEALTH_PROCESS_E_OTHER);
	assert_non_null(strstr(reason, "cannot be looked at"));
	/* Somebody who may look at no process has nothing to say about this one. */
	link_error = EACCES;
	assert_int_equal(check(sample_plan(), getpid(), reason), -EACCES);
	link_error = ENOENT;
	assert_int_equal(check(sample_plan(), getpid(), reason), HEALTH_PROCESS_E_GONE);
	stat_error = link_error = 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(own_process_is_right_for_a_plan_that_grants_what_it_has),
		cmocka_unit_test(name_of_a_process_cannot_pose_as_its_status),
		cmocka_unit_test(user_that_does_not_exist_is_wrong),
		cmocka_unit_test(missing_binary_is_wrong),
		cmocka_unit_test(process_that_ended_is_gone_also_as_a_zombie),
		cmocka_unit_test(other_program_is_named),
		cmocka_unit_test(program_that_cannot_be_looked_at_is_another_one),
	};

	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
