/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "bundle/bundle.h"
#include "cli/command.h"
#include "ipc/refusal.h"
#include "ipc/request.h"
#include "ipc/result.h"

/* One request of the command line: what it asks for, where, and how its answer is shown. */
struct host_call {
	const struct command *command;
	struct request request;
	int fds[REQUEST_FD_N];
	const char *root;               /* --root: that tree, not the running host */
	bool is_copy;                   /* it is a copy of parts of an image (plan/tree.h) */
	const char *trust;              /* --trust: with --root only */
	const struct bundle_sink *sink; /* as engine_call has it */
	struct bundle_copy *begun;      /* of the bundle, while something else is done; owned */
	const char *config;
	const char *signature;
	const char *bundle;
	bool json;
	struct refusal refusal; /* what is known before anybody is asked */
};

#define HOST_CALL_INIT(c)                                         \
	(struct host_call)                                        \
	{                                                         \
		.command = (c), .fds = { -EBADF, -EBADF, -EBADF } \
	}

void host_call_done(struct host_call *call);
#define cleanup_host_call CLEANUP(host_call_done)

/*
 * Reads the options that *letters* stand for (host_options.c), --root and --json always. 0, or
 * COMMAND_USAGE after a line on stderr. The operands begin at optind.
 */
must_check int host_parse(struct host_call *call, int argc, char **argv, const char *letters);

/* Takes an operand as the add-on's id. 0 or COMMAND_USAGE. */
must_check int host_set_id(struct host_call *call, const char *id);

/* Opens the file at *path* as the request's next descriptor. 0, or COMMAND_REFUSED after a line on
 * stderr. */
must_check int host_add_file(struct host_call *call, enum request_fd kind, const char *path);

/* A bundle and its signature: --signature, or BUNDLE.minisig beside it. 0 or COMMAND_REFUSED; a
 * bundle that is not signed is refused by host_run(). */
must_check int host_add_bundle(struct host_call *call, const char *path);

/* The rules of the protocol, also for a request that never travels. 0; refused; -ENOMEM. */
must_check int host_check_request(const struct request *request, struct refusal *reterr_refusal);

/*
 * Has the request carried out, by the updater (the administrator's socket for root, else the
 * fleet's) or, with --root, here; shows the answer. The exit code.
 */
int host_run(struct host_call *call);

/* The two halves of it, for a root that is no tree of a host: the answer, and showing it. The exit
 * code; no answer has a message where the reason was said already. */
must_check int host_ask(struct host_call *call, struct result *ret);
int host_show(const struct host_call *call, const struct result *result, int code);

/* Whether --root can be taken at its word (host_root.c). COMMAND_DONE; COMMAND_USAGE after a line
 * on stderr; or COMMAND_REFUSED with the result, that is to be shown. */
must_check int host_check_root(const struct host_call *call, struct result *ret);

/* The answer for people, on stdout. */
void host_print(const struct request *request, const struct result *result);
