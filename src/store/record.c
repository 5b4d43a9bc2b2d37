/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A record as a value, and the quarantine in it. Quarantine keys on plans: the same bundle with
 * another configuration is another plan and may be tried. Three of one version within a day are
 * evidence against the version; that bar lifts by time, the plans' own does not.
 */

#include "store/record.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"

#define VERSION_BAR_PLANS   3U
#define VERSION_BAR_SECONDS (24ULL * 60 * 60)

/* A reason is one sentence; more of it is cut. */
#define REASON_MAX 512U

static const char *const operations[] = {
	[RECORD_INSTALL] = "install",     [RECORD_ROLLBACK] = "rollback",
	[RECORD_CONFIGURE] = "configure", [RECORD_REPAIR] = "repair",
	[RECORD_UNINSTALL] = "uninstall",
};
static_assert(ARRAY_SIZE(operations) == RECORD_OPERATION_N, "every operation has a name");

static const char *const phases[] = {
	[RECORD_STAGING] = "staging",   [RECORD_SWITCHING] = "switching",
	[RECORD_WATCHING] = "watching", [RECORD_REVERTING] = "reverting",
	[RECORD_RESTORED] = "restored",
};
static_assert(ARRAY_SIZE(phases) == RECORD_PHASE_N, "every phase has a name");

const char *record_operation_to_string(enum record_operation operation)
{
	assert(operation < RECORD_OPERATION_N);
	return operations[operation];
}

const char *record_phase_to_string(enum record_phase phase)
{
	assert(phase < RECORD_PHASE_N);
	return phases[phase];
}

int record_new(const char *id, struct record **ret)
{
	cleanup_record struct record *record = calloc(1, sizeof(*record));

	if (!record)
		return -ENOMEM;
	if (strlen(id) >= sizeof(record->id))
		return -EINVAL;
	memcpy(record->id, id, strlen(id) + 1);
	record->results = json_array();
	if (!record->results)
		return -ENOMEM;
	*ret = TAKE_PTR(record);
	return 0;
}

struct record_transaction *record_transaction_free(struct record_transaction *transaction)
{
	if (!transaction)
		return NULL;
	(void)plan_free(transaction->to);
	strv_done(&transaction->created);
	free(transaction->request_id);
	free(transaction->boot_id);
	json_decref(transaction->config);
	json_decref(transaction->evidence);
	free(transaction);
	return NULL;
}

struct record *record_free(struct record *record)
{
	if (!record)
		return NULL;
	(void)plan_free(record->current);
	(void)plan_free(record->previous);
	for (size_t i = 0; i < record->n_older; i++)
		(void)plan_free(record->older[i]);
	free(record->older);
	json_decref(record->config);
	json_decref(record->configs);
	strv_done(&record->created);
	free(record->hold_reason);
	for (size_t i = 0; i < record->n_quarantine; i++)
		free(record->quarantine[i].reason);
	free(record->quarantine);
	json_decref(record->results);
	(void)record_transaction_free(record->transaction);
	free(record);
	return NULL;
}

/* A clock that was set back makes an entry young, never old. */
static bool is_recent(const struct record_quarantine *entry, uint64_t now)
{
	return now < entry->since || now - entry->since < VERSION_BAR_SECONDS;
}

static struct record_quarantine *find_quarantine(const struct record *record,
						 const struct digest *plan)
{
	for (size_t i = 0; i < record->n_quarantine; i++) {
		if (digest_is_equal(&record->quarantine[i].plan, plan))
			return &record->quarantine[i];
	}
	return NULL;
}

int record_check_quarantine(const struct record *record, const struct digest *plan,
			    const char *version, uint64_t now, struct refusal *reterr_refusal)
{
	const struct record_quarantine *entry = find_quarantine(record, plan);
	size_t barred = 0;

	if (entry) {
		char since[CLOCK_TEXT_SIZE];

		clock_format(entry->since, since);
		return refuse(
			reterr_refusal, REFUSAL_QUARANTINED,
			"this plan of '%s' %s is in quarantine since %s (%s); install another version or configuration, or lift it with 'affix clear-quarantine %s'",
			record->id, version, since, entry->reason, record->id);
	}
	for (size_t i = 0; i < record->n_quarantine; i++) {
		if (strcmp(record->quarantine[i].version, version) == 0 &&
		    is_recent(&record->quarantine[i], now))
			barred++;
	}
	if (barred >= VERSION_BAR_PLANS)
		return refuse(
			reterr_refusal, REFUSAL_VERSION_BARRED,
			"%zu plans of '%s' %s went into quarantine within 24 hours; install another version, wait, or lift it with 'affix clear-quarantine %s'",
			barred, record->id, version, record->id);
	return 0;
}

static void drop_quarantine(struct record *record, size_t index)
{
	free(record->quarantine[index].reason);
	record->n_quarantine--;
	memmove(&record->quarantine[index], &record->quarantine[index + 1],
		(record->n_quarantine - index) * sizeof(*record->quarantine));
}

void record_clear_quarantine(struct record *record)
{
	while (record->n_quarantine > 0)
		drop_quarantine(record, record->n_quarantine - 1);
}

int record_add_quarantine(struct record *record, const struct digest *plan, const char *version,
			  const char *reason, uint64_t now)
{
	cleanup_free char *copy = str_escape(reason, strlen(reason), REASON_MAX);
	struct record_quarantine *larger;
	struct record_quarantine *known;

	if (strlen(version) > VERSION_MAX)
		return -EINVAL;
	larger = reallocarray(record->quarantine, record->n_quarantine + 1, sizeof(*larger));
	if (larger)
		record->quarantine = larger;
	if (!larger || !copy)
		return -ENOMEM;
	known = find_quarantine(record, plan);
	if (known)
		drop_quarantine(record, (size_t)(known - record->quarantine));
	else if (record->n_quarantine >= RECORD_QUARANTINE_MAX)
		drop_quarantine(record, 0);
	known = &record->quarantine[record->n_quarantine++];
	*known = (struct record_quarantine){.plan = *plan, .since = now, .reason = TAKE_PTR(copy)};
	memcpy(known->version, version, strlen(version) + 1);
	return 0;
}
