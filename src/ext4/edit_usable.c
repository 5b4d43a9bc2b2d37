/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What must hold before an image is worked on: nobody else does, and all that its file system
 * relies on is understood here. A feature that is only half understood would be broken by the first
 * write, so there are lists of what is known, not of what is not.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/dir.h"
#include "base/fd.h"
#include "ext4/edit.h"

#define MOUNTINFO          "/proc/self/mountinfo"
#define MOUNTINFO_SIZE_MAX (16UL << 20)
#define LOOP_DIRECTORY     "/sys/block"
#define PATH_SIZE_MAX      8192U

#define KNOWN_INCOMPAT                                                     \
	(EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS |  \
	 EXT4_FEATURE_INCOMPAT_64BIT | EXT4_FEATURE_INCOMPAT_FLEX_BG |     \
	 EXT2_FEATURE_INCOMPAT_META_BG | EXT4_FEATURE_INCOMPAT_CSUM_SEED | \
	 EXT4_FEATURE_INCOMPAT_LARGEDIR)
/* Also when it is only read. */
#define READABLE_INCOMPAT \
	(KNOWN_INCOMPAT | EXT4_FEATURE_INCOMPAT_INLINE_DATA | EXT4_FEATURE_INCOMPAT_EA_INODE)
#define KNOWN_RO_COMPAT                                                            \
	(EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER | EXT2_FEATURE_RO_COMPAT_LARGE_FILE | \
	 EXT4_FEATURE_RO_COMPAT_HUGE_FILE | EXT4_FEATURE_RO_COMPAT_GDT_CSUM |      \
	 EXT4_FEATURE_RO_COMPAT_DIR_NLINK | EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE |   \
	 EXT4_FEATURE_RO_COMPAT_METADATA_CSUM)

static bool is_same_file(const char *path, const struct stat *image)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_dev == image->st_dev && st.st_ino == image->st_ino;
}

/* The file behind a loop device; false where there is none. */
static bool read_backing_file(const char *device, char *path, size_t size)
{
	cleanup_free char *text = NULL;
	cleanup_free char *name = NULL;
	size_t length = 0;

	if (str_format(&name, LOOP_DIRECTORY "/%s/loop/backing_file", device) < 0 ||
	    fd_read_path(name, PATH_SIZE_MAX, &text, &length) < 0 || length == 0)
		return false;
	if (text[length - 1] == '\n')
		text[--length] = '\0';
	return (size_t)snprintf(path, size, "%s", text) < size;
}

static int check_loops(const struct stat *image, const char *name, struct problem *problem)
{
	cleanup_dir DIR *dir = opendir(LOOP_DIRECTORY);
	const struct dirent *entry = NULL;

	while (dir && dir_next(dir, &entry) == 0 && entry) {
		char path[PATH_SIZE_MAX];

		if (!str_starts_with(entry->d_name, "loop") ||
		    !read_backing_file(entry->d_name, path, sizeof(path)) ||
		    !is_same_file(path, image))
			continue;
		return problem_refuse(problem, "mounted",
				      "'%s' is in use as /dev/%s; unmount it and detach it with "
				      "'losetup -d /dev/%s'",
				      name, entry->d_name, entry->d_name);
	}
	return 0;
}

/* The mount's source, which stands behind " - TYPE ": proc(5). A FUSE mount names the file. */
static bool is_source(char *line, const struct stat *image)
{
	char *separator = strstr(line, " - ");
	char *source = separator ? strchr(separator + 3, ' ') : NULL;
	char *end = source ? strchr(source + 1, ' ') : NULL;

	if (!end)
		return false;
	*end = '\0';
	return source[1] == '/' && is_same_file(source + 1, image);
}

static int check_mounts(const struct stat *image, const char *name, struct problem *problem)
{
	cleanup_free char *text = NULL;
	char *rest = NULL;
	size_t size = 0;
	int r = fd_read_path(MOUNTINFO, MOUNTINFO_SIZE_MAX, &text, &size);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (is_source(line, image))
			return problem_refuse(problem, "mounted",
					      "'%s' is mounted; unmount it first", name);
	}
	return 0;
}

/* QEMU and others lock bytes of the images that they have open, and look whether anybody else does:
 * they are kept out until *fd* is closed. A reader cannot have but a shared lock, which does not
 * say that nobody has one: so the lock first, and then the look. */
