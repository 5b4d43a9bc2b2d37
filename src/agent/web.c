/* SPDX-License-Identifier: Apache-2.0 */

/*
 * libcurl's multi interface on sd-event: each socket that libcurl cares for is an event source, its
 * one timer another. Nothing runs while nothing happens.
 */

#include "agent/web.h"

#include <errno.h>
#include <openssl/x509_vfy.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/dir.h"
#include "base/str.h"

#define CONNECT_SECONDS   30L
#define KEEPALIVE_SECONDS 60L
#define BUFFER_SIZE       16384L
#define CERTIFICATES_PATH "/etc/ssl/certs"
#define HASHED_NAME_SIZE  10U /* "0123abcd.0" */

#define PROXY_UNAUTHORIZED 407

struct web {
	sd_event *event;
	CURLM *multi;
	sd_event_source *timer;
	const struct config *config;
};

/* Tells who is done. A callback may free its transfer, and start others. */
static void report_done(struct web *web)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(web->multi, &left))) {
		struct web_transfer *transfer = NULL;
		CURLcode code;

		if (message->msg != CURLMSG_DONE)
			continue;
		code = message->data.result;
		(void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
		if (transfer->on_done)
			transfer->on_done(transfer->userdata, code);
	}
}

static int on_socket_event(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct web *web = userdata;
	int flags = 0;
	int running;

	(void)source;
	flags |= (events & EPOLLIN) ? CURL_CSELECT_IN : 0;
	flags |= (events & EPOLLOUT) ? CURL_CSELECT_OUT : 0;
	flags |= (events & (EPOLLERR | EPOLLHUP)) ? CURL_CSELECT_ERR : 0;
	(void)curl_multi_socket_action(web->multi, fd, flags, &running);
	report_done(web);
	return 0;
}

static int on_timer_event(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct web *web = userdata;
	int running;

	(void)source;
	(void)usec;
	(void)curl_multi_socket_action(web->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	report_done(web);
	return 0;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *userdata, void *socket_data)
{
	sd_event_source *source = socket_data;
	struct web *web = userdata;
	uint32_t events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		(void)sd_event_source_disable_unref(source);
		(void)curl_multi_assign(web->multi, fd, NULL);
		return 0;
	}
	events |= what != CURL_POLL_OUT ? (uint32_t)EPOLLIN : 0;
	events |= what != CURL_POLL_IN ? (uint32_t)EPOLLOUT : 0;
	if (source)
		return sd_event_source_set_io_events(source, events) < 0 ? -1 : 0;
	if (sd_event_add_io(web->event, &source, fd, events, on_socket_event, web) < 0)
		return -1;
	(void)curl_multi_assign(web->multi, fd, source);
	return 0;
}

static int on_timer(CURLM *multi, long milliseconds, void *userdata)
{
	struct web *web = userdata;
	uint64_t usec = milliseconds < 0 ? 0 : (uint64_t)milliseconds * CLOCK_USEC_PER_MSEC;

	(void)multi;
	if (milliseconds < 0)
		return sd_event_source_set_enabled(web->timer, SD_EVENT_OFF) < 0 ? -1 : 0;
	if (sd_event_source_set_time_relative(web->timer, usec) < 0)
		return -1;
	return sd_event_source_set_enabled(web->timer, SD_EVENT_ONESHOT) < 0 ? -1 : 0;
}

