/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "control/fleet.h"

/* The REST API, affix-rest(7): /api/v1/…, /metrics and /healthz. */

#define API_BODY_MAX 1048576U /* of requests that are not uploads */

struct package_arrival;

/* One HTTP request. Strings may be NULL where nothing was sent. */
struct api_request {
	const char *method; /* "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE" */
	const char *path;   /* still percent-encoded, without the query */
	const char *query;  /* behind the '?', still encoded */
	const char *authorization;
	const char *content_type;
	const void *body;
	size_t body_size;
	/* An upload (api_is_upload()): the file's name in DATA/incoming. The caller removes it
	 * afterwards if it is still there. */
	const char *spooled_name;
	/* Of an upload, where its caller checks it (package_arrival.h), which may take long. NULL:
	 * it is checked at once. *arrival* NULL: it is set, and the answer says 100: the same
	 * request is to be made again when it is checked. The caller frees it. */
	struct package_arrival **arrival;
	const char *peer;
	/* Only whether it may be made: if so, the answer is 100 and nothing is done. */
	bool is_question;
};

struct api_response {
	unsigned status;
	const char *content_type; /* static */
	char *body;               /* owned; may be NULL */
	size_t body_size;
	char artifact[65];    /* not "": send DATA/artifacts/<this> instead of a body */
	unsigned retry_after; /* seconds; 0: no such header */
	bool is_proven;       /* whoever asked showed a token that is good */
};

#define API_RESPONSE_INIT     \
	(struct api_response) \
	{                     \
	}

/* Whether a request's body is to be spooled to DATA/incoming (up to BUNDLE_SIZE_MAX) instead of
 * being handed over in memory. */
bool api_is_upload(const char *method, const char *path);

/* Whether an answer may take minutes, as bundles are verified for it. */
bool api_is_patient(const char *method, const char *path);

/*
 * Answers *request*: always with a whole response, errors too. What it changed is on disk when it
 * returns; what that means for hosts goes out with the next fleet_tick(). The caller ends *ret*
 * with api_response_done().
 */
void api_handle(struct fleet *fleet, const struct api_request *request, struct api_response *ret);
void api_response_done(struct api_response *response);

#define cleanup_api_response CLEANUP(api_response_done)
