/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Which keys may sign, and what for. The directory is read for each request, so a key that is gone
 * is gone at once; a file there that cannot be understood stops everything, because leaving it out
 * could widen what a policy was to narrow.
 */

#include "bundle/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/dir.h"
#include "base/fd.h"
#include "base/path.h"
#include "bundle/trust_policy.h"

#define KEY_SUFFIX      ".pub"
#define POLICY_SUFFIX   ".policy.yaml"
#define POLICY_SIZE_MAX (64UL * 1024UL)

/* How much of a foreign comment a message repeats. */
#define SHOWN_MAX 200U

/* How far the clocks of signer and host may be apart. */
#define CLOCK_SKEW_SECONDS 300U

static void key_done(struct trust_key *key)
{
	free(key->name);
	strv_done(&key->ids);
	strv_done(&key->capabilities);
	strv_done(&key->supervision);
}

#define cleanup_key CLEANUP(key_done)

struct trust *trust_free(struct trust *trust)
{
	if (!trust)
		return NULL;
	for (size_t i = 0; i < trust->n_keys; i++)
		key_done(&trust->keys[i]);
	free(trust->keys);
	free(trust);
	return NULL;
}

static bool only_root_writes(const struct stat *st)
{
	return st->st_uid == 0 && (st->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* Reads one file of the directory. 0; -ENOENT; refused; -errno. */
static int read_file(int dirfd, const char *name, size_t max, bool must_be_root, char **ret_text,
		     size_t *ret_size, struct refusal *reterr_refusal)
{
	cleanup_fd int fd = -EBADF;
	struct stat st = {0};
	int r;

	r = path_open_beneath(dirfd, name, O_RDONLY | O_NOCTTY | O_NONBLOCK, 0, &fd);
	if (r < 0 && r != -ELOOP)
		return r;
	if (r == 0 && fstat(fd, &st) < 0)
		return -errno;
	if (r == -ELOOP || !S_ISREG(st.st_mode))
		return refuse(reterr_refusal, REFUSAL_BAD_TRUST,
			      "'%s' of the trusted keys is not a regular file; put the file itself "
			      "there, or remove it",
			      name);
	if (must_be_root && !only_root_writes(&st))
		return refuse(reterr_refusal, REFUSAL_BAD_TRUST,
			      "'%s' of the trusted keys may be changed by others than root; chown "
			      "it to root and chmod it to 0644",
			      name);
	r = fd_read_all(fd, max, ret_text, ret_size);
	if (r == -EFBIG)
		return refuse(reterr_refusal, REFUSAL_BAD_TRUST,
			      "'%s' of the trusted keys has more than %zu bytes; replace or remove "
			      "it",
			      name, max);
	return r;
}

static int load_policy(int dirfd, bool must_be_root, struct trust_key *key,
		       struct refusal *reterr_refusal)
{
	cleanup_free char *file = NULL;
	cleanup_free char *text = NULL;
	size_t size = 0;
	int r;

	r = str_format(&file, "%s" POLICY_SUFFIX, key->name);
	if (r < 0)
		return r;
	r = read_file(dirfd, file, POLICY_SIZE_MAX, must_be_root, &text, &size, reterr_refusal);
	if (r == -ENOENT) {
		key->any_capabilities = true;
		return 0;
	}
	if (r != 0)
		return r;
	key->has_policy = true;
	return trust_policy_parse(text, size, file, key, reterr_refusal);
}

static int load_key(int dirfd, const char *file, bool must_be_root, struct trust_key *ret,
		    struct refusal *reterr_refusal)
{
	cleanup_key struct trust_key key = {0};
	cleanup_free char *text = NULL;
	size_t size = 0;
	int r;

	r = read_file(dirfd, file, MINISIGN_FILE_MAX, must_be_root, &text, &size, reterr_refusal);
	if (r != 0)
		return r;
	if (minisign_public_key_parse(text, size, &key.key) != 0)
		return refuse(reterr_refusal, REFUSAL_BAD_TRUST,
			      "'%s' of the trusted keys is not a minisign public key: a comment "
			      "line and a line of base64; replace or remove it",
			      file);
	key.name = strndup(file, strlen(file) - strlen(KEY_SUFFIX));
	if (!key.name)
		return -ENOMEM;
	r = load_policy(dirfd, must_be_root, &key, reterr_refusal);
	if (r != 0)
		return r;
	*ret = key;
	key = (struct trust_key){0};
	return 0;
}

static const struct trust_key *find_key(const struct trust *trust,
					const uint8_t id[MINISIGN_KEY_ID_SIZE])
{
	for (size_t i = 0; i < trust->n_keys; i++) {
		if (memcmp(trust->keys[i].key.id, id, MINISIGN_KEY_ID_SIZE) == 0)
			return &trust->keys[i];
	}
	return NULL;
}

static int add_key(struct trust *trust, int dirfd, const char *file, bool must_be_root,
		   struct refusal *reterr_refusal)
{
	cleanup_key struct trust_key key = {0};
	char id[MINISIGN_KEY_ID_TEXT_SIZE];
	const struct trust_key *twin;
	int r;

	r = load_key(dirfd, file, must_be_root, &key, reterr_refusal);
	if (r != 0)
		return r;
	twin = find_key(trust, key.key.id);
	if (twin) {
		minisign_key_id_to_string(key.key.id, id);
		return refuse(reterr_refusal, REFUSAL_BAD_TRUST,
			      "'%s" KEY_SUFFIX "' and '%s" KEY_SUFFIX
			      "' of the trusted keys have the same key id %s; remove one",
			      twin->name, key.name, id);
	}
	trust->keys[trust->n_keys++] = key;
	key = (struct trust_key){0};
	return 0;
}

/* The names of the key files, sorted, so that a refusal does not depend on the directory's order.
 */
static int list_keys(int dirfd, bool must_be_root, struct strv *names,
		     struct refusal *reterr_refusal)
{
	cleanup_dir DIR *dir = NULL;
	const struct dirent *entry = NULL;
	struct stat st;
	int r;

	r = dir_open(dirfd, &dir);
	if (r < 0)
		return r;
	if (fstat(dirfd, &st) < 0)
		return -errno;
	if (must_be_root && !only_root_writes(&st))
		return refuse(reterr_refusal, REFUSAL_BAD_TRUST,
			      "the directory of the trusted keys may be changed by others than "
			      "root; chown it to root and chmod it to 0755");
	while ((r = dir_next(dir, &entry)) == 0 && entry) {
		if (entry->d_name[0] == '.' || !str_ends_with(entry->d_name, KEY_SUFFIX))
			continue;
		if (!path_is_safe_name(entry->d_name) || names->count == TRUST_KEYS_MAX)
			return refuse(reterr_refusal, REFUSAL_BAD_TRUST,
				      "the trusted keys are more than %u, or the name of one is "
				      "not plain ASCII; remove or rename what is not needed",
				      TRUST_KEYS_MAX);
		if (strv_add(names, entry->d_name) < 0)
			return -ENOMEM;
	}
	strv_sort(names);
	return r;
}

static int trust_new(size_t n_keys, struct trust **ret)
{
	cleanup_trust struct trust *trust = calloc(1, sizeof(*trust));

	if (!trust)
		return -ENOMEM;
	trust->keys = calloc(MAX(n_keys, (size_t)1), sizeof(*trust->keys));
	if (!trust->keys)
		return -ENOMEM;
	*ret = TAKE_PTR(trust);
	return 0;
}

int trust_load(int dirfd, bool must_be_root, struct trust **ret, struct refusal *reterr_refusal)
{
	cleanup_trust struct trust *trust = NULL;
	cleanup_strv struct strv names = STRV_INIT;
	int r;

	r = list_keys(dirfd, must_be_root, &names, reterr_refusal);
	if (r != 0)
		return r;
	r = trust_new(names.count, &trust);
	if (r < 0)
		return r;
	for (size_t i = 0; i < names.count; i++) {
		r = add_key(trust, dirfd, names.items[i], must_be_root, reterr_refusal);
		if (r != 0)
			return r;
	}
	*ret = TAKE_PTR(trust);
	return 0;
}

int trust_of_key(const struct minisign_public_key *key, const char *name, struct trust **ret)
{
	cleanup_trust struct trust *trust = NULL;
	int r;

	r = trust_new(1, &trust);
	if (r < 0)
		return r;
	trust->n_keys = 1;
	trust->keys[0].key = *key;
	trust->keys[0].any_capabilities = true;
	trust->keys[0].name = strdup(name);
	if (!trust->keys[0].name)
		return -ENOMEM;
	*ret = TAKE_PTR(trust);
	return 0;
}

int trust_signature_parse(const char *text, size_t size, struct minisign_signature *ret,
			  struct refusal *reterr_refusal)
{
	int r = minisign_signature_parse(text, size, ret);

	if (r == MINISIGN_E_LEGACY)
		return refuse(reterr_refusal, REFUSAL_MALFORMED_SIGNATURE,
			      "the signature is of minisign's legacy kind, not over the file's "
			      "digest; sign without 'minisign -l'");
	if (r > 0)
		return refuse(reterr_refusal, REFUSAL_MALFORMED_SIGNATURE,
			      "the signature file is not what minisign writes: four lines, nothing "
			      "behind them; fetch it again or sign anew");
	return r;
}

static int refuse_signature(const struct trust_key *key, struct refusal *reterr_refusal)
{
	char id[MINISIGN_KEY_ID_TEXT_SIZE];

	minisign_key_id_to_string(key->key.id, id);
	return refuse(reterr_refusal, REFUSAL_BAD_SIGNATURE,
		      "the bundle or the signature's comment is not what key %s ('%s') "
		      "signed; fetch both again",
		      id, key->name);
}

int trust_verify_comment(const struct trust *trust, const struct minisign_signature *signature,
			 const struct trust_key **ret_key, struct refusal *reterr_refusal)
{
	const struct trust_key *key = find_key(trust, signature->key_id);
	char id[MINISIGN_KEY_ID_TEXT_SIZE];

	minisign_key_id_to_string(signature->key_id, id);
	if (trust->n_keys == 0)
		return refuse(reterr_refusal, REFUSAL_NO_TRUSTED_KEY,
			      "no key is trusted here, and the bundle is signed by %s; put its "
			      ".pub file into " TRUST_PATH,
			      id);
	if (!key)
		return refuse(
			reterr_refusal, REFUSAL_UNTRUSTED_KEY,
			"the bundle is signed by key %s, which is not among the trusted ones; "
			"add its .pub file if its owner is to be trusted",
			id);
	if (minisign_verify_comment(signature, &key->key) != 0)
		return refuse_signature(key, reterr_refusal);
	*ret_key = key;
	return 0;
}

static int refuse_comment(const struct minisign_signature *signature,
			  struct refusal *reterr_refusal)
{
	cleanup_free char *shown = str_escape(signature->trusted_comment,
					      strlen(signature->trusted_comment), SHOWN_MAX);

	if (!shown)
		return -ENOMEM;
	return refuse(reterr_refusal, REFUSAL_BAD_COMMENT,
		      "the trusted comment '%s' does not say what the bundle is; expected "
		      "'affix:1 id=… version=… os=… arch=… created=…' as 'affix sign' writes it",
		      shown);
}

/*
 * A signature from the future would, once installed, set the time floor there, and every other one
 * that expires would be refused for ever.
 */
static int check_times(const struct identity *identity, uint64_t now,
		       struct refusal *reterr_refusal)
{
	char text[CLOCK_TEXT_SIZE];

	if (now == 0)
		return 0;
	if (identity->created > now + CLOCK_SKEW_SECONDS) {
		clock_format(identity->created, text);
		return refuse(reterr_refusal, REFUSAL_NOT_YET_VALID,
			      "the signature of '%s' %s is from %s, which is yet to come; set the "
			      "clock of this machine, or the signer's and have it signed again",
			      identity->id, identity->version, text);
	}
	if (identity->expires > 0 && now >= identity->expires) {
		clock_format(identity->expires, text);
		return refuse(reterr_refusal, REFUSAL_EXPIRED,
			      "the signature of '%s' %s expired at %s; get one that was made later",
			      identity->id, identity->version, text);
	}
	return 0;
}

int trust_verify_file(const struct trust_key *key, const struct minisign_signature *signature,
		      const struct digest *file, uint64_t now, struct identity *ret_identity,
		      struct refusal *reterr_refusal)
{
	struct identity identity;
	int r;

	if (minisign_verify_file(signature, &key->key, file) != 0)
		return refuse_signature(key, reterr_refusal);
	if (identity_parse(signature->trusted_comment, &identity) != 0)
		return refuse_comment(signature, reterr_refusal);
	if (key->ids.count > 0 && !strv_has(&key->ids, identity.id))
		return refuse(reterr_refusal, REFUSAL_KEY_POLICY,
			      "key '%s' may not sign add-on '%s'; its policy file lists the ids it "
			      "is trusted for",
			      key->name, identity.id);
	r = check_times(&identity, now, reterr_refusal);
	if (r != 0)
		return r;
	*ret_identity = identity;
	return 0;
}

int trust_verify(const struct trust *trust, const struct minisign_signature *signature,
		 const struct digest *file, uint64_t now, const struct trust_key **ret_key,
		 struct identity *ret_identity, struct refusal *reterr_refusal)
{
	const struct trust_key *key = NULL;
	int r;

	r = trust_verify_comment(trust, signature, &key, reterr_refusal);
	if (r == 0)
		r = trust_verify_file(key, signature, file, now, ret_identity, reterr_refusal);
	if (r != 0)
		return r;
	*ret_key = key;
	return 0;
}

int trust_key_permits(const struct trust_key *key, const struct manifest *manifest,
		      struct refusal *reterr_refusal)
{
	const char *model = manifest_supervision_to_string(manifest->supervision);

	if (key->supervision.count > 0 && !strv_has(&key->supervision, model))
		return refuse(reterr_refusal, REFUSAL_KEY_POLICY,
			      "key '%s' may not sign add-ons of supervision model '%s', which "
			      "'%s' has; its policy file lists those it may",
			      key->name, model, manifest->id);
	for (size_t i = 0; i < manifest->os_capabilities.count; i++) {
		const char *capability = manifest->os_capabilities.items[i];

		if (!key->any_capabilities && !strv_has(&key->capabilities, capability))
			return refuse(reterr_refusal, REFUSAL_KEY_POLICY,
				      "key '%s' may not sign for capability '%s', which '%s' asks "
				      "for; its policy file lists those it may",
				      key->name, capability, manifest->id);
	}
	return 0;
}
