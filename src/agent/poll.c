/* SPDX-License-Identifier: Apache-2.0 */

/* HTTP polling. Answers are bounded as they come in and once more when they are decompressed, which
 * libcurl cannot do. The connection is kept for the next poll. */

#include "agent/poll.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "opamp/decode.h"
#include "opamp/gzip.h"

#define TIMEOUT_SECONDS 60L
#define COMPRESS_FROM   1024U
#define STATUS_OK       200

struct poll {
	struct web *web;
	char *url;
	struct strv headers;
	struct poll_handler handler;
	struct web_transfer *transfer;
	uint8_t *body; /* of the request */
	struct buffer answer;
	bool is_too_large;
	bool is_compressed;
};

static size_t on_body(char *data, size_t size, size_t count, void *userdata)
{
	struct poll *poll = userdata;

	if (size * count > OPAMP_TO_AGENT_MAX - poll->answer.size) {
		poll->is_too_large = true;
		return 0;
	}
	return buffer_add(&poll->answer, data, size * count) < 0 ? 0 : size * count;
}

static size_t on_header(char *data, size_t size, size_t count, void *userdata)
{
	static const char name[] = "Content-Encoding:";
	struct poll *poll = userdata;
	size_t length = size * count;

	if (length > sizeof(name) && strncasecmp(data, name, sizeof(name) - 1) == 0 &&
	    memmem(data, length, "gzip", 4))
		poll->is_compressed = true;
	return length;
}

static void answered(struct poll *poll)
{
	cleanup_free uint8_t *plain = NULL;
	size_t size = 0;
	int r;

	if (!poll->is_compressed) {
		poll->handler.on_answer(poll->handler.userdata,
					poll->answer.data ? poll->answer.data : "",
					poll->answer.size);
		return;
	}
	r = gzip_decompress(poll->answer.data, poll->answer.size, OPAMP_TO_AGENT_MAX, &plain,
			    &size);
	if (r != 0)
		poll->handler.on_failed(poll->handler.userdata, 0, 0,
					"the server's answer is not gzip, or too large");
	else
		poll->handler.on_answer(poll->handler.userdata, plain, size);
}

static void on_done(void *userdata, CURLcode code)
{
	struct poll *poll = userdata;
	cleanup_web_transfer struct web_transfer *transfer = TAKE_PTR(poll->transfer);
	curl_off_t retry_after = 0;
	long status = 0;

	(void)curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	(void)curl_easy_getinfo(transfer->easy, CURLINFO_RETRY_AFTER, &retry_after);
	if (poll->is_too_large)
		poll->handler.on_failed(poll->handler.userdata, 0, 0,
					"the server's answer is larger than 4 MiB");
	else if (code != CURLE_OK)
		poll->handler.on_failed(poll->handler.userdata, 0, 0,
					web_transfer_error(transfer, code));
	else if (status != STATUS_OK)
		poll->handler.on_failed(poll->handler.userdata, status,
					retry_after > 0 ? (uint64_t)retry_after : 0,
					"the server refused the report");
	else
		answered(poll);
}

int poll_new(struct web *web, const char *url, const struct strv *headers,
	     const struct poll_handler *handler, struct poll **ret)
{
	cleanup_poll struct poll *poll = calloc(1, sizeof(*poll));
	int r = 0;

	if (!poll)
		return -ENOMEM;
	poll->web = web;
	poll->handler = *handler;
	poll->url = strdup(url);
	if (!poll->url)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < headers->count; i++)
		r = strv_add(&poll->headers, headers->items[i]);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(poll);
	return 0;
}

struct poll *poll_free(struct poll *poll)
{
	if (!poll)
		return NULL;
	(void)web_transfer_free(poll->transfer);
	strv_done(&poll->headers);
	buffer_done(&poll->answer);
	free(poll->url);
	free(poll->body);
	free(poll);
	return NULL;
}

bool poll_is_busy(const struct poll *poll)
{
	return poll->transfer != NULL;
}

static int add_headers(const struct poll *poll, struct web_transfer *transfer, bool is_gzip)
{
	int r = web_transfer_add_header(transfer, "Content-Type", "application/x-protobuf");

	if (r == 0)
		r = web_transfer_add_header(transfer, "Accept-Encoding", "gzip");
	/* No "100 Continue" for a body that is shorter than the wait for it. */
	if (r == 0)
		r = web_transfer_add_header(transfer, "Expect", "");
	if (r == 0 && is_gzip)
		r = web_transfer_add_header(transfer, "Content-Encoding", "gzip");
	for (size_t i = 0; r == 0 && i < poll->headers.count; i++) {
		struct curl_slist *list =
			curl_slist_append(transfer->headers, poll->headers.items[i]);

		if (!list)
			return -ENOMEM;
		transfer->headers = list;
	}
	(void)curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
	return r;
}

static int set_body(struct poll *poll, const void *data, size_t size, size_t *ret_size)
{
	free(poll->body);
	poll->body = NULL;
	if (size >= COMPRESS_FROM)
		return gzip_compress(data, size, &poll->body, ret_size);
	poll->body = malloc(size + 1);
	if (!poll->body)
		return -ENOMEM;
	memcpy(poll->body, data, size);
	*ret_size = size;
	return 0;
}

int poll_send(struct poll *poll, const void *data, size_t size)
{
	cleanup_web_transfer struct web_transfer *transfer = NULL;
	size_t body_size = 0;
	int r;

	r = set_body(poll, data, size, &body_size);
	if (r == 0)
		r = web_transfer_new(poll->web, poll->url, &transfer);
	if (r < 0 || !transfer)
		return r;
	r = add_headers(poll, transfer, size >= COMPRESS_FROM);
	if (r < 0)
		return r;
	buffer_done(&poll->answer);
	poll->answer = BUFFER_INIT;
	poll->is_too_large = false;
	poll->is_compressed = false;
	transfer->on_done = on_done;
	transfer->userdata = poll;
	(void)curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDS, poll->body);
	(void)curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body_size);
	(void)curl_easy_setopt(transfer->easy, CURLOPT_TIMEOUT, TIMEOUT_SECONDS);
	(void)curl_easy_setopt(transfer->easy, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(transfer->easy, CURLOPT_WRITEDATA, poll);
	(void)curl_easy_setopt(transfer->easy, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl_easy_setopt(transfer->easy, CURLOPT_HEADERDATA, poll);
	r = web_transfer_start(transfer);
	if (r < 0)
		return r;
	poll->transfer = TAKE_PTR(transfer);
	return 0;
}
