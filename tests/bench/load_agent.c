/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One simulated agent: it connects, enrols or shows its credential, tells its full state, and
 * answers what it is offered. The bytes of both transports are made and taken apart here, so that
 * an agent costs this program less than it costs affixd.
 */

#include "load.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "opamp/decode.h"

#define READ_MAX     262144U
#define SEND_MAX     16384U
#define CAPABILITIES 0x39ffU
#define RETRY_USEC   (1 * USEC)

void agent_drop(struct load *load, struct agent *agent, uint64_t wait)
{
	wire_close(agent);
	free(agent->partial);
	agent->partial = NULL;
	agent->partial_size = 0;
	agent->is_waiting = 0;
	if (agent->is_counted)
		load->counts->connected--;
	agent->is_counted = 0;
	agent->phase = PHASE_IDLE;
	agent->due = now_usec() + wait;
}

/* *retry_after*: seconds, as it was told; 0: not. Spread out, as agents are. */
static void fail(struct load *load, struct agent *agent, uint64_t retry_after)
{
	uint64_t wait = RETRY_USEC + (uint64_t)random() % (4 * RETRY_USEC);

	load->counts->failures++;
	if (retry_after > 0)
		wait = retry_after * USEC + (uint64_t)random() % (retry_after * USEC);
	agent_drop(load, agent, wait);
}

void agent_begin(struct load *load, struct agent *agent)
{
	agent->phase = PHASE_CONNECTING;
	if (!wire_connect(load, agent))
		fail(load, agent, 0);
}

static bool send_all(struct load *load, struct agent *agent, const void *data, size_t size)
{
	if (wire_send(agent, data, size))
		return true;
	fail(load, agent, 0);
	return false;
}

static const char *token_of(const struct load *load, const struct agent *agent)
{
	return agent->has_credential ? agent->token : load->join;
}

/* A message, framed for its transport. */
static bool send_message(struct load *load, struct agent *agent, const uint8_t *data, size_t size)
{
	uint8_t bytes[SEND_MAX];
	size_t at = 0;

	if (agent->is_http) {
		at = (size_t)snprintf((char *)bytes, sizeof(bytes),
				      "POST /v1/opamp HTTP/1.1\r\nHost: load\r\n"
				      "Content-Type: application/x-protobuf\r\n"
				      "Authorization: Bearer %s\r\nContent-Length: %zu\r\n\r\n",
				      token_of(load, agent), size);
	} else {
		bytes[at++] = 0x82;
		if (size + 1 < 126) {
			bytes[at++] = (uint8_t)(0x80U | (size + 1));
		} else {
			bytes[at++] = 0x80U | 126U;
			bytes[at++] = (uint8_t)((size + 1) >> 8);
			bytes[at++] = (uint8_t)(size + 1);
		}
		/* A mask of zeros is one, too. */
		memset(bytes + at, 0, 5);
		at += 5;
	}
	if (at + size > sizeof(bytes))
		die("message too large");
	memcpy(bytes + at, data, size);
	agent->sent = now_usec();
	agent->is_waiting = 1;
	load->counts->messages++;
	return send_all(load, agent, bytes, at + size);
}

static void init_message(struct agent *agent, Opamp__Proto__AgentToServer *message)
{
	opamp__proto__agent_to_server__init(message);
	message->instance_uid.data = agent->uid;
	message->instance_uid.len = UID_SIZE;
	message->sequence_num = ++agent->sequence;
	message->capabilities = CAPABILITIES;
}

static bool send_built(struct load *load, struct agent *agent,
		       const Opamp__Proto__AgentToServer *message)
{
	cleanup_free uint8_t *bytes = NULL;
	size_t size = 0;

	if (opamp_encode(message, 0, &bytes, &size) != 0)
		die("opamp_encode");
	return send_message(load, agent, bytes, size);
}

