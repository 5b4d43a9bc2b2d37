/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `affix keygen`: a key pair in minisign's files. The secret file is made first and taken back if
 * the public one cannot be: a pair is there, or nothing.
 */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "cli/commands.h"
#include "cli/password.h"
#include "crypto/minisign.h"

struct keygen_options {
	const char *public_path;
	const char *secret_path;
	bool without_password;
	bool replace;
};

static int parse_options(int argc, char **argv, struct keygen_options *ret)
{
	static const struct option none[] = {{0}};
	int option;

	while ((option = command_option(&command_keygen, argc, argv, ":p:s:Wf", none)) != -1) {
		switch (option) {
		case 'p':
			ret->public_path = optarg;
			break;
		case 's':
			ret->secret_path = optarg;
			break;
		case 'W':
			ret->without_password = true;
			break;
		case 'f':
			ret->replace = true;
			break;
		default:
			return COMMAND_USAGE;
		}
	}
	if (optind < argc)
		return command_usage(&command_keygen, "'%s' is one operand too many", argv[optind]);
	if (!ret->public_path || !ret->secret_path)
		return command_usage(&command_keygen, "-p and -s are wanted: where the keys go");
	return COMMAND_DONE;
}

/* Makes a new file, or with *replace* puts one in the place of the old. */
static int write_key(const char *path, const char *text, mode_t mode, bool replace)
{
	const struct file_attributes attributes = {mode, geteuid(), getegid()};
	cleanup_fd int parent = -EBADF;
	cleanup_fd int fd = -EBADF;
	const char *name = NULL;
	int r;

	r = command_open_parent(path, &parent, &name);
	if (r < 0)
		return r;
	if (replace) {
		r = file_replace(parent, name, text, strlen(text), &attributes);
		return r < 0 ? r : dir_sync(parent);
	}
	fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	r = fd_write_full(fd, text, strlen(text));
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0)
		r = dir_sync(parent);
	if (r < 0)
		(void)unlinkat(parent, name, 0);
	return r;
}

static int write_pair(const struct keygen_options *options, const char *secret_text,
		      const char *public_text)
{
	int r;

	r = write_key(options->secret_path, secret_text, 0600, options->replace);
	if (r < 0)
		return command_broke(r, "the secret key '%s' could not be written",
				     options->secret_path);
	r = write_key(options->public_path, public_text, 0644, options->replace);
	if (r < 0) {
		(void)unlink(options->secret_path);
		return command_broke(r, "the public key '%s' could not be written",
				     options->public_path);
	}
	return COMMAND_DONE;
}

/* Asks before minutes of scrypt are spent; the O_EXCL of the writing is what holds. */
static int check_absent(const struct keygen_options *options)
{
	const char *const paths[] = {options->secret_path, options->public_path};
	struct stat st;

	for (size_t i = 0; i < ARRAY_SIZE(paths) && !options->replace; i++) {
		if (lstat(paths[i], &st) == 0)
			return command_error("'%s' is there already; -f replaces it", paths[i]);
	}
	return COMMAND_DONE;
}

static int ask_password(char **ret_password)
{
	cleanup_secret char *password = NULL;
	int r = password_read("password for the new secret key", true, &password);

	if (r < 0)
		return command_error("%s", password_problem(r));
	if (*password == '\0')
		return command_usage(
			&command_keygen,
			"an empty password protects nothing; -W makes a key without one");
	*ret_password = TAKE_PTR(password);
	return COMMAND_DONE;
}

static int run_keygen(int argc, char **argv)
{
	struct keygen_options options = {0};
	cleanup_secret char *password = NULL;
	cleanup_secret char *secret_text = NULL;
	cleanup_free char *public_text = NULL;
	cleanup_secret_key struct minisign_secret_key secret = {0};
	struct minisign_public_key public;
	char id[MINISIGN_KEY_ID_TEXT_SIZE];
	int r;

	r = parse_options(argc, argv, &options);
	if (r != COMMAND_DONE)
		return r;
	assert(options.secret_path && options.public_path);
	r = check_absent(&options);
	if (r == COMMAND_DONE && !options.without_password)
		r = ask_password(&password);
	if (r != COMMAND_DONE)
		return r;
	minisign_keygen(&secret, &public);
	r = minisign_secret_key_format(&secret, password, &secret_text);
	if (r == 0)
		r = minisign_public_key_format(&public, &public_text);
	if (r != 0)
		return command_broke(
			r, "the key could not be made (a password takes 1 GiB of memory)");
	r = write_pair(&options, secret_text, public_text);
	if (r != COMMAND_DONE)
		return r;
	command_note_change();
	minisign_key_id_to_string(public.id, id);
	(void)printf("key %s: public '%s', secret '%s'\n", id, options.public_path,
		     options.secret_path);
	return COMMAND_DONE;
}

const struct command command_keygen = {
	.name = "keygen",
	.run = run_keygen,
	.synopsis = "-p PUB -s SEC [-W] [-f]",
	.summary = "make a key pair that signs bundles",
	.options = "  -p PUB  write the public key here\n"
		   "  -s SEC  write the secret key here, readable by its owner only\n"
		   "  -W      do not encrypt the secret key with a password\n"
		   "  -f      replace files that are there\n",
};
