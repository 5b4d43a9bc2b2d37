/* SPDX-License-Identifier: Apache-2.0 */

/*
 * image reset: an image that was booted is one machine's. What made it that goes, all at once, so
 * that each copy becomes a machine of its own, as the copies of an image that never ran do. What
 * makes it anew at the next boot is systemd, the agent, and, for the keys of sshd, --profile vm.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/path.h"
#include "cli/image.h"
#include "ext4/edit_file.h"

#define MACHINE_ID "/etc/machine-id"
#define DBUS_ID    "/var/lib/dbus/machine-id"
#define KEY_MAKER  "affix-vm-ssh-keys.service"
#define MAKER_UNIT "/usr/lib/systemd/system/" KEY_MAKER
#define MAKER_OWN  "/etc/systemd/system/" KEY_MAKER
#define MAKER_WANT "/etc/systemd/system/multi-user.target.wants/" KEY_MAKER
#define AGENT      "/var/lib/affix/agent"
#define SHOWN_MAX  4096U

/* What goes: the names in a directory. */
static const struct {
	const char *directory;
	const char *pattern;
} machines[] = {
	{"/etc/ssh",          "ssh_host_*_key"    },
	{"/etc/ssh",          "ssh_host_*_key.pub"},
	{"/var/lib/affix/vm", "ssh-keys"          },
	{"/var/lib/systemd",  "random-seed"       },
	{"/var/lib/systemd",  "credential.secret" },
	{AGENT,               "*"                 },
};

struct reset {
	struct edit edit;
	struct strv done; /* paths */
	bool is_json;
};

static void reset_done(struct reset *reset)
{
	edit_done(&reset->edit);
	strv_done(&reset->done);
}

static int note(struct reset *reset, const char *directory, const char *name)
{
	cleanup_free char *path = NULL;
	cleanup_free char *shown = NULL;
	int r = str_format(&path, "%s%s%s", directory, *directory ? "/" : "", name);

	if (r < 0)
		return r;
	shown = str_escape(path, strlen(path), SHOWN_MAX);
	return shown ? strv_add(&reset->done, shown) : -ENOMEM;
}

/* What a file that has no other name holds is erased with it. */
static int remove_name(struct reset *reset, ext2_ino_t dir, const char *name,
		       const struct edit_stat *st)
{
	int r = S_ISREG(st->mode) && st->links == 1 ? edit_erase(&reset->edit, st->ino) : 0;

	return r < 0 ? r : edit_remove(&reset->edit, dir, name);
}

/* A file of its own for a name that leads to another's, which may be anything. */
static int renew_machine_id(struct reset *reset, const struct edit_stat *st)
{
	static const struct edit_attributes attributes = {.mode = 0444};
	const char *name = NULL;
	ext2_ino_t dir = 0;
	ext2_ino_t ino = 0;
	int r = edit_find_parent(&reset->edit, MACHINE_ID, &dir, &name);

	if (r == 0)
		r = remove_name(reset, dir, name, st);
	return r < 0 ? r : edit_make_file(&reset->edit, dir, name, 0, &attributes, &ino);
}

/* Empty, and not away: a boot without the file takes itself for the first one and applies presets
 * to all units. */
static int empty_machine_id(struct reset *reset)
{
	struct edit_stat st;
	int r = edit_find(&reset->edit, MACHINE_ID, &st);

	if (path_leads_nowhere(r))
		return 0;
	if (r < 0)
		return r;
	if (S_ISLNK(st.mode) || (S_ISREG(st.mode) && st.size > 0 && st.links > 1)) {
		r = renew_machine_id(reset, &st);
	} else if (S_ISREG(st.mode) && st.size > 0) {
		r = edit_erase(&reset->edit, st.ino);
		if (r == 0)
			r = edit_replace_content(&reset->edit, st.ino, 0);
	} else {
		return 0;
	}
	return r < 0 ? r : note(reset, "", MACHINE_ID);
}

/* Where the id is empty, systemd takes D-Bus' for it, unless that is a link. */
static int link_dbus_id(struct reset *reset)
{
	const char *name = NULL;
	struct edit_stat st;
	ext2_ino_t dir = 0;
	int r = edit_find(&reset->edit, DBUS_ID, &st);

	if (path_leads_nowhere(r) || (r == 0 && !S_ISREG(st.mode)))
		return 0;
	if (r == 0)
		r = edit_find_parent(&reset->edit, DBUS_ID, &dir, &name);
	if (r == 0)
		r = remove_name(reset, dir, name, &st);
	if (r == 0)
		r = edit_make_link(&reset->edit, dir, name, MACHINE_ID);
	return r < 0 ? r : note(reset, "", DBUS_ID);
}

static int remove_names(struct reset *reset, const char *directory, const char *pattern)
{
	cleanup_strv struct strv names = STRV_INIT;
	struct edit_stat st;
	int r = edit_resolve(&reset->edit, directory, NULL, &st, NULL);

	if (path_leads_nowhere(r) || (r == 0 && !S_ISDIR(st.mode)))
		return 0;
	if (r == 0)
		r = edit_sweep(&reset->edit, st.ino, pattern, &names);
	for (size_t i = 0; r == 0 && i < names.count; i++)
		r = note(reset, directory, names.items[i]);
	return r;
}

