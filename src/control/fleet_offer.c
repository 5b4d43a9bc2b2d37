/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a host gets, as one ServerToAgent: packages with signed URLs, configurations, and under the
 * reserved name `affix` what OpAMP has no word for. It is made anew whenever it may have changed,
 * and said only if it did: two digests of what was said last are all that is kept of it.
 *
 * Digests are over what matters to the host, not over URLs, which are other ones each time.
 */

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "control/fleet_private.h"
#include "control/package_url.h"
#include "opamp/server.h"

/* ServerCapabilities: status, remote configuration, effective configuration, packages and their
 * status, connection settings. */
#define SERVER_CAPABILITIES 0x3fU
#define OWN_CONFIG          "affix"
#define CONTENT_TYPE        "application/json"

/* An offer while it is made; the lists have one place per choice, the last config is our own. */
struct draft {
	struct assign_choice *choices;
	size_t n_choices;
	struct opamp_package *packages;
	size_t n_packages;
	struct opamp_config *configs;
	size_t n_configs;
	uint8_t (*hashes)[FLEET_HASH_SIZE]; /* of the packages */
	struct strv urls;
	json_t *own;
	char *own_text;
	uint8_t packages_hash[FLEET_HASH_SIZE];
	uint8_t config_hash[FLEET_HASH_SIZE];
	bool hangs_on_running;
};

static void draft_done(struct draft *draft)
{
	free(draft->choices);
	free(draft->packages);
	free(draft->configs);
	free(draft->hashes);
	strv_done(&draft->urls);
	json_decref(draft->own);
	free(draft->own_text);
}

/* With its length, so that no two sequences of pieces are the same bytes. */
static void hash_piece(crypto_hash_sha256_state *state, const void *data, size_t size)
{
	uint64_t length = size;

	(void)crypto_hash_sha256_update(state, (const unsigned char *)&length, sizeof(length));
	(void)crypto_hash_sha256_update(state, data, size);
}

static void hash_text(crypto_hash_sha256_state *state, const char *text)
{
	hash_piece(state, text, text ? strlen(text) : 0);
}

/* The Linux capabilities that approval and assignment leave; NULL: all of the manifest's. */
static int add_capabilities(json_t *object, const struct assign_choice *choice)
{
	const struct assign_package *package = choice->package;
	const struct assignment *assignment = choice->assignment;
	const struct strv *base =
		package->is_narrowed ? &package->capabilities : &assignment->capabilities;
	json_t *list;

	if (!package->is_narrowed && !assignment->is_narrowed)
		return 0;
	list = json_array();
	for (size_t i = 0; list && i < base->count; i++) {
		if (assignment->is_narrowed && !strv_has(&assignment->capabilities, base->items[i]))
			continue;
		if (json_append(list, json_string(base->items[i])) < 0) {
			json_decref(list);
			return -ENOMEM;
		}
	}
	return json_add(object, "capabilities", list);
}

static int own_entry(const struct assign_choice *choice, json_t **ret)
{
	cleanup_json json_t *object = json_object();
	bool is_offered = assign_is_offered(choice);
	int r;

	if (!object)
		return -ENOMEM;
	r = json_add(object, "enabled", json_boolean(is_offered));
	if (r == 0 && is_offered)
		r = add_capabilities(object, choice);
	if (r == 0 && is_offered && choice->assignment->limits)
		r = json_add(object, "limits", json_loads(choice->assignment->limits, 0, NULL));
	if (r == 0 && choice->is_revoked)
		r = json_add(object, "revoked", json_true());
	if (r == 0)
		*ret = TAKE_PTR(object);
	return r;
}

