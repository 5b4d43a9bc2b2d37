/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The REST API as a front sees it: who asks what is the store's business. A small body goes along
 * with the request. A large one, a bundle, is spooled to a file that the store takes over; before a
 * byte of it is written the store is asked whether it is wanted, so that a stranger fills no disk.
 */

#include "control/front_rest.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "bundle/bundle.h"
#include "control/api.h"
#include "control/child.h"
#include "control/front_artifact.h"

#define ANSWER_MSEC               30000U
#define UPLOAD_MSEC               300000U /* a bundle is pulled, and verified, by then */
#define PEER_MAX                  64U
#define STATUS_CONTINUE           100U
#define HTTP_INSUFFICIENT_STORAGE 507U

static_assert(UPLOAD_MAX >= BUNDLE_SIZE_MAX, "every bundle can be sent");
/* NOLINTNEXTLINE(misc-redundant-expression): that they are equal is what is asserted */
static_assert(FRONT_BODY_MAX == API_BODY_MAX, "one limit on bodies");

void rest_forget_spool(struct exchange *exchange)
{
	if (exchange->spool_fd < 0)
		return;
	exchange->spool_fd = fd_close(exchange->spool_fd);
	ignore_result(file_remove(FRONT_FD_INCOMING, exchange->spool_name, NULL));
}

void rest_forget_question(struct exchange *exchange)
{
	Link__HttpGone gone = LINK__HTTP_GONE__INIT;
	Link__Frame frame = LINK__FRAME__INIT;

	if (!exchange->is_waiting)
		return;
	gone.id = exchange->number;
	frame.body_case = LINK__FRAME__BODY_HTTP_GONE;
	frame.http_gone = &gone;
	/* Without memory for this what was asked for is done all the same. */
	ignore_result(front_send(exchange->front, &frame));
}

static bool is_upload(const struct exchange *exchange)
{
	return api_is_upload(exchange->method, exchange->path);
}

static char *text(char *text_or_null)
{
	return text_or_null ? text_or_null : (char *)protobuf_c_empty_string;
}

/* Asks the store; with *is_question* only whether the body may come. */
static int ask(struct exchange *exchange, bool is_question)
{
	Link__HttpRequest request = LINK__HTTP_REQUEST__INIT;
	Link__Spooled spooled = LINK__SPOOLED__INIT;
	Link__Frame frame = LINK__FRAME__INIT;
	char peer[PEER_MAX] = "";
	int r = 0;

	if (exchange->number == 0)
		r = slots_add(&exchange->front->requests, exchange, &exchange->number);
	if (r < 0)
		return r;
	(void)lws_get_peer_simple(exchange->wsi, peer, sizeof(peer));
	request.id = exchange->number;
	request.method = (char *)exchange->method;
	request.path = exchange->path;
	request.query = text(exchange->query);
	request.authorization = text(exchange->authorization);
	request.content_type = text(exchange->content_type);
	request.peer = peer;
	request.is_upload_question = is_question;
	request.body.data = (uint8_t *)exchange->body.data;
	request.body.len = exchange->body.size;
	if (exchange->spool_fd >= 0 && !is_question) {
		spooled.name = exchange->spool_name;
		spooled.size = exchange->spool_size;
		request.spooled = &spooled;
	}
	frame.body_case = LINK__FRAME__BODY_HTTP_REQUEST;
	frame.http_request = &request;
	r = front_send(exchange->front, &frame);
	exchange->is_waiting = !is_question && api_is_patient(exchange->method, exchange->path);
	exchange->deadline =
		front_msec() + (exchange->is_waiting || is_question ? UPLOAD_MSEC : ANSWER_MSEC);
	return r;
}

static void refuse_internal(struct exchange *exchange)
{
	exchange_refuse_body(exchange, HTTP_STATUS_INTERNAL_SERVER_ERROR, "internal",
			     "the server could not handle the request; its log says why");
}

static void begin_upload(struct exchange *exchange)
{
	if (exchange->content_length > UPLOAD_MAX) {
		exchange_refuse_body(exchange, HTTP_STATUS_REQ_ENTITY_TOO_LARGE, "too-large",
				     "a bundle has at most 1 GiB");
		return;
	}
	/* Nothing is read before the store has said yes. */
	if (ask(exchange, true) < 0 || lws_rx_flow_control(exchange->wsi, 0) != 0)
		refuse_internal(exchange);
}