static int forget(struct reset *reset)
{
	int r = empty_machine_id(reset);

	if (r == 0)
		r = link_dbus_id(reset);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(machines); i++)
		r = remove_names(reset, machines[i].directory, machines[i].pattern);
	return r;
}

/* Whether *path* leads to a file that says something: /dev/null and an empty file mask a unit. */
static int has_text(struct reset *reset, const char *path, bool *ret)
{
	struct edit_stat st = {0};
	int r = edit_resolve(&reset->edit, path, NULL, &st, NULL);

	*ret = r == 0 && S_ISREG(st.mode) && st.size > 0;
	return path_leads_nowhere(r) ? 0 : r;
}

/* Whether new host keys will be made at the next boot: *ret* false after a line on stderr. */
static int check_maker(struct reset *reset, bool *ret)
{
	struct edit_stat st;
	bool is_there = false;
	bool is_own = true;
	bool is_wanted = false;
	int r = has_text(reset, MAKER_UNIT, &is_there);

	if (r == 0)
		r = has_text(reset, MAKER_WANT, &is_wanted);
	if (r == 0) {
		r = edit_find(&reset->edit, MAKER_OWN, &st);
		r = path_leads_nowhere(r) ? 0 : (r < 0 ? r : has_text(reset, MAKER_OWN, &is_own));
	}
	*ret = r == 0 && is_there && is_own && is_wanted;
	if (r < 0 || *ret)
		return r;
	if (!is_there)
		command_complain("not-installed",
				 "'vm' is not installed in the image, and nothing would make new "
				 "host keys at its next boot; 'affix image inject --profile vm' "
				 "puts it in");
	else if (!is_own)
		command_complain("not-enabled",
				 "'" MAKER_OWN "' masks what would make new host keys at the "
				 "image's next boot; remove it from the image first");
	else
		command_complain("not-enabled",
				 "nothing would make new host keys at the image's next boot, for "
				 "'" MAKER_WANT "' is missing; 'affix image inject --profile vm' "
				 "mends it");
	return 0;
}

/* What a link leads to may be anybody's, and is not emptied; what it has would stay in each copy.
 */
static int check_agent(struct reset *reset, bool *ret)
{
	struct edit_stat st = {0};
	int r = edit_find(&reset->edit, AGENT, &st);

	*ret = r < 0 || !S_ISLNK(st.mode);
	if (!*ret)
		command_complain(
			"foreign-file",
			"'" AGENT "' of the image is a symbolic link, expected the "
			"agent's own directory, which is emptied; put the directory there");
	return path_leads_nowhere(r) ? 0 : r;
}

static int show(const struct reset *reset)
{
	cleanup_json json_t *json = NULL;
	json_t *list = NULL;
	int r;

	if (!reset->is_json) {
		for (size_t i = 0; i < reset->done.count; i++)
			(void)printf("%s\n", reset->done.items[i]);
		return COMMAND_DONE;
	}
	json = command_json_new();
	list = json_array();
	r = json ? json_add(json, "reset", list) : -ENOMEM;
	for (size_t i = 0; r == 0 && i < reset->done.count; i++)
		r = json_append(list, json_string(reset->done.items[i]));
	return r < 0 ? command_broke(r, "the answer could not be shown") : command_print_json(json);
}

static int run(struct reset *reset, const char *image)
{
	struct problem problem = PROBLEM_INIT;
	bool is_ready = false;
	int code;
	int r = edit_open(image, true, &reset->edit, &problem);

	if (r != 0)
		return image_complain(&problem, &reset->edit, r);
	r = check_maker(reset, &is_ready);
	if (r == 0 && is_ready)
		r = check_agent(reset, &is_ready);
	if (r == 0 && !is_ready)
		return COMMAND_REFUSED;
	if (r == 0)
		r = forget(reset);
	if (r < 0)
		return image_complain(&problem, &reset->edit, r);
	code = image_commit(&reset->edit);
	if (code != COMMAND_DONE)
		return code;
	command_note_change();
	return show(reset);
}

static int run_reset(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{0 },
	};
	CLEANUP(reset_done) struct reset reset = {.edit = EDIT_INIT};
	int option;

	while ((option = command_option(&command_image_reset, argc, argv, ":", options)) != -1) {
		if (option == '?')
			return COMMAND_USAGE;
		reset.is_json = true;
	}
	if (argc - optind != 1)
		return command_usage(&command_image_reset, "one image is wanted");
	return run(&reset, argv[optind]);
}

const struct command command_image_reset = {
	.name = "image reset",
	.run = run_reset,
	.synopsis = "[OPTION…] IMAGE[:PARTITION]",
	.summary = "make an image that was booted one that each copy boots for itself",
	.options = "  --json               print what was taken away as JSON\n",
};
