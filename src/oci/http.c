/* SPDX-License-Identifier: Apache-2.0 */

/*
 * HTTP as registries want it. Redirects are followed here and not by libcurl, because the rules are
 * ours: a blob may lie at another host, which gets no credentials; nothing goes from TLS to plain
 * text; http is for this machine only. Nothing an answer says is kept beyond a bound. A transfer
 * that stands still ends.
 */

#include "oci/http.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/curl.h"
#include "base/fd.h"
#include "oci/reference.h"

#define CONNECT_SECONDS 20L
#define SLOW_SECONDS    30L
#define SLOW_BYTES      1024L /* a second */
#define BUFFER_SIZE     262144L
#define REDIRECTS_MAX   5U
#define ERROR_BODY_MAX  65536U /* of an answer that is no success */

#define STATUS_OK        200
#define STATUS_OK_END    300
#define STATUS_PARTIAL   206
#define STATUS_REDIRECTS 301 /* 301, 302, 303, 307, 308 */
#define STATUS_LAST      308

struct oci_http {
	const struct curl *curl;
	CURLM *multi;
	char *ca_file;
	bool allows_plain;
	bool is_local;
};

int oci_http_new(const char *ca_file_or_null, bool allows_plain, struct oci_http **ret,
		 struct problem *reterr_problem)
{
	cleanup_oci_http struct oci_http *http = calloc(1, sizeof(*http));
	const char *reason = NULL;

	if (!http)
		return -ENOMEM;
	if (curl_load(&http->curl, &reason) < 0)
		return oci_fail(reterr_problem, OCI_UNREACHABLE,
				"libcurl is wanted to talk to a registry: %s; install it (Debian: "
				"libcurl4)",
				reason ? reason : "it cannot be loaded");
	http->allows_plain = allows_plain;
	http->is_local = allows_plain;
	http->ca_file = ca_file_or_null ? strdup(ca_file_or_null) : NULL;
	if ((ca_file_or_null && !http->ca_file) ||
	    http->curl->global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return -ENOMEM;
	http->multi = http->curl->multi_init();
	if (!http->multi)
		return -ENOMEM;
	*ret = TAKE_PTR(http);
	return 0;
}

struct oci_http *oci_http_free(struct oci_http *http)
{
	if (!http)
		return NULL;
	if (http->multi)
		(void)http->curl->multi_cleanup(http->multi);
	free(http->ca_file);
	free(http);
	return NULL;
}

void oci_http_forbid_plain(struct oci_http *http)
{
	http->allows_plain = false;
}

const char *oci_http_strerror(const struct oci_http *http, int code)
{
	return http->curl->easy_strerror((CURLcode)code);
}

/* The part of *url* up to the path: scheme, host, port. */
static size_t origin_length(const char *url)
{
	const char *host = strstr(url, "://");

	return host ? (size_t)(host + 3 - url) + strcspn(host + 3, "/?#") : strlen(url);
}

static bool is_same_origin(const char *a, const char *b)
{
	size_t n = origin_length(a);

	return n == origin_length(b) && strncasecmp(a, b, n) == 0;
}

/* Whether we go there: TLS, or this machine where that is allowed; a host, and no name and password
 * before it. */
static bool is_allowed_url(const struct oci_http *http, const char *url)
{
	const char *host = strstr(url, "://");
	char name[OCI_HOST_MAX + 1];
	size_t n = origin_length(url);

	if (!host || memchr(url, '@', n) || memchr(url, '\\', n))
		return false;
	if (strncasecmp(url, "https://", strlen("https://")) == 0)
		return true;
	host += 3;
	n -= (size_t)(host - url);
	if (strncasecmp(url, "http://", strlen("http://")) != 0 || n >= sizeof(name))
		return false;
	(void)snprintf(name, sizeof(name), "%.*s", (int)n, host);
	return http->allows_plain && oci_host_is_loopback(name);
}

static size_t on_body(char *data, size_t one, size_t size, void *userdata)
{
	struct oci_transfer *transfer = userdata;
	long status = 0;
	bool is_good;

	(void)one;
	(void)transfer->http->curl->easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	is_good = status >= STATUS_OK && status < STATUS_OK_END;
	transfer->answer.status = status;
	if (is_good && transfer->sink) {
		transfer->sink_error = transfer->sink(transfer->userdata, data, size);
		return transfer->sink_error < 0 ? 0 : size;
	}
	if (!is_good && transfer->content.size + size > ERROR_BODY_MAX)
		return size;
	if (is_good && transfer->content.size + size > transfer->answer_max) {
		transfer->is_too_long = true;
		return 0;
	}
	transfer->sink_error = buffer_add(&transfer->content, data, size);
	return transfer->sink_error < 0 ? 0 : size;
}

static void keep_header(char *text, size_t size, const char *value, size_t length)
{
	size_t n = strlen(text);

	/* Of those that may come several times: as one, as the RFC says. What is too long is left
	 * out. */
	if (n + length + sizeof(", ") > size)
		return;
	(void)snprintf(text + n, size - n, "%s%.*s", n > 0 ? ", " : "", (int)length, value);
}

static uint64_t parse_start(const char *value, size_t length)
{
	uint64_t n = 0;

	for (size_t i = strcspn(value, "0123456789");
	     i < length && isdigit((unsigned char)value[i]); i++) {
		if (__builtin_mul_overflow(n, (uint64_t)10, &n))
			return UINT64_MAX;
		n += (uint64_t)(value[i] - '0');
	}
	return n;
}

static void take_header(struct oci_answer *answer, const char *line, size_t name, const char *value,
			size_t length)
{
	static const struct {
		const char *name;
		size_t offset;
		size_t size;
	} kept[] = {
		{"content-type",          offsetof(struct oci_answer, type),      sizeof(answer->type)    },
		{"docker-content-digest", offsetof(struct oci_answer, digest),
		 sizeof(answer->digest)								   },
		{"www-authenticate",      offsetof(struct oci_answer, challenge),
		 sizeof(answer->challenge)								},
		{"location",              offsetof(struct oci_answer, location),  sizeof(answer->location)},
	};

	for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
		if (strlen(kept[i].name) == name && strncasecmp(line, kept[i].name, name) == 0)
			keep_header((char *)answer + kept[i].offset, kept[i].size, value, length);
	}
	if (name == strlen("content-range") && strncasecmp(line, "content-range", name) == 0)
		answer->range_start = parse_start(value, length);
}

