/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `affix`, the command line. It finds the subcommand, answers --help for it, and at the end makes
 * sure that what was printed has arrived: a full disk or a closed pipe behind stdout is an error,
 * not silence, and a warning where what was asked for is done all the same.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"

static const struct command *const commands[] = {
	&command_new,       &command_check,     &command_build,   &command_keygen,
	&command_sign,      &command_verify,    &command_inspect, &command_push,
	&command_pull,      &command_plan,      &command_install, &command_rollback,
	&command_uninstall, &command_configure, &command_status,  &command_drift,
	&command_repair,    &command_prune,     &command_hold,    &command_clear_quarantine,
	&command_doctor,    &command_fleet,     &command_image,   &command_vm,
	&command_help,
};

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	}
	return NULL;
}

/* `affix NAME VERB`, or NULL. */
static const struct command *find_verb(const struct command *command, const char *name)
{
	size_t length = strlen(command->name);

	for (size_t i = 0; command->verbs && command->verbs[i]; i++) {
		if (strcmp(command->verbs[i]->name + length + 1, name) == 0)
			return command->verbs[i];
	}
	return NULL;
}

static void print_synopsis(const struct command *command)
{
	(void)printf("affix %s%s%s\n", command->name, *command->synopsis ? " " : "",
		     command->synopsis);
}

static int help_command(const struct command *command)
{
	(void)printf("usage: ");
	print_synopsis(command);
	(void)printf("\n%s.\n", command->summary);
	if (command->options)
		(void)printf("\n%s", command->options);
	if (command->verbs)
		(void)printf("\n");
	for (size_t i = 0; command->verbs && command->verbs[i]; i++)
		(void)printf("  %-20s %s\n", command->verbs[i]->name + strlen(command->name) + 1,
			     command->verbs[i]->summary);
	(void)printf("\naffix(1) has the details.\n");
	return COMMAND_DONE;
}

static int help_all(void)
{
	(void)printf("usage: affix COMMAND [OPTION…] [OPERAND…]\n\n"
		     "Signed add-ons for Linux hosts: build, sign, deliver, watch, roll back.\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		(void)printf("  %-17s %s\n", commands[i]->name, commands[i]->summary);
	(void)printf(
		"\n'affix COMMAND --help' shows the options of one; affix(1) has the details.\n");
	return COMMAND_DONE;
}

static int run_help(int argc, char **argv)
{
	const struct command *command;

	if (argc < 2)
		return help_all();
	command = find(argv[1]);
	if (argc == 3 && command && command->verbs)
		command = find_verb(command, argv[2]);
	else if (argc > 2)
		command = NULL;
	if (!command)
		return command_usage(NULL, "'%s' is no command", argv[argc - 1]);
	return help_command(command);
}

const struct command command_help = {
	.name = "help",
	.run = run_help,
	.synopsis = "[COMMAND]",
	.summary = "say what the commands are, or how to use one",
};

/* Whether --help stands among the options: before "--". */
static bool wants_help(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return true;
	}
	return false;
}

static int dispatch(int argc, char **argv)
{
	const struct command *command;
	const struct command *verb;

	if (argc < 2)
		return command_usage(NULL, "a command is wanted");
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return help_all();
	if (strcmp(argv[1], "--version") == 0) {
		(void)printf("affix %s\n", AFFIX_VERSION);
		return COMMAND_DONE;
	}
	command = find(argv[1]);
	if (!command)
		return command_usage(NULL, "'%s' is no command", argv[1]);
	verb = argc > 2 ? find_verb(command, argv[2]) : NULL;
	if (verb) {
		command = verb;
		argc--;
		argv++;
	}
	if (wants_help(argc - 1, argv + 1))
		return help_command(command);
	return command->run(argc - 1, argv + 1);
}

/* Without them the first files that are opened would be taken for standard input and output: an
 * answer would be written into a key. What stands in for them takes no output. */
static int hold_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		/* NOLINTNEXTLINE(android-cloexec-open): it is to be inherited as the others are */
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != fd)
			return -EBADF;
	}
	return 0;
}

static int close_stdout(int code)
{
	int r = ferror(stdout) ? -EIO : 0;

	/* An error of an earlier write shows in ferror(), of the last ones in these two. */
	errno = 0;
	if (fflush(stdout) != 0 || fclose(stdout) != 0)
		r = errno > 0 ? -errno : -EIO;
	if (r == 0)
		return code;
	if (code == COMMAND_DONE && command_has_changed()) {
		(void)fprintf(stderr,
			      "warning: it is done, but the answer could not be written to "
			      "standard output: %s\n",
			      strerrordesc_np(-r));
		return COMMAND_DONE;
	}
	(void)command_broke(r, "the answer could not be written to standard output");
	return code == COMMAND_DONE ? COMMAND_REFUSED : code;
}

int main(int argc, char **argv)
{
	(void)signal(SIGPIPE, SIG_IGN);
	if (hold_standard_descriptors() < 0)
		return COMMAND_REFUSED;
	if (sodium_init() < 0)
		return command_broke(-ENOSYS, "libsodium does not work here");
	return close_stdout(dispatch(argc, argv));
}
