/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `affix build`: source directory and programs to bundles. Everything is judged before a byte is
 * written; each bundle is then read back as a host would read it, and only when all of them pass do
 * they get their names.
 */

#include "bundle/build.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "bundle/bundle.h"
#include "bundle/contents.h"
#include "bundle/elf_head.h"
#include "bundle/output.h"
#include "bundle/pack.h"
#include "bundle/source.h"
#include "bundle/tar.h"

#define BINARIES_MAX 16U

/* A file that a bundle takes as it is. */
struct build_file {
	const char *path;
	const char *name;
	int fd;
	uint64_t size;
};

/* What is made for one `--bin`. */
struct build_target {
	const struct build_binary *binary;
	struct build_file file;
	char *name; /* of the bundle */
	struct output output;
};

struct build {
	struct source *source;
	struct build_file *files; /* --entry */
	size_t n_files;
	struct build_target *targets;
	size_t n_targets;
	struct diagnostics *diagnostics;
};

static void build_done(struct build *build)
{
	for (size_t i = 0; build->files && i < build->n_files; i++)
		(void)fd_close(build->files[i].fd);
	for (size_t i = 0; build->targets && i < build->n_targets; i++) {
		(void)fd_close(build->targets[i].file.fd);
		free(build->targets[i].name);
		output_done(&build->targets[i].output);
	}
	free(build->files);
	free(build->targets);
	(void)source_free(build->source);
}

static int report(struct build *build, enum refusal_code code, const char *path, const char *text)
{
	return diagnostics_add(build->diagnostics, code, path, 1, 1, "%s", text);
}

/* Opens a file of the command line. What cannot be packed is a diagnostic, and leaves no fd. */
static int open_file(struct build *build, const char *path, const char *name,
		     struct build_file *file)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	struct stat status;

	*file = (struct build_file){.path = path, .name = name, .fd = -EBADF};
	if (fd < 0 || fstat(fd, &status) < 0)
		return diagnostics_add(build->diagnostics, REFUSAL_MISSING_ENTRY, path, 1, 1,
				       "the file cannot be opened: %s", strerrordesc_np(errno));
	if (!S_ISREG(status.st_mode))
		return report(build, REFUSAL_BAD_ENTRY_TYPE, path,
			      "this is no regular file: a bundle holds nothing else");
	if ((uint64_t)status.st_size > BUNDLE_ENTRY_SIZE_MAX)
		return diagnostics_add(build->diagnostics, REFUSAL_ENTRY_TOO_LARGE, path, 1, 1,
				       "the file has %llu bytes: expected at most %llu",
				       (unsigned long long)status.st_size, BUNDLE_ENTRY_SIZE_MAX);
	file->size = (uint64_t)status.st_size;
	file->fd = TAKE_FD(fd);
	return 0;
}

static int open_entries(struct build *build, const struct strv *paths)
{
	build->files = calloc(paths->count + 1, sizeof(*build->files));
	if (!build->files)
		return -ENOMEM;
	for (size_t i = 0; i < paths->count; i++) {
		const char *path = paths->items[i];
		int r = open_file(build, path, path_last_name(path), &build->files[i]);

		if (r < 0)
			return r;
		build->n_files++;
	}
	return 0;
}

/* The program has to be what its `--bin` says, and the manifest has to want it. */
static int check_program(struct build *build, const struct build_target *target)
{
	const struct build_binary *binary = target->binary;
	struct refusal refusal = REFUSAL_INIT;
	uint8_t head[ELF_HEAD_SIZE];
	size_t n = 0;
	int r;

	if (!strv_has(&build->source->manifest->platforms, binary->os)) {
		r = diagnostics_add(build->diagnostics, REFUSAL_WRONG_PLATFORM, binary->path, 1, 1,
				    "'%s' is not among requires.platforms of the manifest",
				    binary->os);
		if (r < 0)
			return r;
	}
	if (target->file.fd < 0)
		return 0;
	r = fd_pread_full(target->file.fd, head, sizeof(head), 0, &n);
	if (r < 0)
		return r;
	r = elf_head_check(head, n, binary->os, binary->arch, build->source->manifest->exec_binary,
			   &refusal);
	return r <= 0 ? r : report(build, refusal.code, binary->path, refusal.text);
}

