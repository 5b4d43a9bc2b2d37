/* SPDX-License-Identifier: Apache-2.0 */

/*
 * An empty ext4 file system as mke2fs makes it by default (e2fsprogs 1.47 on Debian 12): 64bit,
 * metadata_csum, flexible groups, a journal, room to grow. Nothing in it comes from a clock or from
 * chance: the hash seed is the UUID, hashes are of signed characters on every machine, and times
 * are one second after the epoch, as 0 would be "now" to libext2fs. The file is new, so what was
 * never written is zero: tables and journal are not cleared, and the kernel is told so.
 */

#include <com_err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ext4/writer_private.h"

#define NOW             1
#define GROUP_BLOCKS    32768U
#define GROUP_INODES    32768U
#define INODES_PER_FLEX 4 /* 2^4 groups */
#define BLOCKS_MAX      (1ULL << 32)
#define BLOCKS_MIN      256U
#define GROWTH_TRIES    64U

const uint8_t ext4_default_uuid[EXT4_UUID_SIZE] = {0xaf, 0xf1, 0x70, 0x00, 0x0e, 0x54, 0x4e, 0x17,
						   0x9b, 0x00, 0x6f, 0x63, 0x69, 0x00, 0x00, 0x01};

int writer_error(errcode_t error)
{
	if (error > 0 && error < 1024)
		return -(int)error;
	if (error == EXT2_ET_NO_MEMORY)
		return -ENOMEM;
	return error == EXT2_ET_BLOCK_ALLOC_FAIL ? -ENOSPC : -EIO;
}

int writer_too_small(const struct writer *w, const char *what)
{
	return problem_refuse(
		w->problem, "image-too-small",
		"the layers need more %s than an image of %llu bytes has: give a larger "
		"--size, or 'fit'",
		what,
		(unsigned long long)(w->fs ? ext2fs_blocks_count(w->fs->super) * EXT4_BLOCK_SIZE
					   : w->options->size));
}

static void set_features(struct ext2_super_block *super)
{
	ext2fs_set_feature_journal(super);
	ext2fs_set_feature_xattr(super);
	ext2fs_set_feature_resize_inode(super);
	ext2fs_set_feature_dir_index(super);
	ext2fs_set_feature_filetype(super);
	ext2fs_set_feature_extents(super);
	ext2fs_set_feature_64bit(super);
	ext2fs_set_feature_flex_bg(super);
	ext2fs_set_feature_sparse_super(super);
	ext2fs_set_feature_large_file(super);
	ext2fs_set_feature_huge_file(super);
	ext2fs_set_feature_dir_nlink(super);
	ext2fs_set_feature_extra_isize(super);
	ext2fs_set_feature_metadata_csum(super);
}

static int initialize(struct writer *w, uint64_t blocks, uint64_t inodes)
{
	struct ext2_super_block super = {0};
	char name[16];
	int copy = fcntl(w->fd, F_DUPFD_CLOEXEC, 0);
	errcode_t error;

	if (copy < 0)
		return -errno;
	set_features(&super);
	ext2fs_blocks_count_set(&super, blocks);
	super.s_inodes_count = (uint32_t)inodes;
	super.s_rev_level = EXT2_DYNAMIC_REV;
	super.s_log_block_size = 2;
	super.s_log_cluster_size = 2;
	super.s_inode_size = 2 * EXT2_GOOD_OLD_INODE_SIZE;
	super.s_desc_size = EXT2_MIN_DESC_SIZE_64BIT;
	super.s_log_groups_per_flex = INODES_PER_FLEX;
	super.s_min_extra_isize = sizeof(struct ext2_inode_large) - EXT2_GOOD_OLD_INODE_SIZE;
	super.s_want_extra_isize = super.s_min_extra_isize;
	(void)snprintf(name, sizeof(name), "%d", copy);
	/* The descriptor is the file system's from here on, if there is one. */
	error = ext2fs_initialize(name, EXT2_FLAG_64BITS, &super, unixfd_io_manager, &w->fs);
	if (error == 0 && w->fs)
		return 0;
	w->fs = NULL;
	(void)close(copy);
	return error == EXT2_ET_TOO_MANY_INODES ? writer_too_small(w, "inodes")
	       : error == EXT2_ET_TOOSMALL      ? writer_too_small(w, "blocks")
						: writer_error(error);
}

static void describe(struct writer *w)
{
	struct ext2_super_block *super = w->fs->super;

	w->fs->now = NOW;
	super->s_mkfs_time = NOW;
	super->s_lastcheck = NOW;
	super->s_wtime = NOW;
	super->s_max_mnt_count = -1;
	super->s_checkinterval = 0;
	super->s_checksum_type = EXT2_CRC32C_CHKSUM;
	super->s_def_hash_version = EXT2_HASH_HALF_MD4;
	super->s_flags =
		(super->s_flags & ~(uint32_t)EXT2_FLAGS_UNSIGNED_HASH) | EXT2_FLAGS_SIGNED_HASH;
	super->s_default_mount_opts |= EXT2_DEFM_XATTR_USER | EXT2_DEFM_ACL;
	super->s_creator_os = EXT2_OS_LINUX;
	memcpy(super->s_uuid, w->options->uuid, EXT4_UUID_SIZE);
	memcpy(super->s_hash_seed, w->options->uuid, EXT4_UUID_SIZE);
	memcpy(super->s_volume_name, w->options->label,
	       strnlen(w->options->label, sizeof(super->s_volume_name)));
	ext2fs_init_csum_seed(w->fs);
}

