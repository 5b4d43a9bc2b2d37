/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "bundle/sink.h"
#include "crypto/digest.h"
#include "ext4/edit.h"

/*
 * Content on its way into the blocks of an image's files: it is written, and read from the disk and
 * digested on another thread, at the same time. One file after the other.
 */
struct content;
struct content_file;

/* For the files of *edit*, which is borrowed. 0 or -errno. */
must_check int content_new(struct edit *edit, struct content **ret);
struct content *content_free(struct content *content);

/* Whether *size* bytes are worth it: for less the disk would be waited for too often. */
bool content_is_large(uint64_t size);

/*
 * The *size* bytes of *ino*, a file with blocks for them, come now. What goes wrong with them is
 * said by content_judge(): whether what was read back is *wanted*, unless it is not *ret_known*,
 * and has to be read once it is settled. 0 or -errno.
 */
must_check int content_begin(struct content *content, ext2_ino_t ino, uint64_t size,
			     const struct content_file **ret);
void content_add(struct content *content, const void *data, size_t size);
void content_end(struct content *content);
must_check int content_judge(struct content *content, const struct content_file *file,
			     const struct digest *wanted, bool *ret_known);

/*
 * Takes large content of bundles into free blocks, while it is unpacked: nothing leads there until
 * the inode gets a name. The file that stands for it in the copy is known by its inode there.
 */
struct bundle_sink content_sink(struct content *content);
/* Whether blocks or an inode were missing for it: nothing else comes of the request then. */
bool content_lacks_room(const struct content *content);
/* A bundle's is all there: from here on it is the names in the copy that keep the inodes, and what
 * has none stands for nothing. 0 or -errno. */
must_check int content_keep(struct content *content);
/* Whether *copy_ino* stands for content. */
bool content_find(const struct content *content, uint64_t copy_ino);
/* The file *ret_ino* of the image, for a name to be given to it; NULL where it is none. */
const struct content_file *content_take(struct content *content, uint64_t copy_ino,
					ext2_ino_t *ret_ino);
/* Whether there is any that was not taken: it has an inode, and the change cannot be committed. */
bool content_has_left(const struct content *content);
