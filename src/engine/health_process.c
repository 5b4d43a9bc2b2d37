/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a process is in the kernel, against what a plan grants. The manager is not believed here:
 * systemd 252 drops ambient capabilities that it cannot give and calls the unit active. The
 * process's directory in /proc is held open, so that all is read of one process, whoever gets its
 * number next.
 */

#include "engine/health_process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"

/* /proc/PID/status is a good 1 KiB; its lists of groups and CPUs may be long. */
#define STATUS_MAX ((size_t)256 * 1024)

struct process_status {
	char state;
	uint64_t uids[4];
	uint64_t permitted;
	uint64_t bounding;
	uint64_t ambient;
};

/* The numbers behind "\nFIELD:". */
static int read_numbers(const char *status, const char *field, int base, uint64_t *ret, size_t n)
{
	const char *at = strstr(status, field);

	if (!at)
		return -EBADMSG;
	at += strlen(field);
	for (size_t i = 0; i < n; i++) {
		char *end = NULL;

		ret[i] = strtoull(at, &end, base);
		if (end == at)
			return -EBADMSG;
		at = end;
	}
	return 0;
}

/* The name in its first line is the process's own choice, but the kernel escapes its newlines. */
static int parse_status(const char *text, struct process_status *ret)
{
	static const char state_field[] = "\nState:\t";
	const char *state = strstr(text, state_field);
	int r;

	if (!state)
		return -EBADMSG;
	ret->state = state[strlen(state_field)];
	r = read_numbers(text, "\nUid:", 10, ret->uids, ARRAY_SIZE(ret->uids));
	if (r >= 0)
		r = read_numbers(text, "\nCapPrm:", 16, &ret->permitted, 1);
	if (r >= 0)
		r = read_numbers(text, "\nCapBnd:", 16, &ret->bounding, 1);
	if (r >= 0)
		r = read_numbers(text, "\nCapAmb:", 16, &ret->ambient, 1);
	return r;
}

static bool is_gone(int r)
{
	return r == -ENOENT || r == -ESRCH;
}

/*
 * The file may not let itself be looked at: a process can run one of a file system of its own
 * making, in a user namespace. That is for nobody but its add-on to suffer from; where not even the
 * link can be read, it is us who may not look.
 */
static int look_failed(int pid_fd, int error, char reterr_reason[HEALTH_REASON_MAX])
{
	char target[1];

	if (is_gone(error))
		return HEALTH_PROCESS_E_GONE;
	if (readlinkat(pid_fd, "exe", target, sizeof(target)) < 0)
		return is_gone(-errno) ? HEALTH_PROCESS_E_GONE : error;
	(void)snprintf(reterr_reason, HEALTH_REASON_MAX,
		       "what its main process runs cannot be looked at: %s",
		       strerrordesc_np(-error));
	return HEALTH_PROCESS_E_OTHER;
}

static int check_binary(const struct plan *plan, const struct tree *tree, int pid_fd,
			char reterr_reason[HEALTH_REASON_MAX])
{
	cleanup_free char *shown = NULL;
	cleanup_fd int fd = -EBADF;
	char target[256] = "";
	struct stat running;
	struct stat wanted;
	int r;

	/* A magic link: what it names is the file itself, whatever the path says by now. */
	if (fstatat(pid_fd, "exe", &running, 0) < 0)
		return look_failed(pid_fd, -errno, reterr_reason);
	r = path_open_in_root(tree->rootfd, plan->binary, O_PATH, 0, &fd);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == -ENOENT) {
		(void)snprintf(reterr_reason, HEALTH_REASON_MAX, "'%s' is missing", plan->binary);
		return HEALTH_PROCESS_E_WRONG;
	}
	if (fstat(fd, &wanted) < 0)
		return -errno;
	if (running.st_dev == wanted.st_dev && running.st_ino == wanted.st_ino)
		return 0;
	if (readlinkat(pid_fd, "exe", target, sizeof(target) - 1) < 0)
		return is_gone(-errno) ? HEALTH_PROCESS_E_GONE : -errno;
	shown = str_escape(target, strlen(target), sizeof(target));
	if (!shown)
		return -ENOMEM;
	(void)snprintf(reterr_reason, HEALTH_REASON_MAX,
		       "its main process runs '%.200s' instead of '%.200s'", shown, plan->binary);
	return HEALTH_PROCESS_E_OTHER;
}

static int check_user(const struct plan *plan, const struct tree *tree,
		      const struct process_status *status, char reterr_reason[HEALTH_REASON_MAX])
{
	uid_t uid = 0;
	int r;

	r = tree_user(tree, plan->user, &uid);
	if (r < 0 && r != -ESRCH)
		return r;
	if (r == -ESRCH) {
		(void)snprintf(reterr_reason, HEALTH_REASON_MAX, "its user '%s' does not exist",
			       plan->user);
		return HEALTH_PROCESS_E_WRONG;
	}
	for (size_t i = 0; i < ARRAY_SIZE(status->uids); i++) {
		if (status->uids[i] == uid)
			continue;
		(void)snprintf(reterr_reason, HEALTH_REASON_MAX,
			       "its main process runs with uid %" PRIu64
			       " instead of %u, the user '%s'",
			       status->uids[i], (unsigned)uid, plan->user);
		return HEALTH_PROCESS_E_WRONG;
	}
	return 0;
}

static int check_set(const char *name, uint64_t has, uint64_t granted,
		     char reterr_reason[HEALTH_REASON_MAX])
{
	if (has == granted)
		return 0;
	(void)snprintf(reterr_reason, HEALTH_REASON_MAX,
		       "its main process has the %s capabilities 0x%" PRIx64 " where 0x%" PRIx64
		       " was granted",
		       name, has, granted);
	return HEALTH_PROCESS_E_WRONG;
}

static int check_capabilities(const struct plan *plan, const struct process_status *status,
			      char reterr_reason[HEALTH_REASON_MAX])
{
	int r;

	r = check_set("bounding", status->bounding, plan->capabilities, reterr_reason);
	if (r == 0 && plan->file_capabilities)
		r = check_set("permitted", status->permitted, plan->capabilities, reterr_reason);
	if (r == 0)
		r = check_set("ambient", status->ambient,
			      plan->file_capabilities ? 0 : plan->capabilities, reterr_reason);
	return r;
}

int health_process_check(const struct plan *plan, const struct tree *tree, pid_t pid,
			 char reterr_reason[HEALTH_REASON_MAX])
{
	struct process_status status = {0};
	cleanup_free char *text = NULL;
	cleanup_fd int pid_fd = -EBADF;
	char path[32];
	int r;

	(void)snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	pid_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (pid_fd < 0)
		return is_gone(-errno) ? HEALTH_PROCESS_E_GONE : -errno;
	/* The file first: what is read behind it is from after the exec. */
	r = check_binary(plan, tree, pid_fd, reterr_reason);
	if (r != 0)
		return r;
	r = fd_read_file_at(pid_fd, "status", STATUS_MAX, &text, NULL);
	if (r < 0)
		return is_gone(r) ? HEALTH_PROCESS_E_GONE : r;
	r = parse_status(text, &status);
	if (r < 0)
		return r;
	if (status.state == 'Z' || status.state == 'X')
		return HEALTH_PROCESS_E_GONE;
	r = check_user(plan, tree, &status, reterr_reason);
	if (r != 0)
		return r;
	return check_capabilities(plan, &status, reterr_reason);
}
