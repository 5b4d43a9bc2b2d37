/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One HTTP request and its answer, for all that a front answers. A request is read whole before it
 * is answered, unless it can be refused by its head; then the connection is closed after the
 * answer, because what follows on it is the rest of what was refused. Answers are decided at any
 * time and written when libwebsockets says that the connection takes them.
 */

#include "control/front_http.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "control/front_agent.h"
#include "control/front_artifact.h"
#include "control/front_certificate.h"
#include "control/front_rest.h"
#include "control/front_reuse.h"
#include "opamp/gzip.h"

#define HEAD_MAX         4096U
#define CHUNK_MAX        32768U
#define GZIP_WORTH       1024U
#define MSEC_PER_SEC     1000U
#define BODY_SECONDS     20U    /* for a body, and a second more for each ... */
#define BODY_RATE        16384U /* ... of these bytes */
#define ANSWER_SECONDS   30     /* without any progress */
#define FRAGMENT_MAX     4096
#define DISCARD_MAX      4194304U /* 4 MiB */
#define STATUS_OK_END    300U
#define STRANGER_SECONDS 10
#define LENGTH_DIGITS    18U

static const struct {
	int number;
	const char *name;
} methods[] = {
	{LWSHUMETH_GET,     "GET"    },
        {LWSHUMETH_POST,    "POST"   },
        {LWSHUMETH_OPTIONS, "OPTIONS"},
	{LWSHUMETH_PUT,     "PUT"    },
        {LWSHUMETH_PATCH,   "PATCH"  },
        {LWSHUMETH_DELETE,  "DELETE" },
	{LWSHUMETH_CONNECT, "CONNECT"},
        {LWSHUMETH_HEAD,    "HEAD"   },
};

struct exchange *exchange_free(struct exchange *exchange)
{
	if (!exchange)
		return NULL;
	rest_forget_question(exchange);
	if (exchange->number != 0)
		slots_remove(&exchange->front->requests, exchange->number);
	agent_forget_exchange(exchange);
	rest_forget_spool(exchange);
	exchange->file_fd = fd_close(exchange->file_fd);
	for (size_t i = 0; i < exchange->n_headers; i++)
		free(exchange->headers[i].value);
	buffer_done(&exchange->body);
	free(exchange->answer);
	free(exchange->answer_type_copy);
	free(exchange->path);
	free(exchange->query);
	free(exchange->authorization);
	free(exchange->content_type);
	free(exchange);
	return NULL;
}

DEFINE_CLEANUP(struct exchange *, exchange, exchange_free)
#define cleanup_exchange CLEANUP(cleanup_exchange)

/* libwebsockets hands paths out decoded; the store takes them as they were sent. */
static int add_encoded(struct buffer *buffer, const char *text, const char *plain)
{
	int r = buffer_add(buffer, "", 0);

	for (; *text && r == 0; text++) {
		unsigned char byte = (unsigned char)*text;

		if (isalnum(byte) || strchr(plain, byte))
			r = buffer_add(buffer, text, 1);
		else
			r = buffer_format(buffer, "%%%02X", byte);
	}
	return r;
}

static int copy_path(struct exchange *exchange, const char *path)
{
	cleanup_buffer struct buffer encoded = BUFFER_INIT;
	int r = add_encoded(&encoded, path, "-._~/:@!$&'()*+,;=");

	if (r == 0)
		exchange->path = encoded.data ? TAKE_PTR(encoded.data) : strdup("");
	return exchange->path ? r : -ENOMEM;
}

/* 0; 1: a parameter is too long; -ENOMEM. */
static int copy_query(struct exchange *exchange)
{
	cleanup_buffer struct buffer encoded = BUFFER_INIT;
	char fragment[FRAGMENT_MAX];
	int r = 0;

	for (int i = 0; r == 0; i++) {
		char *value;
		int n = lws_hdr_copy_fragment(exchange->wsi, fragment, sizeof(fragment),
					      WSI_TOKEN_HTTP_URI_ARGS, i);

		/* One that is too long is not there for it, as if nobody had asked for less. */
		if (n < 0 && lws_hdr_fragment_length(exchange->wsi, WSI_TOKEN_HTTP_URI_ARGS, i) > 0)
			return 1;
		if (n < 0)
			break;
		value = strchr(fragment, '=');
		if (value)
			*value++ = '\0';
		if (i > 0)
			r = buffer_add(&encoded, "&", 1);
		if (r == 0)
			r = add_encoded(&encoded, fragment, "-._~");
		if (r == 0 && value)
			r = buffer_add(&encoded, "=", 1);
		if (r == 0 && value)
			r = add_encoded(&encoded, value, "-._~,:!/");
	}
	exchange->query = TAKE_PTR(encoded.data);
	return r;
}

