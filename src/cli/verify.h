/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cleanup.h"
#include "bundle/bundle.h"
#include "bundle/trust.h"
#include "crypto/minisign.h"

/* What `affix verify` does, for other commands that take bundles in. */

/* What was found good. */
struct verdict {
	const struct trust_key *key; /* of the trust */
	struct identity identity;
	struct digest digest;
	uint64_t size;      /* of all entries */
	uint64_t text_size; /* of those that are text (bundle.h) */
	size_t entry_count;
};

/* One key's trust, that of a directory, or TRUST_PATH's where both are NULL. 0; refused; -errno. */
must_check int verify_load_trust(const char *key_path, const char *trust_path, struct trust **ret,
				 struct refusal *reterr_refusal);

/* The bundle's bytes and their signature, then what is in them. 0; refused; -errno. */
must_check int verify_bundle(int fd, const struct trust *trust,
			     const struct minisign_signature *signature, struct verdict *ret,
			     struct refusal *reterr_refusal);
