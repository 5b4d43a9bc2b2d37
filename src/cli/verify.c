/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `affix verify`: would this bundle's signature be accepted, and what does it bind? The order is
 * the updater's: signature file, signature over the bytes, comment, and only then the bundle's
 * content.
 */

#include "cli/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "bundle/bundle.h"
#include "cli/commands.h"
#include "crypto/minisign.h"

#define SIGNATURE_SUFFIX ".minisig"

struct verify_options {
	const char *key_path;
	const char *trust_path;
	const char *signature_path;
	const char *bundle_path;
	bool json;
};

static int parse_options(int argc, char **argv, struct verify_options *ret)
{
	static const struct option long_options[] = {
		{"trust",            required_argument, NULL, 't'},
		{"signature",              required_argument, NULL, 'x'},
		{"json",                  no_argument, NULL, 'j'},
		{0},
	};
	int option;

	while ((option = command_option(&command_verify, argc, argv, ":p:", long_options)) != -1) {
		switch (option) {
		case 'p':
			ret->key_path = optarg;
			break;
		case 't':
			ret->trust_path = optarg;
			break;
		case 'x':
			ret->signature_path = optarg;
			break;
		case 'j':
			ret->json = true;
			break;
		default:
			return COMMAND_USAGE;
		}
	}
	if (ret->key_path && ret->trust_path)
		return command_usage(&command_verify, "either -p or --trust, not both");
	if (argc - optind != 1)
		return command_usage(&command_verify, "one bundle is wanted");
	ret->bundle_path = argv[optind];
	return COMMAND_DONE;
}

static int load_key(const char *path, struct trust **ret, struct refusal *reterr_refusal)
{
	struct minisign_public_key key;
	cleanup_free char *text = NULL;
	size_t size = 0;
	int r;

	r = command_read_file(path, MINISIGN_FILE_MAX, &text, &size);
	if (r < 0 && r != -EFBIG)
		return r;
	if (r == -EFBIG || minisign_public_key_parse(text, size, &key) != 0)
		return refuse(reterr_refusal, REFUSAL_BAD_TRUST,
			      "'%s' is not a minisign public key: a comment line and a line of "
			      "base64",
			      path);
	return trust_of_key(&key, path_last_name(path), ret);
}

int verify_load_trust(const char *key_path, const char *trust_path, struct trust **ret,
		      struct refusal *reterr_refusal)
{
	cleanup_fd int fd = -EBADF;

	if (key_path)
		return load_key(key_path, ret, reterr_refusal);
	fd = open(trust_path ? trust_path : TRUST_PATH, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && !trust_path)
		return refuse(reterr_refusal, REFUSAL_NO_TRUSTED_KEY,
			      "no key is trusted here: there is no " TRUST_PATH
			      "; name a key with -p, or a directory of keys with --trust");
	if (fd < 0)
		return -errno;
	return trust_load(fd, !trust_path, ret, reterr_refusal);
}

static int load_signature(const struct verify_options *options, struct minisign_signature *ret,
			  struct refusal *reterr_refusal)
{
	cleanup_free char *beside = NULL;
	cleanup_free char *text = NULL;
	const char *path;
	size_t size = 0;
	int r;

	r = str_format(&beside, "%s" SIGNATURE_SUFFIX, options->bundle_path);
	if (r < 0)
		return r;
	path = options->signature_path ? options->signature_path : beside;
	r = command_read_file(path, MINISIGN_FILE_MAX, &text, &size);
	if (r == -ENOENT)
		return command_unsigned(options->bundle_path, path, reterr_refusal);
	if (r == -EFBIG)
		return refuse(reterr_refusal, REFUSAL_MALFORMED_SIGNATURE,
			      "the signature file has more than %u bytes; no signature has",
			      MINISIGN_FILE_MAX);
	return r < 0 ? r : trust_signature_parse(text, size, ret, reterr_refusal);
}

static void measure(const struct bundle *bundle, struct verdict *verdict)
{
	verdict->size = bundle->size;
	verdict->entry_count = bundle->n_entries;
	for (size_t i = 0; i < bundle->n_entries; i++)
		verdict->text_size += bundle->entries[i].text ? bundle->entries[i].size : 0;
}

int verify_bundle(int fd, const struct trust *trust, const struct minisign_signature *signature,
		  struct verdict *ret, struct refusal *reterr_refusal)
{
	cleanup_bundle struct bundle *bundle = NULL;
	struct verdict verdict = {0};
	struct stat st;
	uint64_t now;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size > BUNDLE_SIZE_MAX)
		return refuse(reterr_refusal, REFUSAL_BUNDLE_TOO_LARGE,
			      "the bundle has more than %llu bytes; no bundle may",
			      (unsigned long long)BUNDLE_SIZE_MAX);
	r = digest_of_fd(fd, &verdict.digest, NULL);
	if (r < 0)
		return r;
	/* A clock that was never set must not bring an expired signature back. */
	now = MAX(clock_realtime_sec(), (uint64_t)AFFIX_BUILD_TIME);
	r = trust_verify(trust, signature, &verdict.digest, now, &verdict.key, &verdict.identity,
			 reterr_refusal);
	if (r != 0)
		return r;
	r = bundle_open(fd, &verdict.identity, NULL, &bundle, reterr_refusal);
	if (r != 0)
		return r;
	measure(bundle, &verdict);
	r = trust_key_permits(verdict.key, bundle->manifest, reterr_refusal);
	if (r == 0)
		*ret = verdict;
	return r;
}

