/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cleanup.h"

enum oci_challenge_kind {
	OCI_CHALLENGE_NONE, /* nothing that is understood */
	OCI_CHALLENGE_BASIC,
	OCI_CHALLENGE_BEARER,
};

/* How a registry wants to be asked: its WWW-Authenticate header (RFC 9110, 11.6.1). */
struct oci_challenge {
	enum oci_challenge_kind kind;
	char realm[1024]; /* Bearer: where a token is had */
	char service[256];
	char scope[512];
};

/* *header* is the values of all such headers, joined by ", ". Of several the Bearer is taken; one
 * with a parameter that does not fit is none. */
void oci_challenge_parse(const char *header, struct oci_challenge *ret);
