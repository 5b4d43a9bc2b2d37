/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The decision what to do next, as a function of what is wanted, what the host is, what was tried
 * and how late it is. It is asked again whenever any of these changes and keeps nothing of its own,
 * so that no lost event can leave a host behind. Removal is slow on purpose: a server that is
 * wrong, new, restored from a backup or hostile unassigns everything at once, and its operator
 * needs the time to notice.
 */

#include "agent/reconcile.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "manifest/version.h"

#define CONNECTIONS_WANTED 2U
#define BACKOFF_FIRST      30U
#define BACKOFF_MAX        3600U
#define BACKOFF_DOUBLINGS  7U
#define JITTER_PARTS       4U
#define RETRY_AFTER_MAX    86400U

void reconcile_result_done(struct reconcile_result *result)
{
	free(result->steps);
	*result = RECONCILE_RESULT_INIT;
}

static void set_step(struct step *step, enum step_kind kind, const char *name, const char *reason)
{
	step->kind = kind;
	(void)snprintf(step->name, sizeof(step->name), "%s", name);
	(void)snprintf(step->reason, sizeof(step->reason), "%s", reason);
}

static void wake_in(struct reconcile_result *result, uint64_t seconds)
{
	result->wake = MIN(result->wake, seconds);
}

/* Whether the fleet does not want it to be there any more. */
static bool is_unwanted(const struct wanted *wanted)
{
	if (!wanted)
		return true;
	if (wanted->is_forced)
		return false;
	return !wanted->is_offered || !wanted->is_enabled;
}

static bool is_removable(const struct host_addon *addon)
{
	return addon->is_installed && !addon->is_local;
}

/* How many of the fleet's add-ons are here, and how many of them the offer does without. */
struct census {
	size_t installed;
	size_t missing;
	bool is_mass;
};

static struct census take_census(const struct reconcile_input *input)
{
	struct census census = {0};

	for (size_t i = 0; i < input->host->count; i++) {
		const struct host_addon *addon = &input->host->items[i];
		const struct wanted *wanted = desired_find(input->desired, addon->id);

		if (!is_removable(addon))
			continue;
		census.installed++;
		/* What the administrator switches off is not the server's doing. */
		if (is_unwanted(wanted) && !(wanted && wanted->is_switched_off))
			census.missing++;
	}
	census.is_mass = census.installed >= 2 && census.missing * 2 > census.installed;
	return census;
}

/* Counts time and connections of an offer that does without the add-on. */
static void count_missing(const struct reconcile_input *input, struct memory_addon *memory)
{
	if (!memory->is_missing) {
		memory->is_missing = true;
		memory->missing_seconds = 0;
		memory->missing_connections = 0;
		memory->missing_connection = 0;
	} else {
		memory->missing_seconds += input->elapsed;
	}
	if (input->connection != 0 && input->connection != memory->missing_connection) {
		memory->missing_connection = input->connection;
		memory->missing_connections++;
	}
}

static void remove_step(const struct reconcile_input *input, const struct census *census,
			const struct memory_addon *memory, struct step *step,
			struct reconcile_result *result)
{
	uint64_t delay = input->policy->removal_delay;
	bool is_heeded = !input->policy->ignores_confirmation;
	bool is_confirmed = is_heeded && offer_confirms_removal(input->offer, step->id);

	if (census->is_mass && !is_confirmed && is_heeded && offer_is_affix(input->offer)) {
		set_step(
			step, STEP_WAIT, "mass-removal",
			"the offer drops more than half of the add-ons here; 'affix fleet confirm-removal' lets it");
		return;
	}
	if (census->is_mass && !is_confirmed)
		delay = MAX(delay, input->policy->mass_removal);
	if (memory->missing_seconds < delay) {
		set_step(step, STEP_WAIT, census->is_mass ? "mass-removal" : "removal-delay",
			 "it is not offered any more, and is removed if that stands");
		wake_in(result, delay - memory->missing_seconds);
		return;
	}
	if (memory->missing_connections < CONNECTIONS_WANTED) {
		set_step(step, STEP_WAIT, "removal-delay",
			 "it is not offered any more, and another connection has to confirm that");
		result->wants_reconnect = true;
		return;
	}
	set_step(step, STEP_UNINSTALL, "", "");
}

static void url_digest(const char *url, char text[DESIRED_KEY_SIZE])
{
	uint8_t digest[crypto_hash_sha256_BYTES];

	(void)crypto_hash_sha256(digest, (const uint8_t *)url, strlen(url));
	(void)sodium_bin2hex(text, DESIRED_KEY_SIZE, digest, sizeof(digest));
}