static bool has_token(struct lws *wsi, enum lws_token_indexes header, const char *token)
{
	cleanup_free char *value = front_header(wsi, header);

	return value && strcasestr(value, token);
}

/* As libwebsockets reads it, or what one of us takes for a body the other takes for a request. */
static int read_length(struct lws *wsi, uint64_t *ret)
{
	cleanup_free char *text = front_header(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH);

	if (!text)
		return 0;
	if (*text == '\0' || text[strspn(text, "0123456789")] != '\0' ||
	    strlen(text) > LENGTH_DIGITS)
		return -EPROTO;
	*ret = strtoull(text, NULL, 10);
	return 0;
}

static int read_head(struct exchange *exchange, const char *path)
{
	int r = read_length(exchange->wsi, &exchange->content_length);

	if (r < 0)
		return r;

	exchange->authorization = front_header(exchange->wsi, WSI_TOKEN_HTTP_AUTHORIZATION);
	exchange->content_type = front_header(exchange->wsi, WSI_TOKEN_HTTP_CONTENT_TYPE);
	exchange->is_gzipped = has_token(exchange->wsi, WSI_TOKEN_HTTP_CONTENT_ENCODING, "gzip");
	exchange->accepts_gzip = has_token(exchange->wsi, WSI_TOKEN_HTTP_ACCEPT_ENCODING, "gzip");
	r = copy_path(exchange, path);
	return r == 0 ? copy_query(exchange) : r;
}

void exchange_refuse_body(struct exchange *exchange, unsigned status, const char *name,
			  const char *sentence)
{
	exchange->must_close =
		exchange->content_length > DISCARD_MAX || status == HTTP_STATUS_LENGTH_REQUIRED;
	exchange_refuse(exchange, status, name, sentence);
}

static bool has_body(const struct exchange *exchange)
{
	return strcmp(exchange->method, "POST") == 0 || strcmp(exchange->method, "PUT") == 0 ||
	       strcmp(exchange->method, "PATCH") == 0;
}

/* Whoever polls says each time who it is. */
static bool has_credential(const struct exchange *exchange)
{
	struct certificate certificate;

	return exchange->authorization || (exchange->front->config->certificate_is_credential &&
					   certificate_of(exchange->wsi, &certificate));
}

static void route_opamp(struct exchange *exchange)
{
	exchange->kind = EXCHANGE_OPAMP;
	if (strcmp(exchange->method, "POST") != 0)
		exchange_refuse_body(exchange, HTTP_STATUS_METHOD_NOT_ALLOWED, "method-not-allowed",
				     "/v1/opamp takes POST, or a WebSocket");
	else if (!exchange->content_type ||
		 strncasecmp(exchange->content_type, "application/x-protobuf",
			     strlen("application/x-protobuf")) != 0)
		exchange_refuse_body(exchange, HTTP_STATUS_UNSUPPORTED_MEDIA_TYPE,
				     "bad-content-type",
				     "/v1/opamp takes 'application/x-protobuf'");
	else if (!has_credential(exchange))
		exchange_refuse_body(
			exchange, HTTP_STATUS_UNAUTHORIZED, "unauthorized",
			"a join token or a credential is wanted in 'Authorization: Bearer'");
	else if (exchange->content_length > FRONT_BODY_MAX)
		exchange_refuse_body(exchange, HTTP_STATUS_REQ_ENTITY_TOO_LARGE, "too-large",
				     "a message has at most 1 MiB");
}

