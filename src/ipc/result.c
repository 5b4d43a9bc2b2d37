/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Results. Their JSON always has every member, null where there is nothing, so that a reader needs
 * no list of optional ones; it is read back as strictly as it is written, because records keep it.
 */

#include "ipc/result.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

#define RESULT_SCHEMA 1U

static const char *const outcomes[] = {
	[RESULT_DONE] = "done",
	[RESULT_REFUSED] = "refused",
	[RESULT_ROLLED_BACK] = "rolled-back",
	[RESULT_FAILED] = "failed",
	[RESULT_INTERRUPTED] = "interrupted",
};

static_assert(ARRAY_SIZE(outcomes) == RESULT_OUTCOME_N, "every outcome has a name");

static const char *const keys[] = {
	"schema",  "outcome", "name", "message", "request_id", "verb", "id",
	"version", "plan",    "time", "log",     "data",       NULL,
};

const char *result_outcome_to_string(enum result_outcome outcome)
{
	return outcome >= 0 && outcome < RESULT_OUTCOME_N ? outcomes[outcome] : NULL;
}

void result_done(struct result *result)
{
	free(result->message);
	free(result->request_id);
	free(result->verb);
	free(result->id);
	free(result->version);
	free(result->plan);
	json_decref(result->log);
	json_decref(result->data);
	*result = RESULT_INIT;
}

static int add_json(json_t *object, const char *key, json_t *value_or_null)
{
	return json_add(object, key, value_or_null ? json_incref(value_or_null) : json_null());
}

static int add_members(json_t *json, const struct result *result)
{
	int r;

	r = json_add_uint(json, "schema", RESULT_SCHEMA);
	if (r == 0)
		r = json_add_string(json, "outcome", result_outcome_to_string(result->outcome));
	if (r == 0)
		r = json_add_string(json, "name", result->name[0] ? result->name : NULL);
	if (r == 0)
		r = json_add_string(json, "message", result->message);
	if (r == 0)
		r = json_add_string(json, "request_id", result->request_id);
	if (r == 0)
		r = json_add_string(json, "verb", result->verb);
	if (r == 0)
		r = json_add_string(json, "id", result->id);
	if (r == 0)
		r = json_add_string(json, "version", result->version);
	if (r == 0)
		r = json_add_string(json, "plan", result->plan);
	if (r == 0)
		r = json_add_uint(json, "time", result->time);
	if (r == 0)
		r = add_json(json, "log", result->log);
	if (r == 0)
		r = add_json(json, "data", result->data);
	return r;
}

json_t *result_to_json(const struct result *result)
{
	cleanup_json json_t *json = json_object();

	if (!json || add_members(json, result) < 0)
		return NULL;
	return TAKE_PTR(json);
}

/* gcc 12's analyzer takes for lost what is kept behind *ret. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

/* A member that is a string or null. 0; 1 for anything else; -ENOMEM. */
static int take_text(const json_t *json, const char *key, char **ret)
{
	const json_t *value = json_object_get(json, key);
	char *copy;

	if (json_is_null(value))
		return 0;
	if (!json_is_string(value))
		return 1;
	copy = strdup(json_string_value(value));
	if (!copy)
		return -ENOMEM;
	*ret = copy;
	return 0;
}

#pragma GCC diagnostic pop

static int take_outcome(const json_t *json, enum result_outcome *ret)
{
	const char *name = NULL;

	if (json_member_string(json, "outcome", &name) < 0)
		return 1;
	for (int i = 0; i < RESULT_OUTCOME_N; i++) {
		if (strcmp(outcomes[i], name) == 0) {
			*ret = (enum result_outcome)i;
			return 0;
		}
	}
	return 1;
}

static int take_name(const json_t *json, char *ret, size_t size)
{
	const json_t *value = json_object_get(json, "name");

	if (json_is_null(value))
		return 0;
	if (!json_is_string(value) || json_string_length(value) == 0 ||
	    json_string_length(value) >= size)
		return 1;
	memcpy(ret, json_string_value(value), json_string_length(value) + 1);
	return 0;
}

static int take_texts(const json_t *json, struct result *result)
{
	const struct {
		const char *key;
		char **place;
	} texts[] = {
		{"message",    &result->message   },
                {"request_id", &result->request_id},
		{"verb",       &result->verb      },
                {"id",         &result->id        },
		{"version",    &result->version   },
                {"plan",       &result->plan      },
	};

	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(texts); i++)
		r = take_text(json, texts[i].key, texts[i].place);
	return r;
}

/* The lines of a log are strings and nothing else. */
static bool is_log(const json_t *log)
{
	if (json_is_null(log))
		return true;
	for (size_t i = 0; i < json_array_size(log); i++) {
		if (!json_is_string(json_array_get(log, i)))
			return false;
	}
	return json_is_array(log);
}

int result_from_json(const json_t *json, struct result *ret)
{
	cleanup_result struct result result = RESULT_INIT;
	json_t *log = json_object_get(json, "log");
	json_t *data = json_object_get(json, "data");
	uint64_t schema = 0;
	int r;

	if (!json_is_object(json) || json_unknown_key(json, keys) || !data || !is_log(log))
		return 1;
	if (json_member_uint(json, "schema", RESULT_SCHEMA, &schema) < 0 ||
	    schema != RESULT_SCHEMA || json_member_uint(json, "time", INT64_MAX, &result.time) < 0)
		return 1;
	r = take_outcome(json, &result.outcome);
	if (r == 0)
		r = take_name(json, result.name, sizeof(result.name));
	if (r == 0)
		r = take_texts(json, &result);
	if (r != 0)
		return r;
	result.log = json_is_null(log) ? NULL : json_incref(log);
	result.data = json_is_null(data) ? NULL : json_incref(data);
	*ret = result;
	result = RESULT_INIT;
	return 0;
}

int result_exit_code(const struct result *result)
{
	switch (result->outcome) {
	case RESULT_DONE:
		return 0;
	case RESULT_REFUSED:
		return refusal_is_transient(refusal_from_string(result->name)) ? 4 : 1;
	case RESULT_ROLLED_BACK:
	case RESULT_FAILED:
	case RESULT_INTERRUPTED:
	case RESULT_OUTCOME_N:
	default:
		return 3;
	}
}

static void set_outcome(struct result *result, enum result_outcome outcome, const char *name,
			char *message)
{
	assert(strlen(name) < sizeof(result->name));
	result->outcome = outcome;
	result->is_unchanged = false;
	memcpy(result->name, name, strlen(name) + 1);
	free(result->message);
	result->message = message;
}

/* A sentence may hold foreign text, also cut in the middle of a character: JSON takes UTF-8 only.
 */
static char *clean(const char *text)
{
	return str_escape(text, strlen(text), strlen(text));
}

int result_set_refusal(struct result *result, const struct refusal *refusal)
{
	const char *name = refusal_to_string(refusal->code);
	char *message = clean(refusal->text);

	if (!message)
		return -ENOMEM;
	set_outcome(result, RESULT_REFUSED, name ? name : "error", message);
	return 0;
}

int result_set(struct result *result, enum result_outcome outcome, const char *name,
	       const char *format, ...)
{
	cleanup_free char *text = NULL;
	va_list arguments;
	char *message;
	int r;

	va_start(arguments, format);
	r = str_vformat(&text, format, arguments);
	va_end(arguments);
	if (r < 0)
		return r;
	message = clean(text);
	if (!message)
		return -ENOMEM;
	set_outcome(result, outcome, name, message);
	return 0;
}