int web_new(sd_event *event, const struct config *config, struct web **ret)
{
	cleanup_web struct web *web = calloc(1, sizeof(*web));
	int r;

	if (!web)
		return -ENOMEM;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return -ENOMEM;
	web->event = sd_event_ref(event);
	web->config = config;
	web->multi = curl_multi_init();
	if (!web->multi)
		return -ENOMEM;
	r = sd_event_add_time_relative(event, &web->timer, CLOCK_MONOTONIC, UINT64_MAX / 2, 0,
				       on_timer_event, web);
	if (r < 0)
		return r;
	(void)sd_event_source_set_enabled(web->timer, SD_EVENT_OFF);
	(void)curl_multi_setopt(web->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	(void)curl_multi_setopt(web->multi, CURLMOPT_SOCKETDATA, web);
	(void)curl_multi_setopt(web->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	(void)curl_multi_setopt(web->multi, CURLMOPT_TIMERDATA, web);
	(void)curl_multi_setopt(web->multi, CURLMOPT_MAXCONNECTS, 2L);
	*ret = TAKE_PTR(web);
	return 0;
}

struct web *web_free(struct web *web)
{
	if (!web)
		return NULL;
	if (web->multi)
		(void)curl_multi_cleanup(web->multi);
	(void)sd_event_source_disable_unref(web->timer);
	(void)sd_event_unref(web->event);
	free(web);
	return NULL;
}

/* Whether the directory's certificates can be found by their hashes. */
static bool is_hashed(const char *path)
{
	cleanup_dir DIR *dir = opendir(path);
	const struct dirent *entry = NULL;
	bool found = false;

	while (dir && !found && dir_next(dir, &entry) == 0 && entry)
		found = strlen(entry->d_name) == HASHED_NAME_SIZE &&
			strspn(entry->d_name, "0123456789abcdef") == HASHED_NAME_SIZE - 2 &&
			str_ends_with(entry->d_name, ".0");
	return found;
}

/* One authority is looked up where the system allows that: all of them, parsed, are more memory
 * than the rest of the agent. */
static void set_authorities(CURL *easy, const struct config *config)
{
	if (config->ca_file) {
		(void)curl_easy_setopt(easy, CURLOPT_CAINFO, config->ca_file);
	} else if (is_hashed(CERTIFICATES_PATH)) {
		(void)curl_easy_setopt(easy, CURLOPT_CAINFO, NULL);
		(void)curl_easy_setopt(easy, CURLOPT_CAPATH, CERTIFICATES_PATH);
	}
	(void)curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
}

static void set_options(CURL *easy, const struct config *config)
{
	(void)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
	(void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_SECONDS);
	(void)curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, BUFFER_SIZE);
	(void)curl_easy_setopt(easy, CURLOPT_USERAGENT, "affix-agent/" AFFIX_VERSION);
	set_authorities(easy, config);
	if (config->proxy)
		(void)curl_easy_setopt(easy, CURLOPT_PROXY, config->proxy);
	if (config->client_certificate) {
		(void)curl_easy_setopt(easy, CURLOPT_SSLCERT, config->client_certificate);
		(void)curl_easy_setopt(easy, CURLOPT_SSLKEY, config->client_key);
	}
}

/* What a server that looks at this host's certificate says of it. */
static const char *alert_problem(const char *error)
{
	static const struct {
		const char *alert;
		const char *problem;
	} known[] = {
		{"alert certificate required",
		 "the server wants a certificate of this host; set server.client_certificate and server.client_key in agent.yaml"                                             },
		{"alert unknown ca",
		 "the server does not know who signed this host's certificate; take one that its client_ca signed for server.client_certificate in agent.yaml"                },
		{"alert decrypt error",
		 "the server does not know who signed this host's certificate, though by name; take one that its client_ca signed for server.client_certificate in agent.yaml"},
		{"alert certificate expired",
		 "the server says that this host's certificate has expired; renew server.client_certificate, or look whether the server's clock is right"                     },
		{"alert bad certificate",
		 "the server says that this host's certificate is not good; look whether server.client_certificate is valid already, and whether the server's clock is right" },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strstr(error, known[i].alert))
			return known[i].problem;
	}
	return NULL;
}

/* Of OpenSSL's alerts libcurl has the text alone, and shows it only here if anything else came
 * before it. */
static int on_text(CURL *easy, curl_infotype type, char *data, size_t size, void *userdata)
{
	struct web_transfer *transfer = userdata;
	char text[CURL_ERROR_SIZE];
	const char *problem;

	(void)easy;
	if (type != CURLINFO_TEXT)
		return 0;
	size = MIN(size, sizeof(text) - 1);
	memcpy(text, data, size);
	text[size] = '\0';
	problem = alert_problem(text);
	if (problem)
		transfer->alert = problem;
	return 0;
}