static int take_locks(int fd, const char *name, struct problem *problem)
{
	int flags = fcntl(fd, F_GETFL);
	bool is_writable = flags >= 0 && (flags & O_ACCMODE) == O_RDWR;
	struct flock lock = {.l_type = is_writable ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET};
	int r = fcntl(fd, F_OFD_SETLK, &lock) < 0 ? errno : 0;

	if (r == 0) {
		lock.l_type = F_WRLCK;
		r = fcntl(fd, F_OFD_GETLK, &lock) < 0 ? errno : 0;
	}
	if (r != 0 && r != EAGAIN && r != EACCES)
		return r == EINVAL ? 0 : -r;
	if (r == 0 && lock.l_type == F_UNLCK)
		return 0;
	return problem_refuse(
		problem, "busy",
		"another program has '%s' open and locked, such as a virtual machine; "
		"stop it first",
		name);
}

int edit_check_unused(int fd, const char *name, struct problem *reterr_problem)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	r = check_loops(&st, name, reterr_problem);
	if (r == 0)
		r = check_mounts(&st, name, reterr_problem);
	return r != 0 ? r : take_locks(fd, name, reterr_problem);
}

/* The names are those of `tune2fs -O`. */
static const struct {
	uint32_t bit;
	bool is_incompat;
	const char *name;
} names[] = {
	{EXT2_FEATURE_INCOMPAT_COMPRESSION,     true,  "compression"   },
	{EXT3_FEATURE_INCOMPAT_JOURNAL_DEV,     true,  "journal_dev"   },
	{EXT4_FEATURE_INCOMPAT_MMP,             true,  "mmp"           },
	{EXT4_FEATURE_INCOMPAT_EA_INODE,        true,  "ea_inode"      },
	{EXT4_FEATURE_INCOMPAT_DIRDATA,         true,  "dirdata"       },
	{EXT4_FEATURE_INCOMPAT_INLINE_DATA,     true,  "inline_data"   },
	{EXT4_FEATURE_INCOMPAT_ENCRYPT,         true,  "encrypt"       },
	{EXT4_FEATURE_INCOMPAT_CASEFOLD,        true,  "casefold"      },
	{EXT4_FEATURE_RO_COMPAT_BIGALLOC,       false, "bigalloc"      },
	{EXT4_FEATURE_RO_COMPAT_QUOTA,          false, "quota"         },
	{EXT4_FEATURE_RO_COMPAT_PROJECT,        false, "project"       },
	{EXT4_FEATURE_RO_COMPAT_READONLY,       false, "read-only"     },
	{EXT4_FEATURE_RO_COMPAT_SHARED_BLOCKS,  false, "shared_blocks" },
	{EXT4_FEATURE_RO_COMPAT_VERITY,         false, "verity"        },
	{EXT4_FEATURE_RO_COMPAT_ORPHAN_PRESENT, false, "orphan_present"},
};

static int refuse_features(const char *name, bool is_incompat, uint32_t bits,
			   struct problem *problem)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(names); i++) {
		if (names[i].is_incompat != is_incompat || !(bits & names[i].bit))
			continue;
		r = buffer_format(&text, "%s%s", text.size > 0 ? ", " : "", names[i].name);
		bits &= ~names[i].bit;
	}
	if (r == 0 && bits)
		r = buffer_format(&text, "%s%#x", text.size > 0 ? ", " : "", bits);
	if (r < 0)
		return r;
	return problem_refuse(
		problem, "unsupported-filesystem",
		"the file system in '%s' has features that cannot be worked with here "
		"(%s); make the image without them, or mount it and use 'affix --root'",
		name, text.data);
}

int edit_check_features(ext2_filsys fs, const char *name, bool writable,
			struct problem *reterr_problem)
{
	const struct ext2_super_block *super = fs->super;
	uint32_t incompat = super->s_feature_incompat;
	uint32_t ro_compat = super->s_feature_ro_compat;

