/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One request and one reply over SOCK_SEQPACKET. A message is whole or it is not there, so there is
 * no framing to starve: the updater waits for one message until a fixed deadline and never reads a
 * second one. Descriptors are counted against the header's list before anything is believed about
 * them; every one that came is owned from the moment it came, so that a refusal closes it.
 *
 * Only regular files are taken: a pipe, a device or a socket could deliver for ever, an O_PATH
 * descriptor cannot be read, and a directory is a path in disguise. A reply never waits for its
 * reader longer than TRANSPORT_REPLY_USEC.
 */

#include "ipc/transport.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"

/* Room for more descriptors than are allowed: those that came are to be counted, not cut. */
#define RECEIVE_FDS_MAX  8U
#define CONTROL_SIZE_MAX 256U

/* In place of a reply that travels as a memfd. */
#define REPLY_IN_MEMFD "{\"schema\":1,\"reply\":\"memfd\"}\n"
#define REPLY_SEALS    (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* A message with its descriptors, in the order of the sender. */
struct message {
	char text[TRANSPORT_INLINE_MAX];
	size_t size;
	int fds[RECEIVE_FDS_MAX];
	size_t n_fds;
	bool is_cut;
};

static struct message *message_free(struct message *message)
{
	if (!message)
		return NULL;
	for (size_t i = 0; i < message->n_fds; i++)
		(void)fd_close(message->fds[i]);
	free(message);
	return NULL;
}

DEFINE_CLEANUP(struct message *, message, message_free)
#define cleanup_message CLEANUP(cleanup_message)

void transport_request_done(struct transport_request *request)
{
	for (size_t i = 0; i < REQUEST_FD_N; i++)
		request->fds[i] = fd_close(request->fds[i]);
	request_done(&request->request);
}

/* Waits for *events*; *deadline* is CLOCK_MONOTONIC, 0 for none. 0, -ETIMEDOUT, -errno. */
static int wait_for(int fd, short events, uint64_t deadline)
{
	struct pollfd poll_fd = {.fd = fd, .events = events};

	for (;;) {
		uint64_t now = clock_monotonic_usec();
		int timeout = -1;
		int n;

		if (deadline > 0 && now >= deadline)
			return -ETIMEDOUT;
		if (deadline > 0)
			timeout = (int)((deadline - now) / CLOCK_USEC_PER_MSEC) + 1;
		n = poll(&poll_fd, 1, timeout);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

static void take_descriptors(struct msghdr *header, struct message *message)
{
	struct cmsghdr *part;

	for (part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
		size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd = -EBADF;

			memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(fd));
			if (message->n_fds < RECEIVE_FDS_MAX)
				message->fds[message->n_fds++] = fd;
			else
				(void)fd_close(fd);
		}
	}
}

/* One message of at most *max* bytes. 0; -ETIMEDOUT; -ECONNRESET: the peer is gone; -errno. */
static int receive_message(int fd, size_t max, uint64_t deadline, struct message **ret)
{
	cleanup_message struct message *message = malloc(sizeof(*message));
	_Alignas(struct cmsghdr) char control[CONTROL_SIZE_MAX];
	struct iovec part = {.iov_len = MIN(max, sizeof(message->text))};
	struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control};
	ssize_t n;

	if (!message)
		return -ENOMEM;
	message->n_fds = 0;
	part.iov_base = message->text;
	for (;;) {
		int r = wait_for(fd, POLLIN, deadline);

		if (r < 0)
			return r;
		header.msg_controllen = CMSG_SPACE(RECEIVE_FDS_MAX * sizeof(int));
		n = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n >= 0)
			break;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
	take_descriptors(&header, message);
	if (n == 0)
		return -ECONNRESET;
	message->size = (size_t)n;
	message->is_cut = (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
	*ret = TAKE_PTR(message);
	return 0;
}

static const uint64_t size_limits[] = {
	[REQUEST_FD_BUNDLE] = REQUEST_BUNDLE_MAX,
	[REQUEST_FD_SIGNATURE] = REQUEST_SIGNATURE_MAX,
	[REQUEST_FD_CONFIG] = REQUEST_CONFIG_MAX,
};

static_assert(ARRAY_SIZE(size_limits) == REQUEST_FD_N, "every descriptor has a limit");

/*
 * A regular file, open for plain reading, within its limit, positioned at its start. Its file
 * system is not asked to refresh anything: one that the peer serves might not answer.
 */