static bool has_other_url(const struct memory_addon *memory, const struct wanted *wanted)
{
	char text[DESIRED_KEY_SIZE];

	if (memory->failed_url[0] == '\0')
		return false;
	url_digest(wanted->url, text);
	return strcmp(text, memory->failed_url) != 0;
}

/* Whether the last failure still stands in the way of what is wanted. */
static bool is_blocked(const struct reconcile_input *input, const struct memory_addon *memory,
		       const struct wanted *wanted, const struct host_addon *addon,
		       struct reconcile_result *result)
{
	/* A clock that was set back must not make a short wait a long one. */
	bool is_early =
		input->now < memory->retry_at && memory->retry_at - input->now <= RETRY_AFTER_MAX;

	if (memory->failure == MEMORY_NO_FAILURE || strcmp(memory->failed_key, wanted->key) != 0)
		return false;
	if (memory->failure == MEMORY_QUARANTINED &&
	    (memory->failed_plan[0] != '\0' ? host_has_quarantined(addon, memory->failed_plan, NULL)
					    : host_has_quarantined(addon, NULL, wanted->version)))
		return true;
	if (is_early)
		wake_in(result, memory->retry_at - input->now);
	if (is_early || memory->failure == MEMORY_TRANSIENT ||
	    memory->failure == MEMORY_QUARANTINED)
		return is_early;
	if (has_other_url(memory, wanted))
		return false;
	if (memory->failure == MEMORY_FRESH_OFFER)
		result->wants_fresh_offer = true;
	return true;
}

static bool is_as_applied(const struct memory_addon *memory, const struct wanted *wanted,
			  const struct host_addon *addon)
{
	return addon && addon->is_installed && addon->plan && memory->plan[0] != '\0' &&
	       strcmp(addon->plan, memory->plan) == 0 && strcmp(memory->key, wanted->key) == 0;
}

/* Only the configuration is another: the bundle that runs can stay, and keeps what was granted. */
static bool is_only_config(const struct memory_addon *memory, const struct wanted *wanted,
			   const struct host_addon *addon)
{
	return addon && addon->is_installed && addon->plan && memory->plan[0] != '\0' &&
	       strcmp(addon->plan, memory->plan) == 0 &&
	       strcmp(memory->bundle_key, wanted->bundle_key) == 0;
}

/* The updater knows of epochs and of builds of one version, which an offer does not tell. */
static bool was_refused_as_older(const struct memory_addon *memory, const struct wanted *wanted)
{
	return memory->failure == MEMORY_PERMANENT &&
	       strcmp(memory->failed_key, wanted->key) == 0 &&
	       (str_equal(memory->failed_name, "downgrade") ||
		str_equal(memory->failed_name, "same-version"));
}

/* What is wanted ran before, is recorded still, and is the older: an installation would be refused
 * as a downgrade, and is not needed. */
static bool is_step_back(const struct memory_addon *memory, const struct wanted *wanted,
			 const struct host_addon *addon)
{
	return addon && addon->is_installed && addon->version &&
	       str_equal(addon->previous, wanted->version) && version_is_valid(addon->version) &&
	       strcmp(memory->previous_hash, wanted->content_hash) == 0 &&
	       (version_compare(wanted->version, addon->version) < 0 ||
		was_refused_as_older(memory, wanted));
}

static void keep_step(const struct reconcile_input *input, const struct memory_addon *memory,
		      const struct wanted *wanted, const struct host_addon *addon,
		      struct step *step, struct reconcile_result *result)
{
	if (wanted->problem) {
		set_step(step, STEP_WAIT, "bad-offer", wanted->problem);
		return;
	}
	if (!wanted->is_offered)
		return;
	if (was_refused_as_older(memory, wanted) && is_step_back(memory, wanted, addon)) {
		step->kind = STEP_ROLLBACK;
		return;
	}
	if (is_blocked(input, memory, wanted, addon, result)) {
		set_step(step, STEP_WAIT, memory->failed_name, memory->failed_text);
		return;
	}
	if (is_as_applied(memory, wanted, addon)) {
		if (addon->drift && input->policy->repair)
			step->kind = STEP_REPAIR;
		return;
	}
	if (wanted->is_revoked) {
		if (!addon || !addon->is_installed || !str_equal(addon->version, wanted->version))
			set_step(step, STEP_WAIT, "revoked",
				 "the package is revoked, and is not installed anew");
		return;
	}
	if (is_only_config(memory, wanted, addon))
		step->kind = STEP_CONFIGURE;
	else
		step->kind = is_step_back(memory, wanted, addon) ? STEP_ROLLBACK : STEP_INSTALL;
}