static void route(struct exchange *exchange)
{
	if (lws_hdr_total_length(exchange->wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0 ||
	    (has_body(exchange) &&
	     lws_hdr_total_length(exchange->wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) <= 0))
		exchange_refuse_body(exchange, HTTP_STATUS_LENGTH_REQUIRED, "length-required",
				     "a body is taken with 'Content-Length' only");
	else if (strcmp(exchange->path, "/v1/opamp") == 0)
		route_opamp(exchange);
	else if (str_starts_with(exchange->path, PACKAGE_URL_PREFIX))
		artifact_begin(exchange);
	else if (str_starts_with(exchange->path, "/api/") ||
		 strcmp(exchange->path, "/metrics") == 0 || strcmp(exchange->path, "/healthz") == 0)
		rest_begin(exchange);
	else
		exchange_refuse_body(exchange, HTTP_STATUS_NOT_FOUND, "not-found",
				     "there is nothing of this name");
}

static uint64_t body_seconds(const struct exchange *exchange)
{
	return BODY_SECONDS + MIN(exchange->content_length, UPLOAD_MAX) / BODY_RATE;
}

int exchange_begin(struct front *front, struct lws *wsi, struct front_session *session,
		   const char *path)
{
	cleanup_exchange struct exchange *exchange = NULL;
	char *uri = NULL;
	int length = 0;
	int method;
	int r;

	/* A client sends it again, on a connection of its own. */
	if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) > 0 && reuse_is_early(wsi))
		return -EPROTO;
	reuse_note(wsi);
	exchange = calloc(1, sizeof(*exchange));
	if (!exchange)
		return -ENOMEM;
	exchange->front = front;
	exchange->wsi = wsi;
	exchange->file_fd = -EBADF;
	exchange->spool_fd = -EBADF;
	method = lws_http_get_uri_and_method(wsi, &uri, &length);
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		if (methods[i].number == method)
			exchange->method = methods[i].name;
	}
	if (!exchange->method)
		return -EINVAL;
	exchange->is_head = method == LWSHUMETH_HEAD;
	r = read_head(exchange, path);
	if (r < 0)
		return r;
	/* What an earlier request on this connection left, if its end was not seen. */
	session->exchange = exchange_free(session->exchange);
	session->exchange = exchange;
	if (r > 0)
		exchange_refuse_body(exchange, HTTP_STATUS_REQ_URI_TOO_LONG, "too-large",
				     "a parameter in a query has at most 4095 bytes");
	else
		route(exchange);
	if (exchange->content_length > 0)
		lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, (int)body_seconds(exchange));
	ignore_result(TAKE_PTR(exchange));
	return session->exchange->content_length > 0 ? 0 : exchange_complete(session->exchange);
}

/* libwebsockets ends a connection on which nothing comes, and begins anew to wait with each byte.
 */
static bool is_body_late(struct exchange *exchange)
{
	uint64_t now = front_msec();

	if (exchange->body_due == 0)
		exchange->body_due = now + MSEC_PER_SEC * body_seconds(exchange);
	return now > exchange->body_due;
}

int exchange_body(struct exchange *exchange, const void *data, size_t size)
{
	if (is_body_late(exchange)) {
		if (exchange->is_answered)
			return -1;
		exchange->must_close = true;
		exchange_refuse(exchange, HTTP_STATUS_REQUEST_TIMEOUT, "body-timeout",
				"the body did not come in time; it may take 20 seconds, and one "
				"more for each 16 KiB");
		return 0;
	}
	if (exchange->is_answered)
		return 0;
	if (exchange->kind == EXCHANGE_REST && exchange->is_spool_granted)
		return rest_spool(exchange, data, size);
	if (exchange->body.size + size > FRONT_BODY_MAX ||
	    buffer_add(&exchange->body, data, size) < 0)
		return -1;
	return 0;
}

/* The body as it was before gzip. */
static int unpack_body(struct exchange *exchange)
{
	cleanup_free uint8_t *plain = NULL;
	size_t size = 0;
	int r;

	if (!exchange->is_gzipped)
		return 0;
	r = gzip_decompress(exchange->body.data, exchange->body.size, FRONT_BODY_MAX, &plain,
			    &size);
	if (r < 0)
		return r;
	if (r == GZIP_E_TOO_LARGE)
		exchange_refuse(exchange, HTTP_STATUS_REQ_ENTITY_TOO_LARGE, "too-large",
				"the body has more than 1 MiB when unpacked");
	else if (r > 0)
		exchange_refuse(exchange, HTTP_STATUS_BAD_REQUEST, "bad-gzip",
				"the body is not what gzip makes");
	if (r > 0)
		return 0;
	buffer_done(&exchange->body);
	exchange->body = (struct buffer){(char *)TAKE_PTR(plain), size, size};
	return 0;
}

