/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `top`: asks for the flows, shows them, and again after an interval. In between it waits for keys,
 * signals and the daemon's answer at once. Into a pipe it prints plain lines, from the second look
 * on, which is the first that has rates.
 */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "netprobe/commands.h"
#include "netprobe/top.h"
#include "netprobe/top_screen.h"
#include "netprobe/top_view.h"
#include "netprobe/wall.h"

#define KEYS_MAX 64U
#define PATIENCE 10 /* seconds that an answer may take */

struct looker {
	const struct command_options *options;
	struct client client;
	struct top top;
	struct top_view view;
	bool is_screen;
	bool is_asked; /* an answer is under way */
	unsigned looks;
	uint64_t next_usec; /* when to ask, or to give up */
	int signals;
	char tier[16];
};

static void looker_done(struct looker *looker)
{
	client_done(&looker->client);
	top_done(&looker->top);
	looker->signals = fd_close(looker->signals);
}

static int ask(struct looker *looker)
{
	Netprobe__ListFlows request = NETPROBE__LIST_FLOWS__INIT;

	top_begin(&looker->top, wall_ns());
	looker->is_asked = true;
	looker->next_usec = clock_monotonic_usec() + PATIENCE * CLOCK_USEC_PER_SEC;
	return client_send(&looker->client, NETPROBE__NETPROBE_FRAME__PAYLOAD_LIST_FLOWS, &request);
}

static int show(struct looker *looker)
{
	cleanup_buffer struct buffer lines = BUFFER_INIT;
	char when[WALL_TEXT_SIZE];
	char status[128];
	size_t width = 0;
	size_t height = 0;
	int r;

	wall_format(looker->top.now_ns, when);
	(void)snprintf(status, sizeof(status), "%s  %zu flows  tier %s", when,
		       looker->top.now.count, looker->tier);
	if (looker->is_screen)
		top_screen_size(&width, &height);
	r = top_view_lines(&looker->view, &looker->top, status, width, height, &lines);
	if (r < 0)
		return r;
	if (looker->is_screen)
		return top_screen_show(lines.data);
	r = looker->looks > 2 ? fd_write_full(STDOUT_FILENO, "\n", 1) : 0;
	return r < 0 ? r : fd_write_full(STDOUT_FILENO, lines.data, lines.size);
}

/* The answer is whole. */
static int end_look(struct looker *looker)
{
	looker->is_asked = false;
	looker->next_usec = clock_monotonic_usec() + looker->options->interval * CLOCK_USEC_PER_SEC;
	top_end(&looker->top);
	looker->looks++;
	if (!looker->is_screen && looker->looks == 1)
		return 0;
	/* The first one into a pipe is not shown, and not counted. */
	if (looker->options->count > 0 &&
	    looker->looks - !looker->is_screen >= looker->options->count)
		looker->view.is_over = true;
	return show(looker);
}

static int take_frame(struct looker *looker, const Netprobe__NetprobeFrame *frame)
{
	const Netprobe__FlowList *list = frame->flow_list;
	int r = 0;

	if (frame->payload_case == NETPROBE__NETPROBE_FRAME__PAYLOAD_ERROR) {
		(void)command_refused(frame);
		return -EPROTO;
	}
	if (frame->sequence != looker->client.sequence ||
	    frame->payload_case != NETPROBE__NETPROBE_FRAME__PAYLOAD_FLOW_LIST)
		return 0;
	for (size_t i = 0; r == 0 && i < list->n_flows; i++)
		r = top_add(&looker->top, list->flows[i]);
	text_short(list->tier, looker->tier, sizeof(looker->tier));
	return r == 0 && list->complete ? end_look(looker) : r;
}

static int take_frames(struct looker *looker)
{
	int r = 0;

	while (r == 0) {
		cleanup_opamp_arena struct opamp_arena *arena = NULL;
		const Netprobe__NetprobeFrame *frame = NULL;

		r = client_next(&looker->client, 0, &arena, &frame);
		if (r == 0)
			r = take_frame(looker, frame);
	}
	return r == CLIENT_E_LATE ? 0 : r;
}

static int take_keys(struct looker *looker)
{
	char keys[KEYS_MAX];
	ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));

	if (n <= 0) {
		looker->view.is_over = true;
		return 0;
	}
	top_view_keys(&looker->view, keys, (size_t)n);
	return looker->view.is_over || looker->is_asked ? 0 : show(looker);
}

static int take_signal(struct looker *looker)
{
	struct signalfd_siginfo info;

	if (read(looker->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return -errno;
	if (info.ssi_signo != SIGWINCH)
		looker->view.is_over = true;
	else if (looker->is_screen && !looker->is_asked)
		return show(looker);
	return 0;
}

static int wait_for_something(struct looker *looker, bool has_keys)
{
	struct pollfd fds[] = {
		{.fd = looker->client.fd,            .events = POLLIN},
		{.fd = looker->signals,              .events = POLLIN},
		{.fd = has_keys ? STDIN_FILENO : -1, .events = POLLIN},
	};
	uint64_t now = clock_monotonic_usec();
	int timeout = 0;
	int r = 0;

	if (looker->next_usec > now)
		timeout = (int)((looker->next_usec - now) / CLOCK_USEC_PER_MSEC) + 1;
	/* Nothing is asked while the table stands still. */
	if (looker->view.is_paused && !looker->is_asked)
		timeout = -1;
	if (poll(fds, ARRAY_SIZE(fds), timeout) < 0)
		return errno == EINTR ? 0 : -errno;
	if (fds[1].revents != 0)
		r = take_signal(looker);
	if (r == 0 && fds[2].revents != 0)
		r = take_keys(looker);
	if (r == 0 && fds[0].revents != 0)
		r = take_frames(looker);
	return r;
}

static int run(struct looker *looker, bool has_keys)
{
	int r = ask(looker);

	while (r == 0 && !looker->view.is_over) {
		r = wait_for_something(looker, has_keys);
		if (r != 0 || clock_monotonic_usec() < looker->next_usec)
			continue;
		if (looker->is_asked)
			return CLIENT_E_LATE;
		if (!looker->view.is_paused)
			r = ask(looker);
	}
	return r;
}

static int open_signals(int *ret_fd)
{
	static const int signals[] = {SIGWINCH, SIGINT, SIGTERM, SIGHUP};
	sigset_t set;
	int fd;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		(void)sigaddset(&set, signals[i]);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread */
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static void set_view(struct top_view *view, const struct command_options *options)
{
	view->sort = options->sort;
	view->tree = options->tree;
	if (!options->filter)
		return;
	text_short(options->filter, view->filter, sizeof(view->filter));
	view->filter_size = strlen(view->filter);
}

int command_top(const struct command_options *options)
{
	CLEANUP(looker_done)
	struct looker looker = {.options = options, .client = CLIENT_INIT, .signals = -EBADF};
	cleanup_top_screen struct top_screen screen = TOP_SCREEN_INIT;
	int r = command_connect(&looker.client, options);

	if (r < 0)
		return EXIT_FAILURE;
	set_view(&looker.view, options);
	looker.is_screen = isatty(STDOUT_FILENO) == 1;
	r = open_signals(&looker.signals);
	if (r == 0 && looker.is_screen)
		top_screen_open(&screen);
	if (r == 0)
		r = run(&looker, screen.has_keys);
	top_screen_close(&screen);
	return r == 0 ? EXIT_SUCCESS : command_lost(r);
}
