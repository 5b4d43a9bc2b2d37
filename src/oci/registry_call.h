/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "oci/credentials.h"
#include "oci/http.h"
#include "oci/registry.h"

/* What the files of registry.h share. */
struct oci_registry {
	const struct oci_reference *reference;
	const struct oci_options *options;
	bool wants_push;
	bool was_reached; /* it has answered something */
	struct oci_http *http;
	struct oci_credentials credentials;
	char *base;          /* https://HOST:PORT/v2/NAME */
	char *authorization; /* the header's value, or NULL: not asked for yet */
};

#define OCI_TRIES_MAX 6U

/* How long to wait before try number *failures* + 1. */
uint64_t oci_retry_usec(const struct oci_transfer *transfer, unsigned failures);
/* Whether a done transfer is worth another try, after *failures*. */
bool oci_should_retry(const struct oci_registry *registry, const struct oci_transfer *transfer,
		      unsigned failures);
void oci_tell_retry(const struct oci_registry *registry, const struct oci_transfer *transfer,
		    const char *digest);

/* Gives the transfer the URL BASE/PATH, and the credentials that are known by now. 0 or -errno. */
must_check int oci_registry_address(const struct oci_registry *registry,
				    struct oci_transfer *transfer, const char *path);
/*
 * One request, authorised where that is asked for, and repeated where it may help. 0 whatever the
 * status, if it is below 500; else a condition. *what* is asked for, as the subject of a sentence.
 */
must_check int oci_registry_call(struct oci_registry *registry, struct oci_transfer *transfer,
				 const char *what, struct problem *reterr_problem);
/* The condition of a done transfer that is not what was hoped for. */
must_check int oci_registry_judge(const struct oci_registry *registry,
				  const struct oci_transfer *transfer, const char *what,
				  struct problem *reterr_problem);

/* Answers the challenge of a 401 (registry_auth.c): *registry* has an authorization then. */
must_check int oci_registry_authorize(struct oci_registry *registry,
				      const struct oci_answer *answer,
				      struct problem *reterr_problem);
/* OCI_UNAUTHORIZED for *what*, which was answered as *text* says: with what may be done. */
must_check int oci_registry_deny(const struct oci_registry *registry, const char *what,
				 const char *text, struct problem *reterr_problem);
