/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Plans of affix itself: the list of its files, the operator's keys, and, for the guest of a
 * virtual machine, the few files that every machine has of its own. systemd-sysusers does not run
 * where /etc/.updated is fresh, so the user is the plan's; the directories of tmpfiles.d are made
 * at each boot, and in the plan all the same, so that the tree is complete before the first one.
 */

#include "cli/own_plan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/path.h"
#include "bundle/spool.h"
#include "cli/command.h"
#include "cli/verify.h"
#include "plan/plan_objects.h"
#include "plan/plan_own.h"

#define TEXT_SIZE_MAX  (256UL * 1024)
#define TRUST_IN_IMAGE "/etc/affix/trust.d"
#define TMPFILES       "/usr/lib/tmpfiles.d/"
#define RESOLVER_STUB  "../run/systemd/resolve/stub-resolv.conf"
/* The resolver of QEMU's user-mode network. */
#define RESOLVER_QEMU "# Of QEMU's user-mode network.\nnameserver 10.0.2.3\n"

void own_plan_done(struct engine_own *own)
{
	own->plan = plan_free(own->plan);
	own->bundle = bundle_free(own->bundle);
}

void own_plan_identity(const char *set, struct identity *ret)
{
	*ret = (struct identity){.created = AFFIX_BUILD_TIME};
	(void)snprintf(ret->id, sizeof(ret->id), "%s", set);
	(void)snprintf(ret->version, sizeof(ret->version), "%s", AFFIX_VERSION);
	(void)snprintf(ret->os, sizeof(ret->os), "linux");
	(void)snprintf(ret->arch, sizeof(ret->arch), "%s", manifest_native_arch());
}

/* A file of the list that is not there is named, and what to do. */
static int refuse_missing(const struct own_files *files, const struct own_file *file, int error,
			  struct refusal *reterr_refusal)
{
	return refuse(reterr_refusal, REFUSAL_NOT_INSTALLED,
		      "'%s%s' of affix's own files, for '%s' in the image, cannot be read: %s; "
		      "'%s%s' lists them, install or build affix whole",
		      files->root, file->source, file->path, strerrordesc_np(-error), files->root,
		      files->list);
}

static int copy(int from, struct spool *spool, struct refusal *reterr_refusal)
{
	char buffer[64 * 1024];
	size_t n = 0;
	int r;

	do {
		r = fd_read_full(from, buffer, sizeof(buffer), &n);
		if (r == 0)
			r = spool_add(spool, buffer, n, reterr_refusal);
	} while (r == 0 && n == sizeof(buffer));
	return r;
}

/* gcc 12's analyzer takes for lost what is kept behind the bundle. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

static int add_program(const struct own_files *files, const struct own_file *file, int spool_fd,
		       struct bundle *bundle, struct refusal *reterr_refusal)
{
	struct bundle_entry *entry = &bundle->entries[bundle->n_entries];
	cleanup_spool struct spool spool = SPOOL_INIT;
	cleanup_fd int from = -EBADF;
	int r = own_files_open(files, file->source, &from);

	if (r < 0)
		return refuse_missing(files, file, r, reterr_refusal);
	*entry = (struct bundle_entry){
		.name = strdup(path_last_name(file->path)), .is_binary = true, .fd = -EBADF};
	bundle->n_entries++;
	if (!entry->name)
		return -ENOMEM;
	r = spool_open(&spool, spool_fd, 0, 0, reterr_refusal);
	if (r == 0)
		r = copy(from, &spool, reterr_refusal);
	if (r != 0)
		return r;
	entry->fd = spool_take(&spool);
	r = digest_of_fd(entry->fd, &entry->digest, &entry->size);
	bundle->size += entry->size;
	return r;
}

#pragma GCC diagnostic pop

/* There is no bundle whose digest it could be: the entries say what it is. */
static void digest_entries(struct bundle *bundle)
{
	struct digest_state state;

	digest_begin(&state);
	digest_add(&state, bundle->identity.id, strlen(bundle->identity.id) + 1);
	for (size_t i = 0; i < bundle->n_entries; i++) {
		const struct bundle_entry *entry = &bundle->entries[i];

		digest_add(&state, entry->name, strlen(entry->name) + 1);
		digest_add(&state, &entry->digest, sizeof(entry->digest));
	}
	digest_end(&state, &bundle->digest);
}

