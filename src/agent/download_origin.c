/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Where bundles may come from. A server that could name any address would reach by us what only
 * this host reaches: the metadata service of a cloud, what listens on loopback, the neighbours. So
 * addresses are taken apart by the same parser that fetches them, and what is not on the server's
 * own machine has to be named by the administrator.
 */

#include "agent/download_origin.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"

#define SHOWN_MAX 128U

struct origin {
	char *scheme;
	char *host;
	char *port;
};

static void origin_done(struct origin *origin)
{
	curl_free(origin->scheme);
	curl_free(origin->host);
	curl_free(origin->port);
}

static void cleanup_url(CURLU **url)
{
	curl_url_cleanup(*url);
}

/* 0; 1: it is no address of ours, or has a name and a password in it; -ENOMEM. */
static int take_apart(const char *text, struct origin *ret)
{
	__attribute__((cleanup(cleanup_url))) CURLU *url = curl_url();
	char *user = NULL;
	CURLUcode code;

	if (!url)
		return -ENOMEM;
	code = curl_url_set(url, CURLUPART_URL, text, 0);
	if (code == CURLUE_OK && curl_url_get(url, CURLUPART_USER, &user, 0) == CURLUE_OK) {
		curl_free(user);
		return 1;
	}
	if (code == CURLUE_OK)
		code = curl_url_get(url, CURLUPART_SCHEME, &ret->scheme, 0);
	if (code == CURLUE_OK)
		code = curl_url_get(url, CURLUPART_HOST, &ret->host, 0);
	if (code == CURLUE_OK)
		code = curl_url_get(url, CURLUPART_PORT, &ret->port, CURLU_DEFAULT_PORT);
	if (code == CURLUE_OUT_OF_MEMORY)
		return -ENOMEM;
	return code == CURLUE_OK ? 0 : 1;
}

static bool is_http(const struct origin *origin)
{
	return strcasecmp(origin->scheme, "https") == 0 || strcasecmp(origin->scheme, "http") == 0;
}

int download_is_same_origin(const char *a, const char *b, bool *ret)
{
	CLEANUP(origin_done) struct origin first = {0};
	CLEANUP(origin_done) struct origin second = {0};
	int r;

	r = take_apart(a, &first);
	if (r == 0)
		r = take_apart(b, &second);
	if (r < 0)
		return r;
	*ret = r == 0 && is_http(&first) && strcasecmp(first.scheme, second.scheme) == 0 &&
	       strcasecmp(first.host, second.host) == 0 && strcmp(first.port, second.port) == 0;
	return 0;
}

/* The server's machine, by the name that agent.yaml has for it, at any port, and not in plain text
 * where the server itself speaks TLS. */
static int is_on_server(const char *server, const char *url, bool *ret)
{
	CLEANUP(origin_done) struct origin own = {0};
	CLEANUP(origin_done) struct origin other = {0};
	int r;

	r = take_apart(server, &own);
	if (r == 0)
		r = take_apart(url, &other);
	if (r < 0)
		return r;
	*ret = r == 0 && is_http(&other) && strcasecmp(own.host, other.host) == 0 &&
	       (strcasecmp(own.scheme, other.scheme) == 0 ||
		strcasecmp(other.scheme, "https") == 0);
	return 0;
}

int download_is_allowed(const struct config *config, const char *url, bool *ret)
{
	int r = is_on_server(config->url, url, ret);

	for (size_t i = 0; r == 0 && !*ret && i < config->download_origins.count; i++)
		r = download_is_same_origin(config->download_origins.items[i], url, ret);
	return r;
}

int download_resolve_redirect(const char *url, const char *location, char **ret)
{
	__attribute__((cleanup(cleanup_url))) CURLU *parts = curl_url();
	char *text = NULL;
	CURLUcode code;

	if (!parts)
		return -ENOMEM;
	*ret = NULL;
	code = curl_url_set(parts, CURLUPART_URL, url, 0);
	if (code == CURLUE_OK)
		code = curl_url_set(parts, CURLUPART_URL, location, CURLU_NON_SUPPORT_SCHEME);
	if (code == CURLUE_OK)
		code = curl_url_get(parts, CURLUPART_URL, &text, 0);
	if (code == CURLUE_OUT_OF_MEMORY)
		return -ENOMEM;
	if (code != CURLUE_OK)
		return 0;
	*ret = strdup(text);
	curl_free(text);
	return *ret ? 0 : -ENOMEM;
}

void download_refuse_origin(const char *url, char ret[DOWNLOAD_ORIGIN_TEXT_MAX])
{
	cleanup_free char *shown = str_escape(url, strcspn(url, "?#"), SHOWN_MAX);

	(void)snprintf(
		ret, DOWNLOAD_ORIGIN_TEXT_MAX,
		"the download leads to '%s', which is not on the server of agent.yaml, or less safe "
		"than that; name its origin in downloads.origins if bundles may come from there",
		shown ? shown : "");
}
