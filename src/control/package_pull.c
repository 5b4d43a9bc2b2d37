/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The store's end of a pull. Which registries may be asked is the operator's of this affixd to say,
 * in affixd.yaml, and nobody's by REST: whoever holds a token could have any server within our
 * reach asked for something otherwise. The process that asks is our own program, executed anew and
 * given two directories; what it says is read with bounds, and until a deadline.
 */

#include "control/package_pull.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/path.h"
#include "base/reap.h"
#include "base/str.h"
#include "control/fleet_private.h"
#include "control/package_arrival.h"
#include "control/puller.h"
#include "oci/artifact.h"
#include "oci/cache.h"

#define PROGRAM        "/proc/self/exe"
#define INCOMING       "incoming"
#define CACHE          "pulled"
#define DIRECTORY_MODE 0700
#define DEADLINE_USEC  (240 * CLOCK_USEC_PER_SEC)
#define END_USEC       (10 * CLOCK_USEC_PER_SEC)
#define LOOK_MSEC      200 /* whether somebody still waits for it */
#define NUMBER_SIZE    24U
#define PATH_SIZE      64U
/* Above every place where a descriptor of the child belongs. */
#define ASIDE 10

struct package_pull *package_pull_free(struct package_pull *pull)
{
	if (!pull)
		return NULL;
	free(pull->reference);
	free(pull->registry);
	free(pull->auth_file);
	free(pull->ca_file);
	free(pull);
	return NULL;
}

DEFINE_CLEANUP(struct package_pull *, package_pull, package_pull_free)
#define cleanup_package_pull CLEANUP(cleanup_package_pull)

static int copy_text(const char *text, char **ret)
{
	*ret = text ? strdup(text) : NULL;
	return text && !*ret ? -ENOMEM : 0;
}

static int take_reference(const struct fleet *fleet, const char *reference,
			  struct package_pull *pull, struct api_problem *reterr)
{
	struct problem problem = PROBLEM_INIT;
	struct oci_reference parsed;
	int r;

	if (oci_reference_parse(reference, &parsed, &problem) != 0)
		return api_refuse(reterr, 400, oci_condition_to_string(OCI_BAD_REFERENCE),
				  "/reference", "%s", problem.text);
	if (!fleet->options.registries || !strv_has(fleet->options.registries, parsed.host))
		return api_refuse(reterr, 403, "registry-not-allowed", "/reference",
				  "'%s' is not among the 'registries' of this server's "
				  "affixd.yaml: have it put there, or upload the bundles",
				  parsed.host);
	r = copy_text(reference, &pull->reference);
	return r == 0 ? copy_text(parsed.host, &pull->registry) : r;
}

int package_pull_new(struct fleet *fleet, const char *reference, struct package_arrival **ret,
		     struct api_problem *reterr)
{
	cleanup_package_arrival struct package_arrival *arrival = NULL;
	cleanup_package_pull struct package_pull *pull = calloc(1, sizeof(*pull));
	int r;

	if (!pull)
		return -ENOMEM;
	r = take_reference(fleet, reference, pull, reterr);
	if (r == 0)
		r = copy_text(fleet->options.registry_auth, &pull->auth_file);
	if (r == 0)
		r = copy_text(fleet->options.registry_ca, &pull->ca_file);
	if (r == 0)
		r = package_arrival_begin(fleet, &arrival);
	if (r != 0)
		return r;
	pull->number = ++fleet->imports;
	arrival->pull = TAKE_PTR(pull);
	*ret = TAKE_PTR(arrival);
	return 0;
}

/* The child's descriptors, each above those that it will have. */
struct ends {
	int incoming;
	int cache;
	int answer;
};

static void ends_done(struct ends *ends)
{
	(void)fd_close(ends->incoming);
	(void)fd_close(ends->cache);
	(void)fd_close(ends->answer);
}

static int move_aside(int fd, int *ret)
{
	cleanup_fd int owned = fd;

	*ret = fcntl(owned, F_DUPFD_CLOEXEC, ASIDE);
	return *ret < 0 ? -errno : 0;
}

