/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The unkind neighbour in powercut's guest: it makes a file of its own durable at odd moments, and
 * with it the file system's journal, that is everybody's names, but nobody else's data. A program
 * that renames a file before its bytes are on disk is caught so; without it, names and data would
 * be lost together.
 *
 *   jitter FILE SEED
 */

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int fd = argc == 3 ? open(argv[1], O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;

	if (fd < 0)
		return 1;
	srandom((unsigned int)strtoul(argv[2], NULL, 10));
	for (char byte = 0;; byte++) {
		usleep((unsigned int)(random() % 40000));
		if (pwrite(fd, &byte, 1, 0) != 1 || fsync(fd) < 0)
			return 1;
	}
}
