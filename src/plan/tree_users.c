/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Users and groups of a tree. A running system answers through NSS. In a tree that is not running
 * the files count, and a missing user is added as systemd-sysusers would do at the next boot, had
 * it a next boot: where /etc/.updated is fresh it does not run, and the service would die with
 * 217/USER. libc's putpwent() family serves streams of the host, not descriptors of a tree, and
 * rewrites every line; here the lines of others keep their bytes.
 */

#include "plan/tree_users.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/path.h"
#include "plan/accounts.h"

#define ACCOUNTS_SIZE_MAX (16U << 20)
#define NSS_BUFFER_MAX    (1U << 20)

/* The range systemd-sysusers takes system users from, from the top. */
#define SYSTEM_ID_MAX 999U
#define SYSTEM_ID_MIN 100U

#define SECONDS_PER_DAY 86400U

/* One of the four files as it is, and as it is to be. */
struct accounts_file {
	const char *name;
	char *text; /* NULL: there is no such file */
	struct file_attributes attributes;
	bool is_prepared; /* what it is to be is beside it */
};

/* The order in which they get their names: a user never has a group that is not there. */
enum which_file {
	FILE_GROUP,
	FILE_GSHADOW,
	FILE_PASSWD,
	FILE_SHADOW,
	FILE_N,
};

struct user_addition {
	int etc;
	int lock;
	bool is_copy;
	struct accounts_file files[FILE_N];
};

/* Reads *fd*, closing it. Text only: a NUL would cut what is behind it. */
static int read_accounts(int fd, char **ret_text, struct stat *ret_st)
{
	cleanup_free char *text = NULL;
	cleanup_fd int owned = fd;
	size_t size = 0;
	int r;

	if (fstat(owned, ret_st) < 0)
		return -errno;
	if (!S_ISREG(ret_st->st_mode))
		return -EINVAL;
	r = fd_read_all(owned, ACCOUNTS_SIZE_MAX, &text, &size);
	if (r < 0)
		return r;
	if (strlen(text) != size)
		return -EINVAL;
	*ret_text = TAKE_PTR(text);
	return 0;
}

int tree_read_accounts(const struct tree *tree, const char *path, char **ret)
{
	struct stat st = {0};
	int fd = -EBADF;
	int r;

	r = path_open_in_root(tree->rootfd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &fd);
	if (r == 0)
		return read_accounts(fd, ret, &st);
	if (r != -ENOENT)
		return r;
	*ret = strdup("");
	return *ret ? 0 : -ENOMEM;
}

/* The id of *name* in *path* of a tree that is not running. */
static int find_in_file(const struct tree *tree, const char *path, const char *name, uint32_t *ret)
{
	cleanup_free char *text = NULL;
	int r = tree_read_accounts(tree, path, &text);

	if (r < 0)
		return r;
	return accounts_find_id(text, name, ret) ? 0 : -ESRCH;
}

/* What NSS functions answer, besides 0, where there is no such name: getpwnam_r(3), ERRORS. */
static bool is_absent(int error)
{
	return error == ENOENT || error == ESRCH || error == EBADF || error == EPERM;
}

/* Calls *look* with growing buffers until the entry fits. */
static int find_in_nss(int (*look)(const char *, char *, size_t, uint32_t *), const char *name,
		       uint32_t *ret)
{
	for (size_t size = 1024; size <= NSS_BUFFER_MAX; size *= 4) {
		cleanup_free char *buffer = malloc(size);
		int error = buffer ? look(name, buffer, size, ret) : ENOMEM;

		if (error != ERANGE)
			return is_absent(error) ? -ESRCH : -error;
	}
	return -ERANGE;
}

static int look_user(const char *name, char *buffer, size_t size, uint32_t *ret)
{
	struct passwd entry;
	struct passwd *found = NULL;
	int error = getpwnam_r(name, &entry, buffer, size, &found);

	if (error != 0 || !found)
		return error != 0 ? error : ESRCH;
	*ret = found->pw_uid;
	return 0;
}

static int look_group(const char *name, char *buffer, size_t size, uint32_t *ret)
{
	struct group entry;
	struct group *found = NULL;
	int error = getgrnam_r(name, &entry, buffer, size, &found);

	if (error != 0 || !found)
		return error != 0 ? error : ESRCH;
	*ret = found->gr_gid;
	return 0;
}

int tree_own_user(const struct tree *tree, const char *name, uid_t *ret)
{
	if (strcmp(name, "root") == 0) {
		*ret = 0;
		return 0;
	}
	return tree->is_live ? find_in_nss(look_user, name, ret)
			     : find_in_file(tree, "/etc/passwd", name, ret);
}

