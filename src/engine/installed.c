/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The installed bundle, read back. Texts are taken from the version directory and held against the
 * digests of the record's plan, so that what is planned with is what was once verified; of the
 * large files only size and digest are needed, and those the plan has.
 */

#include "engine/delivery.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "base/path.h"
#include "plan/apply_version.h"

static bool is_text(const char *name)
{
	return str_ends_with(name, ".json") || strcmp(name, MANIFEST_NAME) == 0 ||
	       bundle_is_unit_name(name);
}

static int changed(struct operation *operation, const struct plan_object *object)
{
	return refuse(
		&operation->refusal, REFUSAL_NEEDS_BUNDLE,
		"'%s' is changed or missing; repair the add-on with its bundle first: 'affix repair %s --bundle FILE'",
		object->path, operation->record->id);
}

/* gcc 12's analyzer takes for lost what is kept behind *entry. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

static int load_entry(struct operation *operation, int directory, const struct plan_object *object,
		      struct bundle_entry *entry)
{
	struct digest digest;
	size_t size = 0;
	int r;

	*entry = (struct bundle_entry){
		.name = strdup(object->entry),
		.size = object->size,
		.digest = object->digest,
		.fd = -EBADF,
	};
	if (!entry->name)
		return -ENOMEM;
	if (!is_text(object->entry))
		return 0;
	r = fd_read_file_at(directory, object->entry, BUNDLE_TEXT_SIZE_MAX, &entry->text, &size);
	if (r == -ENOENT || r == -ELOOP || r == -EFBIG || r == -EIO)
		return changed(operation, object);
	if (r < 0)
		return r;
	digest_of(entry->text, size, &digest);
	return digest_is_equal(&digest, &object->digest) ? 0 : changed(operation, object);
}

#pragma GCC diagnostic pop

static int load_entries(struct operation *operation, const struct plan *plan, struct bundle *bundle)
{
	char parked[VERSION_PARKED_SIZE];
	cleanup_fd int directory = -EBADF;
	cleanup_fd int versions = -EBADF;
	int r;

	version_parked_name(plan, parked);
	r = version_open_directory(&operation->tree, plan->identity.id, &versions);
	if (r == 0)
		r = path_open_beneath(versions, parked, O_RDONLY | O_DIRECTORY, 0, &directory);
	if (r == -ENOENT && versions >= 0)
		r = path_open_beneath(versions, plan->identity.version, O_RDONLY | O_DIRECTORY, 0,
				      &directory);
	if (r == -ENOENT)
		return refuse(
			&operation->refusal, REFUSAL_NEEDS_BUNDLE,
			"the files of '%s' %s are gone; repair it with its bundle first: 'affix repair %s --bundle FILE'",
			plan->identity.id, plan->identity.version, plan->identity.id);
	if (r < 0)
		return r;
	bundle->entries = calloc(plan->n_objects, sizeof(*bundle->entries));
	if (!bundle->entries)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < plan->n_objects; i++) {
		if (plan->objects[i].entry)
			r = load_entry(operation, directory, &plan->objects[i],
				       &bundle->entries[bundle->n_entries++]);
	}
	return r;
}

static int load_manifest(struct operation *operation, struct bundle *bundle)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	const struct bundle_entry *entry = bundle_find(bundle, MANIFEST_NAME);
	int r;

	if (!entry)
		return -EBADMSG;
	r = manifest_parse(entry->text, entry->size, MANIFEST_NAME, &bundle->manifest,
			   &diagnostics);
	if (r > 0)
		/* It was installed by an affix that did. */
		return diagnostics_refuse(&diagnostics, &operation->refusal);
	if (r < 0)
		return r;
	for (size_t i = 0; i < bundle->n_entries; i++)
		bundle->entries[i].is_binary =
			strcmp(bundle->entries[i].name, bundle->manifest->exec_binary) == 0;
	return 0;
}

int delivery_load_installed(struct operation *operation, const struct plan *plan,
			    struct delivery *ret)
{
	cleanup_bundle struct bundle *bundle = calloc(1, sizeof(*bundle));
	int r;

	if (!bundle)
		return -ENOMEM;
	bundle->identity = plan->identity;
	bundle->digest = plan->bundle;
	memcpy(bundle->key_id, plan->key_id, sizeof(bundle->key_id));
	r = load_entries(operation, plan, bundle);
	if (r == 0)
		r = load_manifest(operation, bundle);
	if (r == 0)
		ret->bundle = TAKE_PTR(bundle);
	return r;
}