static size_t on_header(char *data, size_t one, size_t size, void *userdata)
{
	struct oci_transfer *transfer = userdata;
	cleanup_free char *line = strndup(data, size);
	char *colon = line ? strchr(line, ':') : NULL;
	char *value;
	size_t length;

	(void)one;
	if (!line)
		return 0;
	/* Another answer begins: behind 100 Continue, or a proxy's. */
	if (strncmp(line, "HTTP/", strlen("HTTP/")) == 0)
		transfer->answer = (struct oci_answer){0};
	if (!colon || strlen(line) != size)
		return size;
	value = colon + 1 + strspn(colon + 1, " \t");
	length = strlen(value);
	while (length > 0 && isspace((unsigned char)value[length - 1]))
		length--;
	take_header(&transfer->answer, line, (size_t)(colon - line), value, length);
	return size;
}

static size_t on_send(char *data, size_t one, size_t size, void *userdata)
{
	struct oci_transfer *transfer = userdata;
	uint64_t left = transfer->body_size - transfer->sent;
	size_t n = (size_t)MIN(left, (uint64_t)(one * size));

	if (transfer->body_fd < 0)
		memcpy(data, (const char *)transfer->body + transfer->sent, n);
	else if (fd_pread_full(transfer->body_fd, data, n, transfer->sent, &n) < 0)
		return CURL_READFUNC_ABORT;
	transfer->sent += n;
	if (transfer->on_sent)
		transfer->on_sent(transfer->userdata, transfer->sent);
	return n;
}

static int on_seek(void *userdata, curl_off_t offset, int origin)
{
	struct oci_transfer *transfer = userdata;

	if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > transfer->body_size)
		return CURL_SEEKFUNC_FAIL;
	transfer->sent = (uint64_t)offset;
	return CURL_SEEKFUNC_OK;
}

