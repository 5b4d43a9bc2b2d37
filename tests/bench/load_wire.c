/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Connections of simulated agents, plain or with TLS. Messages are small, so that what a socket
 * does not take at once is an error and not something to wait with.
 */

#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#define PER_ADDRESS 4000U

static void set_events(struct load *load, struct agent *agent, uint32_t events, int operation)
{
	struct epoll_event event = {.events = events, .data.u32 = (uint32_t)(agent - load->agents)};

	if (epoll_ctl(load->epoll, operation, agent->fd, &event) < 0)
		die("epoll_ctl");
}

void wire_watch(struct load *load, struct agent *agent, uint32_t events)
{
	set_events(load, agent, events, EPOLL_CTL_MOD);
}

bool wire_connect(struct load *load, struct agent *agent)
{
	uint32_t index = (uint32_t)(agent - load->agents);
	struct sockaddr_in own = {.sin_family = AF_INET};
	const int on = 1;

	agent->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (agent->fd < 0)
		die("socket");
	/* 127.PROCESS.0.N: no address runs out of ports. */
	own.sin_addr.s_addr =
		htonl(0x7f000001U + ((load->process + 1) << 16) + index / PER_ADDRESS);
	(void)setsockopt(agent->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	(void)setsockopt(agent->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (bind(agent->fd, (struct sockaddr *)&own, sizeof(own)) < 0)
		die("bind");
	if (connect(agent->fd, (const struct sockaddr *)&load->server, sizeof(load->server)) < 0 &&
	    errno != EINPROGRESS)
		return false;
	set_events(load, agent, EPOLLOUT, EPOLL_CTL_ADD);
	return true;
}

int wire_secure(struct load *load, struct agent *agent)
{
	int r;

	if (!agent->tls) {
		agent->tls = SSL_new(load->tls);
		if (!agent->tls || SSL_set_fd(agent->tls, agent->fd) != 1)
			die("SSL_new");
	}
	r = SSL_connect(agent->tls);
	if (r == 1)
		return 1;
	switch (SSL_get_error(agent->tls, r)) {
	case SSL_ERROR_WANT_READ:
		wire_watch(load, agent, EPOLLIN);
		return 0;
	case SSL_ERROR_WANT_WRITE:
		wire_watch(load, agent, EPOLLOUT);
		return 0;
	default:
		return -1;
	}
}

bool wire_send(struct agent *agent, const void *data, size_t size)
{
	if (agent->tls)
		return SSL_write(agent->tls, data, (int)size) == (int)size;
	return send(agent->fd, data, size, MSG_NOSIGNAL) == (ssize_t)size;
}

ssize_t wire_receive(struct agent *agent, void *data, size_t size, bool *ret_more)
{
	int n;

	*ret_more = false;
	if (!agent->tls)
		return recv(agent->fd, data, size, 0);
	n = SSL_read(agent->tls, data, (int)size);
	*ret_more = n > 0 && SSL_pending(agent->tls) > 0;
	if (n <= 0 && SSL_get_error(agent->tls, n) == SSL_ERROR_WANT_READ) {
		errno = EAGAIN;
		return -1;
	}
	return n > 0 ? n : 0;
}

void wire_close(struct agent *agent)
{
	SSL_free(agent->tls);
	agent->tls = NULL;
	if (agent->fd >= 0)
		(void)close(agent->fd);
	agent->fd = -1;
}
