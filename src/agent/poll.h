/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/web.h"
#include "base/cleanup.h"
#include "base/str.h"

/* OpAMP over plain HTTP: one POST at a time, its answer a ServerToAgent. */
struct poll;

struct poll_handler {
	void *userdata;
	void (*on_answer)(void *userdata, const void *data, size_t size);
	void (*on_failed)(void *userdata, long status, uint64_t retry_after, const char *reason);
};

/* Neither callback may free the poll. 0 or -errno. */
must_check int poll_new(struct web *web, const char *url, const struct strv *headers,
			const struct poll_handler *handler, struct poll **ret);
struct poll *poll_free(struct poll *poll);

DEFINE_CLEANUP(struct poll *, poll, poll_free)
#define cleanup_poll CLEANUP(cleanup_poll)

bool poll_is_busy(const struct poll *poll);
/* Sends an AgentToServer, compressed where that helps. 0 or -errno. */
must_check int poll_send(struct poll *poll, const void *data, size_t size);
