/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Carrying out a step. One at a time: the updater watches what it starts, and two add-ons that
 * start at once would blame each other. Files go to it as descriptors; the bundle's digest is
 * checked at the last moment, in the lane's thread.
 */

#include "agent/operation.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/download_origin.h"
#include "agent/drop_ins.h"
#include "agent/log.h"
#include "agent/state.h"
#include "base/clock.h"
#include "base/dir.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/path.h"

#define NONCE_BYTES 12U

static int bundles_open(const struct operation *operation, int *ret)
{
	return path_open_beneath(operation->agent->statefd, STATE_BUNDLES, O_RDONLY | O_DIRECTORY,
				 0, ret);
}

static bool is_needed(const struct agent *agent, const char *name)
{
	for (size_t i = 0; i < agent->desired.count; i++) {
		const char *hash = agent->desired.items[i].content_hash;

		if (hash && strncmp(name, hash, strlen(hash)) == 0)
			return true;
	}
	for (size_t i = 0; i < agent->memory.count; i++) {
		const struct memory_addon *addon = &agent->memory.items[i];

		if (strcmp(name, addon->content_hash) == 0 ||
		    strcmp(name, addon->previous_hash) == 0)
			return true;
	}
	return false;
}

/* Removes bundles and parts that nobody needs any more. */
static void prune(struct operation *operation)
{
	cleanup_fd int fd = -EBADF;
	cleanup_dir DIR *dir = NULL;
	const struct dirent *entry = NULL;

	if (bundles_open(operation, &fd) < 0 || dir_open(fd, &dir) < 0)
		return;
	while (dir_next(dir, &entry) == 0 && entry) {
		if (entry->d_name[0] != '.' && !is_needed(operation->agent, entry->d_name))
			(void)unlinkat(fd, entry->d_name, 0);
	}
}

static void forget_wanted(struct operation *operation)
{
	struct wanted *wanted = &operation->wanted;

	free((void *)wanted->version);
	free((void *)wanted->url);
	free((void *)wanted->content_hash);
	free((void *)wanted->signature);
	free((void *)wanted->hash);
	json_decref((json_t *)wanted->headers);
	json_decref(wanted->config);
	json_decref((json_t *)wanted->capabilities);
	json_decref((json_t *)wanted->limits);
	*wanted = (struct wanted){.id = NULL};
}

static int keep_wanted(struct operation *operation, const struct wanted *from)
{
	struct wanted *to = &operation->wanted;

	*to = (struct wanted){.id = operation->id};
	memcpy(to->key, from->key, sizeof(to->key));
	memcpy(to->bundle_key, from->bundle_key, sizeof(to->bundle_key));
	to->version = strdup(from->version);
	to->url = strdup(from->url);
	to->content_hash = strdup(from->content_hash);
	to->signature = strdup(from->signature);
	to->hash = strdup(from->hash);
	to->headers = json_incref((json_t *)from->headers);
	to->config = json_incref(from->config);
	to->capabilities = json_incref((json_t *)from->capabilities);
	to->limits = json_incref((json_t *)from->limits);
	return to->version && to->url && to->content_hash && to->signature && to->hash ? 0
										       : -ENOMEM;
}

/* The step is over, well or not: the host is looked at, and everything anew. */
static void finish(struct operation *operation)
{
	operation->download = download_free(operation->download);
	operation->activity = ACTIVITY_NONE;
	operation->kind = STEP_NONE;
	operation->has_bundle = false;
	forget_wanted(operation);
	prune(operation);
	agent_operation_ended(operation->agent);
}

static void fail(struct operation *operation, const struct reconcile_failure *failure)
{
	struct memory_addon *memory = memory_get(&operation->agent->memory, operation->id);
	const struct wanted *wanted = operation->wanted.id ? &operation->wanted : NULL;

	if (memory) {
		reconcile_failed(memory, wanted, failure, clock_realtime_sec(),
				 randombytes_random());
		memory->failed_local[0] = '\0';
		if (failure->kind == MEMORY_QUARANTINED)
			ignore_result(drop_ins_digest(drop_in_directories, memory->id,
						      memory->failed_local));
	}
	agent_log(LOG_WARNING, operation->id, "%s: %s", failure->name, failure->text);
	finish(operation);
}

