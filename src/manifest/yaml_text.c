/* SPDX-License-Identifier: Apache-2.0 */

/* What is looked at before the syntax is: the encoding, and bounds. */

#include "manifest/yaml_text.h"

#include <string.h>

#include "base/str.h"

#define BYTE_ORDER_MARK "\xef\xbb\xbf"

struct place {
	unsigned line;
	unsigned column;
};

/* A line ends with LF, CR LF or CR. Columns count characters, a mark before everything is none. */
static struct place place_of(const char *text, size_t offset)
{
	struct place place = {1, 1};
	size_t mark = strlen(BYTE_ORDER_MARK);
	bool has_mark = offset >= mark && memcmp(text, BYTE_ORDER_MARK, mark) == 0;

	for (size_t i = has_mark ? mark : 0; i < offset; i++) {
		bool is_break = text[i] == '\n' || (text[i] == '\r' && text[i + 1] != '\n');

		place.line += is_break;
		if (is_break)
			place.column = 1;
		else if ((text[i] & 0xc0) != 0x80)
			place.column++;
	}
	return place;
}

static bool check_encoding(const char *text, size_t size, struct yaml_reader *reader)
{
	size_t length = str_utf8_length(text, size);
	struct place place;

	if (length == size)
		return true;
	place = place_of(text, length);
	if (text[length] == '\0')
		yaml_problem_at(reader, place.line, place.column,
				"a NUL byte: expected text in UTF-8, remove it or save the file "
				"as UTF-8");
	else
		yaml_problem_at(reader, place.line, place.column,
				"the byte 0x%02x is not UTF-8 here: expected text in UTF-8, save "
				"the file as such",
				(unsigned char)text[length]);
	return false;
}

/*
 * YAML 1.2 has a mark at the beginning of a document, and for JSON's sake in quoted texts; libfyaml
 * takes it anywhere as a letter. Nobody sees it, so it may stand nowhere but at the beginning.
 */
static bool check_marks(const char *text, size_t size, struct yaml_reader *reader)
{
	const char *mark =
		size == 0 ? NULL
			  : memmem(&text[1], size - 1, BYTE_ORDER_MARK, strlen(BYTE_ORDER_MARK));
	struct place place;

	if (!mark)
		return true;
	place = place_of(text, (size_t)(mark - text));
	yaml_problem_at(reader, place.line, place.column,
			"a byte order mark, which nobody sees: expected none but before everything "
			"else, remove it");
	return false;
}

/*
 * Bounds that libfyaml needs before it sees the text: in brackets its scanner keeps all tokens
 * until it knows whether the first was a key (112 MB for 250 KB of them), and it takes quadratic
 * time over blank lines in a block scalar (48 s for 250 KB; both measured with 0.7.12).
 */
static bool check_bounds(const char *text, size_t size, struct yaml_reader *reader)
{
	unsigned indicators = 0;
	unsigned blanks = 0;
	unsigned line = 1;

	for (size_t i = 0; i < size; i++) {
		blanks = strchr(" \t\r\n", text[i]) ? blanks + 1 : 0;
		if (strchr("[]{},:?&*!-", text[i]))
			indicators++;
		if (text[i] == '\n')
			line++;
		if (indicators > YAML_INDICATORS_MAX) {
			yaml_problem_at(reader, line, 1,
					"more than 16384 brackets, commas, colons and dashes");
			return false;
		}
		if (blanks > YAML_BLANKS_MAX) {
			yaml_problem_at(reader, line, 1, "more than 1024 blanks and empty lines");
			return false;
		}
	}
	return true;
}

bool yaml_text_check(const char *text, size_t size, struct yaml_reader *reader)
{
	return check_encoding(text, size, reader) && check_marks(text, size, reader) &&
	       check_bounds(text, size, reader);
}
