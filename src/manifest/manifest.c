/* SPDX-License-Identifier: Apache-2.0 */

/*
 * addon.yaml: text -> tree (yaml.c) -> struct by table (manifest_fields.c) -> rules that tie fields
 * together, here. Each step reports everything it finds; a manifest exists only where nothing was
 * found. The reader is strict: what it does not know, it does not pass by.
 */

#include "manifest/manifest.h"

#include <errno.h>
#include <string.h>
#include <sys/un.h>

#include "base/path.h"
#include "manifest/manifest_fields.h"
#include "manifest/yaml_fields.h"

#define WINDOW_DEFAULT 10U

/* Where an add-on may own directories; its id comes behind. */
static const char *const state_roots[] = {"/var/lib/affix/", "/var/cache/affix/", "/var/log/affix/",
					  "/run/affix/"};

struct manifest *manifest_free(struct manifest *manifest)
{
	if (!manifest)
		return NULL;
	free(manifest->id);
	free(manifest->name);
	free(manifest->version);
	free(manifest->description);
	free(manifest->base_agent);
	free(manifest->run_as);
	free(manifest->slice);
	free(manifest->exec_binary);
	free(manifest->exec_install_path);
	free(manifest->config_schema);
	free(manifest->ipc);
	free(manifest->health.ready_socket);
	strv_done(&manifest->capabilities);
	strv_done(&manifest->platforms);
	strv_done(&manifest->os_capabilities);
	strv_done(&manifest->agent_capabilities);
	strv_done(&manifest->exec_args);
	strv_done(&manifest->state_dirs);
	free(manifest);
	return NULL;
}

const char *manifest_delivery_to_string(enum manifest_delivery delivery)
{
	return delivery < MANIFEST_DELIVERY_N ? manifest_deliveries[delivery] : NULL;
}

const char *manifest_supervision_to_string(enum manifest_supervision supervision)
{
	return supervision < MANIFEST_SUPERVISION_N ? manifest_supervisions[supervision] : NULL;
}

/* Whether *path* is ROOT ID or below it, with something below it if *strictly*. */
static bool is_own(const char *path, const char *root, const char *id, bool strictly)
{
	size_t root_length = strlen(root);
	size_t id_length = strlen(id);
	const char *rest;

	if (!str_starts_with(path, root) || !str_starts_with(path + root_length, id))
		return false;
	rest = path + root_length + id_length;
	return *rest == '/' || (*rest == '\0' && !strictly);
}

static void check_state_dirs(struct yaml_reader *reader, const struct yaml_node *list,
			     const struct manifest *manifest)
{
	if (list && list->count > MANIFEST_STATE_DIRS_MAX)
		yaml_problem(reader, list, "'state_dirs' may have at most %u entries",
			     MANIFEST_STATE_DIRS_MAX);
	for (const struct yaml_node *item = list ? list->first : NULL; item; item = item->next) {
		bool found = false;

		/* What is not such a path was reported by its field. */
		if (item->kind != YAML_SCALAR || !path_is_normal_absolute(item->text))
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(state_roots); i++)
			found = found || is_own(item->text, state_roots[i], manifest->id, false);
		if (!found)
			yaml_problem(reader, item,
				     "a state directory must be /var/lib/affix/%s, "
				     "/var/cache/affix/%s, /var/log/affix/%s, /run/affix/%s or "
				     "below one of them",
				     manifest->id, manifest->id, manifest->id, manifest->id);
		else if (manifest->ipc && is_own(item->text, "/run/affix/", manifest->id, false) &&
			 !is_own(item->text, "/run/affix/", manifest->id, true))
			yaml_problem(reader, item,
				     "/run/affix/%s is made for 'ipc' already; remove it here",
				     manifest->id);
	}
}

static void check_ready_socket(struct yaml_reader *reader, const struct yaml_node *node,
			       const struct manifest *manifest)
{
	const char *path = manifest->health.ready_socket;

	if (!node || !path)
		return;
	if (!is_own(path, "/run/affix/", manifest->id, true))
		yaml_problem(reader, node, "'health.ready_socket' must lie below /run/affix/%s/",
			     manifest->id);
	else if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		yaml_problem(
			reader, node,
			"'health.ready_socket' is longer than the 107 bytes of a socket's path");
}

