/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Taking a bundle in. What a host would refuse is refused here, by the same code and in the same
 * order: signature, bundle, key policy, plan. The file is our own (a front wrote it and gave it
 * up), so nobody else changes it meanwhile.
 *
 * Bundles of one package differ by platform only: what decisions hang on (the facts of the
 * manifest, the schema) must be the same in all of them.
 */

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/path.h"
#include "base/str.h"
#include "bundle/bundle.h"
#include "bundle/trust.h"
#include "control/fleet_private.h"
#include "control/package.h"
#include "control/package_url.h"
#include "manifest/host_policy.h"
#include "plan/plan.h"

#define INCOMING    "incoming"
#define ARTIFACTS   "artifacts"
#define TRUST_NAME  "trust.d"
#define POLICY_NAME "updater.yaml"
#define READ_SIZE   65536U

/* A bundle that a host would take. */
struct arrival {
	int dirfd; /* DATA/incoming */
	int fd;
	struct trust *trust;
	const struct trust_key *key; /* of the trust */
	struct identity identity;
	struct bundle *bundle;
	struct digest digest;
	uint64_t size;
	char sha256[PACKAGE_SHA256_TEXT + 1];
	char *facts;
};

#define ARRIVAL_INIT                          \
	(struct arrival)                      \
	{                                     \
		.dirfd = -EBADF, .fd = -EBADF \
	}

static void arrival_done(struct arrival *arrival)
{
	(void)fd_close(arrival->dirfd);
	(void)fd_close(arrival->fd);
	(void)trust_free(arrival->trust);
	(void)bundle_free(arrival->bundle);
	free(arrival->facts);
}

static int refuse_as(const struct refusal *refusal, struct api_problem *reterr)
{
	return api_refuse(reterr, 422, refusal_to_string(refusal->code), NULL, "%s", refusal->text);
}

static int open_file(struct fleet *fleet, const char *name, struct arrival *arrival,
		     struct api_problem *reterr)
{
	struct stat status;
	int r;

	if (!path_is_safe_name(name))
		return -EINVAL;
	r = path_open_beneath(fleet->options.data_dirfd, INCOMING, O_RDONLY | O_DIRECTORY, 0,
			      &arrival->dirfd);
	if (r == 0)
		r = path_open_beneath(arrival->dirfd, name, O_RDONLY | O_NONBLOCK, 0, &arrival->fd);
	if (r < 0)
		return r;
	if (fstat(arrival->fd, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode))
		return -EINVAL;
	arrival->size = (uint64_t)status.st_size;
	if (arrival->size > BUNDLE_SIZE_MAX)
		return api_refuse(reterr, 413, refusal_to_string(REFUSAL_BUNDLE_TOO_LARGE), NULL,
				  "the bundle has more than %llu bytes; no bundle may",
				  (unsigned long long)BUNDLE_SIZE_MAX);
	return 0;
}

static int hash_file(int fd, char ret[PACKAGE_SHA256_TEXT + 1])
{
	uint8_t hash[crypto_hash_sha256_BYTES];
	crypto_hash_sha256_state state;
	uint8_t piece[READ_SIZE];
	uint64_t offset = 0;
	size_t n = 0;

	(void)crypto_hash_sha256_init(&state);
	do {
		int r = fd_pread_full(fd, piece, sizeof(piece), offset, &n);

		if (r < 0)
			return r;
		(void)crypto_hash_sha256_update(&state, piece, n);
		offset += n;
	} while (n > 0);
	(void)crypto_hash_sha256_final(&state, hash);
	(void)sodium_bin2hex(ret, PACKAGE_SHA256_TEXT + 1, hash, sizeof(hash));
	return 0;
}

static int load_trust(struct fleet *fleet, struct trust **ret, struct refusal *refusal)
{
	cleanup_fd int fd = -EBADF;
	int r;

	if (fleet->options.trust_dirfd >= 0)
		return trust_load(fleet->options.trust_dirfd, false, ret, refusal);
	r = path_open_beneath(fleet->options.data_dirfd, TRUST_NAME, O_RDONLY | O_DIRECTORY, 0,
			      &fd);
	if (r == -ENOENT)
		return refuse(refusal, REFUSAL_NO_TRUSTED_KEY,
			      "this affixd trusts no key; put public keys (NAME.pub) into its "
			      "directory '" TRUST_NAME "'");
	return r < 0 ? r : trust_load(fd, false, ret, refusal);
}

static int load_policy(struct fleet *fleet, struct host_policy **ret, struct refusal *refusal)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_free char *text = NULL;
	size_t size = 0;
	int r;

	r = fd_read_file_at(fleet->options.data_dirfd, POLICY_NAME, HOST_POLICY_SIZE_MAX, &text,
			    &size);
	if (r == -ENOENT)
		return host_policy_default(ret);
	if (r == 0)
		r = host_policy_parse(text, size, POLICY_NAME, ret, &diagnostics);
	return r > 0 ? diagnostics_refuse(&diagnostics, refusal) : r;
}

/* The plan itself is not needed: that one can be made is what a host would ask. */
static int check_plan(struct fleet *fleet, const struct bundle *bundle, struct refusal *refusal)
{
	const struct plan_config config = {0};
	const struct plan_narrowing narrowing = {0};
	cleanup_host_policy struct host_policy *policy = NULL;
	cleanup_plan struct plan *plan = NULL;
	int r;

	r = load_policy(fleet, &policy, refusal);
	return r == 0 ? plan_make(bundle, policy, &config, &narrowing, &plan, refusal) : r;
}

