/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The types of unquoted scalars. Octal and hexadecimal numbers count as text here, so that a field
 * that wants a number says so, instead of reading one that people and other YAML versions read
 * differently.
 */

#include "manifest/yaml_scalar.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

static bool is_one_of(const char *text, const char *const *words)
{
	for (; *words; words++) {
		if (strcmp(*words, text) == 0)
			return true;
	}
	return false;
}

static size_t count_digits(const char *s)
{
	return strspn(s, "0123456789");
}

static bool is_integer(const char *s)
{
	size_t n;

	if (*s == '-' || *s == '+')
		s++;
	n = count_digits(s);
	return n > 0 && s[n] == '\0';
}

static bool is_float(const char *s)
{
	static const char *const words[] = {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN", NULL};
	size_t before;
	size_t after = 0;

	if (*s == '-' || *s == '+')
		s++;
	if (is_one_of(s, words))
		return true;
	before = count_digits(s);
	s += before;
	if (*s == '.') {
		s++;
		after = count_digits(s);
		s += after;
	}
	if (before + after == 0)
		return false;
	if (*s == 'e' || *s == 'E') {
		s++;
		return is_integer(s);
	}
	return *s == '\0';
}

enum yaml_type yaml_type_of(const char *text)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
	static const char *const bools[] = {"true",  "True",  "TRUE", "false",
					    "False", "FALSE", NULL};

	if (is_one_of(text, nulls))
		return YAML_NULL;
	if (is_one_of(text, bools))
		return YAML_BOOL;
	if (is_integer(text))
		return YAML_INTEGER;
	return is_float(text) ? YAML_FLOAT : YAML_TEXT;
}

int yaml_node_uint(const struct yaml_node *node, uint64_t *ret)
{
	const char *s = node->text;
	uint64_t n = 0;

	if (*s == '-')
		return -ERANGE;
	if (*s == '+')
		s++;
	for (; *s; s++) {
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*s - '0'), &n))
			return -ERANGE;
	}
	*ret = n;
	return 0;
}