/* Rules over several fields. A field that had a problem of its own is not there to be compared. */
static void check_together(struct yaml_reader *reader, const struct yaml_node *root,
			   const struct manifest *manifest)
{
	const struct yaml_node *resources = yaml_member(root, "resources");
	const struct yaml_node *exec = yaml_member(root, "exec");
	const struct yaml_node *health = yaml_member(root, "health");
	const struct yaml_node *granted =
		yaml_member(yaml_member(root, "requires"), "os_capabilities");
	const struct yaml_node *run_once = yaml_member(health, "run_once");
	const struct yaml_node *supervision = yaml_member(root, "supervision");
	const struct manifest_limits *limits = &manifest->limits;

	if (limits->memory_max_bytes > 0 && limits->memory_high_bytes > limits->memory_max_bytes)
		yaml_problem(reader, yaml_member(resources, "memory_high_bytes"),
			     "'resources.memory_high_bytes' must not be more than "
			     "'resources.memory_max_bytes'");
	if (manifest->file_capabilities && (!granted || granted->count == 0))
		yaml_problem(reader, yaml_member(exec, "file_capabilities"),
			     "'exec.file_capabilities' needs 'requires.os_capabilities'");
	if (str_equal(manifest->exec_binary, manifest->config_schema) && manifest->exec_binary)
		yaml_problem(reader, yaml_member(root, "config_schema"),
			     "'config_schema' and 'exec.binary' are the same file");
	if (run_once && supervision && supervision->kind == YAML_SCALAR &&
	    strcmp(supervision->text, "systemd-timer") != 0)
		yaml_problem_key(reader, run_once,
				 "'health.run_once' is for supervision 'systemd-timer' only");
	if (manifest->id) {
		check_state_dirs(reader, yaml_member(root, "state_dirs"), manifest);
		check_ready_socket(reader, yaml_member(health, "ready_socket"), manifest);
	}
}

static int parse(const char *text, size_t size, struct yaml_reader *reader,
		 struct manifest *manifest)
{
	cleanup_yaml_document struct yaml_document *document = NULL;
	int r;

	if (size > MANIFEST_SIZE_MAX) {
		yaml_problem_at(reader, 1, 1, "the manifest is larger than 256 KiB");
		return reader->error;
	}
	r = yaml_parse(text, size, reader, &document);
	if (r != 0)
		return r < 0 ? r : 0;
	yaml_fields_read(reader, document->root, manifest_fields, manifest);
	if (document->root->kind == YAML_MAPPING)
		check_together(reader, document->root, manifest);
	return reader->error;
}

int manifest_parse_partial(const char *text, size_t size, const char *file, struct manifest **ret,
			   struct diagnostics *diagnostics)
{
	struct yaml_reader reader = {
		.file = file, .code = REFUSAL_BAD_MANIFEST, .diagnostics = diagnostics};
	cleanup_manifest struct manifest *manifest = calloc(1, sizeof(*manifest));
	int r;

	if (!manifest)
		return -ENOMEM;
	manifest->health.window_seconds = WINDOW_DEFAULT;
	manifest->health.run_once = true;
	r = parse(text, size, &reader, manifest);
	if (r < 0)
		return r;
	if (!manifest->run_as && manifest->id) {
		r = str_format(&manifest->run_as, "affix-%s", manifest->id);
		if (r < 0)
			return r;
	}
	if (manifest->id && manifest->exec_binary && manifest->config_schema)
		*ret = TAKE_PTR(manifest);
	return reader.problems > 0 ? 1 : 0;
}

int manifest_parse(const char *text, size_t size, const char *file, struct manifest **ret,
		   struct diagnostics *diagnostics)
{
	cleanup_manifest struct manifest *manifest = NULL;
	int r = manifest_parse_partial(text, size, file, &manifest, diagnostics);

	if (r == 0)
		*ret = TAKE_PTR(manifest);
	return r;
}
