/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Records become flows. A record is complete in itself where it can be, so that one that was lost
 * costs that one's news and no more: what comes later makes up the flow.
 *
 * An owner is believed only with the record of its own use; a flow without one is of nobody, and
 * counted.
 */

#include <errno.h>
#include <string.h>

#include <bpf/netprobe.h>

#include "netprobe/collector_private.h"
#include "netprobe/kernel_probe.h"

/* Flows that are asked whether they are silent before one has to go. */
#define CHANCES_MAX 8U

static int64_t wall_clock(const struct collector *collector, int64_t monotonic_ns)
{
	return collector->clock_ns + monotonic_ns;
}

static int64_t time_of(const struct probe_record *record)
{
	return (int64_t)record->time_ns;
}

static void tell(struct collector *collector, enum flow_event event, const struct flow_entry *entry)
{
	struct flow flow;

	if (!collector->event)
		return;
	collector_compose(collector, entry, &flow);
	collector->event(collector->context, event, &flow);
}

void collector_compose(const struct collector *collector, const struct flow_entry *entry,
		       struct flow *ret)
{
	*ret = (struct flow){
		.cookie = entry->cookie,
		.netns = entry->netns,
		.family = entry->family,
		.protocol = entry->protocol,
		.listener = entry->listener,
		.inbound = entry->inbound,
		.tcp_state = entry->tcp_state,
		.local_port = entry->local_port,
		.remote_port = entry->remote_port,
		.bytes_sent = entry->bytes_sent,
		.bytes_received = entry->bytes_received,
		.packets_sent = entry->packets_sent,
		.packets_received = entry->packets_received,
		.retransmits = entry->retransmits,
		.started_ns = entry->started_ns,
		/* Nothing was before it began, also where the clock was set back. */
		.last_ns = MAX(entry->started_ns, wall_clock(collector, entry->last_ns)),
	};
	memcpy(ret->local, entry->local, sizeof(ret->local));
	memcpy(ret->remote, entry->remote, sizeof(ret->remote));
	if (entry->process)
		process_to_owner(entry->process, entry->thread, &ret->owner);
}

void collector_end(struct collector *collector, struct flow_entry *entry, enum flow_event event,
		   enum flow_end end, int64_t now_ns)
{
	struct flow flow;

	(void)collector_count_peer(collector, entry, true);
	if (collector->event) {
		collector_compose(collector, entry, &flow);
		flow.ended_ns = MAX(entry->started_ns, wall_clock(collector, now_ns));
		flow.last_ns = MAX(flow.last_ns, flow.ended_ns);
		flow.end = end;
		if (flow.protocol == IPPROTO_TCP)
			flow.tcp_state = 7; /* TCP_CLOSE */
		collector->event(collector->context, event, &flow);
	}
	collector->counts.flows_ended++;
	if (end == FLOW_END_EVICTED)
		collector->counts.flows_evicted++;
	if (!entry->process)
		collector->counts.owners_unknown++;
	entry->process = process_table_drop(collector->processes, entry->process);
	flow_table_remove(collector->flows, entry);
}

bool collector_forget_owner(struct collector *collector, struct flow_entry *entry)
{
	if (!entry->process)
		return false;
	entry->process = process_table_drop(collector->processes, entry->process);
	entry->thread = 0;
	collector->counts.owners_forgotten++;
	return true;
}

bool collector_count_peer(struct collector *collector, struct flow_entry *entry, bool forget)
{
	struct probe_traffic traffic;
	struct probe_peer peer = {
		.cookie = entry->cookie,
		.remote_port = entry->remote_port,
		.family = entry->family,
		.protocol = entry->protocol,
	};

	if (!entry->is_peer || !collector->probe)
		return false;
	memcpy(peer.remote.bytes, entry->remote, sizeof(peer.remote.bytes));
	if (!kernel_probe_peer(collector->probe, &peer, forget, &traffic))
		return false;
	/* What began with the socket may have gone on here, or the other way round. */
	entry->bytes_sent = MAX(entry->bytes_sent, traffic.bytes_sent);
	entry->bytes_received = MAX(entry->bytes_received, traffic.bytes_received);
	entry->packets_sent = MAX(entry->packets_sent, traffic.packets_sent);
	entry->packets_received = MAX(entry->packets_received, traffic.packets_received);
	entry->last_ns = MAX(entry->last_ns, (int64_t)traffic.last_ns);
	if (traffic.told && traffic.owner_tgid == 0 && collector_forget_owner(collector, entry))
		tell(collector, FLOW_UPDATE, entry);
	return true;
}

