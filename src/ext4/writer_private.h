/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <ext2fs/ext2fs.h>

#include "ext4/tree.h"
#include "ext4/writer.h"

#define WRITER_BUFFER_BLOCKS 64U

/* What an image needs, counted where nothing is written. */
struct writer_need {
	uint64_t blocks;
	uint64_t extents;
	uint64_t inodes;
};

struct writer {
	int fd;
	ext2_filsys fs; /* NULL: it is only counted */
	const struct ext4_options *options;
	struct tree *tree;
	struct problem *problem;
	struct writer_need need;
	/* Blocks that are taken from the file system and not used yet. */
	blk64_t run_at;
	blk64_t run_end;
	blk64_t cursor; /* nothing is free below */
	/* Blocks that lie one behind the other and are not written yet. */
	blk64_t buffer_block;
	uint32_t buffer_count;
	blk64_t flushed_to; /* below, the disk was told to begin */
	/* The block of the current file that is not complete. */
	bool has_partial;
	uint32_t partial_logical;
	uint8_t partial[EXT4_BLOCK_SIZE];
	uint8_t buffer[WRITER_BUFFER_BLOCKS * EXT4_BLOCK_SIZE];
};

/* libext2fs's errors: -errno where it is one. */
must_check int writer_error(errcode_t error);
must_check int writer_too_small(const struct writer *writer, const char *what);

/* writer_format.c: an empty file system of so many blocks and inodes, or as few more as it takes.
 */
must_check int writer_format(struct writer *writer, uint64_t blocks, uint64_t inodes);
/* For *need*, with *spare* bytes left. */
must_check int writer_format_for(struct writer *writer, const struct writer_need *need,
				 uint64_t spare);
must_check int writer_close(struct writer *writer, struct ext4_summary *ret);

/* writer_blocks.c. Adds *count* blocks of a file, from *logical* on. */
must_check int writer_blocks_add(struct writer *writer, struct tree_extents *extents,
				 uint32_t logical, const void *data, uint32_t count);
/* Content that ascends; blocks of zeroes are holes. After the last piece, writer_content_end(). */
must_check int writer_content_add(struct writer *writer, struct tree_inode *inode, const void *data,
				  size_t size, uint64_t offset);
must_check int writer_content_end(struct writer *writer, struct tree_inode *inode);
/* Writes what is buffered and gives back what is not used. */
must_check int writer_blocks_end(struct writer *writer);

/* writer_directory.c: of a directory that is complete, into its inode's extents. */
must_check int writer_directory(struct writer *writer, struct tree_node *directory);

/* writer_inode.c */
must_check int writer_inode(struct writer *writer, struct tree_inode *inode);
/* How many blocks beside content and directories the inode may need. */
uint64_t writer_inode_need(const struct tree_inode *inode);
