/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Partitions of a disk image, as libblkid reads them: it knows GPT with a damaged first header,
 * protective and hybrid MBRs, and chains of logical partitions that do not end. What it says is
 * held against the size of the file.
 */

#include "ext4/disk.h"

#include <blkid.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/fd.h"

#define SECTOR_SIZE    512U
#define MAGIC_OFFSET   1080U /* of the superblock's s_magic: ext4's documentation, "Super Block" */
#define PARTITIONS_MAX 128

static void probe_done(blkid_probe *probe)
{
	if (*probe)
		blkid_free_probe(*probe);
}

static int has_file_system(int fd, uint64_t offset, bool *ret)
{
	uint8_t magic[2] = {0};
	size_t n = 0;
	int r = fd_pread_full(fd, magic, sizeof(magic), offset + MAGIC_OFFSET, &n);

	*ret = n == sizeof(magic) && magic[0] == 0x53 && magic[1] == 0xef;
	return r;
}

/* "1, 2, 5", for the sentence that asks for one of them. */
static void list_partitions(blkid_partlist list, char *text, size_t size)
{
	int n = list ? blkid_partlist_numof_partitions(list) : 0;
	size_t length = 0;

	text[0] = '\0';
	for (int i = 0; i < n && i < PARTITIONS_MAX && length < size; i++) {
		blkid_partition partition = blkid_partlist_get_partition(list, i);

		if (partition)
			length += (size_t)snprintf(text + length, size - length, "%s%d",
						   length > 0 ? ", " : "",
						   blkid_partition_get_partno(partition));
	}
}

static int open_partitions(int fd, uint64_t size, blkid_probe *ret_probe, blkid_partlist *ret)
{
	CLEANUP(probe_done) blkid_probe probe = blkid_new_probe();

	if (!probe)
		return -ENOMEM;
	if (blkid_probe_set_device(probe, fd, 0, (blkid_loff_t)size) != 0)
		return errno > 0 ? -errno : -EIO;
	(void)blkid_probe_enable_superblocks(probe, 0);
	(void)blkid_probe_enable_partitions(probe, 1);
	errno = 0;
	*ret = blkid_probe_get_partitions(probe);
	*ret_probe = TAKE_PTR(probe);
	return 0;
}

static int refuse_whole(const char *name, const char *numbers, struct problem *problem)
{
	if (numbers[0] == '\0')
		return problem_refuse(
			problem, "bad-image",
			"'%s' holds no ext2, ext3 or ext4 file system and no partition "
			"table; name an image that does",
			name);
	return problem_refuse(
		problem, "no-partition",
		"'%s' is a disk image with the partitions %s; name one of them, as in "
		"'%s:1'",
		name, numbers, name);
}

/* The place of a partition, in sectors, as bytes of a file of *size*. */
static int check_place(blkid_partition partition, uint64_t size, struct disk_place *ret)
{
	blkid_loff_t start = blkid_partition_get_start(partition);
	blkid_loff_t length = blkid_partition_get_size(partition);
	uint64_t end;

	if (start <= 0 || length <= 0 ||
	    __builtin_mul_overflow((uint64_t)start, SECTOR_SIZE, &ret->offset) ||
	    __builtin_mul_overflow((uint64_t)length, SECTOR_SIZE, &ret->size) ||
	    __builtin_add_overflow(ret->offset, ret->size, &end) || end > size)
		return -ERANGE;
	return 0;
}

static int find_partition(blkid_partlist list, const char *name, unsigned number, uint64_t size,
			  struct disk_place *ret, struct problem *problem)
{
	blkid_partition partition =
		list && number <= INT32_MAX
			? blkid_partlist_get_partition_by_partno(list, (int)number)
			: NULL;
	char numbers[512];

	list_partitions(list, numbers, sizeof(numbers));
	if (!partition)
		return problem_refuse(problem, "no-partition",
				      "'%s' has no partition %u, it has %s; name one of its own",
				      name, number, numbers[0] ? numbers : "none");
	if (blkid_partition_is_extended(partition))
		return problem_refuse(
			problem, "no-partition",
			"partition %u of '%s' is the extended one that holds others (%s); "
			"name one of those",
			number, name, numbers);
	if (check_place(partition, size, ret) < 0)
		return problem_refuse(
			problem, "bad-image",
			"partition %u of '%s' does not lie inside the file; the image is "
			"cut off, copy it again",
			number, name);
	return 0;
}

int disk_find(int fd, const char *name, unsigned partition, struct disk_place *ret,
	      struct problem *reterr_problem)
{
	CLEANUP(probe_done) blkid_probe probe = NULL;
	blkid_partlist list = NULL;
	struct disk_place place = {0};
	char numbers[512];
	bool found = false;
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	place.size = (uint64_t)st.st_size;
	r = partition == 0 ? has_file_system(fd, 0, &found) : 0;
	if (r == 0 && !found)
		r = open_partitions(fd, place.size, &probe, &list);
	if (r == 0 && !found && partition == 0) {
		list_partitions(list, numbers, sizeof(numbers));
		r = refuse_whole(name, numbers, reterr_problem);
	}
	if (r == 0 && partition > 0)
		r = find_partition(list, name, partition, place.size, &place, reterr_problem);
	if (r == 0 && partition > 0)
		r = has_file_system(fd, place.offset, &found);
	if (r == 0 && !found)
		r = problem_refuse(
			reterr_problem, "bad-image",
			"partition %u of '%s' holds no ext2, ext3 or ext4 file system; name "
			"one that does",
			partition, name);
	if (r == 0)
		*ret = place;
	return r;
}
