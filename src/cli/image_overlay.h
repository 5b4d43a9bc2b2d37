/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cleanup.h"
#include "ext4/writer.h"

/* What an operator adds to an image beside its layers. */
struct image_overlay {
	const char *hostname;      /* or NULL */
	const char *password_hash; /* of root, or NULL */
	const char *ssh_key;       /* of root: a file of authorized_keys' lines, or NULL */
};

/* Checks the values: COMMAND_DONE, or an exit code after a line on stderr. *name* is the command's.
 */
must_check int image_overlay_check(const struct image_overlay *overlay);

/* A layer above all others that has them, in a file without a name; -EBADF if there is nothing. 0
 * or -errno. */
must_check int image_overlay_open(const struct image_overlay *overlay, int *ret_fd);

/* The `edit` of struct ext4_edit that sets root's password in etc/shadow; *context* is the overlay.
 */
must_check int image_overlay_edit_shadow(void *context, const char *old, size_t old_size,
					 char **ret, size_t *ret_size,
					 struct problem *reterr_problem);
