/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "bundle/identity.h"
#include "crypto/minisign.h"
#include "manifest/manifest.h"

#define TRUST_PATH     "/etc/affix/trust.d"
#define TRUST_KEYS_MAX 64U

/* One NAME.pub and what NAME.policy.yaml allows it; an empty list here allows anything. */
struct trust_key {
	char *name; /* without .pub */
	struct minisign_public_key key;
	bool has_policy;
	struct strv ids;
	struct strv capabilities; /* Linux capabilities, lower case */
	bool any_capabilities;    /* the policy has no `capabilities:` */
	struct strv supervision;  /* names of supervision models */
};

struct trust {
	struct trust_key *keys;
	size_t n_keys;
};

/*
 * Loads every *.pub of the directory *dirfd*, hidden ones left out. Two files with one key id are
 * refused, both named: which policy would hold? Files must be regular; with *must_be_root*, they
 * and the directory must belong to uid 0 and be writable by nobody else. An absent policy file is
 * no policy; a broken key or policy file refuses with REFUSAL_BAD_TRUST and its name: fail closed.
 * 0, -errno, or refused. *ret* may have no key.
 */
must_check int trust_load(int dirfd, bool must_be_root, struct trust **ret,
			  struct refusal *reterr_refusal);
/* A trust of one key without policy (`affix verify -p`). */
must_check int trust_of_key(const struct minisign_public_key *key, const char *name,
			    struct trust **ret);
struct trust *trust_free(struct trust *trust);

DEFINE_CLEANUP(struct trust *, trust, trust_free)
#define cleanup_trust CLEANUP(cleanup_trust)

/* minisign_signature_parse(), with a sentence for what it says. 0 or REFUSAL_MALFORMED_SIGNATURE.
 */
must_check int trust_signature_parse(const char *text, size_t size, struct minisign_signature *ret,
				     struct refusal *reterr_refusal);

/*
 * Verifies a signature file over a file with digest *file*: finds the key, checks the signature,
 * parses the comment, checks the key's policy for the id, and `created` and `expires` against *now*
 * (0: not judged). 0 with *ret_key* borrowed from *trust*; refused; -errno.
 */
must_check int trust_verify(const struct trust *trust, const struct minisign_signature *signature,
			    const struct digest *file, uint64_t now,
			    const struct trust_key **ret_key, struct identity *ret_identity,
			    struct refusal *reterr_refusal);

/* The half that needs no file, and may be done before there is a digest: finds the key and checks
 * that the comment is its. Nothing of the comment is believed before the other half holds. */
must_check int trust_verify_comment(const struct trust *trust,
				    const struct minisign_signature *signature,
				    const struct trust_key **ret_key,
				    struct refusal *reterr_refusal);
/* The other half, with that key. */
must_check int trust_verify_file(const struct trust_key *key,
				 const struct minisign_signature *signature,
				 const struct digest *file, uint64_t now,
				 struct identity *ret_identity, struct refusal *reterr_refusal);

/* What a key's policy says of a manifest: capabilities, supervision model. 0 or refused
 * (REFUSAL_KEY_POLICY). */
must_check int trust_key_permits(const struct trust_key *key, const struct manifest *manifest,
				 struct refusal *reterr_refusal);