static void fail_errno(struct operation *operation, int error)
{
	fail(operation, &(struct reconcile_failure){.kind = MEMORY_TRANSIENT,
						    .name = "agent-error",
						    .text = strerrordesc_np(-error)});
}

/* A file in memory, for what the updater is to read. */
static int memory_file(const char *name, const char *text, int *ret)
{
	cleanup_fd int fd = memfd_create(name, MFD_CLOEXEC);
	int r;

	if (fd < 0)
		return -errno;
	r = fd_write_full(fd, text, strlen(text));
	if (r < 0)
		return r;
	*ret = TAKE_FD(fd);
	return 0;
}

static void add_fd(struct lane_request *request, enum request_fd kind)
{
	request->request.fds[request->request.n_fds++] = kind;
}

static int add_bundle(struct operation *operation, struct lane_request *request)
{
	cleanup_fd int directory = -EBADF;
	int r;

	r = bundles_open(operation, &directory);
	if (r == 0)
		r = path_open_beneath(directory, operation->wanted.content_hash, O_RDONLY, 0,
				      &request->fds[REQUEST_FD_BUNDLE]);
	if (r == 0)
		r = memory_file("signature", operation->wanted.signature,
				&request->fds[REQUEST_FD_SIGNATURE]);
	if (r < 0)
		return r;
	(void)snprintf(request->content_hash, sizeof(request->content_hash), "%s",
		       operation->wanted.content_hash);
	add_fd(request, REQUEST_FD_BUNDLE);
	add_fd(request, REQUEST_FD_SIGNATURE);
	return 0;
}

static int add_config(struct operation *operation, struct lane_request *request)
{
	cleanup_free char *text = json_to_canonical(operation->wanted.config);
	int r = text ? memory_file("config", text, &request->fds[REQUEST_FD_CONFIG]) : -ENOMEM;

	if (r == 0)
		add_fd(request, REQUEST_FD_CONFIG);
	return r;
}

static int fill_install(struct operation *operation, struct lane_request *request)
{
	const struct wanted *wanted = &operation->wanted;
	int r;

	request->request.verb = REQUEST_INSTALL;
	r = add_bundle(operation, request);
	if (r == 0)
		r = add_config(operation, request);
	if (r < 0)
		return r;
	request->request.has_capabilities = wanted->capabilities != NULL;
	request->request.capabilities = json_incref((json_t *)wanted->capabilities);
	request->request.limits = json_incref((json_t *)wanted->limits);
	return 0;
}

static int fill_repair(struct operation *operation, struct lane_request *request)
{
	request->request.verb = REQUEST_REPAIR;
	return operation->has_bundle ? add_bundle(operation, request) : 0;
}

static int fill_request(struct operation *operation, struct lane_request *request)
{
	uint8_t nonce[NONCE_BYTES];
	char text[2 * NONCE_BYTES + 1];

	randombytes_buf(nonce, sizeof(nonce));
	(void)sodium_bin2hex(text, sizeof(text), nonce, sizeof(nonce));
	(void)snprintf(request->request.request_id, sizeof(request->request.request_id), "agent-%s",
		       text);
	(void)snprintf(request->request.id, sizeof(request->request.id), "%s", operation->id);
	switch (operation->kind) {
	case STEP_INSTALL:
		return fill_install(operation, request);
	case STEP_CONFIGURE:
		if (operation->has_bundle && !operation->is_repaired)
			return fill_repair(operation, request);
		request->request.verb = REQUEST_CONFIGURE;
		return add_config(operation, request);
	case STEP_REPAIR:
		return fill_repair(operation, request);
	case STEP_UNINSTALL:
		request->request.verb = REQUEST_UNINSTALL;
		return 0;
	case STEP_ROLLBACK:
		request->request.verb = REQUEST_ROLLBACK;
		return 0;
	case STEP_NONE:
	case STEP_WAIT:
	default:
		return -EINVAL;
	}
}

static void send_request(struct operation *operation)
{
	CLEANUP(lane_request_done) struct lane_request request = LANE_REQUEST_INIT;
	int r = fill_request(operation, &request);

	operation->activity = ACTIVITY_WORKING;
	if (r == 0)
		r = lane_start(operation->lane, &request);
	if (r < 0)
		fail_errno(operation, r);
}

