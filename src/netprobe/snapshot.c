/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Who listens where, as one message. Where sockets share an address and port, as pre-forked workers
 * with SO_REUSEPORT do, there is an entry for each process. Sorted, so that the fingerprint depends
 * on what there is and not on the order in which it came.
 */

#include "netprobe/snapshot.h"

#include <errno.h>
#include <string.h>

#include "netprobe/event.h"
#include "netprobe/wall.h"
#include "opamp/decode.h"

/* What an entry has at most, with itself and two words of its command line; and the rest of the
 * frame. */
#define ENTRY_FIELDS 12U
#define OTHER_FIELDS 16U
/* Our own clients read it: a frame with the longest texts in every entry is far below its size. */
#define ENTRIES_MAX ((OPAMP_FIELDS_MAX - OTHER_FIELDS) / ENTRY_FIELDS)

struct entries {
	struct flow *flows;
	size_t count, capacity;
	int result;
};

static void add_flow(void *context, const struct flow *flow)
{
	struct entries *entries = context;

	if (!flow->listener || entries->result < 0 || entries->count == ENTRIES_MAX)
		return;
	if (entries->count == entries->capacity) {
		size_t capacity = entries->capacity * 2 + 16;
		struct flow *grown =
			reallocarray(entries->flows, capacity, sizeof(*entries->flows));

		if (!grown) {
			entries->result = -ENOMEM;
			return;
		}
		entries->flows = grown;
		entries->capacity = capacity;
	}
	entries->flows[entries->count++] = *flow;
}

static int compare(const void *first, const void *second)
{
	const struct flow *a = first;
	const struct flow *b = second;
	int r;

	if (a->protocol != b->protocol)
		return a->protocol < b->protocol ? -1 : 1;
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	r = memcmp(a->local, b->local, sizeof(a->local));
	if (r != 0)
		return r;
	if (a->local_port != b->local_port)
		return a->local_port < b->local_port ? -1 : 1;
	if (a->owner.tgid != b->owner.tgid)
		return a->owner.tgid < b->owner.tgid ? -1 : 1;
	return strcmp(a->owner.comm, b->owner.comm);
}

static uint64_t add_hash(uint64_t hash, const Netprobe__FlowAttributionEvent *message)
{
	const uint32_t numbers[] = {message->local_port, message->tgid};

	hash = fnv_add(hash, message->transport_protocol, strlen(message->transport_protocol) + 1);
	hash = fnv_add(hash, message->local_ip, strlen(message->local_ip) + 1);
	hash = fnv_add(hash, numbers, sizeof(numbers));
	return fnv_add(hash, message->comm, strlen(message->comm) + 1);
}

static void fill(Netprobe__ProcessSnapshotEntry *entry,
		 const Netprobe__FlowAttributionEvent *message)
{
	netprobe__process_snapshot_entry__init(entry);
	entry->local_ip = message->local_ip;
	entry->local_port = message->local_port;
	entry->transport_protocol = message->transport_protocol;
	entry->pid = message->pid;
	entry->tgid = message->tgid;
	entry->uid = message->uid;
	entry->gid = message->gid;
	entry->comm = message->comm;
	entry->n_redacted_cmdline = message->n_redacted_cmdline;
	entry->redacted_cmdline = message->redacted_cmdline;
	entry->container_id = message->container_id;
}

struct parts {
	struct event *events;
	Netprobe__ProcessSnapshotEntry *entries;
	Netprobe__ProcessSnapshotEntry **list;
};

static void parts_done(struct parts *parts)
{
	free(parts->events);
	free(parts->entries);
	free(parts->list);
}

static int encode(const struct entries *entries, char fingerprint[FNV_TEXT_SIZE],
		  struct frame **ret)
{
	Netprobe__ProcessSnapshot snapshot = NETPROBE__PROCESS_SNAPSHOT__INIT;
	CLEANUP(parts_done)
	struct parts parts = {
		.events = calloc(entries->count + 1, sizeof(*parts.events)),
		.entries = calloc(entries->count + 1, sizeof(*parts.entries)),
		.list = calloc(entries->count + 1, sizeof(Netprobe__ProcessSnapshotEntry *)),
	};
	char text[FNV_TEXT_SIZE];
	uint64_t hash = FNV_INIT;

	if (!parts.events || !parts.entries || !parts.list)
		return -ENOMEM;
	for (size_t i = 0; i < entries->count; i++) {
		event_fill(&parts.events[i], FLOW_SEEN, &entries->flows[i], "");
		fill(&parts.entries[i], &parts.events[i].message);
		parts.list[i] = &parts.entries[i];
		hash = add_hash(hash, &parts.events[i].message);
	}
	fnv_format(hash, text);
	if (strcmp(text, fingerprint) == 0)
		return 0;
	memcpy(fingerprint, text, sizeof(text));
	snapshot.fingerprint = text;
	snapshot.observed_at_unix_nano = wall_ns();
	snapshot.n_entries = entries->count;
	snapshot.entries = parts.list;
	return frame_encode(NETPROBE__NETPROBE_FRAME__PAYLOAD_PROCESS_SNAPSHOT, &snapshot, ret);
}

int snapshot_make(const struct collector *collector, char fingerprint[FNV_TEXT_SIZE],
		  struct frame **ret, uint32_t *ret_entries)
{
	struct entries entries = {0};
	int r;

	collector_each(collector, add_flow, &entries);
	if (entries.count > 1)
		qsort(entries.flows, entries.count, sizeof(*entries.flows), compare);
	r = entries.result < 0 ? entries.result : encode(&entries, fingerprint, ret);
	*ret_entries = (uint32_t)entries.count;
	free(entries.flows);
	return r;
}
