/* SPDX-License-Identifier: Apache-2.0 */

/* The life of a package once it is imported, and how it is shown. */

#include "control/package.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "control/fleet_private.h"
#include "manifest/names.h"

#define REVISION_SIZE 16U

int package_find(struct fleet *fleet, const char *addon, const char *version, int64_t *ret_id)
{
	int64_t id = 0;
	int r;

	r = store_number(fleet->store, &id, 0,
			 "SELECT id FROM package WHERE addon = $1 AND version = $2",
			 STORE_TEXT(addon), STORE_TEXT(version));
	if (r == 0)
		*ret_id = id;
	return r == 0 && id == 0 ? 1 : r;
}

int package_read_capabilities(const json_t *list, const struct strv *all, const char *path,
			      json_t **ret, struct api_problem *reterr)
{
	cleanup_strv struct strv names = STRV_INIT;
	char place[64];
	const json_t *item;
	size_t i;
	int r = 0;

	if (!json_is_array(list))
		return api_refuse(reterr, 400, "bad-request", path,
				  "expected a list of capabilities such as [\"cap_net_raw\"]");
	json_array_foreach(list, i, item)
	{
		const char *text = json_string_value(item);
		cleanup_free char *name = NULL;

		(void)snprintf(place, sizeof(place), "%s/%zu", path, i);
		r = text ? name_normalize_capability(text, &name) : 1;
		if (r < 0)
			return r;
		if (r > 0)
			return api_refuse(reterr, 400, "bad-request", place,
					  "this is no Linux capability; expected names such as "
					  "'cap_net_raw'");
		if (all && !strv_has(all, name))
			return api_refuse(
				reterr, 409, "capability-not-requested", place,
				"the package does not ask for '%s'; capabilities can only "
				"be taken away",
				name);
		if (!strv_has(&names, name))
			r = strv_add(&names, name);
		if (r < 0)
			return r;
	}
	strv_sort(&names);
	*ret = json_from_strv(&names);
	return *ret ? 0 : -ENOMEM;
}

static int write_state(struct fleet *fleet, const struct assign_package *package,
		       enum package_state state, const char *reason, const json_t *capabilities,
		       uint64_t now)
{
	cleanup_free char *text = NULL;
	int r;

	if (state == PACKAGE_REVOKED)
		return store_run(fleet->store,
				 "UPDATE package SET state = 'revoked', revoked = $1, reason = $2 "
				 "WHERE id = $3",
				 STORE_INT(now), STORE_TEXT(reason), STORE_INT(package->id));
	if (json_is_array(capabilities)) {
		text = json_dumps(capabilities, JSON_COMPACT);
		if (!text)
			return -ENOMEM;
	}
	r = store_run(fleet->store,
		      "UPDATE package SET state = 'approved', approved = $1, revoked = 0, "
		      "reason = '' WHERE id = $2",
		      STORE_INT(now), STORE_INT(package->id));
	if (r == 0 && capabilities)
		r = store_run(fleet->store, "UPDATE package SET capabilities = $1 WHERE id = $2",
			      STORE_TEXT(text), STORE_INT(package->id));
	if (r == 0)
		r = store_run(fleet->store,
			      "UPDATE artifact SET approved = $1 WHERE package = $2 AND "
			      "approved = 0",
			      STORE_INT(now), STORE_INT(package->id));
	return r;
}

static int enter(struct fleet *fleet, const struct assign_package *package,
		 enum package_state state, const char *reason, const json_t *capabilities,
		 const struct audit_actor *actor)
{
	cleanup_json json_t *before = NULL;
	cleanup_json json_t *after = NULL;
	char object[128];
	int64_t id = package->id;
	int r;

	(void)snprintf(object, sizeof(object), "package %s %s", package->addon, package->version);
	r = package_to_json(fleet, id, &before);
	if (r == 0)
		r = write_state(fleet, package, state, reason, capabilities, actor->time);
	if (r == 0)
		r = package_to_json(fleet, id, &after);
	if (r == 0)
		r = audit_add(fleet->store, actor, state == PACKAGE_REVOKED ? "revoke" : "approve",
			      object, before, after);
	fleet_changed(fleet);
	return r > 0 ? -EIO : r;
}

static int find(struct fleet *fleet, const char *addon, const char *version,
		const struct assign_package **ret, struct api_problem *reterr)
{
	const struct assign_catalog *catalog = NULL;
	int r;

	r = fleet_catalog(fleet, &catalog);
	if (r != 0)
		return r;
	*ret = assign_catalog_find(catalog, addon, version);
	if (!*ret)
		return api_refuse(reterr, 404, "not-found", NULL,
				  "there is no package '%.32s' %.64s", addon, version);
	return 0;
}

/* That what is approved is what was looked at. */
static int check_revision(struct fleet *fleet, const struct assign_package *package,
			  const char *revision, struct api_problem *reterr)
{
	cleanup_json json_t *object = NULL;
	int r;

	r = package_to_json(fleet, package->id, &object);
	if (r != 0)
		return r > 0 ? -EIO : r;
	if (str_equal(json_string_value(json_object_get(object, "revision")), revision))
		return 0;
	return api_refuse(reterr, 409, "package-changed", "/revision",
			  "'%s' %s is not as it was when its revision was '%.64s': look at it "
			  "again, and approve what there is now",
			  package->addon, package->version, revision);
}

