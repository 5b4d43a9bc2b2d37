/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"

#define UNIT_SPAN_INFINITY UINT64_MAX

/*
 * Takes the next word at *p* as systemd splits command lines and environments (systemd.syntax(7)):
 * quotes removed, C escapes resolved. 1 and *ret* (the caller frees it); 0 at the end; -EINVAL
 * where quotes or escapes are broken, or resolve to what is not printable UTF-8; -ENOMEM.
 */
must_check int unit_word_next(const char **p, char **ret);

/*
 * Takes the next word of a value in which no quoting is wanted: *ret* points into the value,
 * *ret_length* is its length. 1; 0 at the end.
 */
int unit_plain_next(const char **p, const char **ret, size_t *ret_length);

/* Whether the word of *length* bytes at *word* is one of the blank-separated *words*. */
bool unit_word_is_among(const char *word, size_t length, const char *words);

/* Whether every '%' in *text* begins "%%", or "%d" where *allow_credentials*. */
bool unit_specifiers_are_known(const char *text, bool allow_credentials);

/* A boolean as systemd reads it. 0 or -EINVAL. */
must_check int unit_parse_boolean(const char *text, bool *ret);

/* Decimal digits alone. 0 or -EINVAL. */
must_check int unit_parse_number(const char *text, size_t length, uint64_t *ret);

/* A time span ("5min 30s", "infinity", a bare number is seconds) in microseconds, fractions rounded
 * up. 0 or -EINVAL. */
must_check int unit_parse_span(const char *text, uint64_t *ret);

/* Digits and at most one of K M G T P E, to the base of 1024. 0 or -EINVAL. */
must_check int unit_parse_size(const char *text, size_t length, uint64_t *ret);
