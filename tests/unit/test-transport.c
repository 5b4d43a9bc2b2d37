/* SPDX-License-Identifier: Apache-2.0 */

#include "ipc/transport.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"

#define HEAD    "{\"schema\":1,\"verb\":"
#define INSTALL HEAD "\"install\",\"fds\":[\"bundle\",\"signature\"]}"
#define STATUS  HEAD "\"status\"}"

struct pair {
	int peer;
	int updater;
	unsigned fds_before;
};

static unsigned count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	(void)closedir(dir);
	return count;
}

static int setup(void **state)
{
	static struct pair pair;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -1;
	pair = (struct pair){fds[0], fds[1], 0};
	pair.fds_before = count_fds();
	*state = &pair;
	return 0;
}

/* Every test ends with the descriptors that it began with. */
static int teardown(void **state)
{
	struct pair *pair = *state;
	unsigned after = count_fds();

	pair->peer = fd_close(pair->peer);
	pair->updater = fd_close(pair->updater);
	if (after > pair->fds_before)
		print_error("%u descriptors leaked\n", after - pair->fds_before);
	return after > pair->fds_before ? -1 : 0;
}

static void send_with(int fd, const char *text, size_t size, const int *fds, size_t n)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(16 * sizeof(int))] = {0};
	struct cmsghdr *rights = (struct cmsghdr *)control;
	struct iovec part = {.iov_base = (void *)text, .iov_len = size};
	struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};

	if (n > 0) {
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(rights), fds, n * sizeof(int));
		header.msg_control = control;
		header.msg_controllen = CMSG_SPACE(n * sizeof(int));
	}
	assert_int_equal(sendmsg(fd, &header, MSG_NOSIGNAL), (ssize_t)size);
}

static int memory_file(const char *text)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_full(fd, text, strlen(text)), 0);
	return fd;
}

static int receive_code(struct pair *pair, struct refusal *refusal)
{
	cleanup_transport_request struct transport_request request = TRANSPORT_REQUEST_INIT;

	return transport_receive(pair->updater, &request, refusal);
}

static void assert_descriptor_refused(struct pair *pair, int bad, const char *word)
{
	struct refusal refusal = REFUSAL_INIT;
	cleanup_fd int good = memory_file("signature");

	assert_true(bad >= 0);
	send_with(pair->peer, INSTALL, strlen(INSTALL), (const int[]){bad, good}, 2);
	(void)fd_close(bad);
	assert_int_equal(receive_code(pair, &refusal), REFUSAL_BAD_DESCRIPTOR);
	if (!strstr(refusal.text, "'bundle'") || !strstr(refusal.text, word))
		fail_msg("'%s' does not say '%s'", refusal.text, word);
}

static void descriptors_arrive_at_the_place_that_the_header_names(void **state)
{
	static const char text[] = HEAD "\"install\",\"fds\":[\"signature\",\"bundle\"]}";
	cleanup_transport_request struct transport_request request = TRANSPORT_REQUEST_INIT;
	struct pair *pair = *state;
	struct refusal refusal = REFUSAL_INIT;
	cleanup_fd int bundle = memory_file("bundle");
	cleanup_fd int signature = memory_file("signature");
	cleanup_free char *read_back = NULL;

	send_with(pair->peer, text, strlen(text), (const int[]){signature, bundle}, 2);
	assert_int_equal(transport_receive(pair->updater, &request, &refusal), 0);
	assert_int_equal(request.peer_uid, getuid());
	assert_int_equal(request.peer_pid, getpid());
	assert_int_equal(request.fds[REQUEST_FD_CONFIG], -EBADF);
	assert_int_equal(fcntl(request.fds[REQUEST_FD_BUNDLE], F_GETFD), FD_CLOEXEC);
	/* The sender stood at the end of its file: the receiver starts at the beginning. */
	assert_int_equal(fd_read_all(request.fds[REQUEST_FD_BUNDLE], 64, &read_back, NULL), 0);
	assert_string_equal(read_back, "bundle");
}

static void a_directory_is_no_bundle(void **state)
{
	assert_descriptor_refused(*state, open("/", O_RDONLY | O_DIRECTORY), "regular");
}

static void a_path_descriptor_is_no_bundle(void **state)
{
	assert_descriptor_refused(*state, open("/proc/self/stat", O_PATH), "O_RDONLY");
}

static void a_device_is_no_bundle(void **state)
{
	assert_descriptor_refused(*state, open("/dev/zero", O_RDONLY), "regular");
}

static void a_pipe_is_no_bundle(void **state)
{
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_descriptor_refused(*state, ends[0], "regular");
	(void)fd_close(ends[1]);
}

static void a_socket_is_no_bundle(void **state)
{
	assert_descriptor_refused(*state, socket(AF_UNIX, SOCK_STREAM, 0), "regular");
}

