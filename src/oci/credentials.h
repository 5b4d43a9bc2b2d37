/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cleanup.h"
#include "oci/condition.h"

/* What config.json has for one registry; all NULL where it has nothing. */
struct oci_credentials {
	char *basic;          /* "USER:PASSWORD" in base64, as a header has it */
	char *identity_token; /* given for a token instead of them */
	char *helper;         /* the program that would know them: it is not run */
	char *path;           /* of the file, for sentences */
};

#define OCI_CREDENTIALS_INIT     \
	(struct oci_credentials) \
	{                        \
	}

/*
 * Reads Docker's config.json (also podman's and skopeo's auth.json): *path*, or where it usually
 * is. No file is no credentials. 0; OCI_BAD_CREDENTIALS where it is not JSON or the entry cannot be
 * used; -errno.
 */
must_check int oci_credentials_load(const char *path, const char *host, struct oci_credentials *ret,
				    struct problem *reterr_problem);
/* Wipes what is secret. */
void oci_credentials_done(struct oci_credentials *credentials);
#define cleanup_oci_credentials CLEANUP(oci_credentials_done)
