/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "base/cleanup.h"
#include "ipc/transport.h"

/* One request to the updater at a time, in a thread, since an installation is watched for minutes
 * and the loop has other things to do. */
struct lane;

struct lane_request {
	struct request request;
	int fds[REQUEST_FD_N]; /* taken over; -EBADF where none */
	/* SHA-256 in hexadecimal that the bundle must have before it is sent; "" for none. */
	char content_hash[65];
};

#define LANE_REQUEST_INIT                         \
	(struct lane_request)                     \
	{                                         \
		.fds = { -EBADF, -EBADF, -EBADF } \
	}

void lane_request_done(struct lane_request *request);

/* What came of it. *error* is -errno where the updater did not answer; *is_other_file* where the
 * bundle was not the one that was wanted, and nothing was sent. */
struct lane_answer {
	int error;
	bool is_other_file;
	struct result result;
};

/* *path* is the updater's socket, borrowed. *on_answer* is called from the loop and may start the
 * next request; the answer is borrowed. 0 or -errno. */
must_check int lane_new(sd_event *event, const char *path,
			void (*on_answer)(void *userdata, struct lane_answer *answer),
			void *userdata, struct lane **ret);
/* Only at the end of the process: a request under way is left to end by itself. */
struct lane *lane_free(struct lane *lane);

DEFINE_CLEANUP(struct lane *, lane, lane_free)
#define cleanup_lane CLEANUP(cleanup_lane)

bool lane_is_busy(const struct lane *lane);
/* Takes over what *request* holds, also on failure. 0; -EBUSY; -errno. */
must_check int lane_start(struct lane *lane, struct lane_request *request);