/* Whether it is another one than before. */
static bool set_owner(struct collector *collector, struct flow_entry *entry,
		      const struct probe_record *record)
{
	const struct probe_owner *owner = &record->owner;
	struct process *before = entry->process;

	/* Two that use a socket at once write in no order. */
	if (owner->version != 0 && entry->owner_version != 0 &&
	    (int32_t)(owner->version - entry->owner_version) < 0)
		return false;
	if (owner->version != 0)
		entry->owner_version = owner->version;
	if (owner->tgid == 0)
		return record->flags & PROBE_NOBODY && collector_forget_owner(collector, entry);
	if (before && before->tgid == owner->tgid && before->start_ns == owner->start_ns)
		return false;
	entry->process = process_table_take(collector->processes, owner);
	entry->thread = owner->pid;
	if (before && entry->process)
		collector->counts.owners_corrected++;
	else if (entry->process && !entry->was_known)
		collector->counts.owners_known++;
	entry->was_known = entry->was_known || entry->process;
	(void)process_table_drop(collector->processes, before);
	return true;
}

static void set_counters(struct flow_entry *entry, const struct probe_record *record)
{
	const struct probe_counters *counters = &record->counters;

	/* Those of other peers are in a map. */
	if (entry->is_peer != ((record->flags & PROBE_FIRST) != 0))
		return;
	/* They only grow; a record without them has zeros. */
	entry->bytes_sent = MAX(entry->bytes_sent, counters->bytes_sent);
	entry->bytes_received = MAX(entry->bytes_received, counters->bytes_received);
	entry->packets_sent = MAX(entry->packets_sent, counters->packets_sent);
	entry->packets_received = MAX(entry->packets_received, counters->packets_received);
	entry->retransmits = MAX(entry->retransmits, counters->retransmits);
}

/* The part of a record that says which flow it is. */
static void set_tuple(struct flow_entry *entry, const struct probe_record *record)
{
	const struct probe_tuple *tuple = &record->tuple;

	entry->netns = record->netns;
	entry->family = tuple->family;
	entry->protocol = tuple->protocol;
	entry->local_port = tuple->local_port;
	entry->listener = (record->flags & PROBE_LISTENER) != 0;
	memcpy(entry->local, tuple->local.bytes, sizeof(entry->local));
	if (entry->listener)
		return;
	entry->remote_port = tuple->remote_port;
	memcpy(entry->remote, tuple->remote.bytes, sizeof(entry->remote));
}

static bool is_of_peer(const struct probe_record *record)
{
	bool is_datagram = record->kind == PROBE_SEND || record->kind == PROBE_RECEIVE;

	return record->flags & PROBE_FIRST || (is_datagram && !(record->flags & PROBE_CONNECTED));
}

static struct flow_entry *find_peer(struct collector *collector, const struct probe_record *record)
{
	struct flow_peer peer = {.port = record->tuple.remote_port};

	memcpy(peer.address, record->tuple.remote.bytes, sizeof(peer.address));
	return flow_table_find(collector->flows, record->cookie, &peer);
}

static struct flow_entry *find(struct collector *collector, const struct probe_record *record)
{
	return is_of_peer(record) ? find_peer(collector, record)
				  : flow_table_find(collector->flows, record->cookie, NULL);
}

/* Of what moves bytes there is no record: a peer's counters in the kernel tell. Others are asked
 * for by a look, see collector_drain(). */
static struct flow_entry *longest_silent(struct collector *collector)
{
	for (unsigned i = 0; i < CHANCES_MAX; i++) {
		struct flow_entry *entry = flow_table_oldest(collector->flows);
		int64_t before_ns = entry->last_ns;

		(void)collector_count_peer(collector, entry, false);
		if (entry->last_ns == before_ns)
			return entry;
		flow_table_touch(collector->flows, entry);
	}
	return flow_table_oldest(collector->flows);
}

/* NULL: no memory. */
static struct flow_entry *add(struct collector *collector, const struct probe_record *record)
{
	struct flow_peer peer = {.port = record->tuple.remote_port};
	int64_t now_ns = time_of(record);
	struct flow_entry *entry;

