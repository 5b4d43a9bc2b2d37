/* SPDX-License-Identifier: Apache-2.0 */

/*
 * From flows to FlowAttributionEvents. Names of processes are their own choice: what is not UTF-8
 * in them becomes '?', because a reader may refuse the whole frame otherwise.
 */

#include "netprobe/event.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "netprobe/frame.h"
#include "opamp/varint.h"

static const char *protocol_name(uint8_t protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
		return "udp";
	case IPPROTO_ICMP:
		return "icmp";
	case IPPROTO_ICMPV6:
		return "icmpv6";
	default:
		return "";
	}
}

static const char *end_name(enum flow_end end)
{
	static const char *const names[] = {
		[FLOW_END_NONE] = "",           [FLOW_END_CLOSED] = "closed",
		[FLOW_END_RESET] = "reset",     [FLOW_END_TIMEOUT] = "timeout",
		[FLOW_END_REFUSED] = "refused", [FLOW_END_EVICTED] = "evicted",
	};

	static_assert(ARRAY_SIZE(names) == FLOW_END_EVICTED + 1, "every end has a name");
	return (size_t)end < ARRAY_SIZE(names) ? names[end] : "";
}

const char *event_kind_name(uint32_t kind)
{
	switch (kind) {
	case FLOW_CONNECT:
		return "connect";
	case FLOW_ACCEPT:
		return "accept";
	case FLOW_CLOSE:
		return "close";
	case FLOW_UDP_SEND:
		return "udp_send";
	case FLOW_UDP_RECV:
		return "udp_recv";
	case FLOW_STATE:
		return "state";
	case FLOW_ICMP_SEND:
		return "icmp_send";
	case FLOW_UPDATE:
		return "update";
	case FLOW_SEEN:
		return "seen";
	case FLOW_EVICTED:
		return "evicted";
	default:
		return "other";
	}
}

static void format_address(uint8_t family, const uint8_t address[16], char text[INET6_ADDRSTRLEN])
{
	if (!inet_ntop(family == AF_INET ? AF_INET : AF_INET6, address, text, INET6_ADDRSTRLEN))
		text[0] = '\0';
}

static void copy_text(char *to, size_t size, const char *from)
{
	size_t length = strnlen(from, size - 1);

	memcpy(to, from, length);
	to[length] = '\0';
	for (size_t good = 0; good < length; good++) {
		good += str_utf8_length(to + good, length - good);
		if (good < length)
			to[good] = '?';
	}
}

static void fill_owner(struct event *event, const struct flow_owner *owner)
{
	Netprobe__FlowAttributionEvent *message = &event->message;

	message->pid = owner->pid;
	message->tgid = owner->tgid;
	message->uid = owner->uid;
	message->gid = owner->gid;
	message->process_start_ns = owner->started_ns;
	copy_text(event->comm, sizeof(event->comm), owner->comm);
	copy_text(event->container_id, sizeof(event->container_id), owner->container_id);
	message->comm = event->comm;
	message->container_id = event->container_id;
	if (owner->cmdline[0] == '\0')
		return;
	copy_text(event->cmdline, sizeof(event->cmdline), owner->cmdline);
	event->words[0] = event->cmdline;
	message->n_redacted_cmdline = 1;
	if (owner->arguments > 0) {
		(void)snprintf(event->redacted, sizeof(event->redacted), "[redacted %u arg(s)]",
			       owner->arguments);
		event->words[1] = event->redacted;
		message->n_redacted_cmdline = 2;
	}
	message->redacted_cmdline = event->words;
}

void event_fill(struct event *event, enum flow_event kind, const struct flow *flow,
		const char *source)
{
	Netprobe__FlowAttributionEvent *message = &event->message;

	netprobe__flow_attribution_event__init(message);
	format_address(flow->family, flow->local, event->local_ip);
	format_address(flow->family, flow->remote, event->remote_ip);
	message->local_ip = event->local_ip;
	message->local_port = flow->local_port;
	if (!flow->listener) {
		message->remote_ip = event->remote_ip;
		message->remote_port = flow->remote_port;
	}
	message->transport_protocol = (char *)protocol_name(flow->protocol);
	if (flow->owner.tgid != 0)
		fill_owner(event, &flow->owner);
	message->observed_at_unix_nano = flow->ended_ns != 0 ? flow->ended_ns : flow->last_ns;
	message->socket_address = flow->cookie;
	message->event_kind = kind;
	message->new_state = flow->tcp_state;
	message->source = (char *)source;
	message->bytes_sent = flow->bytes_sent;
	message->bytes_received = flow->bytes_received;
	message->packets_sent = flow->packets_sent;
	message->packets_received = flow->packets_received;
	message->retransmits = flow->retransmits;
	message->started_unix_nano = flow->started_ns;
	message->ended_unix_nano = flow->ended_ns;
	message->end_reason = (char *)end_name(flow->end);
	message->network_namespace = flow->netns;
	message->inbound = flow->inbound;
	message->listener = flow->listener;
}

int event_add(const struct event *event, uint32_t field, struct buffer *buffer)
{
	size_t size = netprobe__flow_attribution_event__get_packed_size(&event->message);
	uint8_t *data = malloc(size + 20);
	size_t n;
	int r;

	if (!data)
		return -ENOMEM;
	n = varint_put_key(field, VARINT_BYTES, data);
	n += varint_put(size, data + n);
	n += netprobe__flow_attribution_event__pack(&event->message, data + n);
	r = buffer_add(buffer, data, n);
	free(data);
	return r;
}
