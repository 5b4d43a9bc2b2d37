/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The record after a transaction. History is a list of plans with different bundles, newest first:
 * `previous` and `older`. Another configuration of the same bundle takes the place of the current
 * plan and is no history: a rollback means another version.
 */

#include "engine/commit.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/clock.h"
#include "plan/apply.h"

/* Drops plan *index* of `previous` (0) and `older` (from 1) from the list, without freeing it. */
static void history_take(struct record *record, size_t index)
{
	if (index == 0) {
		record->previous = record->n_older > 0 ? record->older[0] : NULL;
		index = 1;
	}
	if (record->n_older == 0)
		return;
	memmove(record->older + index - 1, record->older + index,
		(record->n_older - index) * sizeof(struct plan *));
	record->n_older--;
}

static size_t history_count(const struct record *record)
{
	return record->n_older + (record->previous ? 1 : 0);
}

static struct plan *history_get(const struct record *record, size_t index)
{
	return index == 0 ? record->previous : record->older[index - 1];
}

/* Removes the plans of *bundle* from the history, freeing them, but for *keep*. */
static void history_drop(struct record *record, const struct digest *bundle,
			 const struct plan *keep)
{
	for (size_t i = history_count(record); i > 0; i--) {
		struct plan *plan = history_get(record, i - 1);

		if (!digest_is_equal(&plan->bundle, bundle))
			continue;
		history_take(record, i - 1);
		if (plan != keep)
			(void)plan_free(plan);
	}
}

/* gcc 12's analyzer takes for lost what is kept behind the record. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

static int history_push(struct record *record, struct plan *plan)
{
	struct plan **larger;

	if (history_count(record) == 0) {
		record->previous = plan;
		return 0;
	}
	larger = reallocarray(record->older, record->n_older + 1, sizeof(struct plan *));
	if (!larger)
		return -ENOMEM;
	record->older = larger;
	memmove(larger + 1, larger, record->n_older * sizeof(struct plan *));
	larger[0] = record->previous;
	record->previous = plan;
	record->n_older++;
	return 0;
}

#pragma GCC diagnostic pop

static void history_trim(struct record *record, size_t keep)
{
	while (history_count(record) > keep) {
		size_t last = history_count(record) - 1;
		struct plan *plan = history_get(record, last);

		history_take(record, last);
		(void)plan_free(plan);
	}
}

static void history_clear(struct record *record)
{
	history_trim(record, 0);
	free(record->older);
	record->older = NULL;
}

/* What is left, also by a rollback, is what ran before. Nobody goes back to another affix in an
 * image: it would be room that is never used. */
static int update_history(struct operation *operation, struct plan *to, bool is_lost)
{
	struct record *record = operation->record;
	struct plan *left = record->current;
	unsigned keep;
	int r = 0;

	history_drop(record, &to->bundle, NULL);
	record->current = to;
	if (left && (is_lost || plan_is_own(to) || digest_is_equal(&left->bundle, &to->bundle)))
		(void)plan_free(left);
	else if (left)
		r = history_push(record, left);
	/* One version back is always kept, and all of them while nobody says how many. */
	keep = operation->policy ? MAX(operation->policy->keep_versions, 1U) : UINT_MAX;
	history_trim(record, MIN(keep, RECORD_OLDER_MAX + 1));
	return r;
}

static int update_created(struct record *record, const struct plan *to, const struct strv *made)
{
	cleanup_strv struct strv created = STRV_INIT;
	const struct strv *lists[] = {&record->created, made};

	for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
		for (size_t i = 0; i < lists[l]->count; i++) {
			const char *path = lists[l]->items[i];
			int r;

			if (strv_has(&created, path) || (to && !plan_find(to, path)))
				continue;
			r = strv_add(&created, path);
			if (r < 0)
				return r;
		}
	}
	strv_done(&record->created);
	record->created = created;
	created = STRV_INIT;
	return 0;
}

static bool history_has(const struct record *record, const char *bundle)
{
	char digest[DIGEST_TEXT_SIZE];

	for (size_t i = 0; i < history_count(record); i++) {
		digest_to_string(&history_get(record, i)->bundle, digest);
		if (strcmp(digest, bundle) == 0)
			return true;
	}
	return false;
}

/* What the fleet said for the plan that is left, where the administrator's own keys went over it:
 * they are others by the time that somebody goes back to it. */
static int remember_config(struct record *record)
{
	cleanup_json json_t *none = json_object();
	const json_t *config = record->config ? record->config : none;
	cleanup_free char *text = config ? json_to_canonical(config) : NULL;
	const char *merged = plan_config_text(record->current);
	char digest[DIGEST_TEXT_SIZE];

	if (!record->configs)
		record->configs = json_object();
	if (!text || !record->configs)
		return -ENOMEM;
	digest_to_string(&record->current->bundle, digest);
	if (!merged || strcmp(text, merged) != 0)
		return json_add_string(record->configs, digest, text);
	(void)json_object_del(record->configs, digest);
	return 0;
}

static void forget_configs(struct record *record)
{
	const char *bundle;
	const json_t *text;
	void *next;

	json_object_foreach_safe(record->configs, next, bundle, text)
	{
		if (!history_has(record, bundle))
			(void)json_object_del(record->configs, bundle);
	}
	if (json_object_size(record->configs) > 0)
		return;
	json_decref(record->configs);
	record->configs = NULL;
}

