/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The redo file goes last: of a process that is killed in between, the new image and a redo file
 * are left that do not belong together, which redo_finish() sees. The other way round, the old
 * image would stay, half changed, with nothing to show it.
 */

#include "ext4/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>

#include "base/fd.h"
#include "base/str.h"
#include "ext4/lock.h"
#include "ext4/redo.h"

int image_replace_begin(int dirfd, const char *name, const char *path, int fd,
			struct image_replace *ret, struct problem *reterr_problem)
{
	cleanup_image_replace struct image_replace replace = IMAGE_REPLACE_INIT;
	int r;

	replace.dirfd = dirfd;
	if (str_format(&replace.redo_name, "%s" REDO_SUFFIX, name) < 0)
		return -ENOMEM;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	r = image_lock(dirfd, name, O_RDONLY, path, &replace.old, reterr_problem);
	/* No image has the name: nothing, a symlink, a device, what is not ours to read. */
	if (r == -ENOENT || r == -ELOOP || r == -EINVAL || r == -EACCES || r == -ENXIO)
		r = 0;
	if (r == 0)
		r = redo_find_left(path, dirfd, replace.redo_name, &replace.redo, reterr_problem);
	if (r != 0)
		return r;
	*ret = replace;
	/* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores): clang 14 does not see the cleanup */
	replace = IMAGE_REPLACE_INIT;
	return 0;
}

int image_replace_end(struct image_replace *replace)
{
	return replace->redo < 0
		       ? 0
		       : redo_remove_left(replace->dirfd, replace->redo_name, replace->redo);
}

void image_replace_done(struct image_replace *replace)
{
	free(replace->redo_name);
	(void)fd_close(replace->redo);
	(void)fd_close(replace->old);
	*replace = IMAGE_REPLACE_INIT;
}