static int check_descriptor(int fd, enum request_fd kind, struct refusal *refusal)
{
	const char *name = request_fd_to_string(kind);
	struct statx st = {0};
	int status = fcntl(fd, F_GETFL);

	if (status < 0)
		return -errno;
	/* A file system of the peer's own may be for nobody else. */
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_SIZE, &st) < 0)
		return refuse(
			refusal, REFUSAL_BAD_DESCRIPTOR,
			"the file behind the descriptor '%s' cannot be looked at: %s; pass one of "
			"a file system that root may use",
			name, strerrordesc_np(errno));
	if (!S_ISREG(st.stx_mode))
		return refuse(
			refusal, REFUSAL_BAD_DESCRIPTOR,
			"the descriptor '%s' is no regular file: pass an open file or a memfd",
			name);
	if ((status & (O_PATH | O_DIRECT)) || (status & O_ACCMODE) == O_WRONLY ||
	    lseek(fd, 0, SEEK_SET) < 0)
		return refuse(refusal, REFUSAL_BAD_DESCRIPTOR,
			      "the descriptor '%s' is not open for reading: open it with O_RDONLY",
			      name);
	if (st.stx_size > size_limits[kind])
		return refuse(
			refusal, REFUSAL_BAD_DESCRIPTOR,
			"the file behind the descriptor '%s' has %llu bytes, more than the %llu "
			"that are allowed",
			name, (unsigned long long)st.stx_size,
			(unsigned long long)size_limits[kind]);
	return 0;
}

/* Moves the message's descriptors to the places that the header gives them. */
static int assign_descriptors(struct message *message, struct transport_request *request,
			      struct refusal *refusal)
{
	const struct request *header = &request->request;

	if (message->n_fds != header->n_fds)
		return refuse(refusal, REFUSAL_BAD_DESCRIPTOR,
			      "the request names %zu descriptors in 'fds' and carries %zu",
			      header->n_fds, message->n_fds);
	for (size_t i = 0; i < header->n_fds; i++) {
		int r = check_descriptor(message->fds[i], header->fds[i], refusal);

		if (r != 0)
			return r;
		request->fds[header->fds[i]] = TAKE_FD(message->fds[i]);
	}
	return 0;
}

/* gcc 12's analyzer thinks that errno may be 0 after a call that failed. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-null-dereference"

static int read_message(struct message *message, struct transport_request *request,
			struct refusal *refusal)
{
	int r;

	if (message->is_cut || message->n_fds > REQUEST_FDS_MAX)
		return refuse(refusal,
			      message->n_fds > REQUEST_FDS_MAX ? REFUSAL_BAD_DESCRIPTOR
							       : REFUSAL_BAD_REQUEST,
			      "the request is larger than a header of %lu bytes and %u descriptors",
			      REQUEST_HEADER_MAX, REQUEST_FDS_MAX);
	r = request_parse(message->text, message->size, &request->request, refusal);
	if (r != 0)
		return r;
	return assign_descriptors(message, request, refusal);
}

#pragma GCC diagnostic pop

int transport_receive(int fd, struct transport_request *ret, struct refusal *reterr_refusal)
{
	cleanup_transport_request struct transport_request request = TRANSPORT_REQUEST_INIT;
	cleanup_message struct message *message = NULL;
	uint64_t deadline = clock_monotonic_usec() + REQUEST_DEADLINE_USEC;
	struct ucred peer = {0};
	socklen_t size = sizeof(peer);
	int r;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return -errno;
	ret->peer_uid = request.peer_uid = peer.uid;
	ret->peer_pid = request.peer_pid = peer.pid;
	r = receive_message(fd, REQUEST_HEADER_MAX, deadline, &message);
	if (r < 0)
		return r;
	r = read_message(message, &request, reterr_refusal);
	if (r != 0)
		return r;
	*ret = request;
	request = (struct transport_request)TRANSPORT_REQUEST_INIT;
	return 0;
}

static int send_message(int fd, const char *text, size_t size, int carried, uint64_t deadline)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec part = {.iov_base = (void *)text, .iov_len = size};
	struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};

	if (carried >= 0) {
		struct cmsghdr *rights = (struct cmsghdr *)control;

		header.msg_control = control;
		header.msg_controllen = sizeof(control);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(rights), &carried, sizeof(int));
	}
	for (;;) {
		int r;

		if (sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return 0;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		r = wait_for(fd, POLLOUT, deadline);
		if (r < 0)
			return r;
	}
}

static int make_memfd(const char *text, size_t size, int *ret_fd)
{
	cleanup_fd int fd = memfd_create("affix-reply", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	if (fd < 0)
		return -errno;
	r = fd_write_full(fd, text, size);
	if (r < 0)
		return r;
	if (lseek(fd, 0, SEEK_SET) < 0 || fcntl(fd, F_ADD_SEALS, REPLY_SEALS) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* The reply's text; one that is too long for any peer gives way to a sentence that says so. */
