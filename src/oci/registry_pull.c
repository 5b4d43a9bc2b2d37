/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Blobs into the cache, a few at a time. Each is digested as it comes; what came before a
 * connection broke stays, and the next try asks for the rest. A try that brought a good piece is
 * not one of those that are counted. One thread does it all: what waits, waits by the clock.
 */

#include "oci/registry_call.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define PROGRESS_MIN   65536U
#define PARALLEL_MAX   4U
#define TRIES_ALL_MAX  1000U /* also of those that brought something */
#define STEP_MSEC      200U
#define TELL_USEC      100000U
#define STATUS_OK      200
#define STATUS_PARTIAL 206
#define STATUS_DENIED  401
#define STATUS_RANGE   416

/* One blob that is wanted. */
struct job {
	struct oci_registry *registry;
	const struct oci_cache *cache;
	const struct oci_descriptor *item;
	struct oci_cache_blob blob;
	struct oci_transfer transfer;
	unsigned failures;
	uint64_t start; /* CLOCK_MONOTONIC, microseconds: not before */
	uint64_t told;
	unsigned tries;
	uint64_t most; /* bytes that were there when one before this had brought something */
	bool has_asked;
	bool has_begun; /* its blob is open */
	bool is_first;  /* nothing of this answer came yet */
	bool was_resumed;
	bool is_done;
	int *ret_fd;
};

static void job_done(struct job *job)
{
	oci_transfer_done(&job->transfer);
	oci_cache_blob_done(&job->blob);
}

static void tell(const struct job *job, enum oci_step step)
{
	const struct oci_options *options = job->registry->options;
	const struct oci_progress progress = {
		.step = step,
		.digest = job->item->digest,
		.done = step == OCI_STEP_EXISTS ? job->item->size : job->blob.written,
		.total = job->item->size,
	};

	if (options->on_progress)
		options->on_progress(options->userdata, &progress);
}

/* Bytes of the blob. A server that does not go on where it was asked to sends all: the beginning is
 * forgotten. */
static int on_bytes(void *userdata, const void *data, size_t size)
{
	struct job *job = userdata;
	const struct oci_answer *answer = &job->transfer.answer;
	uint64_t now = clock_monotonic_usec();
	int r;

	if (job->is_first && job->transfer.from > 0 && answer->status == STATUS_OK) {
		r = oci_cache_restart(&job->blob);
		if (r < 0)
			return r;
	}
	job->is_first = false;
	if (answer->status == STATUS_PARTIAL && answer->range_start != job->transfer.from)
		return -EBADMSG;
	r = oci_cache_add(&job->blob, data, size);
	if (r == 0 && now - job->told > TELL_USEC) {
		job->told = now;
		tell(job, OCI_STEP_MOVED);
	}
	return r;
}

/* Opens what an earlier attempt left, or nothing. */
static int begin(struct job *job, struct problem *reterr_problem)
{
	int r;

	if (job->has_begun)
		return 0;
	r = oci_cache_begin(job->cache, job->item->digest, job->item->size, &job->blob);
	if (r == -ENOSPC)
		return oci_fail(reterr_problem, OCI_NO_SPACE,
				"the blob %s has %llu bytes, and the cache '%s' has less room: "
				"make room, or name another with --cache",
				job->item->digest, (unsigned long long)job->item->size,
				job->cache->path);
	if (r < 0)
		return r;
	job->has_begun = true;
	job->was_resumed = job->blob.written > 0;
	job->most = job->blob.written;
	tell(job, OCI_STEP_START);
	return 0;
}

static int ask(struct job *job)
{
	char path[OCI_DIGEST_TEXT_SIZE + sizeof("blobs/")];
	int r;

	(void)snprintf(path, sizeof(path), "blobs/%s", job->item->digest);
	job->is_first = true;
	job->tries++;
	job->transfer.from = job->blob.written;
	job->transfer.sink = on_bytes;
	job->transfer.userdata = job;
	r = oci_registry_address(job->registry, &job->transfer, path);
	return r == 0 ? oci_http_start(job->registry->http, &job->transfer) : r;
}

