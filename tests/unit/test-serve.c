/* SPDX-License-Identifier: Apache-2.0 */

#include "updater/serve.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/str.h"
#include "engine/engine.h"
#include "ipc/transport.h"

#define HEAD "{\"schema\":1,\"verb\":"

/* What the socket under test is bound to, and who its peer is. */
static const char *bound_path;
static uid_t peer_uid;
static unsigned engine_calls;
static bool engine_was_admin;
static bool engine_carried_logs;

int __wrap_getsockname(int fd, struct sockaddr *address, socklen_t *size);
int __wrap_engine_execute(const struct engine_call *call, struct result *ret);
int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *size);
int __wrap_sd_journal_sendv(const struct iovec *parts, int n);

int __wrap_getsockname(int fd, struct sockaddr *address, socklen_t *size)
{
	struct sockaddr_un *local = (struct sockaddr_un *)address;

	(void)fd;
	local->sun_family = AF_UNIX;
	(void)snprintf(local->sun_path, sizeof(local->sun_path), "%s", bound_path);
	*size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(bound_path) + 1);
	return 0;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): its type is getsockopt()'s */
int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *size)
{
	struct ucred *peer = value;

	(void)fd;
	(void)size;
	assert_int_equal(level, SOL_SOCKET);
	assert_int_equal(option, SO_PEERCRED);
	*peer = (struct ucred){.pid = 7, .uid = peer_uid, .gid = peer_uid};
	return 0;
}

int __wrap_engine_execute(const struct engine_call *call, struct result *ret)
{
	engine_calls++;
	engine_was_admin = call->is_admin;
	engine_carried_logs = call->carry_logs;
	assert_null(call->root);
	return result_set(ret, RESULT_DONE, "", "carried out");
}

int __wrap_sd_journal_sendv(const struct iovec *parts, int n)
{
	bool has_peer = false;

	for (int i = 0; i < n; i++) {
		const char *text = parts[i].iov_base;

		assert_int_equal(strlen(text), parts[i].iov_len);
		has_peer |= str_starts_with(text, "AFFIX_PEER_UID=");
	}
	assert_true(has_peer);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	bound_path = REQUEST_FLEET_SOCKET;
	peer_uid = 990;
	engine_calls = 0;
	return 0;
}

/* Sends one header and reads the answer. */
static void converse(const char *text, struct result *ret)
{
	cleanup_json json_t *json = NULL;
	cleanup_fd int ours = -EBADF;
	cleanup_fd int theirs = -EBADF;
	char reply[4096];
	int fds[2];
	ssize_t n;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	ours = fds[0];
	theirs = fds[1];
	assert_int_equal(send(ours, text, strlen(text), 0), (ssize_t)strlen(text));
	assert_int_equal(serve_connection(theirs), 0);
	n = recv(ours, reply, sizeof(reply), MSG_DONTWAIT);
	assert_true(n > 0);
	assert_int_equal(json_parse_object(reply, (size_t)n, &json, NULL), 0);
	assert_int_equal(result_from_json(json, ret), 0);
}

static void assert_refused(const char *text, const char *name)
{
	cleanup_result struct result result = RESULT_INIT;

	converse(text, &result);
	assert_int_equal(result.outcome, RESULT_REFUSED);
	assert_string_equal(result.name, name);
	assert_true(result.time > 0);
	assert_int_equal(engine_calls, 0);
}

static void the_fleet_gets_what_it_may_ask_for(void **state)
{
	cleanup_result struct result result = RESULT_INIT;

	(void)state;
	converse(HEAD "\"status\"}", &result);
	assert_int_equal(result.outcome, RESULT_DONE);
	assert_int_equal(engine_calls, 1);
	assert_false(engine_was_admin);
	assert_false(engine_carried_logs);
}

static void the_fleet_is_denied_the_administrators_verbs(void **state)
{
	(void)state;
	assert_refused(HEAD "\"prune\",\"id\":\"a\"}", "forbidden");
	assert_refused(HEAD "\"clear-quarantine\",\"id\":\"a\"}", "forbidden");
	assert_refused(HEAD "\"rollback\",\"id\":\"a\",\"version\":\"1.0.0\"}", "forbidden");
}

