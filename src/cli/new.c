/* SPDX-License-Identifier: Apache-2.0 */

/* `affix new`: an add-on to start from, which builds, installs and runs as it is. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "cli/commands.h"
#include "manifest/manifest.h"

static const char manifest_template[] =
	"id: %s\n"
	"name: %s\n"
	"version: 0.1.0\n"
	"description: What this add-on does, in one line\n"
	"kind: native\n"
	"delivery: pushed-artifact\n"
	"supervision: systemd-service\n"
	"capabilities:\n"
	"  - %s\n"
	"requires:\n"
	"  base_agent: \">=0.1.0\"\n"
	"  platforms: [linux]\n"
	"  # Linux capabilities that the daemon needs, for example cap_net_raw; most need none.\n"
	"  os_capabilities: []\n"
	"exec:\n"
	"  binary: %s\n"
	"config_schema: config.schema.json\n"
	"health:\n"
	"  window_seconds: 10\n";

static const char unit_template[] = "[Unit]\n"
				    "Description=%s\n"
				    "\n"
				    "[Service]\n"
				    "Type=exec\n"
				    "User=affix-%s\n"
				    "ExecStart=/opt/affix/%s/current/%s\n"
				    "Restart=on-failure\n"
				    "RestartSec=5\n"
				    "NoNewPrivileges=yes\n"
				    "ProtectSystem=strict\n"
				    "ProtectHome=yes\n"
				    "PrivateTmp=yes\n"
				    "PrivateDevices=yes\n"
				    "\n"
				    "[Install]\n"
				    "WantedBy=multi-user.target\n";

static const char schema_template[] =
	"{\n"
	"  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
	"  \"type\": \"object\",\n"
	"  \"additionalProperties\": false,\n"
	"  \"properties\": {\n"
	"    \"interval_seconds\": { \"type\": \"integer\", \"minimum\": 1, \"maximum\": 3600, \"default\": 60 }\n"
	"  }\n"
	"}\n";

static const char program_template[] =
	"/*\n"
	" * A daemon to start from. Its configuration is a JSON object in the file config of $CREDENTIALS_DIRECTORY.\n"
	" *\n"
	" *   cc -O2 -o %s main.c\n"
	" *   affix build . --bin linux/amd64=%s -o .\n"
	" */\n"
	"#include <stdio.h>\n"
	"#include <stdlib.h>\n"
	"#include <unistd.h>\n"
	"\n"
	"int main(void)\n"
	"{\n"
	"\tconst char *directory = getenv(\"CREDENTIALS_DIRECTORY\");\n"
	"\n"
	"\tprintf(\"started, configuration in %%s/config\\n\", directory ? directory : \"?\");\n"
	"\tfflush(stdout);\n"
	"\tfor (;;)\n"
	"\t\tpause();\n"
	"}\n";

static int write_file(int dirfd, const char *name, const char *text)
{
	cleanup_fd int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0)
		return -errno;
	return fd_write_full(fd, text, strlen(text));
}

static int write_files(int dirfd, const char *id)
{
	cleanup_free char *manifest = NULL;
	cleanup_free char *program = NULL;
	cleanup_free char *unit_name = NULL;
	cleanup_free char *unit = NULL;
	int r;

	r = str_format(&manifest, manifest_template, id, id, id, id);
	if (r == 0)
		r = str_format(&unit, unit_template, id, id, id, id);
	if (r == 0)
		r = str_format(&unit_name, "affix-%s.service", id);
	if (r == 0)
		r = str_format(&program, program_template, id, id);
	if (r == 0)
		r = write_file(dirfd, MANIFEST_NAME, manifest);
	if (r == 0)
		r = write_file(dirfd, unit_name, unit);
	if (r == 0)
		r = write_file(dirfd, "config.schema.json", schema_template);
	if (r == 0)
		r = write_file(dirfd, "main.c", program);
	return r;
}

static int run(int argc, char **argv)
{
	const char *id;
	const char *path;
	cleanup_fd int fd = -EBADF;
	int r;

	if (command_option(&command_new, argc, argv, ":", NULL) != -1)
		return COMMAND_USAGE;
	if (argc - optind < 1 || argc - optind > 2)
		return command_usage(&command_new, "expected an id and perhaps a directory");
	id = argv[optind];
	path = argc - optind == 2 ? argv[optind + 1] : id;
	if (!manifest_id_is_valid(id))
		return command_usage(
			&command_new,
			"an id is lower-case letters, digits and single dashes, begins with a letter, has at most %u characters and is not a reserved name",
			MANIFEST_ID_MAX);
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return command_broke(-errno, "the directory '%s' cannot be made", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return command_broke(-errno, "the directory '%s' cannot be opened", path);
	r = write_files(fd, id);
	if (r == -EEXIST)
		return command_error("'%s' holds an add-on already; choose another directory",
				     path);
	if (r < 0)
		return command_broke(r, "the add-on cannot be written to '%s'", path);
	command_note_change();
	(void)printf(
		"%s: an add-on to start from; 'affix check %s' looks at it, main.c says how to build it\n",
		path, path);
	return COMMAND_DONE;
}

const struct command command_new = {
	.name = "new",
	.run = run,
	.synopsis = "ID [DIR]",
	.summary = "write an add-on to start from into DIR (./ID unless said)",
};
