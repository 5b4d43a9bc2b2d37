/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The grammar of unit files as systemd 252 reads it, less everything that it would only warn about
 * or that a reviewer would read differently. A logical line is physical lines joined where one ends
 * in an odd run of backslashes (the last of which becomes a blank); comment lines are dropped
 * before joining, also inside a continuation. Quotes and escapes belong to values and are left as
 * they are.
 */

#include "unit/unit_file.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/str.h"

#define BLANKS    " \t"
#define SHOWN_MAX 64U

/* A logical line that is being put together. */
struct pending {
	struct buffer text;
	unsigned line;       /* of its first physical line; 0: none is pending */
	size_t first_length; /* of the first physical line */
	bool is_bad;         /* already diagnosed: swallowed to its end */
};

struct reader {
	const char *file;
	struct diagnostics *diagnostics;
	struct unit_file *unit;
	struct pending pending;
	bool is_refused;
};

static void pending_reset(struct pending *pending)
{
	buffer_done(&pending->text);
	*pending = (struct pending){0};
}

static void reader_done(struct reader *reader)
{
	pending_reset(&reader->pending);
	reader->unit = unit_file_free(reader->unit);
}

struct unit_file *unit_file_free(struct unit_file *unit)
{
	if (!unit)
		return NULL;
	for (size_t i = 0; i < unit->n_sections; i++)
		free(unit->sections[i].name);
	for (size_t i = 0; i < unit->count; i++) {
		free(unit->entries[i].key);
		free(unit->entries[i].value);
	}
	free(unit->sections);
	free(unit->entries);
	free(unit);
	return NULL;
}

const char *unit_file_get(const struct unit_file *unit, const char *section, const char *key)
{
	for (size_t i = unit->count; i > 0; i--) {
		const struct unit_entry *entry = &unit->entries[i - 1];

		if (strcmp(entry->section, section) == 0 && strcmp(entry->key, key) == 0)
			return entry->value;
	}
	return NULL;
}

bool unit_file_has_section(const struct unit_file *unit, const char *section)
{
	for (size_t i = 0; i < unit->n_sections; i++) {
		if (strcmp(unit->sections[i].name, section) == 0)
			return true;
	}
	return false;
}

static int refuse_line(struct reader *reader, unsigned line, size_t column, const char *what)
{
	reader->is_refused = true;
	return diagnostics_add(reader->diagnostics, REFUSAL_BAD_UNIT, reader->file, line,
			       (unsigned)column, "%s", what);
}

