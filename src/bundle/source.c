/* SPDX-License-Identifier: Apache-2.0 */

/*
 * An add-on as its author has it: a directory with addon.yaml, the schema that it names, and the
 * *.service and *.timer files beside them. Each file is judged by itself and then with the others;
 * nothing stops at the first problem, because an author wants all of them.
 */

#include "bundle/source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/dir.h"
#include "base/fd.h"
#include "bundle/bundle.h"
#include "manifest/schema.h"
#include "unit/unit_policy.h"

struct source *source_free(struct source *source)
{
	if (!source)
		return NULL;
	for (size_t i = 0; i < source->n_texts; i++) {
		free(source->texts[i].name);
		free(source->texts[i].text);
	}
	free(source->texts);
	free(source->path);
	(void)manifest_free(source->manifest);
	free(source);
	return NULL;
}

static int report_unreadable(const char *name, size_t max, int r, struct diagnostics *diagnostics)
{
	switch (r) {
	case -ENOMEM:
		return r;
	case -EFBIG:
		return diagnostics_add(diagnostics, REFUSAL_ENTRY_TOO_LARGE, name, 1, 1,
				       "the file is larger than the %zu bytes it may have", max);
	case -ELOOP:
		return diagnostics_add(diagnostics, REFUSAL_BAD_ENTRY_TYPE, name, 1, 1,
				       "the file is a symbolic link: expected a regular file");
	case -ENOENT:
		return diagnostics_add(diagnostics, REFUSAL_MISSING_ENTRY, name, 1, 1,
				       "the file does not exist");
	default:
		return diagnostics_add(diagnostics, REFUSAL_MISSING_ENTRY, name, 1, 1,
				       "the file cannot be read: %s", strerrordesc_np(-r));
	}
}

/* gcc 12's analyzer takes for lost what is kept behind the source. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

/* Reads one text; *ret* is NULL where it cannot be read, which is a diagnostic. Valid until the
 * next call. */
static int load_text(struct source *source, int dirfd, const char *name, size_t max,
		     const struct source_text **ret, struct diagnostics *diagnostics)
{
	cleanup_free char *copy = strdup(name);
	cleanup_free char *text = NULL;
	struct source_text *larger;
	size_t size = 0;
	int r;

	*ret = NULL;
	if (!copy)
		return -ENOMEM;
	r = fd_read_file_at(dirfd, name, max, &text, &size);
	if (r < 0)
		return report_unreadable(name, max, r, diagnostics);
	larger = reallocarray(source->texts, source->n_texts + 1, sizeof(*larger));
	if (!larger)
		return -ENOMEM;
	source->texts = larger;
	larger[source->n_texts] =
		(struct source_text){.name = TAKE_PTR(copy), .text = TAKE_PTR(text), .size = size};
	*ret = &larger[source->n_texts++];
	return 0;
}

#pragma GCC diagnostic pop

static int load_manifest(struct source *source, int dirfd, struct diagnostics *diagnostics)
{
	const struct source_text *text = NULL;
	int r = load_text(source, dirfd, MANIFEST_NAME, MANIFEST_SIZE_MAX, &text, diagnostics);

	if (r == 0 && text)
		r = manifest_parse_partial(text->text, text->size, text->name, &source->manifest,
					   diagnostics);
	return r < 0 ? r : 0;
}

static int load_schema(struct source *source, int dirfd, struct diagnostics *diagnostics)
{
	cleanup_schema struct schema *schema = NULL;
	const struct source_text *text = NULL;
	int r;

	if (!source->manifest)
		return 0;
	r = load_text(source, dirfd, source->manifest->config_schema, SCHEMA_SIZE_MAX, &text,
		      diagnostics);
	if (r == 0 && text)
		r = schema_parse(text->text, text->size, text->name, &schema, diagnostics);
	return r < 0 ? r : 0;
}

static int list_units(int dirfd, struct strv *names)
{
	cleanup_dir DIR *dir = NULL;
	const struct dirent *entry = NULL;
	int r = dir_open(dirfd, &dir);

	while (r == 0) {
		r = dir_next(dir, &entry);
		if (r != 0 || !entry)
			break;
		/* Hidden ones are what editors leave. */
		if (entry->d_name[0] != '.' && bundle_is_unit_name(entry->d_name))
			r = strv_add(names, entry->d_name);
	}
	strv_sort(names);
	return r;
}

/* The units of one add-on, while they are judged. */
struct unit_set {
	struct strv names;
	struct unit_file **files; /* NULL where one cannot be used */
};