	memcpy(peer.address, record->tuple.remote.bytes, sizeof(peer.address));
	if (flow_table_is_full(collector->flows))
		collector_end(collector, longest_silent(collector), FLOW_EVICTED, FLOW_END_EVICTED,
			      now_ns);
	entry = flow_table_add(collector->flows, record->cookie, is_of_peer(record) ? &peer : NULL);
	if (!entry) {
		collector->flows_lost++;
		return NULL;
	}
	entry->started_ns = wall_clock(collector, now_ns);
	entry->begun_ns = now_ns;
	entry->last_ns = now_ns;
	entry->round = collector->round;
	entry->inbound = record->flags & PROBE_INBOUND || record->kind == PROBE_RECEIVE;
	entry->tcp_state = record->state;
	set_tuple(entry, record);
	collector->counts.flows_started++;
	return entry;
}

static void touch(struct collector *collector, struct flow_entry *entry,
		  const struct probe_record *record)
{
	entry->last_ns = MAX(entry->last_ns, time_of(record));
	entry->round = collector->round;
	flow_table_touch(collector->flows, entry);
}

static enum flow_event event_of(const struct probe_record *record)
{
	bool is_icmp =
		record->tuple.protocol == IPPROTO_ICMP || record->tuple.protocol == IPPROTO_ICMPV6;

	switch (record->kind) {
	case PROBE_CONNECT:
		return FLOW_CONNECT;
	case PROBE_ACCEPT:
		return FLOW_ACCEPT;
	case PROBE_SEND:
		return is_icmp ? FLOW_ICMP_SEND : FLOW_UDP_SEND;
	case PROBE_RECEIVE:
		return FLOW_UDP_RECV;
	case PROBE_LISTEN:
		return FLOW_STATE;
	default:
		return FLOW_SEEN;
	}
}

/* The kernel's side began to count anew, because the peer was silent. */
static bool is_another_life(const struct collector *collector, const struct flow_entry *entry,
			    const struct probe_record *record)
{
	const struct probe_counters *counters = &record->counters;
	int64_t idle_ns = collector->options.peer_idle_ms * NSEC_PER_MS;

	/* The first datagram may be several packets, which the kernel has put into one. */
	bool is_anew = counters->packets_sent + counters->packets_received == 1 ||
		       counters->packets_sent < entry->packets_sent ||
		       counters->packets_received < entry->packets_received;

	return record->flags & PROBE_FIRST && is_anew &&
	       time_of(record) - entry->last_ns > idle_ns / 2;
}

/* Of datagrams: the same flow, which the kernel's side forgot. A socket can be connected anew. */
static bool is_same(const struct flow_entry *entry, const struct probe_record *record)
{
	const struct probe_tuple *tuple = &record->tuple;

	if (tuple->protocol == IPPROTO_TCP ||
	    entry->listener != ((record->flags & PROBE_LISTENER) != 0))
		return false;
	return entry->listener ||
	       (entry->remote_port == tuple->remote_port &&
		memcmp(entry->remote, tuple->remote.bytes, sizeof(entry->remote)) == 0);
}

/* A socket that is bound to no address has one for each peer, which its first answer says. */
static bool learn_local(struct flow_entry *entry, const struct probe_record *record)
{
	static const uint8_t any[sizeof(entry->local)];
	const struct probe_tuple *tuple = &record->tuple;

	if (entry->listener || memcmp(entry->local, any, sizeof(any)) != 0 ||
	    memcmp(tuple->local.bytes, any, sizeof(any)) == 0)
		return false;
	memcpy(entry->local, tuple->local.bytes, sizeof(entry->local));
	return true;
}

/* A flow begins; the socket may have had another one that was not seen to end. */
static void begin(struct collector *collector, const struct probe_record *record)
{
	struct flow_entry *entry = find(collector, record);

	if (entry && is_another_life(collector, entry, record)) {
		collector_end(collector, entry, FLOW_CLOSE, FLOW_END_TIMEOUT, time_of(record));
		entry = NULL;
	}
	if (entry && is_same(entry, record)) {
		bool has_local = learn_local(entry, record);

		touch(collector, entry, record);
		if (set_owner(collector, entry, record) || has_local)
			tell(collector, FLOW_UPDATE, entry);
		return;
	}
	/* A look at all sockets was faster than the ring. */
	if (entry && time_of(record) <= entry->begun_ns) {
		entry->inbound = record->kind == PROBE_ACCEPT;
		return;
	}
	if (entry)
		collector_end(collector, entry, FLOW_CLOSE, FLOW_END_CLOSED, time_of(record));
	entry = add(collector, record);
	if (!entry)
		return;
	(void)set_owner(collector, entry, record);
	tell(collector, event_of(record), entry);
}

