/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Passwords come from the terminal, or from stdin where that is none; never from the environment or
 * the command line, which other processes can read. A signal while the echo is off ends the
 * reading, so that the terminal is never left silent.
 */

#include "cli/password.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/str.h"
#include "crypto/minisign.h"

/* Signals that would end the program while the terminal does not echo. */
static const int ending_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

struct line {
	char text[MINISIGN_PASSWORD_MAX + 2]; /* one byte more shows a line that is too long */
};

static void line_done(struct line *line)
{
	sodium_memzero(line, sizeof(*line));
}

/* A handler that does nothing makes ppoll() fail with EINTR. */
static void wake(int signal_number)
{
	(void)signal_number;
}

/* Waits for a byte; only here may a signal come in, so none is missed. */
static int wait_for_byte(const sigset_t *mask)
{
	struct pollfd stdin_poll = {.fd = STDIN_FILENO, .events = POLLIN};

	return ppoll(&stdin_poll, 1, NULL, mask) < 0 ? -errno : 0;
}

/* Reads up to the end of the line, byte by byte: what is behind it is not ours. */
static int read_line(const sigset_t *mask, char **ret_text)
{
	CLEANUP(line_done) struct line line = {0};
	size_t n = 0;

	for (;;) {
		int r = wait_for_byte(mask);
		char c = '\0';
		ssize_t got;

		if (r < 0)
			return r;
		got = read(STDIN_FILENO, &c, 1);
		if (got < 0)
			return -errno;
		if (got == 0 && n == 0)
			return -ENODATA;
		if (got == 0 || c == '\n')
			break;
		if (c == '\0')
			return -EINVAL;
		if (n > MINISIGN_PASSWORD_MAX)
			return -E2BIG;
		line.text[n++] = c;
	}
	if (n > 0 && line.text[n - 1] == '\r')
		n--;
	if (n > MINISIGN_PASSWORD_MAX)
		return -E2BIG;
	line.text[n] = '\0';
	*ret_text = strdup(line.text);
	return *ret_text ? 0 : -ENOMEM;
}

static int read_silently(const char *prompt, char **ret_text)
{
	struct sigaction before[ARRAY_SIZE(ending_signals)];
	struct sigaction action = {.sa_handler = wake};
	struct termios echoing;
	struct termios silent;
	sigset_t blocked;
	sigset_t mask;
	int r;

	if (tcgetattr(STDIN_FILENO, &echoing) < 0)
		return -errno;
	(void)sigemptyset(&blocked);
	for (size_t i = 0; i < ARRAY_SIZE(ending_signals); i++)
		(void)sigaddset(&blocked, ending_signals[i]);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the program has one thread */
	(void)sigprocmask(SIG_BLOCK, &blocked, &mask);
	for (size_t i = 0; i < ARRAY_SIZE(ending_signals); i++)
		(void)sigaction(ending_signals[i], &action, &before[i]);
	silent = echoing;
	silent.c_lflag &= ~(tcflag_t)ECHO;
	r = tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent) < 0 ? -errno : 0;
	(void)fprintf(stderr, "%s: ", prompt);
	(void)fflush(stderr);
	if (r == 0)
		r = read_line(&mask, ret_text);
	(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &echoing);
	(void)fputc('\n', stderr);
	for (size_t i = 0; i < ARRAY_SIZE(ending_signals); i++)
		(void)sigaction(ending_signals[i], &before[i], NULL);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the program has one thread */
	(void)sigprocmask(SIG_SETMASK, &mask, NULL);
	return r;
}

int password_read(const char *prompt, bool twice, char **ret_password)
{
	cleanup_secret char *first = NULL;
	cleanup_secret char *second = NULL;
	int r;

	if (!isatty(STDIN_FILENO))
		return read_line(NULL, ret_password);
	r = read_silently(prompt, &first);
	if (r != 0)
		return r;
	if (twice) {
		r = read_silently("the same again", &second);
		if (r != 0)
			return r;
		if (!str_equal(first, second))
			return -EBADMSG;
	}
	*ret_password = TAKE_PTR(first);
	return 0;
}

const char *password_problem(int r)
{
	switch (r) {
	case -ENODATA:
		return "a password is wanted, on the terminal or as the first line of standard input";
	case -EINVAL:
		return "a password cannot hold a NUL byte";
	case -E2BIG:
		return "the password is too long; minisign takes 1023 bytes";
	case -EBADMSG:
		return "the two passwords differ";
	case -EINTR:
		return "the password was not read: a signal came";
	default:
		return "the password could not be read";
	}
}
