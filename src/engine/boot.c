/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Which boot this is: a watch is resumed only in the one that it began in. systemd-tmpfiles writes
 * the id, since the updater's sandbox hides the kernel's own file.
 */

#include "engine/boot.h"

#include <fcntl.h>
#include <string.h>

#include "base/fd.h"

#define BOOT_ID_PATH "/run/affix/boot_id"

char *boot_id_load(void)
{
	cleanup_fd int fd = open(BOOT_ID_PATH, O_RDONLY | O_CLOEXEC);
	cleanup_free char *text = NULL;

	if (fd < 0 || fd_read_all(fd, 64, &text, NULL) < 0)
		return strdup("");
	text[strcspn(text, "\n")] = '\0';
	return TAKE_PTR(text);
}