/* The same with the text that is meant, made safe to print. */
static int refuse_text(struct reader *reader, unsigned line, const char *text, size_t length,
		       const char *what)
{
	cleanup_free char *shown = str_escape(text, length, SHOWN_MAX);

	if (!shown)
		return -ENOMEM;
	reader->is_refused = true;
	return diagnostics_add(reader->diagnostics, REFUSAL_BAD_UNIT, reader->file, line, 1,
			       "'%s' %s", shown, what);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* [*start, *end) without blanks at both ends. */
static void trim(const char *text, size_t *start, size_t *end)
{
	while (*start < *end && is_blank(text[*start]))
		(*start)++;
	while (*end > *start && is_blank(text[*end - 1]))
		(*end)--;
}

/* gcc 12's analyzer takes for lost what is kept behind the unit. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

static int add_section(struct reader *reader, const char *name, size_t length, unsigned line)
{
	struct unit_file *unit = reader->unit;
	struct unit_section *larger =
		reallocarray(unit->sections, unit->n_sections + 1, sizeof(*larger));
	char *copy;

	if (!larger)
		return -ENOMEM;
	unit->sections = larger;
	copy = strndup(name, length);
	if (!copy)
		return -ENOMEM;
	larger[unit->n_sections++] = (struct unit_section){copy, line};
	return 0;
}

#pragma GCC diagnostic pop

static int add_entry(struct unit_file *unit, const struct unit_entry *entry)
{
	struct unit_entry *larger = reallocarray(unit->entries, unit->count + 1, sizeof(*larger));

	if (!larger)
		return -ENOMEM;
	unit->entries = larger;
	larger[unit->count++] = *entry;
	return 0;
}

static int parse_header(struct reader *reader, const char *text, size_t start, size_t end)
{
	size_t length = end - start;

	if (text[end - 1] != ']' || length < 3 || length - 2 > UNIT_FILE_SECTION_MAX)
		return refuse_text(
			reader, reader->pending.line, text + start, length,
			"is not a section header; write '[Unit]', '[Service]', '[Timer]' or '[Install]' alone on the line");
	return add_section(reader, text + start + 1, length - 2, reader->pending.line);
}

/* Takes over what it stores; *at* is the place of '='. */
static int parse_assignment(struct reader *reader, const char *text, size_t start, size_t at,
			    size_t end)
{
	const struct pending *pending = &reader->pending;
	const struct unit_file *unit = reader->unit;
	cleanup_free char *key = NULL;
	cleanup_free char *value = NULL;
	size_t value_start = at + 1;
	size_t key_end = at;
	int r;

	trim(text, &value_start, &end);
	trim(text, &start, &key_end);
	key = strndup(text + start, key_end - start);
	value = strndup(text + value_start, end - value_start);
	if (!key || !value)
		return -ENOMEM;
	r = add_entry(reader->unit,
		      &(struct unit_entry){
			      .section = unit->sections[unit->n_sections - 1].name,
			      .key = key,
			      .value = value,
			      .line = pending->line,
			      .column = (unsigned)MIN(value_start, pending->first_length) + 1,
		      });
	if (r < 0)
		return r;
	key = NULL;
	value = NULL;
	return 0;
}

static int parse_logical(struct reader *reader)
{
	const struct pending *pending = &reader->pending;
	const char *text = pending->text.data;
	size_t end = pending->text.size;
	size_t start = 0;
	const char *equals;

	if (pending->is_bad || !text)
		return 0;
	trim(text, &start, &end);
	if (start == end)
		return 0;
	if (text[start] == '[')
		return parse_header(reader, text, start, end);
	equals = memchr(text + start, '=', end - start);
	if (!equals)
		return refuse_text(
			reader, pending->line, text + start, end - start,
			"is neither a section header nor an assignment; write 'Key=value'");
	if (equals == text + start)
		return refuse_text(reader, pending->line, text + start, end - start,
				   "has no key before '='; write 'Key=value'");
	if (reader->unit->n_sections == 0)
		return refuse_text(
			reader, pending->line, text + start, end - start,
			"stands outside a section; put it below '[Unit]' or another header");
	return parse_assignment(reader, text, start, (size_t)(equals - text), end);
}

/* Whether every byte may be in a unit: a person sees what systemd reads. */
static int line_is_plain(const char *line, size_t length, bool *ret)
{
	cleanup_free char *copy = strndup(line, length);
	cleanup_free char *shown = NULL;

	if (!copy)
		return -ENOMEM;
	for (size_t i = 0; i < length && copy[i] != '\0'; i++) {
		if (copy[i] == '\t')
			copy[i] = ' ';
	}
	shown = str_escape(copy, strlen(copy), length);
	if (!shown)
		return -ENOMEM;
	*ret = strlen(copy) == length && strcmp(copy, shown) == 0;
	return 0;
}

/* Comments are known by a physical line, blanks before them skipped. */
static bool line_is_comment(const char *line, size_t length)
{
	size_t i = 0;

	while (i < length && is_blank(line[i]))
		i++;
	return i < length && (line[i] == '#' || line[i] == ';');
}

static bool line_continues(const char *line, size_t length)
{
	size_t n = 0;

	while (n < length && line[length - 1 - n] == '\\')
		n++;
	return n % 2 == 1;
}

/* "\" and blanks behind it look like a continuation and are none. */
static bool line_pretends_to_continue(const char *line, size_t length)
{
	size_t start = 0;
	size_t end = length;

	trim(line, &start, &end);
	return end < length && line_continues(line, end);
}

static int mark_bad(struct reader *reader, unsigned line, size_t column, const char *what)
{
	if (reader->pending.is_bad)
		return 0;
	reader->pending.is_bad = true;
	return refuse_line(reader, line, column, what);
}

static int append_line(struct reader *reader, const char *line, size_t length, unsigned number)
{
	struct pending *pending = &reader->pending;
	bool is_plain = false;
	int r;

	r = line_is_plain(line, length, &is_plain);
	if (r < 0)
		return r;
	if (!is_plain)
		return mark_bad(
			reader, number, 1,
			"the line holds a byte that is not printable UTF-8, such as a carriage return, NUL or a byte order mark; remove it");
	if (pending->text.size + length > UNIT_FILE_LINE_MAX)
		return mark_bad(
			reader, number, 1,
			"the line, with what continues it, is longer than 4096 bytes; shorten it");
	if (line_pretends_to_continue(line, length))
		return mark_bad(
			reader, number, length,
			"blanks follow the backslash at the end, so that it does not continue the line; remove them");
	return buffer_add(&pending->text, line, length);
}

static int take_line(struct reader *reader, const char *line, size_t length, unsigned number)
{
	struct pending *pending = &reader->pending;
	bool continues;
	int r;

	if (line_is_comment(line, length)) {
		bool is_plain = false;

		r = line_is_plain(line, length, &is_plain);
		if (r < 0 || is_plain)
			return r;
		return refuse_line(
			reader, number, 1,
			"the comment holds a byte that is not printable UTF-8; remove it");
	}
	if (pending->line == 0) {
		pending->line = number;
		pending->first_length = length;
	}
	r = append_line(reader, line, length, number);
	if (r < 0)
		return r;
	continues = line_continues(line, length);
	if (continues) {
		if (!pending->is_bad)
			pending->text.data[pending->text.size - 1] = ' ';
		return 0;
	}
	r = parse_logical(reader);
	pending_reset(pending);
	return r;
}

static int read_lines(struct reader *reader, const char *text, size_t size)
{
	unsigned number = 0;
	size_t at = 0;

	while (at < size) {
		const char *newline = memchr(text + at, '\n', size - at);
		size_t length = newline ? (size_t)(newline - text) - at : size - at;
		int r = take_line(reader, text + at, length, ++number);

		if (r < 0)
			return r;
		at += length + 1;
	}
	if (reader->pending.line > 0)
		return refuse_line(
			reader, reader->pending.line, 1,
			"the file ends inside this continued line; remove the backslash at its end");
	return 0;
}

int unit_file_parse(const char *text, size_t size, const char *file, struct unit_file **ret,
		    struct diagnostics *diagnostics)
{
	CLEANUP(reader_done)
	struct reader reader = {.file = file, .diagnostics = diagnostics};
	int r;

	reader.unit = calloc(1, sizeof(*reader.unit));
	if (!reader.unit)
		return -ENOMEM;
	if (size == 0)
		r = refuse_line(
			&reader, 1, 1,
			"the unit is empty, which systemd takes for masked; write its sections");
	else if (size > UNIT_FILE_SIZE_MAX)
		r = refuse_line(&reader, 1, 1, "the unit is larger than 64 KiB; shorten it");
	else
		r = read_lines(&reader, text, size);
	if (r < 0)
		return r;
	if (reader.is_refused)
		return 1;
	*ret = TAKE_PTR(reader.unit);
	return 0;
}
