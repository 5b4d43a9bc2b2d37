/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "ipc/refusal.h"

/* How `affix` ends: affix(1), EXIT STATUS. */
enum command_exit {
	COMMAND_DONE = 0,
	COMMAND_REFUSED = 1, /* nothing was changed */
	COMMAND_USAGE = 2,
	COMMAND_FAILED = 3, /* and rolled back */
	COMMAND_TRY_AGAIN = 4,
};

/*
 * One subcommand. *run* gets its own argv (argv[0] is the command's name, getopt is reset) and
 * returns an exit code. main() answers --help before it, and sees to it that standard output was
 * written.
 */
struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *synopsis; /* behind "affix NAME ": options and operands; "" for none */
	const char *summary;  /* one line, for `affix --help` */
	/* For `affix NAME --help`, or NULL: lines of "  OPTION VALUE  text", which completion
	 * reads; lines that go on are indented further. */
	const char *options;
	/* Commands of its own, or NULL: ended by NULL, their names begin with this one's. main()
	 * runs them; `run` is for a call that names none. */
	const struct command *const *verbs;
};

/*
 * getopt_long() that explains: *short_options* starts with ':', *long_options* may be NULL. The
 * option's value, -1 behind the last one, or '?' after a line on stderr: then return COMMAND_USAGE.
 */
int command_option(const struct command *command, int argc, char **argv, const char *short_options,
		   const struct option *long_options);

/* `usage: SENTENCE; see 'affix NAME --help'` on stderr; COMMAND_USAGE. */
int command_usage(const struct command *command, const char *format, ...) format_check(2, 3);

/* `NAME: SENTENCE` on stderr, one line whatever is in it. */
void command_complain(const char *name, const char *sentence);

/* `NAME: sentence` on stderr; COMMAND_REFUSED, or COMMAND_TRY_AGAIN for a transient refusal. */
int command_refuse(const struct refusal *refusal);

/* The refusal of a bundle without a signature. *reterr_refusal* is set; returns as refuse() does.
 */
int command_unsigned(const char *bundle, const char *signature, struct refusal *reterr_refusal);

/* `error: SENTENCE` on stderr, for what has no errno; COMMAND_REFUSED. */
int command_error(const char *format, ...) format_check(1, 2);

/* `error: SENTENCE: what the errno says` on stderr, for *r* = -errno; COMMAND_REFUSED. */
int command_broke(int r, const char *format, ...) format_check(2, 3);

/* Opens a file the user named, for reading: links are followed. 0 or -errno, -EMEDIUMTYPE where it
 * is no regular one. */
must_check int command_open_file(const char *path, int *ret_fd);

/* Reads such a file whole; -EFBIG above *max*. 0 or -errno. The caller frees *ret_data*. */
must_check int command_read_file(const char *path, size_t max, char **ret_data, size_t *ret_size);

/*
 * Opens the directory that a path of the command line lies in; *ret_name* points into *path* at its
 * last component. 0; -errno, -EINVAL where the last component is no name.
 */
must_check int command_open_parent(const char *path, int *ret_fd, const char **ret_name);

/* To be called when what was asked for is done and cannot be undone by losing the answer: then a
 * full disk behind standard output is a warning, else an error. */
void command_note_change(void);
bool command_has_changed(void);

/* {"schema": 1}, the start of every --json answer. NULL: no memory. */
json_t *command_json_new(void);

/* Prints *json* to stdout. COMMAND_DONE, or what command_broke() says. */
int command_print_json(const json_t *json);
