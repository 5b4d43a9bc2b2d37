/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A bundle on its way in. What a host would refuse is refused here, by the same code and in the
 * same order: signature, bundle, key policy, plan. A large one takes long to read, so nothing of
 * this touches the fleet: the arrival owns what it looks at, and may be checked on another thread.
 *
 * The file is our own (a front wrote it and gave it up) and under a name that no front makes, so
 * nobody else changes it meanwhile.
 */

#include "control/package_arrival.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/path.h"
#include "base/str.h"
#include "control/fleet_private.h"
#include "manifest/host_policy.h"
#include "plan/plan.h"

#define INCOMING    "incoming"
#define TRUST_NAME  "trust.d"
#define POLICY_NAME "updater.yaml"
#define READ_SIZE   65536U

static void free_one(struct package_arrival *arrival)
{
	if (arrival->dirfd >= 0 && arrival->name)
		ignore_result(file_remove(arrival->dirfd, arrival->name, NULL));
	(void)fd_close(arrival->data_dirfd);
	(void)fd_close(arrival->trust_dirfd);
	(void)fd_close(arrival->dirfd);
	(void)fd_close(arrival->fd);
	(void)trust_free(arrival->trust);
	(void)bundle_free(arrival->bundle);
	free(arrival->name);
	free(arrival->signature);
	free(arrival->facts);
	(void)package_pull_free(arrival->pull);
	free(arrival);
}

struct package_arrival *package_arrival_free(struct package_arrival *arrival)
{
	while (arrival) {
		struct package_arrival *next = arrival->next;

		free_one(arrival);
		arrival = next;
	}
	return NULL;
}

static int duplicate(int fd, int *ret)
{
	*ret = fd < 0 ? -EBADF : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return fd >= 0 && *ret < 0 ? -errno : 0;
}

/* The front may give another upload the same name, once it was started anew. */
static int take_file(struct package_arrival *arrival, uint64_t number, const char *name)
{
	cleanup_free char *own = NULL;
	int r;

	if (!path_is_safe_name(name))
		return -EINVAL;
	r = path_open_beneath(arrival->data_dirfd, INCOMING, O_RDONLY | O_DIRECTORY, 0,
			      &arrival->dirfd);
	if (r == 0)
		r = str_format(&own, "import-%" PRIu64, number);
	if (r < 0)
		return r;
	if (renameat(arrival->dirfd, name, arrival->dirfd, own) < 0)
		return -errno;
	arrival->name = TAKE_PTR(own);
	return path_open_beneath(arrival->dirfd, arrival->name, O_RDONLY | O_NONBLOCK, 0,
				 &arrival->fd);
}

static int begin(int data_dirfd, int trust_dirfd, uint64_t now, struct package_arrival **ret)
{
	cleanup_package_arrival struct package_arrival *arrival = calloc(1, sizeof(*arrival));
	int r;

	if (!arrival)
		return -ENOMEM;
	arrival->data_dirfd = arrival->trust_dirfd = arrival->dirfd = arrival->fd = -EBADF;
	arrival->now = now;
	r = duplicate(data_dirfd, &arrival->data_dirfd);
	if (r == 0)
		r = duplicate(trust_dirfd, &arrival->trust_dirfd);
	if (r == 0)
		*ret = TAKE_PTR(arrival);
	return r;
}

int package_arrival_begin(const struct fleet *fleet, struct package_arrival **ret)
{
	return begin(fleet->options.data_dirfd, fleet->options.trust_dirfd, fleet_now(fleet), ret);
}

int package_arrival_begin_like(const struct package_arrival *other, struct package_arrival **ret)
{
	return begin(other->data_dirfd, other->trust_dirfd, other->now, ret);
}

int package_arrival_new(struct fleet *fleet, const struct package_upload *upload,
			struct package_arrival **ret)
{
	cleanup_package_arrival struct package_arrival *arrival = NULL;
	int r = package_arrival_begin(fleet, &arrival);

	if (r != 0)
		return r;
	arrival->signature = strndup(upload->signature, upload->signature_size);
	arrival->signature_size = upload->signature_size;
	if (!arrival->signature)
		return -ENOMEM;
	r = take_file(arrival, ++fleet->imports, upload->name);
	if (r == 0)
		*ret = TAKE_PTR(arrival);
	return r;
}

