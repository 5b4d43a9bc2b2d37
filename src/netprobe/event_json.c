/* SPDX-License-Identifier: Apache-2.0 */

/* Events as JSON lines, for `watch` and the others: a reader finds the names of the wire. */

#include "netprobe/event_json.h"

#include <inttypes.h>

#include "base/json.h"
#include "netprobe/event.h"
#include "netprobe/wall.h"

static int add_text(json_t *json, const char *key, const char *text)
{
	return text[0] == '\0' ? 0 : json_add_string(json, key, text);
}

/* One that JSON's numbers have no room for, which nothing real counts, does not end a listing. */
static int add_number(json_t *json, const char *key, uint64_t value)
{
	return json_add_uint(json, key, MIN(value, (uint64_t)INT64_MAX));
}

static int add_time(json_t *json, const char *key, int64_t ns)
{
	char text[WALL_TEXT_SIZE];

	if (ns == 0)
		return 0;
	wall_format(ns, text);
	return json_add_string(json, key, text);
}

/* As text: JSON's numbers end at 2^53 for many readers. */
static int add_cookie(json_t *json, uint64_t cookie)
{
	char text[32];

	if (cookie == 0)
		return 0;
	(void)snprintf(text, sizeof(text), "%" PRIu64, cookie);
	return json_add_string(json, "socket_cookie", text);
}

static int add_ends(json_t *json, const Netprobe__FlowAttributionEvent *event)
{
	int r = add_text(json, "transport_protocol", event->transport_protocol);

	if (r == 0)
		r = add_text(json, "local_ip", event->local_ip);
	if (r == 0)
		r = add_number(json, "local_port", event->local_port);
	if (r == 0 && !event->listener)
		r = add_text(json, "remote_ip", event->remote_ip);
	if (r == 0 && !event->listener)
		r = add_number(json, "remote_port", event->remote_port);
	if (r == 0 && event->inbound)
		r = json_add(json, "inbound", json_true());
	if (r == 0 && event->listener)
		r = json_add(json, "listener", json_true());
	return r;
}

static int add_owner(json_t *json, const Netprobe__FlowAttributionEvent *event)
{
	json_t *words;
	int r;

	if (event->tgid == 0)
		return 0;
	r = add_number(json, "pid", event->pid);
	if (r == 0)
		r = add_number(json, "tgid", event->tgid);
	if (r == 0)
		r = add_number(json, "uid", event->uid);
	if (r == 0)
		r = add_number(json, "gid", event->gid);
	if (r == 0)
		r = add_text(json, "comm", event->comm);
	if (r == 0)
		r = add_text(json, "container_id", event->container_id);
	if (r < 0 || event->n_redacted_cmdline == 0)
		return r;
	words = json_array();
	for (size_t i = 0; words && r == 0 && i < event->n_redacted_cmdline; i++)
		r = json_append(words, json_string(event->redacted_cmdline[i]));
	return r < 0 ? r : json_add(json, "redacted_cmdline", words);
}

static int add_counts(json_t *json, const Netprobe__FlowAttributionEvent *event)
{
	int r = 0;

	if (event->listener)
		return 0;
	r = add_number(json, "bytes_sent", event->bytes_sent);
	if (r == 0)
		r = add_number(json, "bytes_received", event->bytes_received);
	if (r == 0)
		r = add_number(json, "packets_sent", event->packets_sent);
	if (r == 0)
		r = add_number(json, "packets_received", event->packets_received);
	if (r == 0)
		r = add_number(json, "retransmits", event->retransmits);
	return r;
}

static int add_rest(json_t *json, const Netprobe__FlowAttributionEvent *event)
{
	int r = add_time(json, "started", event->started_unix_nano);

	if (r == 0)
		r = add_time(json, "ended", event->ended_unix_nano);
	if (r == 0)
		r = add_text(json, "end_reason", event->end_reason);
	if (r == 0 && event->network_namespace != 0)
		r = add_number(json, "network_namespace", event->network_namespace);
	if (r == 0)
		r = add_cookie(json, event->socket_address);
	if (r == 0 && event->external_flow_id != 0)
		r = add_number(json, "external_flow_id", event->external_flow_id);
	return r == 0 ? add_text(json, "source", event->source) : r;
}

static int add_all(json_t *json, const Netprobe__FlowAttributionEvent *event)
{
	int r = add_ends(json, event);

	if (r == 0)
		r = add_owner(json, event);
	if (r == 0)
		r = add_counts(json, event);
	return r == 0 ? add_rest(json, event) : r;
}

json_t *event_json_flow(const Netprobe__FlowAttributionEvent *event)
{
	cleanup_json json_t *json = json_object();

	return json && add_all(json, event) == 0 ? TAKE_PTR(json) : NULL;
}

json_t *event_json(const Netprobe__FlowAttributionEvent *event)
{
	cleanup_json json_t *json = json_object();

	if (!json || add_time(json, "time", event->observed_at_unix_nano) < 0 ||
	    json_add_string(json, "event", event_kind_name(event->event_kind)) < 0 ||
	    add_all(json, event) < 0)
		return NULL;
	return TAKE_PTR(json);
}
