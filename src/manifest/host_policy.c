/* SPDX-License-Identifier: Apache-2.0 */

/*
 * updater.yaml: what the host's administrator allows. The built-in policy is what stands without
 * the file; a key of the file replaces the built-in value whole, so that a list can be made smaller
 * as well as larger. A file that cannot be understood is a refusal and never the built-in policy:
 * its author may have meant to forbid something.
 */

#include "manifest/host_policy.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "manifest/manifest.h"
#include "manifest/names.h"
#include "manifest/yaml_fields.h"

#define KEEP_DEFAULT 2U
#define KEEP_MAX     100U

static const char *const default_capabilities[] = {
	"cap_bpf",     "cap_dac_read_search", "cap_net_admin", "cap_net_bind_service",
	"cap_net_raw", "cap_perfmon",
};

/* What a daemon has to read on any host; none of it is secret, none of it is an add-on's. */
static const char *const default_read_only_paths[] = {
	"/etc/ca-certificates",
	"/etc/hosts",
	"/etc/localtime",
	"/etc/machine-id",
	"/etc/nsswitch.conf",
	"/etc/os-release",
	"/etc/pki/ca-trust/extracted",
	"/etc/pki/tls/certs",
	"/etc/resolv.conf",
	"/etc/ssl/certs",
	"/lib",
	"/lib64",
	"/proc",
	"/run/systemd/resolve",
	"/sys",
	"/usr",
};

static const char *const default_targets[] = {
	"basic.target",      "local-fs.target",        "multi-user.target",
	"network.target",    "network-online.target",  "network-pre.target",
	"nss-lookup.target", "nss-user-lookup.target", "remote-fs.target",
	"sysinit.target",    "time-set.target",        "time-sync.target",
	"timers.target",
};

struct host_policy *host_policy_free(struct host_policy *policy)
{
	if (!policy)
		return NULL;
	strv_done(&policy->capabilities);
	strv_done(&policy->protected_ids);
	strv_done(&policy->read_only_paths);
	strv_done(&policy->targets);
	for (size_t i = 0; i < policy->n_users; i++) {
		free(policy->users[i].id);
		free(policy->users[i].user);
	}
	free(policy->users);
	free(policy);
	return NULL;
}

