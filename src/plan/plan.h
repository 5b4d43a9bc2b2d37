/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/json.h"
#include "bundle/bundle.h"
#include "crypto/digest.h"
#include "manifest/host_policy.h"
#include "manifest/manifest.h"

enum plan_object_type {
	PLAN_DIRECTORY,
	PLAN_FILE,
	PLAN_LINK,
	PLAN_OBJECT_N,
};

/* One object of the file system. Owner and group are names, resolved where the plan is applied. */
struct plan_object {
	char *path; /* absolute, normal */
	enum plan_object_type type;
	mode_t mode;
	char *owner;
	char *group;
	char *target;  /* links */
	char *content; /* files carried inline (units, drop-ins, configuration): NUL behind; else
			  NULL */
	char *entry;   /* files carried by the bundle: the entry's name; else NULL */
	uint64_t size; /* files */
	struct digest digest;  /* files */
	uint64_t capabilities; /* file capabilities, permitted and effective: a mask; 0: no xattr */
	bool shared; /* a directory that others use as well: made if missing, left if not empty */
	bool seed;   /* made where nothing stands; from then on the machine's own: neither compared
			nor removed */
};

/* A unit of the plan and what a running system does with it. */
struct plan_unit {
	char *name;
	bool is_timer;
	bool is_primary;
};

/*
 * Everything that makes one version of one add-on with one configuration on one host: plain data, a
 * pure function of verified bundle, host policy and configuration. Objects are in the order in
 * which they can be made (a directory before what is in it).
 */
struct plan {
	struct identity identity;
	struct digest bundle; /* of the bundle file */
	char key_id[MINISIGN_KEY_ID_TEXT_SIZE];
	enum manifest_supervision supervision;
	char *user;            /* run_as */
	uint64_t capabilities; /* granted, ambient and bounding; with file capabilities: bounding
				  only */
	bool file_capabilities;
	char *binary;                  /* absolute path below current/ */
	struct manifest_limits limits; /* granted: the manifest's, or lower */
	struct manifest_health health;
	struct strv state_dirs; /* absolute; removed by uninstall --purge only */
	struct plan_object *objects;
	size_t n_objects;
	struct plan_unit *units;
	size_t n_units;
};

/* Requests may only narrow: 0 and 0-limits leave what the manifest says. */
struct plan_narrowing {
	bool has_capabilities;
	uint64_t capabilities;
	struct manifest_limits limits;
};

/* The configuration that goes into a plan; all may be NULL. */
struct plan_config {
	const json_t *fleet;      /* from the request, or what the record kept */
	const json_t *local;      /* /etc/affix/addons.d/<id>.json: wins key by key */
	struct strv *ret_dropped; /* keys of *fleet* that were dropped for being x-affix-local; may
				     be NULL */
};

/*
 * Makes the plan. Pure: no I/O. Checks units against the policy, capabilities against manifest ⊇
 * narrowing ⊆ host allow-list, run_as, limits. The merged configuration is not validated against
 * the schema here (schema_validate_isolated() is I/O): see plan_config_text(). 0; refused; -errno.
 */
must_check int plan_make(const struct bundle *bundle, const struct host_policy *policy,
			 const struct plan_config *config, const struct plan_narrowing *narrowing,
			 struct plan **ret, struct refusal *reterr_refusal);
/*
 * Makes the configuration of *plan*, which was made of *bundle* before, anew. Not validated either.
 * 0; refused; -errno.
 */
must_check int plan_renew_config(struct plan *plan, const struct bundle *bundle,
				 const struct plan_config *config, bool *ret_changed,
				 struct refusal *reterr_refusal);
struct plan *plan_free(struct plan *plan);

DEFINE_CLEANUP(struct plan *, plan, plan_free)
#define cleanup_plan CLEANUP(cleanup_plan)

/* The merged configuration, the content of /etc/affix/addons/<id>.json; borrowed. */
const char *plan_config_text(const struct plan *plan);
const struct plan_object *plan_find(const struct plan *plan, const char *path);
/* The object of the bundle entry *name*, or NULL. */
const struct plan_object *plan_find_entry(const struct plan *plan, const char *name);
const struct plan_unit *plan_primary(const struct plan *plan);
/* Whether the plan's user is the add-on's own, `affix-<id>`, which affix makes. */
bool plan_owns_user(const struct plan *plan);
/* Whether it is of affix itself and not of an add-on (plan_own.h). */
bool plan_is_own(const struct plan *plan);
/* `/opt/affix/<id>/versions/<version>`; the caller frees it. NULL: no memory. */
char *plan_version_path(const struct plan *plan);

/* The JSON form (affix-updater(8), "Plans"): stable, and what records hold. NULL: no memory. */
json_t *plan_to_json(const struct plan *plan);
/* 0; 1 for anything plan_to_json() does not write (*reterr says what, may be NULL); -errno. */
must_check int plan_from_json(const json_t *json, struct plan **ret, struct json_problem *reterr);
/* A copy of its own. 0 or -errno. */
must_check int plan_clone(const struct plan *plan, struct plan **ret);
/* BLAKE2b-512 of the canonical JSON: what quarantine keys on. 0 or -ENOMEM. */
must_check int plan_digest(const struct plan *plan, struct digest *ret);
