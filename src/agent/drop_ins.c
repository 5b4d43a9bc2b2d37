/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Drop-ins that an administrator gave the units of an add-on. A version that fails under one is not
 * quarantined, since the drop-in may be to blame, and is tried again after ever longer pauses.
 * Whoever takes the drop-in away has mended the host: that is seen here, so that nobody waits for
 * the pause.
 */

#include "agent/drop_ins.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>

#include "base/dir.h"
#include "base/fd.h"
#include "base/str.h"

const char *const drop_in_directories[] = {
	"/etc/systemd/system",           "/run/systemd/system",
	"/etc/systemd/system.control",   "/run/systemd/system.control",
	"/usr/local/lib/systemd/system", NULL,
};

static const char *const types[] = {"service.d", "timer.d"};

/* What affix itself writes beside them: affix-updater(8). */
static bool is_ours(const char *name)
{
	return str_equal(name, "50-affix.conf") || str_equal(name, "zz-affix-policy.conf");
}

/* Whether the directory *name* is one for units of the add-on: its own, those of all units of a
 * type, or those of all whose names begin alike (affix-.service.d). */
static bool is_for(const char *name, const char *unit)
{
	size_t length = strlen(name);
	size_t unit_length = strlen(unit);

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		size_t stem;

		if (str_equal(name, types[i]))
			return true;
		if (!str_ends_with(name, types[i]) || name[length - strlen(types[i]) - 1] != '.')
			continue;
		stem = length - strlen(types[i]) - 1;
		if (stem >= unit_length)
			return strncmp(name, unit, unit_length) == 0 &&
			       (stem == unit_length || name[unit_length] == '_');
		return stem > 0 && name[stem - 1] == '-' && strncmp(name, unit, stem) == 0;
	}
	return false;
}

static DIR *open_directory(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
	DIR *dir = NULL;

	return fd < 0 || dir_take(fd, &dir) < 0 ? NULL : dir;
}

/* Whether there is another entry; in a directory that cannot be read there is none. */
static bool next_entry(DIR *dir, const struct dirent **ret)
{
	return dir && dir_next(dir, ret) == 0 && *ret;
}

/* A line for each file of *name*. */
static int add_files(struct strv *lines, const char *top, int topfd, const char *name)
{
	cleanup_dir DIR *dir = open_directory(topfd, name);
	const struct dirent *entry = NULL;
	int r = 0;

	while (r == 0 && next_entry(dir, &entry)) {
		cleanup_free char *line = NULL;
		struct stat st;

		if (!str_ends_with(entry->d_name, ".conf") || is_ours(entry->d_name) ||
		    fstatat(dirfd(dir), entry->d_name, &st, 0) < 0)
			continue;
		r = str_format(&line, "%s/%s/%s %" PRIu64 " %" PRId64 " %" PRId64 ".%ld", top, name,
			       entry->d_name, (uint64_t)st.st_ino, (int64_t)st.st_size,
			       (int64_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
		if (r == 0)
			r = strv_add(lines, line);
	}
	return r;
}

static int add_directory(struct strv *lines, const char *top, const char *unit)
{
	cleanup_dir DIR *dir = open_directory(AT_FDCWD, top);
	const struct dirent *entry = NULL;
	int r = 0;

	while (r == 0 && next_entry(dir, &entry)) {
		if (is_for(entry->d_name, unit))
			r = add_files(lines, top, dirfd(dir), entry->d_name);
	}
	return r;
}

int drop_ins_digest(const char *const *directories, const char *id, char ret[DESIRED_KEY_SIZE])
{
	cleanup_strv struct strv lines = STRV_INIT;
	cleanup_free char *unit = NULL;
	uint8_t digest[crypto_hash_sha256_BYTES];
	crypto_hash_sha256_state state;
	int r = str_format(&unit, "affix-%s", id);

	for (size_t i = 0; r == 0 && directories[i]; i++)
		r = add_directory(&lines, directories[i], unit);
	if (r < 0)
		return r;
	ret[0] = '\0';
	if (lines.count == 0)
		return 0;
	strv_sort(&lines);
	(void)crypto_hash_sha256_init(&state);
	for (size_t i = 0; i < lines.count; i++)
		(void)crypto_hash_sha256_update(&state, (const unsigned char *)lines.items[i],
						strlen(lines.items[i]) + 1);
	(void)crypto_hash_sha256_final(&state, digest);
	(void)sodium_bin2hex(ret, DESIRED_KEY_SIZE, digest, sizeof(digest));
	return 0;
}
