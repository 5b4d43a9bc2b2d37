/* SPDX-License-Identifier: Apache-2.0 */

/* What `affix doctor` looks at outside affix: systemd, cgroups, directories, the file system. */

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/path.h"
#include "cli/doctor.h"
#include "plan/plan_paths.h"
#include "store/record.h"
#include "unit/systemd.h"

#define SYSTEMD_VERSION_MIN 252L

static void close_bus(sd_bus **bus)
{
	if (*bus)
		(void)sd.bus_flush_close_unref(*bus);
}

/* The manager's Version property, over its private socket for root, else over the system bus. */
static int get_version(bool is_root, char **ret)
{
	CLEANUP(close_bus) sd_bus *bus = NULL;
	const char *destination = is_root ? NULL : "org.freedesktop.systemd1";
	int r = systemd_load();

	if (r < 0)
		return r;
	if (is_root) {
		r = sd.bus_new(&bus);
		if (r >= 0)
			r = sd.bus_set_address(bus, "unix:path=/run/systemd/private");
		if (r >= 0)
			r = sd.bus_start(bus);
	} else {
		r = sd.bus_open_system(&bus);
	}
	if (r < 0)
		return r;
	r = sd.bus_get_property_string(bus, destination, "/org/freedesktop/systemd1",
				       "org.freedesktop.systemd1.Manager", "Version", NULL, ret);
	return r < 0 ? r : 0;
}

void doctor_check_systemd(struct doctor *doctor)
{
	cleanup_free char *version = NULL;
	int r;

	if (!systemd_is_booted()) {
		doctor_say(doctor, "systemd", DOCTOR_FAIL,
			   "systemd does not run this host; affix needs it, or --root DIR for a "
			   "tree that is not running");
		return;
	}
	r = get_version(doctor->is_root, &version);
	if (r == -ELIBACC)
		doctor_say(doctor, "systemd", DOCTOR_FAIL,
			   "libsystemd.so.0 cannot be loaded, which asks systemd what it does: "
			   "install it (Debian: libsystemd0)");
	else if (r < 0)
		doctor_say(doctor, "systemd", doctor->is_root ? DOCTOR_FAIL : DOCTOR_SKIPPED,
			   "systemd does not say its version: %s", strerrordesc_np(-r));
	else if (strtol(version, NULL, 10) < SYSTEMD_VERSION_MIN)
		doctor_say(doctor, "systemd", DOCTOR_FAIL,
			   "systemd is version %s and affix needs %ld or later", version,
			   SYSTEMD_VERSION_MIN);
	else
		doctor_say(doctor, "systemd", DOCTOR_OK, "version %s", version);
}

void doctor_check_cgroups(struct doctor *doctor)
{
	struct statfs fs;

	if (statfs("/sys/fs/cgroup", &fs) < 0)
		doctor_say(doctor, "cgroups", DOCTOR_FAIL, "/sys/fs/cgroup cannot be looked at: %s",
			   strerrordesc_np(errno));
	else if (fs.f_type != CGROUP2_SUPER_MAGIC)
		doctor_say(doctor, "cgroups", DOCTOR_WARN,
			   "the cgroup hierarchy is not the unified one: limits of add-ons may not "
			   "be enforced; boot with systemd.unified_cgroup_hierarchy=1");
	else
		doctor_say(doctor, "cgroups", DOCTOR_OK, "unified hierarchy");
}

struct place {
	const char *path;
	mode_t mode;
	bool is_needed; /* else it is made when it is wanted */
};

/* Whether root alone can change what is in it, and what it is to be. */
static void check_place(struct doctor *doctor, const struct place *place)
{
	cleanup_fd int fd = -EBADF;
	struct stat st;
	int r;

	r = path_open_in_root(doctor->rootfd, place->path, O_PATH | O_DIRECTORY, 0, &fd);
	if (r == -EACCES && !doctor->is_root) {
		doctor_say(doctor, "directories", DOCTOR_SKIPPED, "'%s' can be seen by root only",
			   place->path);
		return;
	}
	if (r == -ENOENT && !place->is_needed)
		return;
	if (r < 0 || fstat(fd, &st) < 0) {
		doctor_say(
			doctor, "directories", DOCTOR_FAIL,
			"'%s' cannot be opened: %s; 'systemd-tmpfiles --create affix.conf' makes "
			"it",
			place->path, strerrordesc_np(r < 0 ? -r : errno));
		return;
	}
	if (st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH)))
		doctor_say(doctor, "directories", DOCTOR_FAIL,
			   "'%s' is writable by others than root: chown root and chmod %04o it",
			   place->path, place->mode);
	else if ((st.st_mode & 07777U) != place->mode)
		doctor_say(doctor, "directories", DOCTOR_WARN, "'%s' has mode %04o, expected %04o",
			   place->path, st.st_mode & 07777U, place->mode);
}

