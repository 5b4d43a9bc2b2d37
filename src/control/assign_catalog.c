/* SPDX-License-Identifier: Apache-2.0 */

/* Reading packages and assignments. The rows were checked when they were written, so what does not
 * parse here is damage: -EBADMSG. */

#include "control/assign_catalog.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "manifest/version.h"

static const char *const state_names[PACKAGE_STATE_N] = {
	[PACKAGE_IMPORTED] = "imported",
	[PACKAGE_APPROVED] = "approved",
	[PACKAGE_REVOKED] = "revoked",
};

static int state_from_string(const char *name, enum package_state *ret)
{
	for (unsigned i = 0; i < PACKAGE_STATE_N; i++) {
		if (str_equal(state_names[i], name)) {
			*ret = (enum package_state)i;
			return 0;
		}
	}
	return -EBADMSG;
}

static int copy(const char *text, char **ret)
{
	if (!text)
		return 0;
	*ret = strdup(text);
	return *ret ? 0 : -ENOMEM;
}

static int read_list(const json_t *array, struct strv *ret)
{
	const json_t *item;
	size_t i;
	int r = 0;

	json_array_foreach(array, i, item)
	{
		if (!json_is_string(item))
			return -EBADMSG;
		r = strv_add(ret, json_string_value(item));
		if (r < 0)
			return r;
	}
	return r;
}

/* A column with a JSON array of strings; *ret_is_set* tells null from an empty list. */
static int read_list_column(const char *text, bool *ret_is_set, struct strv *ret)
{
	cleanup_json json_t *array = NULL;

	*ret_is_set = text != NULL;
	if (!text)
		return 0;
	array = json_loads(text, 0, NULL);
	return json_is_array(array) ? read_list(array, ret) : -EBADMSG;
}

static int read_facts(const char *text, struct assign_package *package)
{
	cleanup_json json_t *facts = json_loads(text, 0, NULL);
	const char *base_agent = json_string_value(json_object_get(facts, "base_agent"));
	int r;

	if (!base_agent)
		return -EBADMSG;
	r = copy(base_agent, &package->base_agent);
	if (r == 0)
		r = read_list(json_object_get(facts, "platforms"), &package->platforms);
	if (r == 0)
		r = read_list(json_object_get(facts, "agent_capabilities"),
			      &package->agent_capabilities);
	if (r == 0)
		r = read_list(json_object_get(facts, "os_capabilities"), &package->os_capabilities);
	return r;
}

static int read_artifact(struct store_rows *rows, struct assign_artifact *artifact)
{
	size_t size = 0;
	int r;

	r = copy(store_text(rows, 0), &artifact->os);
	if (r == 0)
		r = copy(store_text(rows, 1), &artifact->arch);
	if (r == 0)
		r = copy(store_text(rows, 2), &artifact->sha256);
	if (r == 0)
		r = copy(store_text(rows, 3), &artifact->signature);
	if (r < 0)
		return r;
	artifact->size = (uint64_t)store_int(rows, 4);
	artifact->is_approved = store_int(rows, 5) != 0;
	if (sodium_hex2bin(artifact->digest, sizeof(artifact->digest), artifact->sha256,
			   strlen(artifact->sha256), NULL, &size, NULL) != 0 ||
	    size != sizeof(artifact->digest))
		return -EBADMSG;
	return 0;
}

static int load_artifacts(struct store *store, struct assign_package *package)
{
	cleanup_rows struct store_rows *rows = NULL;
	bool row = false;
	int r;

	r = store_select(store, &rows,
			 "SELECT os, arch, sha256, signature, size, approved FROM artifact "
			 "WHERE package = $1 ORDER BY os, arch",
			 STORE_INT(package->id));
	while (r == 0) {
		struct assign_artifact *list;

		r = store_next(rows, &row);
		if (r != 0 || !row)
			return r;
		list = reallocarray(package->artifacts, package->n_artifacts + 1, sizeof(*list));
		if (!list)
			return -ENOMEM;
		package->artifacts = list;
		list[package->n_artifacts] = (struct assign_artifact){};
		r = read_artifact(rows, &list[package->n_artifacts++]);
	}
	return r;
}

static int read_package(struct store *store, struct store_rows *rows,
			struct assign_package *package)
{
	int r;