int web_transfer_new(struct web *web, const char *url, struct web_transfer **ret)
{
	cleanup_web_transfer struct web_transfer *transfer = calloc(1, sizeof(*transfer));

	if (!transfer)
		return -ENOMEM;
	transfer->web = web;
	transfer->easy = curl_easy_init();
	if (!transfer->easy || curl_easy_setopt(transfer->easy, CURLOPT_URL, url) != CURLE_OK)
		return -ENOMEM;
	set_options(transfer->easy, web->config);
	(void)curl_easy_setopt(transfer->easy, CURLOPT_ERRORBUFFER, transfer->error);
	(void)curl_easy_setopt(transfer->easy, CURLOPT_DEBUGFUNCTION, on_text);
	(void)curl_easy_setopt(transfer->easy, CURLOPT_DEBUGDATA, transfer);
	(void)curl_easy_setopt(transfer->easy, CURLOPT_VERBOSE, 1L);
	(void)curl_easy_setopt(transfer->easy, CURLOPT_PRIVATE, transfer);
	*ret = TAKE_PTR(transfer);
	return 0;
}

struct web_transfer *web_transfer_free(struct web_transfer *transfer)
{
	if (!transfer)
		return NULL;
	if (transfer->is_running)
		(void)curl_multi_remove_handle(transfer->web->multi, transfer->easy);
	curl_easy_cleanup(transfer->easy);
	curl_slist_free_all(transfer->headers);
	free(transfer);
	return NULL;
}

int web_transfer_add_header(struct web_transfer *transfer, const char *key, const char *value)
{
	cleanup_free char *line = NULL;
	struct curl_slist *list;
	int r = str_format(&line, "%s: %s", key, value);

	if (r < 0)
		return r;
	list = curl_slist_append(transfer->headers, line);
	if (!list)
		return -ENOMEM;
	transfer->headers = list;
	(void)curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, list);
	return 0;
}

int web_transfer_start(struct web_transfer *transfer)
{
	if (curl_multi_add_handle(transfer->web->multi, transfer->easy) != CURLM_OK)
		return -ENOMEM;
	transfer->is_running = true;
	return 0;
}

int web_transfer_again(struct web_transfer *transfer, const char *url)
{
	if (transfer->is_running)
		(void)curl_multi_remove_handle(transfer->web->multi, transfer->easy);
	transfer->is_running = false;
	if (curl_easy_setopt(transfer->easy, CURLOPT_URL, url) != CURLE_OK)
		return -ENOMEM;
	return web_transfer_start(transfer);
}

void web_transfer_forget_who(struct web_transfer *transfer)
{
	(void)curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, NULL);
	(void)curl_easy_setopt(transfer->easy, CURLOPT_SSLCERT, NULL);
	(void)curl_easy_setopt(transfer->easy, CURLOPT_SSLKEY, NULL);
}

/* A certificate outside its time is a clock that is wrong as often as not. */
static const char *validity_problem(const struct web_transfer *transfer)
{
	long verified = X509_V_OK;

	(void)curl_easy_getinfo(transfer->easy, CURLINFO_SSL_VERIFYRESULT, &verified);
	if (verified == X509_V_ERR_CERT_NOT_YET_VALID)
		return "the server's certificate is not valid yet; look whether this host's clock is right";
	if (verified == X509_V_ERR_CERT_HAS_EXPIRED)
		return "the server's certificate has expired; renew it, or look whether this host's clock is right";
	return NULL;
}

static const char *proxy_problem(const struct web_transfer *transfer)
{
	long status = 0;

	(void)curl_easy_getinfo(transfer->easy, CURLINFO_HTTP_CONNECTCODE, &status);
	return status == PROXY_UNAUTHORIZED
		       ? "the proxy wants a name and a password; give good ones in server.proxy of agent.yaml (http://NAME:PASSWORD@HOST:PORT)"
		       : NULL;
}

const char *web_transfer_error(const struct web_transfer *transfer, CURLcode code)
{
	const char *problem = code == CURLE_PEER_FAILED_VERIFICATION ? validity_problem(transfer)
								     : proxy_problem(transfer);

	if (!problem)
		problem = transfer->alert;
	if (problem)
		return problem;
	return transfer->error[0] != '\0' ? transfer->error : curl_easy_strerror(code);
}
