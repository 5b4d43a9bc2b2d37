/* SPDX-License-Identifier: Apache-2.0 */

/* Rows of tables, in as few characters as say it. */

#include "netprobe/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

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