static int reply_text(const struct result *result, char **ret)
{
	cleanup_json json_t *json = result_to_json(result);
	cleanup_free char *text = json ? json_to_canonical(json) : NULL;

	if (text && strlen(text) > TRANSPORT_REPLY_MAX) {
		cleanup_result struct result instead = RESULT_INIT;
		int r;

		r = result_set(&instead, RESULT_FAILED, "error",
			       "the answer is longer than %u bytes: ask for one add-on",
			       TRANSPORT_REPLY_MAX);
		return r < 0 ? r : reply_text(&instead, ret);
	}
	if (!text)
		return -ENOMEM;
	*ret = TAKE_PTR(text);
	return 0;
}

int transport_reply(int fd, const struct result *result)
{
	uint64_t deadline = clock_monotonic_usec() + TRANSPORT_REPLY_USEC;
	cleanup_free char *text = NULL;
	cleanup_fd int memfd = -EBADF;
	size_t size;
	int r;

	r = reply_text(result, &text);
	if (r < 0)
		return r;
	size = strlen(text);
	if (size > TRANSPORT_INLINE_MAX) {
		r = make_memfd(text, size, &memfd);
		if (r < 0)
			return r;
		r = send_message(fd, REPLY_IN_MEMFD, strlen(REPLY_IN_MEMFD), memfd, deadline);
	} else {
		r = send_message(fd, text, size, -EBADF, deadline);
	}
	return r == -ETIMEDOUT || r == -EPIPE || r == -ECONNRESET ? 1 : r;
}

static int connect_to(const char *path, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	cleanup_fd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* The header and the descriptors that it names, in its order. */
static int send_request(int fd, const struct request *request, const int fds[REQUEST_FD_N])
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(REQUEST_FDS_MAX * sizeof(int))] = {0};
	struct cmsghdr *rights = (struct cmsghdr *)control;
	cleanup_free char *text = NULL;
	struct iovec part;
	struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
	int r;

	r = request_format(request, &text);
	if (r < 0)
		return r;
	part = (struct iovec){.iov_base = text, .iov_len = strlen(text)};
	for (size_t i = 0; i < request->n_fds; i++)
		memcpy(CMSG_DATA(rights) + i * sizeof(int), &fds[request->fds[i]], sizeof(int));
	if (request->n_fds > 0) {
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(request->n_fds * sizeof(int));
		header.msg_control = control;
		header.msg_controllen = CMSG_SPACE(request->n_fds * sizeof(int));
	}
	while (sendmsg(fd, &header, MSG_NOSIGNAL) < 0) {
		if (errno != EINTR)
			return errno == EPIPE ? -ECONNRESET : -errno;
	}
	return 0;
}

static int parse_reply(const char *text, size_t size, struct result *ret)
{
	cleanup_json json_t *json = NULL;
	int r;

	r = json_parse_object(text, size, &json, NULL);
	if (r == 0)
		r = result_from_json(json, ret);
	return r > 0 ? -EBADMSG : r;
}

static int read_reply(const struct message *message, struct result *ret)
{
	cleanup_free char *text = NULL;
	size_t size = 0;
	int r;

	assert(message);
	if (message->is_cut || message->n_fds > 1)
		return -EBADMSG;
	if (message->n_fds == 0)
		return parse_reply(message->text, message->size, ret);
	/* Sealed, so that what was measured is what is read. */
	r = fcntl(message->fds[0], F_GET_SEALS);
	if (r < 0 || (r & REPLY_SEALS) != REPLY_SEALS)
		return -EBADMSG;
	r = fd_read_all(message->fds[0], TRANSPORT_REPLY_MAX, &text, &size);
	if (r < 0)
		return r;
	return parse_reply(text, size, ret);
}

int transport_call(const char *path, const struct request *request, const int fds[REQUEST_FD_N],
		   struct result *ret)
{
	cleanup_message struct message *message = NULL;
	cleanup_fd int fd = -EBADF;
	int r;

	r = connect_to(path, &fd);
	if (r == 0)
		r = send_request(fd, request, fds);
	if (r == 0)
		r = receive_message(fd, TRANSPORT_INLINE_MAX, 0, &message);
	if (r == 0)
		r = read_reply(message, ret);
	return r;
}
