/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/path.h"
#include "must.h"

/*
 * A directory for the files of a target, below $TMPDIR, or /dev/shm: syncs are for nothing here. It
 * goes at the end; a target that crashes has none, so that whoever expects crashes names a
 * directory of his own and removes it (fuzzing.py).
 */
static char scratch_path[256];

static inline void scratch_remove(void)
{
	const char *name = path_last_name(scratch_path);
	cleanup_free char *parent = strndup(scratch_path, (size_t)(name - scratch_path));
	cleanup_fd int fd = parent ? open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC) : -EBADF;

	ignore_result(tree_remove(fd, name));
}

/* Made once; the caller's descriptor of it. */
static inline int scratch_make(void)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nothing else runs yet */
	const char *base = getenv("TMPDIR");
	int n = snprintf(scratch_path, sizeof(scratch_path), "%s/affix-fuzz-XXXXXX",
			 base ? base : "/dev/shm");
	int fd;

	must(n > 0 && (size_t)n < sizeof(scratch_path));
	must(mkdtemp(scratch_path) != NULL && atexit(scratch_remove) == 0);
	fd = open(scratch_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(fd >= 0);
	return fd;
}