static int name_bundle(const struct build *build, struct build_target *target)
{
	const struct manifest *manifest = build->source->manifest;
	struct identity identity = {};

	(void)snprintf(identity.id, sizeof(identity.id), "%s", manifest->id);
	(void)snprintf(identity.version, sizeof(identity.version), "%s", manifest->version);
	(void)snprintf(identity.os, sizeof(identity.os), "%s", target->binary->os);
	(void)snprintf(identity.arch, sizeof(identity.arch), "%s", target->binary->arch);
	return identity_file_name(&identity, &target->name);
}

static int open_target(struct build *build, const struct build_binary *binary)
{
	struct build_target *target = &build->targets[build->n_targets];
	int r;

	target->output = OUTPUT_INIT;
	target->file.fd = -EBADF;
	target->binary = binary;
	build->n_targets++;
	for (size_t i = 0; i + 1 < build->n_targets; i++) {
		const struct build_binary *other = build->targets[i].binary;

		if (str_equal(other->os, binary->os) && str_equal(other->arch, binary->arch))
			return diagnostics_add(build->diagnostics, REFUSAL_DUPLICATE_ENTRY,
					       binary->path, 1, 1,
					       "%s/%s was given before, with '%s'", binary->os,
					       binary->arch, other->path);
	}
	if (!manifest_platform_is_known(binary->os, binary->arch))
		return diagnostics_add(build->diagnostics, REFUSAL_WRONG_PLATFORM, binary->path, 1,
				       1,
				       "'%s/%s' is not known: expected linux/amd64 or linux/arm64",
				       binary->os, binary->arch);
	r = open_file(build, binary->path, build->source->manifest->exec_binary, &target->file);
	if (r == 0)
		r = check_program(build, target);
	return r < 0 ? r : name_bundle(build, target);
}

