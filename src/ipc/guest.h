/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

#include "base/cleanup.h"
#include "ipc/refusal.h"
#include "ipc/request.h"

/*
 * What a VM's host asks affix-guestd: affix-guestd(8), "Protocol". Both sides send lines of JSON,
 * one object each (line.h): requests as below, and a result (result.h) for each.
 */

/* Where it listens on vsock. */
#define GUEST_VSOCK_PORT 4323U
/* Whoever asks for a shutdown over vsock has a port below it: the kernel keeps those for root. */
#define GUEST_VSOCK_PRIVILEGED_END 1024U
/* The name of its port of virtio-serial. */
#define GUEST_PORT_NAME "org.affix.guestd.0"

/* The longest lines, without their end. */
#define GUEST_REQUEST_MAX 1024U
#define GUEST_REPLY_MAX   (64UL * 1024)

enum guest_verb {
	GUEST_PING,
	GUEST_HEALTH,
	GUEST_SHUTDOWN,
	GUEST_VERB_N,
};

struct guest_request {
	enum guest_verb verb;
	char request_id[REQUEST_ID_MAX + 1]; /* [A-Za-z0-9._-]; "" for none */
};

#define GUEST_REQUEST_INIT     \
	(struct guest_request) \
	{                      \
	}

/*
 * {"schema":1,"verb":…} and perhaps "request_id", nothing else. 0; refused with REFUSAL_BAD_REQUEST
 * or REFUSAL_UNKNOWN_VERB; -ENOMEM. The request's id is set also where it is refused for what comes
 * after.
 */
must_check int guest_request_parse(const char *text, size_t size, struct guest_request *ret,
				   struct refusal *reterr_refusal);
/* One line and its end; the caller frees it. 0 or -ENOMEM. */
must_check int guest_request_format(const struct guest_request *request, char **ret_text);

const char *guest_verb_to_string(enum guest_verb verb);