static bool has_bundle(struct operation *operation)
{
	cleanup_fd int directory = -EBADF;
	struct stat st;

	return bundles_open(operation, &directory) == 0 &&
	       fstatat(directory, operation->wanted.content_hash, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static int publish(struct operation *operation)
{
	cleanup_fd int directory = -EBADF;
	cleanup_fd int file = -EBADF;
	char name[DOWNLOAD_NAME_SIZE];
	int r = bundles_open(operation, &directory);

	if (r < 0)
		return r;
	download_part_name(operation->wanted.content_hash, name);
	/* A power cut leaves no file of that name with other bytes. */
	r = path_open_beneath(directory, name, O_RDONLY, 0, &file);
	if (r < 0)
		return r;
	if (fsync(file) < 0 ||
	    renameat(directory, name, directory, operation->wanted.content_hash) < 0)
		return -errno;
	return dir_sync(directory);
}

static void on_downloaded(void *userdata, const struct download_end *end)
{
	struct operation *operation = userdata;
	int r;

	if (end->kind != MEMORY_NO_FAILURE) {
		fail(operation, &(struct reconcile_failure){.kind = end->kind,
							    .name = end->name,
							    .text = end->text,
							    .is_url = true,
							    .retry_after = end->retry_after});
		return;
	}
	operation->is_downloaded = true;
	operation->is_resumed = end->is_resumed;
	r = publish(operation);
	operation->download = download_free(operation->download);
	if (r < 0)
		fail_errno(operation, r);
	else
		send_request(operation);
	agent_evaluate(operation->agent);
}

static void refuse_origin(struct operation *operation)
{
	char text[DOWNLOAD_ORIGIN_TEXT_MAX];

	download_refuse_origin(operation->agent->config, operation->wanted.url, text);
	fail(operation, &(struct reconcile_failure){.kind = MEMORY_PERMANENT,
						    .name = DOWNLOAD_ORIGIN_NAME,
						    .text = text,
						    .is_url = true});
}

static void start_download(struct operation *operation)
{
	cleanup_fd int directory = -EBADF;
	struct download_spec spec = {
		.url = operation->wanted.url,
		.hash = operation->wanted.content_hash,
		.headers = operation->wanted.headers,
		.config = operation->agent->config,
		.userdata = operation,
		.on_end = on_downloaded,
	};
	int r;

	/* What was downloaded in vain takes no space from it. */
	prune(operation);
	r = bundles_open(operation, &directory);
	operation->activity = ACTIVITY_DOWNLOADING;
	spec.dirfd = directory;
	if (r == 0)
		r = download_start(operation->agent->web, &spec, &operation->download);
	if (r == DOWNLOAD_E_ORIGIN)
		refuse_origin(operation);
	else if (r < 0)
		fail_errno(operation, r);
}

static void remove_bundle(struct operation *operation)
{
	cleanup_fd int directory = -EBADF;

	if (bundles_open(operation, &directory) == 0)
		(void)unlinkat(directory, operation->wanted.content_hash, 0);
}

/* The bundle is not the one that was offered. A file that was kept is no word of the server's; of a
 * download, a part from before may be to blame once. */
static void heed_other_file(struct operation *operation)
{
	remove_bundle(operation);
	if (!operation->is_downloaded) {
		agent_log(LOG_WARNING, operation->id,
			  "the bundle that was kept is damaged, downloading it again");
		start_download(operation);
		return;
	}
	fail(operation,
	     &(struct reconcile_failure){
		     .kind = operation->is_resumed ? MEMORY_TRANSIENT : MEMORY_PERMANENT,
		     .name = "hash-mismatch",
		     .text = "the downloaded bundle is not the offered one: its SHA-256 is another",
		     .is_url = true});
}

/* Files that only the bundle has are damaged: it is brought once, to repair them. */
static bool bring_bundle(struct operation *operation, const struct result *result)
{
	bool is_it = operation->kind == STEP_REPAIR || operation->kind == STEP_CONFIGURE;

	if (!is_it || operation->has_bundle || result->outcome != RESULT_REFUSED ||
	    !str_equal(result->name, "needs-bundle"))
		return false;
	operation->has_bundle = true;
	if (has_bundle(operation))
		send_request(operation);
	else
		start_download(operation);
	return true;
}

/* What had to be repaired before it could be configured is configured now. */
static bool go_on(struct operation *operation)
{
	if (operation->kind != STEP_CONFIGURE || !operation->has_bundle || operation->is_repaired)
		return false;
	operation->is_repaired = true;
	send_request(operation);
	return true;
}

static void succeeded(struct operation *operation, const struct result *result)
{
	struct memory_addon *memory = memory_get(&operation->agent->memory, operation->id);

	agent_log(LOG_NOTICE, operation->id, "%s", result->message ? result->message : "done");
	if (operation->kind == STEP_UNINSTALL)
		memory_forget(&operation->agent->memory, operation->id);
	else if (memory && operation->kind == STEP_ROLLBACK &&
		 str_equal(result->version, operation->wanted.version))
		reconcile_rolled_back(memory, &operation->wanted, result->plan);
	else if (memory && (operation->kind == STEP_INSTALL || operation->kind == STEP_CONFIGURE))
		reconcile_succeeded(memory, &operation->wanted, result->plan);
	/* What was found changed may be as it was again. */
	json_decref(operation->agent->drift);
	operation->agent->drift = NULL;
	/* After a repair not at once: what it cannot mend must not keep it busy. */
	if (operation->kind != STEP_REPAIR)
		operation->agent->drift_at = 0;
	finish(operation);
}

static void on_answer(void *userdata, struct lane_answer *answer)
{
	struct operation *operation = userdata;
	const struct result *result = &answer->result;
	enum memory_failure kind;

	if (answer->is_other_file) {
		heed_other_file(operation);
		return;
	}
	if (answer->error < 0) {
		fail(operation,
		     &(struct reconcile_failure){.kind = MEMORY_TRANSIENT,
						 .name = "no-updater",
						 .text = strerrordesc_np(-answer->error)});
		return;
	}
	kind = reconcile_judge_result(result);
	if (bring_bundle(operation, result))
		return;
	if (kind != MEMORY_NO_FAILURE)
		fail(operation,
		     &(struct reconcile_failure){.kind = kind,
						 .name = result->name[0] ? result->name : "error",
						 .text = result->message ? result->message : "",
						 .plan = result->plan});
	else if (!go_on(operation))
		succeeded(operation, result);
}

static void start(struct operation *operation, const struct step *step)
{
	const struct wanted *wanted = desired_find(&operation->agent->desired, step->id);
	int r = 0;

	operation->kind = step->kind;
	operation->is_downloaded = false;
	operation->is_resumed = false;
	operation->has_bundle = false;
	operation->is_repaired = false;
	memcpy(operation->id, step->id, sizeof(operation->id));
	if (step->kind != STEP_UNINSTALL)
		r = wanted && !wanted->problem ? keep_wanted(operation, wanted) : -EINVAL;
	if (r < 0)
		fail_errno(operation, r);
	else if (step->kind == STEP_INSTALL && !has_bundle(operation))
		start_download(operation);
	else
		send_request(operation);
}

void operation_next(struct operation *operation, const struct reconcile_result *result)
{
	for (size_t i = 0; i < result->count; i++) {
		if (operation_is_busy(operation))
			return;
		if (result->steps[i].kind != STEP_NONE && result->steps[i].kind != STEP_WAIT) {
			start(operation, &result->steps[i]);
			return;
		}
	}
}

bool operation_is_busy(const struct operation *operation)
{
	return operation->activity != ACTIVITY_NONE;
}

int operation_init(struct operation *operation, struct agent *agent)
{
	*operation = (struct operation){.agent = agent};
	return lane_new(agent->event, agent->paths->updater, on_answer, operation,
			&operation->lane);
}

void operation_done(struct operation *operation)
{
	operation->download = download_free(operation->download);
	operation->lane = lane_free(operation->lane);
	forget_wanted(operation);
}

void operation_prune(struct operation *operation)
{
	if (!operation_is_busy(operation))
		prune(operation);
}