/* The digest that stands for one package: the bundle, and how its grants are narrowed. */
static int hash_package(const struct assign_choice *choice, const json_t *own,
			uint8_t ret[FLEET_HASH_SIZE])
{
	cleanup_free char *narrowing = json_to_canonical(own);
	crypto_hash_sha256_state state;

	if (!narrowing)
		return -ENOMEM;
	(void)crypto_hash_sha256_init(&state);
	hash_piece(&state, choice->artifact->digest, sizeof(choice->artifact->digest));
	hash_text(&state, narrowing);
	(void)crypto_hash_sha256_final(&state, ret);
	return 0;
}

/* What download URLs of a host begin with: what the operator says, else as it reached us. */
static const char *base_url(const struct fleet *fleet, int64_t host)
{
	const struct fleet_session *session = fleet_session_of_host(fleet, host);

	if (*fleet->public_url != '\0' || !session || !session->base_url)
		return fleet->public_url;
	return session->base_url;
}

static int add_package(struct fleet *fleet, int64_t host, const struct assign_choice *choice,
		       const json_t *own, struct draft *draft)
{
	struct opamp_package *package = &draft->packages[draft->n_packages];
	uint8_t *hash = draft->hashes[draft->n_packages];
	cleanup_free char *url = NULL;
	struct package_url what = {
		.host = (uint64_t)host,
		.expires = fleet_now(fleet) + fleet->options.url_seconds,
	};
	int r;

	memcpy(what.sha256, choice->artifact->sha256, PACKAGE_SHA256_TEXT);
	r = package_url_format(fleet->url_key, base_url(fleet, host), &what, &url);
	if (r == 0)
		r = hash_package(choice, own, hash);
	if (r == 0)
		r = strv_add(&draft->urls, url);
	if (r < 0)
		return r;
	*package = (struct opamp_package){
		.name = choice->assignment->addon,
		.version = choice->version,
		.url = draft->urls.items[draft->urls.count - 1],
		.content_hash = {choice->artifact->digest,    sizeof(choice->artifact->digest)   },
		.signature = {choice->artifact->signature, strlen(choice->artifact->signature)},
		.hash = {hash,                        FLEET_HASH_SIZE                    },
	};
	draft->n_packages++;
	return 0;
}

static void add_config(struct draft *draft, const char *name, const char *body)
{
	draft->configs[draft->n_configs++] = (struct opamp_config){
		.name = name, .content_type = CONTENT_TYPE, .body = {body, strlen(body)}
        };
}

static int add_choice(struct fleet *fleet, int64_t host, const struct assign_choice *choice,
		      struct draft *draft)
{
	json_t *addons = json_object_get(draft->own, "addons");
	json_t *own = NULL;
	int r;

	draft->hangs_on_running = draft->hangs_on_running || choice->hangs_on_running;
	if (!assign_is_offered(choice) && choice->verdict != ASSIGN_DISABLED)
		return 0;
	r = own_entry(choice, &own);
	if (r < 0)
		return r;
	r = json_add(addons, choice->assignment->addon, own);
	if (r < 0 || !assign_is_offered(choice))
		return r;
	if (assign_config(choice))
		add_config(draft, choice->assignment->addon, assign_config(choice));
	return add_package(fleet, host, choice, own, draft);
}

static void hash_packages(struct draft *draft)
{
	crypto_hash_sha256_state state;

	(void)crypto_hash_sha256_init(&state);
	for (size_t i = 0; i < draft->n_packages; i++) {
		const struct opamp_package *package = &draft->packages[i];

		hash_text(&state, package->name);
		hash_text(&state, package->version);
		hash_piece(&state, package->hash.data, package->hash.size);
	}
	(void)crypto_hash_sha256_final(&state, draft->packages_hash);
}

static void hash_configs(struct draft *draft)
{
	crypto_hash_sha256_state state;

	(void)crypto_hash_sha256_init(&state);
	for (size_t i = 0; i < draft->n_configs; i++) {
		const struct opamp_config *config = &draft->configs[i];

		hash_text(&state, config->name);
		hash_piece(&state, config->body.data, config->body.size);
	}
	(void)crypto_hash_sha256_final(&state, draft->config_hash);
}

