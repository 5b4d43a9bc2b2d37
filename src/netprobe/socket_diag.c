/* SPDX-License-Identifier: Apache-2.0 */

/*
 * INET_DIAG, which any user may ask: the sockets of one network namespace with their cookies, so
 * that what it says and what programs in the kernel say are about the same sockets. A connection in
 * TIME_WAIT is no socket of anybody.
 */

#include "netprobe/socket_diag.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"

#define ANSWER_SIZE     32768U
#define STATE_LISTEN    10U
#define STATE_TIME_WAIT 6U
#define STATE_CLOSE     7U
#define STATE_OPEN      1U

/* One dump, as it is read. */
struct dump {
	uint8_t protocol;
	void (*each)(void *context, const struct socket_diag_answer *answer);
	void *context;
};

int socket_diag_open(int *ret_fd)
{
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static int ask(int fd, uint8_t family, uint8_t protocol, uint32_t states)
{
	struct {
		struct nlmsghdr head;
		struct inet_diag_req_v2 request;
	} question = {
		.head = {.nlmsg_len = sizeof(question),
			 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.request = { .sdiag_family = family,
                         .sdiag_protocol = protocol,
                         .idiag_ext = 1U << (INET_DIAG_INFO - 1),
                         .idiag_states = states},
	};

	return send(fd, &question, sizeof(question), 0) < 0 ? -errno : 0;
}

/* A v4-mapped address becomes IPv4. */
static bool unmap(struct probe_address *address)
{
	static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

	if (memcmp(address->bytes, prefix, sizeof(prefix)) != 0)
		return false;
	memmove(address->bytes, address->bytes + sizeof(prefix), 4);
	memset(address->bytes + 4, 0, sizeof(prefix));
	return true;
}

static void read_tuple(const struct inet_diag_msg *message, uint8_t protocol,
		       struct probe_tuple *tuple)
{
	bool local = false;
	bool remote = false;

	tuple->family = message->idiag_family;
	tuple->protocol = protocol;
	tuple->local_port = ntohs(message->id.idiag_sport);
	tuple->remote_port = ntohs(message->id.idiag_dport);
	memcpy(tuple->local.bytes, message->id.idiag_src, sizeof(tuple->local.bytes));
	memcpy(tuple->remote.bytes, message->id.idiag_dst, sizeof(tuple->remote.bytes));
	if (tuple->family == AF_INET6) {
		local = unmap(&tuple->local);
		remote = unmap(&tuple->remote);
	}
	if (local || remote)
		tuple->family = AF_INET;
}

/* An older kernel's struct tcp_info is shorter. */
static void read_info(const struct nlmsghdr *head, struct probe_counters *counters)
{
	const char *at = (const char *)NLMSG_DATA(head) + NLMSG_ALIGN(sizeof(struct inet_diag_msg));
	const char *end = (const char *)head + head->nlmsg_len;
	struct nlattr attribute;

	while (end - at >= (ptrdiff_t)sizeof(attribute)) {
		struct tcp_info info = {0};

		memcpy(&attribute, at, sizeof(attribute));
		if (attribute.nla_len < sizeof(attribute) || attribute.nla_len > end - at)
			return;
		if (attribute.nla_type == INET_DIAG_INFO) {
			memcpy(&info, at + sizeof(attribute),
			       MIN(attribute.nla_len - sizeof(attribute), sizeof(info)));
			counters->bytes_sent = info.tcpi_bytes_sent - info.tcpi_bytes_retrans;
			counters->bytes_received = info.tcpi_bytes_received;
			counters->packets_sent = info.tcpi_segs_out;
			counters->packets_received = info.tcpi_segs_in;
			counters->retransmits = info.tcpi_total_retrans;
		}
		at += MIN(NLA_ALIGN((size_t)attribute.nla_len), (size_t)(end - at));
	}
}

static void read_message(const struct dump *dump, const struct nlmsghdr *head)
{
	struct socket_diag_answer answer = {.record = {.kind = PROBE_SEEN}};
	struct probe_record *record = &answer.record;
	struct inet_diag_msg message;

	if (head->nlmsg_len < NLMSG_LENGTH(sizeof(message)))
		return;
	memcpy(&message, NLMSG_DATA(head), sizeof(message));
	answer.inode = message.idiag_inode;
	record->cookie = message.id.idiag_cookie[0] | (uint64_t)message.id.idiag_cookie[1] << 32;
	read_tuple(&message, dump->protocol, &record->tuple);
	if (dump->protocol == IPPROTO_TCP) {
		record->state = message.idiag_state;
		record->flags = record->state == STATE_LISTEN ? PROBE_LISTENER : 0;
		read_info(head, &record->counters);
	} else {
		record->flags =
			message.idiag_state == STATE_OPEN ? PROBE_CONNECTED : PROBE_LISTENER;
	}
	dump->each(dump->context, &answer);
}

/* 1: the last part has come. */
static int read_part(const struct dump *dump, const char *data, size_t size)
{
	while (size >= sizeof(struct nlmsghdr)) {
		const struct nlmsghdr *head = (const struct nlmsghdr *)(const void *)data;
		size_t length = NLMSG_ALIGN((size_t)head->nlmsg_len);

		if (head->nlmsg_len < sizeof(*head) || head->nlmsg_len > size)
			return -EBADMSG;
		if (head->nlmsg_type == NLMSG_DONE)
			return 1;
		if (head->nlmsg_type == NLMSG_ERROR) {
			struct nlmsgerr error = {0};

			memcpy(&error, NLMSG_DATA(head),
			       MIN(sizeof(error), head->nlmsg_len - sizeof(*head)));
			return error.error < 0 ? error.error : -EBADMSG;
		}
		read_message(dump, head);
		data += MIN(length, size);
		size -= MIN(length, size);
	}
	return 0;
}

int socket_diag_dump(int fd, uint8_t family, uint8_t protocol, bool listeners,
		     void (*each)(void *context, const struct socket_diag_answer *answer),
		     void *context)
{
	const struct dump dump = {.protocol = protocol, .each = each, .context = context};
	uint32_t states = ~(1U << STATE_LISTEN | 1U << STATE_TIME_WAIT | 1U << STATE_CLOSE);
	cleanup_free char *buffer = malloc(ANSWER_SIZE);
	int r;

	if (!buffer)
		return -ENOMEM;
	if (listeners)
		states = 1U << STATE_LISTEN;
	/* A datagram socket without a peer is "closed". */
	r = ask(fd, family, protocol, protocol == IPPROTO_TCP ? states : UINT32_MAX);
	while (r == 0) {
		ssize_t got = recv(fd, buffer, ANSWER_SIZE, 0);

		if (got < 0 && errno == EINTR)
			continue;
		r = got < 0 ? -errno : read_part(&dump, buffer, (size_t)got);
	}
	return r < 0 ? r : 0;
}
