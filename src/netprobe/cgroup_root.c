/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cgroup2 is at /sys/fs/cgroup on most hosts and at /sys/fs/cgroup/unified on hybrid ones; only the
 * mount table knows.
 */

#include "netprobe/cgroup_root.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"

/* "30 22 0:27 ROOT POINT OPTIONS [optional…] - TYPE SOURCE …" */
char *cgroup_root_parse(char *line)
{
	char *rest = NULL;
	char *type = strstr(line, " - ");
	char *root = NULL;
	char *point = NULL;
	char *word;

	if (!type || !str_starts_with(type, " - cgroup2 "))
		return NULL;
	*type = '\0';
	word = strtok_r(line, " ", &rest);
	for (int i = 0; word; i++, word = strtok_r(NULL, " ", &rest)) {
		if (i == 3)
			root = word;
		if (i == 4)
			point = word;
	}
	return root && str_equal(root, "/") ? point : NULL;
}

static void close_file(FILE **file)
{
	if (*file)
		(void)fclose(*file);
}

int cgroup_root_open(int *ret_fd)
{
	FILE *file CLEANUP(close_file) = fopen("/proc/self/mountinfo", "re");
	cleanup_free char *line = NULL;
	size_t size = 0;

	if (!file)
		return -errno;
	while (getline(&line, &size, file) >= 0) {
		char *point = cgroup_root_parse(line);
		int fd = point ? open(point, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -EBADF;

		if (fd < 0)
			continue;
		*ret_fd = fd;
		return 0;
	}
	return -ENOENT;
}