/* An operator's word that this very offer may remove most of what a host has. */
static int add_confirmation(struct fleet *fleet, int64_t host, struct draft *draft)
{
	json_t *list = NULL;
	int r;

	r = fleet_removal_load(fleet, host, draft->packages_hash, &list);
	return r == 0 && list ? json_add(draft->own, "confirm_removal", list) : r;
}

static int make_draft(struct fleet *fleet, int64_t host_id, struct draft *draft)
{
	cleanup_assign_host struct assign_host host = ASSIGN_HOST_INIT;
	const struct assign_catalog *catalog = NULL;
	int r;

	r = fleet_catalog(fleet, &catalog);
	if (r == 0)
		r = assign_host_load(fleet->store, host_id, &host);
	if (r == 0)
		r = assign_decide(catalog, fleet->store, &host, &draft->choices, &draft->n_choices);
	if (r != 0)
		return r;
	draft->packages = calloc(draft->n_choices + 1, sizeof(*draft->packages));
	draft->configs = calloc(draft->n_choices + 1, sizeof(*draft->configs));
	draft->hashes = calloc(draft->n_choices + 1, sizeof(*draft->hashes));
	draft->own = json_pack("{s:i, s:{}}", "schema", 1, "addons");
	if (!draft->packages || !draft->configs || !draft->hashes || !draft->own)
		return -ENOMEM;
	for (size_t i = 0; i < draft->n_choices && r == 0; i++)
		r = add_choice(fleet, host_id, &draft->choices[i], draft);
	if (r == 0) {
		hash_packages(draft);
		r = host.has_confirmed ? add_confirmation(fleet, host_id, draft) : 0;
	}
	if (r != 0)
		return r;
	draft->own_text = json_to_canonical(draft->own);
	if (!draft->own_text)
		return -ENOMEM;
	add_config(draft, OWN_CONFIG, draft->own_text);
	hash_configs(draft);
	return 0;
}

/* Puts what is new of the draft into the message. */
static void fill_offer(const struct fleet_session *session, const struct draft *draft,
		       struct opamp_offer *offer)
{
	if ((session->capabilities & FLEET_AGENT_TAKES_PACKAGES) &&
	    (!session->has_packages ||
	     memcmp(session->packages_hash, draft->packages_hash, FLEET_HASH_SIZE) != 0)) {
		offer->has_packages = true;
		offer->packages = draft->packages;
		offer->n_packages = draft->n_packages;
		offer->all_packages_hash =
			(struct opamp_bytes){draft->packages_hash, FLEET_HASH_SIZE};
	}
	if ((session->capabilities & FLEET_AGENT_TAKES_CONFIG) &&
	    (!session->has_config ||
	     memcmp(session->config_hash, draft->config_hash, FLEET_HASH_SIZE) != 0)) {
		offer->has_config = true;
		offer->configs = draft->configs;
		offer->n_configs = draft->n_configs;
		offer->config_hash = (struct opamp_bytes){draft->config_hash, FLEET_HASH_SIZE};
	}
}

static void remember(struct fleet *fleet, struct fleet_session *session, const struct draft *draft,
		     const struct opamp_offer *offer)
{
	if (offer->has_packages) {
		memcpy(session->packages_hash, draft->packages_hash, FLEET_HASH_SIZE);
		session->has_packages = true;
	}
	if (offer->has_config) {
		memcpy(session->config_hash, draft->config_hash, FLEET_HASH_SIZE);
		session->has_config = true;
	}
	session->generation = fleet->generation;
}

static int say_offer(struct fleet *fleet, struct fleet_session *session,
		     const struct opamp_offer *offer)
{
	uint8_t *data = NULL;
	size_t size = 0;
	int r;

	r = opamp_offer_compose(offer, 0, &data, &size);
	return r == 0 ? fleet_say(fleet, session->connection, data, size, false) : r;
}

