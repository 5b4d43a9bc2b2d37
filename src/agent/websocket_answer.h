/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"

/* The value of Sec-WebSocket-Accept that answers *key*. */
#define WEBSOCKET_ACCEPT_SIZE 29U
must_check int websocket_accept(const char *key, char ret[WEBSOCKET_ACCEPT_SIZE]);

/* The answer to an upgrade, up to its empty line, as far as we read it. */
struct websocket_answer {
	long status;
	uint64_t retry_after;
	char accept[64];
};

/* 0; 1 for what is no HTTP/1.1 answer. *text* ends with NUL. */
must_check int websocket_parse_answer(const char *text, struct websocket_answer *ret);
