/* SPDX-License-Identifier: Apache-2.0 */

#include "control/serve_import.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "control/package_arrival.h"

#define PATIENCE_SECONDS 20U
#define LOOK_USEC        1000U
#define A_WHILE_USEC     200000U

static int begun[2]; /* a pipe: a byte for each check that hangs */
static bool hangs;
static const char *_Atomic hanging_registry; /* how their names begin */

void __wrap_package_arrival_check(struct package_arrival *arrival);

void __wrap_package_arrival_check(struct package_arrival *arrival)
{
	const char byte = 1;

	while (hanging_registry && arrival->pull &&
	       str_starts_with(arrival->pull->registry, hanging_registry)) {
		if (atomic_load(&arrival->pull->is_abandoned)) {
			arrival->result = -ECANCELED;
			break;
		}
		(void)usleep(LOOK_USEC);
	}
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

static struct package_arrival *pull_new(const char *registry)
{
	struct package_arrival *arrival = arrival_new();

	arrival->pull = calloc(1, sizeof(*arrival->pull));
	assert_non_null(arrival->pull);
	arrival->pull->registry = strdup(registry);
	assert_non_null(arrival->pull->registry);
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

/* In a process of its own, as threads that hang end with it: *what* returns whether all was well.
 */
static void assert_in_child(bool (*what)(void))
{
	int status = -1;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)alarm(PATIENCE_SECONDS);
		/* By a signal, as an exit has valgrind take a thread that hangs for a leak. */
		(void)raise(what() ? SIGKILL : SIGABRT);
		_exit(EXIT_FAILURE);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
}

/* What was answered last: by whom it was asked, and the name of the refusal. */
static struct {
	unsigned front;
	const char *name;
	unsigned count;
} answered;

static void on_answered(void *userdata, unsigned front, const Link__HttpRequest *request,
			struct package_arrival *arrival)
{
	(void)userdata;
	(void)request;
	answered.front = front;
	answered.name = arrival->result > 0 ? arrival->problem.name : "";
	answered.count++;
}

struct queue {
	sd_event *event;
	struct serve_imports *imports;
};

static bool queue_open(struct queue *queue)
{
	const struct serve_imports_output output = {NULL, on_answered};

	return sd_event_new(&queue->event) >= 0 &&
	       serve_imports_new(queue->event, &output, &queue->imports) >= 0;
}

/* Its request has the number of the front that asks. */
static void add(struct queue *queue, unsigned front, struct package_arrival *arrival)
{
	Link__HttpRequest request = LINK__HTTP_REQUEST__INIT;

	request.id = front;
	serve_imports_add(queue->imports, front, &request, arrival);
}

/* Until *count* were answered in all. */
static bool wait_for(struct queue *queue, unsigned count)
{
	while (answered.count < count) {
		if (sd_event_run(queue->event, UINT64_MAX) < 0)
			return false;
	}
	return answered.count == count;
}

static bool upload_passes_pull(void)
{
	struct queue queue = {0};

	hanging_registry = "";
	if (!queue_open(&queue))
		return false;
	add(&queue, 2, pull_new("slow.example"));
	add(&queue, 3, arrival_new());
	return wait_for(&queue, 1) && answered.front == 3;
}

static void what_is_pulled_is_in_no_uploads_way(void **state)
{
	(void)state;
	assert_in_child(upload_passes_pull);
}

static bool pull_passes_slow_registry(void)
{
	struct queue queue = {0};

	hanging_registry = "slow.example";
	if (!queue_open(&queue))
		return false;
	add(&queue, 1, pull_new("slow.example"));
	add(&queue, 2, pull_new("slow.example"));
	add(&queue, 3, pull_new("good.example"));
	add(&queue, 4, pull_new("good.example"));
	return wait_for(&queue, 2) && answered.front == 4;
}

static void a_registry_that_is_slow_is_in_its_own_way_only(void **state)
{
	(void)state;
	assert_in_child(pull_passes_slow_registry);
}

static bool pulls_are_refused(void)
{
	struct queue queue = {0};
	char registry[16];

	hanging_registry = "";
	if (!queue_open(&queue))
		return false;
	for (unsigned i = 0; i < 4; i++)
		add(&queue, 1, pull_new("slow.example"));
	if (answered.count != 0)
		return false;
	add(&queue, 7, pull_new("slow.example"));
	if (answered.count != 1 || answered.front != 7 || strcmp(answered.name, "busy") != 0)
		return false;
	/* Twelve more from others, and no seventeenth. */
	for (unsigned i = 0; i < 12; i++) {
		(void)snprintf(registry, sizeof(registry), "r%u.example", i);
		add(&queue, 1, pull_new(registry));
	}
	if (answered.count != 1)
		return false;
	add(&queue, 8, pull_new("last.example"));
	if (answered.count != 2 || answered.front != 8 || strcmp(answered.name, "busy") != 0)
		return false;
	add(&queue, 9, arrival_new());
	return wait_for(&queue, 3) && answered.front == 9 && *answered.name == '\0';
}

static void more_pulls_than_may_wait_are_refused_and_uploads_are_not(void **state)
{
	(void)state;
	assert_in_child(pulls_are_refused);
}

static bool four_at_once(void)
{
	struct queue queue = {0};
	char registry[16];

	hanging_registry = "r";
	if (!queue_open(&queue))
		return false;
	for (unsigned i = 1; i <= 4; i++) {
		(void)snprintf(registry, sizeof(registry), "r%u.example", i);
		add(&queue, i, pull_new(registry));
	}
	add(&queue, 5, pull_new("good.example"));
	if (sd_event_run(queue.event, A_WHILE_USEC) < 0 || answered.count != 0)
		return false;
	serve_imports_gone(queue.imports, 3, 3);
	return wait_for(&queue, 1) && answered.front == 5;
}

static void pulls_beyond_those_that_run_wait(void **state)
{
	(void)state;
	assert_in_child(four_at_once);
}

/* The last of four that wait for a registry that is dead. */
static bool the_living_are_served(void)
{
	struct queue queue = {0};

	hanging_registry = "slow.example";
	if (!queue_open(&queue))
		return false;
	for (unsigned i = 1; i <= 4; i++)
		add(&queue, i, pull_new("slow.example"));
	serve_imports_gone(queue.imports, 9, 4); /* another front's */
	serve_imports_gone(queue.imports, 2, 2);
	serve_imports_front_gone(queue.imports, 3);
	serve_imports_gone(queue.imports, 2, 2); /* known to be gone */
	/* There is room where two have gone. */
	add(&queue, 5, pull_new("slow.example"));
	add(&queue, 6, pull_new("slow.example"));
	if (answered.count != 0)
		return false;
	add(&queue, 7, pull_new("slow.example"));
	if (answered.count != 1 || answered.front != 7)
		return false;
	/* What runs ends too, and the turn is the next one's. */
	serve_imports_gone(queue.imports, 1, 1);
	if (sd_event_run(queue.event, UINT64_MAX) < 0 || answered.count != 1)
		return false;
	hanging_registry = NULL;
	return wait_for(&queue, 4) && answered.front == 6;
}

static void a_pull_that_nobody_waits_for_ends(void **state)
{
	(void)state;
	assert_in_child(the_living_are_served);
}

static bool upload_stays(void)
{
	struct queue queue = {0};

	if (!queue_open(&queue))
		return false;
	add(&queue, 1, arrival_new());
	add(&queue, 2, arrival_new());
	serve_imports_gone(queue.imports, 2, 2);
	return wait_for(&queue, 2) && answered.front == 2;
}

static void an_upload_is_taken_in_whoever_waits(void **state)
{
	(void)state;
	assert_in_child(upload_stays);
}

/* As the store ends on SIGTERM. */
static bool end_during_a_check(void)
{
	struct queue queue = {0};
	char byte;

	hangs = true;
	if (pipe(begun) < 0 || !queue_open(&queue))
		return false;
	add(&queue, 1, arrival_new());
	add(&queue, 1, arrival_new());
	if (read(begun[0], &byte, sizeof(byte)) != 1)
		return false;
	queue.imports = serve_imports_free(queue.imports);
	(void)sd_event_unref(queue.event);
	return !queue.imports;
}

static void the_end_does_not_wait_for_a_check_that_hangs(void **state)
{
	(void)state;
	assert_in_child(end_during_a_check);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_end_does_not_wait_for_a_check_that_hangs),
		cmocka_unit_test(an_upload_is_checked_and_its_front_is_told),
		cmocka_unit_test(what_is_pulled_is_in_no_uploads_way),
		cmocka_unit_test(a_registry_that_is_slow_is_in_its_own_way_only),
		cmocka_unit_test(more_pulls_than_may_wait_are_refused_and_uploads_are_not),
		cmocka_unit_test(pulls_beyond_those_that_run_wait),
		cmocka_unit_test(a_pull_that_nobody_waits_for_ends),
		cmocka_unit_test(an_upload_is_taken_in_whoever_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