static void decide(const struct reconcile_input *input, const struct census *census,
		   struct memory_addon *memory, struct step *step, struct reconcile_result *result)
{
	const struct wanted *wanted = desired_find(input->desired, step->id);
	const struct host_addon *addon = host_find(input->host, step->id);
	bool is_off = wanted && wanted->is_switched_off;
	/* Without any offer of packages, nothing can be missing from it. */
	bool is_gone = is_off || (input->desired->is_known && is_unwanted(wanted));

	if (!is_gone || !addon || !is_removable(addon))
		memory->is_missing = false;
	else
		count_missing(input, memory);
	if (addon && addon->is_held) {
		set_step(step, STEP_WAIT, "held",
			 addon->hold_reason ? addon->hold_reason : "the administrator holds it");
		return;
	}
	if (addon && addon->is_changing) {
		set_step(step, STEP_WAIT, "changing", "an operation is under way");
		return;
	}
	if (!is_gone) {
		if (wanted)
			keep_step(input, memory, wanted, addon, step, result);
		return;
	}
	if (!memory->is_missing)
		return;
	if (is_off)
		set_step(step, STEP_UNINSTALL, "", "");
	else
		remove_step(input, census, memory, step, result);
	/* A removal that failed is tried again after a while, as anything else. */
	if (step->kind == STEP_UNINSTALL && memory->failure != MEMORY_NO_FAILURE &&
	    memory->failed_key[0] == '\0' && input->now < memory->retry_at &&
	    memory->retry_at - input->now <= RETRY_AFTER_MAX) {
		set_step(step, STEP_WAIT, memory->failed_name, memory->failed_text);
		wake_in(result, memory->retry_at - input->now);
	}
}

static int compare_ids(const void *a, const void *b)
{
	return strcmp(((const struct step *)a)->id, ((const struct step *)b)->id);
}

static void add_id(struct reconcile_result *result, const char *id)
{
	for (size_t i = 0; i < result->count; i++) {
		if (strcmp(result->steps[i].id, id) == 0)
			return;
	}
	(void)snprintf(result->steps[result->count].id, sizeof(result->steps->id), "%s", id);
	result->count++;
}

/* Forgets add-ons that nobody knows of any more. */
static void prune(struct memory *memory, const struct reconcile_result *result)
{
	for (size_t i = memory->count; i > 0; i--) {
		struct step key = {.kind = STEP_NONE};

		memcpy(key.id, memory->items[i - 1].id, sizeof(key.id));
		if (!bsearch(&key, result->steps, result->count, sizeof(key), compare_ids))
			memory_forget(memory, key.id);
	}
}

int reconcile(const struct reconcile_input *input, struct memory *memory,
	      struct reconcile_result *ret)
{
	CLEANUP(reconcile_result_done)
	struct reconcile_result result = {.wake = UINT64_MAX};
	struct census census;

	result.steps =
		calloc(input->desired->count + input->host->count + 1, sizeof(*result.steps));
	if (!result.steps)
		return -ENOMEM;
	/* As long as the updater does not answer, nothing is known, and nothing done. */
	if (input->host->is_known) {
		for (size_t i = 0; i < input->desired->count; i++)
			add_id(&result, input->desired->items[i].id);
		for (size_t i = 0; i < input->host->count; i++)
			add_id(&result, input->host->items[i].id);
		qsort(result.steps, result.count, sizeof(*result.steps), compare_ids);
		prune(memory, &result);
	}
	census = take_census(input);
	for (size_t i = 0; i < result.count; i++) {
		struct memory_addon *addon = memory_get(memory, result.steps[i].id);

		if (!addon)
			return -ENOMEM;
		decide(input, &census, addon, &result.steps[i], &result);
	}
	*ret = result;
	result = RECONCILE_RESULT_INIT;
	return 0;
}