static int add_header(struct oci_transfer *transfer, const char *name, const char *value)
{
	cleanup_free char *header = NULL;
	struct curl_slist *longer;

	if (!value)
		return 0;
	if (str_format(&header, "%s: %s", name, value) < 0)
		return -ENOMEM;
	longer = transfer->http->curl->slist_append(transfer->headers, header);
	if (!longer)
		return -ENOMEM;
	transfer->headers = longer;
	return 0;
}

static int set_headers(struct oci_transfer *transfer)
{
	char range[64] = "";

	transfer->http->curl->slist_free_all(transfer->headers);
	transfer->headers = NULL;
	if (transfer->from > 0)
		(void)snprintf(range, sizeof(range), "bytes=%llu-",
			       (unsigned long long)transfer->from);
	if (add_header(transfer, "User-Agent", "affix/" AFFIX_VERSION) < 0 ||
	    add_header(transfer, "Accept", transfer->accept) < 0 ||
	    add_header(transfer, "Content-Type", transfer->type) < 0 ||
	    add_header(transfer, "Range", *range ? range : NULL) < 0 ||
	    (!transfer->is_elsewhere &&
	     add_header(transfer, "Authorization", transfer->authorization) < 0))
		return -ENOMEM;
	return 0;
}

static void set_method(struct oci_transfer *transfer)
{
	const struct curl *curl = transfer->http->curl;

	if (strcmp(transfer->method, "HEAD") == 0) {
		(void)curl->easy_setopt(transfer->easy, CURLOPT_NOBODY, 1L);
	} else if (strcmp(transfer->method, "GET") != 0) {
		(void)curl->easy_setopt(transfer->easy, CURLOPT_UPLOAD, 1L);
		(void)curl->easy_setopt(transfer->easy, CURLOPT_CUSTOMREQUEST, transfer->method);
		(void)curl->easy_setopt(transfer->easy, CURLOPT_INFILESIZE_LARGE,
					(curl_off_t)transfer->body_size);
		(void)curl->easy_setopt(transfer->easy, CURLOPT_READFUNCTION, on_send);
		(void)curl->easy_setopt(transfer->easy, CURLOPT_READDATA, transfer);
		(void)curl->easy_setopt(transfer->easy, CURLOPT_SEEKFUNCTION, on_seek);
		(void)curl->easy_setopt(transfer->easy, CURLOPT_SEEKDATA, transfer);
	}
}

static void set_options(struct oci_transfer *transfer, const char *url)
{
	const struct oci_http *http = transfer->http;
	const struct curl *curl = http->curl;
	CURL *easy = transfer->easy;

	(void)curl->easy_setopt(easy, CURLOPT_URL, url);
	(void)curl->easy_setopt(easy, CURLOPT_PRIVATE, transfer);
	(void)curl->easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
	(void)curl->easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl->easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	(void)curl->easy_setopt(easy, CURLOPT_BUFFERSIZE, BUFFER_SIZE);
	(void)curl->easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
	(void)curl->easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, SLOW_BYTES);
	(void)curl->easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, SLOW_SECONDS);
	(void)curl->easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl->easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
	(void)curl->easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl->easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
	if (http->ca_file)
		(void)curl->easy_setopt(easy, CURLOPT_CAINFO, http->ca_file);
	/* What is on this machine is not asked for through another one. */
	if (http->is_local)
		(void)curl->easy_setopt(easy, CURLOPT_NOPROXY, "localhost,127.0.0.1,::1,[::1]");
	set_method(transfer);
}

/* Begins at *url*, which is the transfer's or where it was redirected to. */
static int begin(struct oci_transfer *transfer, const char *url)
{
	struct oci_http *http = transfer->http;
	int r;

	buffer_done(&transfer->content);
	transfer->answer = (struct oci_answer){0};
	transfer->sent = 0;
	if (!is_allowed_url(http, url)) {
		transfer->is_forbidden = true;
		transfer->code = CURLE_UNSUPPORTED_PROTOCOL;
		return 0;
	}
	if (!transfer->easy)
		transfer->easy = http->curl->easy_init();
	if (!transfer->easy)
		return -ENOMEM;
	http->curl->easy_reset(transfer->easy);
	r = set_headers(transfer);
	if (r < 0)
		return r;
	set_options(transfer, url);
	if (http->curl->multi_add_handle(http->multi, transfer->easy) != CURLM_OK)
		return -ENOMEM;
	transfer->is_running = true;
	return 0;
}

