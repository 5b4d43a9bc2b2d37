/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "ext4/edit.h"

/* What the files of edit.h share. */

/* A cleanup handler. */
void edit_close_xattrs(struct ext2_xattr_handle **handle);

/* Mode and owner of an inode in memory. */
void edit_fill_inode(struct ext2_inode *inode, uint16_t type,
		     const struct edit_attributes *attributes);

/* Gives an inode a name in a directory, which grows if it has to. */
must_check int edit_link(struct edit *edit, ext2_ino_t dir, const char *name, ext2_ino_t ino,
			 int type);