static int commit(struct job *job, struct problem *reterr_problem)
{
	int r = oci_cache_commit(&job->blob, job->ret_fd, reterr_problem);

	if (r == OCI_BAD_DIGEST && job->was_resumed) {
		/* It may have been what an earlier attempt left: anew, once. */
		oci_cache_blob_done(&job->blob);
		job->has_begun = false;
		return 0;
	}
	if (r != 0)
		return r;
	job->is_done = true;
	tell(job, OCI_STEP_DONE);
	return 0;
}

/* Whether this try brought so much that no earlier one had that another is worth it: a byte a try
 * would never end, nor would what a server sends all over again, because it does not go on where it
 * was asked to. */
static bool has_moved(const struct job *job)
{
	return job->blob.written > job->most && job->blob.written - job->most >= PROGRESS_MIN;
}

static void try_again(struct job *job)
{
	oci_tell_retry(job->registry, &job->transfer, job->item->digest);
	if (has_moved(job)) {
		job->failures = 0;
		job->most = job->blob.written;
	}
	job->start = clock_monotonic_usec() + oci_retry_usec(&job->transfer, job->failures++);
}

/* A token that ran out, or the first request of all. */
static int authorize_again(struct job *job, struct problem *reterr_problem)
{
	const char *ours = job->transfer.authorization;
	const char *known = job->registry->authorization;

	/* Another job may have asked meanwhile. */
	if (known && (!ours || strcmp(known, ours) != 0))
		return 0;
	job->has_asked = true;
	return oci_registry_authorize(job->registry, &job->transfer.answer, reterr_problem);
}

/* All came that was to come, or as much as the registry has. */
static int settle_good(struct job *job, struct problem *reterr_problem)
{
	job->has_asked = false;
	if (job->blob.written == job->blob.size || job->tries >= TRIES_ALL_MAX ||
	    (!has_moved(job) && job->failures + 1 >= OCI_TRIES_MAX))
		return commit(job, reterr_problem);
	try_again(job);
	return 0;
}

/* What becomes of a job whose transfer has ended. */
static int settle(struct job *job, struct problem *reterr_problem)
{
	const struct oci_transfer *transfer = &job->transfer;
	cleanup_free char *what = NULL;
	long status = transfer->answer.status;

	job->registry->was_reached |= transfer->code == 0;
	if (transfer->code == 0 && (status == STATUS_OK || status == STATUS_PARTIAL))
		return settle_good(job, reterr_problem);
	/* What is there is not the beginning of what the registry has. */
	if (transfer->code == 0 && status == STATUS_RANGE && job->failures + 1 < OCI_TRIES_MAX) {
		job->failures++;
		return oci_cache_restart(&job->blob);
	}
	if (transfer->code == 0 && status == STATUS_RANGE)
		return commit(job, reterr_problem);
	if (transfer->code == 0 && status == STATUS_DENIED && !job->has_asked &&
	    !transfer->is_elsewhere && job->tries < TRIES_ALL_MAX)
		return authorize_again(job, reterr_problem);
	if (job->tries < TRIES_ALL_MAX &&
	    oci_should_retry(job->registry, transfer, has_moved(job) ? 0 : job->failures)) {
		try_again(job);
		return 0;
	}
	if (transfer->sink_error == -ENOSPC || transfer->sink_error == -EDQUOT)
		oci_cache_discard(&job->blob);
	if (str_format(&what, "the blob %s", job->item->digest) < 0)
		return -ENOMEM;
	return oci_registry_judge(job->registry, transfer, what, reterr_problem);
}

static int start(struct job *job, struct problem *reterr_problem)
{
	int r = begin(job, reterr_problem);

	/* The earlier attempt may have had all of it. */
	if (r == 0 && job->blob.written == job->blob.size)
		return commit(job, reterr_problem);
	if (r == 0)
		r = ask(job);
	/* An URL that is not gone to ends at once. */
	return r == 0 && !job->transfer.is_running ? settle(job, reterr_problem) : r;
}

