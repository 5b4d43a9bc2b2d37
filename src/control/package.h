/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "control/api_problem.h"
#include "control/audit.h"
#include "control/fleet.h"

/*
 * Packages: one version of an add-on, with a bundle per platform. `imported` (verified, offered to
 * nobody), `approved`, `revoked`. Bundles lie in DATA/artifacts under their SHA-256.
 */

struct package_upload {
	const char *name;      /* of the file in DATA/incoming */
	const char *signature; /* text of the minisign file */
	size_t signature_size;
};

struct package_arrival;

/*
 * Takes a bundle that was checked as a host would, with the keys of the fleet and the policy in
 * DATA/updater.yaml (the built-in one without it). The same bundle again changes nothing. Within
 * the caller's transaction, which goes on with package_keep(). 0 with the package's number; 1 with
 * *reterr*; -errno.
 */
must_check int package_import(struct fleet *fleet, const struct package_arrival *arrival,
			      const struct audit_actor *actor, int64_t *ret_id,
			      struct api_problem *reterr);

/* Gives the file of an arrival, and of those that came with it, its name among the artifacts, when
 * nothing is left to refuse one of them: on disk before the rows are. 0 or -errno. */
must_check int package_keep(const struct fleet *fleet, const struct package_arrival *arrival);

struct package_approval {
	/* An array of names or JSON's null for no narrowing: all that it may be granted. NULL: as
	 * it was approved before, if it was. */
	const json_t *capabilities;
	/* The "revision" of the package that was looked at: if it has another by now, the approval
	 * is refused. NULL: whatever there is. */
	const char *revision;
};

/*
 * Lets hosts have it, with all bundles that are there. This and package_revoke() also mend a
 * package of another state: an approval can be narrowed or widened, a revocation taken back. 0; 1;
 * -errno.
 */
must_check int package_approve(struct fleet *fleet, const char *addon, const char *version,
			       const struct package_approval *approval,
			       const struct audit_actor *actor, struct api_problem *reterr);
must_check int package_revoke(struct fleet *fleet, const char *addon, const char *version,
			      const char *reason, const struct audit_actor *actor,
			      struct api_problem *reterr);

/* Removes what an import that was interrupted left: uploads, and bundles that no package knows. For
 * the start, before there is another. 0 or -errno. */
must_check int package_clean(struct fleet *fleet);

/* The object of GET /api/v1/packages/ADDON/VERSION. 0; 1 where there is none; -errno. */
must_check int package_to_json(struct fleet *fleet, int64_t id, json_t **ret);
/* Its number; 1 where there is none. */
must_check int package_find(struct fleet *fleet, const char *addon, const char *version,
			    int64_t *ret_id);

/* A JSON array of capability names as sorted canonical ones; *all* (may be NULL) is what may be
 * among them. 0; 1 with *reterr* and the place below *path*; -ENOMEM. */
must_check int package_read_capabilities(const json_t *list, const struct strv *all,
					 const char *path, json_t **ret,
					 struct api_problem *reterr);
