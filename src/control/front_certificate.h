/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <libwebsockets.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"

#define CERTIFICATE_NAME_SIZE   256U
#define CERTIFICATE_DIGEST_SIZE 32U

struct certificate {
	char name[CERTIFICATE_NAME_SIZE];
	uint8_t digest[CERTIFICATE_DIGEST_SIZE]; /* SHA-256 of all of it */
};

/* The common name, as UTF-8. False where it is not exactly one, has a NUL in it or is too long:
 * such a certificate names nobody. */
must_check bool certificate_name(const X509 *certificate, char ret[CERTIFICATE_NAME_SIZE]);

/* The verified certificate of a client. False where it has shown none, or one that names nobody. */
must_check bool certificate_of(struct lws *wsi, struct certificate *ret);
