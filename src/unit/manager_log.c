/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The last lines that a unit left in the journal, read from the files with libsystemd. What a
 * process wrote just before it died may still lie in journald's sockets: it is asked to take it in
 * first, by one Varlink call (`journalctl --sync` does the same; libsystemd 252 has no function
 * for it).
 */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "unit/manager.h"
#include "unit/systemd.h"

#define JOURNAL_SOCKET "/run/systemd/journal/io.systemd.journal"
/* With its NUL, which ends a message. */
#define JOURNAL_SYNC      "{\"method\":\"io.systemd.Journal.Synchronize\",\"parameters\":{}}"
#define JOURNAL_SYNC_MSEC 2000

#define LINES_MAX 1000U
/* The longest form of a byte is \xNN. */
#define ESCAPED_MAX 4U

static void cleanup_journal(sd_journal **journal)
{
	if (*journal)
		sd.journal_close(*journal);
}

/* Best effort: the lines that are there already are worth having. */
static void synchronize(void)
{
	static const struct sockaddr_un address = {.sun_family = AF_UNIX,
						   .sun_path = JOURNAL_SOCKET};
	uint64_t end = clock_monotonic_usec() + JOURNAL_SYNC_MSEC * CLOCK_USEC_PER_MSEC;
	cleanup_fd int fd = -EBADF;
	char answer[256];

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return;
	if (send(fd, JOURNAL_SYNC, sizeof(JOURNAL_SYNC), MSG_NOSIGNAL) != sizeof(JOURNAL_SYNC))
		return;
	while (clock_monotonic_usec() < end) {
		struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
		ssize_t n;

		if (poll(&poll_fd, 1, JOURNAL_SYNC_MSEC) <= 0)
			return;
		n = recv(fd, answer, sizeof(answer), 0);
		if (n <= 0 || memchr(answer, '\0', (size_t)n))
			return;
	}
}

/* (_SYSTEMD_UNIT=unit) or (_PID=1 and UNIT=unit). */
static int match(sd_journal *journal, const char *unit)
{
	cleanup_free char *by_unit = NULL;
	cleanup_free char *about_unit = NULL;
	int r;

	r = str_format(&by_unit, "_SYSTEMD_UNIT=%s", unit);
	if (r < 0)
		return r;
	r = str_format(&about_unit, "UNIT=%s", unit);
	if (r < 0)
		return r;
	r = sd.journal_add_match(journal, by_unit, 0);
	if (r < 0)
		return r;
	r = sd.journal_add_disjunction(journal);
	if (r < 0)
		return r;
	r = sd.journal_add_match(journal, "_PID=1", 0);
	if (r < 0)
		return r;
	r = sd.journal_add_match(journal, about_unit, 0);
	return r < 0 ? r : 0;
}

/* A field's value; "" where the entry has none. Borrowed until the next call. */
static void read_field(sd_journal *journal, const char *field, const char **ret, size_t *ret_size)
{
	size_t prefix = strlen(field) + 1;
	const void *data = NULL;
	size_t size = 0;

	*ret = "";
	*ret_size = 0;
	if (sd.journal_get_data(journal, field, &data, &size) < 0 || size < prefix)
		return;
	*ret = (const char *)data + prefix;
	*ret_size = size - prefix;
}

/* At most *max* bytes after escaping. */
static char *escape_within(const char *s, size_t size, size_t max)
{
	cleanup_free char *text = NULL;
	size_t room = max - strlen("...");

	text = str_escape(s, size, room);
	if (text && strlen(text) > max) {
		free(text);
		text = str_escape(s, size, room / ESCAPED_MAX);
	}
	return TAKE_PTR(text);
}

static int add_entry(sd_journal *journal, struct strv *lines)
{
	cleanup_free char *program = NULL;
	cleanup_free char *message = NULL;
	cleanup_free char *line = NULL;
	const char *data = NULL;
	size_t size = 0;
	int r;

	read_field(journal, "SYSLOG_IDENTIFIER", &data, &size);
	program = escape_within(data, size, 64);
	read_field(journal, "MESSAGE", &data, &size);
	message = escape_within(data, size, MANAGER_LOG_LINE_MAX - 64 - strlen(": "));
	if (!program || !message)
		return -ENOMEM;
	r = str_format(&line, "%s: %s", program, message);
	if (r < 0)
		return r;
	return strv_add(lines, line);
}

/* Newest first, as the journal is walked. */
static int collect(sd_journal *journal, uint64_t since_usec, size_t max_lines, struct strv *lines)
{
	int r;

	r = sd.journal_seek_tail(journal);
	if (r < 0)
		return r;
	while (lines->count < max_lines) {
		uint64_t at = 0;

		r = sd.journal_previous(journal);
		if (r <= 0)
			return r;
		r = sd.journal_get_realtime_usec(journal, &at);
		if (r < 0)
			return r;
		if (at < since_usec)
			return 0;
		r = add_entry(journal, lines);
		if (r < 0)
			return r;
	}
	return 0;
}

static void reverse(struct strv *list)
{
	for (size_t i = 0; i < list->count / 2; i++) {
		char *other = list->items[i];

		list->items[i] = list->items[list->count - 1 - i];
		list->items[list->count - 1 - i] = other;
	}
}

int manager_log_tail(const char *unit, uint64_t since_usec, size_t max_lines, struct strv *ret)
{
	CLEANUP(cleanup_journal) sd_journal *journal = NULL;
	cleanup_strv struct strv lines = STRV_INIT;
	int r;

	synchronize();
	r = systemd_load();
	if (r < 0)
		return r;
	r = sd.journal_open(&journal, SD_JOURNAL_LOCAL_ONLY | SD_JOURNAL_SYSTEM);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	/* One byte more shows that a line goes on. */
	(void)sd.journal_set_data_threshold(journal, strlen("MESSAGE=") + MANAGER_LOG_LINE_MAX + 1);
	r = match(journal, unit);
	if (r < 0)
		return r;
	r = collect(journal, since_usec, MIN(max_lines, (size_t)LINES_MAX), &lines);
	if (r < 0)
		return r;
	reverse(&lines);
	strv_done(ret);
	*ret = lines;
	lines = STRV_INIT;
	return 0;
}
