/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Taking a bundle in that was checked (package_arrival.c).
 *
 * Bundles of one package differ by platform only: what decisions hang on (the facts of the
 * manifest, the schema) must be the same in all of them.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/path.h"
#include "base/str.h"
#include "control/fleet_private.h"
#include "control/package_arrival.h"

#define ARTIFACTS "artifacts"

/* The package it belongs to, made if this is its first bundle. */
static int find_package(struct fleet *fleet, const struct package_arrival *arrival, int64_t *ret_id,
			struct api_problem *reterr)
{
	const struct manifest *manifest = arrival->bundle->manifest;
	const char *schema = bundle_find(arrival->bundle, manifest->config_schema)->text;
	cleanup_rows struct store_rows *rows = NULL;
	bool row = false;
	int r;

	r = store_select(fleet->store, &rows,
			 "SELECT id, manifest, schema FROM package WHERE addon = $1 AND "
			 "version = $2",
			 STORE_TEXT(manifest->id), STORE_TEXT(manifest->version));
	if (r == 0)
		r = store_next(rows, &row);
	if (r != 0)
		return r;
	if (!row)
		return store_number(fleet->store, ret_id, 0,
				    "INSERT INTO package (addon, version, state, imported, "
				    "manifest, schema) VALUES ($1, $2, 'imported', $3, $4, $5) "
				    "RETURNING id",
				    STORE_TEXT(manifest->id), STORE_TEXT(manifest->version),
				    STORE_INT(fleet_now(fleet)), STORE_TEXT(arrival->facts),
				    STORE_TEXT(schema));
	*ret_id = store_int(rows, 0);
	if (str_equal(store_text(rows, 1), arrival->facts) &&
	    str_equal(store_text(rows, 2), schema))
		return 0;
	return api_refuse(reterr, 409, "manifest-differs", NULL,
			  "the manifest or schema of '%s' %s is not that of the bundles imported "
			  "before; give it another version",
			  manifest->id, manifest->version);
}

static int insert_artifact(struct fleet *fleet, int64_t package,
			   const struct package_arrival *arrival)
{
	const struct identity *identity = &arrival->identity;
	char digest[DIGEST_TEXT_SIZE];

	digest_to_string(&arrival->digest, digest);
	return store_run(fleet->store,
			 "INSERT INTO artifact (package, os, arch, sha256, digest, size, "
			 "signature, key_id, key_name, created, expires, epoch, imported) "
			 "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
			 STORE_INT(package), STORE_TEXT(identity->os), STORE_TEXT(identity->arch),
			 STORE_TEXT(arrival->sha256), STORE_TEXT(digest), STORE_INT(arrival->size),
			 STORE_TEXT(arrival->signature), STORE_TEXT(arrival->bundle->key_id),
			 STORE_TEXT(arrival->key->name), STORE_INT(identity->created),
			 STORE_INT(identity->expires), STORE_INT(identity->epoch),
			 STORE_INT(fleet_now(fleet)));
}

static int record(struct fleet *fleet, const struct package_arrival *arrival,
		  const struct audit_actor *actor, int64_t *ret_id, struct api_problem *reterr)
{
	const struct identity *identity = &arrival->identity;
	cleanup_json json_t *after = NULL;
	char object[128];
	int64_t same = 0;
	int r;

	r = find_package(fleet, arrival, ret_id, reterr);
	if (r == 0)
		r = store_number(fleet->store, &same, -1,
				 "SELECT sha256 = $1 FROM artifact WHERE package = $2 AND os = $3 "
				 "AND arch = $4",
				 STORE_TEXT(arrival->sha256), STORE_INT(*ret_id),
				 STORE_TEXT(identity->os), STORE_TEXT(identity->arch));
	if (r != 0 || same == 1)
		return r;
	if (same == 0)
		return api_refuse(reterr, 409, "artifact-exists", NULL,
				  "there is another bundle of '%s' %s for %s/%s already; give this "
				  "one another version",
				  identity->id, identity->version, identity->os, identity->arch);
	r = insert_artifact(fleet, *ret_id, arrival);
	if (r == 0)
		r = package_to_json(fleet, *ret_id, &after);
	(void)snprintf(object, sizeof(object), "package %s %s", identity->id, identity->version);
	if (r == 0)
		r = audit_add(fleet->store, actor, "import", object, NULL, after);
	fleet_changed(fleet);
	return r > 0 ? -EIO : r;
}

int package_import(struct fleet *fleet, const struct package_arrival *arrival,
		   const struct audit_actor *actor, int64_t *ret_id, struct api_problem *reterr)
{
	if (!arrival->is_checked)
		return -EINVAL;
	if (arrival->result > 0)
		*reterr = arrival->problem;
	return arrival->result == 0 ? record(fleet, arrival, actor, ret_id, reterr)
				    : arrival->result;
}

int package_keep(const struct fleet *fleet, const struct package_arrival *arrival)
{
	cleanup_fd int artifacts = -EBADF;
	int r;

	r = path_open_beneath(fleet->options.data_dirfd, ARTIFACTS, O_RDONLY | O_DIRECTORY, 0,
			      &artifacts);
	for (; arrival && r == 0; arrival = arrival->next) {
		/* A file that is there already has the same bytes. */
		if (arrival->name &&
		    renameat(arrival->dirfd, arrival->name, artifacts, arrival->sha256) < 0)
			r = -errno;
	}
	return r == 0 ? dir_sync(artifacts) : r;
}