static int measure(struct package_arrival *arrival, struct refusal *refusal)
{
	struct stat status;

	if (fstat(arrival->fd, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode))
		return -EINVAL;
	arrival->size = (uint64_t)status.st_size;
	if (arrival->size > BUNDLE_SIZE_MAX)
		return refuse(refusal, REFUSAL_BUNDLE_TOO_LARGE,
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

static int load_trust(struct package_arrival *arrival, struct trust **ret, struct refusal *refusal)
{
	cleanup_fd int fd = -EBADF;
	int r;

	if (arrival->trust_dirfd >= 0)
		return trust_load(arrival->trust_dirfd, false, ret, refusal);
	r = path_open_beneath(arrival->data_dirfd, TRUST_NAME, O_RDONLY | O_DIRECTORY, 0, &fd);
	if (r == -ENOENT)
		return refuse(refusal, REFUSAL_NO_TRUSTED_KEY,
			      "this affixd trusts no key; put public keys (NAME.pub) into its "
			      "directory '" TRUST_NAME "'");
	return r < 0 ? r : trust_load(fd, false, ret, refusal);
}

static int load_policy(struct package_arrival *arrival, struct host_policy **ret,
		       struct refusal *refusal)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_free char *text = NULL;
	size_t size = 0;
	int r;

	r = fd_read_file_at(arrival->data_dirfd, POLICY_NAME, HOST_POLICY_SIZE_MAX, &text, &size);
	if (r == -ENOENT)
		return host_policy_default(ret);
	if (r == 0)
		r = host_policy_parse(text, size, POLICY_NAME, ret, &diagnostics);
	return r > 0 ? diagnostics_refuse(&diagnostics, refusal) : r;
}

/* The plan itself is not needed: that one can be made is what a host would ask. */
static int check_plan(struct package_arrival *arrival, struct refusal *refusal)
{
	const struct plan_config config = {0};
	const struct plan_narrowing narrowing = {0};
	cleanup_host_policy struct host_policy *policy = NULL;
	cleanup_plan struct plan *plan = NULL;
	int r;

	r = load_policy(arrival, &policy, refusal);
	return r == 0 ? plan_make(arrival->bundle, policy, &config, &narrowing, &plan, refusal) : r;
}

static int verify(struct package_arrival *arrival, struct refusal *refusal)
{
	struct minisign_signature signature;
	int r;

	r = load_trust(arrival, &arrival->trust, refusal);
	if (r == 0)
		r = trust_signature_parse(arrival->signature, arrival->signature_size, &signature,
					  refusal);
	if (r == 0)
		r = digest_of_fd(arrival->fd, &arrival->digest, NULL);
	if (r == 0)
		r = trust_verify(arrival->trust, &signature, &arrival->digest, arrival->now,
				 &arrival->key, &arrival->identity, refusal);
	if (r == 0)
		r = bundle_open(arrival->fd, &arrival->identity, NULL, &arrival->bundle, refusal);
	if (r != 0)
		return r;
	arrival->bundle->digest = arrival->digest;
	minisign_key_id_to_string(arrival->key->key.id, arrival->bundle->key_id);
	r = trust_key_permits(arrival->key, arrival->bundle->manifest, refusal);
	return r == 0 ? check_plan(arrival, refusal) : r;
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

/* As it will be kept: nothing of this waits for the disk afterwards. */
static int settle(const struct package_arrival *arrival)
{
	return fchmod(arrival->fd, 0440) < 0 || fsync(arrival->fd) < 0 ? -errno : 0;
}

void package_arrival_check(struct package_arrival *arrival)
{
	struct refusal refusal = REFUSAL_INIT;
	int r;

	if (arrival->pull) {
		package_pull_check(arrival);
		return;
	}
	r = measure(arrival, &refusal);
	if (r == 0)
		r = verify(arrival, &refusal);
	if (r > 0)
		api_problem_set(&arrival->problem,
				refusal.code == REFUSAL_BUNDLE_TOO_LARGE ? 413 : 422,
				refusal_to_string(refusal.code), NULL, "%s", refusal.text);
	if (r == 0)
		r = hash_file(arrival->fd, arrival->sha256);
	if (r == 0)
		r = make_facts(arrival->bundle->manifest, &arrival->facts);
	if (r == 0)
		r = settle(arrival);
	arrival->result = r;
	arrival->is_checked = true;
}
