/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Flows by their two ends. A record from a router says nothing of processes and names the ends in
 * either order, so both are brought into one order: the smaller address first. Living flows are
 * many and asked for seldom: they are kept from the first record on. Ended ones are always kept,
 * for the window, in a queue by their end; both are in one table.
 */

#include "netprobe/match.h"

#include <assert.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "netprobe/hash.h"

#define SLOTS_MIN 256U

struct key {
	uint8_t first[16], second[16];
	uint16_t first_port, second_port;
	uint8_t family, protocol;
	uint8_t unused[2]; /* hashed: always 0 */
};

struct entry {
	struct entry *next;  /* in the slot */
	struct entry *later; /* in the queue of the ended */
	struct key key;
	uint64_t hash; /* of the key */
	uint64_t cookie;
	int64_t started_ns, last_ns, ended_ns;
	int64_t kept_ns; /* since when it is in the queue; CLOCK_MONOTONIC: the other one may be set
			  */
	char *packed;    /* the flow as pack() has it */
};

struct match {
	struct entry **slots;
	size_t n_slots, count;
	struct entry *oldest, *newest; /* of the ended */
	unsigned ended;
	struct hash_key hash_key;
	bool is_started;
	bool is_linked;    /* before the first record nothing is looked for: the ended wait in their
			      queue alone */
	struct flow found; /* what match_find() returned */
};

/* A flow is mostly room for its owner's texts: these are kept as long as they are. */
#define PACKED_HEAD offsetof(struct flow, owner.cmdline)

static char *pack(const struct flow *flow)
{
	size_t cmdline = strlen(flow->owner.cmdline) + 1;
	size_t container = strlen(flow->owner.container_id) + 1;
	size_t arguments = sizeof(flow->owner.arguments);
	char *packed = malloc(PACKED_HEAD + arguments + cmdline + container);

	if (!packed)
		return NULL;
	memcpy(packed, flow, PACKED_HEAD);
	memcpy(packed + PACKED_HEAD, &flow->owner.arguments, arguments);
	memcpy(packed + PACKED_HEAD + arguments, flow->owner.cmdline, cmdline);
	memcpy(packed + PACKED_HEAD + arguments + cmdline, flow->owner.container_id, container);
	return packed;
}

static void unpack(const char *packed, struct flow *ret)
{
	const char *text = packed + PACKED_HEAD + sizeof(ret->owner.arguments);

	*ret = (struct flow){0};
	memcpy(ret, packed, PACKED_HEAD);
	memcpy(&ret->owner.arguments, packed + PACKED_HEAD, sizeof(ret->owner.arguments));
	memcpy(ret->owner.cmdline, text, strlen(text) + 1);
	text += strlen(text) + 1;
	memcpy(ret->owner.container_id, text, strlen(text) + 1);
}

static size_t slot_of(const struct match *match, uint64_t hash)
{
	return hash & (match->n_slots - 1);
}

static void grow(struct match *match)
{
	struct entry **old = match->slots;
	size_t n = match->n_slots;
	struct entry **slots = calloc(n * 2, sizeof(struct entry *));

	/* A crowded table is only slower. */
	if (!slots)
		return;
	match->slots = slots;
	match->n_slots = n * 2;
	for (size_t i = 0; i < n; i++) {
		while (old[i]) {
			struct entry *entry = old[i];
			size_t slot = slot_of(match, entry->hash);

			old[i] = entry->next;
			entry->next = slots[slot];
			slots[slot] = entry;
		}
	}
	free(old);
}

struct match *match_new(void)
{
	struct match *match = calloc(1, sizeof(*match));

	if (!match)
		return NULL;
	match->hash_key = hash_key_new();
	match->n_slots = SLOTS_MIN;
	match->slots = calloc(match->n_slots, sizeof(struct entry *));
	return match->slots ? match : match_free(match);
}

static struct entry *entry_free(struct entry *entry)
{
	free(entry->packed);
	free(entry);
	return NULL;
}

/* Puts *entry* where it is found. */
static void link_entry(struct match *match, struct entry *entry)
{
	size_t slot;

	if (match->count >= match->n_slots)
		grow(match);
	slot = slot_of(match, entry->hash);
	entry->next = match->slots[slot];
	match->slots[slot] = entry;
	match->count++;
}

