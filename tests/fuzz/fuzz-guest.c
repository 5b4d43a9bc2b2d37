/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the host of a VM sends to its guest agent. A stream is the same lines however it is cut; a
 * request that is accepted can be written and reads back as itself.
 */

#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"
#include "ipc/guest.h"
#include "ipc/line.h"
#include "must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_request(const char *text, size_t size)
{
	struct guest_request request = GUEST_REQUEST_INIT;
	struct guest_request again = GUEST_REQUEST_INIT;
	struct refusal refusal = REFUSAL_INIT;
	cleanup_free char *first = NULL;
	cleanup_free char *second = NULL;
	int r = guest_request_parse(text, size, &request, &refusal);

	must(strlen(request.request_id) <= REQUEST_ID_MAX);
	if (r != 0) {
		must(r < 0 || (refusal.code == (enum refusal_code)r && refusal.text[0]));
		return;
	}
	must(guest_verb_to_string(request.verb) != NULL);
	must(guest_request_format(&request, &first) == 0);
	must(strlen(first) <= GUEST_REQUEST_MAX);
	must(guest_request_parse(first, strlen(first) - 1, &again, &refusal) == 0);
	must(guest_request_format(&again, &second) == 0);
	must(strcmp(first, second) == 0);
}

/* The lines of a stream that comes in pieces of *step* bytes: how many, and a sum of them. */
static uint64_t read_all(const uint8_t *data, size_t size, size_t step, size_t max, bool is_checked)
{
	cleanup_line struct line line = LINE_INIT;
	uint64_t sum = 1;

	must(line_init(&line, max) == 0);
	while (size > 0) {
		const char *at = (const char *)data;
		size_t piece = MIN(size, step);
		int r;

		data += piece;
		size -= piece;
		while ((r = line_take(&line, &at, &piece)) != LINE_E_MORE) {
			must(r == 0 || r == LINE_E_TOO_LONG);
			sum = sum * 31 + (uint64_t)r;
			if (r != 0)
				continue;
			must(line.size > 0 && line.size <= max && line.text[line.size] == '\0');
			for (size_t i = 0; i < line.size; i++) {
				must(line.text[i] != '\n');
				sum = sum * 31 + (uint8_t)line.text[i];
			}
			if (is_checked)
				check_request(line.text, line.size);
		}
		must(piece == 0);
	}
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t step = size > 0 ? data[size - 1] % 16U + 1 : 1;

	must(read_all(data, size, MAX(size, 1UL), GUEST_REQUEST_MAX, true) ==
	     read_all(data, size, step, GUEST_REQUEST_MAX, false));
	/* And where most lines are too long. */
	must(read_all(data, size, MAX(size, 1UL), 16, false) ==
	     read_all(data, size, step, 16, false));
	return 0;
}