int tree_own_group(const struct tree *tree, const char *name, gid_t *ret)
{
	if (strcmp(name, "root") == 0) {
		*ret = 0;
		return 0;
	}
	return tree->is_live ? find_in_nss(look_group, name, ret)
			     : find_in_file(tree, "/etc/group", name, ret);
}

int tree_user(const struct tree *tree, const char *name, uid_t *ret)
{
	int r = tree_own_user(tree, name, ret);

	if (r == 0 && tree->is_copy)
		*ret = geteuid();
	return r;
}

int tree_group(const struct tree *tree, const char *name, gid_t *ret)
{
	int r = tree_own_group(tree, name, ret);

	if (r == 0 && tree->is_copy)
		*ret = getegid();
	return r;
}

/* The lock that passwd(1) and its relatives take: lckpwdf(3). */
static int lock_accounts(int etc, int *ret_fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	cleanup_fd int fd = -EBADF;
	int r;

	r = path_open_beneath(etc, ".pwd.lock", O_RDWR | O_CREAT | O_NOCTTY, 0600, &fd);
	if (r < 0)
		return r;
	do
		r = fcntl(fd, F_OFD_SETLKW, &lock);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Fills *file*. Not through a symlink: it would be replaced by a file. */
static int load_accounts(int etc, struct accounts_file *file)
{
	struct stat st = {0};
	int fd = -EBADF;
	int r;

	r = path_open_beneath(etc, file->name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, &fd);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = read_accounts(fd, &file->text, &st);
	if (r != 0)
		return r;
	file->attributes = (struct file_attributes){
		.mode = st.st_mode & 07777,
		.uid = st.st_uid,
		.gid = st.st_gid,
	};
	return 0;
}

/* passwd and group are made where they are missing, the shadow files are not. */
static int load_or_begin(int etc, struct accounts_file *file)
{
	int r = load_accounts(etc, file);

	if (r < 0 || file->text)
		return r;
	file->text = strdup("");
	file->attributes = (struct file_attributes){
		.mode = 0644,
		.uid = geteuid(),
		.gid = getegid(),
	};
	return file->text ? 0 : -ENOMEM;
}

/* Prepares the file with *line* for *name*, unless it is missing or has an entry of that name. */
static int add_line(int etc, struct accounts_file *file, const char *name, const char *line)
{
	cleanup_free char *text = NULL;
	int r;

	if (!file->text || accounts_has_name(file->text, name))
		return 0;
	r = accounts_add(file->text, line, &text);
	if (r < 0)
		return r;
	file->is_prepared = true;
	return file_prepare(etc, file->name, text, strlen(text), &file->attributes);
}

static bool is_free(const char *passwd, const char *group, uint32_t id)
{
	return !accounts_has_id(passwd, id) && !accounts_has_id(group, id);
}

/* The highest system id that is neither a user's nor a group's. */
static int find_free(const char *passwd, const char *group, uint32_t *ret)
{
	for (uint32_t id = SYSTEM_ID_MAX; id >= SYSTEM_ID_MIN; id--) {
		if (is_free(passwd, group, id)) {
			*ret = id;
			return 0;
		}
	}
	return -EUSERS;
}

/* The ids that the user and its group have or get: the same number where that is possible. */
static int choose_ids(const char *passwd, const char *group, const char *name, uint32_t *ret_uid,
		      uint32_t *ret_gid)
{
	int r = 0;

	if (!accounts_find_id(group, name, ret_gid))
		r = find_free(passwd, group, ret_gid);
	if (r < 0 || accounts_find_id(passwd, name, ret_uid))
		return r;
	*ret_uid = *ret_gid;
	return accounts_has_id(passwd, *ret_gid) ? find_free(passwd, group, ret_uid) : 0;
}

static int prepare_group(int etc, struct accounts_file *group, struct accounts_file *gshadow,
			 const char *name, uint32_t gid)
{
	cleanup_free char *line = NULL;
	cleanup_free char *shadow = NULL;
	int r;

	r = str_format(&line, "%s:x:%u:", name, gid);
	if (r == 0)
		r = str_format(&shadow, "%s:!*::", name);
	if (r == 0)
		r = add_line(etc, group, name, line);
	return r < 0 ? r : add_line(etc, gshadow, name, shadow);
}

static int prepare_user(int etc, struct accounts_file *passwd, struct accounts_file *shadow,
			const char *name, const char *entry)
{
	cleanup_free char *line = NULL;
	int r;

	r = str_format(&line, "%s:!*:%llu::::::", name,
		       (unsigned long long)(clock_repeatable_sec() / SECONDS_PER_DAY));
	if (r == 0)
		r = add_line(etc, passwd, name, entry);
	return r < 0 ? r : add_line(etc, shadow, name, line);
}

static int prepare_accounts(int etc, struct accounts_file files[FILE_N], const char *name,
			    const char *gecos, const char *home)
{
	cleanup_free char *entry = NULL;
	uint32_t uid = 0;
	uint32_t gid = 0;
	int r;

	r = load_or_begin(etc, &files[FILE_PASSWD]);
	if (r == 0)
		r = load_or_begin(etc, &files[FILE_GROUP]);
	if (r == 0)
		r = load_accounts(etc, &files[FILE_SHADOW]);
	if (r == 0)
		r = load_accounts(etc, &files[FILE_GSHADOW]);
	if (r == 0)
		r = choose_ids(files[FILE_PASSWD].text, files[FILE_GROUP].text, name, &uid, &gid);
	if (r == 0)
		r = str_format(&entry, "%s:x:%u:%u:%s:%s:/usr/sbin/nologin", name, uid, gid, gecos,
			       home);
	if (r == 0)
		r = prepare_group(etc, &files[FILE_GROUP], &files[FILE_GSHADOW], name, gid);
	if (r == 0)
		r = prepare_user(etc, &files[FILE_PASSWD], &files[FILE_SHADOW], name, entry);
	return r;
}

static int open_accounts(const struct tree *tree, int *ret_etc, int *ret_lock)
{
	cleanup_fd int etc = -EBADF;
	int r = path_open_in_root(tree->rootfd, "/etc", O_RDONLY | O_DIRECTORY, 0, &etc);

	if (r == 0)
		r = lock_accounts(etc, ret_lock);
	if (r == 0)
		*ret_etc = TAKE_FD(etc);
	return r;
}

static int user_addition_new(bool is_copy, struct user_addition **ret)
{
	static const char *const names[FILE_N] = {
		[FILE_GROUP] = "group",
		[FILE_GSHADOW] = "gshadow",
		[FILE_PASSWD] = "passwd",
		[FILE_SHADOW] = "shadow",
	};
	struct user_addition *addition = calloc(1, sizeof(*addition));

	if (!addition)
		return -ENOMEM;
	addition->etc = -EBADF;
	addition->lock = -EBADF;
	addition->is_copy = is_copy;
	for (size_t i = 0; i < FILE_N; i++)
		addition->files[i].name = names[i];
	*ret = addition;
	return 0;
}

int user_addition_prepare(const struct tree *tree, const char *name, const char *gecos,
			  const char *home, struct user_addition **ret)
{
	cleanup_user_addition struct user_addition *addition = NULL;
	int r;

	if (!path_is_safe_name(name) || strpbrk(name, ":,+") || strpbrk(gecos, ":\n") ||
	    !(path_is_normal_absolute(home) || strcmp(home, "/") == 0) || strchr(home, ':'))
		return -EINVAL;
	/* A tree may be begun by what is put into it: users come before all other files. */
	if (mkdirat(tree->rootfd, "etc", 0755) < 0 && errno != EEXIST)
		return -errno;
	r = user_addition_new(tree->is_copy, &addition);
	if (r == 0)
		r = open_accounts(tree, &addition->etc, &addition->lock);
	if (r == 0)
		r = prepare_accounts(addition->etc, addition->files, name, gecos, home);
	if (r == 0)
		*ret = TAKE_PTR(addition);
	return r;
}

int user_addition_publish(struct user_addition *addition)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < FILE_N; i++) {
		if (!addition->files[i].is_prepared)
			continue;
		r = file_publish(addition->etc, addition->files[i].name);
		addition->files[i].is_prepared = r < 0;
	}
	return r;
}

struct user_addition *user_addition_free(struct user_addition *addition)
{
	if (!addition)
		return NULL;
	for (size_t i = 0; i < FILE_N; i++) {
		if (addition->files[i].is_prepared)
			ignore_result(file_forget(addition->etc, addition->files[i].name));
		free(addition->files[i].text);
	}
	(void)fd_close(addition->lock);
	(void)fd_close(addition->etc);
	free(addition);
	return NULL;
}

int tree_forget_user(const struct tree *tree)
{
	static const char *const names[] = {"group", "gshadow", "passwd", "shadow"};
	cleanup_fd int etc = -EBADF;
	cleanup_fd int lock = -EBADF;
	int r = open_accounts(tree, &etc, &lock);

	/* A tree that is begun may have no /etc yet. */
	if (r == -ENOENT)
		return 0;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(names); i++)
		r = file_forget(etc, names[i]);
	return r;
}