/* Inodes 1 to 10 are the file system's own. */
static errcode_t reserve_inodes(ext2_filsys fs)
{
	struct ext2_inode_large empty = {0};
	errcode_t error = 0;

	for (ext2_ino_t i = 1; i < EXT2_FIRST_INODE(fs->super) && error == 0; i++) {
		if (i != EXT2_ROOT_INO)
			ext2fs_inode_alloc_stats2(fs, i, +1, 0);
		error = ext2fs_write_inode_full(fs, i, (struct ext2_inode *)&empty, sizeof(empty));
	}
	return error;
}

static errcode_t add_tables(struct writer *w)
{
	errcode_t error = ext2fs_allocate_tables(w->fs);

	for (dgrp_t i = 0; i < w->fs->group_desc_count && error == 0; i++) {
		ext2fs_bg_flags_set(w->fs, i, EXT2_BG_INODE_ZEROED);
		ext2fs_group_desc_csum_set(w->fs, i);
	}
	if (error == 0)
		error = reserve_inodes(w->fs);
	return error == 0 ? ext2fs_create_resize_inode(w->fs) : error;
}

static errcode_t add_journal(struct writer *w)
{
	int size = ext2fs_default_journal_size(ext2fs_blocks_count(w->fs->super));
	blk64_t goal = 0;
	errcode_t error = ext2fs_find_first_zero_block_bitmap2(
		w->fs->block_map, w->fs->super->s_first_data_block,
		ext2fs_blocks_count(w->fs->super) - 1, &goal);

	if (size <= 0 || error != 0) {
		ext2fs_clear_feature_journal(w->fs->super);
		return 0;
	}
	/* Before all content, which then lies in one piece. */
	return ext2fs_add_journal_inode2(w->fs, (blk_t)size, goal, EXT2_MKJOURNAL_LAZYINIT);
}

static void forget(struct writer *w)
{
	if (w->fs)
		ext2fs_free(w->fs);
	w->fs = NULL;
}

int writer_format(struct writer *w, uint64_t blocks, uint64_t inodes)
{
	errcode_t error;
	int r;

	if (blocks >= BLOCKS_MAX)
		return problem_refuse(
			w->problem, "image-too-small",
			"an image of more than 16 TiB is not made: expected layers that "
			"need less");
	if (blocks < BLOCKS_MIN)
		return problem_refuse(
			w->problem, "image-too-small",
			"an image of less than 1 MiB holds no ext4 file system: give a "
			"larger --size");
	forget(w);
	if (ftruncate(w->fd, 0) < 0 || ftruncate(w->fd, (off_t)(blocks * EXT4_BLOCK_SIZE)) < 0)
		return -errno;
	r = initialize(w, blocks, inodes);
	if (r != 0 || !w->fs)
		return r;
	describe(w);
	error = add_tables(w);
	if (error == 0)
		error = add_journal(w);
	if (error == EXT2_ET_BLOCK_ALLOC_FAIL || error == ENOSPC)
		return writer_too_small(w, "blocks");
	w->cursor = w->fs->super->s_first_data_block;
	return error == 0 ? 0 : writer_error(error);
}

int writer_format_for(struct writer *w, const struct writer_need *need, uint64_t spare)
{
	uint64_t wanted = need->blocks + need->extents / 64 + 64;
	uint64_t inodes = need->inodes + need->inodes / 4 + 1024 + spare / 16384;
	uint64_t groups = (inodes + GROUP_INODES - 1) / GROUP_INODES;
	uint64_t blocks;

	wanted += wanted / 50 + spare / EXT4_BLOCK_SIZE;
	blocks = wanted + inodes / 16 + 1024;
	if (groups > 1)
		blocks = MAX(blocks, groups * GROUP_BLOCKS - GROUP_BLOCKS / 2);
	for (unsigned i = 0; i < GROWTH_TRIES; i++) {
		uint64_t free_blocks;
		int r = writer_format(w, blocks, inodes);

		if (r > 0 && strcmp(w->problem->name, "image-too-small") == 0 &&
		    blocks < BLOCKS_MAX) {
			blocks += blocks / 8 + 256;
			continue;
		}
		if (r != 0 || !w->fs)
			return r;
		free_blocks = ext2fs_free_blocks_count(w->fs->super);
		if (free_blocks >= wanted)
			return 0;
		blocks += wanted - free_blocks + 64;
	}
	return writer_too_small(w, "blocks");
}

int writer_close(struct writer *w, struct ext4_summary *ret)
{
	errcode_t error = ext2fs_set_gdt_csum(w->fs);

	ret->size = ext2fs_blocks_count(w->fs->super) * EXT4_BLOCK_SIZE;
	ret->free = ext2fs_free_blocks_count(w->fs->super) * EXT4_BLOCK_SIZE;
	ret->inodes = w->fs->super->s_inodes_count - w->fs->super->s_free_inodes_count;
	ret->content = w->need.blocks * EXT4_BLOCK_SIZE;
	if (error == 0)
		error = ext2fs_flush(w->fs);
	forget(w);
	if (error != 0)
		return writer_error(error);
	return fsync(w->fd) < 0 ? -errno : 0;
}