int oci_http_start(struct oci_http *http, struct oci_transfer *transfer)
{
	transfer->http = http;
	transfer->redirects = 0;
	transfer->is_elsewhere = false;
	transfer->is_too_long = false;
	transfer->is_forbidden = false;
	transfer->sink_error = 0;
	transfer->code = CURLE_OK;
	free(transfer->target);
	transfer->target = NULL;
	return begin(transfer, transfer->url);
}

static bool is_redirect(const struct oci_transfer *transfer)
{
	long status = transfer->answer.status;

	return status >= STATUS_REDIRECTS && status <= STATUS_LAST && status != 304 &&
	       *transfer->answer.location &&
	       (strcmp(transfer->method, "GET") == 0 || strcmp(transfer->method, "HEAD") == 0);
}

/* Goes on at the answer's location; or is done. */
static void follow(struct oci_transfer *transfer)
{
	char *target = strdup(transfer->answer.location);
	int r;

	if (!target || ++transfer->redirects > REDIRECTS_MAX) {
		free(target);
		transfer->code = target ? CURLE_TOO_MANY_REDIRECTS : CURLE_OUT_OF_MEMORY;
		return;
	}
	/* Once elsewhere, always: what comes back from there may have been made up there. */
	if (!is_same_origin(transfer->url, target))
		transfer->is_elsewhere = true;
	free(transfer->target);
	transfer->target = target;
	r = begin(transfer, target);
	if (r < 0)
		transfer->code = CURLE_OUT_OF_MEMORY;
}

static void finish(struct oci_http *http, struct oci_transfer *transfer, CURLcode code)
{
	const struct curl *curl = http->curl;
	curl_off_t retry_after = 0;
	const char *target = NULL;

	(void)curl->multi_remove_handle(http->multi, transfer->easy);
	transfer->is_running = false;
	transfer->code = (int)code;
	(void)curl->easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &transfer->answer.status);
	(void)curl->easy_getinfo(transfer->easy, CURLINFO_RETRY_AFTER, &retry_after);
	(void)curl->easy_getinfo(transfer->easy, CURLINFO_REDIRECT_URL, &target);
	transfer->answer.retry_after = retry_after > 0 ? (uint64_t)retry_after : 0;
	if (target && strlen(target) < sizeof(transfer->answer.location))
		(void)snprintf(transfer->answer.location, sizeof(transfer->answer.location), "%s",
			       target);
	if (code == CURLE_OK && is_redirect(transfer))
		follow(transfer);
}

void oci_http_step(struct oci_http *http, unsigned milliseconds)
{
	const CURLMsg *message;
	int running = 0;
	int left;

	(void)http->curl->multi_perform(http->multi, &running);
	if (running > 0)
		(void)http->curl->multi_poll(http->multi, NULL, 0, (int)milliseconds, NULL);
	while ((message = http->curl->multi_info_read(http->multi, &left))) {
		struct oci_transfer *transfer = NULL;
		CURLcode code = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		(void)http->curl->easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
		finish(http, transfer, code);
	}
}

int oci_http_perform(struct oci_http *http, struct oci_transfer *transfer)
{
	int r = oci_http_start(http, transfer);

	while (r == 0 && transfer->is_running)
		oci_http_step(http, 1000);
	return r;
}

void oci_transfer_done(struct oci_transfer *transfer)
{
	if (transfer->easy) {
		const struct oci_http *http = transfer->http;

		if (transfer->is_running)
			(void)http->curl->multi_remove_handle(http->multi, transfer->easy);
		http->curl->easy_cleanup(transfer->easy);
		http->curl->slist_free_all(transfer->headers);
	}
	buffer_done(&transfer->content);
	free(transfer->url);
	free(transfer->authorization);
	free(transfer->target);
	*transfer = OCI_TRANSFER_INIT;
}
