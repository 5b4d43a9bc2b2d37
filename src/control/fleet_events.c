/* SPDX-License-Identifier: Apache-2.0 */

/*
 * How many events add-ons sent, as hosts count them: {KIND: COUNT}. A host counts from its agent's
 * start, monitoring wants what only grows: what a host says is held against what it said before,
 * and the difference is added to a total. Kinds are those of the protocol and add-ons those that
 * were imported, so that no host makes labels up.
 */

#include <addon_frame.pb-c.h>
#include <stdlib.h>

#include "base/str.h"
#include "control/fleet_said.h"

#define KIND_OTHER "other"
#define KINDS_MAX  32U
#define COUNT_MAX  (1LL << 53) /* as JSON has numbers everywhere */

static bool is_kind(const char *kind)
{
	return str_equal(kind, KIND_OTHER) ||
	       protobuf_c_message_descriptor_get_field_by_name(&addon__frame__descriptor, kind);
}

/* A total that is beyond all use stays as it is. */
static int add(struct store *store, const char *addon, const char *kind, int64_t more)
{
	return store_run(store,
			 "INSERT INTO addon_event_total (addon, kind, count) VALUES ($1, $2, $3) "
			 "ON CONFLICT (addon, kind) DO UPDATE SET count = "
			 "CASE WHEN addon_event_total.count < 4611686018427387904 "
			 "THEN addon_event_total.count + excluded.count "
			 "ELSE addon_event_total.count END",
			 STORE_TEXT(addon), STORE_TEXT(kind), STORE_INT(more));
}

static int put_count(struct store *store, int64_t host, const char *addon, const char *kind,
		     int64_t count)
{
	int64_t before = 0;
	int r;

	r = store_number(
		store, &before, 0,
		"SELECT count FROM addon_event WHERE host = $1 AND addon = $2 AND kind = $3",
		STORE_INT(host), STORE_TEXT(addon), STORE_TEXT(kind));
	if (r != 0 || count == before)
		return r;
	r = store_run(store,
		      "INSERT INTO addon_event (host, addon, kind, count) VALUES ($1, $2, $3, $4) "
		      "ON CONFLICT (host, addon, kind) DO UPDATE SET count = excluded.count",
		      STORE_INT(host), STORE_TEXT(addon), STORE_TEXT(kind), STORE_INT(count));
	/* Fewer than before: it began to count anew. */
	return r == 0 ? add(store, addon, kind, count > before ? count - before : count) : r;
}

int fleet_events_put(struct store *store, int64_t host, const char *addon, const json_t *events)
{
	const json_t *value;
	const char *kind;
	int64_t known = 0;
	int r;

	if (!json_is_object(events) || json_object_size(events) > KINDS_MAX)
		return 0;
	r = store_number(store, &known, 0, "SELECT count(*) FROM package WHERE addon = $1",
			 STORE_TEXT(addon));
	if (r != 0 || known == 0)
		return r;
	json_object_foreach((json_t *)events, kind, value)
	{
		int64_t count = json_integer_value(value);

		if (r == 0 && count > 0 && count <= COUNT_MAX && is_kind(kind))
			r = put_count(store, host, addon, kind, count);
	}
	return r;
}
