/* SPDX-License-Identifier: Apache-2.0 */

/* Files that are there whole or not at all: without a name (O_TMPFILE) until they are synced, where
 * the file system can; else under a temporary name. */

#include "bundle/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"

#define OUTPUT_MODE 0644

static int open_named(struct output *output, const char *name)
{
	output->temporary = file_temporary_name(name);
	if (!output->temporary)
		return -ENOMEM;
	/* Left by a process that was killed here. */
	if (unlinkat(output->dirfd, output->temporary, 0) < 0 && errno != ENOENT)
		return -errno;
	output->fd = openat(output->dirfd, output->temporary,
			    O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, OUTPUT_MODE);
	return output->fd < 0 ? -errno : 0;
}

int output_open(struct output *output, int dirfd, const char *name)
{
	*output = OUTPUT_INIT;
	output->dirfd = dirfd;
	output->fd = openat(dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, OUTPUT_MODE);
	if (output->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
		int r = open_named(output, name);

		if (r < 0)
			return r;
	}
	if (output->fd < 0 || fchmod(output->fd, OUTPUT_MODE) < 0)
		return -errno;
	return 0;
}

/* Names the unnamed file; a name that is taken is only taken over by rename(). */
static int link_file(struct output *output, const char *name)
{
	char self[64];

	(void)snprintf(self, sizeof(self), "/proc/self/fd/%d", output->fd);
	if (linkat(AT_FDCWD, self, output->dirfd, name, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	output->temporary = file_temporary_name(name);
	if (!output->temporary)
		return -ENOMEM;
	if ((unlinkat(output->dirfd, output->temporary, 0) < 0 && errno != ENOENT) ||
	    linkat(AT_FDCWD, self, output->dirfd, output->temporary, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	return 0;
}

int output_publish(struct output *output, const char *name)
{
	cleanup_free char *published = strdup(name);

	if (!published)
		return -ENOMEM;
	if (fsync(output->fd) < 0)
		return -errno;
	if (!output->temporary) {
		int r = link_file(output, name);

		if (r < 0)
			return r;
	}
	if (output->temporary) {
		if (renameat(output->dirfd, output->temporary, output->dirfd, name) < 0)
			return -errno;
		free(output->temporary);
		output->temporary = NULL;
	}
	output->published = TAKE_PTR(published);
	return 0;
}

void output_retract(struct output *output)
{
	if (output->published)
		(void)unlinkat(output->dirfd, output->published, 0);
}

void output_done(struct output *output)
{
	if (output->temporary)
		(void)unlinkat(output->dirfd, output->temporary, 0);
	free(output->temporary);
	free(output->published);
	(void)fd_close(output->fd);
	*output = OUTPUT_INIT;
}
