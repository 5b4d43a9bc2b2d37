/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a host says, written down. A report carries only what changed; each part replaces what the
 * host last said there, and nothing else. What a host says is never believed to be more than that:
 * names and texts are bounded, what has no use here is left out.
 */

#include "control/fleet_report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "control/fleet_digest.h"
#include "control/fleet_private.h"
#include "control/fleet_said.h"
#include "control/status.h"
#include "manifest/manifest.h"

#define ADDONS_MAX              256U
#define ATTRIBUTES_MAX          128U
#define LABELS_MAX              64U
#define CONFIG_BODY_MAX         262144U
#define TEXT_MAX                1024U
#define LABEL_PREFIX            "affix.label."
#define REPORT_FULL             1U /* ServerToAgentFlags */
#define OFFER_AGAIN_SECONDS     30U
#define OFFER_AGAIN_MAX_SECONDS 3600U
#define RETRY_SECONDS           30U
#define DIGEST_UNKNOWN          1U /* as good as none, but not never */

/* A text of the host's for a column: not longer than TEXT_MAX. */
struct store_value fleet_bounded_text(const char *text)
{
	struct store_value value = STORE_TEXT(text);

	if (value.size > TEXT_MAX) {
		value.size = TEXT_MAX;
		/* Not in the middle of a character. */
		while (value.size > 0 && (text[value.size] & 0xc0) == 0x80)
			value.size--;
	}
	return value;
}

static struct store_value bounded_or_empty(const char *text)
{
	return fleet_bounded_text(text ? text : "");
}

static const char *find_attribute(const struct fleet_report *report, const char *key)
{
	for (size_t i = 0; i < report->n_attributes; i++) {
		if (str_equal(report->attributes[i].key, key))
			return report->attributes[i].value;
	}
	return NULL;
}

/* As bundles spell architectures. */
static const char *arch_name(const char *arch)
{
	if (str_equal(arch, "x86_64"))
		return "amd64";
	return str_equal(arch, "aarch64") ? "arm64" : arch;
}

static int put_label(struct store *store, int64_t host, const struct fleet_attribute *attribute)
{
	const char *key = attribute->key + strlen(LABEL_PREFIX);

	if (!selector_key_is_valid(key) || !attribute->value ||
	    !selector_value_is_valid(attribute->value))
		return 0;
	return store_run(store,
			 "INSERT INTO label (host, key, value) VALUES ($1, $2, $3) "
			 "ON CONFLICT (host, key) DO UPDATE SET value = excluded.value",
			 STORE_INT(host), STORE_TEXT(key), STORE_TEXT(attribute->value));
}

static int put_labels(struct store *store, int64_t host, const struct fleet_report *report)
{
	size_t n = 0;
	int r;

	r = store_run(store, "DELETE FROM label WHERE host = $1", STORE_INT(host));
	for (size_t i = 0; i < report->n_attributes && r == 0 && n < LABELS_MAX; i++) {
		const struct fleet_attribute *attribute = &report->attributes[i];

		if (attribute->identifying || !attribute->key ||
		    !str_starts_with(attribute->key, LABEL_PREFIX))
			continue;
		r = put_label(store, host, attribute);
		n++;
	}
	return r;
}

