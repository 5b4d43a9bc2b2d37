/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A file system that is damaged, on purpose or not: the input is a list of patches (where, 4 bytes;
 * how many bytes, 1; the bytes) for an image that mke2fs makes, without checksums, so that what is
 * damaged gets past them. It is looked at, and then changed. Nothing may crash or go on
 * for ever.
 */

#include <endian.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "ext4/edit_file.h"
#include "must.h"
#include "scratch.h"

#define IMAGE_SIZE   (192U << 10)
#define OBJECTS_MAX  64U
#define CONTENT_MAX  (64U << 10)
#define LONG_TARGET  300U
#define PATCH_HEADER 5U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t base[IMAGE_SIZE];
/* Where staged bytes are put meanwhile. */
static int workspace = -EBADF;

static void write_file(int dirfd, const char *name, size_t size)
{
	cleanup_fd int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	cleanup_free char *data = calloc(1, size + 1);

	must(fd >= 0 && data != NULL);
	memset(data, 'x', size);
	must(fd_write_full(fd, data, size) == 0);
}

static void make_tree(int dirfd)
{
	char target[LONG_TARGET + 1];
	char name[32];

	memset(target, 'x', LONG_TARGET);
	target[LONG_TARGET] = '\0';
	must(mkdirat(dirfd, "tree", 0755) == 0 && mkdirat(dirfd, "tree/dir", 0755) == 0);
	must(symlinkat("dir/deep", dirfd, "tree/short") == 0);
	must(symlinkat(target, dirfd, "tree/long") == 0);
	must(symlinkat("/loop", dirfd, "tree/loop") == 0);
	must(symlinkat("../../dir/./../dir", dirfd, "tree/dir/up") == 0);
	write_file(dirfd, "tree/dir/file", 5000);
	for (unsigned i = 0; i < 40; i++) {
		(void)snprintf(name, sizeof(name), "tree/dir/one-of-many-%u", i);
		write_file(dirfd, name, i);
	}
}

/* mke2fs makes the image once. */
static void make_base(void)
{
	char image[sizeof(scratch_path) + 8];
	char tree[sizeof(scratch_path) + 8];
	const char *const arguments[] = {
		"mke2fs", "-q",   "-F",
		"-t",     "ext4", "-b",
		"1024",   "-O",   "^has_journal,^metadata_csum,^resize_inode,uninit_bg",
		"-N",     "128",  "-d",
		tree,     image,  "192k",
		NULL};
	const char *const environment[] = {"E2FSPROGS_FAKE_TIME=1790000000", NULL};
	cleanup_fd int fd = -EBADF;
	size_t n = 0;
	int status = 0;
	pid_t child;

	workspace = scratch_make();
	(void)snprintf(image, sizeof(image), "%s/image", scratch_path);
	(void)snprintf(tree, sizeof(tree), "%s/tree", scratch_path);
	make_tree(workspace);
	must(posix_spawn(&child, "/sbin/mke2fs", NULL, NULL, (char **)arguments,
			 (char **)environment) == 0);
	must(waitpid(child, &status, 0) == child && status == 0);
	fd = open(image, O_RDONLY | O_CLOEXEC);
	must(fd >= 0 && fd_pread_full(fd, base, sizeof(base), 0, &n) == 0 && n == sizeof(base));
	must(tree_remove(workspace, "tree") == 0 && file_remove(workspace, "image", NULL) == 0);
}

static int make_image(const uint8_t *data, size_t size)
{
	cleanup_free uint8_t *image = malloc(IMAGE_SIZE);
	int fd = memfd_create("image", MFD_CLOEXEC);

	must(image != NULL && fd >= 0);
	memcpy(image, base, IMAGE_SIZE);
	while (size > PATCH_HEADER) {
		uint32_t offset = 0;
		size_t n = MIN((size_t)data[4], size - PATCH_HEADER);

		memcpy(&offset, data, sizeof(offset));
		offset = le32toh(offset) % IMAGE_SIZE;
		n = MIN(n, (size_t)(IMAGE_SIZE - offset));
		memcpy(image + offset, data + PATCH_HEADER, n);
		data += PATCH_HEADER + n;
		size -= PATCH_HEADER + n;
	}
	must(fd_write_full(fd, image, IMAGE_SIZE) == 0);
	return fd;
}

static int look_at(struct edit *edit, ext2_ino_t ino, int sink, ext2_ino_t *dirs, size_t *n_dirs)
{
	cleanup_free char *target = NULL;
	cleanup_free void *value = NULL;
	struct edit_stat st;
	size_t size = 0;
	int r = edit_stat(edit, ino, &st);

	if (r < 0)
		return r;
	ignore_result(edit_read_xattr(edit, ino, "security.capability", &value, &size));
	if (S_ISLNK(st.mode) && edit_read_link(edit, ino, &target) == 0)
		must(strlen(target) == st.size);
	if (S_ISREG(st.mode))
		ignore_result(edit_read_file(edit, ino, CONTENT_MAX, sink));
	if (S_ISDIR(st.mode) && *n_dirs < OBJECTS_MAX)
		dirs[(*n_dirs)++] = ino;
	return 0;
}

