/* SPDX-License-Identifier: Apache-2.0 */

/* The engine's door: a request in, a result out, whatever happens between. */

#include "engine/engine.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "engine/operation.h"

struct verb {
	int (*run)(struct operation *operation);
	bool changes; /* it may change the host: the store is made */
	bool allows;  /* what the host's administrator allows is asked */
};

static const struct verb *find_verb(enum request_verb verb)
{
	static const struct verb verbs[] = {
		[REQUEST_INSTALL] = {operation_install,          true,  true },
		[REQUEST_ROLLBACK] = {operation_rollback,         true,  false},
		[REQUEST_UNINSTALL] = {operation_uninstall,        true,  false},
		[REQUEST_CONFIGURE] = {operation_configure,        true,  true },
		[REQUEST_STATUS] = {operation_status,           false, false},
		[REQUEST_DRIFT] = {operation_drift,            false, false},
		[REQUEST_REPAIR] = {operation_repair,           true,  false},
		[REQUEST_PLAN] = {operation_plan,             false, true },
		[REQUEST_PRUNE] = {operation_prune,            true,  false},
		[REQUEST_HOLD] = {operation_hold,             true,  false},
		[REQUEST_CLEAR_QUARANTINE] = {operation_clear_quarantine, true,  false},
	};

	return (size_t)verb < ARRAY_SIZE(verbs) && verbs[verb].run ? &verbs[verb] : NULL;
}

/* A request id that was answered before is answered at once, without a lock or a look at the
 * bundle.
 */
static int find_earlier(struct operation *operation)
{
	const struct request *request = operation->call->request;
	cleanup_record struct record *record = NULL;
	int r;

	if (request->request_id[0] == '\0' || request->id[0] == '\0')
		return 0;
	r = store_load(&operation->store, request->id, &record, &operation->refusal);
	if (r != 0)
		return r == -ENOENT ? 0 : r;
	return operation_answer_again(operation, record);
}

static int execute(struct operation *operation, const struct verb *verb)
{
	int r = verb->changes ? find_earlier(operation) : 0;

	if (r == 0 && !operation->is_answered && verb->allows)
		r = operation_check_policy(operation);
	return r != 0 || operation->is_answered ? r : verb->run(operation);
}

/* What stands in the way of any change, before there was one: a refusal, or 0. */
static int refuse_error(struct operation *operation, int error)
{
	const char *root = operation->call->root;

	if (error == -ENOSPC || error == -EDQUOT)
		return refuse(
			&operation->refusal, REFUSAL_NO_SPACE,
			"a file system is full; nothing was changed, free some space and try again");
	if (error == -EFBIG)
		return refuse(
			&operation->refusal, REFUSAL_UNSUPPORTED,
			"the record of the add-on would have more than 8 MiB; nothing was changed, use a smaller configuration or smaller units");
	if (error == -EROFS)
		return refuse(&operation->refusal, REFUSAL_UNSUPPORTED_FILESYSTEM,
			      "a file system of '%s' is mounted read-only; nothing was changed, "
			      "remount it writable",
			      root ? root : "/");
	/* The updater is root: there it would be something else. */
	if (root && (error == -EACCES || error == -EPERM))
		return refuse(&operation->refusal, REFUSAL_FORBIDDEN,
			      "the tree '%s' may not be written to: %s; nothing was changed, use a "
			      "tree that belongs to this user",
			      root, strerrordesc_np(-error));
	return 0;
}

/* What broke, as a sentence: the host's fault, not the request's. */
static int describe_error(struct operation *operation, int error)
{
	/* The copy of an image that something broke in is thrown away, and the image as it was. */
	bool is_open =
		!operation->call->is_copy && operation->record && operation->record->transaction;
	cleanup_free char *mount = operation_find_mount(operation, error);
	int r = is_open ? 0 : refuse_error(operation, error);

	if (r != 0)
		return r;
	if (mount)
		return result_set(
			operation->result, RESULT_FAILED, "error",
			"the request could not be carried out: '%s' is a mount point; unmount it, then the next request or 'affix-updater --recover' puts the old version back",
			mount);
	/* An updater's caller tries again after a failure; with a tree, somebody reads that nothing
	 * was changed. */
	return result_set(
		operation->result,
		operation->call->root && !is_open ? RESULT_REFUSED : RESULT_FAILED, "error",
		"the request could not be carried out: %s%s", strerrordesc_np(-error),
		is_open ? "; the old version is put back by the next request or 'affix-updater --recover'"
			: "; nothing was changed");
}

static int init_result(const struct engine_call *call, struct result *ret)
{
	const struct request *request = call->request;

	ret->verb = strdup(request_verb_to_string(request->verb));
	ret->request_id = request->request_id[0] ? strdup(request->request_id) : NULL;
	ret->id = request->id[0] ? strdup(request->id) : NULL;
	/* It goes into the record, and so into the image. */
	ret->time = call->is_copy ? clock_repeatable_sec() : clock_realtime_sec();
	return ret->verb ? 0 : -ENOMEM;
}

int engine_execute(const struct engine_call *call, struct result *ret)
{
	cleanup_operation struct operation operation = OPERATION_INIT;
	const struct verb *verb = find_verb(call->request->verb);
	int r;

	r = init_result(call, ret);
	if (r < 0)
		return r;
	/* Also for what goes wrong before there is an operation. */
	operation.call = call;
	operation.result = ret;
	if (!verb)
		r = refuse(&operation.refusal, REFUSAL_UNKNOWN_VERB,
			   "the request has a verb that is not known");
	if (r == 0)
		r = operation_open(call, verb->changes, ret, &operation);
	if (r == 0)
		r = execute(&operation, verb);
	if (r < 0 && r != -ENOMEM)
		r = describe_error(&operation, r);
	if (r > 0 && !operation.is_answered)
		r = result_set_refusal(ret, &operation.refusal);
	if (r >= 0)
		r = operation.record && operation.record->transaction ? ENGINE_E_UNSETTLED : 0;
	if (!operation_carries_logs(&operation)) {
		json_decref(ret->log);
		ret->log = NULL;
	}
	return r;
}