static int open_targets(struct build *build, const struct build_binary *binaries, size_t n)
{
	build->targets = calloc(n, sizeof(*build->targets));
	if (!build->targets)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		int r = open_target(build, &binaries[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

static int compare_entries(const void *a, const void *b)
{
	const struct pack_entry *x = a;
	const struct pack_entry *y = b;
	bool x_first = strcmp(x->name, MANIFEST_NAME) == 0;
	bool y_first = strcmp(y->name, MANIFEST_NAME) == 0;

	if (x_first != y_first)
		return x_first ? -1 : 1;
	return strcmp(x->name, y->name);
}

static struct pack_entry pack_file(const struct build_file *file, bool is_executable)
{
	return (struct pack_entry){.name = file->name,
				   .fd = file->fd,
				   .size = file->size,
				   .is_executable = is_executable};
}

/* The entries of one target's bundle in their order; the caller frees them. */
static int list_entries(const struct build *build, const struct build_target *target,
			struct pack_entry **ret, size_t *ret_count)
{
	const struct source *source = build->source;
	size_t count = source->n_texts + build->n_files + 1;
	struct pack_entry *entries = calloc(count, sizeof(*entries));
	size_t n = 0;

	if (!entries)
		return -ENOMEM;
	for (size_t i = 0; i < source->n_texts; i++)
		entries[n++] = (struct pack_entry){.name = source->texts[i].name,
						   .data = source->texts[i].text,
						   .fd = -EBADF,
						   .size = source->texts[i].size};
	for (size_t i = 0; i < build->n_files; i++)
		entries[n++] = pack_file(&build->files[i], false);
	entries[n++] = pack_file(&target->file, true);
	qsort(entries, n, sizeof(*entries), compare_entries);
	*ret = entries;
	*ret_count = n;
	return 0;
}

/* What a tar header cannot hold; the rest of what makes a name bad the reader knows. */
static int check_names(struct build *build, const struct pack_entry *entries, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct refusal refusal = REFUSAL_INIT;
		int r = contents_check_name(entries[i].name, &refusal);

		if (r == 0 && strlen(entries[i].name) > TAR_NAME_MAX)
			r = refuse(&refusal, REFUSAL_BAD_ENTRY_NAME,
				   "an entry's name may have at most %u bytes", TAR_NAME_MAX);
		if (r > 0)
			r = report(build, refusal.code, entries[i].name, refusal.text);
		if (r < 0)
			return r;
	}
	return 0;
}

static int has_problems(const struct build *build)
{
	return build->diagnostics->count > 0 ? 1 : 0;
}

/* Writes a target's bundle and reads it back. 0; 1 with diagnostics; -errno. */
static int make_target(struct build *build, struct build_target *target, int out_dirfd)
{
	cleanup_free struct pack_entry *entries = NULL;
	cleanup_bundle struct bundle *bundle = NULL;
	struct refusal refusal = REFUSAL_INIT;
	size_t n = 0;
	int r = list_entries(build, target, &entries, &n);

	if (r == 0)
		r = check_names(build, entries, n);
	if (r < 0 || has_problems(build))
		return r < 0 ? r : 1;
	r = output_open(&target->output, out_dirfd, target->name, OUTPUT_MODE);
	if (r == 0)
		r = pack_write(target->output.fd, entries, n);
	if (r < 0)
		return r;
	r = bundle_open(target->output.fd, NULL, NULL, &bundle, &refusal);
	if (r > 0)
		r = report(build, refusal.code, target->name, refusal.text);
	return r < 0 ? r : has_problems(build);
}

/* All bundles get their names, or none. */
static int publish(struct build *build, int out_dirfd)
{
	int r = 0;

	for (size_t i = 0; i < build->n_targets && r == 0; i++)
		r = output_publish(&build->targets[i].output, build->targets[i].name);
	if (r == 0 && fsync(out_dirfd) < 0)
		r = -errno;
	for (size_t i = 0; i < build->n_targets && r < 0; i++)
		output_retract(&build->targets[i].output);
	return r;
}

static int make_all(struct build *build, const char *out_dir, struct strv *ret_paths)
{
	cleanup_strv struct strv paths = STRV_INIT;
	cleanup_fd int out_dirfd = open(out_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = out_dirfd < 0 ? -errno : 0;

	for (size_t i = 0; i < build->n_targets && r == 0; i++) {
		cleanup_free char *path = NULL;

		r = make_target(build, &build->targets[i], out_dirfd);
		if (r == 0)
			r = str_format(&path, "%s/%s", out_dir, build->targets[i].name);
		if (r == 0)
			r = strv_add(&paths, path);
	}
	if (r == 0)
		r = publish(build, out_dirfd);
	if (r != 0)
		return r;
	*ret_paths = paths;
	paths = STRV_INIT;
	return 0;
}

/* The directory for the bundles is made where it is missing, and goes again where nothing came of
 * them. */
static int make_into(struct build *build, const char *out_dir, struct strv *ret_paths)
{
	bool is_new = mkdir(out_dir, 0777) == 0;
	int r;

	if (!is_new && errno != EEXIST)
		return -errno;
	r = make_all(build, out_dir, ret_paths);
	if (r != 0 && is_new) {
		for (size_t i = 0; i < build->n_targets; i++)
			output_done(&build->targets[i].output);
		(void)rmdir(out_dir);
	}
	return r;
}

int build_bundles(const char *dir, const struct build_binary *binaries, size_t n_binaries,
		  const struct strv *entries, const char *out_dir, struct strv *ret_paths,
		  struct diagnostics *diagnostics)
{
	CLEANUP(build_done) struct build build = {.diagnostics = diagnostics};
	int r;

	if (n_binaries == 0 || n_binaries > BINARIES_MAX)
		return -EINVAL;
	r = source_load(dir, &build.source, diagnostics);
	if (r == 0)
		r = open_entries(&build, entries);
	if (r == 0 && build.source->manifest)
		r = open_targets(&build, binaries, n_binaries);
	if (r == 0)
		r = has_problems(&build) ? 1 : make_into(&build, out_dir, ret_paths);
	if (r >= 0)
		diagnostics_sort(diagnostics);
	return r;
}
