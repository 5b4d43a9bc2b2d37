/* SPDX-License-Identifier: Apache-2.0 */

/* Strings: formatting, lists, growing buffers, and what makes foreign text safe to print. */

#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

bool str_equal(const char *a, const char *b)
{
	if (!a || !b)
		return a == b;
	return strcmp(a, b) == 0;
}

bool str_starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends_with(const char *s, const char *suffix)
{
	size_t length = strlen(s);
	size_t wanted = strlen(suffix);

	return length >= wanted && memcmp(s + length - wanted, suffix, wanted) == 0;
}

int str_vformat(char **ret, const char *format, va_list arguments)
{
	char *s = NULL;

	if (vasprintf(&s, format, arguments) < 0)
		return -ENOMEM;
	*ret = s;
	return 0;
}

int str_format(char **ret, const char *format, ...)
{
	va_list arguments;
	int r;

	va_start(arguments, format);
	r = str_vformat(ret, format, arguments);
	va_end(arguments);
	return r;
}

/* The length of the UTF-8 sequence at *s*, its code point in *ret_code*; 0 where there is none. */
static size_t utf8_sequence(const unsigned char *s, size_t left, uint32_t *ret_code)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t length = s[0] < 0x80             ? 1
			: (s[0] & 0xe0) == 0xc0 ? 2
			: (s[0] & 0xf0) == 0xe0 ? 3
			: (s[0] & 0xf8) == 0xf0 ? 4
						: 0;
	uint32_t code;

	if (length == 0 || length > left)
		return 0;
	code = length == 1 ? s[0] : s[0] & (0x7fU >> length);
	for (size_t i = 1; i < length; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (s[i] & 0x3fU);
	}
	if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	*ret_code = code;
	return length;
}

size_t str_utf8_length(const char *s, size_t length)
{
	size_t at = 0;

	while (at < length) {
		uint32_t code = 0;
		size_t n = utf8_sequence((const unsigned char *)s + at, length - at, &code);

		if (n == 0 || code == 0)
			break;
		at += n;
	}
	return at;
}

bool str_is_utf8(const char *s, size_t length)
{
	return str_utf8_length(s, length) == length;
}

/* C0, C1, DEL, and the marks that reorder or hide what stands around them. */
static bool code_is_printable(uint32_t code)
{
	if (code < 0x20 || (code >= 0x7f && code < 0xa0))
		return false;
	if ((code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e))
		return false;
	return !(code >= 0x2060 && code <= 0x206f) && code != 0xfeff;
}

char *str_escape(const char *s, size_t length, size_t max)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *in = (const unsigned char *)s;
	size_t shown = MIN(length, max);
	char *out = malloc(shown * 4 + 4);
	size_t at = 0;
	size_t n = 0;

	if (!out)
		return NULL;
	while (at < shown) {
		uint32_t code = 0;
		size_t step = utf8_sequence(in + at, shown - at, &code);

		if (step > 0 && code_is_printable(code)) {
			memcpy(out + n, in + at, step);
			n += step;
			at += step;
			continue;
		}
		out[n++] = '\\';
		out[n++] = 'x';
		out[n++] = hex[in[at] >> 4];
		out[n++] = hex[in[at] & 0xf];
		at++;
	}
	if (shown < length) {
		memcpy(out + n, "...", 3);
		n += 3;
	}
	out[n] = '\0';
	return out;
}

char *str_format_shown(size_t max, const char *format, va_list arguments)
{
	cleanup_free char *text = NULL;

	if (str_vformat(&text, format, arguments) < 0)
		return NULL;
	return str_escape(text, strlen(text), max);
}

int strv_add(struct strv *list, const char *s)
{
	char **larger;
	char *copy;

	larger = reallocarray(list->items, list->count + 2, sizeof(*larger));
	if (!larger)
		return -ENOMEM;
	list->items = larger;
	copy = strdup(s);
	if (!copy)
		return -ENOMEM;
	larger[list->count++] = copy;
	larger[list->count] = NULL;
	return 0;
}

bool strv_has(const struct strv *list, const char *s)
{
	for (size_t i = 0; i < list->count; i++) {
		if (strcmp(list->items[i], s) == 0)
			return true;
	}
	return false;
}

static int compare_strings(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void strv_sort(struct strv *list)
{
	if (list->count > 1)
		qsort(list->items, list->count, sizeof(*list->items), compare_strings);
}

void strv_done(struct strv *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = STRV_INIT;
}

static int buffer_reserve(struct buffer *buffer, size_t more)
{
	size_t wanted;
	char *larger;

	if (__builtin_add_overflow(buffer->size, more, &wanted) ||
	    __builtin_add_overflow(wanted, 1, &wanted))
		return -EOVERFLOW;
	if (wanted <= buffer->capacity)
		return 0;
	wanted = MAX(wanted, buffer->capacity * 2);
	larger = realloc(buffer->data, wanted);
	if (!larger)
		return -ENOMEM;
	buffer->data = larger;
	buffer->capacity = wanted;
	return 0;
}

int buffer_add(struct buffer *buffer, const void *data, size_t size)
{
	int r = buffer_reserve(buffer, size);

	if (r < 0)
		return r;
	if (size > 0)
		memcpy(buffer->data + buffer->size, data, size);
	buffer->size += size;
	buffer->data[buffer->size] = '\0';
	return 0;
}

int buffer_format(struct buffer *buffer, const char *format, ...)
{
	cleanup_free char *text = NULL;
	va_list arguments;
	int n;

	va_start(arguments, format);
	n = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (n < 0)
		return -ENOMEM;
	return buffer_add(buffer, text, (size_t)n);
}

void buffer_done(struct buffer *buffer)
{
	free(buffer->data);
	*buffer = BUFFER_INIT;
}
