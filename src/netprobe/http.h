/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "base/cleanup.h"
#include "base/str.h"

#define HTTP_WHY_MAX 200U

/* What is shown. 0 or -ENOMEM. */
struct http_page {
	int (*format)(void *context, struct buffer *buffer);
	void *context;
};

/* A server that answers GET /metrics with one page. */
struct http;

/* *address* is ADDRESS:PORT, [ADDRESS]:PORT for IPv6. 0 or -errno with a sentence in *why*. */
must_check int http_new(sd_event *event, const char *address, const struct http_page *page,
			struct http **ret, char why[HTTP_WHY_MAX]);
/* Whether its address is one that other machines reach. */
bool http_is_reached(const struct http *http);
struct http *http_free(struct http *http);

DEFINE_CLEANUP(struct http *, http, http_free)
#define cleanup_http CLEANUP(cleanup_http)