void reconcile_failed(struct memory_addon *addon, const struct wanted *wanted,
		      const struct reconcile_failure *failure, uint64_t now, uint32_t random)
{
	const char *key = wanted ? wanted->key : "";
	bool is_same = addon->failure != MEMORY_NO_FAILURE && strcmp(addon->failed_key, key) == 0;
	uint64_t wait;

	addon->attempts = is_same ? addon->attempts + 1 : 1;
	wait = (uint64_t)BACKOFF_FIRST << MIN(addon->attempts - 1, (uint64_t)BACKOFF_DOUBLINGS);
	wait = MIN(wait, (uint64_t)BACKOFF_MAX);
	wait += random % (wait / JITTER_PARTS + 1);
	if (failure->retry_after > 0)
		wait = MAX(wait, MIN(failure->retry_after, (uint64_t)RETRY_AFTER_MAX));
	addon->failure = failure->kind;
	addon->retry_at = now + wait;
	(void)snprintf(addon->failed_key, sizeof(addon->failed_key), "%s", key);
	(void)snprintf(addon->failed_plan, sizeof(addon->failed_plan), "%s",
		       failure->plan ? failure->plan : "");
	(void)snprintf(addon->failed_name, sizeof(addon->failed_name), "%s", failure->name);
	(void)snprintf(addon->failed_text, sizeof(addon->failed_text), "%s", failure->text);
	addon->failed_url[0] = '\0';
	if (failure->is_url && wanted && wanted->url)
		url_digest(wanted->url, addon->failed_url);
}

void reconcile_succeeded(struct memory_addon *addon, const struct wanted *wanted, const char *plan)
{
	addon->failure = MEMORY_NO_FAILURE;
	addon->attempts = 0;
	(void)snprintf(addon->key, sizeof(addon->key), "%s", wanted->key);
	if (strcmp(addon->content_hash, wanted->content_hash) != 0) {
		memcpy(addon->previous_hash, addon->content_hash, sizeof(addon->previous_hash));
		memcpy(addon->previous_bundle_key, addon->bundle_key,
		       sizeof(addon->previous_bundle_key));
	}
	(void)snprintf(addon->bundle_key, sizeof(addon->bundle_key), "%s", wanted->bundle_key);
	(void)snprintf(addon->content_hash, sizeof(addon->content_hash), "%s",
		       wanted->content_hash);
	(void)snprintf(addon->package_hash, sizeof(addon->package_hash), "%s", wanted->hash);
	(void)snprintf(addon->plan, sizeof(addon->plan), "%s", plan ? plan : "");
}

void reconcile_rolled_back(struct memory_addon *addon, const struct wanted *wanted,
			   const char *plan)
{
	char bundle_key[DESIRED_KEY_SIZE];

	memcpy(bundle_key, addon->previous_bundle_key, sizeof(bundle_key));
	reconcile_succeeded(addon, wanted, plan);
	/* Its configuration may be another by now, and is brought next; so may what it is granted,
	 * which only an installation changes. */
	addon->key[0] = '\0';
	if (bundle_key[0] != '\0')
		memcpy(addon->bundle_key, bundle_key, sizeof(bundle_key));
}

/* Refusals that time, or somebody who makes room, may lift. The others need another bundle, another
 * configuration or another policy. */
static bool is_passing(enum refusal_code code)
{
	switch (code) {
	case REFUSAL_NO_SPACE:
	case REFUSAL_NO_INODES:
	case REFUSAL_NO_MANAGER:
	case REFUSAL_HELD:
	case REFUSAL_TIMEOUT:
	case REFUSAL_BUSY:
		return true;
	default:
		return refusal_is_transient(code);
	}
}

enum memory_failure reconcile_judge_result(const struct result *result)
{
	enum refusal_code code = refusal_from_string(result->name);

	switch (result->outcome) {
	case RESULT_DONE:
		return MEMORY_NO_FAILURE;
	case RESULT_ROLLED_BACK:
		return code == REFUSAL_HELD ? MEMORY_TRANSIENT : MEMORY_QUARANTINED;
	case RESULT_REFUSED:
		if (code == REFUSAL_QUARANTINED || code == REFUSAL_VERSION_BARRED)
			return MEMORY_QUARANTINED;
		return is_passing(code) ? MEMORY_TRANSIENT : MEMORY_PERMANENT;
	default:
		return MEMORY_TRANSIENT;
	}
}

enum memory_failure reconcile_judge_status(long status)
{
	switch (status) {
	case 400:
	case 404:
	case 410:
	case 451:
		return MEMORY_PERMANENT;
	case 401:
	case 403:
		return MEMORY_FRESH_OFFER;
	default:
		return MEMORY_TRANSIENT;
	}
}