int exchange_complete(struct exchange *exchange)
{
	if (exchange->is_complete)
		return 0;
	exchange->is_complete = true;
	lws_set_timeout(exchange->wsi, NO_PENDING_TIMEOUT, 0);
	if (exchange->is_answered) {
		lws_callback_on_writable(exchange->wsi);
		return 0;
	}
	if (exchange->spool_fd < 0 && unpack_body(exchange) < 0)
		return -1;
	if (exchange->is_answered)
		return 0;
	if (exchange->kind == EXCHANGE_OPAMP)
		agent_poll(exchange);
	else if (exchange->kind == EXCHANGE_REST)
		rest_complete(exchange);
	return 0;
}

void exchange_add_header(struct exchange *exchange, const char *name, const char *format, ...)
{
	struct exchange_header *header = &exchange->headers[exchange->n_headers];
	va_list arguments;

	if (exchange->is_answered || exchange->n_headers == EXCHANGE_HEADERS_MAX)
		return;
	va_start(arguments, format);
	if (str_vformat(&header->value, format, arguments) == 0)
		exchange->n_headers++;
	va_end(arguments);
	header->name = name;
}

static void compress_answer(struct exchange *exchange)
{
	cleanup_free uint8_t *packed = NULL;
	size_t size = 0;

	if (!exchange->accepts_gzip || exchange->answer_size < GZIP_WORTH ||
	    gzip_compress(exchange->answer, exchange->answer_size, &packed, &size) < 0 ||
	    size >= exchange->answer_size)
		return;
	exchange_add_header(exchange, "content-encoding:", "gzip");
	free(exchange->answer);
	exchange->answer = TAKE_PTR(packed);
	exchange->answer_size = size;
}

void exchange_answer(struct exchange *exchange, unsigned status, const char *content_type,
		     uint8_t *body, size_t size)
{
	if (exchange->is_answered) {
		free(body);
		return;
	}
	exchange->status = status;
	exchange->answer_type = content_type;
	exchange->answer = body;
	exchange->answer_size = size;
	exchange->deadline = 0;
	if (body)
		compress_answer(exchange);
	exchange->is_answered = true;
	if (status < STATUS_OK_END && (exchange->is_proven || exchange->file_fd >= 0))
		front_prove(exchange->front, exchange->wsi);
	lws_set_timeout(exchange->wsi, PENDING_TIMEOUT_HTTP_CONTENT, ANSWER_SECONDS);
	/* Else when the rest of the request is here. */
	if (exchange->is_complete || exchange->must_close)
		lws_callback_on_writable(exchange->wsi);
}

void exchange_refuse(struct exchange *exchange, unsigned status, const char *name,
		     const char *sentence)
{
	cleanup_json json_t *json = json_pack("{s:i, s:{s:s, s:s}}", "schema", 1, "error", "name",
					      name, "message", sentence);
	cleanup_free char *text = json ? json_to_canonical(json) : NULL;
	size_t size = text ? strlen(text) : 0;

	if (status == HTTP_STATUS_UNAUTHORIZED)
		exchange_add_header(exchange, "www-authenticate:", "Bearer");
	exchange_answer(exchange, status, "application/json", (uint8_t *)TAKE_PTR(text), size);
}

/* Where the next bytes of a head go. */
struct head {
	uint8_t bytes[LWS_PRE + HEAD_MAX];
	uint8_t *at;
};