static int make_bundle(const struct own_files *files, const char *set, int spool_fd,
		       struct bundle **ret, struct refusal *reterr_refusal)
{
	cleanup_bundle struct bundle *bundle = calloc(1, sizeof(*bundle));
	int r = 0;

	if (!bundle)
		return -ENOMEM;
	own_plan_identity(set, &bundle->identity);
	bundle->entries = calloc(files->count + 1, sizeof(*bundle->entries));
	if (!bundle->entries)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < files->count; i++) {
		const struct own_file *file = &files->items[i];

		if (file->kind == OWN_FILE_PROGRAM && strcmp(file->set, set) == 0)
			r = add_program(files, file, spool_fd, bundle, reterr_refusal);
	}
	if (r != 0)
		return r;
	digest_entries(bundle);
	*ret = TAKE_PTR(bundle);
	return 0;
}

/* `d PATH MODE USER GROUP …` of tmpfiles.d(5); what is not below /run is there before a boot. */
static int add_tmpfiles_line(struct plan *plan, char *line)
{
	char *fields[5] = {NULL};
	size_t n = 0;
	int r;

	for (char *field; n < ARRAY_SIZE(fields) && (field = strsep(&line, " \t"));) {
		if (*field)
			fields[n++] = field;
	}
	if (n < ARRAY_SIZE(fields) || strcmp(fields[0], "d") != 0 ||
	    str_starts_with(fields[1], "/run/"))
		return 0;
	r = plan_add_parents(plan, fields[1]);
	return r < 0 ? r
		     : plan_add_directory_of(plan, fields[1], (mode_t)strtoul(fields[2], NULL, 8),
					     fields[3], fields[4]);
}

static int add_directories(struct plan *plan, char *tmpfiles)
{
	int r = 0;

	for (char *line; r == 0 && (line = strsep(&tmpfiles, "\n"));)
		r = add_tmpfiles_line(plan, line);
	return r;
}

static int add_text(const struct own_files *files, const struct own_file *file, struct plan *plan,
		    struct refusal *reterr_refusal)
{
	cleanup_free char *text = NULL;
	size_t size = 0;
	int r = own_files_read(files, file->source, TEXT_SIZE_MAX, &text, &size);

	if (r == 0 && strlen(text) != size)
		r = -EILSEQ;
	if (r < 0)
		return refuse_missing(files, file, r, reterr_refusal);
	r = plan_add_text(plan, file->path, 0644, text);
	if (r == 0 && str_starts_with(file->path, TMPFILES))
		r = add_directories(plan, text);
	return r;
}

/* A program is reached by a link to what stands in the version directory. */
static int add_program_link(const struct own_file *file, struct plan *plan)
{
	cleanup_free char *target = NULL;
	int r = str_format(&target, "/opt/affix/%s/current/%s", file->set,
			   path_last_name(file->path));

	return r < 0 ? r : plan_add_link(plan, file->path, target);
}

static int add_files(const struct own_files *files, const char *set, struct plan *plan,
		     struct refusal *reterr_refusal)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < files->count; i++) {
		const struct own_file *file = &files->items[i];

		if (strcmp(file->set, set) != 0)
			continue;
		r = plan_add_parents(plan, file->path);
		if (r == 0 && file->kind == OWN_FILE_PROGRAM)
			r = add_program_link(file, plan);
		else if (r == 0 && file->kind == OWN_FILE_TEXT)
			r = add_text(files, file, plan, reterr_refusal);
		else if (r == 0)
			r = plan_add_link(plan, file->path, file->source);
	}
	return r;
}

static int add_trust_file(struct plan *plan, int directory, const char *key, const char *suffix)
{
	cleanup_free char *name = NULL;
	cleanup_free char *path = NULL;
	cleanup_free char *text = NULL;
	size_t size = 0;
	int r = str_format(&name, "%s%s", key, suffix);

	if (r == 0)
		r = str_format(&path, TRUST_IN_IMAGE "/%s", name);
	if (r == 0)
		r = fd_read_file_at(directory, name, TEXT_SIZE_MAX, &text, &size);
	if (r == 0)
		r = plan_add_parents(plan, path);
	return r < 0 ? r : plan_add_text(plan, path, 0644, text);
}