static int open_ends(int data_dirfd, struct ends *ret, int *ret_answer)
{
	int pipe_ends[2];
	int fd = -EBADF;
	int r;

	if (mkdirat(data_dirfd, CACHE, DIRECTORY_MODE) < 0 && errno != EEXIST)
		return -errno;
	r = path_open_beneath(data_dirfd, CACHE, O_RDONLY | O_DIRECTORY, 0, &fd);
	if (r == 0)
		r = move_aside(fd, &ret->cache);
	if (r == 0)
		r = path_open_beneath(data_dirfd, INCOMING, O_RDONLY | O_DIRECTORY, 0, &fd);
	if (r == 0)
		r = move_aside(fd, &ret->incoming);
	if (r < 0)
		return r;
	if (pipe2(pipe_ends, O_CLOEXEC) < 0)
		return -errno;
	*ret_answer = pipe_ends[0];
	return move_aside(pipe_ends[1], &ret->answer);
}

static int set_actions(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes,
		       const struct ends *ends)
{
	sigset_t none;
	int r;

	(void)sigemptyset(&none);
	r = posix_spawn_file_actions_adddup2(actions, ends->answer, STDOUT_FILENO);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(actions, ends->incoming, PULLER_FD_INCOMING);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(actions, ends->cache, PULLER_FD_CACHE);
	if (r == 0)
		r = posix_spawnattr_setsigmask(attributes, &none);
	if (r == 0)
		r = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK);
	return -r;
}

static int start(const struct package_pull *pull, const struct ends *ends, pid_t *ret_pid)
{
	char number[NUMBER_SIZE];
	const char *const arguments[] = {"affixd",
					 PULLER_NAME,
					 pull->reference,
					 number,
					 pull->auth_file ? pull->auth_file : "",
					 pull->ca_file ? pull->ca_file : "",
					 NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int r;

	(void)snprintf(number, sizeof(number), "%" PRIu64, pull->number);
	r = -posix_spawn_file_actions_init(&actions);
	if (r < 0)
		return r;
	r = -posix_spawnattr_init(&attributes);
	if (r == 0) {
		r = set_actions(&actions, &attributes, ends);
		if (r == 0)
			r = -posix_spawn(ret_pid, PROGRAM, &actions, &attributes,
					 (char *const *)arguments, environ);
		(void)posix_spawnattr_destroy(&attributes);
	}
	(void)posix_spawn_file_actions_destroy(&actions);
	return r;
}

/* What it says, to the end. -ETIMEDOUT; -ECANCELED; -EFBIG. */
static int read_answer(const struct package_pull *pull, int fd, struct buffer *answer)
{
	const uint64_t end = clock_monotonic_usec() + DEADLINE_USEC;
	char piece[4096];

	for (;;) {
		struct pollfd waiting = {.fd = fd, .events = POLLIN};
		ssize_t n;
		int r;

		if (clock_monotonic_usec() >= end)
			return -ETIMEDOUT;
		if (atomic_load(&pull->is_abandoned))
			return -ECANCELED;
		r = poll(&waiting, 1, LOOK_MSEC);
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r <= 0)
			continue;
		n = read(fd, piece, sizeof(piece));
		if (n <= 0)
			return n < 0 ? -errno : 0;
		if (answer->size + (size_t)n > PULLER_ANSWER_MAX)
			return -EFBIG;
		r = buffer_add(answer, piece, (size_t)n);
		if (r < 0)
			return r;
	}
}

void package_pull_forget(int data_dirfd)
{
	cleanup_oci_cache struct oci_cache cache = OCI_CACHE_INIT;
	struct problem problem = PROBLEM_INIT;
	cleanup_fd int fd = -EBADF;
	char path[PATH_SIZE];
	uint64_t count;
	uint64_t size;

	if (path_open_beneath(data_dirfd, CACHE, O_RDONLY | O_DIRECTORY, 0, &fd) < 0)
		return;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	/* That it is not done costs disk, and the next pull does it. */
	if (oci_cache_open(path, &cache, &problem) == 0)
		ignore_result(oci_cache_prune(&cache, UINT64_MAX, &count, &size, &problem));
}

/* What it gave a name, and nobody will hear of. */
static void forget_bundles(const struct package_pull *pull, int incoming_fd)
{
	for (size_t i = 0; i < OCI_PLATFORMS_MAX; i++) {
		char number[NUMBER_SIZE];
		char name[PATH_SIZE];

		(void)snprintf(number, sizeof(number), "%" PRIu64, pull->number);
		(void)snprintf(name, sizeof(name), PULLER_FILE_NAME, number, i);
		ignore_result(file_remove(incoming_fd, name, NULL));
	}
}

