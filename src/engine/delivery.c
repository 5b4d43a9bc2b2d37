/* SPDX-License-Identifier: Apache-2.0 */

/*
 * From descriptors to a plan. Order matters: the signature is judged over bytes that nobody else
 * can change any more, and nothing of the bundle is parsed before.
 */

#include "engine/delivery.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/path.h"
#include "crypto/minisign.h"
#include "engine/platform.h"
#include "plan/apply.h"
#include "plan/apply_version.h"
#include "plan/plan_paths.h"
#include "plan/plan_units.h"

/* How long the bytes of a bundle may take to arrive; they come from a local file. */
#define RECEIVE_TIMEOUT (60 * CLOCK_USEC_PER_SEC)
/* And how long one of the fleet's waits for another. */
#define TURN_TIMEOUT (5 * CLOCK_USEC_PER_SEC)
#define TURN_POLL    (20 * CLOCK_USEC_PER_MSEC)

static int load_trust(struct operation *operation, struct trust **ret)
{
	const struct engine_call *call = operation->call;
	cleanup_fd int fd = -EBADF;
	int r;

	if (call->trust_dirfd >= 0)
		return trust_load(call->trust_dirfd, false, ret, &operation->refusal);
	r = path_open_in_root(operation->tree.rootfd, TRUST_PATH, O_RDONLY | O_DIRECTORY, 0, &fd);
	if (r == -ENOENT)
		return refuse(
			&operation->refusal, REFUSAL_NO_TRUSTED_KEY,
			"'%s" TRUST_PATH
			"' does not exist; put the public key (NAME.pub) of whoever signs your bundles there%s",
			call->root ? call->root : "",
			call->root ? ", or name a directory of keys with --trust" : "");
	return r < 0 ? r : trust_load(fd, true, ret, &operation->refusal);
}

static int read_descriptor(struct operation *operation, enum request_fd kind, const char *name,
			   size_t max, char **ret, size_t *ret_size)
{
	int fd = operation->call->fds[kind];
	char *data = malloc(max + 2);
	size_t size = 0;
	int r;

	if (!data)
		return -ENOMEM;
	/* By offset: where the sender left the file's position does not matter. */
	r = fd_pread_full(fd, data, max + 1, 0, &size);
	if (r == 0 && size > max)
		r = refuse(&operation->refusal, REFUSAL_BAD_DESCRIPTOR,
			   "the %s has more than %zu bytes; send the right file", name, max);
	if (r != 0) {
		free(data);
		return r;
	}
	data[size] = '\0';
	*ret = data;
	*ret_size = size;
	return 0;
}

/*
 * What the fleet sends is copied one after the other, so that no more than one bundle that nobody
 * verified takes room in *dirfd*, however long its bytes are on their way. The turn is over when
 * *ret_fd* is closed.
 */