static int load_trust(const char *place, struct trust **ret, struct refusal *reterr_refusal)
{
	int r = verify_load_trust(NULL, place, ret, reterr_refusal);

	if (r > 0 || (r == 0 && (*ret)->n_keys > 0))
		return r;
	return refuse(reterr_refusal, REFUSAL_NO_TRUSTED_KEY,
		      "'%s' has no key for the image to trust, expected a directory of NAME.pub; "
		      "name another with --trust",
		      place);
}

int own_plan_check_trust(const char *trust, struct refusal *reterr_refusal)
{
	cleanup_trust struct trust *loaded = NULL;

	return load_trust(trust, &loaded, reterr_refusal);
}

/* The keys that are trusted here, with their policies. */
static int add_trust(struct plan *plan, const char *place, struct refusal *reterr_refusal)
{
	cleanup_trust struct trust *trust = NULL;
	cleanup_fd int directory = -EBADF;
	int r = load_trust(place, &trust, reterr_refusal);

	if (r != 0)
		return r;
	directory = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0)
		return -errno;
	for (size_t i = 0; r == 0 && i < trust->n_keys; i++) {
		const struct trust_key *key = &trust->keys[i];

		r = add_trust_file(plan, directory, key->name, ".pub");
		if (r == 0 && key->has_policy)
			r = add_trust_file(plan, directory, key->name, ".policy.yaml");
	}
	return r;
}

/* The keys that the image trusts already. */
static int keep_trust(struct plan *plan, const struct plan *old)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < old->n_objects; i++) {
		const struct plan_object *object = &old->objects[i];

		if (object->type != PLAN_FILE || !object->content ||
		    !str_starts_with(object->path, TRUST_IN_IMAGE "/"))
			continue;
		r = plan_add_parents(plan, object->path);
		if (r == 0)
			r = plan_add_text(plan, object->path, 0644, object->content);
	}
	return r;
}

static int add_own(struct plan *plan, const struct own_place *place, struct refusal *reterr_refusal)
{
	return place->keys ? keep_trust(plan, place->keys)
			   : add_trust(plan, place->trust, reterr_refusal);
}

static int add_fstab(struct plan *plan, const uint8_t *uuid)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	int r = buffer_format(&text, "UUID=");

	for (size_t i = 0; r == 0 && i < 16; i++)
		r = buffer_format(&text, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
				  uuid[i]);
	if (r == 0)
		r = buffer_format(&text, " / ext4 defaults,errors=remount-ro 0 1\n");
	return r < 0 ? r : plan_add_text_seed(plan, "/etc/fstab", text.data);
}

/* What is the machine's own. */
static int add_seeds(struct plan *plan, const struct own_place *place)
{
	int r = add_fstab(plan, place->uuid);

	if (r == 0)
		r = plan_add_text_seed(plan, "/etc/hostname", "affix-vm\n");
	if (r == 0)
		r = plan_add_text_seed(plan, "/etc/machine-id", "");
	if (r < 0)
		return r;
	return place->has_resolver ? plan_add_link_seed(plan, "/etc/resolv.conf", RESOLVER_STUB)
				   : plan_add_text_seed(plan, "/etc/resolv.conf", RESOLVER_QEMU);
}

int own_plan_make(const struct own_files *files, const char *set, const struct own_place *place,
		  struct engine_own *ret, struct refusal *reterr_refusal)
{
	bool is_vm = strcmp(set, OWN_SET_VM) == 0;
	cleanup_bundle struct bundle *bundle = NULL;
	cleanup_plan struct plan *plan = NULL;
	int r = make_bundle(files, set, place->spool_fd, &bundle, reterr_refusal);

	if (r == 0)
		r = plan_begin_own(bundle, is_vm ? "root" : PLAN_OWN_USER, &plan);
	if (r == 0)
		r = add_files(files, set, plan, reterr_refusal);
	if (r == 0)
		r = is_vm ? add_seeds(plan, place) : add_own(plan, place, reterr_refusal);
	if (r != 0)
		return r;
	*ret = (struct engine_own){.plan = TAKE_PTR(plan), .bundle = TAKE_PTR(bundle)};
	return 0;
}
