/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A configuration against the schema of its add-on, before any host sees it. Keys marked
 * `x-affix-local` come from the host's own administrator: here they are refused, and not missed
 * where the schema wants them.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "control/assign_edit.h"
#include "control/fleet_private.h"
#include "manifest/schema.h"

#define PROBLEM_SIZE 512U
/* The newest, beside those that the assignment names: each costs a schema to be read, while hosts
 * wait. */
#define VERSIONS_MAX 16U

static int load_schema(struct fleet *fleet, int64_t package, json_t **ret)
{
	cleanup_rows struct store_rows *rows = NULL;
	bool row = false;
	int r;

	r = store_select(fleet->store, &rows, "SELECT schema FROM package WHERE id = $1",
			 STORE_INT(package));
	if (r == 0)
		r = store_next(rows, &row);
	if (r != 0 || !row)
		return r != 0 ? r : -EBADMSG;
	*ret = json_loads(store_text(rows, 0), 0, NULL);
	return *ret ? 0 : -EBADMSG;
}

static int refuse_local(const json_t *schema, const json_t *config, struct api_problem *reterr)
{
	char path[API_PATH_MAX];
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)config, key, value)
	{
		if (!schema_key_is_local(schema, key))
			continue;
		(void)snprintf(path, sizeof(path), "/config/%.200s", key);
		return api_refuse(reterr, 422, "local-key", path,
				  "'%.200s' can only be set on the host itself, in "
				  "/etc/affix/addons.d",
				  key);
	}
	return 0;
}

/* Takes the local keys out of what the schema requires. */
static void forgive_local(json_t *schema)
{
	json_t *required = json_object_get(schema, "required");

	for (size_t i = json_array_size(required); i-- > 0;) {
		const char *key = json_string_value(json_array_get(required, i));

		if (key && schema_key_is_local(schema, key))
			ignore_result(json_array_remove(required, i));
	}
}

/* schema_validate() says `PATH: sentence`. */
static int refuse_value(const char *sentence, struct api_problem *reterr)
{
	const char *colon = strchr(sentence, ':');
	char path[API_PATH_MAX];

	(void)snprintf(path, sizeof(path), "/config%.*s",
		       colon ? (int)MIN(colon - sentence, (ptrdiff_t)200) : 0, sentence);
	return api_refuse(reterr, 422, "bad-config", path, "the configuration does not fit: %s",
			  sentence);
}

static int compile(const json_t *object, struct schema **ret)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_free char *text = json_dumps(object, JSON_COMPACT);
	int r;

	if (!text)
		return -ENOMEM;
	r = schema_parse(text, strlen(text), "schema", ret, &diagnostics);
	/* It was good when it was imported. */
	return r > 0 ? -EBADMSG : r;
}

int assign_check_config(struct fleet *fleet, const struct assign_package *package,
			const json_t *config, struct api_problem *reterr)
{
	cleanup_json json_t *object = NULL;
	cleanup_json json_t *empty = json_object();
	cleanup_schema struct schema *schema = NULL;
	char sentence[PROBLEM_SIZE];
	int r;

	if (!empty)
		return -ENOMEM;
	r = load_schema(fleet, package->id, &object);
	if (r == 0 && config)
		r = refuse_local(object, config, reterr);
	if (r != 0)
		return r;
	forgive_local(object);
	r = compile(object, &schema);
	if (r == 0)
		r = schema_validate(schema, config ? config : empty, sentence, sizeof(sentence));
	return r > 0 ? refuse_value(sentence, reterr) : r;
}

static int keep_one(struct fleet *fleet, int64_t assignment, const struct assign_package *package,
		    const json_t *config, const char *text)
{
	struct api_problem ignored = {0};
	int r;

	r = assign_check_config(fleet, package, config, &ignored);
	if (r == 0)
		r = store_run(fleet->store,
			      "INSERT INTO assignment_config (assignment, package, config) "
			      "VALUES ($1, $2, $3) ON CONFLICT (assignment, package) "
			      "DO UPDATE SET config = excluded.config",
			      STORE_INT(assignment), STORE_INT(package->id), STORE_TEXT(text));
	return MIN(r, 0);
}

/* What is not looked at must not say what the assignment said long ago. */
static int forget_one(struct fleet *fleet, int64_t assignment, const struct assign_package *package)
{
	return store_run(fleet->store,
			 "DELETE FROM assignment_config WHERE assignment = $1 AND package = $2",
			 STORE_INT(assignment), STORE_INT(package->id));
}

int assign_keep_config(struct fleet *fleet, int64_t assignment, const char *addon,
		       const struct strv *versions, const json_t *config)
{
	cleanup_free char *text = config ? json_to_canonical(config) : NULL;
	const struct assign_catalog *catalog = NULL;
	unsigned n = 0;
	int r;

	if (config && !text)
		return -ENOMEM;
	r = fleet_catalog(fleet, &catalog);
	for (size_t i = 0; r == 0 && i < catalog->n_packages; i++) {
		const struct assign_package *package = &catalog->packages[i];
		bool is_newest = false;

		if (!str_equal(package->addon, addon))
			continue;
		if (package->state != PACKAGE_IMPORTED)
			is_newest = n++ < VERSIONS_MAX;
		if (is_newest || strv_has(versions, package->version))
			r = keep_one(fleet, assignment, package, config, text);
		else
			r = forget_one(fleet, assignment, package);
	}
	return r;
}