static int verify(struct fleet *fleet, const struct package_upload *upload, struct arrival *arrival,
		  struct refusal *refusal)
{
	struct minisign_signature signature;
	int r;

	r = load_trust(fleet, &arrival->trust, refusal);
	if (r == 0)
		r = trust_signature_parse(upload->signature, upload->signature_size, &signature,
					  refusal);
	if (r == 0)
		r = digest_of_fd(arrival->fd, &arrival->digest, NULL);
	if (r == 0)
		r = trust_verify(arrival->trust, &signature, &arrival->digest, fleet_now(fleet),
				 &arrival->key, &arrival->identity, refusal);
	if (r == 0)
		r = bundle_open(arrival->fd, &arrival->identity, -EBADF, &arrival->bundle, refusal);
	if (r != 0)
		return r;
	arrival->bundle->digest = arrival->digest;
	minisign_key_id_to_string(arrival->key->key.id, arrival->bundle->key_id);
	r = trust_key_permits(arrival->key, arrival->bundle->manifest, refusal);
	return r == 0 ? check_plan(fleet, arrival->bundle, refusal) : r;
}

static int add_limits(json_t *facts, const struct manifest_limits *limits)
{
	return json_add(facts, "limits",
			json_pack("{s:I, s:I, s:I, s:I}", "cpu_max_percent",
				  (json_int_t)limits->cpu_max_percent, "memory_high_bytes",
				  (json_int_t)limits->memory_high_bytes, "memory_max_bytes",
				  (json_int_t)limits->memory_max_bytes, "tasks_max",
				  (json_int_t)limits->tasks_max));
}

/* What of the manifest decisions hang on, and what people want to see. */
static int make_facts(const struct manifest *manifest, char **ret)
{
	cleanup_json json_t *facts = json_object();
	int r;

	if (!facts)
		return -ENOMEM;
	r = json_add_string(facts, "name", manifest->name);
	if (r == 0)
		r = json_add_string(facts, "description", manifest->description);
	if (r == 0)
		r = json_add_string(facts, "supervision",
				    manifest_supervision_to_string(manifest->supervision));
	if (r == 0)
		r = json_add_string(facts, "base_agent", manifest->base_agent);
	if (r == 0)
		r = json_add_string(facts, "run_as", manifest->run_as);
	if (r == 0)
		r = json_add(facts, "platforms", json_from_strv(&manifest->platforms));
	if (r == 0)
		r = json_add(facts, "os_capabilities", json_from_strv(&manifest->os_capabilities));
	if (r == 0)
		r = json_add(facts, "agent_capabilities",
			     json_from_strv(&manifest->agent_capabilities));
	if (r == 0)
		r = add_limits(facts, &manifest->limits);
	if (r < 0)
		return r;
	*ret = json_to_canonical(facts);
	return *ret ? 0 : -ENOMEM;
}

/* The package it belongs to, made if this is its first bundle. */
static int find_package(struct fleet *fleet, const struct arrival *arrival, int64_t *ret_id,
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

/* Under its final name and on disk. A file that is there already has the same bytes. */
static int keep_file(struct fleet *fleet, const struct package_upload *upload,
		     const struct arrival *arrival)
{
	cleanup_fd int artifacts = -EBADF;
	int r;

	r = path_open_beneath(fleet->options.data_dirfd, ARTIFACTS, O_RDONLY | O_DIRECTORY, 0,
			      &artifacts);
	if (r < 0)
		return r;
	if (fchmod(arrival->fd, 0440) < 0 || fsync(arrival->fd) < 0 ||
	    renameat(arrival->dirfd, upload->name, artifacts, arrival->sha256) < 0)
		return -errno;
	return dir_sync(artifacts);
}

static int insert_artifact(struct fleet *fleet, int64_t package, const struct arrival *arrival,
			   const struct package_upload *upload)
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
			 STORE_TEXT(upload->signature), STORE_TEXT(arrival->bundle->key_id),
			 STORE_TEXT(arrival->key->name), STORE_INT(identity->created),
			 STORE_INT(identity->expires), STORE_INT(identity->epoch),
			 STORE_INT(fleet_now(fleet)));
}

static int record(struct fleet *fleet, const struct package_upload *upload,
		  const struct arrival *arrival, const struct audit_actor *actor, int64_t *ret_id,
		  struct api_problem *reterr)
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
	r = keep_file(fleet, upload, arrival);
	if (r == 0)
		r = insert_artifact(fleet, *ret_id, arrival, upload);
	if (r == 0)
		r = package_to_json(fleet, *ret_id, &after);
	(void)snprintf(object, sizeof(object), "package %s %s", identity->id, identity->version);
	if (r == 0)
		r = audit_add(fleet->store, actor, "import", object, NULL, after);
	fleet_changed(fleet);
	return r > 0 ? -EIO : r;
}

int package_import(struct fleet *fleet, const struct package_upload *upload,
		   const struct audit_actor *actor, int64_t *ret_id, struct api_problem *reterr)
{
	__attribute__((cleanup(arrival_done))) struct arrival arrival = ARRIVAL_INIT;
	struct refusal refusal = REFUSAL_INIT;
	int r;

	r = open_file(fleet, upload->name, &arrival, reterr);
	if (r != 0)
		return r;
	r = verify(fleet, upload, &arrival, &refusal);
	if (r > 0)
		return refuse_as(&refusal, reterr);
	if (r == 0)
		r = hash_file(arrival.fd, arrival.sha256);
	if (r == 0)
		r = make_facts(arrival.bundle->manifest, &arrival.facts);
	return r == 0 ? record(fleet, upload, &arrival, actor, ret_id, reterr) : r;
}
