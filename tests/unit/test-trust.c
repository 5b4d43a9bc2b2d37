/* SPDX-License-Identifier: Apache-2.0 */

#include "bundle/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/file.h"
#include "own_directory.h"

#define COMMENT "affix:1 id=sensor version=1.0.0 os=linux arch=amd64 created=2026-01-31T12:00:00Z"
#define EXPIRES " expires=2026-02-01T12:00:00Z"

/* A directory of trusted keys, two key pairs, and the digest of a file to sign. */
struct fixture {
	char path[32];
	int dir;
	struct minisign_secret_key secret[2];
	struct minisign_public_key public[2];
	struct digest file;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	own_directory_make(f->path);
	f->dir = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->dir >= 0);
	for (size_t i = 0; i < 2; i++)
		minisign_keygen(&f->secret[i], &f->public[i]);
	digest_of("bytes", 5, &f->file);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	own_directory_remove(f->path);
	(void)fd_close(f->dir);
	free(f);
	return 0;
}

static void put_mode(const struct fixture *f, const char *name, const char *text, mode_t mode)
{
	const struct file_attributes attributes = {mode, geteuid(), getegid()};

	assert_int_equal(file_replace(f->dir, name, text, strlen(text), &attributes), 0);
}

static void put(const struct fixture *f, const char *name, const char *text)
{
	put_mode(f, name, text, 0644);
}

static void put_key(const struct fixture *f, const char *name, size_t key)
{
	cleanup_free char *text = NULL;

	assert_int_equal(minisign_public_key_format(&f->public[key], &text), 0);
	put(f, name, text);
}

static void make_signature(const struct fixture *f, size_t key, const char *comment,
			   struct minisign_signature *ret)
{
	cleanup_free char *text = NULL;

	assert_int_equal(minisign_sign(&f->secret[key], &f->file, comment, &text), 0);
	assert_int_equal(minisign_signature_parse(text, strlen(text), ret), 0);
}

/* Loads the directory and verifies a signature that *key* made with *comment*. */
static int verify(const struct fixture *f, size_t key, const char *comment, uint64_t now,
		  struct refusal *refusal)
{
	cleanup_trust struct trust *trust = NULL;
	const struct trust_key *found = NULL;
	struct minisign_signature signature;
	struct identity identity;
	int r;

	make_signature(f, key, comment, &signature);
	r = trust_load(f->dir, false, &trust, refusal);
	if (r != 0)
		return r;
	r = trust_verify(trust, &signature, &f->file, now, &found, &identity, refusal);
	if (r == 0) {
		assert_memory_equal(&found->key, &f->public[key], sizeof(found->key));
		assert_string_equal(identity.id, "sensor");
	}
	return r;
}

static int load(const struct fixture *f, bool must_be_root, struct refusal *refusal)
{
	cleanup_trust struct trust *trust = NULL;

	return trust_load(f->dir, must_be_root, &trust, refusal);
}

static void nothing_is_accepted_without_a_key(void **state)
{
	struct refusal refusal;

	assert_int_equal(verify(*state, 0, COMMENT, 0, &refusal), REFUSAL_NO_TRUSTED_KEY);
}

static void several_keys_are_trusted_at_once_and_each_until_it_is_removed(void **state)
{
	struct refusal refusal;
	struct fixture *f = *state;

	put_key(f, "old.pub", 0);
	assert_int_equal(verify(f, 0, COMMENT, 0, &refusal), 0);
	assert_int_equal(verify(f, 1, COMMENT, 0, &refusal), REFUSAL_UNTRUSTED_KEY);
	put_key(f, "new.pub", 1);
	assert_int_equal(verify(f, 0, COMMENT, 0, &refusal), 0);
	assert_int_equal(verify(f, 1, COMMENT, 0, &refusal), 0);
	assert_int_equal(unlinkat(f->dir, "old.pub", 0), 0);
	assert_int_equal(verify(f, 0, COMMENT, 0, &refusal), REFUSAL_UNTRUSTED_KEY);
	assert_int_equal(verify(f, 1, COMMENT, 0, &refusal), 0);
}

