/* SPDX-License-Identifier: Apache-2.0 */

/* Rows of tables, in as few characters as say it. */

#include "netprobe/text.h"

#include <inttypes.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

#include "base/str.h"

#define STEP 1000U

void text_end(const char *ip, uint32_t port, char text[TEXT_END_SIZE])
{
	cleanup_free char *safe = str_escape(ip, strlen(ip), 46);
	const char *address = safe ? safe : "?";

	if (strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0)
		(void)snprintf(text, TEXT_END_SIZE, "*:%u", port);
	else if (strchr(address, ':'))
		(void)snprintf(text, TEXT_END_SIZE, "[%.46s]:%u", address, port);
	else
		(void)snprintf(text, TEXT_END_SIZE, "%.46s:%u", address, port);
}

void text_process(const Netprobe__FlowAttributionEvent *flow, char text[TEXT_PROCESS_SIZE])
{
	cleanup_free char *safe = str_escape(flow->comm, strlen(flow->comm), 16);

	if (flow->tgid == 0)
		(void)snprintf(text, TEXT_PROCESS_SIZE, "?");
	else
		(void)snprintf(text, TEXT_PROCESS_SIZE, "%.64s[%u]", safe ? safe : "", flow->tgid);
}

void text_short(const char *from, char *text, size_t size)
{
	cleanup_free char *safe = str_escape(from, strlen(from), size);
	size_t length = safe ? strlen(safe) : 0;

	if (length >= size)
		length = str_utf8_length(safe, size - 1);
	memcpy(text, safe ? safe : "", length);
	text[length] = '\0';
}

/* How wide a character is: of some there are two columns, of some none. */
static size_t width_of(const char *text, size_t length)
{
	static locale_t utf8;
	mbstate_t state = {0};
	wchar_t character = 0;
	locale_t before;
	int width = 1;

	if (!utf8)
		utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL);
	/* A host without it has terminals like others. */
	if (!utf8)
		return 1;
	before = uselocale(utf8);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): its state is here, and there is one thread */
	if (mbrtowc(&character, text, length, &state) == length)
		width = wcwidth(character);
	(void)uselocale(before);
	return width < 0 ? 1 : (size_t)width;
}

size_t text_fit(const char *text, size_t columns, size_t *ret_columns)
{
	size_t used = 0;
	size_t at = 0;

	while (text[at] != '\0') {
		size_t length = 1;
		size_t width;

		while (((unsigned char)text[at + length] & 0xc0U) == 0x80U)
			length++;
		width = length > 1 ? width_of(text + at, length) : 1;
		if (used + width > columns)
			break;
		used += width;
		at += length;
	}
	*ret_columns = used;
	return at;
}

void text_column(const char *text, size_t width, char *to, size_t size)
{
	size_t columns;
	size_t n = text_fit(text, width, &columns);
	size_t blanks = width - columns;

	n = MIN(n, size - 1);
	memcpy(to, text, n);
	blanks = MIN(blanks, size - 1 - n);
	memset(to + n, ' ', blanks);
	to[n + blanks] = '\0';
}

int text_blanks(const char *text, size_t width)
{
	size_t columns;

	return text[text_fit(text, width, &columns)] == '\0' ? (int)(width - columns) : 0;
}

void text_container(const char *id, char text[TEXT_CONTAINER_SIZE])
{
	char safe[TEXT_CONTAINER_SIZE];

	text_short(id[0] ? id : "-", safe, sizeof(safe));
	text_column(safe, TEXT_CONTAINER_COLUMNS, text, TEXT_CONTAINER_SIZE);
}

void text_count(uint64_t value, char text[TEXT_COUNT_SIZE])
{
	static const char units[] = " KMGTPE";
	uint64_t rest = value;
	unsigned unit = 1;

	if (value < STEP) {
		(void)snprintf(text, TEXT_COUNT_SIZE, "%" PRIu64, value);
		return;
	}
	while (rest >= 1ULL * STEP * STEP) {
		rest /= STEP;
		unit++;
	}
	/* Now below a million: thousands with one digit behind the point. */
	(void)snprintf(text, TEXT_COUNT_SIZE, "%" PRIu64 ".%" PRIu64 "%c", rest / STEP,
		       rest % STEP / 100, units[unit]);
}