/* Everything a host tells first: what it is, how it is, two components. */
static bool send_full(struct load *load, struct agent *agent)
{
	static const char *const keys[] = {"os.type",         "host.arch",
					   "host.name",       "service.version",
					   "affix.label.env", "affix.label.rack"};
	Opamp__Proto__AgentToServer message;
	Opamp__Proto__AgentDescription description = OPAMP__PROTO__AGENT_DESCRIPTION__INIT;
	Opamp__Proto__ComponentHealth health = OPAMP__PROTO__COMPONENT_HEALTH__INIT;
	Opamp__Proto__AnyValue values[ARRAY_SIZE(keys)];
	Opamp__Proto__KeyValue pairs[ARRAY_SIZE(keys)];
	Opamp__Proto__KeyValue *list[ARRAY_SIZE(keys)];
	char name[32];
	char rack[16];
	const char *texts[] = {"linux", "amd64", name, "0.1.0", "load", rack};
	uint32_t index = (uint32_t)(agent - load->agents);

	(void)snprintf(name, sizeof(name), "load-%u-%u", load->process, index);
	(void)snprintf(rack, sizeof(rack), "r%u", index % 50);
	init_message(agent, &message);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		opamp__proto__any_value__init(&values[i]);
		opamp__proto__key_value__init(&pairs[i]);
		values[i].value_case = OPAMP__PROTO__ANY_VALUE__VALUE_STRING_VALUE;
		values[i].string_value = (char *)texts[i];
		pairs[i].key = (char *)keys[i];
		pairs[i].value = &values[i];
		list[i] = &pairs[i];
	}
	description.non_identifying_attributes = list;
	description.n_non_identifying_attributes = ARRAY_SIZE(keys);
	health.healthy = true;
	message.agent_description = &description;
	message.health = &health;
	return send_built(load, agent, &message);
}

static bool send_heartbeat(struct load *load, struct agent *agent)
{
	Opamp__Proto__AgentToServer message;

	init_message(agent, &message);
	return send_built(load, agent, &message);
}

/* What was offered is installed at once. */
static bool send_statuses(struct load *load, struct agent *agent,
			  const Opamp__Proto__PackagesAvailable *offer)
{
	Opamp__Proto__AgentToServer message;
	Opamp__Proto__PackageStatuses statuses = OPAMP__PROTO__PACKAGE_STATUSES__INIT;
	Opamp__Proto__PackageStatus status = OPAMP__PROTO__PACKAGE_STATUS__INIT;
	Opamp__Proto__PackageStatuses__PackagesEntry entry =
		OPAMP__PROTO__PACKAGE_STATUSES__PACKAGES_ENTRY__INIT;
	Opamp__Proto__PackageStatuses__PackagesEntry *entries[] = {&entry};

	init_message(agent, &message);
	if (offer->n_packages > 0 && offer->packages[0]->value) {
		const Opamp__Proto__PackageAvailable *package = offer->packages[0]->value;

		entry.key = offer->packages[0]->key;
		entry.value = &status;
		status.name = entry.key;
		status.agent_has_version = package->version;
		status.server_offered_version = package->version;
		status.agent_has_hash = package->hash;
		status.server_offered_hash = package->hash;
		statuses.packages = entries;
		statuses.n_packages = 1;
	}
	statuses.server_provided_all_packages_hash = offer->all_packages_hash;
	message.package_statuses = &statuses;
	return send_built(load, agent, &message);
}

static bool has_package(const struct load *load, const Opamp__Proto__PackagesAvailable *offer)
{
	for (size_t i = 0; load->package && i < offer->n_packages; i++) {
		if (strcmp(offer->packages[i]->key, load->package) == 0)
			return true;
	}
	return false;
}

/* The credential, if the message has one: then the connection is made anew with it. */
static bool take_credential(struct load *load, struct agent *agent,
			    const Opamp__Proto__ServerToAgent *message)
{
	const Opamp__Proto__OpAMPConnectionSettings *settings =
		message->connection_settings ? message->connection_settings->opamp : NULL;

	if (settings && agent->is_http)
		agent->beat = (uint32_t)settings->heartbeat_interval_seconds;
	if (!settings || !settings->headers || settings->headers->n_headers == 0)
		return false;
	if (sscanf(settings->headers->headers[0]->value, "Bearer %95s", agent->token) != 1)
		return false;
	agent->has_credential = 1;
	agent->sequence = 0;
	if (agent->is_http)
		return false;
	agent_drop(load, agent, 0);
	return true;
}

