/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <libwebsockets.h>
#include <openssl/x509.h>
#include <stdbool.h>

#include "base/cleanup.h"

#define CERTIFICATE_NAME_SIZE 256U

/* The common name, as UTF-8. False where it is not exactly one, has a NUL in it or is too long:
 * such a certificate names nobody. */
must_check bool certificate_name(const X509 *certificate, char ret[CERTIFICATE_NAME_SIZE]);

/* The same of the verified certificate of a client; false also where it has shown none. */
must_check bool certificate_of(struct lws *wsi, char ret[CERTIFICATE_NAME_SIZE]);
