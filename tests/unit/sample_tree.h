/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/path.h"
#include "plan/tree.h"

/* A tree in /tmp that is not running. Whatever fails here fails the whole program. */
struct sample_tree {
	char path[64];
	struct tree tree;
};

static inline void sample_check(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		abort();
	}
}

static inline struct sample_tree *sample_tree_new(void)
{
	struct sample_tree *sample = calloc(1, sizeof(*sample));

	sample_check(sample != NULL, "calloc");
	(void)snprintf(sample->path, sizeof(sample->path), "/tmp/affix-tree-XXXXXX");
	sample_check(mkdtemp(sample->path) != NULL, "mkdtemp");
	sample_check(tree_open(sample->path, false, &sample->tree) == 0, "tree_open");
	return sample;
}

static inline void sample_tree_free(struct sample_tree *sample)
{
	cleanup_fd int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	tree_done(&sample->tree);
	sample_check(tree_remove(tmp, path_last_name(sample->path)) == 0, "tree_remove");
	free(sample);
}

static inline void sample_mkdir(const struct sample_tree *sample, const char *path)
{
	sample_check(mkdirat(sample->tree.rootfd, path, 0755) == 0, path);
}

static inline void sample_link(const struct sample_tree *sample, const char *path,
			       const char *target)
{
	sample_check(symlinkat(target, sample->tree.rootfd, path) == 0, path);
}

static inline void sample_write(const struct sample_tree *sample, const char *path,
				const char *text, mode_t mode)
{
	cleanup_fd int fd =
		openat(sample->tree.rootfd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	sample_check(fd >= 0 && fd_write_full(fd, text, strlen(text)) == 0 && fchmod(fd, mode) == 0,
		     path);
}

/* The text of a file, for the caller to free; NULL if there is none. */
static inline char *sample_read(const struct sample_tree *sample, const char *path)
{
	char *text = NULL;

	return fd_read_file_at(sample->tree.rootfd, path, 1U << 20, &text, NULL) < 0 ? NULL : text;
}

/* 0 or -errno. */
static inline int sample_add_user(const struct sample_tree *sample, const char *name,
				  const char *gecos)
{
	cleanup_user_addition struct user_addition *addition = NULL;
	int r = user_addition_prepare(&sample->tree, name, gecos, "/", &addition);

	return r < 0 ? r : user_addition_publish(addition);
}
