/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/cleanup.h"

/* A file that gets its name when it is complete, and leaves nothing behind where it never is; of a
 * killed process, what the next one of the same name removes. */
struct output {
	int dirfd;
	int fd;
	char *temporary; /* its name until then, on file systems without unnamed files */
	char *published; /* its name, once it has one that nothing had before */
};

#define OUTPUT_INIT                           \
	(struct output)                       \
	{                                     \
		.dirfd = -EBADF, .fd = -EBADF \
	}

#define OUTPUT_MODE         0644
#define OUTPUT_MODE_PRIVATE 0600

/* Makes the file in *dirfd*, of this mode whatever the umask. *name* is what it will be called. 0
 * or -errno. */
must_check int output_open(struct output *output, int dirfd, const char *name, mode_t mode);

/* What takes long of output_publish(), for many files that are to get their names at once. */
must_check int output_sync(const struct output *output);

/* Syncs it and gives it its name, in place of what had it before. The directory is the caller's to
 * sync. 0; -ESTALE where somebody put another file under the temporary name; -errno. */
must_check int output_publish(struct output *output, const char *name);

/* Takes the name away again, unless another file had it before: that cannot come back, and this one
 * is no worse. */
void output_retract(struct output *output);

void output_done(struct output *output);
#define cleanup_output CLEANUP(output_done)