static void root_on_the_fleet_socket_is_the_fleet(void **state)
{
	(void)state;
	peer_uid = 0;
	assert_refused(HEAD "\"prune\",\"id\":\"a\"}", "forbidden");
}

static void the_administrator_gets_every_verb(void **state)
{
	cleanup_result struct result result = RESULT_INIT;

	(void)state;
	bound_path = REQUEST_ADMIN_SOCKET;
	peer_uid = 0;
	converse(HEAD "\"clear-quarantine\",\"id\":\"a\"}", &result);
	assert_int_equal(result.outcome, RESULT_DONE);
	assert_true(engine_was_admin);
	assert_true(engine_carried_logs);
}

static void the_administrators_socket_in_other_hands_is_denied(void **state)
{
	(void)state;
	bound_path = REQUEST_ADMIN_SOCKET;
	assert_refused(HEAD "\"status\"}", "forbidden");
}

static void a_socket_of_another_path_has_no_rights(void **state)
{
	static const char *const paths[] = {"/run/affix/admin.sock2", "/run/affix/admin.soc", "",
					    "/tmp/run/affix/updater.sock"};

	(void)state;
	peer_uid = 0;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		bound_path = paths[i];
		assert_refused(HEAD "\"status\"}", "forbidden");
	}
}

static void a_refusal_names_verb_id_and_request(void **state)
{
	cleanup_result struct result result = RESULT_INIT;

	(void)state;
	converse(HEAD "\"uninstall\",\"id\":\"a\",\"purge\":true,\"request_id\":\"r\"}", &result);
	assert_string_equal(result.name, "forbidden");
	assert_string_equal(result.verb, "uninstall");
	assert_string_equal(result.id, "a");
	assert_string_equal(result.request_id, "r");
}

static void garbage_gets_a_named_answer(void **state)
{
	(void)state;
	assert_refused("GET / HTTP/1.1\r\n", "bad-request");
	assert_refused(HEAD "\"exec\"}", "unknown-verb");
	assert_refused(HEAD "\"install\",\"fds\":[\"bundle\",\"signature\"]}", "bad-descriptor");
}

static void a_peer_that_never_asks_gets_a_named_answer_too(void **state)
{
	cleanup_fd int ours = -EBADF;
	cleanup_fd int theirs = -EBADF;
	char reply[1024] = {0};
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	ours = fds[0];
	theirs = fds[1];
	assert_int_equal(serve_connection(theirs), 0);
	assert_true(recv(ours, reply, sizeof(reply) - 1, MSG_DONTWAIT) > 0);
	assert_non_null(strstr(reply, "\"name\":\"timeout\""));
}

static void a_peer_that_left_is_no_failure(void **state)
{
	cleanup_fd int theirs = -EBADF;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	theirs = fds[1];
	assert_int_equal(send(fds[0], HEAD "\"status\"}", strlen(HEAD "\"status\"}"), 0),
			 (ssize_t)strlen(HEAD "\"status\"}"));
	assert_int_equal(close(fds[0]), 0);
	assert_int_equal(serve_connection(theirs), 0);
	assert_int_equal(engine_calls, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_fleet_gets_what_it_may_ask_for, setup),
		cmocka_unit_test_setup(the_fleet_is_denied_the_administrators_verbs, setup),
		cmocka_unit_test_setup(root_on_the_fleet_socket_is_the_fleet, setup),
		cmocka_unit_test_setup(the_administrator_gets_every_verb, setup),
		cmocka_unit_test_setup(the_administrators_socket_in_other_hands_is_denied, setup),
		cmocka_unit_test_setup(a_socket_of_another_path_has_no_rights, setup),
		cmocka_unit_test_setup(a_refusal_names_verb_id_and_request, setup),
		cmocka_unit_test_setup(garbage_gets_a_named_answer, setup),
		cmocka_unit_test_setup(a_peer_that_never_asks_gets_a_named_answer_too, setup),
		cmocka_unit_test_setup(a_peer_that_left_is_no_failure, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
