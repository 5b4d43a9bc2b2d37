/* SPDX-License-Identifier: Apache-2.0 */

/* What of a WebSocket is ours: the server's answer to the upgrade. (Frames are wslay's.) */

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/websocket_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_free char *text = malloc(size + 1);
	struct websocket_answer answer = {0};

	must(text != NULL);
	memcpy(text, data, size);
	text[size] = '\0';
	if (size < 64) {
		char accept[WEBSOCKET_ACCEPT_SIZE];

		must(websocket_accept(text, accept) == 0);
		must(strlen(accept) == WEBSOCKET_ACCEPT_SIZE - 1);
	}
	if (websocket_parse_answer(text, &answer) == 0) {
		must(answer.status >= 0 && answer.status <= 999);
		must(answer.retry_after <= 86400);
		must(memchr(answer.accept, '\0', sizeof(answer.accept)) != NULL);
	}
	return 0;
}