/* Starts what may start, and settles what has ended; *ret_left* is how many are not done. */
static int look_at(struct job *jobs, size_t count, size_t *ret_left, struct problem *reterr_problem)
{
	uint64_t now = clock_monotonic_usec();
	size_t running = 0;

	*ret_left = 0;
	for (size_t i = 0; i < count; i++)
		running += jobs[i].transfer.is_running;
	for (size_t i = 0; i < count; i++) {
		struct job *job = &jobs[i];
		int r = 0;

		if (job->is_done)
			continue;
		(*ret_left)++;
		if (job->transfer.is_running || job->start > now || running >= PARALLEL_MAX)
			continue;
		r = start(job, reterr_problem);
		if (r != 0)
			return r;
		running++;
	}
	return 0;
}

static int settle_ended(struct job *jobs, size_t count, const bool *was_running,
			struct problem *reterr_problem)
{
	for (size_t i = 0; i < count; i++) {
		int r;

		if (!was_running[i] || jobs[i].transfer.is_running)
			continue;
		r = settle(&jobs[i], reterr_problem);
		if (r != 0)
			return r;
	}
	return 0;
}

static int run(struct job *jobs, size_t count, struct problem *reterr_problem)
{
	cleanup_free bool *was_running = calloc(count + 1, sizeof(*was_running));
	size_t left = count;

	if (!was_running)
		return -ENOMEM;
	while (left > 0) {
		bool any = false;
		int r = look_at(jobs, count, &left, reterr_problem);

		if (r != 0)
			return r;
		for (size_t i = 0; i < count; i++) {
			was_running[i] = jobs[i].transfer.is_running;
			any |= was_running[i];
		}
		if (any)
			oci_http_step(jobs[0].registry->http, STEP_MSEC);
		else if (left > 0)
			clock_sleep_usec(STEP_MSEC * CLOCK_USEC_PER_MSEC / 4);
		r = settle_ended(jobs, count, was_running, reterr_problem);
		if (r != 0)
			return r;
	}
	return 0;
}

/* Whether an earlier one of *items* is the same blob. */
static bool is_repeated(const struct oci_descriptor *const *items, size_t at)
{
	for (size_t i = 0; i < at; i++) {
		if (strcmp(items[i]->digest, items[at]->digest) == 0)
			return true;
	}
	return false;
}

static int prepare(struct oci_registry *registry, const struct oci_cache *cache,
		   const struct oci_descriptor *const *items, size_t count, int *ret_fds,
		   struct job *jobs, size_t *ret_count)
{
	for (size_t i = 0; i < count; i++) {
		struct job *job = &jobs[*ret_count];
		int r = oci_cache_find(cache, items[i]->digest, items[i]->size, &ret_fds[i]);

		if (r < 0 && r != -ENOENT)
			return r;
		if (r == -ENOENT && is_repeated(items, i))
			continue;
		*job = (struct job){.registry = registry,
				    .cache = cache,
				    .item = items[i],
				    .blob = OCI_CACHE_BLOB_INIT,
				    .transfer = OCI_TRANSFER_INIT,
				    .ret_fd = &ret_fds[i]};
		if (r == 0)
			tell(job, OCI_STEP_EXISTS);
		else
			(*ret_count)++;
	}
	return 0;
}

int oci_registry_pull(struct oci_registry *registry, const struct oci_cache *cache,
		      const struct oci_descriptor *const *items, size_t count, int *ret_fds,
		      struct problem *reterr_problem)
{
	cleanup_free struct job *jobs = calloc(count + 1, sizeof(*jobs));
	size_t wanted = 0;
	int r;

	if (!jobs)
		return -ENOMEM;
	r = prepare(registry, cache, items, count, ret_fds, jobs, &wanted);
	if (r == 0 && wanted > 0)
		r = run(jobs, wanted, reterr_problem);
	for (size_t i = 0; i < wanted; i++)
		job_done(&jobs[i]);
	/* Those that are named twice. */
	for (size_t i = 0; i < count && r == 0; i++) {
		if (ret_fds[i] < 0)
			r = oci_cache_find(cache, items[i]->digest, items[i]->size, &ret_fds[i]);
	}
	return r;
}
