/* SPDX-License-Identifier: Apache-2.0 */

/* The list of affix's own files: a line for each, KIND SET PATH SOURCE. */

#include "cli/own_files.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/path.h"
#include "base/str.h"
#include "cli/command.h"
#include "manifest/manifest.h"

#define BUILT_PROGRAM     "/src/cli/affix"
#define BUILT_LIST        "/units/host.list"
#define INSTALLED_PROGRAM "/usr/bin/affix"
#define INSTALLED_LIST    "/usr/share/affix/host.list"
/* Where a program is that came out of this list. */
#define AFFIXED_PROGRAM "/opt/affix/affix/versions/"

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
	*files = OWN_FILES_INIT;
}

/* Where the list of the running program lies, and what is before the installed paths in it. 0; 1:
 * it is nowhere that has one; -errno. */
static int find_list(char **ret_root, char **ret_list, char program[4096])
{
	ssize_t n = readlink("/proc/self/exe", program, 4095);
	const char *place;

	if (n < 0)
		return -errno;
	program[n] = '\0';
	if (str_ends_with(program, BUILT_PROGRAM)) {
		/* A build names its own directory. */
		*ret_root = strdup("");
		return !*ret_root ? -ENOMEM
				  : str_format(ret_list, "%.*s" BUILT_LIST,
					       (int)((size_t)n - strlen(BUILT_PROGRAM)), program);
	}
	place = strstr(program, AFFIXED_PROGRAM);
	if (str_ends_with(program, INSTALLED_PROGRAM))
		place = program + n - strlen(INSTALLED_PROGRAM);
	if (!place)
		return 1;
	*ret_root = strndup(program, (size_t)(place - program));
	return *ret_root ? str_format(ret_list, "%s" INSTALLED_LIST, *ret_root) : -ENOMEM;
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

/* Takes *line* apart. *root* is before sources that are installed. 0; 1: it is no such line;
 * -ENOMEM. */
static int parse_line(char *line, const char *root, struct own_file *ret)
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
	if (!ret->set || !ret->path)
		return -ENOMEM;
	return str_format(&ret->source, "%s%s", ret->kind == OWN_FILE_LINK ? "" : root, fields[3]);
}

/* gcc 12's analyzer takes for lost what is kept behind the files. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

static int parse_list(char *text, const char *root, struct own_files *ret)
{
	int r = 0;

	ret->items = calloc(FILES_MAX, sizeof(*ret->items));
	if (!ret->items)
		return -ENOMEM;
	for (char *line; r == 0 && (line = strsep(&text, "\n"));) {
		if (*line == '\0')
			continue;
		r = ret->count < FILES_MAX ? parse_line(line, root, &ret->items[ret->count++]) : 1;
	}
	return r;
}

int own_files_load(struct own_files *ret)
{
	cleanup_own_files struct own_files files = OWN_FILES_INIT;
	cleanup_free char *root = NULL;
	cleanup_free char *text = NULL;
	char program[4096];
	size_t size = 0;
	int r = find_list(&root, &files.list, program);

	if (r > 0)
		return command_error("affix's own files are not where '%s' is: expected a build "
				     "directory, or an installed " INSTALLED_PROGRAM,
				     program);
	if (r < 0)
		return command_broke(r, "affix's own files could not be found");
	r = command_read_file(files.list, LIST_SIZE_MAX, &text, &size);
	if (r < 0)
		return command_broke(r,
				     "the list of affix's own files '%s' cannot be read; install "
				     "affix whole ('make install')",
				     files.list);
	r = parse_list(text, root, &files);
	if (r > 0)
		return command_error("'%s' is no list of affix's own files: expected lines of KIND "
				     "SET PATH SOURCE; install affix anew",
				     files.list);
	if (r < 0)
		return command_broke(r, "the list of affix's own files could not be kept");
	*ret = files;
	/* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores): clang 14 does not see the cleanup */
	files = OWN_FILES_INIT;
	return COMMAND_DONE;
}

#pragma GCC diagnostic pop