static int add_headers(const struct exchange *exchange, struct head *head)
{
	uint8_t *end = head->bytes + sizeof(head->bytes) - 1;
	uint64_t size = exchange->file_fd >= 0 ? exchange->file_end - exchange->file_at
					       : exchange->answer_size;

	if (lws_add_http_common_headers(exchange->wsi, exchange->status,
					exchange->answer_type ? exchange->answer_type
							      : "text/plain",
					size, &head->at, end) != 0)
		return -1;
	for (size_t i = 0; i < exchange->n_headers; i++) {
		const struct exchange_header *header = &exchange->headers[i];

		if (lws_add_http_header_by_name(exchange->wsi, (const uint8_t *)header->name,
						(const uint8_t *)header->value,
						(int)strlen(header->value), &head->at, end) != 0)
			return -1;
	}
	if (exchange->must_close &&
	    lws_add_http_header_by_name(exchange->wsi,
					(const uint8_t *)"connection:", (const uint8_t *)"close",
					(int)strlen("close"), &head->at, end) != 0)
		return -1;
	return 0;
}

static int write_head(struct exchange *exchange)
{
	struct head head = {.at = head.bytes + LWS_PRE};

	if (add_headers(exchange, &head) != 0)
		return -1;
	exchange->is_started = true;
	return lws_finalize_write_http_header(exchange->wsi, head.bytes + LWS_PRE, &head.at,
					      head.bytes + sizeof(head.bytes) - 1);
}

static bool is_done(const struct exchange *exchange)
{
	if (exchange->is_head)
		return true;
	return exchange->file_fd >= 0 ? exchange->file_at == exchange->file_end
				      : exchange->answer_at == exchange->answer_size;
}

static int write_chunk(struct exchange *exchange)
{
	static uint8_t bytes[LWS_PRE + CHUNK_MAX];
	uint8_t *start = bytes + LWS_PRE;
	size_t size;

	if (exchange->file_fd >= 0) {
		size = (size_t)MIN(exchange->file_end - exchange->file_at, (uint64_t)CHUNK_MAX);
		if (fd_pread_full(exchange->file_fd, start, size, exchange->file_at, &size) < 0 ||
		    size == 0)
			return -1;
		exchange->file_at += size;
	} else {
		size = MIN(exchange->answer_size - exchange->answer_at, (size_t)CHUNK_MAX);
		memcpy(start, exchange->answer + exchange->answer_at, size);
		exchange->answer_at += size;
	}
	lws_set_timeout(exchange->wsi, PENDING_TIMEOUT_HTTP_CONTENT, ANSWER_SECONDS);
	return lws_write(exchange->wsi, start, size,
			 is_done(exchange) ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) < 0
		       ? -1
		       : 0;
}

static int write_continue(struct exchange *exchange)
{
	static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
	uint8_t bytes[LWS_PRE + sizeof(line)];

	exchange->wants_continue = false;
	memcpy(bytes + LWS_PRE, line, sizeof(line));
	return lws_write(exchange->wsi, bytes + LWS_PRE, strlen(line), LWS_WRITE_HTTP_HEADERS) < 0
		       ? -1
		       : 0;
}

int exchange_write(struct front_session *session)
{
	struct exchange *exchange = session->exchange;
	struct lws *wsi;
	bool must_close;

	if (exchange && exchange->wants_continue && !exchange->is_answered)
		return write_continue(exchange);
	if (!exchange || !exchange->is_answered ||
	    (!exchange->is_complete && !exchange->must_close))
		return 0;
	wsi = exchange->wsi;
	if (!exchange->is_started && write_head(exchange) != 0)
		return -1;
	/* With its head, if the connection took that: most answers are small. */
	if (!is_done(exchange) && !lws_partial_buffered(wsi) && write_chunk(exchange) != 0)
		return -1;
	if (!is_done(exchange)) {
		lws_callback_on_writable(wsi);
		return 0;
	}
	must_close = exchange->must_close;
	session->exchange = exchange_free(exchange);
	reuse_note(wsi);
	if (must_close || lws_http_transaction_completed(wsi))
		return -1;
	/* Strangers are not waited for as long as those who will ask again. */
	if (!front_is_proven(wsi))
		lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_KEEPALIVE_IDLE, STRANGER_SECONDS);
	return 0;
}

void exchange_expire(struct exchange *exchange)
{
	exchange->deadline = 0;
	if (exchange->kind == EXCHANGE_OPAMP)
		agent_poll_expired(exchange);
	else
		exchange_refuse(exchange, HTTP_STATUS_GATEWAY_TIMEOUT, "timeout",
				"no answer was found in time; what was asked for may be done yet");
}
