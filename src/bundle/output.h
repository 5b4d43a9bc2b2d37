/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"

/* A file that gets its name when it is complete, and leaves nothing behind where it never is. */
struct output {
	int dirfd; /* borrowed */
	int fd;
	char *temporary; /* its name until then, on file systems without unnamed files */
	char *published; /* its name, once it has one */
};

#define OUTPUT_INIT          \
	(struct output)      \
	{                    \
		.fd = -EBADF \
	}

/* Makes the file in *dirfd*, mode 0644 whatever the umask. *name* is what it will be called. 0 or
 * -errno. */
must_check int output_open(struct output *output, int dirfd, const char *name);

/* Syncs it and gives it its name, in place of what had it before. The directory is the caller's to
 * sync. 0 or -errno. */
must_check int output_publish(struct output *output, const char *name);

/* Takes the name away again. */
void output_retract(struct output *output);

void output_done(struct output *output);
#define cleanup_output CLEANUP(output_done)