static int take_turn(struct operation *operation, int dirfd, int *ret_fd)
{
	uint64_t end = clock_monotonic_usec() + TURN_TIMEOUT;
	cleanup_fd int fd = -EBADF;

	if (operation->call->is_admin)
		return 0;
	fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		if (clock_monotonic_usec() >= end)
			return refuse(&operation->refusal, REFUSAL_BUSY,
				      "another bundle of the fleet's is being received; try again "
				      "when it is here");
		clock_sleep_usec(TURN_POLL);
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int verify(struct operation *operation, const struct trust *trust,
		  struct bundle_receipt *ret)
{
	cleanup_free char *signature = NULL;
	cleanup_fd int spool = -EBADF;
	cleanup_fd int turn = -EBADF;
	struct bundle_verify how = {
		.trust = trust,
		.deadline_usec = clock_monotonic_usec() + RECEIVE_TIMEOUT,
		.private_dirfd = operation->store.dirfd,
		.begun = operation->call->begun,
	};
	int r = 0;

	/* The copy has no name. Only to plan, no store is made. */
	if (how.private_dirfd < 0) {
		r = apply_open_spool(&operation->tree, &spool);
		how.private_dirfd = spool;
	}
	if (r == 0)
		r = read_descriptor(operation, REQUEST_FD_SIGNATURE, "signature", MINISIGN_FILE_MAX,
				    &signature, &how.signature_size);
	if (r == 0)
		r = operation_now(operation, &how.now);
	if (r == 0)
		r = take_turn(operation, how.private_dirfd, &turn);
	if (r != 0)
		return r;
	how.signature = signature;
	return bundle_receive(operation->call->fds[REQUEST_FD_BUNDLE], &how, ret,
			      &operation->refusal);
}

static int tell_received(struct operation *operation)
{
	const struct engine_call *call = operation->call;

	return call->on_received ? call->on_received(call->context) : 0;
}

int delivery_receive_config(struct operation *operation, json_t **ret)
{
	cleanup_free char *text = NULL;
	struct json_problem problem = {0};
	size_t size = 0;
	int r;

	if (operation->call->fds[REQUEST_FD_CONFIG] < 0)
		return tell_received(operation);
	r = read_descriptor(operation, REQUEST_FD_CONFIG, "configuration", REQUEST_CONFIG_MAX,
			    &text, &size);
	if (r == 0)
		r = tell_received(operation);
	if (r != 0)
		return r;
	r = json_parse_object(text, size, ret, &problem);
	if (r > 0)
		return refuse(&operation->refusal, REFUSAL_BAD_CONFIG,
			      "the configuration is not one JSON object without duplicate keys: %s",
			      problem.text);
	return r;
}

/* It gets ready while the bundle is read, or already while it is digested if it is the caller's
 * own. A peer's must be closed before: the child closes what it inherits, and whoever serves such a
 * file could keep it in the kernel, where no signal reaches it. A repair takes the record's
 * configuration. */
static int start_judge(const struct operation *operation, bool is_received,
		       struct delivery *delivery)
{
	bool is_now = is_received || operation->call->begun;

	return operation->call->request->verb == REQUEST_REPAIR || delivery->judge || !is_now
		       ? 0
		       : schema_judge_start(&delivery->judge);
}

/* A copy's content may go elsewhere if nothing of its version is there that it could be compared
 * with. */
static const struct bundle_sink *find_sink(const struct operation *operation,
					   const struct identity *identity)
{
	return operation->tree.is_copy &&
			       version_is_new(&operation->tree, identity->id, identity->version)
		       ? operation->call->sink
		       : NULL;
}

int delivery_receive(struct operation *operation, bool keep_bytes, struct delivery *ret)
{
	cleanup_bundle_receipt struct bundle_receipt receipt = BUNDLE_RECEIPT_INIT;
	cleanup_fd int spool = -EBADF;
	/* Of a tree the signer's word is enough; on a host, where the old version runs on
	 * meanwhile, it is not taken. */
	struct bundle_spool place = {
		.is_fleeting = operation->tree.is_copy,
		.is_trusting = !operation->tree.is_live,
	};
	int r;

	if (operation->call->fds[REQUEST_FD_BUNDLE] < 0 ||
	    operation->call->fds[REQUEST_FD_SIGNATURE] < 0)
		return refuse(
			&operation->refusal, REFUSAL_BAD_REQUEST,
			"the request carries no bundle or no signature; send both descriptors");
	r = load_trust(operation, &ret->trust);
	if (r == 0)
		r = start_judge(operation, false, ret);
	if (r == 0)
		r = verify(operation, ret->trust, &receipt);
	if (r == 0)
		r = platform_check(&operation->tree, &receipt.identity, &operation->refusal);
	if (r == 0)
		r = delivery_receive_config(operation, &ret->config);
	if (r == 0)
		r = start_judge(operation, true, ret);
	if (r == 0 && keep_bytes)
		r = apply_open_spool(&operation->tree, &spool);
	place.dirfd = spool;
	place.sink = r == 0 ? find_sink(operation, &receipt.identity) : NULL;
	if (r == 0)
		r = bundle_open_received(&receipt, keep_bytes ? &place : NULL, &ret->bundle,
					 &operation->refusal);
	if (r != 0)
		return r;
	ret->key = receipt.key;
	minisign_key_id_to_string(ret->key->key.id, ret->bundle->key_id);
	return trust_key_permits(ret->key, ret->bundle->manifest, &operation->refusal);
}

/* The administrator's own keys: /etc/affix/addons.d/<id>.json. */
static int load_local_config(struct operation *operation, const char *id, json_t **ret)
{
	cleanup_free char *text = NULL;
	cleanup_fd int fd = -EBADF;
	struct json_problem problem = {0};
	size_t size = 0;
	char path[128];
	int r;

	(void)snprintf(path, sizeof(path), PLAN_LOCAL_BASE "/%s.json", id);
	r = path_open_in_root(operation->tree.rootfd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0,
			      &fd);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = fd_read_all(fd, REQUEST_CONFIG_MAX, &text, &size);
	if (r == 0)
		r = json_parse_object(text, size, ret, &problem);
	if (r > 0 || r == -EFBIG)
		return refuse(
			&operation->refusal, REFUSAL_BAD_CONFIG,
			"'%s' is not one JSON object without duplicate keys: %s; mend or remove it",
			path, r > 0 ? problem.text : "it is too large");
	return r;
}

int delivery_read_narrowing(const struct request *request, struct plan_narrowing *ret,
			    struct refusal *reterr_refusal)
{
	const json_t *limits = request->limits;
	const json_t *name;
	size_t i;
	int r = 0;

	ret->has_capabilities = request->has_capabilities;
	json_array_foreach(request->capabilities, i, name)
	{
		int bit = manifest_capability_from_string(json_string_value(name));

		if (bit < 0)
			return refuse(
				reterr_refusal, REFUSAL_BAD_REQUEST,
				"the request names '%s', which is no capability; expected names such as 'cap_net_raw'",
				json_string_value(name));
		ret->capabilities |= 1ULL << bit;
	}
	if (!limits)
		return 0;
	r = json_member_uint(limits, "cpu_max_percent", UINT32_MAX, &ret->limits.cpu_max_percent);
	if (r == 0 || r == -ENOENT)
		r = json_member_uint(limits, "memory_high_bytes", INT64_MAX,
				     &ret->limits.memory_high_bytes);
	if (r == 0 || r == -ENOENT)
		r = json_member_uint(limits, "memory_max_bytes", INT64_MAX,
				     &ret->limits.memory_max_bytes);
	if (r == 0 || r == -ENOENT)
		r = json_member_uint(limits, "tasks_max", UINT32_MAX, &ret->limits.tasks_max);
	return r == -EINVAL
		       ? refuse(reterr_refusal, REFUSAL_BAD_LIMITS,
				"a limit of the request is not a whole number in range; limits are integers")
		       : 0;
}

/* Another configuration is no reason to grant more than was granted. */
static int narrow(struct operation *operation, struct plan_narrowing *ret)
{
	const struct request *request = operation->call->request;
	int r = delivery_read_narrowing(request, ret, &operation->refusal);

	if (r != 0 || request->verb != REQUEST_CONFIGURE)
		return r;
	if (!request->has_capabilities) {
		ret->has_capabilities = true;
		ret->capabilities = operation->record->current->capabilities;
	}
	if (!request->limits)
		ret->limits = operation->record->current->limits;
	return 0;
}

static void ask_judge(struct schema_judge *judge, const struct bundle *bundle,
		      const struct plan *plan)
{
	const struct bundle_entry *schema = bundle_find(bundle, bundle->manifest->config_schema);
	const char *config = plan_config_text(plan);

	schema_judge_ask(judge, schema->text, schema->size, config, strlen(config));
}

static int hear_judge(struct schema_judge *judge, const struct bundle *bundle,
		      struct refusal *reterr_refusal)
{
	char problem[512];
	int r = schema_judge_hear(judge, problem, sizeof(problem));

	if (r == 1)
		return refuse(reterr_refusal, REFUSAL_BAD_CONFIG,
			      "the configuration of '%s' does not fit its schema: %s",
			      bundle->identity.id, problem);
	if (r == 2)
		return refuse(reterr_refusal, REFUSAL_BAD_SCHEMA,
			      "%s: %s; the bundle's author has to mend it",
			      bundle->manifest->config_schema, problem);
	return r;
}

int delivery_validate(const struct bundle *bundle, const struct plan *plan,
		      struct refusal *reterr_refusal)
{
	cleanup_schema_judge struct schema_judge *judge = NULL;
	int r = schema_judge_start(&judge);

	if (r < 0)
		return r;
	ask_judge(judge, bundle, plan);
	return hear_judge(judge, bundle, reterr_refusal);
}

/* The same, and the subject's digest while the judge thinks. */
static int validate(struct operation *operation, struct delivery *delivery, const struct plan *plan)
{
	int r = delivery->judge ? 0 : schema_judge_start(&delivery->judge);

	if (r < 0)
		return r;
	ask_judge(delivery->judge, delivery->bundle, plan);
	r = plan_digest(plan, &operation->subject);
	if (r == 0)
		r = hear_judge(delivery->judge, delivery->bundle, &operation->refusal);
	return r != 0 ? r : operation_name_subject(operation, plan);
}

int delivery_make_plan(struct operation *operation, struct delivery *delivery, const json_t *config,
		       struct plan **ret)
{
	cleanup_plan struct plan *plan = NULL;
	cleanup_json json_t *local = NULL;
	struct plan_narrowing narrowing = {0};
	struct plan_config configs = {
		.fleet = delivery->config ? delivery->config : config,
		.ret_dropped = &delivery->dropped,
	};
	int r;

	r = narrow(operation, &narrowing);
	if (r == 0)
		r = load_local_config(operation, delivery->bundle->identity.id, &local);
	configs.local = local;
	if (r == 0)
		r = plan_make(delivery->bundle, operation->policy, &configs, &narrowing, &plan,
			      &operation->refusal);
	if (r == 0)
		r = validate(operation, delivery, plan);
	/* No dead child while a running system is watched. */
	if (operation->manager)
		delivery->judge = schema_judge_end(delivery->judge);
	if (r == 0)
		*ret = TAKE_PTR(plan);
	return r;
}

int delivery_renew_config(struct operation *operation, struct plan *plan, const json_t *fleet)
{
	cleanup_delivery struct delivery delivery = DELIVERY_INIT;
	struct plan_config config = {.fleet = fleet};
	cleanup_json json_t *local = NULL;
	bool is_changed = false;
	int r;

	r = delivery_load_installed(operation, plan, &delivery);
	/* The host may have granted more when it ran: the administrator may have that again. */
	if (r == 0 && !operation->call->is_admin && operation->policy)
		r = plan_check_units(delivery.bundle, operation->policy, &operation->refusal);
	if (r == 0)
		r = load_local_config(operation, plan->identity.id, &local);
	config.local = local;
	if (r == 0)
		r = plan_renew_config(plan, delivery.bundle, &config, &is_changed,
				      &operation->refusal);
	if (r == 0 && is_changed)
		r = delivery_validate(delivery.bundle, plan, &operation->refusal);
	return r;
}

void delivery_done(struct delivery *delivery)
{
	json_decref(delivery->config);
	strv_done(&delivery->dropped);
	(void)schema_judge_end(delivery->judge);
	(void)bundle_free(delivery->bundle);
	(void)trust_free(delivery->trust);
	*delivery = DELIVERY_INIT;
}
