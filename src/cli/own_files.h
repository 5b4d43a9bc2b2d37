/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <errno.h>
#include <stddef.h>

#include "base/cleanup.h"

/*
 * affix's own files, as its build lists them (units/meson.build): what is installed on a host, and
 * what a virtual machine's guest gets. One list serves `make install` and images.
 */
enum own_file_kind {
	OWN_FILE_PROGRAM,
	OWN_FILE_TEXT,
	OWN_FILE_LINK,
	OWN_FILE_KIND_N,
};

struct own_file {
	enum own_file_kind kind;
	char *set;    /* the id of the plan that has it */
	char *path;   /* in an image */
	char *source; /* where it lies in the tree of the running program; of a link, its target */
};

struct own_files {
	struct own_file *items;
	size_t count;
	char *list; /* the list's path in that tree */
	char *root; /* the tree's path, "" for / */
	int rootfd;
};

#define OWN_FILES_INIT           \
	(struct own_files)       \
	{                        \
		.rootfd = -EBADF \
	}

/* Finds the list that belongs to the running program, in its build directory or beside the other
 * installed files, and reads it. COMMAND_DONE, or an exit code after a line on stderr. */
must_check int own_files_load(struct own_files *ret);
/* A source, or the list itself; links lead where they do in a system whose root the tree is. It
 * must be regular. 0 or -errno. */
must_check int own_files_open(const struct own_files *files, const char *source, int *ret_fd);
must_check int own_files_read(const struct own_files *files, const char *source, size_t max,
			      char **ret_data, size_t *ret_size);
void own_files_done(struct own_files *files);
#define cleanup_own_files CLEANUP(own_files_done)
