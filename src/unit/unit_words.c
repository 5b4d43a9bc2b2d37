/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The value syntax of unit files: words, quotes, escapes, specifiers, booleans, time spans, sizes.
 * Everything here accepts a subset of what systemd accepts and gives it the same meaning, so that a
 * value that passes is read by PID 1 as it was read here.
 */

#include "unit/unit_words.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"

#define BLANKS "\t "
#define DIGITS "0123456789"
/* A Unicode escape's UTF-8 has at most this many bytes. */
#define UTF8_MAX 4U

struct span_unit {
	const char *name;
	uint64_t usec;
};

#define SECOND 1000000ULL
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define MONTH  2629800000000ULL
#define YEAR   31557600000000ULL

static const struct span_unit span_units[] = {
	{"usec",    1      },
        {"us",      1      },
        {"msec",    1000   },
        {"ms",      1000   },
	{"seconds", SECOND },
        {"second",  SECOND },
        {"sec",     SECOND },
        {"s",       SECOND },
	{"minutes", MINUTE },
        {"minute",  MINUTE },
        {"min",     MINUTE },
        {"m",       MINUTE },
	{"hours",   HOUR   },
        {"hour",    HOUR   },
        {"hr",      HOUR   },
        {"h",       HOUR   },
	{"days",    DAY    },
        {"day",     DAY    },
        {"d",       DAY    },
        {"weeks",   7 * DAY},
	{"week",    7 * DAY},
        {"w",       7 * DAY},
        {"months",  MONTH  },
        {"month",   MONTH  },
	{"M",       MONTH  },
        {"years",   YEAR   },
        {"year",    YEAR   },
        {"y",       YEAR   },
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static int digit_value(char c, unsigned base)
{
	int n = c >= '0' && c <= '9'   ? c - '0'
		: c >= 'a' && c <= 'f' ? c - 'a' + 10
		: c >= 'A' && c <= 'F' ? c - 'A' + 10
				       : -1;

	return n >= 0 && (unsigned)n < base ? n : -EINVAL;
}

static size_t encode_utf8(uint32_t code, char *to)
{
	if (code < 0x80) {
		to[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		to[0] = (char)(0xc0 | code >> 6);
		to[1] = (char)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		to[0] = (char)(0xe0 | code >> 12);
		to[1] = (char)(0x80 | (code >> 6 & 0x3f));
		to[2] = (char)(0x80 | (code & 0x3f));
		return 3;
	}
	to[0] = (char)(0xf0 | code >> 18);
	to[1] = (char)(0x80 | (code >> 12 & 0x3f));
	to[2] = (char)(0x80 | (code >> 6 & 0x3f));
	to[3] = (char)(0x80 | (code & 0x3f));
	return 4;
}

/* *count* digits of *base* at **p, which moves behind them. */
static int take_code(const char **p, size_t count, unsigned base, uint32_t *ret)
{
	uint32_t code = 0;

	for (size_t i = 0; i < count; i++) {
		int n = digit_value((*p)[i], base);

		if (n < 0)
			return n;
		code = code * base + (uint32_t)n;
	}
	if (code == 0 || code > 0x10ffff)
		return -EINVAL;
	*p += count;
	*ret = code;
	return 0;
}

/* The escape behind a backslash at **p, which moves behind it, as bytes in *to*. */
static int take_escape(const char **p, char to[UTF8_MAX], size_t *ret_length)
{
	static const char letters[] = "abfnrtv\\\"'s";
	static const char meanings[] = "\a\b\f\n\r\t\v\\\"' ";
	const char *letter = **p ? strchr(letters, **p) : NULL;
	uint32_t code = 0;
	bool is_byte = true;
	size_t digits;
	int r;

	if (letter) {
		to[0] = meanings[letter - letters];
		*ret_length = 1;
		(*p)++;
		return 0;
	}
	switch (**p) {
	case 'x':
		(*p)++;
		r = take_code(p, 2, 16, &code);
		break;
	case 'u':
	case 'U':
		is_byte = false;
		digits = **p == 'u' ? 4 : 8;
		(*p)++;
		r = take_code(p, digits, 16, &code);
		break;
	default:
		r = take_code(p, 3, 8, &code);
	}
	if (r < 0)
		return r;
	if (is_byte && code > 0xff)
		return -EINVAL;
	to[0] = (char)code;
	*ret_length = is_byte ? 1 : encode_utf8(code, to);
	return 0;
}

/* Escapes must not bring in what the file itself may not hold; tabs and newlines are harmless. */
static int check_word(const char *word, size_t length)
{
	cleanup_free char *copy = strndup(word, length);
	cleanup_free char *shown = NULL;

	if (!copy)
		return -ENOMEM;
	for (char *c = copy; *c; c++) {
		if (*c == '\t' || *c == '\n')
			*c = ' ';
	}
	shown = str_escape(copy, length, length);
	if (!shown)
		return -ENOMEM;
	return strcmp(copy, shown) == 0 ? 0 : -EINVAL;
}

/* Appends what stands at **p to *to*. */
static int take_unit(const char **p, char *to, size_t *length)
{
	size_t n = 1;

	if (**p != '\\') {
		to[(*length)++] = *(*p)++;
		return 0;
	}
	(*p)++;
	if (take_escape(p, to + *length, &n) < 0)
		return -EINVAL;
	*length += n;
	return 0;
}

int unit_word_next(const char **p, char **ret)
{
	const char *at = *p + strspn(*p, BLANKS);
	cleanup_free char *word = NULL;
	size_t length = 0;
	char quote = '\0';
	int r;

	if (*at == '\0')
		return 0;
	/* An escape is never shorter than what it stands for. */
	word = malloc(strlen(at) + UTF8_MAX);
	if (!word)
		return -ENOMEM;
	while (*at != '\0' && (quote || !is_blank(*at))) {
		if (quote ? *at == quote : *at == '"' || *at == '\'') {
			quote = (char)(quote ? '\0' : *at);
			at++;
			continue;
		}
		r = take_unit(&at, word, &length);
		if (r < 0)
			return r;
	}
	if (quote)
		return -EINVAL;
	word[length] = '\0';
	r = check_word(word, length);
	if (r < 0)
		return r;
	*p = at;
	*ret = TAKE_PTR(word);
	return 1;
}

int unit_plain_next(const char **p, const char **ret, size_t *ret_length)
{
	*p += strspn(*p, BLANKS);
	if (**p == '\0')
		return 0;
	*ret = *p;
	*ret_length = strcspn(*p, BLANKS);
	*p += *ret_length;
	return 1;
}

bool unit_word_is_among(const char *word, size_t length, const char *words)
{
	const char *known = NULL;
	size_t known_length = 0;

	while (unit_plain_next(&words, &known, &known_length) > 0) {
		if (known_length == length && memcmp(known, word, length) == 0)
			return true;
	}
	return false;
}

bool unit_specifiers_are_known(const char *text, bool allow_credentials)
{
	for (const char *c = strchr(text, '%'); c; c = strchr(c + 2, '%')) {
		if (c[1] != '%' && !(allow_credentials && c[1] == 'd'))
			return false;
	}
	return true;
}

int unit_parse_boolean(const char *text, bool *ret)
{
	static const char *const yes[] = {"1", "yes", "y", "true", "t", "on"};
	static const char *const no[] = {"0", "no", "n", "false", "f", "off"};

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		bool is_true = strcasecmp(text, yes[i]) == 0;

		if (is_true || strcasecmp(text, no[i]) == 0) {
			*ret = is_true;
			return 0;
		}
	}
	return -EINVAL;
}

int unit_parse_number(const char *text, size_t length, uint64_t *ret)
{
	uint64_t n = 0;

	if (length == 0)
		return -EINVAL;
	for (size_t i = 0; i < length; i++) {
		int digit = digit_value(text[i], 10);

		if (digit < 0 || __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)digit, &n))
			return -EINVAL;
	}
	*ret = n;
	return 0;
}

