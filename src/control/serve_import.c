/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A bundle of a gibibyte is read three times before it is taken in, and meanwhile hosts want to be
 * heard: a thread reads, and lives as long as one check. It shares nothing with the loop but the
 * arrival, which is its own until it writes to the eventfd, and the loop's from then on.
 */

#include "control/serve_import.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/thread.h"
#include "control/package_arrival.h"

struct job {
	struct job *next;
	struct package_arrival *arrival;
	Link__HttpRequest *request;
	unsigned front;
};

struct serve_imports {
	struct serve_imports_output output;
	sd_event_source *io;
	int eventfd;
	pthread_t thread;
	bool is_busy;     /* with the first job */
	struct job *jobs; /* in the order in which they came */
	/* For what comes from registries, which may be slow: they stand in nobody's way. */
	struct serve_imports *pulls;
};

static struct job *job_free(struct job *job)
{
	if (!job)
		return NULL;
	(void)package_arrival_free(job->arrival);
	if (job->request)
		link__http_request__free_unpacked(job->request, NULL);
	free(job);
	return NULL;
}

DEFINE_CLEANUP(struct job *, job, job_free)
#define cleanup_job CLEANUP(cleanup_job)

static void *check(void *userdata)
{
	const struct serve_imports *imports = userdata;
	const uint64_t one = 1;

	package_arrival_check(imports->jobs->arrival);
	ignore_result(fd_write_full(imports->eventfd, &one, sizeof(one)));
	return NULL;
}

static void finish_first(struct serve_imports *imports)
{
	cleanup_job struct job *job = imports->jobs;

	imports->jobs = job->next;
	imports->output.checked(imports->output.userdata, job->front, job->request, job->arrival);
}

/* Without a thread it is done all the same, while everybody waits. */
static void begin_next(struct serve_imports *imports)
{
	while (imports->jobs && !imports->is_busy) {
		imports->is_busy = thread_start(&imports->thread, NULL, check, imports) == 0;
		if (imports->is_busy)
			return;
		package_arrival_check(imports->jobs->arrival);
		finish_first(imports);
	}
}

static int on_checked(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct serve_imports *imports = userdata;
	uint64_t count;

	(void)source;
	(void)events;
	if (read(fd, &count, sizeof(count)) < 0 || !imports->is_busy)
		return 0;
	(void)pthread_join(imports->thread, NULL);
	imports->is_busy = false;
	finish_first(imports);
	begin_next(imports);
	return 0;
}

static int new_queue(sd_event *event, const struct serve_imports_output *output,
		     struct serve_imports **ret)
{
	cleanup_serve_imports struct serve_imports *imports = calloc(1, sizeof(*imports));
	int r;

	if (!imports)
		return -ENOMEM;
	imports->output = *output;
	imports->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (imports->eventfd < 0)
		return -errno;
	r = sd_event_add_io(event, &imports->io, imports->eventfd, EPOLLIN, on_checked, imports);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(imports);
	return 0;
}

int serve_imports_new(sd_event *event, const struct serve_imports_output *output,
		      struct serve_imports **ret)
{
	cleanup_serve_imports struct serve_imports *imports = NULL;
	struct serve_imports *pulls = NULL;
	int r;

	r = new_queue(event, output, &imports);
	if (r == 0)
		r = new_queue(event, output, &pulls);
	/* Without an error it is there, which the analyzer does not see. */
	if (r != 0 || !imports)
		return r;
	imports->pulls = pulls;
	*ret = TAKE_PTR(imports);
	return 0;
}

static void free_queue(struct serve_imports *imports)
{
	(void)sd_event_source_disable_unref(imports->io);
	if (imports->is_busy) {
		/* It owns what it uses until the process ends. */
		(void)pthread_detach(imports->thread);
		return;
	}
	while (imports->jobs) {
		struct job *job = imports->jobs;

		imports->jobs = job->next;
		(void)job_free(job);
	}
	(void)fd_close(imports->eventfd);
	free(imports);
}

struct serve_imports *serve_imports_free(struct serve_imports *imports)
{
	if (!imports)
		return NULL;
	if (imports->pulls)
		free_queue(imports->pulls);
	free_queue(imports);
	return NULL;
}

/* The frame it came in is gone when the answer is due. */
static int copy_request(const Link__HttpRequest *request, Link__HttpRequest **ret)
{
	size_t size = link__http_request__get_packed_size(request);
	cleanup_free uint8_t *packed = malloc(size + 1);

	if (!packed)
		return -ENOMEM;
	*ret = link__http_request__unpack(NULL, link__http_request__pack(request, packed), packed);
	return *ret ? 0 : -ENOMEM;
}

void serve_imports_add(struct serve_imports *imports, unsigned front,
		       const Link__HttpRequest *request, struct package_arrival *arrival)
{
	cleanup_package_arrival struct package_arrival *owned = arrival;
	cleanup_job struct job *job = calloc(1, sizeof(*job));
	struct serve_imports *queue = arrival->pull ? imports->pulls : imports;
	struct job **last = &queue->jobs;

	if (!job || copy_request(request, &job->request) < 0) {
		package_arrival_check(owned);
		imports->output.checked(imports->output.userdata, front, request, owned);
		return;
	}
	job->front = front;
	job->arrival = TAKE_PTR(owned);
	while (*last)
		last = &(*last)->next;
	*last = TAKE_PTR(job);
	begin_next(queue);
}

static void forget_front(struct serve_imports *imports, unsigned front)
{
	for (struct job *job = imports->jobs; job; job = job->next) {
		if (job->front == front)
			job->front = 0;
	}
}

void serve_imports_front_gone(struct serve_imports *imports, unsigned front)
{
	if (!imports)
		return;
	forget_front(imports, front);
	forget_front(imports->pulls, front);
}