	if (incompat & EXT3_FEATURE_INCOMPAT_RECOVER)
		return problem_refuse(
			reterr_problem, "dirty-journal",
			"the journal in '%s' holds changes that are not in place yet: it "
			"was not unmounted; run 'e2fsck -fy %s' on it first",
			name, name);
	if (incompat & ~(writable ? KNOWN_INCOMPAT : READABLE_INCOMPAT))
		return refuse_features(name, true, incompat & ~KNOWN_INCOMPAT, reterr_problem);
	if (!writable)
		return 0;
	if (ro_compat & ~KNOWN_RO_COMPAT)
		return refuse_features(name, false, ro_compat & ~KNOWN_RO_COMPAT, reterr_problem);
	if ((super->s_state & EXT2_VALID_FS) && !(super->s_state & EXT2_ERROR_FS) &&
	    super->s_last_orphan == 0)
		return 0;
	return problem_refuse(
		reterr_problem, "dirty-journal",
		"the file system in '%s' was not unmounted or is marked as damaged; run "
		"'e2fsck -fy %s' on it first",
		name, name);
}

/* What the file system itself stands on, by its first block. */
static bool is_used(ext2_filsys fs, blk64_t first, uint64_t n)
{
	blk64_t found = 0;

	return n == 0 || (first >= fs->super->s_first_data_block &&
			  ext2fs_find_first_zero_block_bitmap2(fs->block_map, first, first + n - 1,
							       &found) == ENOENT);
}

/* Copies of the superblock and of the descriptors, and the room that these may grow into. */
static bool is_head_used(ext2_filsys fs, dgrp_t group)
{
	blk64_t super = 0;
	blk64_t old_table = 0;
	blk64_t new_table = 0;
	uint64_t n = ext2fs_has_feature_meta_bg(fs->super)
			     ? fs->super->s_first_meta_bg
			     : fs->desc_blocks + (uint64_t)fs->super->s_reserved_gdt_blocks;

	if (ext2fs_super_and_bgd_loc2(fs, group, &super, &old_table, &new_table, NULL) != 0)
		return false;
	/* Where the last group is a short one, they may end with it. */
	if (old_table != 0)
		n = MIN(n, ext2fs_blocks_count(fs->super) - old_table);
	return (super == 0 || is_used(fs, super, 1)) &&
	       (old_table == 0 || is_used(fs, old_table, n)) &&
	       (new_table == 0 || is_used(fs, new_table, 1));
}

static bool are_groups_used(ext2_filsys fs)
{
	for (dgrp_t group = 0; group < fs->group_desc_count; group++) {
		if (!is_head_used(fs, group) ||
		    !is_used(fs, ext2fs_block_bitmap_loc(fs, group), 1) ||
		    !is_used(fs, ext2fs_inode_bitmap_loc(fs, group), 1) ||
		    !is_used(fs, ext2fs_inode_table_loc(fs, group), fs->inode_blocks_per_group))
			return false;
	}
	return true;
}

struct walk {
	uint64_t left; /* no inode has more blocks than there are */
	bool is_free;  /* one of them */
};

/* NOLINTNEXTLINE(readability-non-const-parameter): ext2fs_block_iterate3() gives it so */
static int look_at_block(ext2_filsys fs, blk64_t *block, e2_blkcnt_t number, blk64_t holder,
			 int offset, void *user)
{
	struct walk *walk = user;

	(void)number;
	(void)holder;
	(void)offset;
	walk->is_free = walk->left-- == 0 || !is_used(fs, *block, 1);
	return walk->is_free ? BLOCK_ABORT : 0;
}

/* The journal, the descriptors' room to grow, the root directory. */
static bool are_inodes_used(ext2_filsys fs)
{
	for (ext2_ino_t ino = EXT2_BAD_INO; ino < EXT2_FIRST_INODE(fs->super); ino++) {
		struct walk walk = {.left = ext2fs_blocks_count(fs->super)};
		struct ext2_inode inode;

		if (ext2fs_read_inode(fs, ino, &inode) != 0)
			return false;
		if (!ext2fs_inode_has_valid_blocks2(fs, &inode))
			continue;
		if (ext2fs_block_iterate3(fs, ino, BLOCK_FLAG_READ_ONLY, NULL, look_at_block,
					  &walk) != 0 ||
		    walk.is_free)
			return false;
	}
	return true;
}

int edit_check_bitmap(ext2_filsys fs, const char *name, struct problem *reterr_problem)
{
	if (are_groups_used(fs) && are_inodes_used(fs))
		return 0;
	return problem_refuse(reterr_problem, "bad-image",
			      "the file system in '%s' calls blocks free that it needs itself, or "
			      "cannot tell; run 'e2fsck -fy %s' on it first",
			      name, name);
}
