/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "ipc/diagnostic.h"

#define HOST_POLICY_PATH     "/etc/affix/updater.yaml"
#define HOST_POLICY_SIZE_MAX 65536U /* 64 KiB */

/* A user other than `affix-<id>` that one add-on may run as. */
struct host_policy_user {
	char *id;
	char *user;
};

/* What the host's administrator allows: updater.yaml(5). The defaults stand where there is no file.
 */
struct host_policy {
	struct strv capabilities; /* allow-list of Linux capabilities, lower case */
	struct strv protected_ids;
	struct host_policy_user *users;
	size_t n_users;
	struct strv read_only_paths; /* paths, besides its own, that an add-on's units may name for
					reading */
	struct strv targets;         /* targets that units may be wanted by or ordered against */
	unsigned keep_versions;      /* committed versions kept besides the current one */
	bool results_carry_logs;     /* log lines of failed units go to the agent too */
};

/* The built-in policy. 0 or -ENOMEM. */
must_check int host_policy_default(struct host_policy **ret);
/* updater.yaml over the defaults. 0; 1 with diagnostics (REFUSAL_BAD_HOST_POLICY); -errno. */
must_check int host_policy_parse(const char *text, size_t size, const char *file,
				 struct host_policy **ret, struct diagnostics *diagnostics);
/* Reads HOST_POLICY_PATH below *rootfd*: a regular file of root that nobody else may write, or no
 * file. */
must_check int host_policy_load(int rootfd, struct host_policy **ret,
				struct refusal *reterr_refusal);
bool host_policy_allows_user(const struct host_policy *policy, const char *id, const char *user);
struct host_policy *host_policy_free(struct host_policy *policy);

DEFINE_CLEANUP(struct host_policy *, host_policy, host_policy_free)
#define cleanup_host_policy CLEANUP(cleanup_host_policy)