void doctor_check_directories(struct doctor *doctor)
{
	static const struct place places[] = {
		{PLAN_RUN_BASE,      0755, true },
                {PLAN_OPT_BASE,      0755, false},
		{PLAN_UNIT_BASE,     0755, true },
                {PLAN_SYSUSERS_BASE, 0755, false},
		{PLAN_TMPFILES_BASE, 0755, false},
                {"/etc/affix",       0755, false},
		{PLAN_CONFIG_BASE,   0755, false},
                {PLAN_STATE_BASE,    0755, true },
		{PLAN_CACHE_BASE,    0755, false},
                {PLAN_LOGS_BASE,     0755, false},
		{RECORD_DIRECTORY,   0700, true },
	};
	size_t before = json_array_size(doctor->checks);

	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		check_place(doctor, &places[i]);
	if (json_array_size(doctor->checks) == before)
		doctor_say(doctor, "directories", DOCTOR_OK, "%zu looked at", ARRAY_SIZE(places));
}

/* Tried, not looked up: what a file system can do depends on its options and on what it lies over.
 */
static int try_features(int dirfd, const char **ret_missing)
{
	static const char a[] = ".doctor-a" FILE_TEMPORARY_SUFFIX;
	static const char b[] = ".doctor-b" FILE_TEMPORARY_SUFFIX;
	cleanup_fd int unnamed = openat(dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	*ret_missing = NULL;
	if (unnamed < 0 && errno != EOPNOTSUPP && errno != EISDIR)
		return -errno;
	if (unnamed < 0) {
		*ret_missing = "unnamed files (O_TMPFILE)";
		return 0;
	}
	if (mkdirat(dirfd, a, 0700) < 0 || mkdirat(dirfd, b, 0700) < 0)
		return -errno;
	if (renameat2(dirfd, a, dirfd, b, RENAME_EXCHANGE) < 0)
		*ret_missing = "exchanging two names (RENAME_EXCHANGE)";
	return 0;
}

static void sweep_features(int dirfd)
{
	(void)unlinkat(dirfd, ".doctor-a" FILE_TEMPORARY_SUFFIX, AT_REMOVEDIR);
	(void)unlinkat(dirfd, ".doctor-b" FILE_TEMPORARY_SUFFIX, AT_REMOVEDIR);
}

void doctor_check_filesystem(struct doctor *doctor)
{
	cleanup_fd int fd = -EBADF;
	const char *missing = NULL;
	struct statvfs fs;
	int r;

	r = path_open_in_root(doctor->rootfd, PLAN_OPT_BASE, O_RDONLY | O_DIRECTORY, 0, &fd);
	if (r == -ENOENT)
		r = path_open_in_root(doctor->rootfd, "/opt", O_RDONLY | O_DIRECTORY, 0, &fd);
	if (r < 0 || fstatvfs(fd, &fs) < 0) {
		doctor_say(doctor, "filesystem", DOCTOR_FAIL, "'/opt' cannot be opened: %s",
			   strerrordesc_np(r < 0 ? -r : errno));
		return;
	}
	if (fs.f_flag & (ST_NOEXEC | ST_RDONLY)) {
		doctor_say(doctor, "filesystem", DOCTOR_FAIL,
			   "'" PLAN_OPT_BASE "' is mounted %s: add-ons cannot %s there",
			   fs.f_flag & ST_NOEXEC ? "noexec" : "read-only",
			   fs.f_flag & ST_NOEXEC ? "run" : "be put");
		return;
	}
	if (!doctor->is_root) {
		doctor_say(doctor, "filesystem", DOCTOR_SKIPPED, "only root can try it");
		return;
	}
	r = try_features(fd, &missing);
	sweep_features(fd);
	if (r < 0)
		doctor_say(doctor, "filesystem", DOCTOR_FAIL, "nothing can be made in '%s': %s",
			   PLAN_OPT_BASE, strerrordesc_np(-r));
	else if (missing)
		doctor_say(
			doctor, "filesystem", DOCTOR_FAIL,
			"the file system of '%s' does not have %s; keep /opt on ext4, xfs, btrfs "
			"or tmpfs",
			PLAN_OPT_BASE, missing);
	else
		doctor_say(doctor, "filesystem", DOCTOR_OK,
			   "'%s' has what is needed, %llu MiB are free", PLAN_OPT_BASE,
			   (unsigned long long)fs.f_bavail * fs.f_frsize >> 20);
}