static void other_bytes_under_a_good_key_id_are_a_bad_signature(void **state)
{
	struct refusal refusal;
	struct fixture *f = *state;

	/* The same key id, another key: a signature that names a trusted key but is not its. */
	memcpy(f->public[0].id, f->public[1].id, sizeof(f->public[0].id));
	put_key(f, "a.pub", 0);
	assert_int_equal(verify(f, 1, COMMENT, 0, &refusal), REFUSAL_BAD_SIGNATURE);
}

static void comment_that_is_not_ours_is_shown_without_control_bytes(void **state)
{
	struct refusal refusal;
	struct fixture *f = *state;

	put_key(f, "a.pub", 0);
	assert_int_equal(verify(f, 0, "timestamp:1 file:x", 0, &refusal), REFUSAL_BAD_COMMENT);
	assert_non_null(strstr(refusal.text, "'timestamp:1 file:x'"));
}

static void expiry_is_judged_against_the_time_given(void **state)
{
	struct refusal refusal;
	struct fixture *f = *state;

	put_key(f, "a.pub", 0);
	assert_int_equal(verify(f, 0, COMMENT EXPIRES, 0, &refusal), 0);
	assert_int_equal(verify(f, 0, COMMENT EXPIRES, 1769947199, &refusal), 0);
	assert_int_equal(verify(f, 0, COMMENT EXPIRES, 1769947200, &refusal), REFUSAL_EXPIRED);
	assert_int_equal(verify(f, 0, COMMENT, UINT32_MAX, &refusal), 0);
}

static void signature_from_the_future_is_not_valid_yet(void **state)
{
	/* 2026-01-31T12:00:00Z */
	const uint64_t created = 1769860800;
	struct refusal refusal;
	struct fixture *f = *state;

	put_key(f, "a.pub", 0);
	assert_int_equal(verify(f, 0, COMMENT, 0, &refusal), 0);
	assert_int_equal(verify(f, 0, COMMENT, created - 300, &refusal), 0);
	assert_int_equal(verify(f, 0, COMMENT, created - 301, &refusal), REFUSAL_NOT_YET_VALID);
	assert_non_null(strstr(refusal.text, "2026-01-31T12:00:00Z"));
	assert_int_equal(verify(f, 0, COMMENT, 1, &refusal), REFUSAL_NOT_YET_VALID);
}

static void policy_limits_a_key_to_its_ids(void **state)
{
	struct refusal refusal;
	struct fixture *f = *state;

	put_key(f, "a.pub", 0);
	put(f, "a.policy.yaml", "ids: [other]\n");
	assert_int_equal(verify(f, 0, COMMENT, 0, &refusal), REFUSAL_KEY_POLICY);
	put(f, "a.policy.yaml", "ids:\n  - other\n  - sensor\n");
	assert_int_equal(verify(f, 0, COMMENT, 0, &refusal), 0);
	put(f, "a.policy.yaml", "{}\n");
	assert_int_equal(verify(f, 0, COMMENT, 0, &refusal), 0);
}

static char sensor_id[] = "sensor";
static char sensor_capability[] = "cap_net_raw";
static char *sensor_capabilities[] = {sensor_capability, NULL};
static const struct manifest sensor = {
	.id = sensor_id,
	.supervision = MANIFEST_SUPERVISION_SYSTEMD_TIMER,
	.os_capabilities = {sensor_capabilities, 1},
};

static void policy_limits_capabilities_and_supervision(void **state)
{
	static const struct {
		const char *policy;
		int wanted;
	} cases[] = {
		{"ids: [sensor]\n",                        0                 },
		{"capabilities: [cap_net_raw, cap_bpf]\n", 0                 },
		{"capabilities: [cap_bpf]\n",              REFUSAL_KEY_POLICY},
		{"capabilities: []\n",                     REFUSAL_KEY_POLICY},
		{"supervision: [systemd-timer]\n",         0                 },
		{"supervision: [systemd-service]\n",       REFUSAL_KEY_POLICY},
	};
	struct fixture *f = *state;
	struct refusal refusal;

	put_key(f, "a.pub", 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_trust struct trust *trust = NULL;

		put(f, "a.policy.yaml", cases[i].policy);
		assert_int_equal(trust_load(f->dir, false, &trust, &refusal), 0);
		assert_true(trust->keys[0].has_policy);
		assert_int_equal(trust_key_permits(&trust->keys[0], &sensor, &refusal),
				 cases[i].wanted);
	}
}

