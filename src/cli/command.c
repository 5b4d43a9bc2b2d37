/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What all subcommands share. Results go to stdout; whatever goes wrong is one line on stderr that
 * starts with a name: a refusal's, "usage", or "error".
 */

#include "cli/command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/str.h"

/* The longest piece of the command line that a message repeats. */
#define SHOWN_MAX 200U

static bool has_changed;

/* One line on stderr, with what came from outside made safe to print. */
static void complain(const char *name, const char *sentence, const char *tail)
{
	cleanup_free char *safe = str_escape(sentence, strlen(sentence), REFUSAL_TEXT_MAX);

	(void)fprintf(stderr, "%s: %s%s\n", name, safe ? safe : "out of memory", tail);
}

int command_usage(const struct command *command, const char *format, ...)
{
	cleanup_free char *sentence = NULL;
	cleanup_free char *tail = NULL;
	va_list arguments;

	va_start(arguments, format);
	ignore_result(str_vformat(&sentence, format, arguments));
	va_end(arguments);
	ignore_result(str_format(&tail, "; see 'affix %s%s--help'", command ? command->name : "",
				 command ? " " : ""));
	complain("usage", sentence ? sentence : "out of memory", tail ? tail : "");
	return COMMAND_USAGE;
}

int command_option(const struct command *command, int argc, char **argv, const char *short_options,
		   const struct option *long_options)
{
	static const struct option none[] = {{0}};
	int before = optind;
	const char *word;
	char letter[3];
	int option;

	opterr = 0;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the program has one thread */
	option = getopt_long(argc, argv, short_options, long_options ? long_options : none, NULL);
	if (option != ':' && option != '?')
		return option;
	/* The word that was read last, or a letter inside of one that is not at its end. */
	word = optind > 0 ? argv[optind - 1] : "";
	if (optind == before || *word != '-') {
		(void)snprintf(letter, sizeof(letter), "-%c", optopt);
		word = letter;
	}
	if (option == ':')
		(void)command_usage(command, "option '%.*s' needs a value", (int)SHOWN_MAX, word);
	else
		(void)command_usage(command,
				    "option '%.*s' is not known, ambiguous, or takes no value",
				    (int)SHOWN_MAX, word);
	return '?';
}

void command_complain(const char *name, const char *sentence)
{
	complain(name, sentence, "");
}

int command_refuse(const struct refusal *refusal)
{
	const char *name = refusal_to_string(refusal->code);

	complain(name ? name : "refused", refusal->text, "");
	return refusal_is_transient(refusal->code) ? COMMAND_TRY_AGAIN : COMMAND_REFUSED;
}

int command_unsigned(const char *bundle, const char *signature, struct refusal *reterr_refusal)
{
	cleanup_free char *bundle_shown = str_escape(bundle, strlen(bundle), REFUSAL_TEXT_MAX / 3);
	cleanup_free char *shown = str_escape(signature, strlen(signature), REFUSAL_TEXT_MAX / 3);

	return refuse(reterr_refusal, REFUSAL_BAD_SIGNATURE,
		      "'%s' is not signed: there is no '%s'; sign it with 'affix sign', or name "
		      "its signature with --signature",
		      bundle_shown ? bundle_shown : "?", shown ? shown : "?");
}

int command_error(const char *format, ...)
{
	cleanup_free char *sentence = NULL;
	va_list arguments;

	va_start(arguments, format);
	ignore_result(str_vformat(&sentence, format, arguments));
	va_end(arguments);
	complain("error", sentence ? sentence : "out of memory", "");
	return COMMAND_REFUSED;
}

int command_broke(int r, const char *format, ...)
{
	cleanup_free char *sentence = NULL;
	cleanup_free char *tail = NULL;
	va_list arguments;

	va_start(arguments, format);
	ignore_result(str_vformat(&sentence, format, arguments));
	va_end(arguments);
	ignore_result(str_format(
		&tail, ": %s", r == -EMEDIUMTYPE ? "it is no regular file" : strerrordesc_np(-r)));
	complain("error", sentence ? sentence : "out of memory", tail ? tail : "");
	return COMMAND_REFUSED;
}

int command_open_file(const char *path, int *ret_fd)
{
	/* O_NONBLOCK: a fifo must be refused, not waited for. */
	cleanup_fd int fd = open(path, O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode))
		return -EMEDIUMTYPE;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int command_read_file(const char *path, size_t max, char **ret_data, size_t *ret_size)
{
	cleanup_fd int fd = -EBADF;
	int r = command_open_file(path, &fd);

	return r < 0 ? r : fd_read_all(fd, max, ret_data, ret_size);
}

int command_open_parent(const char *path, int *ret_fd, const char **ret_name)
{
	const char *name = path_last_name(path);
	cleanup_free char *parent = strndup(path, (size_t)(name - path));
	int fd;

	if (!parent)
		return -ENOMEM;
	if (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return -EINVAL;
	fd = open(*parent ? parent : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	*ret_name = name;
	return 0;
}

void command_note_change(void)
{
	has_changed = true;
}

bool command_has_changed(void)
{
	return has_changed;
}

json_t *command_json_new(void)
{
	cleanup_json json_t *json = json_object();

	if (!json || json_add_uint(json, "schema", 1) < 0)
		return NULL;
	return TAKE_PTR(json);
}

int command_print_json(const json_t *json)
{
	cleanup_free char *text = json_to_pretty(json);

	if (!text)
		return command_broke(-ENOMEM, "the answer could not be made");
	(void)fputs(text, stdout);
	return COMMAND_DONE;
}