static void link_all(struct match *match)
{
	if (match->is_linked)
		return;
	match->is_linked = true;
	for (struct entry *entry = match->oldest; entry; entry = entry->later)
		link_entry(match, entry);
}

void match_clear(struct match *match)
{
	if (match->slots)
		link_all(match);
	for (size_t i = 0; match->slots && i < match->n_slots; i++) {
		while (match->slots[i]) {
			struct entry *entry = match->slots[i];

			match->slots[i] = entry->next;
			(void)entry_free(entry);
		}
	}
	match->count = 0;
	match->ended = 0;
	match->oldest = NULL;
	match->newest = NULL;
	match->is_started = false;
	match->is_linked = false;
}

struct match *match_free(struct match *match)
{
	if (!match)
		return NULL;
	match_clear(match);
	free(match->slots);
	free(match);
	return NULL;
}

bool match_is_started(const struct match *match)
{
	return match->is_started;
}

void match_start(struct match *match)
{
	match->is_started = true;
	link_all(match);
}

static struct key make_key(uint8_t family, uint8_t protocol, const uint8_t a[16], uint16_t a_port,
			   const uint8_t b[16], uint16_t b_port)
{
	struct key key = {.family = family, .protocol = protocol};
	int order = memcmp(a, b, sizeof(key.first));
	bool a_is_first = order < 0 || (order == 0 && a_port <= b_port);

	memcpy(key.first, a_is_first ? a : b, sizeof(key.first));
	memcpy(key.second, a_is_first ? b : a, sizeof(key.second));
	key.first_port = a_is_first ? a_port : b_port;
	key.second_port = a_is_first ? b_port : a_port;
	return key;
}

static struct key key_of(const struct flow *flow)
{
	return make_key(flow->family, flow->protocol, flow->local, flow->local_port, flow->remote,
			flow->remote_port);
}

static void unlink_entry(struct match *match, struct entry *entry)
{
	struct entry **at = &match->slots[slot_of(match, entry->hash)];

	if (!match->is_linked)
		return;
	while (*at != entry)
		at = &(*at)->next;
	*at = entry->next;
	match->count--;
}

static void forget_oldest(struct match *match)
{
	struct entry *entry = match->oldest;

	match->oldest = entry->later;
	if (!match->oldest)
		match->newest = NULL;
	match->ended--;
	unlink_entry(match, entry);
	(void)entry_free(entry);
}

static void expire(struct match *match, int64_t now_ns, uint64_t window_ns)
{
	unsigned most = match->is_started ? MATCH_ENDED_MAX : MATCH_ENDED_UNASKED;

	while (match->oldest &&
	       (match->ended > most || match->oldest->kept_ns + (int64_t)window_ns < now_ns))
		forget_oldest(match);
}

static struct entry *find_socket(const struct match *match, const struct key *key, uint64_t hash,
				 uint64_t cookie)
{
	struct entry *entry = match->is_linked ? match->slots[slot_of(match, hash)] : NULL;

	while (entry && (memcmp(&entry->key, key, sizeof(*key)) != 0 || entry->cookie != cookie ||
			 entry->ended_ns != 0))
		entry = entry->next;
	return entry;
}

static struct entry *add_entry(struct match *match, const struct key *key, uint64_t hash)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return NULL;
	entry->key = *key;
	entry->hash = hash;
	if (match->is_linked)
		link_entry(match, entry);
	return entry;
}

static void set_ended(struct match *match, struct entry *entry)
{
	if (match->newest)
		match->newest->later = entry;
	else
		match->oldest = entry;
	match->newest = entry;
	match->ended++;
}

void match_add(struct match *match, const struct flow *flow, uint64_t window_ns, int64_t now_ns)
{
	struct key key = key_of(flow);
	uint64_t hash = hash_of(&match->hash_key, &key, sizeof(key));
	struct entry *entry;
	char *packed;

	if (flow->listener || (flow->ended_ns == 0 && !match->is_started))
		return;
	packed = pack(flow);
	if (!packed)
		return;
	entry = find_socket(match, &key, hash, flow->cookie);
	if (!entry)
		entry = add_entry(match, &key, hash);
	if (!entry) {
		free(packed);
		return;
	}
	free(entry->packed);
	entry->packed = packed;
	entry->cookie = flow->cookie;
	entry->started_ns = flow->started_ns;
	entry->last_ns = flow->last_ns;
	entry->ended_ns = flow->ended_ns;
	if (flow->ended_ns != 0) {
		entry->kept_ns = now_ns;
		set_ended(match, entry);
		expire(match, now_ns, window_ns);
	}
}

