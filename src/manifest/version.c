/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Semantic Versioning 2.0.0 and constraints over it. A version is taken apart once, into numbers
 * and borrowed spans; every question is then about those. What is not understood is -EINVAL, so
 * that a constraint of another dialect can never pass as "satisfied".
 */

#include "manifest/version.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CONSTRAINT_MAX 256U

struct parts {
	uint64_t core[3];
	const char *pre; /* pre-release identifiers, joined by dots */
	size_t pre_length;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_identifier_char(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
}

/* A number below 2^63 without leading zeros at **s, which moves behind it. */
static bool take_number(const char **s, uint64_t *ret)
{
	const char *p = *s;
	uint64_t n = 0;

	if (!is_digit(*p) || (p[0] == '0' && is_digit(p[1])))
		return false;
	for (; is_digit(*p); p++) {
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*p - '0'), &n) || n > INT64_MAX)
			return false;
	}
	*s = p;
	*ret = n;
	return true;
}

static bool is_all_digits(const char *s, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (!is_digit(s[i]))
			return false;
	}
	return length > 0;
}

/* Dot-joined identifiers at **s; numeric ones of a pre-release may not begin with 0. */
static bool take_identifiers(const char **s, bool is_pre)
{
	const char *p = *s;

	for (;;) {
		const char *start = p;

		while (is_identifier_char(*p))
			p++;
		if (p == start)
			return false;
		if (is_pre && p - start > 1 && *start == '0' &&
		    is_all_digits(start, (size_t)(p - start)))
			return false;
		if (*p != '.')
			break;
		p++;
	}
	*s = p;
	return true;
}

static bool version_parse(const char *version, struct parts *ret)
{
	struct parts parts = {0};
	const char *p = version;

	if (strnlen(version, VERSION_MAX + 1) > VERSION_MAX)
		return false;
	for (unsigned i = 0; i < 3; i++) {
		if (i > 0 && *p++ != '.')
			return false;
		if (!take_number(&p, &parts.core[i]))
			return false;
	}
	if (*p == '-') {
		parts.pre = ++p;
		if (!take_identifiers(&p, true))
			return false;
		parts.pre_length = (size_t)(p - parts.pre);
	}
	if (*p == '+') {
		p++;
		if (!take_identifiers(&p, false))
			return false;
	}
	if (*p != '\0')
		return false;
	*ret = parts;
	return true;
}

bool version_is_valid(const char *version)
{
	struct parts parts;

	return version_parse(version, &parts);
}

static size_t identifier_length(const char *s, size_t left)
{
	const char *dot = memchr(s, '.', left);

	return dot ? (size_t)(dot - s) : left;
}

/* Numbers before words; numbers by value (they have no leading zeros, so length decides first). */
static int compare_identifier(const char *a, size_t a_length, const char *b, size_t b_length)
{
	bool a_is_number = is_all_digits(a, a_length);
	bool b_is_number = is_all_digits(b, b_length);
	int r;

	if (a_is_number != b_is_number)
		return a_is_number ? -1 : 1;
	if (a_is_number && a_length != b_length)
		return a_length < b_length ? -1 : 1;
	r = memcmp(a, b, MIN(a_length, b_length));
	if (r != 0)
		return r < 0 ? -1 : 1;
	return (a_length > b_length) - (a_length < b_length);
}

static int compare_pre(const struct parts *a, const struct parts *b)
{
	size_t i = 0;
	size_t j = 0;

	if (!a->pre || !b->pre)
		return (a->pre ? 0 : 1) - (b->pre ? 0 : 1);
	while (i < a->pre_length && j < b->pre_length) {
		size_t n = identifier_length(a->pre + i, a->pre_length - i);
		size_t m = identifier_length(b->pre + j, b->pre_length - j);
		int r = compare_identifier(a->pre + i, n, b->pre + j, m);

		if (r != 0)
			return r;
		i += n + 1;
		j += m + 1;
	}
	return (i < a->pre_length ? 1 : 0) - (j < b->pre_length ? 1 : 0);
}

static int compare_parts(const struct parts *a, const struct parts *b)
{
	for (unsigned i = 0; i < 3; i++) {
		if (a->core[i] != b->core[i])
			return a->core[i] < b->core[i] ? -1 : 1;
	}
	return compare_pre(a, b);
}