int unit_parse_size(const char *text, size_t length, uint64_t *ret)
{
	static const char suffixes[] = "KMGTPE";
	const char *suffix = length > 0 ? strchr(suffixes, text[length - 1]) : NULL;
	uint64_t n = 0;
	int r;

	r = unit_parse_number(text, suffix ? length - 1 : length, &n);
	if (r < 0)
		return r;
	if (suffix && __builtin_mul_overflow(n, 1ULL << (10 * (suffix - suffixes + 1)), &n))
		return -EINVAL;
	*ret = n;
	return 0;
}

static int find_span_unit(const char *name, size_t length, uint64_t *ret)
{
	if (length == 0) {
		*ret = SECOND;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(span_units); i++) {
		if (strlen(span_units[i].name) == length &&
		    memcmp(span_units[i].name, name, length) == 0) {
			*ret = span_units[i].usec;
			return 0;
		}
	}
	return -EINVAL;
}

/* One "NUMBER[.FRACTION] [UNIT]" at **p, which moves behind it and the blanks that follow. */
static int take_span_part(const char **p, uint64_t *ret)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzM";
	size_t digits = strspn(*p, DIGITS);
	uint64_t n = 0;
	uint64_t usec = 0;
	size_t length;
	int r;

	r = unit_parse_number(*p, digits, &n);
	if (r < 0)
		return r;
	*p += digits;
	if (**p == '.') {
		digits = strspn(++(*p), DIGITS);
		if (digits == 0)
			return -EINVAL;
		*p += digits;
		n++;
	}
	*p += strspn(*p, BLANKS);
	length = strspn(*p, letters);
	r = find_span_unit(*p, length, &usec);
	if (r < 0)
		return r;
	*p += length;
	*p += strspn(*p, BLANKS);
	return __builtin_mul_overflow(n, usec, ret) ? -EINVAL : 0;
}

int unit_parse_span(const char *text, uint64_t *ret)
{
	uint64_t total = 0;

	if (strcmp(text, "infinity") == 0) {
		*ret = UNIT_SPAN_INFINITY;
		return 0;
	}
	do {
		uint64_t part = 0;
		int r = take_span_part(&text, &part);

		if (r < 0)
			return r;
		if (__builtin_add_overflow(total, part, &total) || total > INT64_MAX)
			return -EINVAL;
	} while (*text != '\0');
	*ret = total;
	return 0;
}
