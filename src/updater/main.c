/* SPDX-License-Identifier: Apache-2.0 */

/*
 * affix-updater, the one program of affix that runs as root on a host. systemd starts a process of
 * it per connection (Accept=yes) and passes the connection as descriptor 3; it takes no other
 * arguments than which of its three jobs it has. What it is trusted with begins in serve.c.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "engine/engine.h"
#include "updater/process.h"
#include "updater/serve.h"

#define EXIT_USAGE 2

static int complain(int r, const char *what)
{
	(void)fprintf(stderr, "affix-updater: %s: %s\n", what, strerrordesc_np(-r));
	return EXIT_FAILURE;
}

static int run_serve(void)
{
	int n = sd_listen_fds(1);
	int r;

	if (n != 1 || sd_is_socket(SD_LISTEN_FDS_START, AF_UNIX, SOCK_SEQPACKET, 0) <= 0) {
		(void)fputs("affix-updater: no connection was passed: affix-updater.socket and "
			    "affix-updater-admin.socket start this program, affix(1) talks to it\n",
			    stderr);
		return EXIT_USAGE;
	}
	r = process_sanitise(1);
	if (r < 0)
		return complain(r, "the process could not be set up");
	r = serve_connection(SD_LISTEN_FDS_START);
	if (r == SERVE_E_UNSETTLED) {
		/* The failure has systemd start what settles it. */
		(void)fputs("affix-updater: an operation is left open, to be ended by "
			    "affix-updater --settle\n",
			    stderr);
		return EXIT_FAILURE;
	}
	return r < 0 ? complain(r, "the request got no answer") : EXIT_SUCCESS;
}

static int run_recover(const char *root, bool start)
{
	cleanup_free char *what = NULL;
	int r = process_sanitise(0);

	if (r < 0)
		return complain(r, "the process could not be set up");
	r = engine_recover(root, start, &what);
	if (r < 0 && !what)
		return complain(r, "an open transaction could not be ended");
	if (r < 0)
		(void)fprintf(stderr, "affix-updater: %s\n", what);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int print_help(void)
{
	(void)puts(
		"usage: affix-updater [--recover [--root DIR] | --settle | --help | --version]\n\n"
		"Carries out one request of the connection that its socket unit passes.\n\n"
		"  --recover   put the files of interrupted operations back; start nothing\n"
		"              (in the tree DIR, which is not running)\n"
		"  --settle    end interrupted operations: start, watch, write the result\n\n"
		"affix-updater(8) has the details.");
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return print_help();
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		return printf("affix-updater %s\n", AFFIX_VERSION) > 0 ? EXIT_SUCCESS
								       : EXIT_FAILURE;
	if (argc == 2 && strcmp(argv[1], "--recover") == 0)
		return run_recover(NULL, false);
	if (argc == 4 && strcmp(argv[1], "--recover") == 0 && strcmp(argv[2], "--root") == 0)
		return run_recover(argv[3], false);
	if (argc == 2 && strcmp(argv[1], "--settle") == 0)
		return run_recover(NULL, true);
	if (argc == 1)
		return run_serve();
	(void)fputs("affix-updater: unknown arguments; see 'affix-updater --help'\n", stderr);
	return EXIT_USAGE;
}
