/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/str.h"

static inline void cleanup_json_ref(json_t **json)
{
	json_decref(*json);
}

#define cleanup_json CLEANUP(cleanup_json_ref)

#define JSON_ERROR_MAX 256U

/* Where and why a text is not JSON: a sentence without a full stop, place included. */
struct json_problem {
	char text[JSON_ERROR_MAX];
	unsigned line;   /* from 1; as in *text* */
	unsigned column; /* from 1 */
};

/*
 * Parses *size* bytes as one JSON object: UTF-8, no duplicate keys, no NUL in strings, nothing
 * behind it, nested at most 64 deep. 0; -ENOMEM; 1 if it is anything else (*reterr_problem* says
 * what; may be NULL).
 */
must_check int json_parse_object(const char *text, size_t size, json_t **ret,
				 struct json_problem *reterr_problem);

/*
 * The same for what affix wrote itself and keeps: such an object holds foreign ones, as deep as the
 * other function takes them, and is a few levels deeper.
 */
must_check int json_parse_kept(const char *text, size_t size, json_t **ret,
			       struct json_problem *reterr_problem);
/* Whether what json_to_pretty() made is not too deep for that. */
bool json_can_be_kept(const char *text, size_t size);

/* Keys sorted, no white space, one '\n' at the end: the bytes that digests are made of. NULL: no
 * memory. */
char *json_to_canonical(const json_t *json);

/* For people and files: keys in insertion order, indent 2, '\n' at the end. NULL: no memory. */
char *json_to_pretty(const json_t *json);

/*
 * Members of an object, of a demanded type. 0; -ENOENT if it has no such key; -EINVAL if the value
 * has another type, is out of range, or *object* is not an object. Strings are borrowed from the
 * object.
 */
must_check int json_member_string(const json_t *object, const char *key, const char **ret);
must_check int json_member_bool(const json_t *object, const char *key, bool *ret);
must_check int json_member_uint(const json_t *object, const char *key, uint64_t max, uint64_t *ret);
must_check int json_member_object(const json_t *object, const char *key, json_t **ret);
must_check int json_member_array(const json_t *object, const char *key, json_t **ret);

/* The first key of *object* that is not in the NULL-terminated *known*, or NULL. */
const char *json_unknown_key(const json_t *object, const char *const *known);

/* Sets *key*; takes over *value*, also on failure, and takes NULL for no memory. 0 or -ENOMEM. */
must_check int json_add(json_t *object, const char *key, json_t *value);
must_check int json_add_string(json_t *object, const char *key, const char *value_or_null);
must_check int json_add_uint(json_t *object, const char *key, uint64_t value);
must_check int json_append(json_t *array, json_t *value);
/* An array of the strings of *list*. NULL: no memory. */
json_t *json_from_strv(const struct strv *list);
