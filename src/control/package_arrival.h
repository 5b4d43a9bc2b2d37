/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "bundle/bundle.h"
#include "bundle/trust.h"
#include "control/api_problem.h"
#include "control/fleet.h"
#include "control/package.h"
#include "control/package_pull.h"
#include "control/package_url.h"

/* A bundle that is to be taken in. */
struct package_arrival {
	char *name; /* of its file in DATA/incoming, which goes with it */
	char *signature;
	size_t signature_size;
	int data_dirfd;
	int trust_dirfd;
	int dirfd; /* DATA/incoming */
	int fd;
	uint64_t now;
	struct package_pull *pull; /* not NULL: there is no bundle yet, and then those of *next* */
	struct package_arrival *next; /* owned: what was pulled beside it */

	/* What was found, once it is checked. */
	bool is_checked;
	int result;                 /* 0; 1 with a problem; -errno */
	struct api_problem problem; /* what a host would say */
	struct trust *trust;
	const struct trust_key *key; /* of the trust */
	struct identity identity;
	struct bundle *bundle;
	struct digest digest;
	uint64_t size;
	char sha256[PACKAGE_SHA256_TEXT + 1];
	char *facts; /* of the manifest, as the package keeps them */
};

/* Takes the upload's file over. 0 or -errno. */
must_check int package_arrival_new(struct fleet *fleet, const struct package_upload *upload,
				   struct package_arrival **ret);
struct package_arrival *package_arrival_free(struct package_arrival *arrival);

DEFINE_CLEANUP(struct package_arrival *, package_arrival, package_arrival_free)
#define cleanup_package_arrival CLEANUP(cleanup_package_arrival)

/* One that has no bundle yet; with the same directories as *other*, for any thread. 0 or -errno. */
must_check int package_arrival_begin(const struct fleet *fleet, struct package_arrival **ret);
must_check int package_arrival_begin_like(const struct package_arrival *other,
					  struct package_arrival **ret);

/* Verifies it as a host would, and has its bytes on disk. May run on another thread. */
void package_arrival_check(struct package_arrival *arrival);