/* IPv4 in the first four bytes, also where it came mapped into IPv6. */
static bool read_address(const ProtobufCBinaryData *data, uint8_t *ret_family, uint8_t ret[16])
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	memset(ret, 0, 16);
	if (data->len != 4 && data->len != 16)
		return false;
	*ret_family = data->len == 4 ? AF_INET : AF_INET6;
	memcpy(ret, data->data, data->len);
	if (data->len == 16 && memcmp(ret, mapped, sizeof(mapped)) == 0) {
		*ret_family = AF_INET;
		memmove(ret, ret + sizeof(mapped), 4);
		memset(ret + 4, 0, 12);
	}
	return true;
}

static uint8_t read_protocol(const Netprobe__ExternalFlowRecord *record)
{
	static const struct {
		const char *name;
		uint8_t number;
	} names[] = {
		{"tcp",    IPPROTO_TCP   },
		{"udp",    IPPROTO_UDP   },
		{"icmp",   IPPROTO_ICMP  },
		{"icmpv6", IPPROTO_ICMPV6}
        };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (record->ip_protocol == names[i].number ||
		    (record->ip_protocol == 0 &&
		     strcasecmp(record->transport_protocol, names[i].name) == 0))
			return names[i].number;
	}
	return 0;
}

static int read_key(const Netprobe__ExternalFlowRecord *record, struct key *ret)
{
	uint8_t protocol = read_protocol(record);
	uint8_t source_family = 0;
	uint8_t destination_family = 0;
	uint8_t source[16];
	uint8_t destination[16];
	bool has_ports = protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;

	if (!read_address(&record->source_ip, &source_family, source) ||
	    !read_address(&record->destination_ip, &destination_family, destination) ||
	    source_family != destination_family || protocol == 0)
		return MATCH_E_INVALID;
	if (record->source_port > UINT16_MAX || record->destination_port > UINT16_MAX ||
	    (has_ports && (record->source_port == 0 || record->destination_port == 0)))
		return MATCH_E_INVALID;
	/* Exporters put an ICMP type where ports are. */
	*ret = make_key(source_family, protocol, source,
			has_ports ? (uint16_t)record->source_port : 0, destination,
			has_ports ? (uint16_t)record->destination_port : 0);
	return 0;
}

/* How far the two spans are apart: 0 where they overlap. */
static uint64_t distance(const struct entry *entry, int64_t start, int64_t end, int64_t now_ns)
{
	int64_t last = entry->ended_ns != 0 ? entry->ended_ns : MAX(entry->last_ns, now_ns);

	if (start > last)
		return (uint64_t)(start - last);
	return end < entry->started_ns ? (uint64_t)(entry->started_ns - end) : 0;
}

static int64_t clamp(uint64_t ns)
{
	return ns > INT64_MAX ? INT64_MAX : (int64_t)ns;
}

int match_find(struct match *match, const Netprobe__ExternalFlowRecord *record, uint64_t window_ns,
	       int64_t now_ns, const struct flow **ret)
{
	int64_t end = clamp(record->time_flow_end_ns);
	int64_t start = clamp(record->time_flow_start_ns);
	const struct entry *nearest = NULL;
	uint64_t best = window_ns;
	struct key key;
	int r = read_key(record, &key);

	if (r != 0)
		return r;
	link_all(match);
	if (end == 0)
		end = MAX(start, now_ns);
	if (start == 0 || start > end)
		start = end;
	for (const struct entry *entry =
		     match->slots[slot_of(match, hash_of(&match->hash_key, &key, sizeof(key)))];
	     entry; entry = entry->next) {
		uint64_t far = distance(entry, start, end, now_ns);

		if (memcmp(&entry->key, &key, sizeof(key)) != 0 || far > best)
			continue;
		best = far;
		nearest = entry;
	}
	if (!nearest)
		return MATCH_E_NONE;
	unpack(nearest->packed, &match->found);
	*ret = &match->found;
	return 0;
}
