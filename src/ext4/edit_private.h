/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "ext4/edit.h"

/* What the files of edit.h share. */

/* The time that changes get: of this process, or what SOURCE_DATE_EPOCH says. */
uint32_t edit_now(void);

/* Mode and owner of an inode in memory. */
void edit_fill_inode(struct ext2_inode *inode, uint16_t type,
		     const struct edit_attributes *attributes);

/* Gives an inode a name in a directory, which grows if it has to. */
must_check int edit_link(struct edit *edit, ext2_ino_t dir, const char *name, ext2_ino_t ino,
			 int type);