static void note_time(struct load *load, struct agent *agent)
{
	uint64_t took = now_usec() - agent->sent;
	uint64_t bucket = took / BUCKET_USEC;

	if (!agent->is_waiting)
		return;
	agent->is_waiting = 0;
	if (!agent->is_counted || agent->sequence < 2)
		return;
	load->counts->buckets[bucket < BUCKETS ? bucket : BUCKETS]++;
	load->counts->heartbeats++;
}

static void count_in(struct load *load, struct agent *agent)
{
	if (agent->is_counted || !agent->has_credential)
		return;
	agent->is_counted = 1;
	load->counts->connected++;
}

/* false: the agent is not what it was. */
static bool take_message(struct load *load, struct agent *agent, const uint8_t *data, size_t size)
{
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	Opamp__Proto__ServerToAgent *message = NULL;

	note_time(load, agent);
	if (opamp_decode_to_agent(data, size, &arena, &message) != 0) {
		fail(load, agent, 0);
		return false;
	}
	if (message->error_response) {
		const Opamp__Proto__RetryInfo *retry =
			message->error_response->details_case ==
					OPAMP__PROTO__SERVER_ERROR_RESPONSE__DETAILS_RETRY_INFO
				? message->error_response->retry_info
				: NULL;

		load->counts->refusals++;
		fail(load, agent, retry ? retry->retry_after_nanoseconds / (USEC * 1000U) : 0);
		return false;
	}
	if (take_credential(load, agent, message))
		return false;
	count_in(load, agent);
	if (message->flags != 0)
		return send_full(load, agent);
	if (!message->packages_available)
		return true;
	if (has_package(load, message->packages_available) && !agent->has_offer) {
		agent->has_offer = 1;
		load->counts->offered++;
	}
	return message->packages_available->n_packages == 0 ||
	       send_statuses(load, agent, message->packages_available);
}

/* One WebSocket frame at the start of *data*; its size, 0 if it is not whole. */
static size_t frame_size(const uint8_t *data, size_t size, size_t *ret_head)
{
	size_t length;

	if (size < 2)
		return 0;
	length = data[1] & 0x7fU;
	*ret_head = 2;
	if (length == 126) {
		if (size < 4)
			return 0;
		length = (size_t)data[2] << 8 | data[3];
		*ret_head = 4;
	} else if (length == 127) {
		if (size < 10)
			return 0;
		length = 0;
		for (size_t i = 2; i < 10; i++)
			length = length << 8 | data[i];
		*ret_head = 10;
	}
	return size - *ret_head < length ? 0 : *ret_head + length;
}

/* One HTTP answer; likewise. */
static size_t answer_size(const uint8_t *data, size_t size, size_t *ret_head)
{
	const uint8_t *end = memmem(data, size, "\r\n\r\n", 4);
	const uint8_t *length;

	if (!end)
		return 0;
	*ret_head = (size_t)(end - data) + 4;
	length = memmem(data, *ret_head, "content-length: ", 16);
	if (!length)
		return 0;
	size -= *ret_head;
	return size < strtoull((const char *)length + 16, NULL, 10)
		       ? 0
		       : *ret_head + strtoull((const char *)length + 16, NULL, 10);
}

/* What the head of a refusal says of another time; 0: nothing. */
static uint64_t retry_after(const uint8_t *head, size_t size)
{
	static const char name[] = "retry-after: ";
	const uint8_t *found = memmem(head, size, name, strlen(name));

	return found ? strtoull((const char *)found + strlen(name), NULL, 10) : 0;
}

/* What is whole in *data*; how much of it was used, or -1 if the agent is not what it was. */
static ssize_t take_bytes(struct load *load, struct agent *agent, const uint8_t *data, size_t size)
{
	size_t used = 0;

	while (used < size) {
		const uint8_t *at = data + used;
		size_t head = 0;
		size_t whole = agent->is_http ? answer_size(at, size - used, &head)
					      : frame_size(at, size - used, &head);

		if (whole == 0)
			return (ssize_t)used;
		if (agent->is_http && memcmp(at + 9, "200", 3) != 0) {
			load->counts->refusals++;
			fail(load, agent, retry_after(at, head));
			return -1;
		}
		if (!agent->is_http && (at[0] & 0x0fU) == 8) {
			fail(load, agent, 0);
			return -1;
		}
		if ((agent->is_http || ((at[0] & 0x0fU) == 2 && whole > head)) &&
		    !take_message(load, agent, at + head + (agent->is_http ? 0 : 1),
				  whole - head - (agent->is_http ? 0 : 1)))
			return -1;
		used += whole;
	}
	return (ssize_t)used;
}