static void key_without_policy_permits_everything(void **state)
{
	cleanup_trust struct trust *loaded = NULL;
	cleanup_trust struct trust *single = NULL;
	struct fixture *f = *state;

	put_key(f, "a.pub", 0);
	assert_int_equal(trust_load(f->dir, false, &loaded, NULL), 0);
	assert_string_equal(loaded->keys[0].name, "a");
	assert_false(loaded->keys[0].has_policy);
	assert_int_equal(trust_key_permits(&loaded->keys[0], &sensor, NULL), 0);
	assert_int_equal(trust_of_key(&f->public[0], "mine", &single), 0);
	assert_int_equal(trust_key_permits(&single->keys[0], &sensor, NULL), 0);
}

static void policy_that_is_not_understood_stops_everything(void **state)
{
	static const char *const bad[] = {
		"",
		"[]\n",
		"ids: sensor\n",
		"ids:\n",
		"ids: []\n",
		"ids: [../etc]\n",
		"ids: [[sensor]]\n",
		"id: [sensor]\n",
		"ids: [sensor]\nids: [other]\n",
		"ids: [sensor\n",
		"ids: [sensor]\n---\nids: [other]\n",
		"capabilities: [cap_everything]\n",
		"capabilities: all\n",
		"supervision: []\n",
		"supervision: [cron]\n",
		"ids: [&a sensor, *a]\n",
		"\xff\n",
	};
	struct fixture *f = *state;
	struct refusal refusal;

	put_key(f, "a.pub", 0);
	put_key(f, "b.pub", 1);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		put(f, "a.policy.yaml", bad[i]);
		refusal = REFUSAL_INIT;
		assert_int_equal(load(f, false, &refusal), REFUSAL_BAD_TRUST);
		assert_non_null(strstr(refusal.text, "a.policy.yaml:"));
	}
}

static void broken_key_file_stops_everything_and_is_named(void **state)
{
	struct fixture *f = *state;
	struct refusal refusal;

	put_key(f, "good.pub", 0);
	put(f, "broken.pub", "untrusted comment: x\nAAAA\n");
	assert_int_equal(load(f, false, &refusal), REFUSAL_BAD_TRUST);
	assert_non_null(strstr(refusal.text, "'broken.pub'"));
}

static void two_files_with_one_key_id_are_refused_and_both_named(void **state)
{
	struct fixture *f = *state;
	struct refusal refusal;

	put_key(f, "a.pub", 0);
	put_key(f, "b.pub", 0);
	assert_int_equal(load(f, false, &refusal), REFUSAL_BAD_TRUST);
	assert_non_null(strstr(refusal.text, "'a.pub'"));
	assert_non_null(strstr(refusal.text, "'b.pub'"));
}

static void links_fifos_directories_and_large_files_are_no_keys(void **state)
{
	static char large[MINISIGN_FILE_MAX + 2];
	struct fixture *f = *state;
	struct refusal refusal;

	put_key(f, "elsewhere", 0);
	assert_int_equal(file_replace_link(f->dir, "a.pub", "elsewhere"), 0);
	assert_int_equal(load(f, false, &refusal), REFUSAL_BAD_TRUST);
	assert_int_equal(unlinkat(f->dir, "a.pub", 0), 0);
	assert_int_equal(mkfifoat(f->dir, "a.pub", 0644), 0);
	assert_int_equal(load(f, false, &refusal), REFUSAL_BAD_TRUST);
	assert_int_equal(unlinkat(f->dir, "a.pub", 0), 0);
	assert_int_equal(mkdirat(f->dir, "a.pub", 0755), 0);
	assert_int_equal(load(f, false, &refusal), REFUSAL_BAD_TRUST);
	assert_int_equal(unlinkat(f->dir, "a.pub", AT_REMOVEDIR), 0);
	memset(large, 'x', sizeof(large) - 1);
	put(f, "a.pub", large);
	assert_int_equal(load(f, false, &refusal), REFUSAL_BAD_TRUST);
	assert_non_null(strstr(refusal.text, "'a.pub'"));
}

static void other_files_in_the_directory_do_not_matter(void **state)
{
	struct fixture *f = *state;

	put_key(f, "a.pub", 0);
	put(f, "README", "x");
	put(f, ".hidden.pub", "x");
	put(f, "gone.policy.yaml", "x");
	assert_int_equal(load(f, false, NULL), 0);
}