static void hash_settings(const struct opamp_settings *settings,
			  uint8_t hash[crypto_hash_sha256_BYTES])
{
	crypto_hash_sha256_state state;

	(void)crypto_hash_sha256_init(&state);
	hash_text(&state, settings->authorization);
	hash_piece(&state, &settings->heartbeat_seconds, sizeof(settings->heartbeat_seconds));
	(void)crypto_hash_sha256_final(&state, hash);
}

/* The credential goes with the first answer only: afterwards the host comes with it, or says again
 * that it has none. How often to poll goes with the first answer of each connection. */
static int say_with_settings(struct fleet *fleet, struct fleet_session *session, bool is_first,
			     struct opamp_offer *offer)
{
	cleanup_free char *header = NULL;
	uint8_t hash[crypto_hash_sha256_BYTES];
	struct opamp_settings settings = {
		.hash = {hash, sizeof(hash)},
		.heartbeat_seconds = session->is_polling ? fleet->options.poll_seconds
							 : fleet->options.heartbeat_seconds,
	};
	bool is_wanted = session->credential || (is_first && session->is_polling);
	int r;

	if (!is_wanted || !(session->capabilities & FLEET_AGENT_TAKES_SETTINGS))
		return say_offer(fleet, session, offer);
	r = session->credential ? str_format(&header, "Bearer %s", session->credential) : 0;
	if (r < 0)
		return r;
	settings.authorization = header;
	hash_settings(&settings, hash);
	offer->settings = &settings;
	r = say_offer(fleet, session, offer);
	offer->settings = NULL;
	if (!header)
		return r;
	sodium_memzero(header, strlen(header));
	sodium_memzero(session->credential, strlen(session->credential));
	free(session->credential);
	session->credential = NULL;
	return r;
}

int fleet_offer_hash(struct fleet *fleet, int64_t host, uint8_t ret[FLEET_HASH_SIZE])
{
	__attribute__((cleanup(draft_done))) struct draft draft = {0};
	int r;

	r = make_draft(fleet, host, &draft);
	if (r == 0)
		memcpy(ret, draft.packages_hash, FLEET_HASH_SIZE);
	return r;
}

/* Whether the offer would be the one that it has: most reports say what came of that. */
static bool has_it(const struct fleet *fleet, const struct fleet_session *session)
{
	return session->is_settled && session->generation == fleet->generation &&
	       (session->has_packages || !(session->capabilities & FLEET_AGENT_TAKES_PACKAGES)) &&
	       (session->has_config || !(session->capabilities & FLEET_AGENT_TAKES_CONFIG));
}

int fleet_offer(struct fleet *fleet, struct fleet_session *session, bool is_answer, uint64_t flags)
{
	static const char *const custom_capabilities[] = {"io.affix.status"};
	__attribute__((cleanup(draft_done))) struct draft draft = {0};
	struct opamp_offer offer = {
		.uid = {session->uid, FLEET_UID_SIZE},
		.flags = flags,
		.capabilities = is_answer ? SERVER_CAPABILITIES : 0,
	};
	bool is_first = is_answer && !session->has_greeted;
	int r;

	if (session->has_described && !has_it(fleet, session)) {
		r = make_draft(fleet, session->host, &draft);
		if (r != 0)
			return r > 0 ? -EIO : r;
		fill_offer(session, &draft, &offer);
		session->is_settled = !draft.hangs_on_running;
	}
	if (is_first) {
		session->has_greeted = true;
		offer.custom_capabilities = custom_capabilities;
		offer.n_custom_capabilities = ARRAY_SIZE(custom_capabilities);
	}
	if (!is_answer && !offer.has_packages && !offer.has_config) {
		session->generation = fleet->generation;
		return 0;
	}
	r = say_with_settings(fleet, session, is_first, &offer);
	if (r == 0)
		remember(fleet, session, &draft, &offer);
	return r;
}
