/* SPDX-License-Identifier: Apache-2.0 */

/* Checkers of directives with one plain value: words, numbers, spans, sizes, text. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "unit/unit_check.h"
#include "unit/unit_words.h"

#define IDENTIFIER_BYTES "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
#define USEC_PER_SEC     1000000ULL

static bool is_word(const struct unit_check *check, const struct unit_rule *rule)
{
	const char *value = check->entry->value;

	return rule->words && unit_word_is_among(value, strlen(value), rule->words);
}

int unit_check_boolean(const struct unit_check *check, const struct unit_rule *rule)
{
	bool value = false;

	(void)rule;
	if (unit_parse_boolean(check->entry->value, &value) == 0)
		return 0;
	return unit_refuse(check, REFUSAL_UNIT_DIRECTIVE, check->entry->value,
			   "it is 'yes' or 'no'");
}

int unit_check_word(const struct unit_check *check, const struct unit_rule *rule)
{
	if (is_word(check, rule))
		return 0;
	return unit_refuse(check, REFUSAL_UNIT_DIRECTIVE, check->entry->value,
			   "an add-on may only say: %s", rule->words);
}

int unit_check_boolean_or_word(const struct unit_check *check, const struct unit_rule *rule)
{
	bool value = false;

	if (is_word(check, rule) || unit_parse_boolean(check->entry->value, &value) == 0)
		return 0;
	return unit_refuse(check, REFUSAL_UNIT_DIRECTIVE, check->entry->value,
			   "it is 'yes', 'no' or one of: %s", rule->words);
}

int unit_check_number(const struct unit_check *check, const struct unit_rule *rule)
{
	const char *value = check->entry->value;
	uint64_t n = 0;

	if (is_word(check, rule))
		return 0;
	if (unit_parse_number(value, strlen(value), &n) == 0 && n >= rule->minimum &&
	    n <= rule->maximum)
		return 0;
	return unit_refuse(check, REFUSAL_UNIT_DIRECTIVE, value,
			   "it must be a number from %llu to %llu",
			   (unsigned long long)rule->minimum, (unsigned long long)rule->maximum);
}

int unit_check_span(const struct unit_check *check, const struct unit_rule *rule)
{
	const char *value = check->entry->value;
	uint64_t usec = 0;

	if (unit_parse_span(value, &usec) < 0)
		return unit_refuse(check, REFUSAL_UNIT_DIRECTIVE, value,
				   "it must be a time span such as '30s' or '5min 20s'");
	if (usec == UNIT_SPAN_INFINITY
		    ? rule->has_infinity
		    : usec >= rule->minimum * USEC_PER_SEC && usec / USEC_PER_SEC <= rule->maximum)
		return 0;
	return unit_refuse(check, REFUSAL_UNIT_DIRECTIVE, value,
			   "it must be a time span from %llu to %llu seconds",
			   (unsigned long long)rule->minimum, (unsigned long long)rule->maximum);
}

/* Digits and '%', 1 to *maximum*. */
static bool is_percent(const char *value, size_t length, uint64_t maximum)
{
	uint64_t n = 0;

	return length > 1 && value[length - 1] == '%' &&
	       unit_parse_number(value, length - 1, &n) == 0 && n > 0 && n <= maximum;
}

int unit_check_percent(const struct unit_check *check, const struct unit_rule *rule)
{
	const char *value = check->entry->value;

	if (is_percent(value, strlen(value), rule->maximum))
		return 0;
	return unit_refuse(check, REFUSAL_UNIT_DIRECTIVE, value,
			   "it must be a whole percentage such as '50%%'");
}

int unit_check_size(const struct unit_check *check, const struct unit_rule *rule)
{
	const char *value = check->entry->value;
	uint64_t n = 0;

	(void)rule;
	if (strcmp(value, "infinity") == 0 || is_percent(value, strlen(value), 100) ||
	    unit_parse_size(value, strlen(value), &n) == 0)
		return 0;
	return unit_refuse(check, REFUSAL_UNIT_DIRECTIVE, value,
			   "it must be a size such as '64M', a percentage, or 'infinity'");
}