static json_t *attributes_json(const struct fleet_report *report)
{
	json_t *object = json_object();

	for (size_t i = 0; object && i < MIN(report->n_attributes, (size_t)ATTRIBUTES_MAX); i++) {
		const struct fleet_attribute *attribute = &report->attributes[i];

		if (!attribute->key || !attribute->value || strlen(attribute->key) > TEXT_MAX ||
		    strlen(attribute->value) > TEXT_MAX)
			continue;
		if (json_object_set_new(object, attribute->key, json_string(attribute->value)) <
		    0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

static int put_description(struct fleet *fleet, int64_t host, const struct fleet_report *report)
{
	cleanup_json json_t *attributes = attributes_json(report);
	cleanup_free char *text = attributes ? json_dumps(attributes, JSON_COMPACT) : NULL;
	const char *name = find_attribute(report, "host.name");
	int r;

	if (!text)
		return -ENOMEM;
	if (str_is_empty(name))
		name = find_attribute(report, "service.name");
	r = store_run(fleet->store,
		      "UPDATE host SET name = $1, os = $2, arch = $3, agent_version = $4, "
		      "agent_capabilities = $5, attributes = $6 WHERE id = $7",
		      bounded_or_empty(name), bounded_or_empty(find_attribute(report, "os.type")),
		      bounded_or_empty(arch_name(find_attribute(report, "host.arch"))),
		      bounded_or_empty(find_attribute(report, "service.version")),
		      bounded_or_empty(find_attribute(report, "affix.capabilities")),
		      STORE_TEXT(text), STORE_INT(host));
	return r == 0 ? put_labels(fleet->store, host, report) : r;
}

static int forget_health(struct store *store, int64_t host)
{
	return store_run(store,
			 "UPDATE observed SET health_ok = NULL, health_status = NULL, "
			 "health_error = NULL WHERE host = $1",
			 STORE_INT(host));
}

static int put_health(struct store *store, int64_t host, const struct fleet_report *report)
{
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < report->n_health && r == 0; i++) {
		const struct fleet_health *health = &report->health[i];

		if (str_is_empty(health->component)) {
			r = store_run(
				store,
				"UPDATE host SET healthy = $1, health_error = $2 WHERE id = $3",
				STORE_INT(health->healthy), bounded_or_empty(health->last_error),
				STORE_INT(host));
			continue;
		}
		if (!manifest_id_is_valid(health->component) || n++ >= ADDONS_MAX)
			continue;
		r = store_run(store,
			      "INSERT INTO observed (host, addon, health_ok, health_status, "
			      "health_error) VALUES ($1, $2, $3, $4, $5) "
			      "ON CONFLICT (host, addon) DO UPDATE SET "
			      "health_ok = excluded.health_ok, "
			      "health_status = excluded.health_status, "
			      "health_error = excluded.health_error",
			      STORE_INT(host), STORE_TEXT(health->component),
			      STORE_INT(health->healthy), fleet_bounded_text(health->status),
			      str_is_empty(health->last_error)
				      ? STORE_NULL
				      : fleet_bounded_text(health->last_error));
	}
	return r;
}

static struct store_value hash_value(const struct fleet_bytes *hash)
{
	return STORE_BLOB(hash->data, MIN(hash->size, (size_t)64));
}

static int put_package(struct store *store, int64_t host,
		       const struct fleet_package_status *package)
{
	return store_run(
		store,
		"INSERT INTO observed (host, addon, package_version, package_hash, "
		"package_offered, package_offered_hash, package_status, package_error) "
		"VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (host, addon) DO UPDATE SET "
		"package_version = excluded.package_version, "
		"package_hash = excluded.package_hash, "
		"package_offered = excluded.package_offered, "
		"package_offered_hash = excluded.package_offered_hash, "
		"package_status = excluded.package_status, "
		"package_error = excluded.package_error",
		STORE_INT(host), STORE_TEXT(package->name), bounded_or_empty(package->has_version),
		hash_value(&package->has_hash), bounded_or_empty(package->offered_version),
		hash_value(&package->offered_hash), STORE_INT(package->status),
		str_is_empty(package->error) ? STORE_NULL : fleet_bounded_text(package->error));
}

static int forget_packages(struct store *store, int64_t host)
{
	return store_run(store,
			 "UPDATE observed SET package_version = NULL, package_hash = NULL, "
			 "package_offered = NULL, package_offered_hash = NULL, "
			 "package_status = NULL, package_error = NULL WHERE host = $1",
			 STORE_INT(host));
}

static int put_packages(struct store *store, int64_t host, const struct fleet_report *report)
{
	size_t n = 0;
	int r = 0;

	for (size_t i = 0; i < report->n_packages && r == 0; i++) {
		const struct fleet_package_status *package = &report->packages[i];

		if (package->name && manifest_id_is_valid(package->name) && n++ < ADDONS_MAX)
			r = put_package(store, host, package);
	}
	return r;
}

static int put_effective(struct store *store, int64_t host, const struct fleet_report *report)
{
	int r;

	r = store_run(store, "DELETE FROM effective_config WHERE host = $1", STORE_INT(host));
	for (size_t i = 0; i < report->n_effective_config && i < ADDONS_MAX && r == 0; i++) {
		const struct fleet_config_entry *entry = &report->effective_config[i];

		if (!entry->name || entry->body.size > CONFIG_BODY_MAX ||
		    !str_is_utf8(entry->body.data, entry->body.size))
			continue;
		r = store_run(store,
			      "INSERT INTO effective_config (host, name, content_type, body) "
			      "VALUES ($1, $2, $3, $4) ON CONFLICT (host, name) DO NOTHING",
			      STORE_INT(host), fleet_bounded_text(entry->name),
			      bounded_or_empty(entry->content_type),
			      (struct store_value){.type = STORE_VALUE_TEXT,
						   .data = entry->body.data ? entry->body.data : "",
						   .size = entry->body.size});
	}
	return r;
}

static int put_config_status(struct store *store, int64_t host, const struct fleet_report *report)
{
	return store_run(store,
			 "UPDATE host SET config_hash = $1, config_status = $2, config_error = $3 "
			 "WHERE id = $4",
			 hash_value(&report->config_hash), STORE_INT(report->config_status),
			 bounded_or_empty(report->config_error), STORE_INT(host));
}

static int update_row(struct store *store, int64_t host, struct store_rows *rows, uint64_t now)
{
	const struct status_report report = {
		.said_state = store_text(rows, 3),
		.said_version = store_text(rows, 4),
		.has_health = !store_is_null(rows, 5),
		.is_healthy = store_int(rows, 5) != 0,
		.health_status = store_text(rows, 6),
		.has_package = !store_is_null(rows, 7),
		.package_status = (unsigned)store_int(rows, 7),
		.package_version = store_text(rows, 8),
	};
	const char *state = status_state_to_string(status_resolve(&report));
	const char *running = report.said_version ? report.said_version : report.package_version;

	running = running ? running : "";
	if (str_equal(store_text(rows, 1), state) && str_equal(store_text(rows, 2), running))
		return 0;
	return store_run(store,
			 "UPDATE observed SET state = $1, running = $2, state_since = $3 "
			 "WHERE host = $4 AND addon = $5",
			 STORE_TEXT(state), STORE_TEXT(running), STORE_INT(now), STORE_INT(host),
			 STORE_TEXT(store_text(rows, 0)));
}

/* What no place speaks of any more. */
static int remove_unsaid(struct store *store, int64_t host)
{
	return store_run(store,
			 "DELETE FROM observed WHERE host = $1 AND said_restarts IS NULL AND "
			 "health_ok IS NULL AND package_status IS NULL",
			 STORE_INT(host));
}

/* What follows from all the places. */
static int update_states(struct fleet *fleet, int64_t host)
{
	cleanup_rows struct store_rows *rows = NULL;
	uint64_t now = fleet_now(fleet);
	bool row = false;
	int r;

	r = store_select(fleet->store, &rows,
			 "SELECT addon, state, running, said_state, said_version, "
			 "health_ok, health_status, package_status, package_version "
			 "FROM observed WHERE host = $1",
			 STORE_INT(host));
	while (r == 0) {
		r = store_next(rows, &row);
		if (r != 0 || !row)
			return r;
		r = update_row(fleet->store, host, rows, now);
	}
	return r;
}

/* Away with what was said before of add-ons, where anything was. */
static int forget_part(struct store *store, int64_t host, enum fleet_part part)
{
	switch (part) {
	case FLEET_PART_HEALTH:
		return forget_health(store, host);
	case FLEET_PART_PACKAGES:
		return forget_packages(store, host);
	default:
		/* It has tables of its own, or does so itself. */
		return 0;
	}
}

static int put_part(struct fleet *fleet, int64_t host, const struct fleet_report *report,
		    enum fleet_part part)
{
	switch (part) {
	case FLEET_PART_DESCRIPTION:
		return put_description(fleet, host, report);
	case FLEET_PART_HEALTH:
		return put_health(fleet->store, host, report);
	case FLEET_PART_PACKAGES:
		return put_packages(fleet->store, host, report);
	case FLEET_PART_CUSTOM:
		return fleet_said_put(fleet->store, host, report);
	case FLEET_PART_EFFECTIVE_CONFIG:
		return put_effective(fleet->store, host, report);
	case FLEET_PART_CONFIG_STATUS:
		return put_config_status(fleet->store, host, report);
	case FLEET_PART_N:
	default:
		return 0;
	}
}

static int load_digests(struct store *store, int64_t host, struct fleet_digests *ret)
{
	cleanup_rows struct store_rows *rows = NULL;
	const void *data;
	size_t size = 0;
	bool row = false;
	int r;

	r = store_select(store, &rows, "SELECT digests FROM host WHERE id = $1", STORE_INT(host));
	if (r == 0)
		r = store_next(rows, &row);
	if (r != 0 || !row)
		return r;
	data = store_blob(rows, 0, &size);
	if (size == sizeof(*ret))
		memcpy(ret, data, sizeof(*ret));
	/* Of another kind: all was said, and nobody knows what. */
	for (unsigned i = 0; size > 0 && size != sizeof(*ret) && i < FLEET_PART_N; i++)
		ret->parts[i] = DIGEST_UNKNOWN;
	return 0;
}

/* When the host was seen is written now and then only, not with every word (fleet_session.c). */
static int put_digests(struct store *store, int64_t host, const struct fleet_report *report,
		       const struct fleet_digests *digests)
{
	if (!report->has_packages)
		return store_run(store, "UPDATE host SET digests = $1 WHERE id = $2",
				 STORE_BLOB(digests, sizeof(*digests)), STORE_INT(host));
	return store_run(store,
			 "UPDATE host SET digests = $1, packages_hash = $2, packages_error = $3 "
			 "WHERE id = $4",
			 STORE_BLOB(digests, sizeof(*digests)), hash_value(&report->packages_hash),
			 bounded_or_empty(report->packages_error), STORE_INT(host));
}

static bool is_of_addons(enum fleet_part part)
{
	return part == FLEET_PART_HEALTH || part == FLEET_PART_PACKAGES ||
	       part == FLEET_PART_CUSTOM;
}

/* Writes the parts that are news: digests in *fresh* that are others than those in *known*. */
static int put_parts(struct fleet *fleet, int64_t host, const struct fleet_report *report,
		     const struct fleet_digests *known, const struct fleet_digests *fresh)
{
	bool may_be_unsaid = false;
	bool is_state = false;
	int r = 0;

	for (unsigned i = 0; i < FLEET_PART_N && r == 0; i++) {
		if (fresh->parts[i] == known->parts[i])
			continue;
		is_state = is_state || is_of_addons(i);
		may_be_unsaid = may_be_unsaid || (is_of_addons(i) && known->parts[i] != 0);
		if (known->parts[i] != 0)
			r = forget_part(fleet->store, host, i);
		if (r == 0)
			r = put_part(fleet, host, report, i);
	}
	if (r == 0 && may_be_unsaid)
		r = remove_unsaid(fleet->store, host);
	if (r == 0 && is_state)
		r = update_states(fleet, host);
	return r == 0 ? put_digests(fleet->store, host, report, fresh) : r;
}

static int take_report(struct fleet *fleet, const struct fleet_session *session,
		       const struct fleet_report *report)
{
	struct fleet_digests known = {0};
	struct fleet_digests fresh;
	int r;

	r = load_digests(fleet->store, session->host, &known);
	if (r != 0)
		return r;
	fresh = known;
	for (unsigned i = 0; i < FLEET_PART_N; i++) {
		if (fleet_part_is_present(report, i))
			fresh.parts[i] = fleet_part_digest(report, i);
	}
	if (memcmp(&known, &fresh, sizeof(known)) == 0)
		return 0;
	r = store_mark(fleet->store);
	if (r != 0)
		return r;
	r = put_parts(fleet, session->host, report, &known, &fresh);
	if (r == 0)
		r = store_keep(fleet->store);
	if (r != 0)
		store_undo(fleet->store);
	return r > 0 ? -EIO : r;
}

/* An agent that names another offer than ours has lost it, or its URLs, or wants to hear it again.
 * It says so once, as only what changed is said. */
static void heed_named_offer(struct fleet_session *session, const struct fleet_bytes *hash)
{
	session->names_other_offer =
		session->has_packages &&
		(hash->size != FLEET_HASH_SIZE ||
		 memcmp(hash->data, session->packages_hash, FLEET_HASH_SIZE) != 0);
	if (!session->names_other_offer && session->has_packages)
		session->offer_again_seconds = 0;
}

/* Less and less often, or one that never names an offer would be offered things in a circle. */
bool fleet_forget_other_offer(struct fleet_session *session)
{
	if (!session->names_other_offer ||
	    session->last_seen < session->offered_again + session->offer_again_seconds)
		return false;
	session->has_packages = false;
	session->offered_again = session->last_seen;
	session->offer_again_seconds =
		session->offer_again_seconds == 0
			? OFFER_AGAIN_SECONDS
			: MIN(session->offer_again_seconds * 2, OFFER_AGAIN_MAX_SECONDS);
	return true;
}

/* Whether everything is to be said again. */
static uint64_t choose_flags(const struct fleet_session *session, const struct fleet_report *report)
{
	bool is_behind = session->has_described && report->sequence <= session->sequence;
	/* Who leaves need not tell everything first. */
	bool is_unknown =
		!session->has_described && !report->has_description && !report->disconnect;

	return report->is_after_gap || is_behind || is_unknown ? REPORT_FULL : 0;
}

int fleet_report(struct fleet *fleet, const struct fleet_report *report)
{
	struct fleet_session *session = fleet_session_find(fleet, report->connection);
	bool is_rival = false;
	uint64_t flags;
	int r;

	fleet->counters.reports++;
	if (!session)
		return fleet_say_refusal(fleet, report->connection, 401, 0);
	r = fleet_turn_away(fleet, session, report, &is_rival);
	if (r != 0 || is_rival)
		return r;
	session->last_seen = fleet_now(fleet);
	if (session->capabilities != (uint32_t)report->capabilities)
		session->is_settled = false;
	session->capabilities = (uint32_t)report->capabilities;
	flags = choose_flags(session, report);
	if (report->has_description) {
		session->has_described = true;
		session->is_settled = false;
	}
	r = take_report(fleet, session, report);
	if (r == 0) {
		session->sequence = report->sequence;
		if (report->has_packages)
			heed_named_offer(session, &report->packages_hash);
		ignore_result(fleet_forget_other_offer(session));
		r = fleet_offer(fleet, session, true, flags);
	}
	if (r != 0)
		ignore_result(fleet_say_refusal(fleet, report->connection, 503, RETRY_SECONDS));
	if (r != 0 || report->disconnect)
		fleet_session_end(fleet, session);
	return r;
}