	package->id = store_int(rows, 0);
	r = copy(store_text(rows, 1), &package->addon);
	if (r == 0)
		r = copy(store_text(rows, 2), &package->version);
	if (r == 0)
		r = state_from_string(store_text(rows, 3), &package->state);
	if (r == 0)
		r = read_facts(store_text(rows, 4), package);
	if (r == 0)
		r = read_list_column(store_text(rows, 5), &package->is_narrowed,
				     &package->capabilities);
	return r == 0 ? load_artifacts(store, package) : r;
}

static int compare_packages(const void *a, const void *b)
{
	const struct assign_package *first = a;
	const struct assign_package *second = b;
	int r = strcmp(first->addon, second->addon);

	if (r == 0)
		r = version_compare(second->version, first->version);
	/* Build metadata has no precedence; the order must be total all the same. */
	return r != 0 ? r : strcmp(second->version, first->version);
}

static int load_packages(struct store *store, struct assign_catalog *catalog)
{
	cleanup_rows struct store_rows *rows = NULL;
	bool row = false;
	int r;

	r = store_select(store, &rows,
			 "SELECT id, addon, version, state, manifest, capabilities FROM package");
	while (r == 0) {
		struct assign_package *list;

		r = store_next(rows, &row);
		if (r != 0 || !row)
			break;
		list = reallocarray(catalog->packages, catalog->n_packages + 1, sizeof(*list));
		if (!list)
			return -ENOMEM;
		catalog->packages = list;
		list[catalog->n_packages] = (struct assign_package){};
		r = read_package(store, rows, &list[catalog->n_packages++]);
	}
	if (r == 0 && catalog->n_packages > 0)
		qsort(catalog->packages, catalog->n_packages, sizeof(*catalog->packages),
		      compare_packages);
	return r;
}

bool assign_is_prerelease(const char *version)
{
	return version[strcspn(version, "-+")] == '-';
}

/* Which of two of one add-on wins: affix-rest(7), "Which assignment wins". */
static int compare_rank(const struct assignment *a, const struct assignment *b)
{
	if (a->priority != b->priority)
		return a->priority > b->priority ? -1 : 1;
	if ((a->host != 0) != (b->host != 0))
		return a->host != 0 ? -1 : 1;
	if (a->id != b->id)
		return a->id > b->id ? -1 : 1;
	return 0;
}

static int compare_assignments(const void *a, const void *b)
{
	const struct assignment *first = a;
	const struct assignment *second = b;
	int r = strcmp(first->addon, second->addon);

	return r != 0 ? r : compare_rank(first, second);
}

static int read_assignment(struct store_rows *rows, struct assignment *assignment)
{
	char problem[SELECTOR_PROBLEM_MAX];
	int r;

	assignment->id = store_int(rows, 0);
	assignment->host = store_int(rows, 3);
	assignment->priority = store_int(rows, 8);
	assignment->enabled = store_int(rows, 9) != 0;
	assignment->rollout = store_int(rows, 10);
	assignment->rollout_wave = store_int(rows, 12);
	r = copy(store_text(rows, 1), &assignment->addon);
	if (r == 0)
		r = copy(store_text(rows, 2), &assignment->version);
	if (r == 0 && !store_is_null(rows, 4)) {
		r = selector_parse(store_text(rows, 4), &assignment->selector, problem);
		if (r > 0)
			r = -EBADMSG;
	}
	if (r == 0)
		r = copy(store_text(rows, 5), &assignment->config);
	if (r == 0)
		r = read_list_column(store_text(rows, 6), &assignment->is_narrowed,
				     &assignment->capabilities);
	if (r == 0)
		r = copy(store_text(rows, 7), &assignment->limits);
	if (r == 0)
		r = copy(store_text(rows, 11), &assignment->rollout_version);
	return r;
}

static int load_assignments(struct store *store, struct assign_catalog *catalog)
{
	cleanup_rows struct store_rows *rows = NULL;
	bool row = false;
	int r;

	r = store_select(store, &rows,
			 "SELECT a.id, a.addon, a.version, a.host, a.selector, a.config, "
			 "a.capabilities, a.limits, a.priority, a.enabled, a.rollout, "
			 "r.to_version, r.wave FROM assignment a "
			 "LEFT JOIN rollout r ON r.id = a.rollout ORDER BY a.id");
	while (r == 0) {
		struct assignment *list;

		r = store_next(rows, &row);
		if (r != 0 || !row)
			break;
		list = reallocarray(catalog->assignments, catalog->n_assignments + 1,
				    sizeof(*list));
		if (!list)
			return -ENOMEM;
		catalog->assignments = list;
		list[catalog->n_assignments] = (struct assignment){};
		r = read_assignment(rows, &list[catalog->n_assignments++]);
	}
	return r;
}