static void update(struct collector *collector, const struct probe_record *record,
		   enum flow_event event)
{
	struct flow_entry *entry = flow_table_find(collector->flows, record->cookie, NULL);
	bool is_new = set_owner(collector, entry, record);

	touch(collector, entry, record);
	if (event == FLOW_STATE)
		entry->tcp_state = record->state;
	if (is_new || event == FLOW_STATE)
		tell(collector, event, entry);
}

/* A record of a socket's own flow, whose beginning may be missing. */
static void continue_flow(struct collector *collector, const struct probe_record *record,
			  enum flow_event event)
{
	struct flow_entry *entry = flow_table_find(collector->flows, record->cookie, NULL);

	if (entry) {
		update(collector, record, event);
		return;
	}
	/* A datagram socket that only has flows with peers; or there is nothing to tell. */
	if (record->tuple.protocol != IPPROTO_TCP || record->tuple.local_port == 0)
		return;
	entry = add(collector, record);
	if (!entry)
		return;
	(void)set_owner(collector, entry, record);
	tell(collector, FLOW_SEEN, entry);
}

/* One with the first peer of a socket, of whose beginning there is no record. */
static struct flow_entry *begin_peer(struct collector *collector, const struct probe_record *record)
{
	struct flow_entry *entry = add(collector, record);

	if (!entry)
		return NULL;
	entry->inbound = record->counters.packets_sent == 0;
	(void)set_owner(collector, entry, record);
	set_counters(entry, record);
	tell(collector, FLOW_SEEN, entry);
	return entry;
}

static enum flow_end end_of(const struct probe_record *record)
{
	if (record->tuple.protocol != IPPROTO_TCP)
		return FLOW_END_CLOSED;
	switch (record->error) {
	case ECONNREFUSED:
		return FLOW_END_REFUSED;
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case ENETUNREACH:
		return FLOW_END_TIMEOUT;
	case ECONNRESET:
	case EPIPE:
		return FLOW_END_RESET;
	default:
		/* Without a word from the other side: ESTABLISHED and CLOSE_WAIT. */
		return record->old_state == 1 || record->old_state == 8 ? FLOW_END_RESET
									: FLOW_END_CLOSED;
	}
}

/* The last of what was exchanged with the first peer; all of it, if no record came through. */
static void finish_first(struct collector *collector, const struct probe_record *record)
{
	struct flow_entry *entry = find_peer(collector, record);

	if (record->counters.packets_sent + record->counters.packets_received == 0)
		return;
	if (!entry)
		entry = begin_peer(collector, record);
	if (!entry)
		return;
	set_counters(entry, record);
	if (record->flags & PROBE_NOBODY)
		(void)collector_forget_owner(collector, entry);
}

static void finish(struct collector *collector, const struct probe_record *record)
{
	int64_t now_ns = time_of(record);
	struct flow_entry *entry;

	if (record->tuple.protocol == IPPROTO_TCP)
		continue_flow(collector, record, FLOW_UPDATE);
	else if (record->flags & PROBE_FIRST)
		finish_first(collector, record);
	entry = flow_table_find(collector->flows, record->cookie, NULL);
	if (entry) {
		set_counters(entry, record);
		if ((record->flags & (PROBE_NOBODY | PROBE_FIRST)) == PROBE_NOBODY &&
		    record->owner.tgid == 0)
			(void)collector_forget_owner(collector, entry);
		collector_end(collector, entry, FLOW_CLOSE, end_of(record), now_ns);
	}
	/* Who is connected to somebody else goes on with all others. */
	if (record->tuple.protocol == IPPROTO_TCP || record->flags & PROBE_AGAIN)
		return;
	for (;;) {
		entry = flow_table_find_peer(collector->flows, record->cookie);
		if (!entry)
			return;
		collector_end(collector, entry, FLOW_CLOSE, FLOW_END_CLOSED, now_ns);
	}
}

