/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

static inline bool str_is_empty(const char *s)
{
	return !s || *s == '\0';
}

/* Like strcmp() == 0, with NULL equal to NULL only. */
bool str_equal(const char *a, const char *b);

bool str_starts_with(const char *s, const char *prefix);
bool str_ends_with(const char *s, const char *suffix);

/* Formats into a new string. 0 or -ENOMEM; the caller frees *ret*. */
must_check int str_format(char **ret, const char *format, ...) format_check(2, 3);
must_check int str_vformat(char **ret, const char *format, va_list arguments) format_check(2, 0);

/*
 * *s* of *length* bytes as it may be shown to a person: control bytes, DEL and everything that is
 * not UTF-8 as \xNN, bidirectional overrides too; at most *max* source bytes, then "...". NULL when
 * out of memory.
 */
char *str_escape(const char *s, size_t length, size_t max);

/* Formats, then escapes like that: a line that a program says of itself. NULL when out of memory;
 * the caller frees it. */
char *str_format_shown(size_t max, const char *format, va_list arguments) format_check(2, 0);

/* Whether the *length* bytes are well-formed UTF-8 without NUL. */
bool str_is_utf8(const char *s, size_t length);

/* How many bytes at the beginning are that. */
size_t str_utf8_length(const char *s, size_t length);

/* A growing array of strings that owns them; *items* ends with NULL once anything was added. */
struct strv {
	char **items;
	size_t count;
};

#define STRV_INIT     \
	(struct strv) \
	{             \
	}

/* Adds a copy. 0 or -ENOMEM. */
must_check int strv_add(struct strv *list, const char *s);
bool strv_has(const struct strv *list, const char *s);
/* Byte order, as strcmp(). */
void strv_sort(struct strv *list);
void strv_done(struct strv *list);

#define cleanup_strv CLEANUP(strv_done)

/* A growing byte string, NUL behind its last byte once anything was added. */
struct buffer {
	char *data;
	size_t size;
	size_t capacity;
};

#define BUFFER_INIT     \
	(struct buffer) \
	{               \
	}

must_check int buffer_add(struct buffer *buffer, const void *data, size_t size);
must_check int buffer_format(struct buffer *buffer, const char *format, ...) format_check(2, 3);
void buffer_done(struct buffer *buffer);

#define cleanup_buffer CLEANUP(buffer_done)
