/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The host's side of affix-guestd(8). The guest is not trusted: its lines are bounded, what is no
 * result of this request is passed over, and nothing goes on after the deadline. A guest that boots
 * is waited for; over vsock that means to try again, while QEMU keeps what is written for its
 * serial port until the guest opens it.
 */

#include <errno.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/vm.h"
#include "ipc/line.h"

#define CHUNK_SIZE  4096U
#define RETRY_USEC  (200 * CLOCK_USEC_PER_MSEC)
#define ID_BYTES    8U
#define PREFACE_MAX 64U
/* The first of the ports below GUEST_VSOCK_PRIVILEGED_END that are tried. */
#define PRIVILEGED_BEGIN 512U

/* A number up to *end*, which is one of *ends* or the end of the text. 0 or -EINVAL. */
static int parse_number(const char **at, unsigned *ret)
{
	unsigned long long value = 0;
	const char *begin = *at;

	for (; **at >= '0' && **at <= '9'; (*at)++) {
		value = value * 10 + (unsigned)(**at - '0');
		if (value >= UINT32_MAX)
			return -EINVAL;
	}
	*ret = (unsigned)value;
	return *at == begin ? -EINVAL : 0;
}

int vm_address_parse(const char *text, struct vm_address *ret)
{
	struct vm_address address = {.port = GUEST_VSOCK_PORT, .as_given = text};
	const char *at = text;
	int r = 0;

	if (text[strspn(text, "0123456789:")] != '\0' || *text == '\0') {
		address.path = text;
	} else {
		r = parse_number(&at, &address.cid);
		if (r == 0 && *at == ':') {
			at++;
			r = parse_number(&at, &address.port);
		}
		if (r == 0 && *at != '\0')
			r = -EINVAL;
	}
	if (r == 0)
		*ret = address;
	return r;
}

/* 0; -ETIMEDOUT; -errno. */
static int wait_for(int fd, short events, uint64_t end)
{
	struct pollfd poller = {.fd = fd, .events = events};
	uint64_t now;

	while ((now = clock_monotonic_usec()) < end) {
		int r = poll(&poller, 1, (int)((end - now) / CLOCK_USEC_PER_MSEC) + 1);

		if (r > 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return -errno;
	}
	return -ETIMEDOUT;
}

static int make_socket(const struct vm_address *address, int *ret_fd,
		       struct sockaddr_storage *ret_name, socklen_t *ret_size)
{
	struct sockaddr_un local = {.sun_family = AF_UNIX};
	const struct sockaddr_vm vm = {
		.svm_family = AF_VSOCK, .svm_cid = address->cid, .svm_port = address->port};
	int fd;

	if (address->path && strlen(address->path) >= sizeof(local.sun_path))
		return -ENAMETOOLONG;
	if (address->path) {
		memcpy(local.sun_path, address->path, strlen(address->path));
		memcpy(ret_name, &local, sizeof(local));
		*ret_size = sizeof(local);
	} else {
		memcpy(ret_name, &vm, sizeof(vm));
		*ret_size = sizeof(vm);
	}
	fd = socket(address->path ? AF_UNIX : AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
		    0);
	if (fd < 0)
		return errno == EAFNOSUPPORT ? -ENODEV : -errno;
	*ret_fd = fd;
	return 0;
}

/* Takes a port that only root may have, as bindresvport(3) does. 0; -EPERM; -errno. */
static int bind_privileged(int fd)
{
	struct sockaddr_vm name = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY};

	for (unsigned port = GUEST_VSOCK_PRIVILEGED_END - 1; port >= PRIVILEGED_BEGIN; port--) {
		name.svm_port = port;
		if (bind(fd, (const struct sockaddr *)&name, sizeof(name)) == 0)
			return 0;
		if (errno != EADDRINUSE)
			return errno == EACCES ? -EPERM : -errno;
	}
	return -EADDRINUSE;
}

