/* SPDX-License-Identifier: Apache-2.0 */

#include "ipv6_send.h"

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* Of ICMP it is one that the kernel answers. */
static const char question[12] = {(char)ICMP6_ECHO_REQUEST};

static int wants_answers(int fd)
{
	struct icmp6_filter answers;

	ICMP6_FILTER_SETBLOCKALL(&answers);
	ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &answers);
	return setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &answers, sizeof(answers));
}

int ipv6_connect(int type, int protocol, int *ret_fd, int *ret_peer)
{
	struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr *address = (struct sockaddr *)&to;
	int peer = socket(AF_INET6, type, protocol);
	int fd = socket(AF_INET6, type, protocol);
	socklen_t size = sizeof(to);

	if (bind(peer, address, size) < 0 || getsockname(peer, address, &size) < 0 ||
	    (type == SOCK_STREAM && listen(peer, 1) < 0) || connect(fd, address, size) < 0 ||
	    getsockname(fd, address, &size) < 0)
		return -1;
	*ret_fd = fd;
	*ret_peer = type == SOCK_STREAM ? accept(peer, NULL, NULL) : peer;
	if (type == SOCK_RAW)
		return wants_answers(fd);
	return type == SOCK_STREAM ? 0 : connect(peer, address, size);
}

int ipv6_ask(int fd)
{
	char answer[64];

	if (send(fd, question, sizeof(question), 0) != sizeof(question))
		return -1;
	return recv(fd, answer, sizeof(answer), 0) == sizeof(question) ? 0 : -1;
}

int ipv6_answer(int type, int peer)
{
	char data[64];
	ssize_t got;

	if (type == SOCK_RAW)
		return 0;
	got = recv(peer, data, sizeof(data), 0);
	return got > 0 && send(peer, data, (size_t)got, 0) == got ? 0 : -1;
}
