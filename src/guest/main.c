/* SPDX-License-Identifier: Apache-2.0 */

/* affix-guestd: what a VM's host may ask the guest. affix-guestd(8). */

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "guest/guest.h"
#include "guest/serve.h"
#include "ipc/guest.h"

#define EXIT_USAGE 2

struct options {
	struct guest_options guest;
	bool is_stdio;
};

static const char usage[] =
	"Usage: affix-guestd [OPTION]…\n"
	"Answer a VM's host: ping, health, shutdown.\n"
	"\n"
	"  --port PATH        the port of virtio-serial, instead of the one that is called\n"
	"                     " GUEST_PORT_NAME "\n"
	"  --vsock-port PORT  listen there, instead of on 4323\n"
	"  --peer CID         whose connections are taken, instead of the host's (2)\n"
	"  --any-port         let any port of it ask for a shutdown, not those of its root alone\n"
	"  --stdio            answer standard input on standard output, and nothing else\n"
	"  --help, --version\n"
	"\n"
	"affix-guestd(8)\n";

/* 0 or -EINVAL. */
static int parse_number(const char *text, unsigned *ret)
{
	char *end = NULL;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || value >= UINT32_MAX)
		return -EINVAL;
	*ret = (unsigned)value;
	return 0;
}

static int take_number(const char *name, unsigned *ret)
{
	if (parse_number(optarg, ret) == 0)
		return 0;
	(void)fprintf(stderr, "affix-guestd: %s '%s' is no number; see --help\n", name, optarg);
	return EXIT_USAGE;
}

/* 0 to go on; 1 to end well; 2 for a wrong command line. */
static int take_option(int option, struct options *options)
{
	switch (option) {
	case 'p':
		options->guest.port_path = optarg;
		return 0;
	case 'o':
		return take_number("--vsock-port", &options->guest.vsock_port);
	case 'c':
		return take_number("--peer", &options->guest.peer);
	case 'a':
		options->guest.takes_any_port = true;
		return 0;
	case 's':
		options->is_stdio = true;
		return 0;
	case 'h':
		(void)fputs(usage, stdout);
		return 1;
	case 'v':
		(void)puts("affix-guestd " AFFIX_VERSION);
		return 1;
	default:
		return EXIT_USAGE;
	}
}

static int parse_options(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{"port",       required_argument, NULL, 'p'},
		{"vsock-port", required_argument, NULL, 'o'},
		{"peer",       required_argument, NULL, 'c'},
		{"any-port",   no_argument,       NULL, 'a'},
		{"stdio",      no_argument,       NULL, 's'},
		{"help",       no_argument,       NULL, 'h'},
		{"version",    no_argument,       NULL, 'v'},
		{NULL,         0,                 NULL, 0  },
	};
	int option;

	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the program has one thread */
	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		int r = take_option(option, options);

		if (r != 0)
			return r;
	}
	if (optind < argc) {
		(void)fprintf(stderr, "affix-guestd: '%s' is superfluous; see --help\n",
			      argv[optind]);
		return EXIT_USAGE;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct options options = {
		.guest = {.vsock_port = GUEST_VSOCK_PORT, .peer = VMADDR_CID_HOST},
	};
	int r = parse_options(argc, argv, &options);

	if (r != 0)
		return r == 1 ? EXIT_SUCCESS : EXIT_USAGE;
	(void)signal(SIGPIPE, SIG_IGN);
	r = options.is_stdio ? serve_connection(STDIN_FILENO, STDOUT_FILENO, true)
			     : guest_run(&options.guest);
	/* Who is asked nothing more has done all that was wanted. */
	if (r < 0 && r != -ETIMEDOUT) {
		(void)fprintf(stderr, "affix-guestd: it cannot go on: %s\n", strerrordesc_np(-r));
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
