/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "base/str.h"

/*
 * Strict reading of JSON that only we write: every member is demanded, of its type and in its
 * range. The first thing that is wrong is kept and what is asked for after it is skipped, so that
 * the reader of an object asks for all its members and looks at `result` once. Until then getters
 * answer with something harmless: "", 0, false, an empty list.
 */
struct json_reader {
	int result;                   /* 0; 1: not what we write; -errno */
	struct json_problem *problem; /* says what; or NULL */
	const char *where;            /* the part being read, named in the problem; or NULL */
	size_t number;                /* which of them, from 1; 0: there is only one */
};

/* Keeps the first problem: a sentence without a full stop. Values in it are to be escaped. */
void json_reader_fail(struct json_reader *reader, const char *format, ...) format_check(2, 3);
/* The same for a *value* that must not be used: it is shown, escaped. */
void json_reader_fail_value(struct json_reader *reader, const char *what, const char *value);
/* Something broke: -errno. 0 and what comes after a failure do nothing. */
void json_reader_break(struct json_reader *reader, int error);

/* *object* is an object with no other keys than *known* (NULL-terminated). */
void json_reader_keys(struct json_reader *reader, const json_t *object, const char *const *known);
/* "schema" is 1; a higher number was written by a newer affix. */
void json_reader_schema(struct json_reader *reader, const json_t *object);

/* Members; borrowed from *object*. Arrays have at most *max* items. */
const char *json_reader_string(struct json_reader *reader, const json_t *object, const char *key);
bool json_reader_bool(struct json_reader *reader, const json_t *object, const char *key);
uint64_t json_reader_uint(struct json_reader *reader, const json_t *object, const char *key,
			  uint64_t max);
const json_t *json_reader_object(struct json_reader *reader, const json_t *object, const char *key);
const json_t *json_reader_array(struct json_reader *reader, const json_t *object, const char *key,
				size_t max);

/* A copy of a string member, for the caller to free; NULL after a failure. */
char *json_reader_copy(struct json_reader *reader, const json_t *object, const char *key);
/* Copies a string member into a buffer of *size* bytes; one that does not fit is a failure. */
void json_reader_fill(struct json_reader *reader, const json_t *object, const char *key,
		      char *buffer, size_t size);
/* Adds the strings of an array member to *list*. */
void json_reader_strings(struct json_reader *reader, const json_t *object, const char *key,
			 size_t max, struct strv *list);
