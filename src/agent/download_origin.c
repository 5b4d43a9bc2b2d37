/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Where bundles may come from. A server that could name any address would reach by us what only
 * this host reaches: the metadata service of a cloud, what listens on loopback, the neighbours. So
 * addresses are taken apart by the same parser that fetches them, and what is not on the server's
 * own machine has to be named by the administrator.
 */

#include "agent/download_origin.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/address.h"
#include "base/str.h"

#define SHOWN_MAX 128U

/* A zone is the name of an interface, in which case counts. */
static bool is_same_host(const struct address *a, const struct address *b)
{
	return strcasecmp(a->host, b->host) == 0 &&
	       str_equal(strchrnul(a->host, '%'), strchrnul(b->host, '%'));
}

int download_is_same_origin(const char *a, const char *b, bool *ret)
{
	cleanup_address struct address first = ADDRESS_INIT;
	cleanup_address struct address second = ADDRESS_INIT;
	int r;

	r = address_parse(a, &first);
	if (r == 0)
		r = address_parse(b, &second);
	if (r < 0)
		return r;
	*ret = r == 0 && first.is_tls == second.is_tls && is_same_host(&first, &second) &&
	       strcmp(first.port, second.port) == 0;
	return 0;
}

/* The server's machine, by the name that agent.yaml has for it, at any port, and not in plain text
 * where the server itself speaks TLS. */
static int is_on_server(const char *server, const char *url, bool *ret)
{
	cleanup_address struct address own = ADDRESS_INIT;
	cleanup_address struct address other = ADDRESS_INIT;
	int r;

	r = address_parse(server, &own);
	if (r == 0)
		r = address_parse(url, &other);
	if (r < 0)
		return r;
	*ret = r == 0 && is_same_host(&own, &other) && (other.is_tls || !own.is_tls);
	return 0;
}

int download_is_allowed(const struct config *config, const char *url, bool *ret)
{
	int r = is_on_server(config->url, url, ret);

	for (size_t i = 0; r == 0 && !*ret && i < config->download_origins.count; i++)
		r = download_is_same_origin(config->download_origins.items[i], url, ret);
	return r;
}

/* Whether all that is wrong with *url* is that it is not TLS. */
static bool is_plain_text_of_server(const char *server, const char *url)
{
	cleanup_address struct address own = ADDRESS_INIT;
	cleanup_address struct address other = ADDRESS_INIT;

	return address_parse(server, &own) == 0 && address_parse(url, &other) == 0 && own.is_tls &&
	       !other.is_tls && is_same_host(&own, &other);
}

static bool is_no_address(const char *server, const char *url)
{
	cleanup_free char *resolved = NULL;

	return address_resolve(server, url, &resolved) == 0 && !resolved;
}

void download_refuse_origin(const struct config *config, const char *url,
			    char ret[DOWNLOAD_ORIGIN_TEXT_MAX])
{
	cleanup_free char *shown = str_escape(url, strcspn(url, "?#"), SHOWN_MAX);
	const char *what = shown ? shown : "";

	if (is_no_address(config->url, url))
		(void)snprintf(ret, DOWNLOAD_ORIGIN_TEXT_MAX,
			       "the download leads to '%s', which is no address; the server has to "
			       "offer it at one such as 'https://fleet.example/PATH'",
			       what);
	else if (is_plain_text_of_server(config->url, url))
		(void)snprintf(
			ret, DOWNLOAD_ORIGIN_TEXT_MAX,
			"the download leads to '%s', in plain text, and agent.yaml reaches that "
			"server by TLS; where something before affixd ends TLS, set public_url "
			"in affixd.yaml to the https address",
			what);
	else
		(void)snprintf(
			ret, DOWNLOAD_ORIGIN_TEXT_MAX,
			"the download leads to '%s', which is not on the server of agent.yaml; "
			"name its origin in downloads.origins if bundles may come from there, or "
			"set public_url in affixd.yaml to what hosts reach it by",
			what);
}