/* The end of an upgrade's answer; NULL: the agent is not what it was. */
static const uint8_t *take_upgrade(struct load *load, struct agent *agent, const uint8_t *data,
				   size_t size)
{
	const uint8_t *end = memmem(data, size, "\r\n\r\n", 4);

	if (!end || memcmp(data + 9, "101", 3) != 0) {
		load->counts->refusals++;
		fail(load, agent, end ? retry_after(data, (size_t)(end + 2 - data)) : 0);
		return NULL;
	}
	agent->phase = PHASE_TALKING;
	return send_full(load, agent) ? end + 4 : NULL;
}

/* Keeps what is not whole yet. */
static void keep(struct agent *agent, const uint8_t *data, size_t size)
{
	free(agent->partial);
	agent->partial = NULL;
	agent->partial_size = size;
	if (size == 0)
		return;
	agent->partial = malloc(size);
	if (!agent->partial)
		die("malloc");
	memcpy(agent->partial, data, size);
}

/* false: nothing more is to be read. */
static bool take_input(struct load *load, struct agent *agent)
{
	static uint8_t buffer[READ_MAX];
	size_t size = agent->partial_size;
	const uint8_t *start = buffer;
	bool has_more = false;
	ssize_t used;
	ssize_t n;

	memcpy(buffer, agent->partial ? agent->partial : buffer, size);
	n = wire_receive(agent, buffer + size, sizeof(buffer) - size, &has_more);
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) {
		fail(load, agent, 0);
		return false;
	}
	size += (size_t)n;
	if (agent->phase == PHASE_UPGRADING) {
		start = take_upgrade(load, agent, buffer, size);
		if (!start)
			return false;
		size -= (size_t)(start - buffer);
	}
	used = take_bytes(load, agent, start, size);
	if (used < 0)
		return false;
	keep(agent, start + used, size - (size_t)used);
	return has_more;
}

static void on_connected(struct load *load, struct agent *agent)
{
	char head[512];
	int size;

	load->counts->connects++;
	wire_watch(load, agent, EPOLLIN);
	if (agent->is_http) {
		agent->phase = PHASE_TALKING;
		(void)send_full(load, agent);
		return;
	}
	agent->phase = PHASE_UPGRADING;
	size = snprintf(head, sizeof(head),
			"GET /v1/opamp HTTP/1.1\r\nHost: load\r\nUpgrade: websocket\r\n"
			"Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
			"Sec-WebSocket-Version: 13\r\nAuthorization: Bearer %s\r\n\r\n",
			token_of(load, agent));
	(void)send_all(load, agent, head, (size_t)size);
}

static void secure(struct load *load, struct agent *agent)
{
	int r = wire_secure(load, agent);

	if (r > 0)
		on_connected(load, agent);
	else if (r < 0)
		fail(load, agent, 0);
}

static void on_reached(struct load *load, struct agent *agent, uint32_t events)
{
	if ((events & EPOLLOUT) == 0 || (events & (EPOLLERR | EPOLLHUP)) != 0) {
		fail(load, agent, 0);
	} else if (load->tls) {
		agent->phase = PHASE_SECURING;
		secure(load, agent);
	} else {
		on_connected(load, agent);
	}
}

void agent_on_event(struct load *load, const struct epoll_event *event)
{
	struct agent *agent = &load->agents[event->data.u32];

	if (agent->fd < 0)
		return;
	if (agent->phase == PHASE_CONNECTING) {
		on_reached(load, agent, event->events);
	} else if (agent->phase == PHASE_SECURING) {
		secure(load, agent);
	} else {
		while (take_input(load, agent))
			;
	}
}

void agent_beat(struct load *load, struct agent *agent)
{
	if (agent->phase == PHASE_TALKING && !agent->is_waiting)
		(void)send_heartbeat(load, agent);
}
