/* SPDX-License-Identifier: Apache-2.0 */

/* Runs a fuzz target over every file of the directories given: the corpus as a test, without
 * libFuzzer. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"

#define INPUT_MAX (16U << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_directory(const char *path, unsigned *count)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		cleanup_free char *data = NULL;
		size_t size = 0;
		int r;

		if (entry->d_name[0] == '.')
			continue;
		r = fd_read_file_at(dirfd(dir), entry->d_name, INPUT_MAX, &data, &size);
		if (r < 0) {
			(void)fprintf(stderr, "%s: %s\n", entry->d_name, strerror(-r));
			(void)closedir(dir);
			return r;
		}
		(void)LLVMFuzzerTestOneInput((const uint8_t *)data, size);
		(*count)++;
	}
	(void)closedir(dir);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned count = 0;

	for (int i = 1; i < argc; i++) {
		if (replay_directory(argv[i], &count) < 0)
			return 1;
	}
	(void)printf("%u inputs\n", count);
	return count > 0 ? 0 : 1;
}