static int add_time(json_t *json, const char *key, uint64_t time)
{
	char text[CLOCK_TEXT_SIZE];

	clock_format(time, text);
	return json_add_string(json, key, time > 0 ? text : NULL);
}

static int add_identity(json_t *json, const struct verdict *verdict)
{
	const struct identity *identity = &verdict->identity;
	char digest[DIGEST_TEXT_SIZE];
	char id[MINISIGN_KEY_ID_TEXT_SIZE];

	digest_to_string(&verdict->digest, digest);
	minisign_key_id_to_string(verdict->key->key.id, id);
	if (json_add_string(json, "id", identity->id) < 0 ||
	    json_add_string(json, "version", identity->version) < 0 ||
	    json_add_string(json, "os", identity->os) < 0 ||
	    json_add_string(json, "arch", identity->arch) < 0 ||
	    add_time(json, "created", identity->created) < 0 ||
	    add_time(json, "expires", identity->expires) < 0 ||
	    json_add_uint(json, "epoch", identity->epoch) < 0 ||
	    json_add_string(json, "digest", digest) < 0 ||
	    json_add_string(json, "key_id", id) < 0 ||
	    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): verified, so it has a key */
	    json_add_string(json, "key_name", verdict->key->name) < 0)
		return -ENOMEM;
	return 0;
}

static int print_json(const struct verdict *verdict)
{
	cleanup_json json_t *json = command_json_new();

	if (!json || json_add_string(json, "outcome", "done") < 0 ||
	    add_identity(json, verdict) < 0)
		return command_broke(-ENOMEM, "the answer could not be made");
	return command_print_json(json);
}

static int print_json_refusal(const struct refusal *refusal)
{
	cleanup_json json_t *json = command_json_new();

	if (!json || json_add_string(json, "outcome", "refused") < 0 ||
	    json_add_string(json, "name", refusal_to_string(refusal->code)) < 0 ||
	    json_add_string(json, "message", refusal->text) < 0)
		return command_broke(-ENOMEM, "the answer could not be made");
	return command_print_json(json);
}

static int print_verdict(const struct verdict *verdict)
{
	const struct identity *identity = &verdict->identity;
	char id[MINISIGN_KEY_ID_TEXT_SIZE];
	char created[CLOCK_TEXT_SIZE];
	char expires[CLOCK_TEXT_SIZE];

	/* What was verified has one; analyzers do not see it. */
	if (!verdict->key)
		return command_broke(-EINVAL, "the bundle was verified by no key");
	minisign_key_id_to_string(verdict->key->key.id, id);
	clock_format(identity->created, created);
	clock_format(identity->expires, expires);
	(void)printf("%s %s for %s/%s, signed %s by key %s ('%s'), expires %s\n", identity->id,
		     identity->version, identity->os, identity->arch, created, id,
		     verdict->key->name, identity->expires > 0 ? expires : "never");
	return COMMAND_DONE;
}

static int verify(const struct verify_options *options, struct trust **ret_trust,
		  struct verdict *ret, struct refusal *reterr_refusal)
{
	struct minisign_signature signature;
	cleanup_fd int fd = -EBADF;
	int r;

	r = verify_load_trust(options->key_path, options->trust_path, ret_trust, reterr_refusal);
	if (r < 0)
		return command_broke(r, "'%s' could not be read",
				     options->key_path     ? options->key_path
				     : options->trust_path ? options->trust_path
							   : TRUST_PATH);
	if (r > 0)
		return command_refuse(reterr_refusal);
	r = command_open_file(options->bundle_path, &fd);
	if (r < 0)
		return command_broke(r, "the bundle '%s' could not be read", options->bundle_path);
	r = load_signature(options, &signature, reterr_refusal);
	if (r < 0)
		return command_broke(r, "the signature of '%s' could not be read",
				     options->bundle_path);
	if (r == 0)
		r = verify_bundle(fd, *ret_trust, &signature, ret, reterr_refusal);
	if (r < 0)
		return command_broke(r, "the bundle '%s' could not be read", options->bundle_path);
	return r > 0 ? command_refuse(reterr_refusal) : COMMAND_DONE;
}

static int run_verify(int argc, char **argv)
{
	cleanup_trust struct trust *trust = NULL;
	struct refusal refusal = REFUSAL_INIT;
	struct verify_options options = {0};
	struct verdict verdict = {0};
	int code;

	code = parse_options(argc, argv, &options);
	if (code != COMMAND_DONE)
		return code;
	code = verify(&options, &trust, &verdict, &refusal);
	if (code == COMMAND_DONE)
		return options.json ? print_json(&verdict) : print_verdict(&verdict);
	if (options.json && refusal.code != REFUSAL_NONE)
		(void)print_json_refusal(&refusal);
	return code;
}

const struct command command_verify = {
	.name = "verify",
	.run = run_verify,
	.synopsis = "[-p PUB | --trust DIR] [--signature FILE] [--json] BUNDLE",
	.summary = "check a bundle and its signature, and say what they are",
	.options = "  -p PUB            trust this key alone\n"
		   "  --trust DIR       trust the keys of DIR instead of " TRUST_PATH "\n"
		   "  --signature FILE  the signature, if it is not BUNDLE.minisig\n"
		   "  --json            a JSON object: affix(1), JSON OUTPUT\n",
};