int unit_check_count(const struct unit_check *check, const struct unit_rule *rule)
{
	const char *value = check->entry->value;
	uint64_t n = 0;

	(void)rule;
	if (strcmp(value, "infinity") == 0 || is_percent(value, strlen(value), 100) ||
	    (unit_parse_number(value, strlen(value), &n) == 0 && n > 0))
		return 0;
	return unit_refuse(check, REFUSAL_UNIT_DIRECTIVE, value,
			   "it must be a number above 0, a percentage, or 'infinity'");
}

static bool is_limit(const char *value, size_t length, bool is_bytes, uint64_t *ret)
{
	if (length == strlen("infinity") && memcmp(value, "infinity", length) == 0) {
		*ret = UINT64_MAX;
		return true;
	}
	return (is_bytes ? unit_parse_size(value, length, ret)
			 : unit_parse_number(value, length, ret)) == 0;
}

static int check_limit(const struct unit_check *check, bool is_bytes)
{
	const char *value = check->entry->value;
	size_t length = strcspn(value, ":");
	uint64_t soft = 0;
	uint64_t hard = UINT64_MAX;

	if (is_limit(value, length, is_bytes, &soft) &&
	    (value[length] == '\0' ||
	     is_limit(value + length + 1, strlen(value + length + 1), is_bytes, &hard)) &&
	    soft <= hard)
		return 0;
	return unit_refuse(check, REFUSAL_UNIT_DIRECTIVE, value,
			   "it must be '%s', 'SOFT:HARD' with SOFT not above HARD, or 'infinity'",
			   is_bytes ? "64M" : "1024");
}

int unit_check_limit_bytes(const struct unit_check *check, const struct unit_rule *rule)
{
	(void)rule;
	return check_limit(check, true);
}

int unit_check_limit_count(const struct unit_check *check, const struct unit_rule *rule)
{
	(void)rule;
	return check_limit(check, false);
}

int unit_check_mode(const struct unit_check *check, const struct unit_rule *rule)
{
	const char *value = check->entry->value;
	size_t length = strlen(value);
	uint64_t mode = 0;

	for (size_t i = 0; i < length; i++)
		mode = mode << 3 | (uint64_t)(value[i] - '0');
	if (length >= 3 && length <= 4 && strspn(value, "01234567") == length &&
	    mode <= rule->maximum)
		return 0;
	return unit_refuse(check, REFUSAL_UNIT_DIRECTIVE, value,
			   "it must be an octal mode from '000' to '%04llo'",
			   (unsigned long long)rule->maximum);
}

int unit_check_text(const struct unit_check *check, const struct unit_rule *rule)
{
	(void)rule;
	if (unit_specifiers_are_known(check->entry->value, false))
		return 0;
	return unit_refuse(check, REFUSAL_UNIT_DIRECTIVE, check->entry->value,
			   "specifiers are not allowed here; write '%%%%' for a percent sign");
}

int unit_check_identifier(const struct unit_check *check, const struct unit_rule *rule)
{
	static const char prefix[] = "affix-";
	const char *value = check->entry->value;
	const char *id = check->manifest->id;
	size_t length = strlen(prefix) + strlen(id);

	(void)rule;
	/* Lines of the journal are read by this name: it is nobody else's. No id has a '_' or '.'.
	 */
	if (str_starts_with(value, prefix) && str_starts_with(value + strlen(prefix), id) &&
	    (value[length] == '\0' || value[length] == '_' || value[length] == '.') &&
	    strspn(value, IDENTIFIER_BYTES) == strlen(value))
		return 0;
	return unit_refuse(
		check, REFUSAL_UNIT_DIRECTIVE, value,
		"it must be 'affix-%s', or that and a part behind '_' or '.' that is made of letters, digits, '.', '_' and '-'",
		id);
}
