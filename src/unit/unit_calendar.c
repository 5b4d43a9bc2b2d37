/* SPDX-License-Identifier: Apache-2.0 */

/*
 * OnCalendar= as systemd.time(7) describes it: a shorthand, or weekdays, date and time, of which
 * any may be left out, and 'UTC'. Every component is '*' or a list of NUMBER[..NUMBER][/STEP].
 * Fractions of seconds, days counted from a month's end and other time zones are left out: nobody
 * schedules a job of an add-on by them.
 */

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "unit/unit_check.h"
#include "unit/unit_words.h"

#define SHORTHANDS "minutely hourly daily weekly monthly quarterly semiannually yearly annually"
#define DIGITS     "0123456789"

struct component {
	uint64_t minimum;
	uint64_t maximum;
};

static const struct component year = {1970, 2199};
static const struct component month_and_day[] = {
	{1, 12},
        {1, 31}
};
static const struct component hour_to_second[] = {
	{0, 23},
        {0, 59},
        {0, 59}
};

static const char *const weekdays[] = {
	"mon",      "monday", "tue",    "tuesday", "wed",      "wednesday", "thu",
	"thursday", "fri",    "friday", "sat",     "saturday", "sun",       "sunday",
};

/* Digits at **p, which moves behind them. */
static bool take_number(const char **p, const char *end, uint64_t *ret)
{
	size_t length = MIN(strspn(*p, DIGITS), (size_t)(end - *p));

	if (unit_parse_number(*p, length, ret) < 0)
		return false;
	*p += length;
	return true;
}

/* NUMBER[..NUMBER][/STEP], from *p* to *end* exactly. */
static bool item_is_valid(const char *p, const char *end, const struct component *range)
{
	uint64_t first = 0;
	uint64_t last = 0;
	uint64_t step = 1;

	if (!take_number(&p, end, &first) || first < range->minimum || first > range->maximum)
		return false;
	last = first;
	if (end - p > 2 && p[0] == '.' && p[1] == '.') {
		p += 2;
		if (!take_number(&p, end, &last))
			return false;
	}
	if (p < end && *p == '/') {
		p++;
		if (!take_number(&p, end, &step) || step > range->maximum - first)
			return false;
	}
	return p == end && first <= last && last <= range->maximum && step > 0;
}

/* '*', or items separated by commas. */
static bool component_is_valid(const char *p, const char *end, const struct component *range)
{
	if (end - p == 1 && *p == '*')
		return true;
	for (;;) {
		const char *comma = memchr(p, ',', (size_t)(end - p));

		if (!item_is_valid(p, comma ? comma : end, range))
			return false;
		if (!comma)
			return true;
		p = comma + 1;
	}
}

/* *n* components separated by *separator*, the last *optional* of which may be missing. */
static bool components_are_valid(const char *p, const char *end, char separator,
				 const struct component *ranges, size_t n, size_t optional)
{
	for (size_t i = 0; i < n; i++) {
		const char *next = memchr(p, separator, (size_t)(end - p));

		if (!component_is_valid(p, next ? next : end, &ranges[i]))
			return false;
		if (!next)
			return i + 1 + optional >= n;
		p = next + 1;
	}
	return false;
}

/* [YEAR-]MONTH-DAY */
static bool date_is_valid(const char *p, const char *end)
{
	const char *dash = memchr(p, '-', (size_t)(end - p));

	if (dash && memchr(dash + 1, '-', (size_t)(end - dash) - 1)) {
		if (!component_is_valid(p, dash, &year))
			return false;
		p = dash + 1;
	}
	return components_are_valid(p, end, '-', month_and_day, ARRAY_SIZE(month_and_day), 0);
}

/* The number of a day of the week, Monday first, or -EINVAL. */
static int find_weekday(const char *p, size_t length)
{
	for (size_t i = 0; i < ARRAY_SIZE(weekdays); i++) {
		if (strlen(weekdays[i]) == length && strncasecmp(weekdays[i], p, length) == 0)
			return (int)(i / 2);
	}
	return -EINVAL;
}

/* DAY or DAY..DAY, the second not before the first. */
static bool weekday_item_is_valid(const char *p, const char *end)
{
	const char *dots = memchr(p, '.', (size_t)(end - p));
	int first = find_weekday(p, (size_t)((dots ? dots : end) - p));

	if (!dots || end - dots < 2 || dots[1] != '.')
		return !dots && first >= 0;
	return first >= 0 && find_weekday(dots + 2, (size_t)(end - dots) - 2) >= first;
}

static bool weekdays_are_valid(const char *p, const char *end)
{
	for (;;) {
		const char *comma = memchr(p, ',', (size_t)(end - p));

		if (!weekday_item_is_valid(p, comma ? comma : end))
			return false;
		if (!comma)
			return true;
		p = comma + 1;
	}
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool calendar_is_valid(const char *value)
{
	const char *word = NULL;
	size_t length = 0;
	bool has_more = unit_plain_next(&value, &word, &length) > 0;
	bool is_empty = true;

	if (has_more && is_letter(*word)) {
		if (!weekdays_are_valid(word, word + length))
			return false;
		is_empty = false;
		has_more = unit_plain_next(&value, &word, &length) > 0;
	}
	if (has_more && memchr(word, '-', length)) {
		if (!date_is_valid(word, word + length))
			return false;
		is_empty = false;
		has_more = unit_plain_next(&value, &word, &length) > 0;
	}
	if (has_more && memchr(word, ':', length)) {
		if (!components_are_valid(word, word + length, ':', hour_to_second,
					  ARRAY_SIZE(hour_to_second), 1))
			return false;
		is_empty = false;
		has_more = unit_plain_next(&value, &word, &length) > 0;
	}
	if (has_more && unit_word_is_among(word, length, "UTC"))
		has_more = unit_plain_next(&value, &word, &length) > 0;
	return !has_more && !is_empty;
}

int unit_check_calendar(const struct unit_check *check, const struct unit_rule *rule)
{
	const char *value = check->entry->value;

	(void)rule;
	if (unit_word_is_among(value, strlen(value), SHORTHANDS) || calendar_is_valid(value))
		return 0;
	return unit_refuse(
		check, REFUSAL_UNIT_DIRECTIVE, value,
		"it must be a calendar event such as 'hourly', 'Mon..Fri 06:30' or '*-*-01 04:00:00 UTC'; see systemd.time(7)");
}
