/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The sockets that affixd is reached at. They are made once, by the parent, so that the port stays
 * ours whatever happens to a front.
 */

#include "control/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "control/config.h"

#define BACKLOG 4096

struct place {
	struct sockaddr_storage address;
	socklen_t size;
};

static int find_place(const char *listen_text, struct place *ret)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				       .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	cleanup_free char *address = NULL;
	cleanup_free char *port = NULL;
	struct addrinfo *found = NULL;
	int r;

	r = config_split_listen(listen_text, &address, &port);
	if (r != 0)
		return r < 0 ? r : -EINVAL;
	r = getaddrinfo(address, port, &hints, &found);
	if (r != 0)
		return r == EAI_SYSTEM ? -errno : -ENOENT;
	*ret = (struct place){0};
	memcpy(&ret->address, found->ai_addr, found->ai_addrlen);
	ret->size = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

static void set_port(struct place *place, in_port_t port)
{
	if (place->address.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&place->address)->sin6_port = port;
	else
		((struct sockaddr_in *)&place->address)->sin_port = port;
}

static in_port_t get_port(const struct place *place)
{
	/* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.UndefReturn): getsockname() filled it */
	return place->address.ss_family == AF_INET6
		       ? ((const struct sockaddr_in6 *)&place->address)->sin6_port
		       : ((const struct sockaddr_in *)&place->address)->sin_port;
}

static int open_one(const struct place *place, bool is_shared, int *ret_fd)
{
	cleanup_fd int fd =
		socket(place->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const int on = 1;
	const int off = 0;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	if (place->address.ss_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0)
		return -errno;
	if (is_shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&place->address, place->size) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Sockets that share their port would share it with another affixd too: one that does not shows
 * first that the port is free. */
static int probe(struct place *place)
{
	cleanup_fd int fd = -EBADF;
	struct place bound = {.size = sizeof(bound.address)};
	int r;

	r = open_one(place, false, &fd);
	if (r < 0)
		return r;
	if (getsockname(fd, (struct sockaddr *)&bound.address, &bound.size) < 0)
		return -errno;
	set_port(place, get_port(&bound));
	return 0;
}

int listen_open(const char *listen_text, unsigned n, int *ret_fds, unsigned *ret_port)
{
	struct place place = {0};
	unsigned opened = 0;
	int r;

	r = find_place(listen_text, &place);
	if (r == 0)
		r = probe(&place);
	for (opened = 0; opened < n && r == 0; opened += r == 0)
		r = open_one(&place, true, &ret_fds[opened]);
	if (r < 0) {
		while (opened > 0) {
			opened--;
			ret_fds[opened] = fd_close(ret_fds[opened]);
		}
		return r;
	}
	*ret_port = ntohs(get_port(&place));
	return 0;
}

int listen_default_url(const char *listen_text, bool is_tls, unsigned port, char **ret)
{
	cleanup_free char *address = NULL;
	cleanup_free char *ignored = NULL;
	char name[HOST_NAME_MAX + 1] = "";
	bool is_any;
	bool is_v6;
	int r;

	r = config_split_listen(listen_text, &address, &ignored);
	if (r != 0)
		return r < 0 ? r : -EINVAL;
	is_any = str_equal(address, "0.0.0.0") || str_equal(address, "::");
	if (is_any && gethostname(name, sizeof(name) - 1) < 0)
		return -errno;
	is_v6 = !is_any && strchr(address, ':');
	return str_format(ret, "%s://%s%s%s:%u", is_tls ? "https" : "http", is_v6 ? "[" : "",
			  is_any ? name : address, is_v6 ? "]" : "", port);
}
