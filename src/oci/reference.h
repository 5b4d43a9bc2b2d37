/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"
#include "oci/condition.h"

#define OCI_HOST_MAX 255U
#define OCI_NAME_MAX 255U
#define OCI_TAG_MAX  128U
/* "sha256:" and 64 lower-case hexadecimal digits: the one kind of digest that is read here. */
#define OCI_DIGEST_TEXT_SIZE 72U
#define OCI_DIGEST_PREFIX    "sha256:"

/* REGISTRY/NAME[:TAG][@DIGEST], checked, with the defaults filled in. */
struct oci_reference {
	char host[OCI_HOST_MAX + 1]; /* HOST[:PORT] as it was written */
	char name[OCI_NAME_MAX + 1];
	char tag[OCI_TAG_MAX + 1]; /* "latest" where neither tag nor digest was named; else maybe ""
				    */
	char digest[OCI_DIGEST_TEXT_SIZE]; /* or "" */
};

/* 0 or OCI_BAD_REFERENCE. */
must_check int oci_reference_parse(const char *text, struct oci_reference *ret,
				   struct problem *reterr_problem);
/* What a manifest is asked for by: the digest if there is one. */
const char *oci_reference_wanted(const struct oci_reference *reference);

/* Where the registry is reached: docker.io has another name there. HOST[:PORT]. */
const char *oci_reference_server(const struct oci_reference *reference);

/* Whether HOST[:PORT] is this machine by its name or number: http is spoken there only. */
bool oci_host_is_loopback(const char *host);

bool oci_digest_is_valid(const char *text);
/* As the specification has it: 1 to OCI_TAG_MAX bytes. */
bool oci_tag_is_valid(const char *text);
