/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Flows by their two ends. A record from a router says nothing of processes and names the ends in
 * either order, so both are brought into one order: the smaller address first. Living flows are
 * many and asked for seldom: they are kept from the first record on. Ended ones are always kept,
 * for the window, in a queue by their end; both are in one table by their ends, and the living are
 * in another one by their socket, too. Any number of flows may be between the same two ends (ICMP
 * has no ports), so nothing walks along all of them.
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
/* Flows that are looked at for a record, that were told of last first. */
#define STEPS_MAX 1024U

struct key {
	uint8_t first[16], second[16];
	uint16_t first_port, second_port;
	uint8_t family, protocol;
	uint8_t unused[2]; /* hashed: always 0 */
};

enum by {
	BY_ENDS,
	BY_SOCKET, /* and its ends: a datagram socket has many flows */
	BY_N,
};

struct entry {
	struct entry *next[BY_N]; /* in the slot */
	struct entry **at[BY_N];  /* what points here; NULL: it is not in that table */
	uint64_t hash[BY_N];
	struct entry *later; /* in the queue of the ended */
	struct key key;
	uint64_t cookie, netns;
	uint64_t owner_started_ns;
	uint32_t owner; /* tgid */
	bool is_second; /* key.second is this end of it, and not the other one's */
	int64_t started_ns, last_ns, ended_ns;
	int64_t kept_ns; /* since when it is in the queue; CLOCK_MONOTONIC: the other one may be set
			  */
	char *packed;    /* the flow as pack() has it */
};

struct table {
	struct entry **slots;
	size_t n_slots, count;
};

