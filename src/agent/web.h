/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <curl/curl.h>
#include <systemd/sd-event.h>

#include "agent/config.h"
#include "base/cleanup.h"

/* libcurl on an sd-event loop: one stack for TLS and proxies, for whatever the agent sends. */
struct web;

/* *event* and *config* are borrowed. 0 or -errno. */
must_check int web_new(sd_event *event, const struct config *config, struct web **ret);
struct web *web_free(struct web *web);

DEFINE_CLEANUP(struct web *, web, web_free)
#define cleanup_web CLEANUP(cleanup_web)

/* One transfer. *on_done* is called once, from the loop, unless the transfer is freed before; it
 * may free it. */
struct web_transfer {
	struct web *web;
	CURL *easy;
	struct curl_slist *headers;
	void (*on_done)(void *userdata, CURLcode code);
	void *userdata;
	bool is_running;
	char error[CURL_ERROR_SIZE];
	const char *alert; /* what the server's alert means for the administrator, or NULL */
};

/* A transfer to *url* with what agent.yaml says of TLS and proxy; options can be added to *easy*. 0
 * or -ENOMEM. */
must_check int web_transfer_new(struct web *web, const char *url, struct web_transfer **ret);
struct web_transfer *web_transfer_free(struct web_transfer *transfer);

DEFINE_CLEANUP(struct web_transfer *, web_transfer, web_transfer_free)
#define cleanup_web_transfer CLEANUP(cleanup_web_transfer)

/* The same transfer once more, to *url*. 0 or -ENOMEM. */
must_check int web_transfer_again(struct web_transfer *transfer, const char *url);
/* It goes to somebody else than the server: no headers, and no certificate of this host. */
void web_transfer_forget_who(struct web_transfer *transfer);
/* Adds "KEY: VALUE" to the request. 0 or -ENOMEM. */
must_check int web_transfer_add_header(struct web_transfer *transfer, const char *key,
				       const char *value);
must_check int web_transfer_start(struct web_transfer *transfer);

/* What went wrong: in a sentence of ours where we know what to do about it, or of libcurl's. */
const char *web_transfer_error(const struct web_transfer *transfer, CURLcode code);
