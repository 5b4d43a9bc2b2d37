/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Whether a daemon accepts connections on its socket. connect() says little: the kernel completes
 * it as long as the backlog has room, also for a daemon that hangs. What tells is our own end as
 * sock_diag shows it: its peer has no inode until somebody accepts. Where the kernel has no
 * sock_diag, connect() must do.
 *
 * The socket lies in a directory that the add-on's user may write to: it is opened without
 * following links and connected to by descriptor.
 */

#include "engine/health_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/path.h"

static void set_reason(struct health_socket *probe, enum health_socket_state state,
		       const char *format, ...) format_check(3, 4);

static void set_reason(struct health_socket *probe, enum health_socket_state state,
		       const char *format, ...)
{
	va_list arguments;

	probe->state = state;
	va_start(arguments, format);
	(void)vsnprintf(probe->reason, sizeof(probe->reason), format, arguments);
	va_end(arguments);
}

static int open_socket_file(struct health_socket *probe, int *ret_fd)
{
	cleanup_fd int fd = -EBADF;
	struct stat st;
	int r;

	r = path_open_beneath(probe->tree->rootfd, probe->path, O_PATH | O_NOFOLLOW, 0, &fd);
	if (r == -ENOMEM || r == -EMFILE || r == -ENFILE)
		return r;
	if (r < 0) {
		set_reason(probe, HEALTH_SOCKET_REFUSED, "'%.150s' cannot be opened: %s",
			   probe->path, strerrordesc_np(-r));
		return 0;
	}
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISSOCK(st.st_mode)) {
		set_reason(probe, HEALTH_SOCKET_REFUSED, "'%.150s' is not a socket", probe->path);
		return 0;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* 0, -errno of connect(). */
static int connect_type(int file_fd, int type, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	cleanup_fd int fd = -EBADF;

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", file_fd);
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int try_connect(struct health_socket *probe)
{
	cleanup_fd int file_fd = -EBADF;
	int r;

	r = open_socket_file(probe, &file_fd);
	if (r < 0 || file_fd < 0)
		return r;
	r = connect_type(file_fd, SOCK_STREAM, &probe->fd);
	if (r == -EPROTOTYPE)
		r = connect_type(file_fd, SOCK_SEQPACKET, &probe->fd);
	if (r == 0)
		set_reason(probe, HEALTH_SOCKET_PENDING,
			   "'%.150s' lets connections wait and accepts none", probe->path);
	else if (r == -EAGAIN)
		set_reason(probe, HEALTH_SOCKET_PENDING,
			   "'%.150s' accepts no connection: its backlog is full", probe->path);
	else
		set_reason(probe, HEALTH_SOCKET_REFUSED, "'%.150s' refuses connections: %s",
			   probe->path, strerrordesc_np(-r));
	return 0;
}

static int send_query(int fd, uint32_t inode)
{
	struct {
		struct nlmsghdr header;
		struct unix_diag_req request;
	} query = {
		.header = {.nlmsg_len = sizeof(query),
			   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			   .nlmsg_flags = NLM_F_REQUEST            },
		.request = { .sdiag_family = AF_UNIX,
                           .udiag_states = UINT32_MAX,
                           .udiag_ino = inode,
                           .udiag_show = UDIAG_SHOW_PEER,
                           .udiag_cookie = {UINT32_MAX, UINT32_MAX}},
	};

	return send(fd, &query, sizeof(query), 0) == (ssize_t)sizeof(query) ? 0 : -EIO;
}

/* The peer's inode in an answer; 0: it has none yet. */
static int parse_answer(const void *data, size_t size, uint32_t *ret_peer)
{
	const struct nlmsghdr *header = data;
	const struct unix_diag_msg *message;
	const struct rtattr *attribute;
	size_t left;

	if (!NLMSG_OK(header, size) || header->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    header->nlmsg_len < NLMSG_LENGTH(sizeof(*message)))
		return -EOPNOTSUPP;
	message = NLMSG_DATA(header);
	attribute = (const struct rtattr *)(message + 1);
	left = header->nlmsg_len - NLMSG_LENGTH(sizeof(*message));
	for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
		if (attribute->rta_type == UNIX_DIAG_PEER &&
		    RTA_PAYLOAD(attribute) >= sizeof(*ret_peer)) {
			(void)memcpy(ret_peer, RTA_DATA(attribute), sizeof(*ret_peer));
			return 0;
		}
	}
	*ret_peer = 0;
	return 0;
}

/* -EOPNOTSUPP where sock_diag is not to be had. */
static int ask_peer(int socket_fd, uint32_t *ret_peer)
{
	_Alignas(struct nlmsghdr) char answer[4096];
	cleanup_fd int fd = -EBADF;
	struct stat st;
	ssize_t n;

	if (fstat(socket_fd, &st) < 0)
		return -errno;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
	if (fd < 0 || send_query(fd, (uint32_t)st.st_ino) < 0)
		return -EOPNOTSUPP;
	n = recv(fd, answer, sizeof(answer), 0);
	if (n < 0)
		return -EOPNOTSUPP;
	return parse_answer(answer, (size_t)n, ret_peer);
}

static int check_connected(struct health_socket *probe)
{
	struct pollfd poll_fd = {.fd = probe->fd, .events = POLLIN | POLLRDHUP};
	uint32_t peer = 0;
	int r;

	if (poll(&poll_fd, 1, 0) < 0)
		return -errno;
	/* The listening socket was closed with our connection in its queue. */
	if (poll_fd.revents & POLLERR) {
		set_reason(probe, HEALTH_SOCKET_REFUSED, "'%.150s' dropped a connection",
			   probe->path);
		return 0;
	}
	/* An answer, or an end: both come after accept() only. */
	if (poll_fd.revents) {
		probe->state = HEALTH_SOCKET_ACCEPTED;
		return 0;
	}
	r = ask_peer(probe->fd, &peer);
	if (r < 0 && r != -EOPNOTSUPP)
		return r;
	if (r == -EOPNOTSUPP || peer != 0)
		probe->state = HEALTH_SOCKET_ACCEPTED;
	return 0;
}

int health_socket_begin(struct health_socket *probe, const struct tree *tree, const char *path)
{
	health_socket_done(probe);
	probe->tree = tree;
	probe->path = path;
	probe->begin_usec = clock_monotonic_usec();
	return try_connect(probe);
}

int health_socket_check(struct health_socket *probe, uint64_t limit_usec)
{
	int r;

	if (probe->state != HEALTH_SOCKET_PENDING)
		return 0;
	r = probe->fd < 0 ? try_connect(probe) : 0;
	if (r < 0)
		return r;
	if (probe->fd >= 0)
		r = check_connected(probe);
	if (r < 0)
		return r;
	if (probe->state == HEALTH_SOCKET_PENDING &&
	    clock_monotonic_usec() - probe->begin_usec >= limit_usec)
		probe->state = HEALTH_SOCKET_REFUSED;
	return 0;
}

void health_socket_done(struct health_socket *probe)
{
	(void)fd_close(probe->fd);
	*probe = HEALTH_SOCKET_INIT;
}
