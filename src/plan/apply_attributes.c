/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Owner, mode, capabilities, in this order: a change of owner clears capabilities, and a mode set
 * before the owner would be open to the wrong group for a moment. Everything is done on a held
 * descriptor, so that nothing can be swapped in between.
 */

#include "plan/apply_version.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/dir.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/path.h"
#include "base/str.h"

#define CAPABILITY_XATTR "security.capability"
#define SELINUX_XATTR    "security.selinux"
#define SELINUX_MOUNT    "/sys/fs/selinux"
#define SELINUX_BINARY   "system_u:object_r:bin_t:s0"

void version_make_capability(uint64_t mask, struct vfs_cap_data *ret)
{
	*ret = (struct vfs_cap_data){
		.magic_etc = htole32(VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE),
		.data =
			{
                               {.permitted = htole32((uint32_t)mask)},
                               {.permitted = htole32((uint32_t)(mask >> 32))},
			       },
	};
}

static int set_capabilities(int fd, uint64_t mask)
{
	struct vfs_cap_data wanted;
	char found[64];
	ssize_t n = fgetxattr(fd, CAPABILITY_XATTR, found, sizeof(found));

	version_make_capability(mask, &wanted);
	if (mask == 0 && n < 0)
		return errno == ENODATA || errno == ENOTSUP ? 0 : -errno;
	if (mask == 0)
		return fremovexattr(fd, CAPABILITY_XATTR) < 0 ? -errno : 0;
	if (n == (ssize_t)sizeof(wanted) && memcmp(found, &wanted, sizeof(wanted)) == 0)
		return 0;
	return fsetxattr(fd, CAPABILITY_XATTR, &wanted, sizeof(wanted), 0) < 0 ? -errno : 0;
}

/* On a live host with SELinux: /opt is usr_t, which systemd may not execute (203/EXEC). */
static int set_label(const struct tree *tree, int fd, const struct plan_object *object)
{
	struct statfs mount;

	if (!tree->is_live || !(object->mode & S_IXUSR))
		return 0;
	if (statfs(SELINUX_MOUNT, &mount) < 0 || mount.f_type != SELINUX_MAGIC)
		return 0;
	return fsetxattr(fd, SELINUX_XATTR, SELINUX_BINARY, sizeof(SELINUX_BINARY), 0) < 0 ? -errno
											   : 0;
}

int version_set_attributes(const struct tree *tree, int fd, const struct plan_object *object)
{
	struct stat st;
	uid_t uid = 0;
	gid_t gid = 0;
	int r;

	r = tree_user(tree, object->owner, &uid);
	if (r == 0)
		r = tree_group(tree, object->group, &gid);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return -errno;
	if ((st.st_uid != uid || st.st_gid != gid) && fchown(fd, uid, gid) < 0)
		return -errno;
	if ((st.st_mode & 07777) != object->mode && fchmod(fd, object->mode) < 0)
		return -errno;
	r = tree->is_copy ? 0 : set_capabilities(fd, object->capabilities);
	return r < 0 ? r : set_label(tree, fd, object);
}

static int fix_directory(const struct tree *tree, DIR *dir, const struct plan *plan)
{
	cleanup_strv struct strv foreign = STRV_INIT;
	const struct dirent *entry = NULL;
	int r = 0;

	while (r == 0) {
		const struct plan_object *object;
		cleanup_fd int fd = -EBADF;

		r = dir_next(dir, &entry);
		if (r != 0 || !entry)
			break;
		object = plan_find_entry(plan, entry->d_name);
		if (object)
			r = path_open_unmounted(dirfd(dir), entry->d_name,
						O_RDONLY | O_NONBLOCK | O_NOCTTY, &fd);
		/* A link in a file's place is damage; it has no attributes of ours. */
		if (r == -ELOOP) {
			r = 0;
			continue;
		}
		if (r == 0)
			r = object ? version_set_attributes(tree, fd, object)
				   : strv_add(&foreign, entry->d_name);
	}
	for (size_t i = 0; r == 0 && i < foreign.count; i++)
		r = tree_remove(dirfd(dir), foreign.items[i]);
	return r;
}

int version_fix(const struct tree *tree, int versions_fd, const struct plan *plan)
{
	cleanup_dir DIR *dir = NULL;
	struct stat st;
	int fd = -EBADF;
	int r;

	r = path_open_unmounted(versions_fd, plan->identity.version, O_RDONLY | O_DIRECTORY, &fd);
	if (r == 0)
		r = dir_take(fd, &dir);
	if (r != 0)
		return r;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!tree->is_copy && (st.st_uid != 0 || st.st_gid != 0) && fchown(fd, 0, 0) < 0)
		return -errno;
	if ((st.st_mode & 07777) != 0755 && fchmod(fd, 0755) < 0)
		return -errno;
	return fix_directory(tree, dir, plan);
}