static int add_all(struct strv *list, const char *const *items, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int r = strv_add(list, items[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

int host_policy_default(struct host_policy **ret)
{
	cleanup_host_policy struct host_policy *policy = calloc(1, sizeof(*policy));
	int r;

	if (!policy)
		return -ENOMEM;
	policy->keep_versions = KEEP_DEFAULT;
	r = add_all(&policy->capabilities, default_capabilities, ARRAY_SIZE(default_capabilities));
	if (r == 0)
		r = add_all(&policy->read_only_paths, default_read_only_paths,
			    ARRAY_SIZE(default_read_only_paths));
	if (r == 0)
		r = add_all(&policy->targets, default_targets, ARRAY_SIZE(default_targets));
	if (r < 0)
		return r;
	*ret = TAKE_PTR(policy);
	return 0;
}

static bool is_target(const char *text)
{
	return name_is_entry(text) && str_ends_with(text, ".target");
}

#define AT(member) .offset = offsetof(struct host_policy, member)

static const struct yaml_field policy_fields[] = {
	{"capabilities",							       YAML_FIELD_TEXTS, AT(capabilities), .normalize = name_normalize_capability,
	 .expected = "a Linux capability such as 'cap_net_raw' (see capabilities(7))"},
	{"protected",							    YAML_FIELD_TEXTS, AT(protected_ids), .is_valid = manifest_id_is_valid,
	 .expected = "the id of an add-on"},
	YAML_FIELD("users", YAML_FIELD_ANY, .offset = YAML_FIELD_UNUSED),
	{"read_only_paths", YAML_FIELD_TEXTS, AT(read_only_paths),
	 .is_valid = path_is_normal_absolute,
	 .expected = "an absolute path without '.', '..' or a '/' at its end"},
	{"targets",								  YAML_FIELD_TEXTS, AT(targets), .is_valid = is_target,
	 .expected = "the name of a target such as 'multi-user.target'"},
	{"keep_versions",							   YAML_FIELD_UNSIGNED, AT(keep_versions), .min = 1, .max = KEEP_MAX},
	{"results_carry_logs",					    YAML_FIELD_BOOL, AT(results_carry_logs)},
	{.key = NULL							   },
};

static const struct yaml_field user_field = {
	.key = "users",
	.type = YAML_FIELD_TEXTS,
	.min = 1,
	.is_valid = name_is_user,
	.expected = "a user name: lower-case letters, digits, '-' and '_', at most 31",
};

/* gcc 12's analyzer takes for lost what is kept behind the policy. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

static int add_user(struct host_policy *policy, const char *id, const char *user)
{
	struct host_policy_user *larger =
		reallocarray(policy->users, policy->n_users + 1, sizeof(*larger));
	cleanup_free char *id_copy = strdup(id);
	cleanup_free char *user_copy = strdup(user);

	if (larger)
		policy->users = larger;
	if (!larger || !id_copy || !user_copy)
		return -ENOMEM;
	larger[policy->n_users++] =
		(struct host_policy_user){TAKE_PTR(id_copy), TAKE_PTR(user_copy)};
	return 0;
}

#pragma GCC diagnostic pop

/* One `id: user` or `id: [user, …]`. */
static int read_user(struct yaml_reader *reader, const struct yaml_node *member,
		     struct host_policy *policy)
{
	cleanup_strv struct strv users = STRV_INIT;
	cleanup_free char *user = NULL;
	int r = 0;

	if (!manifest_id_is_valid(member->key))
		yaml_problem_key(reader, member, "a key of 'users' is not the id of an add-on");
	if (member->kind == YAML_SCALAR)
		return yaml_text_read(reader, member, &user_field, &user)
			       ? add_user(policy, member->key, user)
			       : 0;
	yaml_texts_read(reader, member, &user_field, &users);
	for (size_t i = 0; i < users.count && r == 0; i++)
		r = add_user(policy, member->key, users.items[i]);
	return r;
}

static int read_users(struct yaml_reader *reader, const struct yaml_node *users,
		      struct host_policy *policy)
{
	if (!users || users->is_broken)
		return 0;
	if (users->kind != YAML_MAPPING) {
		yaml_problem_value(reader, users, "must be a mapping of ids to users");
		return 0;
	}
	for (const struct yaml_node *member = users->first; member; member = member->next) {
		int r = read_user(reader, member, policy);

		if (r < 0)
			return r;
	}
	return 0;
}

static int parse(const char *text, size_t size, struct yaml_reader *reader,
		 struct host_policy *policy)
{
	cleanup_yaml_document struct yaml_document *document = NULL;
	int r;

	if (size > HOST_POLICY_SIZE_MAX) {
		yaml_problem_at(reader, 1, 1, "the file is larger than 64 KiB");
		return reader->error;
	}
	r = yaml_parse(text, size, reader, &document);
	if (r != 0)
		return r < 0 ? r : 0;
	yaml_fields_read(reader, document->root, policy_fields, policy);
	r = read_users(reader, yaml_member(document->root, "users"), policy);
	return r < 0 ? r : reader->error;
}

int host_policy_parse(const char *text, size_t size, const char *file, struct host_policy **ret,
		      struct diagnostics *diagnostics)
{
	struct yaml_reader reader = {
		.file = file, .code = REFUSAL_BAD_HOST_POLICY, .diagnostics = diagnostics};
	cleanup_host_policy struct host_policy *policy = NULL;
	int r;

	r = host_policy_default(&policy);
	if (r < 0)
		return r;
	r = parse(text, size, &reader, policy);
	if (r < 0)
		return r;
	if (reader.problems > 0)
		return 1;
	*ret = TAKE_PTR(policy);
	return 0;
}

/* Whoever may write the file decides what root installs, so that has to be root. */
static int check_file(int fd, struct refusal *reterr_refusal)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return refuse(reterr_refusal, REFUSAL_BAD_HOST_POLICY,
			      "%s is not a regular file; replace it with one or remove it",
			      HOST_POLICY_PATH);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return refuse(
			reterr_refusal, REFUSAL_BAD_HOST_POLICY,
			"%s belongs to uid %u and not to root; 'chown root' it if it is yours",
			HOST_POLICY_PATH, (unsigned)st.st_uid);
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return refuse(reterr_refusal, REFUSAL_BAD_HOST_POLICY,
			      "%s can be written by others than root; 'chmod go-w' it",
			      HOST_POLICY_PATH);
	return 0;
}

int host_policy_load(int rootfd, struct host_policy **ret, struct refusal *reterr_refusal)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_free char *text = NULL;
	cleanup_fd int fd = -EBADF;
	size_t size = 0;
	int r;

	r = path_open_in_root(rootfd, HOST_POLICY_PATH, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &fd);
	if (r == -ENOENT)
		return host_policy_default(ret);
	if (r < 0)
		return r;
	r = check_file(fd, reterr_refusal);
	if (r != 0)
		return r;
	r = fd_read_all(fd, HOST_POLICY_SIZE_MAX, &text, &size);
	if (r == -EFBIG)
		return refuse(reterr_refusal, REFUSAL_BAD_HOST_POLICY,
			      "%s is larger than 64 KiB; make it smaller", HOST_POLICY_PATH);
	if (r < 0)
		return r;
	r = host_policy_parse(text, size, HOST_POLICY_PATH, ret, &diagnostics);
	return r > 0 ? diagnostics_refuse(&diagnostics, reterr_refusal) : r;
}

bool host_policy_allows_user(const struct host_policy *policy, const char *id, const char *user)
{
	size_t prefix = strlen("affix-");

	if (str_starts_with(user, "affix-") && strcmp(user + prefix, id) == 0)
		return true;
	for (size_t i = 0; i < policy->n_users; i++) {
		if (strcmp(policy->users[i].id, id) == 0 &&
		    strcmp(policy->users[i].user, user) == 0)
			return true;
	}
	return false;
}