void collector_record(struct collector *collector, const struct probe_record *record)
{
	collector->counts.events++;
	switch (record->kind) {
	case PROBE_CONNECT:
	case PROBE_ACCEPT:
	case PROBE_LISTEN:
	case PROBE_SEND:
	case PROBE_RECEIVE:
		begin(collector, record);
		break;
	case PROBE_STATE:
		continue_flow(collector, record, FLOW_STATE);
		break;
	case PROBE_OWNER:
	case PROBE_SEEN:
		continue_flow(collector, record, FLOW_UPDATE);
		break;
	case PROBE_CLOSE:
		finish(collector, record);
		break;
	case PROBE_UNSEEN:
		collector->has_unseen = true;
		break;
	default:
		break;
	}
}

void collector_exec(struct collector *collector, const struct probe_exec *exec)
{
	collector->counts.events++;
	process_table_exec(collector->processes, exec);
}

void collector_note_listener(struct collector *collector, const struct probe_record *record)
{
	uint16_t port = record->tuple.local_port;

	if (record->tuple.protocol == IPPROTO_TCP && record->flags & PROBE_LISTENER)
		collector->listening[port / 8] |= (uint8_t)(1U << port % 8);
}

/* A connection that began unseen came in if its port is one that somebody listens on. */
static bool came_in(const struct collector *collector, const struct flow_entry *entry)
{
	uint16_t port = entry->local_port;

	return entry->protocol == IPPROTO_TCP && !entry->listener &&
	       collector->listening[port / 8] & 1U << port % 8;
}

/* The first peer of a datagram socket. */
static void first_stands(struct collector *collector, const struct probe_record *record)
{
	struct flow_entry *entry = find_peer(collector, record);
	int64_t idle_ns = collector->options.peer_idle_ms * NSEC_PER_MS;

	/* One that was ended because of its silence is not begun again. */
	if (!entry && collector_now(CLOCK_MONOTONIC) - time_of(record) < idle_ns)
		entry = begin_peer(collector, record);
	if (!entry)
		return;
	entry->round = collector->round;
	set_counters(entry, record);
	if (time_of(record) > entry->last_ns)
		flow_table_touch(collector->flows, entry);
	entry->last_ns = MAX(entry->last_ns, time_of(record));
	if (record->flags & PROBE_NOBODY && collector_forget_owner(collector, entry))
		tell(collector, FLOW_UPDATE, entry);
}

void collector_stands(struct collector *collector, const struct probe_record *record)
{
	bool has_flow = record->tuple.protocol == IPPROTO_TCP ||
			record->flags & (PROBE_LISTENER | PROBE_CONNECTED);
	struct flow_entry *entry = flow_table_find(collector->flows, record->cookie, NULL);

	if (record->kind == PROBE_PEER) {
		first_stands(collector, record);
		return;
	}
	if (!has_flow)
		return;
	collector_note_listener(collector, record);
	if (!entry) {
		entry = add(collector, record);
		if (!entry)
			return;
		(void)set_owner(collector, entry, record);
		set_counters(entry, record);
		entry->inbound = entry->inbound || came_in(collector, entry);
		tell(collector, FLOW_SEEN, entry);
		return;
	}
	entry->round = collector->round;
	/* listen() without bind() is told of before there is a port. */
	if (entry->local_port == 0)
		set_tuple(entry, record);
	if (entry->bytes_sent != record->counters.bytes_sent ||
	    entry->bytes_received != record->counters.bytes_received)
		touch(collector, entry, record);
	set_counters(entry, record);
	if (entry->protocol == IPPROTO_TCP)
		entry->tcp_state = record->state;
	/* Records of its use say it better, where there are such and none was lost; else who holds
	 * it now is the best. */
	if ((!entry->process || collector->tier == COLLECTOR_DIAG ||
	     record->flags & PROBE_NOBODY) &&
	    set_owner(collector, entry, record))
		tell(collector, FLOW_UPDATE, entry);
}

void collector_sweep(struct collector *collector, int64_t before_ns, uint32_t netns, bool all)
{
	struct flow_entry *following;

	for (struct flow_entry *entry = flow_table_oldest(collector->flows); entry;
	     entry = following) {
		following = flow_table_next(entry);
		if (!entry->is_peer && entry->round != collector->round && entry->netns == netns &&
		    entry->last_ns < before_ns && (all || entry->protocol == IPPROTO_TCP))
			collector_end(collector, entry, FLOW_CLOSE, FLOW_END_CLOSED, before_ns);
	}
}
