/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One connection, one request, one answer, one process. Which rights a request has follows from the
 * path of the socket it came through, nothing that it says: an address that is neither of ours has
 * none. The administrator's socket belongs to root alone; that its peer is root is asked all the
 * same, because a descriptor can be passed on.
 */

#include "updater/serve.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "base/clock.h"
#include "base/fd.h"
#include "bundle/bundle.h"
#include "crypto/minisign.h"
#include "engine/engine.h"
#include "ipc/transport.h"
#include "updater/log.h"

/* NOLINTNEXTLINE(misc-redundant-expression): that they are equal is what is asserted */
static_assert(REQUEST_SIGNATURE_MAX == MINISIGN_FILE_MAX, "one limit on signature files");
/* NOLINTNEXTLINE(misc-redundant-expression): that they are equal is what is asserted */
static_assert(REQUEST_BUNDLE_MAX == BUNDLE_SIZE_MAX, "one limit on bundles");

/* Whether the connection came through *path*. */
static bool is_bound_to(const struct sockaddr_un *address, socklen_t size, const char *path)
{
	size_t length = size > offsetof(struct sockaddr_un, sun_path)
				? size - offsetof(struct sockaddr_un, sun_path)
				: 0;

	return address->sun_family == AF_UNIX && length == strlen(path) + 1 &&
	       memcmp(address->sun_path, path, length) == 0;
}

/* One conversation: what is known of it so far. */
struct call {
	int fd;
	bool is_admin;
	bool is_parsed; /* `received` holds a request */
	struct transport_request received;
};

static void call_done(struct call *call)
{
	transport_request_done(&call->received);
}

static int find_side(struct call *call, struct refusal *refusal)
{
	struct sockaddr_un address = {0};
	socklen_t size = sizeof(address);

	if (getsockname(call->fd, (struct sockaddr *)&address, &size) < 0)
		return -errno;
	call->is_admin = is_bound_to(&address, size, REQUEST_ADMIN_SOCKET);
	if (!call->is_admin && !is_bound_to(&address, size, REQUEST_FLEET_SOCKET))
		return refuse(refusal, REFUSAL_FORBIDDEN, "the updater answers on %s and %s only",
			      REQUEST_FLEET_SOCKET, REQUEST_ADMIN_SOCKET);
	return 0;
}

static int check_rights(const struct call *call, struct refusal *refusal)
{
	if (!call->is_admin)
		return request_check_fleet(&call->received.request, refusal);
	if (call->received.peer_uid != 0)
		return refuse(refusal, REFUSAL_FORBIDDEN,
			      "%s is for root, and this request came from user %u",
			      REQUEST_ADMIN_SOCKET, call->received.peer_uid);
	return 0;
}

static int receive(struct call *call, struct refusal *refusal)
{
	int r;

	r = transport_receive(call->fd, &call->received, refusal);
	if (r == -ETIMEDOUT)
		return refuse(refusal, REFUSAL_TIMEOUT,
			      "no request came within %llu seconds of the connection",
			      REQUEST_DEADLINE_USEC / CLOCK_USEC_PER_SEC);
	if (r != 0)
		return r;
	call->is_parsed = true;
	return check_rights(call, refusal);
}

static int copy_text(char **ret, const char *text)
{
	if (!*text)
		return 0;
	*ret = strdup(text);
	return *ret ? 0 : -ENOMEM;
}

static int answer_refusal(const struct call *call, const struct refusal *refusal,
			  struct result *ret)
{
	const struct request *request = &call->received.request;
	int r;

	ret->time = clock_realtime_sec();
	r = result_set_refusal(ret, refusal);
	if (r < 0 || !call->is_parsed)
		return r;
	r = copy_text(&ret->verb, request_verb_to_string(request->verb));
	if (r == 0)
		r = copy_text(&ret->id, request->id);
	if (r == 0)
		r = copy_text(&ret->request_id, request->request_id);
	return r;
}

/*
 * To look at, to read, and to close a file that the peer serves may hang in the kernel, where no
 * signal but SIGKILL is heard, if any. So systemd has a watchdog on this process, which is called
 * off when all that was sent is here and closed.
 */
static int end_receiving(void *context)
{
	struct call *call = context;
	int r;

	for (size_t i = 0; i < REQUEST_FD_N; i++)
		call->received.fds[i] = fd_close(call->received.fds[i]);
	r = sd_notify(1, "WATCHDOG_USEC=0");
	return r < 0 ? r : 0;
}

static int execute(struct call *call, struct result *ret)
{
	const struct engine_call engine_call = {
		.request = &call->received.request,
		.fds = call->received.fds,
		.is_admin = call->is_admin,
		.carry_logs = call->is_admin,
		.trust_dirfd = -EBADF,
		.on_received = end_receiving,
		.context = call,
	};
	int r = call->received.request.n_fds == 0 ? end_receiving(call) : 0;

	if (r < 0)
		return r;
	return engine_execute(&engine_call, ret);
}

int serve_connection(int fd)
{
	CLEANUP(call_done) struct call call = {.fd = fd, .received = TRANSPORT_REQUEST_INIT};
	cleanup_result struct result result = RESULT_INIT;
	struct refusal refusal = REFUSAL_INIT;
	bool is_settled = true;
	int r;

	r = find_side(&call, &refusal);
	if (r == 0)
		r = receive(&call, &refusal);
	if (r == -ECONNRESET)
		return 0;
	if (r == 0) {
		r = execute(&call, &result);
		is_settled = r != ENGINE_E_UNSETTLED;
	} else if (r > 0) {
		r = answer_refusal(&call, &refusal, &result);
	}
	if (r < 0)
		return r;
	log_result(&result, call.received.peer_uid, call.is_admin);
	/* The operation is done, whoever still listens; `status` has its result. */
	r = transport_reply(fd, &result);
	if (r < 0)
		return r;
	return is_settled ? 0 : SERVE_E_UNSETTLED;
}
