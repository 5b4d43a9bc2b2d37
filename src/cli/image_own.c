/* SPDX-License-Identifier: Apache-2.0 */

/*
 * affix itself in an image. Nobody signed it: whoever runs this program trusts its files. All of it
 * is brought into the image together with the add-ons, or not at all.
 */

#include "cli/image_own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/path.h"
#include "engine/platform.h"
#include "image/libraries.h"
#include "plan/apply.h"
#include "plan/tree.h"
#include "store/store.h"

/* What a file has besides its bytes: an inode, a name, its directory. */
#define BESIDE_BLOCKS 4U
#define RECORD_BYTES  (1ULL << 20)

void image_own_done(struct image_own *own)
{
	for (size_t i = 0; i < own->count; i++)
		result_done(&own->results[i]);
	own_files_done(&own->files);
	own->count = 0;
}

int image_own_set_profile(struct image_own *own, const struct command *command, const char *value)
{
	if (strcmp(value, OWN_SET_VM) != 0)
		return command_usage(command, "there is no profile '%s', expected 'vm'", value);
	own->is_vm = true;
	return COMMAND_DONE;
}

static int add_set(struct image_own *own, const char *set, struct strv *ids)
{
	own->sets[own->count] = set;
	own->results[own->count] = RESULT_INIT;
	own->count++;
	return strv_add(ids, set) < 0 ? command_broke(-ENOMEM, "the options could not be kept")
				      : COMMAND_DONE;
}

int image_own_open(struct image_own *own, struct strv *ids)
{
	struct refusal refusal = REFUSAL_INIT;
	int code;

	if (!own->with_affix && !own->is_vm)
		return COMMAND_DONE;
	if (own->with_affix && own->has_trust && own_plan_check_trust(own->trust, &refusal) > 0)
		return command_refuse(&refusal);
	code = own_files_load(&own->files);
	if (code == COMMAND_DONE && own->with_affix)
		code = add_set(own, OWN_SET_AFFIX, ids);
	if (code == COMMAND_DONE && own->is_vm)
		code = add_set(own, OWN_SET_VM, ids);
	return code;
}

static bool has_set(const struct image_own *own, const char *set)
{
	for (size_t i = 0; i < own->count; i++) {
		if (strcmp(own->sets[i], set) == 0)
			return true;
	}
	return false;
}

static int measure_source(const struct own_files *files, const struct own_file *file,
			  struct stat *ret)
{
	cleanup_fd int fd = -EBADF;
	int r = own_files_open(files, file->source, &fd);

	if (r == 0 && fstat(fd, ret) < 0)
		r = -errno;
	return r;
}

int image_own_measure(const struct image_own *own, uint64_t block_size,
		      struct image_bundles_need *need)
{
	struct identity identity;
	int r;

	for (size_t i = 0; i < own->files.count; i++) {
		const struct own_file *file = &own->files.items[i];
		struct stat st = {0};

		if (!has_set(own, file->set))
			continue;
		r = file->kind != OWN_FILE_LINK ? measure_source(&own->files, file, &st) : 0;
		if (r < 0)
			return command_broke(r, "'%s%s' of affix's own files cannot be read",
					     own->files.root, file->source);
		/* A text is in the record, too; the directories above may all be new. */
		need->blocks += 2 * (uint64_t)st.st_size / block_size + BESIDE_BLOCKS;
		need->inodes += BESIDE_BLOCKS;
	}
	if (own->count > 0) {
		need->blocks += own->count * RECORD_BYTES / block_size;
		own_plan_identity(OWN_SET_AFFIX, &identity);
		need->created = MAX(need->created, identity.created);
	}
	return COMMAND_DONE;
}

/* Before the libraries: those of another machine are no reason to install some. */
static int check_platform(const struct image_work *work, const struct bundle *bundle)
{
	struct refusal refusal = REFUSAL_INIT;
	struct tree tree;
	int r = tree_open(work->excerpt.path, false, &tree);

	if (r < 0)
		return command_broke(r, "the image's copy could not be opened");
	r = platform_check(&tree, &bundle->identity, &refusal);
	tree_done(&tree);
	return r == 0 ? COMMAND_DONE : command_refuse(&refusal);
}

static int join(const struct strv *list, const char *between, struct buffer *ret)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < list->count; i++)
		r = buffer_format(ret, "%s%s", i > 0 ? between : "", list->items[i]);
	return r;
}