static int connect_to(const struct vm_address *address, bool is_privileged, uint64_t end,
		      int *ret_fd)
{
	struct sockaddr_storage name = {0};
	cleanup_fd int fd = -EBADF;
	socklen_t size = 0;
	int error = 0;
	int r = make_socket(address, &fd, &name, &size);

	if (r == 0 && is_privileged && !address->path)
		r = bind_privileged(fd);
	if (r < 0)
		return r;
	if (connect(fd, (const struct sockaddr *)&name, size) < 0) {
		/* A listener that is busy. */
		if (errno == EAGAIN)
			return -ECONNRESET;
		if (errno != EINPROGRESS)
			return -errno;
		r = wait_for(fd, POLLOUT, end);
		size = sizeof(error);
		if (r == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
			r = -errno;
		if (r < 0 || error != 0)
			return r < 0 ? r : -error;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int send_all(int fd, const char *data, size_t size, uint64_t end)
{
	while (size > 0) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL);
		int r = 0;

		if (n >= 0) {
			data += n;
			size -= (size_t)n;
		} else if (errno == EAGAIN) {
			r = wait_for(fd, POLLOUT, end);
		} else if (errno != EINTR) {
			return errno == EPIPE ? -ECONNRESET : -errno;
		}
		if (r < 0)
			return r;
	}
	return 0;
}

/* 0 with at least a byte; -ECONNRESET where there will be none. */
static int receive_some(int fd, char *data, size_t size, uint64_t end, size_t *ret)
{
	for (;;) {
		ssize_t n;
		int r = wait_for(fd, POLLIN, end);

		if (r < 0)
			return r;
		n = recv(fd, data, size, 0);
		if (n > 0) {
			*ret = (size_t)n;
			return 0;
		}
		if (n == 0)
			return -ECONNRESET;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
}

/* "CONNECT PORT", and "OK NUMBER" for an answer: Firecracker's vsock is a socket of the host. */
static int exchange_preface(int fd, unsigned port, uint64_t end)
{
	char text[PREFACE_MAX];
	size_t size = 0;
	int r;

	(void)snprintf(text, sizeof(text), "CONNECT %u\n", port);
	r = send_all(fd, text, strlen(text), end);
	/* Byte by byte: what comes behind it is the guest's. */
	while (r == 0 && (size == 0 || text[size - 1] != '\n')) {
		size_t n = 0;

		if (size == sizeof(text))
			return -EBADMSG;
		r = receive_some(fd, text + size, 1, end, &n);
		size += n;
	}
	if (r < 0)
		return r;
	return size > 3 && memcmp(text, "OK ", 3) == 0 ? 0 : -EBADMSG;
}

/* Whether a line is the answer to this request. 0; 1 it is not; -ENOMEM. */
static int read_answer(const struct line *line, const struct guest_request *request,
		       struct result *ret)
{
	cleanup_result struct result result = RESULT_INIT;
	cleanup_json json_t *json = NULL;
	int r = json_parse_object(line->text, line->size, &json, NULL);

	if (r == 0)
		r = result_from_json(json, &result);
	if (r != 0)
		return r;
	if (!str_equal(result.request_id, request->request_id) || !result.message)
		return 1;
	*ret = result;
	result = RESULT_INIT;
	return 0;
}

static int await_answer(int fd, const struct guest_request *request, uint64_t end,
			struct result *ret)
{
	cleanup_line struct line line = LINE_INIT;
	int r = line_init(&line, GUEST_REPLY_MAX);

	while (r == 0) {
		char chunk[CHUNK_SIZE];
		const char *data = chunk;
		size_t size = 0;
		int taken;

		r = receive_some(fd, chunk, sizeof(chunk), end, &size);
		if (r < 0)
			return r;
		while ((taken = line_take(&line, &data, &size)) != LINE_E_MORE) {
			r = taken == 0 ? read_answer(&line, request, ret) : 1;
			if (r <= 0)
				return r;
		}
		r = 0;
	}
	return r;
}

static int ask_once(const struct vm_address *address, const struct guest_request *request,
		    uint64_t end, struct result *ret)
{
	cleanup_free char *text = NULL;
	cleanup_fd int fd = -EBADF;
	int r = guest_request_format(request, &text);

	if (r == 0)
		r = connect_to(address, request->verb == GUEST_SHUTDOWN, end, &fd);
	if (r == 0 && address->has_preface)
		r = exchange_preface(fd, address->port, end);
	/* On a serial port this ends what somebody before may have begun. */
	if (r == 0)
		r = send_all(fd, "\n", 1, end);
	if (r == 0)
		r = send_all(fd, text, strlen(text), end);
	return r < 0 ? r : await_answer(fd, request, end, ret);
}

int vm_ask(const struct vm_address *address, enum guest_verb verb, uint64_t usec,
	   struct result *ret)
{
	uint64_t end = clock_monotonic_usec() + usec;
	struct guest_request request = {.verb = verb};
	unsigned char id[ID_BYTES];
	int r;

	randombytes_buf(id, sizeof(id));
	(void)sodium_bin2hex(request.request_id, sizeof(request.request_id), id, sizeof(id));
	for (;;) {
		r = ask_once(address, &request, end, ret);
		/* Nobody listens in the guest, or somebody does no longer. */
		if (r != -ECONNRESET && r != -ETIMEDOUT)
			return r;
		if (clock_monotonic_usec() + RETRY_USEC >= end)
			return -ETIMEDOUT;
		clock_sleep_usec(RETRY_USEC);
	}
}