static void a_file_open_for_writing_only_is_no_bundle(void **state)
{
	cleanup_fd int fd = memory_file("x");
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_descriptor_refused(*state, open(path, O_WRONLY), "O_RDONLY");
}

static void a_sparse_file_over_the_limit_is_no_bundle(void **state)
{
	cleanup_fd int fd = memory_file("");

	assert_int_equal(ftruncate(fd, (off_t)REQUEST_BUNDLE_MAX + 1), 0);
	assert_descriptor_refused(*state, dup(fd), "more than");
}

static void a_signature_has_its_own_limit(void **state)
{
	struct pair *pair = *state;
	struct refusal refusal = REFUSAL_INIT;
	cleanup_fd int bundle = memory_file("bundle");
	cleanup_fd int signature = memory_file("");

	assert_int_equal(ftruncate(signature, REQUEST_SIGNATURE_MAX + 1), 0);
	send_with(pair->peer, INSTALL, strlen(INSTALL), (const int[]){bundle, signature}, 2);
	assert_int_equal(receive_code(pair, &refusal), REFUSAL_BAD_DESCRIPTOR);
	assert_non_null(strstr(refusal.text, "'signature'"));
}

static void fewer_descriptors_than_named_are_refused(void **state)
{
	struct pair *pair = *state;
	struct refusal refusal = REFUSAL_INIT;
	cleanup_fd int bundle = memory_file("bundle");

	send_with(pair->peer, INSTALL, strlen(INSTALL), &bundle, 1);
	assert_int_equal(receive_code(pair, &refusal), REFUSAL_BAD_DESCRIPTOR);
}

static void descriptors_that_nobody_named_are_refused_and_closed(void **state)
{
	struct pair *pair = *state;
	struct refusal refusal = REFUSAL_INIT;
	cleanup_fd int fd = memory_file("x");
	const int many[16] = {fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd};

	send_with(pair->peer, STATUS, strlen(STATUS), many, 1);
	assert_int_equal(receive_code(pair, &refusal), REFUSAL_BAD_DESCRIPTOR);
	send_with(pair->peer, STATUS, strlen(STATUS), many, 4);
	assert_int_equal(receive_code(pair, &refusal), REFUSAL_BAD_DESCRIPTOR);
	send_with(pair->peer, STATUS, strlen(STATUS), many, 16);
	assert_int_equal(receive_code(pair, &refusal), REFUSAL_BAD_DESCRIPTOR);
}

static void a_header_over_the_limit_is_refused(void **state)
{
	static char text[REQUEST_HEADER_MAX + 1];
	struct pair *pair = *state;
	struct refusal refusal = REFUSAL_INIT;

	memset(text, ' ', sizeof(text));
	/* NOLINTNEXTLINE(bugprone-not-null-terminated-result): a datagram has a size */
	memcpy(text, STATUS, strlen(STATUS));
	send_with(pair->peer, text, sizeof(text), NULL, 0);
	assert_int_equal(receive_code(pair, &refusal), REFUSAL_BAD_REQUEST);
}

static void a_peer_that_says_nothing_is_given_up_after_the_deadline(void **state)
{
	struct pair *pair = *state;
	struct refusal refusal = REFUSAL_INIT;
	uint64_t before = clock_monotonic_usec();
	uint64_t took;

	assert_int_equal(receive_code(pair, &refusal), -ETIMEDOUT);
	took = clock_monotonic_usec() - before;
	assert_in_range(took, REQUEST_DEADLINE_USEC, REQUEST_DEADLINE_USEC * 2);
}

static void a_peer_that_goes_away_or_sends_nothing_is_no_request(void **state)
{
	struct pair *pair = *state;
	struct refusal refusal = REFUSAL_INIT;
	cleanup_fd int fd = memory_file("x");

	send_with(pair->peer, "", 0, &fd, 1);
	assert_int_equal(receive_code(pair, &refusal), -ECONNRESET);
	pair->peer = fd_close(pair->peer);
	assert_int_equal(receive_code(pair, &refusal), -ECONNRESET);
}

static void a_second_message_is_not_looked_at(void **state)
{
	cleanup_transport_request struct transport_request request = TRANSPORT_REQUEST_INIT;
	struct pair *pair = *state;
	struct refusal refusal = REFUSAL_INIT;

	send_with(pair->peer, STATUS, strlen(STATUS), NULL, 0);
	send_with(pair->peer, "garbage", 7, NULL, 0);
	assert_int_equal(transport_receive(pair->updater, &request, &refusal), 0);
	assert_int_equal(request.request.verb, REQUEST_STATUS);
}

