/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A bundle of a gibibyte is read three times before it is taken in, and meanwhile hosts want to be
 * heard: a thread reads, and lives as long as one check. It shares nothing with the loop but the
 * job, which is its own until it says that it is done, and the loop's from then on.
 *
 * Jobs that have the same source wait for each other: uploads, and what comes from one registry.
 * So a registry that is slow is in nobody's way but its own, and there only so many wait, all of
 * them for somebody who is still there.
 */

#include "control/serve_import.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/thread.h"
#include "control/package_arrival.h"

#define PULLS_AT_ONCE      4U
#define PULLS_MAX          16U
#define PULLS_REGISTRY_MAX 4U /* of them, from one */

struct job {
	struct job *next;
	struct package_arrival *arrival;
	Link__HttpRequest *request;
	unsigned front;
	pthread_t thread;
	bool is_running;
	atomic_bool is_done;
	int eventfd;
};

struct serve_imports {
	struct serve_imports_output output;
	sd_event_source *io;
	int eventfd;
	struct job *jobs; /* in the order in which they came */
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
	struct job *job = userdata;
	const int fd = job->eventfd;
	const uint64_t one = 1;

	package_arrival_check(job->arrival);
	atomic_store(&job->is_done, true);
	ignore_result(fd_write_full(fd, &one, sizeof(one)));
	return NULL;
}

static void finish(struct serve_imports *imports, struct job **place)
{
	cleanup_job struct job *job = *place;

	*place = job->next;
	if (job->arrival->result == -ECANCELED)
		return;
	imports->output.checked(imports->output.userdata, job->front, job->request, job->arrival);
}

static bool is_same_source(const struct package_arrival *a, const struct package_arrival *b)
{
	if (!a->pull || !b->pull)
		return a->pull == b->pull;
	return strcmp(a->pull->registry, b->pull->registry) == 0;
}

/* Whether its turn has come. */
static bool is_next(const struct serve_imports *imports, const struct job *job)
{
	unsigned running = 0;

	for (const struct job *other = imports->jobs; other; other = other->next)
		running += other->is_running && other->arrival->pull;
	if (job->is_running || (job->arrival->pull && running >= PULLS_AT_ONCE))
		return false;
	for (const struct job *other = imports->jobs; other != job; other = other->next) {
		if (is_same_source(other->arrival, job->arrival))
			return false;
	}
	return true;
}

/* Without a thread it is done all the same, while everybody waits. */
static void begin_next(struct serve_imports *imports)
{
	struct job **place = &imports->jobs;

	while (*place) {
		struct job *job = *place;

		if (is_next(imports, job)) {
			job->is_running = thread_start(&job->thread, NULL, check, job) == 0;
			if (!job->is_running) {
				package_arrival_check(job->arrival);
				finish(imports, place);
				/* Another of the same source may stand before this place. */
				place = &imports->jobs;
				continue;
			}
		}
		place = &job->next;
	}
}

static int on_checked(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct serve_imports *imports = userdata;
	struct job **place = &imports->jobs;
	uint64_t count;

	(void)source;
	(void)events;
	if (read(fd, &count, sizeof(count)) < 0)
		return 0;
	while (*place) {
		struct job *job = *place;

		if (!job->is_running || !atomic_load(&job->is_done)) {
			place = &job->next;
			continue;
		}
		(void)pthread_join(job->thread, NULL);
		finish(imports, place);
	}
	begin_next(imports);
	return 0;
}

int serve_imports_new(sd_event *event, const struct serve_imports_output *output,
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

struct serve_imports *serve_imports_free(struct serve_imports *imports)
{
	bool is_busy = false;

	if (!imports)
		return NULL;
	(void)sd_event_source_disable_unref(imports->io);
	while (imports->jobs) {
		struct job *job = imports->jobs;

		imports->jobs = job->next;
		is_busy = is_busy || job->is_running;
		/* A thread owns what it uses until the process ends. */
		if (job->is_running)
			(void)pthread_detach(job->thread);
		else
			(void)job_free(job);
	}
	if (!is_busy)
		(void)fd_close(imports->eventfd);
	free(imports);
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

/* 0; 1 with the arrival's problem. */
static int check_room(const struct serve_imports *imports, struct package_arrival *arrival)
{
	unsigned same = 0;
	unsigned all = 0;

	for (const struct job *job = imports->jobs; job; job = job->next) {
		all += job->arrival->pull != NULL;
		same += job->arrival->pull && is_same_source(job->arrival, arrival);
	}
	if (!arrival->pull || (all < PULLS_MAX && same < PULLS_REGISTRY_MAX))
		return 0;
	return api_refuse(&arrival->problem, 503, "busy", "/reference",
			  "%u pulls from '%s' and %u from elsewhere are under way already: try "
			  "again when some are done",
			  same, arrival->pull->registry, all - same);
}

void serve_imports_add(struct serve_imports *imports, unsigned front,
		       const Link__HttpRequest *request, struct package_arrival *arrival)
{
	cleanup_package_arrival struct package_arrival *owned = arrival;
	cleanup_job struct job *job = calloc(1, sizeof(*job));
	struct job **last = &imports->jobs;

	owned->result = check_room(imports, owned);
	owned->is_checked = owned->result != 0;
	if (owned->is_checked || !job || copy_request(request, &job->request) < 0) {
		if (!owned->is_checked)
			package_arrival_check(owned);
		imports->output.checked(imports->output.userdata, front, request, owned);
		return;
	}
	job->front = front;
	job->eventfd = imports->eventfd;
	job->arrival = TAKE_PTR(owned);
	while (*last)
		last = &(*last)->next;
	*last = TAKE_PTR(job);
	begin_next(imports);
}

/* What waits ends here, what runs by itself, soon. */
static void drop_abandoned(struct serve_imports *imports)
{
	struct job **place = &imports->jobs;

	while (*place) {
		struct job *job = *place;

		if (job->is_running || !job->arrival->pull ||
		    !atomic_load(&job->arrival->pull->is_abandoned)) {
			place = &job->next;
			continue;
		}
		*place = job->next;
		(void)job_free(job);
	}
	/* It may have been in the way of others. */
	begin_next(imports);
}

void serve_imports_gone(struct serve_imports *imports, unsigned front, uint64_t request)
{
	for (struct job *job = imports->jobs; job; job = job->next) {
		if (job->front == front && job->request->id == request && job->arrival->pull)
			atomic_store(&job->arrival->pull->is_abandoned, true);
	}
	drop_abandoned(imports);
}

void serve_imports_front_gone(struct serve_imports *imports, unsigned front)
{
	if (!imports)
		return;
	for (struct job *job = imports->jobs; job; job = job->next) {
		if (job->front != front)
			continue;
		job->front = 0;
		if (job->arrival->pull)
			atomic_store(&job->arrival->pull->is_abandoned, true);
	}
	drop_abandoned(imports);
}
