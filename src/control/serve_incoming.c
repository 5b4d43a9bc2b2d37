/* SPDX-License-Identifier: Apache-2.0 */

/* Uploads that nobody goes on with. */

#include "control/serve_incoming.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/dir.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/path.h"
#include "base/str.h"
#include "control/child.h"
#include "control/log.h"

static int remove_all(int dirfd, const char *prefix)
{
	cleanup_dir DIR *dir = NULL;
	const struct dirent *entry = NULL;
	int r = dir_open(dirfd, &dir);

	while (r == 0) {
		r = dir_next(dir, &entry);
		if (r != 0 || !entry)
			break;
		if (path_is_safe_name(entry->d_name) && str_starts_with(entry->d_name, prefix))
			r = file_remove(dirfd, entry->d_name, NULL);
	}
	return r;
}

int serve_incoming_empty(int dirfd)
{
	return remove_all(dirfd, "");
}

void serve_incoming_forget(int dirfd, unsigned front)
{
	char prefix[CHILD_UPLOAD_NAME_MAX];
	int r;

	(void)snprintf(prefix, sizeof(prefix), CHILD_UPLOAD_NAME, front);
	r = remove_all(dirfd, prefix);
	if (r < 0)
		log_line(LOG_WARNING, "uploads of front %u could not be removed: %s, ignoring",
			 front, strerrordesc_np(-r));
}