/* All that the programs would miss in the image, in one sentence. */
static int check_libraries(struct edit *edit, const struct bundle *bundle)
{
	cleanup_libraries struct libraries found = LIBRARIES_INIT;
	cleanup_buffer struct buffer missing = BUFFER_INIT;
	cleanup_buffer struct buffer old = BUFFER_INIT;
	cleanup_buffer struct buffer unreadable = BUFFER_INIT;
	int r = 0;

	for (size_t i = 0; r == 0 && i < bundle->n_entries; i++)
		r = libraries_find(edit, bundle->entries[i].fd, bundle->entries[i].name, &found);
	if (r == -EBADMSG)
		return command_error("affix's own programs are no ELF files that can be read; "
				     "install affix anew");
	if (r == 0)
		r = join(&found.missing, ", ", &missing);
	if (r == 0)
		r = join(&found.old, ", ", &old);
	if (r == 0)
		r = join(&found.unreadable, ", ", &unreadable);
	if (r < 0)
		return command_broke(r, "the libraries of the image could not be looked for");
	if (found.missing.count > 0)
		return command_error("affix's programs need libraries that '%s' lacks: %s; install "
				     "their packages in the image first",
				     edit->path, missing.data);
	if (found.unreadable.count > 0)
		return command_error("files of '%s' that affix's programs need cannot be read as "
				     "libraries: %s; install their packages in the image anew",
				     edit->path, unreadable.data);
	if (found.old.count > 0)
		return command_error("the libraries of '%s' are too old for affix's programs: %s; "
				     "upgrade the image, or put in an affix that was built for it",
				     edit->path, old.data);
	return COMMAND_DONE;
}

static int ask(struct image_own *own, size_t i, struct image_work *work, struct engine_own *engine)
{
	const int none[REQUEST_FD_N] = {-EBADF, -EBADF, -EBADF};
	struct request request = {.verb = REQUEST_INSTALL, .allow_downgrade = own->allow_downgrade};
	struct engine_call call = {.request = &request,
				   .fds = none,
				   .root = work->excerpt.path,
				   .is_copy = true,
				   .is_admin = true,
				   .trust_dirfd = -EBADF,
				   .own = engine};
	int r;

	(void)snprintf(request.id, sizeof(request.id), "%s", own->sets[i]);
	r = engine_execute(&call, &own->results[i]);
	if (r < 0)
		return command_broke(r, "affix could not be put into the image");
	if (own->results[i].outcome != RESULT_DONE)
		command_complain(own->results[i].name, own->results[i].message);
	return result_exit_code(&own->results[i]);
}

static int install(struct image_own *own, size_t i, struct image_work *work,
		   const struct own_place *place)
{
	CLEANUP(own_plan_done) struct engine_own engine = {0};
	struct refusal refusal = REFUSAL_INIT;
	int code;
	int r = own_plan_make(&own->files, own->sets[i], place, &engine, &refusal);

	if (r > 0)
		return command_refuse(&refusal);
	if (r < 0)
		return command_broke(r, "the plan of affix's own files could not be made");
	code = check_platform(work, engine.bundle);
	if (code == COMMAND_DONE)
		code = check_libraries(&work->edit, engine.bundle);
	return code == COMMAND_DONE ? ask(own, i, work, &engine) : code;
}

/* What the image has of affix itself, *ret* NULL where it has nothing. 0; refused; -errno. */
static int load_record(const struct image_work *work, struct record **ret,
		       struct refusal *reterr_refusal)
{
	CLEANUP(tree_done) struct tree tree = {.rootfd = -EBADF};
	cleanup_store struct store store = {.dirfd = -EBADF};
	int r = tree_open(work->excerpt.path, false, &tree);

	if (r < 0)
		return r;
	tree.is_copy = true;
	r = store_open(&tree, false, &store);
	if (r == 0)
		r = store_load(&store, OWN_SET_AFFIX, ret, reterr_refusal);
	return r == -ENOENT ? 0 : r;
}

static int install_all(struct image_own *own, struct image_work *work, struct own_place *place)
{
	cleanup_record struct record *record = NULL;
	struct refusal refusal = REFUSAL_INIT;
	int code = COMMAND_DONE;
	int r = own->with_affix && !own->has_trust ? load_record(work, &record, &refusal) : 0;

	if (r > 0)
		return command_refuse(&refusal);
	if (r < 0)
		return command_broke(r, "what the image has of affix could not be read");
	place->keys = record ? record->current : NULL;
	for (size_t i = 0; code == COMMAND_DONE && i < own->count; i++)
		code = install(own, i, work, place);
	return code;
}

int image_own_install(struct image_own *own, struct image_work *work)
{
	cleanup_fd int spool = -EBADF;
	struct own_place place = {.trust = own->trust};

	if (own->count == 0)
		return COMMAND_DONE;
	place.uuid = work->edit.fs->super->s_uuid;
	place.has_resolver = edit_resolve(&work->edit, "/usr/lib/systemd/systemd-resolved", NULL,
					  NULL, NULL) == 0;
	spool = openat(work->excerpt.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (spool < 0)
		return command_broke(-errno, "the image's copy could not be opened");
	place.spool_fd = spool;
	(void)umask(S_IWGRP | S_IWOTH);
	return install_all(own, work, &place);
}

int image_own_to_json(const struct image_own *own, json_t *json)
{
	json_t *list = json_array();
	int r = json_add(json, "results", list);

	for (size_t i = 0; r == 0 && i < own->count; i++)
		r = json_append(list, result_to_json(&own->results[i]));
	return r;
}

void image_own_show(const struct image_own *own)
{
	for (size_t i = 0; i < own->count; i++)
		(void)printf("%s\n", own->results[i].message);
}