static void unit_set_done(struct unit_set *set)
{
	for (size_t i = 0; set->files && i < set->names.count; i++)
		(void)unit_file_free(set->files[i]);
	free(set->files);
	strv_done(&set->names);
}

/* Reads and parses the units; *ret_all* tells whether each can be used. */
static int load_units(struct source *source, int dirfd, struct unit_set *set, bool *ret_all,
		      struct diagnostics *diagnostics)
{
	bool all = true;
	int r = list_units(dirfd, &set->names);

	if (r < 0)
		return r;
	set->files = calloc(set->names.count + 1, sizeof(struct unit_file *));
	if (!set->files)
		return -ENOMEM;
	for (size_t i = 0; i < set->names.count; i++) {
		const struct source_text *text = NULL;

		r = load_text(source, dirfd, set->names.items[i], UNIT_FILE_SIZE_MAX, &text,
			      diagnostics);
		if (r == 0 && text)
			r = unit_file_parse(text->text, text->size, text->name, &set->files[i],
					    diagnostics);
		if (r < 0)
			return r;
		all = all && set->files[i];
	}
	*ret_all = all;
	return 0;
}

static bool has_suffix(const struct strv *names, const char *suffix)
{
	for (size_t i = 0; i < names->count; i++) {
		if (str_ends_with(names->items[i], suffix))
			return true;
	}
	return false;
}

/* Whether the supervision model finds the units it needs, and which of them it is about. */
static int check_supervision(const struct manifest *manifest, const struct unit_set *set,
			     bool has_all, struct diagnostics *diagnostics)
{
	bool is_timer = manifest->supervision == MANIFEST_SUPERVISION_SYSTEMD_TIMER;
	const char *missing = NULL;
	const char *primary = NULL;
	int r;

	if (!is_timer && manifest->supervision != MANIFEST_SUPERVISION_SYSTEMD_SERVICE)
		return 0;
	if (is_timer && !has_suffix(&set->names, ".timer"))
		missing = ".timer";
	else if (!has_suffix(&set->names, ".service"))
		missing = ".service";
	if (missing)
		return diagnostics_add(diagnostics, REFUSAL_MISSING_ENTRY, MANIFEST_NAME, 1, 1,
				       "supervision '%s' needs a %s unit beside the manifest, "
				       "'affix-%s%s' for one",
				       manifest_supervision_to_string(manifest->supervision),
				       missing, manifest->id, missing);
	if (!has_all)
		return 0;
	r = unit_policy_primary(&set->names, (const struct unit_file *const *)set->files, manifest,
				&primary, diagnostics);
	return r < 0 ? r : 0;
}

static int check_units(struct source *source, int dirfd, struct diagnostics *diagnostics)
{
	CLEANUP(unit_set_done) struct unit_set set = {};
	struct unit_context context = {.manifest = source->manifest, .units = &set.names};
	bool has_all = false;
	int r = load_units(source, dirfd, &set, &has_all, diagnostics);

	/* What a unit may do follows from the manifest. */
	if (r < 0 || !source->manifest)
		return r;
	context.files = (const struct unit_file *const *)set.files;
	for (size_t i = 0; i < set.names.count && r == 0; i++) {
		if (set.files[i])
			r = unit_policy_check(set.files[i], set.names.items[i], &context,
					      diagnostics);
	}
	return r < 0 ? r : check_supervision(source->manifest, &set, has_all, diagnostics);
}

/* Until here problems bear the names that files have in a bundle. */
static int show_paths(const struct source *source, struct diagnostics *diagnostics, size_t from)
{
	for (size_t i = from; i < diagnostics->count; i++) {
		char *path = NULL;

		if (str_format(&path, "%s/%s", source->path, diagnostics->items[i].file) < 0)
			return -ENOMEM;
		free(diagnostics->items[i].file);
		diagnostics->items[i].file = path;
	}
	return 0;
}

int source_load(const char *path, struct source **ret, struct diagnostics *diagnostics)
{
	cleanup_source struct source *source = calloc(1, sizeof(*source));
	cleanup_fd int dirfd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	size_t before = diagnostics->count;
	size_t length = strlen(path);
	int r;

	if (dirfd < 0)
		return -errno;
	while (length > 1 && path[length - 1] == '/')
		length--;
	if (source)
		source->path = strndup(path, length);
	if (!source || !source->path)
		return -ENOMEM;
	r = load_manifest(source, dirfd, diagnostics);
	if (r == 0)
		r = load_schema(source, dirfd, diagnostics);
	if (r == 0)
		r = check_units(source, dirfd, diagnostics);
	if (r == 0)
		r = show_paths(source, diagnostics, before);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(source);
	return 0;
}