int version_compare(const char *a, const char *b)
{
	struct parts x = {0};
	struct parts y = {0};

	(void)version_parse(a, &x);
	(void)version_parse(b, &y);
	return compare_parts(&x, &y);
}

enum comparison {
	COMPARISON_EQUAL,
	COMPARISON_GREATER,
	COMPARISON_GREATER_EQUAL,
	COMPARISON_LESS,
	COMPARISON_LESS_EQUAL,
	COMPARISON_CARET,
	COMPARISON_TILDE,
};

static enum comparison take_operator(const char **s)
{
	static const struct {
		const char *text;
		enum comparison value;
	} operators[] = {
		{">=", COMPARISON_GREATER_EQUAL},
                {"<=", COMPARISON_LESS_EQUAL   },
		{">",  COMPARISON_GREATER      },
                {"<",  COMPARISON_LESS         },
		{"=",  COMPARISON_EQUAL        },
                {"^",  COMPARISON_CARET        },
		{"~",  COMPARISON_TILDE        },
	};

	for (size_t i = 0; i < ARRAY_SIZE(operators); i++) {
		size_t length = strlen(operators[i].text);

		if (strncmp(*s, operators[i].text, length) == 0) {
			*s += length;
			return operators[i].value;
		}
	}
	return COMPARISON_EQUAL;
}

/*
 * `^` keeps everything up to the leftmost number that is not zero, `~` MAJOR.MINOR. The numbers are
 * compared, not an upper bound: 2.0.0-rc.1 comes before 2.0.0 but is no 1.x.
 */
static bool shares_core(const struct parts *a, const struct parts *b, enum comparison comparison)
{
	unsigned n = 2;

	if (comparison == COMPARISON_CARET)
		n = b->core[0] > 0 ? 1 : b->core[1] > 0 ? 2 : 3;
	for (unsigned i = 0; i < n; i++) {
		if (a->core[i] != b->core[i])
			return false;
	}
	return true;
}

static bool holds(const struct parts *version, enum comparison comparison,
		  const struct parts *bound)
{
	int r = compare_parts(version, bound);

	switch (comparison) {
	case COMPARISON_EQUAL:
		return r == 0;
	case COMPARISON_GREATER:
		return r > 0;
	case COMPARISON_GREATER_EQUAL:
		return r >= 0;
	case COMPARISON_LESS:
		return r < 0;
	case COMPARISON_LESS_EQUAL:
		return r <= 0;
	case COMPARISON_CARET:
	case COMPARISON_TILDE:
		return r >= 0 && shares_core(version, bound, comparison);
	default:
		return false;
	}
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Moves over blanks and at most one comma. */
static void skip_joint(const char **s)
{
	while (is_blank(**s))
		(*s)++;
	if (**s == ',')
		(*s)++;
	while (is_blank(**s))
		(*s)++;
}

/* One comparison at **s, which moves behind it. */
static int take_comparison(const char **s, const struct parts *version, bool *ret)
{
	char text[VERSION_MAX + 1] = "";
	struct parts bound = {0};
	enum comparison comparison = take_operator(s);
	size_t length;

	while (is_blank(**s))
		(*s)++;
	length = strcspn(*s, ", \t");
	if (length > VERSION_MAX)
		return -EINVAL;
	memcpy(text, *s, length);
	text[length] = '\0';
	if (!version_parse(text, &bound))
		return -EINVAL;
	*s += length;
	*ret = holds(version, comparison, &bound);
	return 0;
}

int version_satisfies(const char *version, const char *constraint, bool *ret)
{
	char text[CONSTRAINT_MAX + 1] = "";
	size_t length = strnlen(constraint, sizeof(text));
	struct parts parts = {0};
	const char *p = text;
	bool all = true;

	if (!version_parse(version, &parts) || length > CONSTRAINT_MAX)
		return -EINVAL;
	while (length > 0 && is_blank(constraint[length - 1]))
		length--;
	memcpy(text, constraint, length);
	text[length] = '\0';
	while (is_blank(*p))
		p++;
	for (;;) {
		bool one = false;
		int r = take_comparison(&p, &parts, &one);

		if (r < 0)
			return r;
		all = all && one;
		if (*p == '\0')
			break;
		skip_joint(&p);
	}
	*ret = all;
	return 0;
}
