/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The terminal of top, by the sequences that every terminal of today has: the other screen, the
 * cursor put home, each line cleared to its end. A picture is written at once, so that it does not
 * flicker.
 */

#include "netprobe/top_screen.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

#define WIDTH  80U
#define HEIGHT 24U

void top_screen_open(struct top_screen *screen)
{
	static const char begin[] = "\033[?1049h\033[?25l";
	struct termios raw;

	screen->has_keys = tcgetattr(STDIN_FILENO, &screen->before) == 0;
	if (screen->has_keys) {
		raw = screen->before;
		/* Signals stay: Ctrl-C ends it, Ctrl-Z stops it. */
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		raw.c_cc[VMIN] = 1;
		raw.c_cc[VTIME] = 0;
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	screen->is_open = true;
	ignore_result(fd_write_full(STDOUT_FILENO, begin, sizeof(begin) - 1));
}

void top_screen_close(struct top_screen *screen)
{
	static const char end[] = "\033[?25h\033[?1049l";

	if (!screen->is_open)
		return;
	screen->is_open = false;
	ignore_result(fd_write_full(STDOUT_FILENO, end, sizeof(end) - 1));
	if (screen->has_keys)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &screen->before);
}

void top_screen_size(size_t *ret_width, size_t *ret_height)
{
	struct winsize size = {0};

	*ret_width = WIDTH;
	*ret_height = HEIGHT;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
		return;
	if (size.ws_col > 0)
		*ret_width = size.ws_col;
	if (size.ws_row > 0)
		*ret_height = size.ws_row;
}

int top_screen_show(const char *lines)
{
	cleanup_buffer struct buffer picture = BUFFER_INIT;
	int r = buffer_add(&picture, "\033[H", 3);

	while (r == 0 && *lines != '\0') {
		size_t n = strcspn(lines, "\n");

		r = n > 0 ? buffer_add(&picture, lines, n) : 0;
		lines += n + (lines[n] == '\n');
		/* Not behind the last one: that would scroll. */
		if (r == 0)
			r = buffer_format(&picture, "\033[K%s", *lines != '\0' ? "\r\n" : "");
	}
	if (r == 0)
		r = buffer_add(&picture, "\033[J", 3);
	return r < 0 ? r : fd_write_full(STDOUT_FILENO, picture.data, picture.size);
}
