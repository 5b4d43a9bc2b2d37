/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Addresses. Two readers that disagree about where an address leads are how a check is passed with
 * one host and another is asked, so there is one: the parser that fetches.
 */

#include "agent/address.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>

#include "base/str.h"

static void cleanup_url(CURLU **url)
{
	curl_url_cleanup(*url);
}

#define cleanup_curlu __attribute__((cleanup(cleanup_url)))

/* 0; 1 where there is no such part; -ENOMEM. */
static int get_part(CURLU *url, CURLUPart part, unsigned flags, char **ret)
{
	char *text = NULL;
	CURLUcode code = curl_url_get(url, part, &text, flags);

	if (code != CURLUE_OK)
		return code == CURLUE_OUT_OF_MEMORY ? -ENOMEM : 1;
	*ret = strdup(text);
	curl_free(text);
	return *ret ? 0 : -ENOMEM;
}

static bool has_part(CURLU *url, CURLUPart part)
{
	char *text = NULL;
	CURLUcode code = curl_url_get(url, part, &text, 0);

	curl_free(text);
	return code == CURLUE_OK;
}

/* libcurl's host has no zone, which says by what interface a link-local address is reached. */
static int make_host(CURLU *url, struct address *address)
{
	cleanup_free char *zone = NULL;
	cleanup_free char *host = NULL;
	cleanup_free char *port = NULL;
	int r = get_part(url, CURLUPART_HOST, 0, &host);

	if (r != 0)
		return r;
	if (get_part(url, CURLUPART_ZONEID, 0, &zone) < 0 ||
	    get_part(url, CURLUPART_PORT, 0, &port) < 0)
		return -ENOMEM;
	r = str_format(&address->host, "%.*s%s%s%s", (int)strlen(host) - (zone ? 1 : 0), host,
		       zone ? "%25" : "", zone ? zone : "", zone ? "]" : "");
	if (r == 0)
		r = str_format(&address->authority, "%s%s%s", address->host, port ? ":" : "",
			       port ? port : "");
	if (r == 0)
		r = str_format(&address->header, "%s%s%s", host, port ? ":" : "", port ? port : "");
	return r;
}

static int make_target(CURLU *url, struct address *address)
{
	cleanup_free char *path = NULL;
	cleanup_free char *query = NULL;
	int r = get_part(url, CURLUPART_PATH, 0, &path);

	if (r == 0 && get_part(url, CURLUPART_QUERY, 0, &query) < 0)
		r = -ENOMEM;
	return r == 0 ? str_format(&address->target, "%s%s%s", path, query ? "?" : "",
				   query ? query : "")
		      : r;
}

static int take_apart(CURLU *url, struct address *address)
{
	cleanup_free char *scheme = NULL;
	int r;

	if (has_part(url, CURLUPART_USER) || has_part(url, CURLUPART_PASSWORD))
		return 1;
	r = get_part(url, CURLUPART_SCHEME, 0, &scheme);
	if (r != 0)
		return r;
	address->is_tls = str_equal(scheme, "https");
	if (!address->is_tls && !str_equal(scheme, "http"))
		return 1;
	r = get_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT, &address->port);
	if (r == 0 && str_equal(address->port, "0"))
		return 1;
	if (r == 0)
		r = make_host(url, address);
	return r == 0 ? make_target(url, address) : r;
}

int address_parse(const char *text, struct address *ret)
{
	cleanup_address struct address address = ADDRESS_INIT;
	cleanup_curlu CURLU *url = curl_url();
	CURLUcode code;
	int r;

	if (!url)
		return -ENOMEM;
	code = curl_url_set(url, CURLUPART_URL, text, 0);
	if (code != CURLUE_OK)
		return code == CURLUE_OUT_OF_MEMORY ? -ENOMEM : 1;
	r = take_apart(url, &address);
	if (r != 0)
		return r;
	*ret = address;
	address = ADDRESS_INIT;
	return 0;
}

void address_done(struct address *address)
{
	free(address->host);
	free(address->port);
	free(address->authority);
	free(address->header);
	free(address->target);
	*address = ADDRESS_INIT;
}

static bool is_same_part(CURLU *a, CURLU *b, CURLUPart part)
{
	cleanup_free char *first = NULL;
	cleanup_free char *second = NULL;

	return get_part(a, part, 0, &first) == 0 && get_part(b, part, 0, &second) == 0 &&
	       str_equal(first, second);
}

/* A server does not know by which of our interfaces it is reached: its own address has our zone. */
static int keep_zone(CURLU *base, CURLU *url)
{
	cleanup_free char *zone = NULL;
	int r = get_part(base, CURLUPART_ZONEID, 0, &zone);

	if (r != 0)
		return MIN(r, 0);
	if (!is_same_part(base, url, CURLUPART_HOST) || has_part(url, CURLUPART_ZONEID))
		return 0;
	return curl_url_set(url, CURLUPART_ZONEID, zone, 0) == CURLUE_OK ? 0 : -ENOMEM;
}

int address_resolve(const char *base, const char *reference, char **ret)
{
	cleanup_curlu CURLU *from = curl_url();
	cleanup_curlu CURLU *url = NULL;
	CURLUcode code;
	int r;

	if (!from)
		return -ENOMEM;
	*ret = NULL;
	code = curl_url_set(from, CURLUPART_URL, base, 0);
	if (code == CURLUE_OK) {
		url = curl_url_dup(from);
		if (!url)
			return -ENOMEM;
		code = curl_url_set(url, CURLUPART_URL, reference, CURLU_NON_SUPPORT_SCHEME);
	}
	if (code != CURLUE_OK)
		return code == CURLUE_OUT_OF_MEMORY ? -ENOMEM : 0;
	r = keep_zone(from, url);
	if (r == 0)
		r = get_part(url, CURLUPART_URL, 0, ret);
	return r < 0 ? r : 0;
}
