/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One journal entry per request, when its result is known. Questions (status, drift, plan) are
 * asked often: what they answer is of interest to whoever debugs, not to the journal's reader.
 */

#include "updater/log.h"

#include <assert.h>
#include <string.h>
#include <sys/syslog.h>
#include <sys/uio.h>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "base/str.h"

#define LOG_FIELDS_MAX 16U

static const struct {
	const char *message_id;
	int priority;
} kinds[] = {
	[RESULT_DONE] = {LOG_MESSAGE_DONE,        LOG_INFO   },
	[RESULT_REFUSED] = {LOG_MESSAGE_REFUSED,     LOG_NOTICE },
	[RESULT_ROLLED_BACK] = {LOG_MESSAGE_ROLLED_BACK, LOG_WARNING},
	[RESULT_FAILED] = {LOG_MESSAGE_FAILED,      LOG_ERR    },
	[RESULT_INTERRUPTED] = {LOG_MESSAGE_INTERRUPTED, LOG_WARNING},
};

static_assert(ARRAY_SIZE(kinds) == RESULT_OUTCOME_N, "every outcome has a message id");

static bool is_question(const struct result *result)
{
	return str_equal(result->verb, "status") || str_equal(result->verb, "drift") ||
	       str_equal(result->verb, "plan");
}

/* FIELD=value, for a value that is there. Control characters cannot make a second field: journald
 * takes a value by its length. */
static int add_field(struct strv *fields, const char *name, const char *value)
{
	cleanup_free char *field = NULL;
	int r;

	if (str_is_empty(value))
		return 0;
	r = str_format(&field, "%s=%s", name, value);
	return r < 0 ? r : strv_add(fields, field);
}

static int add_message(struct strv *fields, const struct result *result)
{
	const char *outcome = result_outcome_to_string(result->outcome);
	cleanup_free char *text = NULL;
	int r;

	r = str_format(&text, "%s%s%s%s%s: %s%s%s", result->verb ? result->verb : "request",
		       result->id ? " of " : "", result->id ? result->id : "",
		       result->version ? " " : "", result->version ? result->version : "", outcome,
		       str_is_empty(result->message) ? "" : ": ",
		       result->message ? result->message : "");
	return r < 0 ? r : add_field(fields, "MESSAGE", text);
}

static int collect(struct strv *fields, const struct result *result, uid_t peer, bool is_admin)
{
	bool is_quiet = result->outcome == RESULT_DONE && is_question(result);
	int priority = is_quiet ? LOG_DEBUG : kinds[result->outcome].priority;
	char number[16];
	int r;

	r = add_message(fields, result);
	if (r == 0)
		r = add_field(fields, "MESSAGE_ID", kinds[result->outcome].message_id);
	(void)snprintf(number, sizeof(number), "%d", priority);
	if (r == 0)
		r = add_field(fields, "PRIORITY", number);
	(void)snprintf(number, sizeof(number), "%u", peer);
	if (r == 0)
		r = add_field(fields, "AFFIX_PEER_UID", number);
	if (r == 0)
		r = add_field(fields, "AFFIX_SIDE", is_admin ? "admin" : "fleet");
	if (r == 0)
		r = add_field(fields, "AFFIX_VERB", result->verb);
	if (r == 0)
		r = add_field(fields, "AFFIX_ADDON", result->id);
	if (r == 0)
		r = add_field(fields, "AFFIX_VERSION", result->version);
	if (r == 0)
		r = add_field(fields, "AFFIX_RESULT", result_outcome_to_string(result->outcome));
	if (r == 0)
		r = add_field(fields, "AFFIX_NAME", result->name);
	if (r == 0)
		r = add_field(fields, "AFFIX_REQUEST_ID", result->request_id);
	return r;
}

void log_result(const struct result *result, uid_t peer, bool is_admin)
{
	cleanup_strv struct strv fields = STRV_INIT;
	struct iovec parts[LOG_FIELDS_MAX];

	if (collect(&fields, result, peer, is_admin) < 0)
		return;
	assert(fields.count <= LOG_FIELDS_MAX);
	for (size_t i = 0; i < fields.count; i++)
		parts[i] = (struct iovec){fields.items[i], strlen(fields.items[i])};
	(void)sd_journal_sendv(parts, (int)fields.count);
}