struct match {
	struct table tables[BY_N];
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

static struct entry **slot_of(const struct table *table, uint64_t hash)
{
	return &table->slots[hash & (table->n_slots - 1)];
}

static void hang(struct table *table, struct entry *entry, enum by by)
{
	struct entry **at = slot_of(table, entry->hash[by]);

	entry->next[by] = *at;
	entry->at[by] = at;
	if (*at)
		(*at)->at[by] = &entry->next[by];
	*at = entry;
}

static void grow(struct table *table, enum by by)
{
	struct entry **old = table->slots;
	size_t n = table->n_slots;
	struct entry **slots = calloc(n * 2, sizeof(struct entry *));

	/* A crowded table is only slower. */
	if (!slots)
		return;
	table->slots = slots;
	table->n_slots = n * 2;
	for (size_t i = 0; i < n; i++) {
		struct entry *reversed = NULL;

		/* The youngest stays the first. */
		while (old[i]) {
			struct entry *entry = old[i];

			old[i] = entry->next[by];
			entry->next[by] = reversed;
			reversed = entry;
		}
		while (reversed) {
			struct entry *entry = reversed;

			reversed = entry->next[by];
			hang(table, entry, by);
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
	for (int by = 0; by < BY_N; by++) {
		match->tables[by].n_slots = SLOTS_MIN;
		match->tables[by].slots = calloc(SLOTS_MIN, sizeof(struct entry *));
		if (!match->tables[by].slots)
			return match_free(match);
	}
	return match;
}

static struct entry *entry_free(struct entry *entry)
{
	free(entry->packed);
	free(entry);
	return NULL;
}

/* Puts *entry* where it is found. */
static void link_entry(struct match *match, struct entry *entry, enum by by)
{
	struct table *table = &match->tables[by];

	if (table->count >= table->n_slots)
		grow(table, by);
	hang(table, entry, by);
	table->count++;
}

static void unlink_entry(struct match *match, struct entry *entry, enum by by)
{
	if (!entry->at[by])
		return;
	*entry->at[by] = entry->next[by];
	if (entry->next[by])
		entry->next[by]->at[by] = entry->at[by];
	entry->at[by] = NULL;
	match->tables[by].count--;
}

static void link_all(struct match *match)
{
	if (match->is_linked)
		return;
	match->is_linked = true;
	for (struct entry *entry = match->oldest; entry; entry = entry->later)
		link_entry(match, entry, BY_ENDS);
}

static void forget(struct match *match, struct entry *entry)
{
	for (int by = 0; by < BY_N; by++)
		unlink_entry(match, entry, by);
	(void)entry_free(entry);
}

void match_clear(struct match *match)
{
	struct table *living = &match->tables[BY_SOCKET];

	for (size_t i = 0; living->slots && i < living->n_slots; i++) {
		while (living->slots[i])
			forget(match, living->slots[i]);
	}
	while (match->oldest) {
		struct entry *entry = match->oldest;

		match->oldest = entry->later;
		forget(match, entry);
	}
	match->ended = 0;
	match->newest = NULL;
	match->is_started = false;
	match->is_linked = false;
}

struct match *match_free(struct match *match)
{
	if (!match)
		return NULL;
	match_clear(match);
	for (int by = 0; by < BY_N; by++)
		free(match->tables[by].slots);
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

static bool is_second_local(const struct key *key, const struct flow *flow)
{
	return key->first_port != flow->local_port ||
	       memcmp(key->first, flow->local, sizeof(key->first)) != 0;
}

static void forget_oldest(struct match *match)
{
	struct entry *entry = match->oldest;

	match->oldest = entry->later;
	if (!match->oldest)
		match->newest = NULL;
	match->ended--;
	forget(match, entry);
}

static void expire(struct match *match, int64_t now_ns, uint64_t window_ns)
{
	unsigned most = match->is_started ? MATCH_ENDED_MAX : MATCH_ENDED_UNASKED;

	while (match->oldest &&
	       (match->ended > most || match->oldest->kept_ns + (int64_t)window_ns < now_ns))
		forget_oldest(match);
}

static uint64_t hash_by_socket(const struct match *match, uint64_t ends, uint64_t cookie)
{
	const uint64_t both[] = {ends, cookie};

	return hash_of(&match->hash_key, both, sizeof(both));
}

/* The same flow as it was told of before, living. A socket may have two with the same ends: what
 * was exchanged with a peer before it was connected to it, and since. */
static struct entry *find_living(const struct match *match, const struct key *key, uint64_t hash,
				 const struct flow *flow)
{
	uint64_t by_socket = hash_by_socket(match, hash, flow->cookie);
	struct entry *entry = *slot_of(&match->tables[BY_SOCKET], by_socket);

	while (entry && (memcmp(&entry->key, key, sizeof(*key)) != 0 ||
			 entry->cookie != flow->cookie || entry->started_ns != flow->started_ns))
		entry = entry->next[BY_SOCKET];
	return entry;
}

/* A datagram socket that is bound to no address: before its first answer the flow had another key.
 */
static void forget_before(struct match *match, const struct flow *flow)
{
	static const uint8_t any[sizeof(flow->local)];
	struct key key = make_key(flow->family, flow->protocol, any, flow->local_port, flow->remote,
				  flow->remote_port);
	struct entry *entry =
		find_living(match, &key, hash_of(&match->hash_key, &key, sizeof(key)), flow);

	if (entry)
		forget(match, entry);
}

static struct entry *add_entry(struct match *match, const struct key *key, uint64_t hash,
			       uint64_t cookie)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return NULL;
	entry->key = *key;
	entry->cookie = cookie;
	entry->hash[BY_ENDS] = hash;
	entry->hash[BY_SOCKET] = hash_by_socket(match, hash, cookie);
	if (match->is_linked)
		link_entry(match, entry, BY_ENDS);
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
	entry = find_living(match, &key, hash, flow);
	if (!entry && flow->protocol != IPPROTO_TCP)
		forget_before(match, flow);
	if (!entry)
		entry = add_entry(match, &key, hash, flow->cookie);
	if (!entry) {
		free(packed);
		return;
	}
	free(entry->packed);
	entry->packed = packed;
	entry->netns = flow->netns;
	entry->owner = flow->owner.tgid;
	entry->owner_started_ns = flow->owner.started_ns;
	entry->is_second = is_second_local(&key, flow);
	entry->started_ns = flow->started_ns;
	entry->last_ns = flow->last_ns;
	entry->ended_ns = flow->ended_ns;
	if (flow->ended_ns == 0) {
		if (!entry->at[BY_SOCKET])
			link_entry(match, entry, BY_SOCKET);
		return;
	}
	unlink_entry(match, entry, BY_SOCKET);
	entry->kept_ns = now_ns;
	set_ended(match, entry);
	expire(match, now_ns, window_ns);
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

/* What was found so far: the nearest, and of each end one that is as near. */
struct search {
	const struct entry *nearest, *ends[2];
	uint64_t far;
	bool is_ambiguous;
};

static bool is_rival(const struct entry *entry, const struct entry *other)
{
	return entry->cookie != other->cookie &&
	       (entry->owner != other->owner || entry->owner_started_ns != other->owner_started_ns);
}

/* Of those that are as near, the youngest, if all with the same end are one process's. */
static void consider(struct search *search, const struct entry *entry, uint64_t far)
{
	const struct entry **end;

	if (search->nearest && far < search->far)
		*search = (struct search){0};
	search->far = far;
	end = &search->ends[entry->is_second];
	if (*end && is_rival(entry, *end))
		search->is_ambiguous = true;
	if (!*end)
		*end = entry;
	if (!search->nearest || entry->started_ns > search->nearest->started_ns)
		search->nearest = entry;
}

int match_find(struct match *match, const Netprobe__ExternalFlowRecord *record, uint64_t window_ns,
	       int64_t now_ns, const struct flow **ret)
{
	int64_t end = clamp(record->time_flow_end_ns);
	int64_t start = clamp(record->time_flow_start_ns);
	struct search search = {.far = window_ns};
	const struct entry *entry;
	struct key key;
	int r = read_key(record, &key);

	if (r != 0)
		return r;
	link_all(match);
	if (end == 0)
		end = MAX(start, now_ns);
	if (start == 0 || start > end)
		start = end;
	entry = *slot_of(&match->tables[BY_ENDS], hash_of(&match->hash_key, &key, sizeof(key)));
	for (unsigned i = 0; entry && i < STEPS_MAX; i++, entry = entry->next[BY_ENDS]) {
		uint64_t far = distance(entry, start, end, now_ns);

		if (memcmp(&entry->key, &key, sizeof(key)) == 0 && far <= search.far &&
		    (record->network_namespace == 0 || record->network_namespace == entry->netns))
			consider(&search, entry, far);
	}
	if (!search.nearest || search.is_ambiguous)
		return search.nearest ? MATCH_E_AMBIGUOUS : MATCH_E_NONE;
	unpack(search.nearest->packed, &match->found);
	*ret = &match->found;
	return 0;
}
