/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Lines of a stream. Why lines, and not lengths: a serial port of a VM has no connections. Whoever
 * opens it may find the second half of what was meant for the one before, and a length that is read
 * out of the middle of something swallows all that comes after. The end of a line cannot be
 * mistaken (JSON has none inside), so whatever was before, behind the next '\n' both sides agree
 * again.
 */

#include "ipc/line.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int line_init(struct line *line, size_t max)
{
	char *text = malloc(max + 1);

	if (!text)
		return -ENOMEM;
	*line = (struct line){.text = text, .max = max};
	return 0;
}

void line_done(struct line *line)
{
	free(line->text);
	*line = LINE_INIT;
}

/* The line has ended. 0, LINE_E_MORE where it is none, or LINE_E_TOO_LONG. */
static int end_line(struct line *line)
{
	bool was_too_long = line->is_skipping;

	line->is_skipping = false;
	line->is_taken = true;
	if (was_too_long)
		return LINE_E_TOO_LONG;
	if (line->size > 0 && line->text[line->size - 1] == '\r')
		line->size--;
	line->text[line->size] = '\0';
	return line->size > 0 ? 0 : LINE_E_MORE;
}

static void add(struct line *line, const char *data, size_t size)
{
	if (line->is_taken) {
		line->is_taken = false;
		line->size = 0;
	}
	if (size > line->max - line->size)
		line->is_skipping = true;
	if (line->is_skipping)
		return;
	memcpy(line->text + line->size, data, size);
	line->size += size;
}

int line_take(struct line *line, const char **data, size_t *size)
{
	while (*size > 0) {
		const char *end = memchr(*data, '\n', *size);
		size_t length = end ? (size_t)(end - *data) : *size;
		int r;

		add(line, *data, length);
		*data += length;
		*size -= length;
		if (!end)
			break;
		*data += 1;
		*size -= 1;
		r = end_line(line);
		if (r != LINE_E_MORE)
			return r;
	}
	return LINE_E_MORE;
}
