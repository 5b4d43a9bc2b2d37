/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/*
 * Download URLs: BASE + PACKAGE_URL_PREFIX + SHA256 `?host=N&expires=SECONDS&signature=HEX`. The
 * signature is HMAC-SHA-256 over "SHA256\nHOST\nEXPIRES\n" in decimal. They are the whole
 * permission: whoever has one may fetch that artifact until it expires.
 */
#define PACKAGE_URL_PREFIX   "/v1/artifacts/"
#define PACKAGE_URL_KEY_SIZE 32U
#define PACKAGE_SHA256_TEXT  64U

/* What a good URL says. */
struct package_url {
	char sha256[PACKAGE_SHA256_TEXT + 1];
	uint64_t host;
	uint64_t expires; /* seconds since 1970 */
};

/* 0 or -ENOMEM; the caller frees *ret*. */
must_check int package_url_format(const uint8_t key[PACKAGE_URL_KEY_SIZE], const char *base,
				  const struct package_url *url, char **ret);

/*
 * Reads path and query (the part behind '?', may be NULL) of a request. 0; PACKAGE_URL_E_MALFORMED:
 * not such a URL (404); PACKAGE_URL_E_SIGNATURE: not ours (403); PACKAGE_URL_E_EXPIRED (403).
 */
enum package_url_condition {
	PACKAGE_URL_E_MALFORMED = 1,
	PACKAGE_URL_E_SIGNATURE,
	PACKAGE_URL_E_EXPIRED,
};

must_check int package_url_parse(const uint8_t key[PACKAGE_URL_KEY_SIZE], const char *path,
				 const char *query, uint64_t now, struct package_url *ret);
