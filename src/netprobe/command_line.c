/* SPDX-License-Identifier: Apache-2.0 */

/* A command line without what may be secret in it. */

#include "netprobe/command_line.h"

#include <string.h>

#include "base/str.h"

/* Bytes that are no UTF-8, and control bytes, become '?': a process chooses its own words. */
static size_t copy_word(char *to, size_t room, const char *from, size_t length)
{
	size_t used = 0;

	while (length > 0 && used < room) {
		size_t take = 1;

		while (take < length && take < 4 && str_utf8_length(from, take) == 0)
			take++;
		if (str_utf8_length(from, take) != take) {
			to[used++] = '?';
			take = 1;
		} else if (used + take > room) {
			break;
		} else if (take == 1 && ((unsigned char)*from < ' ' || *from == 0x7f)) {
			to[used++] = '?';
		} else {
			memcpy(to + used, from, take);
			used += take;
		}
		from += take;
		length -= take;
	}
	return used;
}

void command_line_parse(const char *data, size_t size, struct command_line *ret)
{
	size_t length = strnlen(data, size);
	size_t used = copy_word(ret->word, sizeof(ret->word) - 1, data, length);

	ret->word[used] = '\0';
	ret->arguments = 0;
	for (size_t at = length; at + 1 < size; at++) {
		if (data[at] == '\0')
			ret->arguments++;
	}
}