static void more_keys_than_the_limit_or_odd_names_are_refused(void **state)
{
	struct fixture *f = *state;
	struct refusal refusal;

	for (unsigned i = 0; i <= TRUST_KEYS_MAX; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "%u.pub", i);
		put(f, name, "x");
	}
	assert_int_equal(load(f, false, &refusal), REFUSAL_BAD_TRUST);
	assert_non_null(strstr(refusal.text, "more than 64"));
}

static void keys_that_others_may_write_are_refused_on_a_host(void **state)
{
	struct fixture *f = *state;
	struct refusal refusal;

	if (geteuid() != 0)
		skip();
	put_key(f, "a.pub", 0);
	assert_int_equal(fchmod(f->dir, 0755), 0);
	assert_int_equal(load(f, true, &refusal), 0);
	assert_int_equal(fchmodat(f->dir, "a.pub", 0664, 0), 0);
	assert_int_equal(load(f, true, &refusal), REFUSAL_BAD_TRUST);
	assert_int_equal(load(f, false, &refusal), 0);
	assert_int_equal(fchmodat(f->dir, "a.pub", 0644, 0), 0);
	put_mode(f, "a.policy.yaml", "ids: [sensor]\n", 0646);
	assert_int_equal(load(f, true, &refusal), REFUSAL_BAD_TRUST);
	assert_int_equal(unlinkat(f->dir, "a.policy.yaml", 0), 0);
	assert_int_equal(fchownat(f->dir, "a.pub", 1, 1, 0), 0);
	assert_int_equal(load(f, true, &refusal), REFUSAL_BAD_TRUST);
	assert_int_equal(unlinkat(f->dir, "a.pub", 0), 0);
	assert_int_equal(fchmod(f->dir, 0777), 0);
	assert_int_equal(load(f, true, &refusal), REFUSAL_BAD_TRUST);
}

static void signature_file_is_refused_with_a_reason(void **state)
{
	static const char legacy[] =
		"untrusted comment: signature from minisign secret key\n"
		"RWSnaAO/9fp6ZlM+pIXH8yZMIF1gI+LIbHvTCy3NDia5DCBTsUqjKAvPyUfm30bXqkpWRnTkx4HjgQuveRHR"
		"aP1r8yjLZRvTpwQ=\ntrusted comment: affix:1 id=x\n"
		"tCl23oE1kXGMDO+2paUTR0MQJGhXnoK7AmxTj/2sGfsJZNf/ekbhFM2VXDKGIyIU9LtBH+9N7Ph1r32TEXBk"
		"BA==\n";
	struct minisign_signature signature;
	struct refusal refusal;

	(void)state;
	assert_int_equal(trust_signature_parse("x", 1, &signature, &refusal),
			 REFUSAL_MALFORMED_SIGNATURE);
	assert_null(strstr(refusal.text, "legacy"));
	assert_int_equal(trust_signature_parse(legacy, strlen(legacy), &signature, &refusal),
			 REFUSAL_MALFORMED_SIGNATURE);
	assert_non_null(strstr(refusal.text, "legacy"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_accepted_without_a_key),
		TEST(several_keys_are_trusted_at_once_and_each_until_it_is_removed),
		TEST(other_bytes_under_a_good_key_id_are_a_bad_signature),
		TEST(comment_that_is_not_ours_is_shown_without_control_bytes),
		TEST(expiry_is_judged_against_the_time_given),
		TEST(signature_from_the_future_is_not_valid_yet),
		TEST(policy_limits_a_key_to_its_ids),
		TEST(policy_limits_capabilities_and_supervision),
		TEST(key_without_policy_permits_everything),
		TEST(policy_that_is_not_understood_stops_everything),
		TEST(broken_key_file_stops_everything_and_is_named),
		TEST(two_files_with_one_key_id_are_refused_and_both_named),
		TEST(links_fifos_directories_and_large_files_are_no_keys),
		TEST(other_files_in_the_directory_do_not_matter),
		TEST(more_keys_than_the_limit_or_odd_names_are_refused),
		TEST(keys_that_others_may_write_are_refused_on_a_host),
		TEST(signature_file_is_refused_with_a_reason),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
