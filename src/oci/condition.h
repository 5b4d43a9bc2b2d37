/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"
#include "base/problem.h"

/*
 * What images and registries can be wrong in. Functions of this folder return 0; -errno where
 * something broke; or one of these, after *reterr_problem* was set to a sentence that names the
 * thing, what was expected, and what to do.
 */
enum oci_condition {
	OCI_NONE = 0,
	OCI_BAD_REFERENCE,    /* what was named is no image reference */
	OCI_BAD_IMAGE,        /* a document that is not what the format says, or over a limit */
	OCI_BAD_DIGEST,       /* bytes that are not those that were named */
	OCI_NO_PLATFORM,      /* an index without the platform that was asked for */
	OCI_NOT_FOUND,        /* no such repository, tag or blob */
	OCI_UNAUTHORIZED,     /* the registry wants other credentials, or none help */
	OCI_BAD_CREDENTIALS,  /* config.json cannot be used */
	OCI_UNTRUSTED_SERVER, /* TLS, or a redirect to a place without it */
	OCI_REGISTRY_REFUSED, /* any other answer that is final */
	OCI_UNREACHABLE,      /* transient: the network, or an answer that says so */
	OCI_NO_SPACE,         /* for the cache or what is written */
	OCI_BUSY,             /* transient: another process has it */
	OCI_CONDITION_N,
};

/* Sets *problem*, which may be NULL, and its value is *code*: a macro, so that whoever judges a
 * function sees that it is not 0. */
#define oci_fail(problem, code, ...)                                                       \
	({                                                                                 \
		const enum oci_condition failed_code = (code);                             \
		problem_set((problem), oci_condition_to_string(failed_code), __VA_ARGS__); \
		(int)failed_code;                                                          \
	})

/* "bad-reference" and so on, as `affix` prints them before the sentence; "none" for what is no
 * condition. */
const char *oci_condition_to_string(enum oci_condition code);
/* Whether the same may succeed later with nothing changed but time (exit code 4). */
bool oci_condition_is_transient(enum oci_condition code);