int commit_find_config(const struct record *record, const struct plan *plan, json_t **ret)
{
	const char *text = NULL;
	char digest[DIGEST_TEXT_SIZE];
	int r;

	digest_to_string(&plan->bundle, digest);
	if (json_member_string(record->configs, digest, &text) < 0)
		text = plan_config_text(plan);
	if (!text)
		return -EBADMSG;
	r = json_parse_object(text, strlen(text), ret, NULL);
	return r > 0 ? -EBADMSG : r;
}

static void raise_floor(struct record *record, const struct plan *to)
{
	if (!record->floor.is_set || identity_compare(&to->identity, &record->floor.identity) > 0) {
		record->floor.is_set = true;
		record->floor.identity = to->identity;
	}
	record->newest_created = MAX(record->newest_created, to->identity.created);
}

int commit_transaction(struct operation *operation, bool is_lost)
{
	struct record *record = operation->record;
	struct record_transaction *transaction = record->transaction;
	struct plan *to = TAKE_PTR(transaction->to);
	bool is_install = transaction->operation == RECORD_INSTALL;
	int r;

	r = update_created(record, to, &transaction->created);
	if (r == 0 && record->current && !plan_is_own(record->current))
		r = remember_config(record);
	if (r < 0)
		return r;
	json_decref(record->config);
	record->config = to && transaction->config ? json_incref(transaction->config) : NULL;
	if (!to) {
		history_clear(record);
		record->current = plan_free(record->current);
		forget_configs(record);
		free(record->hold_reason);
		record->hold_reason = NULL;
		record->is_held = record->is_stopped = record->is_local = false;
		return 0;
	}
	if (is_install) {
		/* What the administrator installed stays the administrator's, also when the fleet
		 * upgrades it. */
		record->is_local = transaction->is_local || (record->current && record->is_local);
		raise_floor(record, to);
		memcpy(record->bound_key, to->key_id, sizeof(record->bound_key));
	}
	r = update_history(operation, to, is_lost);
	forget_configs(record);
	return r;
}

/* The oldest first: what is gone back to without it has the configuration that it ran with. */
static bool drop_oldest_config(struct record *record)
{
	char digest[DIGEST_TEXT_SIZE];

	for (size_t i = history_count(record); i > 0; i--) {
		digest_to_string(&history_get(record, i - 1)->bundle, digest);
		if (json_object_del(record->configs, digest) < 0)
			continue;
		forget_configs(record);
		return true;
	}
	return false;
}

/* What gets rid of something or comes to an end has the room that was kept; what is new finds some
 * of its own. */
static bool may_spend(const struct record *record)
{
	const struct record_transaction *transaction = record->transaction;

	return !transaction || !transaction->to || transaction->phase == RECORD_REVERTING ||
	       transaction->phase == RECORD_RESTORED;
}

/* Not for what a sync says of other files: they are not written again with the record. */
static int write_record(struct operation *operation,
			int (*write)(const struct store *store, const struct record *record))
{
	int r = write(&operation->store, operation->record);

	if ((r == -ENOSPC || r == -EDQUOT) && may_spend(operation->record) &&
	    store_spend_reserve(&operation->store) == 0)
		r = write(&operation->store, operation->record);
	return r;
}

/* One sync for the record's bytes and for the tree that it is about. */
static int save_with_tree(struct operation *operation)
{
	const struct store *store = &operation->store;
	const char *id = operation->record->id;
	int r = write_record(operation, store_prepare);

	if (r == 0)
		r = apply_sync(&operation->tree, store->dirfd);
	if (r == 0)
		r = store_publish(store, id);
	if (r == 0)
		operation->is_switched = false;
	else if (r != -EFBIG)
		ignore_result(store_forget_unfinished(store, id));
	return r;
}

int commit_save(struct operation *operation)
{
	int r;

	do
		r = operation->is_switched ? save_with_tree(operation)
					   : write_record(operation, store_save);
	while (r == -EFBIG && drop_oldest_config(operation->record));
	return r;
}

void commit_nothing(struct record *record)
{
	record->transaction = record_transaction_free(record->transaction);
}

int commit_result(struct operation *operation, const struct result *result)
{
	struct record *record = operation->record;
	json_t *json = result_to_json(result);
	int r;

	if (!record->results)
		record->results = json_array();
	if (!record->results) {
		json_decref(json);
		return -ENOMEM;
	}
	/* What a verb answers with is asked for again, not remembered. */
	if (json)
		(void)json_object_set_new(json, "data", json_null());
	r = json_append(record->results, json);
	if (r < 0)
		return r;
	while (json_array_size(record->results) > RECORD_RESULTS_MAX)
		(void)json_array_remove(record->results, 0);
	return commit_save(operation);
}

int commit_find_result(const struct record *record, const char *request_id, struct result *ret)
{
	size_t i;
	const json_t *json;

	json_array_foreach(record->results, i, json)
	{
		const char *id = NULL;

		if (json_member_string(json, "request_id", &id) == 0 && strcmp(id, request_id) == 0)
			return result_from_json(json, ret) == 0 ? 0 : -EBADMSG;
	}
	return -ENOENT;
}
