/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A process in /proc. Everything is read below one descriptor of its directory, which names one
 * process and not its number: what ends in between is -ESRCH, never another process.
 */

#include "netprobe/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/str.h"
#include "netprobe/container.h"

#define FILE_MAX 65536U

/* At most FILE_MAX bytes with a NUL behind them. */
static int read_file(int directory, const char *name, char buffer[FILE_MAX + 1], size_t *ret_size)
{
	cleanup_fd int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	r = fd_read_full(fd, buffer, FILE_MAX, ret_size);
	if (r < 0)
		return r;
	buffer[*ret_size] = '\0';
	return 0;
}

/* "PID (comm) state …": the name may hold anything, so the fields are behind the last ')'. */
static int parse_stat(const char *text, struct procfs_process *process)
{
	const char *open = strchr(text, '(');
	const char *close = strrchr(text, ')');
	uint64_t ticks = 0;
	uint64_t memory = 0;
	size_t length;

	if (!open || !close || close < open)
		return -EIO;
	length = MIN((size_t)(close - open - 1), sizeof(process->comm) - 1);
	memcpy(process->comm, open + 1, length);
	process->comm[length] = '\0';
	/* NOLINTNEXTLINE(cert-err34-c): %*s skips, and the count of what was read is checked */
	if (sscanf(close + 1,
		   " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d "
		   "%" SCNu64 " %" SCNu64,
		   &ticks, &memory) != 2)
		return -EIO;
	process->start_ns = ticks * PROCFS_TICK_NS;
	process->is_kernel = memory == 0;
	return 0;
}

/* cgroup2's line ("0::") says it; where it names no container, one of cgroup1's may. */
static void parse_cgroups(char *text, struct procfs_process *process)
{
	char id[FLOW_CONTAINER_MAX + 1];
	char *rest = NULL;

	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		process->is_unified = str_starts_with(line, "0::") && container_id_parse(line, id);
		if (process->is_unified ||
		    (process->container_id[0] == '\0' && container_id_parse(line, id)))
			memcpy(process->container_id, id, sizeof(id));
		if (process->is_unified)
			return;
	}
}

int procfs_open(uint32_t tgid, int *ret_directory)
{
	char path[32];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%u", tgid);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	*ret_directory = fd;
	return 0;
}

int procfs_read(int directory, struct procfs_process *ret)
{
	struct procfs_process process = {0};
	cleanup_free char *buffer = malloc(FILE_MAX + 1);
	struct stat status;
	size_t size = 0;
	int r;

	if (!buffer)
		return -ENOMEM;
	if (fstat(directory, &status) < 0)
		return -errno;
	process.uid = status.st_uid;
	process.gid = status.st_gid;
	r = read_file(directory, "stat", buffer, &size);
	if (r >= 0)
		r = parse_stat(buffer, &process);
	if (r < 0)
		return r;
	r = read_file(directory, "cmdline", buffer, &size);
	if (r < 0)
		return r;
	process.is_kernel = process.is_kernel && size == 0;
	command_line_parse(buffer, size, &process.command_line);
	/* A process that changes its title joins all words with blanks, arguments as well. */
	process.command_line.word[strcspn(process.command_line.word, " ")] = '\0';
	/* A kernel without cgroups has no such file, and no containers. */
	if (read_file(directory, "cgroup", buffer, &size) >= 0)
		parse_cgroups(buffer, &process);
	*ret = process;
	return 0;
}

int procfs_read_process(uint32_t tgid, struct procfs_process *ret)
{
	cleanup_fd int directory = -EBADF;
	int r;

	r = procfs_open(tgid, &directory);
	return r < 0 ? r : procfs_read(directory, ret);
}
