/* SPDX-License-Identifier: Apache-2.0 */

/* The files of packages after a crash. A bundle is on disk before its row is, so that a file
 * without a row is what a crash between the two leaves, and nobody knows of it. */

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/dir.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/path.h"
#include "control/fleet_private.h"
#include "control/package.h"
#include "control/package_pull.h"

static int is_known(struct fleet *fleet, const char *name, bool *ret)
{
	int64_t n = 0;
	int r;

	r = store_number(fleet->store, &n, 0, "SELECT 1 FROM artifact WHERE sha256 = $1",
			 STORE_TEXT(name));
	*ret = n != 0;
	return r;
}

static int clean_directory(struct fleet *fleet, const char *directory, bool is_for_artifacts)
{
	cleanup_dir DIR *dir = NULL;
	const struct dirent *entry = NULL;
	int fd = -EBADF;
	int r;

	r = path_open_beneath(fleet->options.data_dirfd, directory, O_RDONLY | O_DIRECTORY, 0, &fd);
	if (r == 0)
		r = dir_take(fd, &dir);
	while (r == 0) {
		bool known = false;

		r = dir_next(dir, &entry);
		if (r != 0 || !entry)
			break;

		if (entry->d_name[0] == '.' || entry->d_type == DT_DIR)
			continue;
		if (is_for_artifacts)
			r = is_known(fleet, entry->d_name, &known);
		if (r == 0 && !known)
			r = file_remove(dirfd(dir), entry->d_name, NULL);
	}
	return r;
}

int package_clean(struct fleet *fleet)
{
	int r = clean_directory(fleet, "incoming", false);

	package_pull_forget(fleet->options.data_dirfd);
	return r == 0 ? clean_directory(fleet, "artifacts", true) : r;
}