static int add_kept(struct assignment *assignment, struct store_rows *rows)
{
	struct assign_kept *list =
		reallocarray(assignment->kept, assignment->n_kept + 1, sizeof(*list));

	if (!list)
		return -ENOMEM;
	assignment->kept = list;
	list[assignment->n_kept] = (struct assign_kept){.package = store_int(rows, 1)};
	return copy(store_text(rows, 2), &list[assignment->n_kept++].config);
}

/* While the assignments are still in the order of their numbers, as these rows are. */
static int load_kept(struct store *store, struct assign_catalog *catalog)
{
	cleanup_rows struct store_rows *rows = NULL;
	bool row = false;
	size_t at = 0;
	int r;

	r = store_select(store, &rows,
			 "SELECT k.assignment, k.package, k.config FROM assignment_config k "
			 "JOIN assignment a ON a.id = k.assignment "
			 "WHERE coalesce(k.config, '') <> coalesce(a.config, '') "
			 "ORDER BY k.assignment");
	while (r == 0) {
		r = store_next(rows, &row);
		if (r != 0 || !row)
			break;
		while (at < catalog->n_assignments &&
		       catalog->assignments[at].id < store_int(rows, 0))
			at++;
		if (at < catalog->n_assignments &&
		    catalog->assignments[at].id == store_int(rows, 0))
			r = add_kept(&catalog->assignments[at], rows);
	}
	return r;
}

int assign_catalog_load(struct store *store, struct assign_catalog **ret)
{
	cleanup_assign_catalog struct assign_catalog *catalog = calloc(1, sizeof(*catalog));
	int r;

	if (!catalog)
		return -ENOMEM;
	r = load_packages(store, catalog);
	if (r == 0)
		r = load_assignments(store, catalog);
	if (r == 0)
		r = load_kept(store, catalog);
	if (r == 0 && catalog->n_assignments > 0)
		qsort(catalog->assignments, catalog->n_assignments, sizeof(*catalog->assignments),
		      compare_assignments);
	if (r == 0)
		*ret = TAKE_PTR(catalog);
	return r;
}

static void package_done(struct assign_package *package)
{
	for (size_t i = 0; i < package->n_artifacts; i++) {
		free(package->artifacts[i].os);
		free(package->artifacts[i].arch);
		free(package->artifacts[i].sha256);
		free(package->artifacts[i].signature);
	}
	free(package->artifacts);
	free(package->addon);
	free(package->version);
	free(package->base_agent);
	strv_done(&package->platforms);
	strv_done(&package->agent_capabilities);
	strv_done(&package->os_capabilities);
	strv_done(&package->capabilities);
}

static void assignment_done(struct assignment *assignment)
{
	free(assignment->addon);
	free(assignment->version);
	(void)selector_free(assignment->selector);
	free(assignment->config);
	for (size_t i = 0; i < assignment->n_kept; i++)
		free(assignment->kept[i].config);
	free(assignment->kept);
	strv_done(&assignment->capabilities);
	free(assignment->limits);
	free(assignment->rollout_version);
}

struct assign_catalog *assign_catalog_free(struct assign_catalog *catalog)
{
	if (!catalog)
		return NULL;
	for (size_t i = 0; i < catalog->n_packages; i++)
		package_done(&catalog->packages[i]);
	free(catalog->packages);
	for (size_t i = 0; i < catalog->n_assignments; i++)
		assignment_done(&catalog->assignments[i]);
	free(catalog->assignments);
	free(catalog);
	return NULL;
}

const struct assign_package *assign_catalog_find(const struct assign_catalog *catalog,
						 const char *addon, const char *version)
{
	for (size_t i = 0; i < catalog->n_packages; i++) {
		if (strcmp(catalog->packages[i].addon, addon) == 0 &&
		    strcmp(catalog->packages[i].version, version) == 0)
			return &catalog->packages[i];
	}
	return NULL;
}

const struct assignment *assign_catalog_find_assignment(const struct assign_catalog *catalog,
							int64_t id)
{
	for (size_t i = 0; i < catalog->n_assignments; i++) {
		if (catalog->assignments[i].id == id)
			return &catalog->assignments[i];
	}
	return NULL;
}
