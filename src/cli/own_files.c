/* SPDX-License-Identifier: Apache-2.0 */

/* The list of affix's own files: a line for each, KIND SET PATH SOURCE. */

#include "cli/own_files.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "cli/command.h"
#include "manifest/manifest.h"

#define BUILT_PROGRAM     "/src/cli/affix"
#define BUILT_LIST        "/units/host.list"
#define INSTALLED_PROGRAM "/usr/bin/affix"
#define INSTALLED_LIST    "/usr/share/affix/host.list"

#define LIST_SIZE_MAX (64UL * 1024)
#define FILES_MAX     256U
#define N_FIELDS      4U

static const char *const kinds[] = {
	[OWN_FILE_PROGRAM] = "program",
	[OWN_FILE_TEXT] = "text",
	[OWN_FILE_LINK] = "link",
};
static_assert(ARRAY_SIZE(kinds) == OWN_FILE_KIND_N, "every kind has a name");

void own_files_done(struct own_files *files)
{
	for (size_t i = 0; i < files->count; i++) {
		free(files->items[i].set);
		free(files->items[i].path);
		free(files->items[i].source);
	}
	free(files->items);
	free(files->list);
	free(files->root);
	(void)fd_close(files->rootfd);
	*files = OWN_FILES_INIT;
}

/* Takes the first *length* bytes of *program* for the root of the tree. 0; 1: the
 * program is not the tree's; -errno. */
static int open_root(const char *program, size_t length, struct own_files *ret)
{
	cleanup_free char *root = strndup(program, length);
	cleanup_fd int rootfd = -EBADF;
	cleanup_fd int fd = -EBADF;
	struct stat self;
	struct stat st;

	if (!root)
		return -ENOMEM;
	rootfd = open(*root ? root : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (rootfd < 0 || path_open_in_root(rootfd, INSTALLED_PROGRAM, O_PATH, 0, &fd) < 0)
		return 1;
	if (fstat(fd, &st) < 0 || stat("/proc/self/exe", &self) < 0)
		return -errno;
	if (st.st_dev != self.st_dev || st.st_ino != self.st_ino)
		return 1;
	ret->root = TAKE_PTR(root);
	ret->rootfd = TAKE_FD(rootfd);
	return 0;
}

/* An installed program stands where its tree's INSTALLED_PROGRAM leads, be it by links in /usr or
 * /opt: the nearest directory above in which that is so. */
static int find_root(const char *program, struct own_files *ret)
{
	size_t length = strlen(program);
	int r = 1;

	while (r > 0 && length > 0) {
		do
			length--;
		while (length > 0 && program[length] != '/');
		r = open_root(program, length, ret);
	}
	return r == 0 && !(ret->list = strdup(INSTALLED_LIST)) ? -ENOMEM : r;
}

/* Where the list of the running program lies. 0; 1: it is nowhere that has one; -errno. */
static int find_list(struct own_files *ret, char program[4096])
{
	ssize_t n = readlink("/proc/self/exe", program, 4095);

	if (n < 0)
		return -errno;
	program[n] = '\0';
	if (!str_ends_with(program, BUILT_PROGRAM))
		return find_root(program, ret);
	/* A build names its own directory. */
	ret->rootfd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (ret->rootfd < 0)
		return -errno;
	ret->root = strdup("");
	return !ret->root ? -ENOMEM
			  : str_format(&ret->list, "%.*s" BUILT_LIST,
				       (int)((size_t)n - strlen(BUILT_PROGRAM)), program);
}

int own_files_open(const struct own_files *files, const char *source, int *ret_fd)
{
	cleanup_fd int fd = -EBADF;
	struct stat st;
	int r = path_open_in_root(files->rootfd, source, O_RDONLY | O_NOCTTY | O_NONBLOCK, 0, &fd);

	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int own_files_read(const struct own_files *files, const char *source, size_t max, char **ret_data,
		   size_t *ret_size)
{
	cleanup_fd int fd = -EBADF;
	int r = own_files_open(files, source, &fd);

	return r < 0 ? r : fd_read_all(fd, max, ret_data, ret_size);
}

static int set_kind(const char *name, enum own_file_kind *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(kinds[i], name) == 0) {
			*ret = (enum own_file_kind)i;
			return 0;
		}
	}
	return 1;
}

/* Takes *line* apart. 0; 1: it is no such line; -ENOMEM. */
static int parse_line(char *line, struct own_file *ret)
{
	char *fields[N_FIELDS];
	char *rest = line;

	for (size_t i = 0; i < N_FIELDS; i++) {
		fields[i] = strsep(&rest, " ");
		if (str_is_empty(fields[i]))
			return 1;
	}
	if (rest || set_kind(fields[0], &ret->kind) > 0 || !manifest_id_is_own(fields[1]) ||
	    !path_is_normal_absolute(fields[2]) || *fields[3] != '/')
		return 1;
	ret->set = strdup(fields[1]);
	ret->path = strdup(fields[2]);
	ret->source = strdup(fields[3]);
	return ret->set && ret->path && ret->source ? 0 : -ENOMEM;
}

/* gcc 12's analyzer takes for lost what is kept behind the files. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

static int parse_list(char *text, struct own_files *ret)
{
	int r = 0;

	ret->items = calloc(FILES_MAX, sizeof(*ret->items));
	if (!ret->items)
		return -ENOMEM;
	for (char *line; r == 0 && (line = strsep(&text, "\n"));) {
		if (*line == '\0')
			continue;
		r = ret->count < FILES_MAX ? parse_line(line, &ret->items[ret->count++]) : 1;
	}
	return r;
}

int own_files_load(struct own_files *ret)
{
	cleanup_own_files struct own_files files = OWN_FILES_INIT;
	cleanup_free char *text = NULL;
	char program[4096];
	size_t size = 0;
	int r = find_list(&files, program);

	if (r > 0)
		return command_error("affix's own files are not where '%s' is: expected a build "
				     "directory, or an installed " INSTALLED_PROGRAM,
				     program);
	if (r < 0)
		return command_broke(r, "affix's own files could not be found");
	r = own_files_read(&files, files.list, LIST_SIZE_MAX, &text, &size);
	if (r < 0)
		return command_broke(r,
				     "the list of affix's own files '%s%s' cannot be read; install "
				     "affix whole ('make install')",
				     files.root, files.list);
	r = parse_list(text, &files);
	if (r > 0)
		return command_error("'%s%s' is no list of affix's own files: expected lines of "
				     "KIND SET PATH SOURCE; install affix anew",
				     files.root, files.list);
	if (r < 0)
		return command_broke(r, "the list of affix's own files could not be kept");
	*ret = files;
	/* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores): clang 14 does not see the cleanup */
	files = OWN_FILES_INIT;
	return COMMAND_DONE;
}

#pragma GCC diagnostic pop
