/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Signed download URLs. The host is in them, so that a log of the fronts tells who fetched what;
 * nothing about it is looked up when they are used.
 */

#include "control/package_url.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

#define SIGNATURE_TEXT (crypto_auth_hmacsha256_BYTES * 2)
#define NUMBER_DIGITS  19U

static void sign(const uint8_t key[PACKAGE_URL_KEY_SIZE], const struct package_url *url,
		 char ret[SIGNATURE_TEXT + 1])
{
	uint8_t mac[crypto_auth_hmacsha256_BYTES];
	crypto_auth_hmacsha256_state state;
	char text[160];
	int n;

	n = snprintf(text, sizeof(text), "%s\n%llu\n%llu\n", url->sha256,
		     (unsigned long long)url->host, (unsigned long long)url->expires);
	(void)crypto_auth_hmacsha256_init(&state, key, PACKAGE_URL_KEY_SIZE);
	(void)crypto_auth_hmacsha256_update(&state, (const unsigned char *)text, (size_t)n);
	(void)crypto_auth_hmacsha256_final(&state, mac);
	(void)sodium_bin2hex(ret, SIGNATURE_TEXT + 1, mac, sizeof(mac));
}

int package_url_format(const uint8_t key[PACKAGE_URL_KEY_SIZE], const char *base,
		       const struct package_url *url, char **ret)
{
	char signature[SIGNATURE_TEXT + 1];

	sign(key, url, signature);
	return str_format(ret, "%s" PACKAGE_URL_PREFIX "%s?host=%llu&expires=%llu&signature=%s",
			  base, url->sha256, (unsigned long long)url->host,
			  (unsigned long long)url->expires, signature);
}

/* Takes `NAME=DIGITS` and the '&' behind it off the front of *query. */
static bool take_number(const char **query, const char *name, uint64_t *ret)
{
	const char *at = *query;
	size_t digits;

	if (!str_starts_with(at, name))
		return false;
	at += strlen(name);
	digits = strspn(at, "0123456789");
	if (digits == 0 || digits > NUMBER_DIGITS || at[digits] != '&' ||
	    (digits > 1 && at[0] == '0'))
		return false;
	*ret = strtoull(at, NULL, 10);
	*query = at + digits + 1;
	return true;
}

int package_url_parse(const uint8_t key[PACKAGE_URL_KEY_SIZE], const char *path, const char *query,
		      uint64_t now, struct package_url *ret)
{
	struct package_url url = {0};
	char expected[SIGNATURE_TEXT + 1];
	const char *name;

	if (!path || !query || !str_starts_with(path, PACKAGE_URL_PREFIX))
		return PACKAGE_URL_E_MALFORMED;
	name = path + strlen(PACKAGE_URL_PREFIX);
	if (strlen(name) != PACKAGE_SHA256_TEXT ||
	    strspn(name, "0123456789abcdef") != PACKAGE_SHA256_TEXT)
		return PACKAGE_URL_E_MALFORMED;
	memcpy(url.sha256, name, PACKAGE_SHA256_TEXT);
	if (!take_number(&query, "host=", &url.host) ||
	    !take_number(&query, "expires=", &url.expires) || !str_starts_with(query, "signature="))
		return PACKAGE_URL_E_MALFORMED;
	query += strlen("signature=");
	if (strlen(query) != SIGNATURE_TEXT)
		return PACKAGE_URL_E_MALFORMED;
	sign(key, &url, expected);
	if (sodium_memcmp(expected, query, SIGNATURE_TEXT) != 0)
		return PACKAGE_URL_E_SIGNATURE;
	if (url.expires < now)
		return PACKAGE_URL_E_EXPIRED;
	*ret = url;
	return 0;
}