static int run(const struct package_pull *pull, int data_dirfd, struct buffer *answer)
{
	CLEANUP(ends_done) struct ends ends = {-EBADF, -EBADF, -EBADF};
	cleanup_fd int fd = -EBADF;
	int status = 0;
	pid_t pid = 0;
	int ended;
	int r;

	r = open_ends(data_dirfd, &ends, &fd);
	if (r == 0)
		r = start(pull, &ends, &pid);
	if (r < 0)
		return r;
	ends.answer = fd_close(ends.answer);
	r = read_answer(pull, fd, answer);
	/* Who has said all has nothing left to do. */
	ended = reap_child(pid, r < 0 ? 0 : END_USEC, &status);
	if (r == 0 && (ended < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0))
		r = -EIO;
	if (r < 0)
		forget_bundles(pull, ends.incoming);
	/* One that was only slow is gone on with. */
	if (r < 0 && r != -ETIMEDOUT && r != -ECANCELED)
		package_pull_forget(data_dirfd);
	return r;
}

/* One bundle, under the name that it was given. */
static int take_bundle(struct package_arrival *arrival, const json_t *item,
		       struct package_arrival **ret)
{
	cleanup_package_arrival struct package_arrival *bundle = NULL;
	const char *signature = NULL;
	const char *name = NULL;
	int r;

	if (json_member_string(item, "name", &name) < 0 ||
	    json_member_string(item, "signature", &signature) < 0 || !path_is_safe_name(name))
		return -EBADMSG;
	r = package_arrival_begin_like(arrival, &bundle);
	if (r < 0)
		return r;
	bundle->signature_size = strlen(signature);
	bundle->signature = strdup(signature);
	bundle->name = strdup(name);
	if (!bundle->signature || !bundle->name)
		return -ENOMEM;
	r = path_open_beneath(arrival->data_dirfd, INCOMING, O_RDONLY | O_DIRECTORY, 0,
			      &bundle->dirfd);
	if (r == 0)
		r = path_open_beneath(bundle->dirfd, name, O_RDONLY | O_NONBLOCK, 0, &bundle->fd);
	if (r == 0)
		*ret = TAKE_PTR(bundle);
	return r;
}

static int take_bundles(struct package_arrival *arrival, const json_t *items)
{
	struct package_arrival **last = &arrival->next;
	size_t count = json_array_size(items);

	if (count > OCI_PLATFORMS_MAX)
		return -EBADMSG;
	for (size_t i = 0; i < count; i++) {
		int r = take_bundle(arrival, json_array_get(items, i), last);

		if (r < 0)
			return r;
		last = &(*last)->next;
	}
	return 0;
}

static int take_condition(struct package_arrival *arrival, const json_t *object)
{
	const char *text = NULL;
	uint64_t number = 0;
	enum oci_condition code;

	if (json_member_uint(object, "condition", OCI_CONDITION_N - 1, &number) < 0 ||
	    json_member_string(object, "text", &text) < 0 || number == OCI_NONE)
		return -EBADMSG;
	code = (enum oci_condition)number;
	return api_refuse(&arrival->problem, oci_condition_is_transient(code) ? 503 : 422,
			  oci_condition_to_string(code), "/reference", "%s", text);
}

static int fetch(struct package_arrival *arrival)
{
	cleanup_buffer struct buffer answer = BUFFER_INIT;
	cleanup_json json_t *object = NULL;
	json_t *items = NULL;
	int r;

	if (reap_left() >= REAP_LEFT_MAX)
		return api_refuse(
			&arrival->problem, 503, "busy", "/reference",
			"%u pulls cannot be ended: they wait for a file system that does not "
			"answer; see to the disk of affixd, then try again",
			REAP_LEFT_MAX);
	r = run(arrival->pull, arrival->data_dirfd, &answer);
	if (r == -ETIMEDOUT)
		return api_refuse(
			&arrival->problem, 503, "unreachable", "/reference",
			"'%s' did not come within %u seconds: try again, it goes on where "
			"it ended",
			arrival->pull->reference, (unsigned)(DEADLINE_USEC / CLOCK_USEC_PER_SEC));
	if (r == 0 &&
	    json_parse_object(answer.data ? answer.data : "", answer.size, &object, NULL) != 0)
		return -EBADMSG;
	if (r < 0)
		return r;
	if (json_member_array(object, "items", &items) < 0)
		return take_condition(arrival, object);
	return take_bundles(arrival, items);
}

void package_pull_check(struct package_arrival *arrival)
{
	arrival->result = fetch(arrival);
	for (struct package_arrival *bundle = arrival->next; bundle; bundle = bundle->next)
		package_arrival_check(bundle);
	arrival->is_checked = true;
}
