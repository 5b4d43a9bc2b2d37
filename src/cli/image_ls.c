/* SPDX-License-Identifier: Apache-2.0 */

/* image ls, image cat: a look into an image. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "cli/image.h"

static int complain_path(const struct edit *edit, const char *path, int r)
{
	cleanup_free char *shown = str_escape(path, strlen(path), 1024);
	cleanup_free char *sentence = NULL;

	if (!path_leads_nowhere(r))
		return image_complain(NULL, edit, r);
	if (shown && str_format(&sentence, "there is no '%s' in '%s'", shown, edit->path) == 0)
		command_complain("not-found", sentence);
	return COMMAND_REFUSED;
}

/* As ls(1) has it. */
static void format_mode(uint32_t mode, char text[11])
{
	static const char types[] = "?pc?d?b?-?l?s???";
	static const char bits[] = "rwxrwxrwx";

	text[0] = types[(mode & S_IFMT) >> 12];
	for (unsigned i = 0; i < 9; i++)
		text[i + 1] = (char)(mode & (0400U >> i) ? bits[i] : '-');
	if (mode & S_ISUID)
		text[3] = mode & S_IXUSR ? 's' : 'S';
	if (mode & S_ISGID)
		text[6] = mode & S_IXGRP ? 's' : 'S';
	if (mode & S_ISVTX)
		text[9] = mode & S_IXOTH ? 't' : 'T';
	text[10] = '\0';
}

static int print_line(const char *name, const char *target, const struct edit_stat *st)
{
	cleanup_free char *shown = str_escape(name, strlen(name), 255);
	cleanup_free char *leads = target ? str_escape(target, strlen(target), 4096) : NULL;
	char mode[11];

	if (!shown || (target && !leads))
		return -ENOMEM;
	format_mode(st->mode, mode);
	(void)printf("%s %5u %5u %10llu %s%s%s\n", mode, st->uid, st->gid,
		     (unsigned long long)st->size, shown, leads ? " -> " : "", leads ? leads : "");
	return 0;
}

static int add_json(json_t *list, const char *name, const char *target, const struct edit_stat *st)
{
	cleanup_free char *shown = str_escape(name, strlen(name), 255);
	cleanup_free char *leads = target ? str_escape(target, strlen(target), 4096) : NULL;
	json_t *item = json_object();
	char mode[8];
	int r = json_append(list, item);

	(void)snprintf(mode, sizeof(mode), "%06o", st->mode & 0177777);
	if (r == 0)
		r = shown ? json_add_string(item, "name", shown) : -ENOMEM;
	if (r == 0)
		r = json_add_string(item, "mode", mode);
	if (r == 0)
		r = json_add(item, "uid", json_integer(st->uid));
	if (r == 0)
		r = json_add(item, "gid", json_integer(st->gid));
	if (r == 0)
		r = json_add(item, "size", json_integer((json_int_t)st->size));
	if (r == 0)
		r = json_add_string(item, "target", leads);
	return r;
}

static int list_one(struct edit *edit, const char *name, const struct edit_stat *st, json_t *list)
{
	cleanup_free char *target = NULL;
	int r = S_ISLNK(st->mode) ? edit_read_link(edit, st->ino, &target) : 0;

	if (r < 0)
		return r;
	return list ? add_json(list, name, target, st) : print_line(name, target, st);
}

static int list_directory(struct edit *edit, ext2_ino_t dir, json_t *list)
{
	cleanup_strv struct strv names = STRV_INIT;
	int r = edit_list(edit, dir, &names);

	for (size_t i = 0; r == 0 && i < names.count; i++) {
		struct edit_stat st;
		ext2_ino_t ino = 0;

		r = edit_lookup(edit, dir, names.items[i], &ino);
		if (r == 0)
			r = edit_stat(edit, ino, &st);
		if (r == 0)
			r = list_one(edit, names.items[i], &st, list);
	}
	return r;
}

static int print_list(json_t *list)
{
	cleanup_json json_t *json = command_json_new();

	if (!json || json_add(json, "items", json_incref(list)) < 0)
		return command_broke(-ENOMEM, "the answer could not be shown");
	return command_print_json(json);
}

static int list_path(struct edit *edit, const char *path, bool as_json)
{
	cleanup_json json_t *list = as_json ? json_array() : NULL;
	struct edit_stat st;
	int r = as_json && !list ? -ENOMEM : edit_resolve(edit, path, NULL, &st, NULL);

	if (r == 0 && S_ISDIR(st.mode))
		r = list_directory(edit, st.ino, list);
	else if (r == 0)
		r = list_one(edit, path, &st, list);
	if (r < 0)
		return complain_path(edit, path, r);
	return as_json ? print_list(list) : COMMAND_DONE;
}

static int run_ls(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{0 },
	};
	struct problem problem = PROBLEM_INIT;
	cleanup_edit struct edit edit = EDIT_INIT;
	bool as_json = false;
	int option;
	int r;

	while ((option = command_option(&command_image_ls, argc, argv, ":", options)) != -1) {
		if (option == '?')
			return COMMAND_USAGE;
		as_json = true;
	}
	if (argc - optind < 1 || argc - optind > 2)
		return command_usage(&command_image_ls, "an image and at most one path are wanted");
	r = edit_open(argv[optind], false, &edit, &problem);
	if (r != 0)
		return image_complain(&problem, &edit, r);
	return list_path(&edit, argc - optind == 2 ? argv[optind + 1] : "/", as_json);
}

static int run_cat(int argc, char **argv)
{
	struct problem problem = PROBLEM_INIT;
	cleanup_edit struct edit edit = EDIT_INIT;
	struct edit_stat st;
	int r;

	if (command_option(&command_image_cat, argc, argv, ":", NULL) != -1)
		return COMMAND_USAGE;
	if (argc - optind != 2)
		return command_usage(&command_image_cat, "an image and one path are wanted");
	r = edit_open(argv[optind], false, &edit, &problem);
	if (r != 0)
		return image_complain(&problem, &edit, r);
	r = edit_resolve(&edit, argv[optind + 1], NULL, &st, NULL);
	if (r == 0 && !S_ISREG(st.mode))
		return command_error("'%s' is no file; 'affix image ls' lists directories",
				     argv[optind + 1]);
	if (r == 0)
		r = edit_read_file(&edit, st.ino, st.size, STDOUT_FILENO);
	return r < 0 ? complain_path(&edit, argv[optind + 1], r) : COMMAND_DONE;
}

const struct command command_image_ls = {
	.name = "image ls",
	.run = run_ls,
	.synopsis = "[OPTION…] IMAGE[:PARTITION] [PATH]",
	.summary = "list a directory of an image",
	.options = "  --json               print the list as JSON\n",
};

const struct command command_image_cat = {
	.name = "image cat",
	.run = run_cat,
	.synopsis = "IMAGE[:PARTITION] PATH",
	.summary = "print a file of an image",
};