void rest_begin(struct exchange *exchange)
{
	exchange->kind = EXCHANGE_REST;
	if (front_is_congested(exchange->front)) {
		exchange_add_header(exchange, "retry-after:", "5");
		exchange_refuse_body(exchange, HTTP_STATUS_SERVICE_UNAVAILABLE, "busy",
				     "the server has more to do than it can; try again");
	} else if (is_upload(exchange) && exchange->content_length > 0) {
		begin_upload(exchange);
	} else if (exchange->content_length > FRONT_BODY_MAX) {
		exchange_refuse_body(exchange, HTTP_STATUS_REQ_ENTITY_TOO_LARGE, "too-large",
				     "a body has at most 1 MiB");
	}
}

int rest_spool(struct exchange *exchange, const void *data, size_t size)
{
	if (exchange->spool_fd < 0)
		return -1;
	if (exchange->spool_size + size > UPLOAD_MAX)
		return -1;
	if (fd_write_full(exchange->spool_fd, data, size) < 0) {
		exchange_refuse_body(exchange, HTTP_INSUFFICIENT_STORAGE, "no-space",
				     "the server could not keep the upload: its disk may be full");
		return 0;
	}
	exchange->spool_size += size;
	return 0;
}

void rest_complete(struct exchange *exchange)
{
	if (is_upload(exchange) && exchange->content_length > 0 && !exchange->is_spool_granted)
		return;
	if (ask(exchange, false) < 0)
		refuse_internal(exchange);
}

/* The store wants the body: it goes to a file of its own. */
static void grant(struct exchange *exchange)
{
	struct front *front = exchange->front;

	(void)snprintf(exchange->spool_name, sizeof(exchange->spool_name),
		       CHILD_UPLOAD_NAME "%" PRIu64, front->number, ++front->upload_count);
	exchange->spool_fd = openat(FRONT_FD_INCOMING, exchange->spool_name,
				    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	exchange->is_spool_granted = true;
	exchange->deadline = 0;
	exchange->body_due = 0; /* waiting for us was not its client's fault */
	if (exchange->spool_fd < 0 || lws_rx_flow_control(exchange->wsi, 1) != 0) {
		refuse_internal(exchange);
		return;
	}
	/* What had come with the head was not held back. */
	if (rest_spool(exchange, exchange->body.data, exchange->body.size) != 0)
		refuse_internal(exchange);
	buffer_done(&exchange->body);
	exchange->body = BUFFER_INIT;
	if (exchange->is_complete && !exchange->is_answered) {
		rest_complete(exchange);
		return;
	}
	exchange->wants_continue = lws_hdr_total_length(exchange->wsi, WSI_TOKEN_HTTP_EXPECT) > 0;
	if (exchange->wants_continue)
		lws_callback_on_writable(exchange->wsi);
}

static void refuse_upload(struct exchange *exchange)
{
	exchange->must_close = true;
	(void)lws_rx_flow_control(exchange->wsi, 1);
}

static void add_headers(struct exchange *exchange, const Link__HttpResponse *response)
{
	for (size_t i = 0; i < response->n_headers; i++) {
		/* The one that the store has a use for. */
		if (strcmp(response->headers[i]->name, "retry-after") == 0)
			exchange_add_header(exchange, "retry-after:", "%s",
					    response->headers[i]->value);
	}
}

void rest_on_response(struct front *front, const Link__HttpResponse *response)
{
	struct exchange *exchange = slots_get(&front->requests, response->id);
	uint8_t *body = NULL;

	if (!exchange)
		return;
	exchange->is_waiting = false;
	if (exchange->is_answered)
		return;
	if (response->status == STATUS_CONTINUE && !exchange->is_spool_granted) {
		grant(exchange);
		return;
	}
	if (is_upload(exchange) && !exchange->is_complete)
		refuse_upload(exchange);
	if (*response->artifact) {
		artifact_answer(exchange, response->artifact);
		return;
	}
	add_headers(exchange, response);
	exchange->is_proven = response->is_proven;
	exchange->answer_type_copy = strdup(response->content_type);
	if (response->body.len > 0) {
		body = malloc(response->body.len);
		if (!body) {
			refuse_internal(exchange);
			return;
		}
		memcpy(body, response->body.data, response->body.len);
	}
	exchange_answer(exchange, response->status, exchange->answer_type_copy, body,
			response->body.len);
}