static void walk(struct edit *edit)
{
	cleanup_fd int sink = open("/dev/null", O_WRONLY | O_CLOEXEC);
	ext2_ino_t dirs[OBJECTS_MAX] = {EXT2_ROOT_INO};
	size_t n_dirs = 1;

	for (size_t i = 0; i < n_dirs; i++) {
		cleanup_strv struct strv names = STRV_INIT;

		if (edit_list(edit, dirs[i], &names) < 0)
			continue;
		for (size_t n = 0; n < MIN(names.count, (size_t)OBJECTS_MAX); n++) {
			ext2_ino_t ino = 0;

			must(strchr(names.items[n], '/') == NULL && names.items[n][0] != '\0');
			if (edit_lookup(edit, dirs[i], names.items[n], &ino) == 0)
				ignore_result(look_at(edit, ino, sink, dirs, &n_dirs));
		}
	}
}

static int visit(void *user, const char *path, const struct edit_stat *st, bool is_end)
{
	(void)user;
	(void)st;
	(void)is_end;
	must(strstr(path, "//") == NULL && strstr(path, "/../") == NULL);
	return 0;
}

static void resolve(struct edit *edit)
{
	static const char *const paths[] = {"/short/one-of-many-3",  "/long",       "/loop",
					    "dir/up/../dir/up/file", "/dir/file/x", "/"};
	const struct edit_visitor visitor = {.visit = visit};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		cleanup_free char *real = NULL;
		cleanup_free char *content = malloc(CONTENT_MAX);
		struct edit_stat st;

		if (edit_resolve(edit, paths[i], &visitor, &st, &real) < 0)
			continue;
		must(real[0] == '/' && content != NULL);
		ignore_result(edit_read_blocks(edit, st.ino, 0, content,
					       (size_t)MIN(st.size, (uint64_t)CONTENT_MAX)));
	}
}

static void change(struct edit *edit)
{
	const struct edit_attributes attributes = {.mode = 0750,
						   .uid = 70000,
						   .capability = "twenty bytes of this.",
						   .capability_size = 20};
	cleanup_strv struct strv swept = STRV_INIT;
	char content[EDIT_UNIT];
	const char *name = NULL;
	struct edit_place place;
	ext2_ino_t made = 0;
	ext2_ino_t dir = 0;

	if (edit_find_parent(edit, "/dir/file", &dir, &name) < 0)
		return;
	memcpy(content, base, 3000);
	if (edit_make_file(edit, dir, "new", 3000, &attributes, &made) == 0 &&
	    edit_write_blocks(edit, made, 0, content, 3000) == 0 &&
	    edit_want_blocks(edit, made, 0, 3000) == 0 && edit_settle(edit) == 0) {
		ignore_result(edit_find_place(edit, made, 0, 3000, &place));
		edit_fetch_blocks(edit);
		ignore_result(edit_read_blocks(edit, made, 0, content, 3000));
	}
	if (edit_lookup(edit, dir, name, &made) == 0 && edit_replace_content(edit, made, 2000) == 0)
		ignore_result(edit_write_blocks(edit, made, 0, content, 2000));
	ignore_result(edit_make_directory(edit, dir, "newer", &attributes, &made));
	ignore_result(edit_make_link(edit, dir, "newest", "target"));
	ignore_result(edit_remove(edit, dir, "one-of-many-39"));
	ignore_result(edit_sweep(edit, dir, "one-of-many-[12]*", &swept));
	ignore_result(edit_remove(edit, dir, name));
	ignore_result(edit_remove(edit, EXT2_ROOT_INO, "dir"));
	/* Larger than there is room for. */
	ignore_result(edit_make_file(edit, dir, "large", IMAGE_SIZE, &attributes, &made));
}

static void try_image(int fd, bool writable)
{
	cleanup_edit struct edit edit = EDIT_INIT;
	struct problem problem = PROBLEM_INIT;
	bool changed = false;

	edit.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	edit.place.size = IMAGE_SIZE;
	must(edit.fd >= 0);
	must(redo_open(edit.fd, workspace, writable ? "redo" : NULL, &edit.place, &edit.redo) == 0);
	if (edit_open_fs(&edit, "image", writable, &problem) != 0)
		return;
	if (!writable) {
		walk(&edit);
		resolve(&edit);
		return;
	}
	change(&edit);
	ignore_result(edit_flush(&edit, &changed));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_fd int fd = -EBADF;

	if (workspace < 0)
		make_base();
	fd = make_image(data, size);
	try_image(fd, false);
	try_image(fd, true);
	return 0;
}
