/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A conversation: a line comes, its answer goes, the next line is looked at. So what is kept of a
 * peer is a line of a kilobyte and one answer, and a flood waits in the kernel.
 *
 * A connection that ends is over. A port is for ever: there the other side going away is seen as a
 * hang-up, which is not in step with the bytes (the kernel has queues for both), so that nothing is
 * concluded from it. What somebody began to send ends where the next begins a line; an answer that
 * it did not take is cut, and the next begins with an end of line, so that it stands on a line of
 * its own.
 */

#include "guest/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "guest/answer.h"
#include "ipc/line.h"

#define CHUNK_SIZE  1024U
#define IDLE_USEC   (30 * CLOCK_USEC_PER_SEC)
#define ANSWER_USEC (5 * CLOCK_USEC_PER_SEC)
/* How long a hang-up is believed where nothing says that it is over. */
#define AWAY_USEC (2 * CLOCK_USEC_PER_SEC)

enum {
	SERVE_E_AWAY = 1
};

struct stream {
	int in;
	int out;
	bool is_port;
	bool may_end; /* the guest, who is on the other side */
	bool is_cut;  /* the last answer was: the next begins a line */
	uint64_t end; /* of a connection, unless a whole line comes before */
	struct line line;
};

static int set_non_blocking(int fd, int more)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK | more) < 0)
		return -errno;
	return 0;
}

/* Waits for *events*. 0; SERVE_E_AWAY: the other side has hung up; -ETIMEDOUT; -errno. */
static int wait_for(int fd, short events, uint64_t usec)
{
	uint64_t end = clock_monotonic_usec() + usec;
	struct pollfd poller = {.fd = fd, .events = events};
	uint64_t now;

	while ((now = clock_monotonic_usec()) < end) {
		int r = poll(&poller, 1, (int)((end - now) / CLOCK_USEC_PER_MSEC) + 1);

		if (r < 0 && errno != EINTR)
			return -errno;
		if (r <= 0)
			continue;
		if ((poller.revents & events) != 0)
			return 0;
		return (poller.revents & POLLNVAL) != 0 ? -EBADF : SERVE_E_AWAY;
	}
	return -ETIMEDOUT;
}

/* Until somebody may be there: a port sends SIGIO when its other side comes. */
static void wait_until_back(void)
{
	const struct timespec time = {.tv_sec = AWAY_USEC / CLOCK_USEC_PER_SEC};
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGIO);
	(void)sigtimedwait(&set, NULL, &time);
}

/* Until more can be written. A port may deliver a request before it says that somebody is there:
 * its hang-up is waited out. 0; SERVE_E_AWAY; -ETIMEDOUT; -errno. */
static int wait_for_room(const struct stream *stream, uint64_t end)
{
	uint64_t now;
	int r = -ETIMEDOUT;

	while ((now = clock_monotonic_usec()) < end) {
		r = wait_for(stream->out, POLLOUT, end - now);
		if (r != SERVE_E_AWAY || !stream->is_port)
			break;
		wait_until_back();
	}
	return r;
}

/* 0; SERVE_E_AWAY; -ETIMEDOUT: it is not taken; -errno. */
static int write_all(const struct stream *stream, const char *data, size_t size)
{
	uint64_t end = clock_monotonic_usec() + ANSWER_USEC;

	while (size > 0) {
		ssize_t n = write(stream->out, data, size);
		int r = 0;

		if (n >= 0) {
			data += n;
			size -= (size_t)n;
		} else if (errno == EAGAIN) {
			r = wait_for_room(stream, end);
		} else if (errno == EPIPE || errno == ECONNRESET) {
			return SERVE_E_AWAY;
		} else if (errno != EINTR) {
			return -errno;
		}
		if (r != 0)
			return r;
	}
	return 0;
}

static int send_answer(struct stream *stream, const struct result *result)
{
	cleanup_json json_t *json = result_to_json(result);
	cleanup_free char *text = json ? json_to_canonical(json) : NULL;
	int r = 0;

	if (!text)
		return -ENOMEM;
	if (stream->is_cut)
		r = write_all(stream, "\n", 1);
	if (r == 0)
		r = write_all(stream, text, strlen(text));
	stream->is_cut = r != 0;
	return r;
}

/* *how*: what line_take() said. */
static int answer(struct stream *stream, int how)
{
	cleanup_result struct result result = RESULT_INIT;
	bool ends = false;
	int r;

	(void)alarm(SERVE_ANSWER_SECONDS);
	if (how == LINE_E_TOO_LONG)
		r = answer_too_long(&result);
	else
		r = answer_line(stream->line.text, stream->line.size, stream->may_end, &result,
				&ends);
	if (r == 0)
		r = send_answer(stream, &result);
	if (ends)
		answer_end_guest();
	(void)alarm(0);
	stream->end = clock_monotonic_usec() + IDLE_USEC;
	return r;
}

static int take(struct stream *stream, const char *data, size_t size)
{
	for (;;) {
		int r = line_take(&stream->line, &data, &size);

		if (r == LINE_E_MORE)
			return 0;
		r = answer(stream, r);
		/* On a port, an answer that is not taken is lost, and that is all. */
		if (r != 0 && (!stream->is_port || (r != -ETIMEDOUT && r != SERVE_E_AWAY)))
			return r;
	}
}

/* What has come. 0; SERVE_E_AWAY; -errno. */
static int receive(struct stream *stream)
{
	char chunk[CHUNK_SIZE];
	ssize_t n = read(stream->in, chunk, sizeof(chunk));

	if (n > 0)
		return take(stream, chunk, (size_t)n);
	if (n == 0 || errno == ECONNRESET || errno == EPIPE)
		return SERVE_E_AWAY;
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

static int serve(struct stream *stream)
{
	int r = 0;

	stream->end = clock_monotonic_usec() + IDLE_USEC;
	while (r == 0) {
		uint64_t now = clock_monotonic_usec();
		/* A port waits for ever, in pieces. */
		uint64_t usec = stream->is_port ? IDLE_USEC : stream->end - MIN(now, stream->end);

		r = wait_for(stream->in, POLLIN, usec);
		/* Reading tells a port whose other side is away from one that is gone. */
		if (r == 0 || (r == SERVE_E_AWAY && stream->is_port))
			r = receive(stream);
		else if (r == -ETIMEDOUT && stream->is_port)
			r = 0;
	}
	return r;
}

int serve_connection(int in, int out, bool may_end)
{
	struct stream stream = {.in = in, .out = out, .may_end = may_end};
	int r = set_non_blocking(in, 0);

	if (r == 0)
		r = set_non_blocking(out, 0);
	if (r == 0)
		r = line_init(&stream.line, GUEST_REQUEST_MAX);
	if (r == 0)
		r = serve(&stream);
	line_done(&stream.line);
	return r > 0 ? 0 : r;
}

int serve_port(int fd)
{
	struct stream stream = {.in = fd, .out = fd, .is_port = true, .may_end = true};
	int r = line_init(&stream.line, GUEST_REQUEST_MAX);

	/* A port without signals is looked at now and then. */
	(void)fcntl(fd, F_SETOWN, getpid());
	if (r == 0)
		r = set_non_blocking(fd, O_ASYNC);
	while (r >= 0) {
		r = serve(&stream);
		if (r != SERVE_E_AWAY)
			break;
		wait_until_back();
	}
	line_done(&stream.line);
	return r < 0 ? r : -EIO;
}