static void a_reply_does_not_wait_for_ever_for_its_reader(void **state)
{
	struct pair *pair = *state;
	cleanup_result struct result result = RESULT_INIT;
	uint64_t before = clock_monotonic_usec();
	int r = 0;

	for (unsigned i = 0; i < 100000 && r == 0; i++)
		r = transport_reply(pair->updater, &result);
	assert_int_equal(r, 1);
	assert_true(clock_monotonic_usec() - before < 10 * TRANSPORT_REPLY_USEC);
	pair->peer = fd_close(pair->peer);
	assert_int_equal(transport_reply(pair->updater, &result), 1);
}

/* Sizes that serve_once() takes for something else than a reply. */
#define SERVE_NOTHING  0U
#define SERVE_UNSEALED 1U

/* Answers one request on a listening socket as the updater would, *text_size* bytes long. */
static void serve_once(int listener, size_t text_size)
{
	cleanup_transport_request struct transport_request request = TRANSPORT_REQUEST_INIT;
	cleanup_result struct result result = RESULT_INIT;
	cleanup_free char *text = calloc(1, text_size + 1);
	cleanup_fd int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	struct refusal refusal = REFUSAL_INIT;
	int r;

	if (fd < 0 || !text)
		_exit(2);
	if (text_size == SERVE_NOTHING)
		_exit(0);
	r = transport_receive(fd, &request, &refusal);
	if (r == 0 && text_size == SERVE_UNSEALED) {
		send_with(fd, "{}", 2, (const int[]){memory_file("{}")}, 1);
		_exit(0);
	}
	memset(text, 'x', text_size);
	if (r != 0 || result_set(&result, RESULT_DONE, "", "%s", text) < 0 ||
	    transport_reply(fd, &result) != 0)
		_exit(1);
	_exit(0);
}

static int call_server(size_t text_size, struct result *ret)
{
	char directory[] = "/tmp/affix-test-XXXXXX";
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const int none[REQUEST_FD_N] = {-EBADF, -EBADF, -EBADF};
	const struct request request = {.verb = REQUEST_STATUS};
	cleanup_fd int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	pid_t child;
	int r;

	assert_non_null(mkdtemp(directory));
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", directory);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		serve_once(listener, text_size);
	r = transport_call(address.sun_path, &request, none, ret);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(unlink(address.sun_path), 0);
	assert_int_equal(rmdir(directory), 0);
	return r;
}

static void a_short_and_a_long_reply_reach_the_client_whole(void **state)
{
	static const size_t sizes[] = {10, TRANSPORT_INLINE_MAX + 1, 1U << 20};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		cleanup_result struct result result = RESULT_INIT;

		assert_int_equal(call_server(sizes[i], &result), 0);
		assert_int_equal(strlen(result.message), sizes[i]);
	}
}

static void a_reply_beyond_all_bounds_says_so(void **state)
{
	cleanup_result struct result result = RESULT_INIT;

	(void)state;
	assert_int_equal(call_server(TRANSPORT_REPLY_MAX, &result), 0);
	assert_int_equal(result.outcome, RESULT_FAILED);
	assert_non_null(strstr(result.message, "longer than"));
}

static void an_updater_that_dies_is_told_from_one_that_does_not_listen(void **state)
{
	const int none[REQUEST_FD_N] = {-EBADF, -EBADF, -EBADF};
	const struct request request = {.verb = REQUEST_STATUS};
	struct result result = RESULT_INIT;

	(void)state;
	assert_int_equal(call_server(SERVE_NOTHING, &result), -ECONNRESET);
	assert_int_equal(transport_call("/nonexistent/socket", &request, none, &result), -ENOENT);
}

static void a_reply_in_an_unsealed_file_is_not_believed(void **state)
{
	struct result result = RESULT_INIT;

	(void)state;
	assert_int_equal(call_server(SERVE_UNSEALED, &result), -EBADMSG);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(descriptors_arrive_at_the_place_that_the_header_names),
		TEST(a_directory_is_no_bundle),
		TEST(a_path_descriptor_is_no_bundle),
		TEST(a_device_is_no_bundle),
		TEST(a_pipe_is_no_bundle),
		TEST(a_socket_is_no_bundle),
		TEST(a_file_open_for_writing_only_is_no_bundle),
		TEST(a_sparse_file_over_the_limit_is_no_bundle),
		TEST(a_signature_has_its_own_limit),
		TEST(fewer_descriptors_than_named_are_refused),
		TEST(descriptors_that_nobody_named_are_refused_and_closed),
		TEST(a_header_over_the_limit_is_refused),
		TEST(a_peer_that_says_nothing_is_given_up_after_the_deadline),
		TEST(a_peer_that_goes_away_or_sends_nothing_is_no_request),
		TEST(a_second_message_is_not_looked_at),
		TEST(a_reply_does_not_wait_for_ever_for_its_reader),
		TEST(a_short_and_a_long_reply_reach_the_client_whole),
		TEST(a_reply_beyond_all_bounds_says_so),
		TEST(an_updater_that_dies_is_told_from_one_that_does_not_listen),
		TEST(a_reply_in_an_unsealed_file_is_not_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
