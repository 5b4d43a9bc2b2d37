/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "control/selector.h"
#include "control/store.h"

/*
 * Packages and assignments as they are in the database, in memory: what every decision about a host
 * reads. It is loaded anew after a change, and never changed itself.
 */

#define ASSIGN_LATEST "latest"

enum package_state {
	PACKAGE_IMPORTED,
	PACKAGE_APPROVED,
	PACKAGE_REVOKED,
	PACKAGE_STATE_N,
};

/* One bundle of a package. */
struct assign_artifact {
	char *os;
	char *arch;
	char *sha256; /* 64 hexadecimal digits */
	uint8_t digest[32];
	char *signature; /* the minisign file */
	uint64_t size;
	bool is_approved; /* it was there when the package was approved last */
};

/* One version of an add-on. */
struct assign_package {
	int64_t id;
	char *addon;
	char *version;
	enum package_state state;
	char *base_agent;
	struct strv platforms;
	struct strv agent_capabilities;
	struct strv os_capabilities;
	bool is_narrowed; /* approved with *capabilities* only */
	struct strv capabilities;
	struct assign_artifact *artifacts;
	size_t n_artifacts;
};

/* What an assignment said before, for a version that its configuration does not fit any more. */
struct assign_kept {
	int64_t package;
	char *config; /* or NULL */
};

struct assignment {
	int64_t id;
	char *addon;
	char *version; /* or ASSIGN_LATEST */
	int64_t host;  /* or 0: *selector* says */
	struct selector *selector;
	char *config; /* canonical JSON, or NULL */
	struct assign_kept *kept;
	size_t n_kept;
	bool is_narrowed;
	struct strv capabilities;
	char *limits; /* canonical JSON, or NULL */
	int64_t priority;
	bool enabled;
	int64_t rollout; /* the one that moves it to another version, or 0 */
	char *rollout_version;
	int64_t rollout_wave; /* hosts of waves up to this one get it */
};

struct assign_catalog {
	struct assign_package *packages; /* by add-on, newest version first */
	size_t n_packages;
	struct assignment *assignments; /* by add-on, in the order in which they win */
	size_t n_assignments;
};

must_check int assign_catalog_load(struct store *store, struct assign_catalog **ret);
struct assign_catalog *assign_catalog_free(struct assign_catalog *catalog);

DEFINE_CLEANUP(struct assign_catalog *, assign_catalog, assign_catalog_free)
#define cleanup_assign_catalog CLEANUP(cleanup_assign_catalog)

/* The package of that version, or NULL. */
const struct assign_package *assign_catalog_find(const struct assign_catalog *catalog,
						 const char *addon, const char *version);
const struct assignment *assign_catalog_find_assignment(const struct assign_catalog *catalog,
							int64_t id);

/* Whether ASSIGN_LATEST leaves it out, but where it runs. */
bool assign_is_prerelease(const char *version);
