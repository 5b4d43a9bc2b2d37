/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "ext4/edit.h"

/* Makes a file under a name that is free, with blocks for *size* bytes, whatever is in them:
 * edit_write_blocks() is to follow. */
must_check int edit_make_file(struct edit *edit, ext2_ino_t dir, const char *name, uint64_t size,
			      const struct edit_attributes *attributes, ext2_ino_t *ret);
/* Its two halves: one that has no name yet, and has to get one before the commit; and the name. */
must_check int edit_take_file(struct edit *edit, uint64_t size, ext2_ino_t *ret);
must_check int edit_name_file(struct edit *edit, ext2_ino_t dir, const char *name, ext2_ino_t ino,
			      const struct edit_attributes *attributes);
/* The same for a file that is there; it keeps everything else. */
must_check int edit_replace_content(struct edit *edit, ext2_ino_t ino, uint64_t size);

/* Zeroes over all blocks of a file that has no other name, before they are freed: what a free block
 * holds can be read. */
must_check int edit_erase(struct edit *edit, ext2_ino_t ino);

/* Removes the names in a directory that fnmatch(3) *pattern*, but those of directories, in one
 * pass, and erases what has no other. *ret* are the names, sorted. */
must_check int edit_sweep(struct edit *edit, ext2_ino_t dir, const char *pattern, struct strv *ret);

#define EDIT_UNIT 65536U /* the largest block */
/* Room for *size* bytes of content; free() it. */
#define edit_new_room(size) aligned_alloc(REDO_ALIGNMENT, (size))

/*
 * Content, between memory (edit_new_room()) and the blocks of a file. *offset* is a multiple of
 * EDIT_UNIT, and *data* has room for whole units: what a last block has behind *size* is written as
 * zero, and read as it is. The file has blocks for all of it, without holes (-EUCLEAN).
 */
must_check int edit_write_blocks(struct edit *edit, ext2_ino_t ino, uint64_t offset, void *data,
				 size_t size);
must_check int edit_read_blocks(struct edit *edit, ext2_ino_t ino, uint64_t offset, void *data,
				size_t size);
/* Has what was wanted on its way back from the disk, which has it by edit_settle(): before it is
 * read back. */
must_check int edit_want_blocks(struct edit *edit, ext2_ino_t ino, uint64_t offset, size_t size);
void edit_fetch_blocks(struct edit *edit);

/* Where whole blocks of an image are in its file. */
struct edit_place {
	int fd; /* borrowed; it reads from the disk, and what was written is there */
	uint64_t offset;
	size_t size;
};

/* Of the blocks for that content the first that lie together. 0; -EOPNOTSUPP where the disk cannot
 * be asked like that; -errno. */
must_check int edit_find_place(struct edit *edit, ext2_ino_t ino, uint64_t offset, size_t size,
			       struct edit_place *ret);
