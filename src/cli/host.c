/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A request from the command line to whoever carries it out: the updater behind its socket, or, for
 * a tree that is not running, the same engine in this process. Either way it is held against the
 * rules of the protocol first, so that a mistake reads the same everywhere, and ends as a result.
 */

#include "cli/host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "engine/engine.h"
#include "ipc/transport.h"

void host_call_done(struct host_call *call)
{
	for (size_t i = 0; i < REQUEST_FD_N; i++)
		call->fds[i] = fd_close(call->fds[i]);
	(void)bundle_copy_free(call->begun);
	request_done(&call->request);
}

static int add_file(struct host_call *call, enum request_fd kind, const char *path)
{
	struct request *request = &call->request;
	int r = command_open_file(path, &call->fds[kind]);

	if (r == 0)
		request->fds[request->n_fds++] = kind;
	return r;
}

static int say_added(int r, enum request_fd kind, const char *path)
{
	return r < 0 ? command_broke(r, "the %s '%s' cannot be opened", request_fd_to_string(kind),
				     path)
		     : COMMAND_DONE;
}

int host_add_file(struct host_call *call, enum request_fd kind, const char *path)
{
	return say_added(add_file(call, kind, path), kind, path);
}

int host_add_bundle(struct host_call *call, const char *path)
{
	cleanup_free char *beside = NULL;
	const char *signature;
	int r = host_add_file(call, REQUEST_FD_BUNDLE, path);

	if (r != COMMAND_DONE)
		return r;
	if (str_format(&beside, "%s.minisig", path) < 0)
		return command_broke(-ENOMEM, "the signature's name could not be made");
	signature = call->signature ? call->signature : beside;
	r = add_file(call, REQUEST_FD_SIGNATURE, signature);
	if (r == -ENOENT && command_unsigned(path, signature, &call->refusal) > 0)
		return COMMAND_DONE;
	return say_added(r, REQUEST_FD_SIGNATURE, signature);
}

/* As root of its own root directory, or of a user namespace: what it makes belongs to whom it
 * should. */
static int run_here(const struct host_call *call, struct result *ret)
{
	cleanup_fd int trust = -EBADF;
	struct engine_call engine_call = {
		.request = &call->request,
		.fds = call->fds,
		.root = call->root,
		.is_copy = call->is_copy,
		.is_admin = true,
		.carry_logs = true,
		.trust_dirfd = -EBADF,
		.sink = call->sink,
		.begun = call->begun,
	};
	int r;

	if (call->trust) {
		trust = open(call->trust, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (trust < 0)
			return result_set(ret, RESULT_REFUSED, "no-trusted-key",
					  "the keys' directory '%s' cannot be opened: %s; nothing "
					  "was changed",
					  call->trust, strerrordesc_np(errno));
		engine_call.trust_dirfd = trust;
	}
	(void)umask(S_IWGRP | S_IWOTH);
	r = engine_execute(&engine_call, ret);
	/* The result says so, and every later command on the tree tries again. */
	return r == ENGINE_E_UNSETTLED ? 0 : r;
}

/* What a failed call means for the one who asked. These are no refusals of the updater: it never
 * heard. */
static int explain(const struct host_call *call, const char *socket, int error, struct result *ret)
{
	int r = 0;

	switch (error) {
	case -ENOENT:
	case -ECONNREFUSED:
		r = result_set(ret, RESULT_REFUSED, "no-updater",
			       "nobody answers on '%s': start it with 'systemctl start "
			       "affix-updater.socket affix-updater-admin.socket', or name a tree "
			       "that is not running with --root",
			       socket);
		return r < 0 ? command_broke(r, "out of memory") : COMMAND_TRY_AGAIN;
	case -ECONNRESET:
		r = result_set(ret, RESULT_REFUSED, "no-answer",
			       "the updater ended without an answer: it is flooded or was stopped; "
			       "'affix status' tells what stands, and the journal why");
		return r < 0 ? command_broke(r, "out of memory") : COMMAND_TRY_AGAIN;
	case -EACCES:
	case -EPERM:
		r = result_set(
			ret, RESULT_REFUSED, "forbidden",
			"you may not ask the updater on '%s': run this as root, or, for what "
			"the fleet may do, as a member of the group 'affix'",
			socket);
		return r < 0 ? command_broke(r, "out of memory") : COMMAND_REFUSED;
	default:
		return command_broke(error, "%s could not be asked of the updater on '%s'",
				     request_verb_to_string(call->request.verb), socket);
	}
}

int host_show(const struct host_call *call, const struct result *result, int code)
{
	cleanup_json json_t *json = NULL;
	int shown = COMMAND_DONE;

	if (call->json) {
		json = result_to_json(result);
		shown = json ? command_print_json(json)
			     : command_broke(-ENOMEM, "the answer could not be shown");
	} else {
		host_print(&call->request, result);
	}
	if (result->outcome != RESULT_DONE)
		command_complain(result->name, result->message ? result->message : "");
	return code == COMMAND_DONE ? shown : code;
}

int host_check_request(const struct request *request, struct refusal *reterr_refusal)
{
	cleanup_request struct request checked = REQUEST_INIT;
	cleanup_free char *text = NULL;
	int r = request_format(request, &text);

	return r < 0 ? r : request_parse(text, strlen(text), &checked, reterr_refusal);
}

static int ask(struct host_call *call, struct result *ret)
{
	const char *socket = geteuid() == 0 ? REQUEST_ADMIN_SOCKET : REQUEST_FLEET_SOCKET;
	int r;

	/* While the tree is looked at. */
	if (call->root && !call->begun && call->fds[REQUEST_FD_BUNDLE] >= 0)
		call->begun = bundle_copy_begin(call->fds[REQUEST_FD_BUNDLE]);
	if (call->root)
		r = run_here(call, ret);
	else
		r = transport_call(socket, &call->request, call->fds, ret);
	if (r < 0 && !call->root)
		return explain(call, socket, r, ret);
	if (r < 0)
		return command_broke(r, "%s could not be carried out in '%s'",
				     request_verb_to_string(call->request.verb), call->root);
	return result_exit_code(ret);
}

static bool request_changes(enum request_verb verb)
{
	return verb != REQUEST_STATUS && verb != REQUEST_DRIFT && verb != REQUEST_PLAN;
}

int host_ask(struct host_call *call, struct result *ret)
{
	int code;
	int r;

	r = call->refusal.code != 0 ? (int)call->refusal.code
				    : host_check_request(&call->request, &call->refusal);
	if (r < 0)
		return command_broke(r, "the request could not be made");
	if (r > 0) {
		if (result_set_refusal(ret, &call->refusal) < 0)
			return command_broke(-ENOMEM, "the request could not be made");
		return COMMAND_REFUSED;
	}
	code = ask(call, ret);
	if (ret->message && ret->time == 0)
		ret->time = clock_realtime_sec();
	return code;
}

int host_run(struct host_call *call)
{
	cleanup_result struct result result = RESULT_INIT;
	int code;

	code = call->root ? host_check_root(call, &result) : COMMAND_DONE;
	if (code != COMMAND_DONE)
		return result.message ? host_show(call, &result, code) : code;
	code = host_ask(call, &result);
	if (code == COMMAND_DONE && request_changes(call->request.verb))
		command_note_change();
	/* Without an answer, the reason was said already. */
	return result.message ? host_show(call, &result, code) : code;
}
