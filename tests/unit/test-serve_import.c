/* SPDX-License-Identifier: Apache-2.0 */

#include "control/serve_import.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/package_arrival.h"

#define PATIENCE_SECONDS 20U

static int begun[2]; /* a pipe: a byte for each check that hangs */
static bool hangs;
static bool pull_hangs;

void __wrap_package_arrival_check(struct package_arrival *arrival);

void __wrap_package_arrival_check(struct package_arrival *arrival)
{
	const char byte = 1;

	while (pull_hangs && arrival->pull)
		(void)pause();
	while (hangs) {
		if (write(begun[1], &byte, sizeof(byte)) < 0)
			_exit(EXIT_FAILURE);
		(void)pause();
	}
	arrival->is_checked = true;
}

static struct package_arrival *arrival_new(void)
{
	struct package_arrival *arrival = calloc(1, sizeof(*arrival));

	assert_non_null(arrival);
	arrival->data_dirfd = arrival->trust_dirfd = arrival->dirfd = arrival->fd = -EBADF;
	return arrival;
}

static void on_checked(void *userdata, unsigned front, const Link__HttpRequest *request,
		       struct package_arrival *arrival)
{
	(void)request;
	assert_true(arrival->is_checked);
	*(unsigned *)userdata = front;
}

static void an_upload_is_checked_and_its_front_is_told(void **state)
{
	Link__HttpRequest request = LINK__HTTP_REQUEST__INIT;
	unsigned front = 0;
	const struct serve_imports_output output = {&front, on_checked};
	cleanup_serve_imports struct serve_imports *imports = NULL;
	sd_event *event = NULL;

	(void)state;
	assert_true(sd_event_new(&event) >= 0);
	assert_int_equal(serve_imports_new(event, &output, &imports), 0);
	serve_imports_add(imports, 3, &request, arrival_new());
	while (front == 0)
		assert_true(sd_event_run(event, UINT64_MAX) >= 0);
	assert_int_equal(front, 3);
	imports = serve_imports_free(imports);
	(void)sd_event_unref(event);
}

/* Neither waits for the other. */
static void what_is_pulled_is_in_no_uploads_way(void **state)
{
	Link__HttpRequest request = LINK__HTTP_REQUEST__INIT;
	struct package_arrival *pulled = arrival_new();
	unsigned front = 0;
	const struct serve_imports_output output = {&front, on_checked};
	struct serve_imports *imports = NULL;
	sd_event *event = NULL;
	pid_t pid;

	(void)state;
	pulled->pull = calloc(1, sizeof(*pulled->pull));
	assert_non_null(pulled->pull);
	pid = fork();
	assert_true(pid >= 0);
	if (pid > 0) {
		int status = -1;

		(void)package_arrival_free(pulled);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGKILL);
		return;
	}
	(void)alarm(PATIENCE_SECONDS);
	pull_hangs = true;
	if (sd_event_new(&event) < 0 || serve_imports_new(event, &output, &imports) < 0)
		_exit(EXIT_FAILURE);
	serve_imports_add(imports, 2, &request, pulled);
	serve_imports_add(imports, 3, &request, arrival_new());
	while (front == 0) {
		if (sd_event_run(event, UINT64_MAX) < 0)
			_exit(EXIT_FAILURE);
	}
	/* By a signal, as below. */
	(void)raise(front == 3 ? SIGKILL : SIGABRT);
	_exit(EXIT_FAILURE);
}

/* As the store ends on SIGTERM; whether it came that far. */
static _Noreturn void end_during_a_check(void)
{
	const struct serve_imports_output output = {NULL, on_checked};
	Link__HttpRequest request = LINK__HTTP_REQUEST__INIT;
	struct serve_imports *imports = NULL;
	sd_event *event = NULL;
	char byte;

	hangs = true;
	(void)alarm(PATIENCE_SECONDS);
	if (sd_event_new(&event) < 0 || serve_imports_new(event, &output, &imports) < 0)
		_exit(EXIT_FAILURE);
	serve_imports_add(imports, 1, &request, arrival_new());
	serve_imports_add(imports, 1, &request, arrival_new());
	if (read(begun[0], &byte, sizeof(byte)) != 1)
		_exit(EXIT_FAILURE);
	imports = serve_imports_free(imports);
	(void)sd_event_unref(event);
	/* By a signal, as an exit has valgrind take the thread that hangs for a leak. */
	(void)raise(imports ? SIGABRT : SIGKILL);
	_exit(EXIT_FAILURE);
}

static void the_end_does_not_wait_for_a_check_that_hangs(void **state)
{
	int status = -1;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(begun), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		end_during_a_check();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
	(void)close(begun[0]);
	(void)close(begun[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_end_does_not_wait_for_a_check_that_hangs),
		cmocka_unit_test(an_upload_is_checked_and_its_front_is_told),
		cmocka_unit_test(what_is_pulled_is_in_no_uploads_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