int package_approve(struct fleet *fleet, const char *addon, const char *version,
		    const struct package_approval *approval, const struct audit_actor *actor,
		    struct api_problem *reterr)
{
	const json_t *capabilities = approval->capabilities;
	const struct assign_package *package = NULL;
	cleanup_json json_t *names = NULL;
	int r;

	r = find(fleet, addon, version, &package, reterr);
	if (r == 0 && approval->revision)
		r = check_revision(fleet, package, approval->revision, reterr);
	if (r == 0 && json_is_null(capabilities))
		names = json_null();
	else if (r == 0 && capabilities)
		r = package_read_capabilities(capabilities, &package->os_capabilities,
					      "/capabilities", &names, reterr);
	return r == 0 ? enter(fleet, package, PACKAGE_APPROVED, "", names, actor) : r;
}

int package_revoke(struct fleet *fleet, const char *addon, const char *version, const char *reason,
		   const struct audit_actor *actor, struct api_problem *reterr)
{
	const struct assign_package *package = NULL;
	int r;

	r = find(fleet, addon, version, &package, reterr);
	return r == 0 ? enter(fleet, package, PACKAGE_REVOKED, reason, NULL, actor) : r;
}

static int add_artifacts(struct fleet *fleet, int64_t id, json_t *object)
{
	cleanup_rows struct store_rows *rows = NULL;
	cleanup_json json_t *list = json_array();
	bool row = false;
	int r;

	if (!list)
		return -ENOMEM;
	r = store_select(fleet->store, &rows,
			 "SELECT os, arch, sha256, digest, size, key_id, key_name, created, "
			 "expires, epoch, imported, approved FROM artifact WHERE package = $1 "
			 "ORDER BY os, arch",
			 STORE_INT(id));
	while (r == 0) {
		r = store_next(rows, &row);
		if (r != 0 || !row)
			break;
		r = json_append(
			list,
			json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:o, s:o, s:I, s:o, s:o}",
				  "os", store_text(rows, 0), "arch", store_text(rows, 1), "sha256",
				  store_text(rows, 2), "digest", store_text(rows, 3), "size",
				  (json_int_t)store_int(rows, 4), "key_id", store_text(rows, 5),
				  "key_name", store_text(rows, 6), "created",
				  fleet_time_json(store_int(rows, 7)), "expires",
				  fleet_time_json(store_int(rows, 8)), "epoch",
				  (json_int_t)store_int(rows, 9), "imported",
				  fleet_time_json(store_int(rows, 10)), "approved",
				  fleet_time_json(store_int(rows, 11))));
	}
	return r == 0 ? json_add(object, "artifacts", TAKE_PTR(list)) : r;
}

/* What tells this state of a package from any other. */
static int add_revision(json_t *object)
{
	cleanup_free char *text = json_to_canonical(object);
	unsigned char hash[REVISION_SIZE];
	char digits[2 * REVISION_SIZE + 1];

	if (!text)
		return -ENOMEM;
	(void)crypto_generichash(hash, sizeof(hash), (const unsigned char *)text, strlen(text),
				 NULL, 0);
	return json_add_string(object, "revision",
			       sodium_bin2hex(digits, sizeof(digits), hash, sizeof(hash)));
}

int package_to_json(struct fleet *fleet, int64_t id, json_t **ret)
{
	cleanup_rows struct store_rows *rows = NULL;
	cleanup_json json_t *object = NULL;
	cleanup_json json_t *facts = NULL;
	bool row = false;
	int r;

	r = store_select(fleet->store, &rows,
			 "SELECT addon, version, state, imported, approved, revoked, reason, "
			 "manifest, capabilities FROM package WHERE id = $1",
			 STORE_INT(id));
	if (r == 0)
		r = store_next(rows, &row);
	if (r != 0 || !row)
		return r != 0 ? r : 1;
	facts = json_loads(store_text(rows, 7), 0, NULL);
	object = json_pack(
		"{s:s, s:s, s:s, s:o, s:o, s:o, s:s, s:o}", "addon", store_text(rows, 0), "version",
		store_text(rows, 1), "state", store_text(rows, 2), "imported",
		fleet_time_json(store_int(rows, 3)), "approved",
		fleet_time_json(store_int(rows, 4)), "revoked", fleet_time_json(store_int(rows, 5)),
		"reason", store_text(rows, 6), "capabilities",
		store_is_null(rows, 8) ? json_null() : json_loads(store_text(rows, 8), 0, NULL));
	if (!object || !facts)
		return -ENOMEM;
	if (json_object_update(object, facts) < 0)
		return -ENOMEM;
	r = add_artifacts(fleet, id, object);
	if (r == 0)
		r = add_revision(object);
	if (r == 0)
		*ret = TAKE_PTR(object);
	return r;
}
