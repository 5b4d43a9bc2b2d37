/* SPDX-License-Identifier: Apache-2.0 */

/* affix-netprobe: which process owns each flow. The daemon without a word, its clients with one.
 * affix-netprobe(8). */

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "netprobe/command.h"
#include "netprobe/daemon.h"
#include "netprobe/socket.h"

#define EXIT_USAGE 2

static const char usage[] =
	"Usage: affix-netprobe [--config FILE] [--metrics ADDRESS:PORT] [--log-format FORMAT]\n"
	"       affix-netprobe ping | flows | listeners | watch | top\n"
	"Say which process owns each network flow of this host.\n"
	"\n"
	"  --socket PATH      instead of " SOCKET_PATH "\n"
	"\n"
	"The daemon, without a command:\n"
	"  --config FILE      JSON; without it nothing is collected until a client configures it\n"
	"  --metrics ADDRESS  serve Prometheus metrics, such as at 127.0.0.1:9417\n"
	"  --log-format NAME  text, json\n"
	"\n"
	"Commands, which ask the daemon:\n"
	"  ping               how it is\n"
	"  flows              what there is now\n"
	"  listeners          who listens\n"
	"  watch              what happens, until it is interrupted\n"
	"  top                what there is, again and again\n"
	"  --json             for programs: one JSON object a line\n"
	"  --filter TEXT      only where process, container, address or port has it\n"
	"  --sort COLUMN      rate, bytes, retransmits, process, remote, start\n"
	"  --tree             flows below their processes\n"
	"  --interval SECONDS between two looks of top\n"
	"  --count N          looks of top, then it ends\n"
	"\n"
	"  --help, --version\n"
	"\n"
	"affix-netprobe(8)\n";

struct options {
	struct daemon_options daemon;
	struct command_options command;
	bool is_daemon_only;  /* an option of the daemon was given */
	bool is_command_only; /* one of the commands */
};

static int refuse(const char *option, const char *value, const char *expected)
{
	(void)fprintf(stderr, "affix-netprobe: %s: '%s' is not %s\n", option, value, expected);
	return EXIT_USAGE;
}

static int parse_number(const char *option, const char *text, unsigned *ret)
{
	char *end = NULL;
	unsigned long value;

	errno = 0;
	value = *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : 0;
	if (errno != 0 || !end || *end != '\0' || value < 1 || value > 86400)
		return refuse(option, text, "a number from 1 to 86400");
	*ret = (unsigned)value;
	return 0;
}

static int take_daemon_option(int option, struct options *options)
{
	options->is_daemon_only = true;
	switch (option) {
	case 'c':
		options->daemon.config = optarg;
		return 0;
	case 'm':
		options->daemon.metrics = optarg;
		return 0;
	default:
		if (strcmp(optarg, "json") != 0 && strcmp(optarg, "text") != 0)
			return refuse("--log-format", optarg, "'text' or 'json'");
		options->daemon.json = strcmp(optarg, "json") == 0;
		return 0;
	}
}

static int take_command_option(int option, struct options *options)
{
	options->is_command_only = true;
	switch (option) {
	case 'j':
		options->command.json = true;
		return 0;
	case 'f':
		options->command.filter = optarg;
		return 0;
	case 't':
		options->command.tree = true;
		return 0;
	case 'o':
		if (command_sort_from_string(optarg, &options->command.sort) < 0)
			return refuse("--sort", optarg,
				      "rate, bytes, retransmits, process, remote or start");
		return 0;
	case 'i':
		return parse_number("--interval", optarg, &options->command.interval);
	default:
		return parse_number("--count", optarg, &options->command.count);
	}
}

static int complain(const char *what, const char *sentence)
{
	(void)fprintf(stderr, "affix-netprobe: '%s' %s; see --help\n", what, sentence);
	return EXIT_USAGE;
}

/* 0 to go on; 1 to end well; EXIT_USAGE. */
static int parse_options(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{"socket",     required_argument, NULL, 's'},
		{"config",     required_argument, NULL, 'c'},
		{"metrics",    required_argument, NULL, 'm'},
		{"log-format", required_argument, NULL, 'l'},
		{"json",       no_argument,       NULL, 'j'},
		{"filter",     required_argument, NULL, 'f'},
		{"sort",       required_argument, NULL, 'o'},
		{"tree",       no_argument,       NULL, 't'},
		{"interval",   required_argument, NULL, 'i'},
		{"count",      required_argument, NULL, 'n'},
		{"help",       no_argument,       NULL, 'h'},
		{"version",    no_argument,       NULL, 'v'},
		{NULL,         0,                 NULL, 0  },
	};
	int option;
	int r = 0;

	opterr = 0;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread */
	while (r == 0 && (option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (option == 'h' || option == 'v') {
			(void)fputs(option == 'h' ? usage : "affix-netprobe " AFFIX_VERSION "\n",
				    stdout);
			return 1;
		}
		if (option == 's')
			options->daemon.socket = optarg;
		else if (option == '?')
			r = complain(argv[optind - 1],
				     "is no option, or one without what belongs to it");
		else if (strchr("cml", option))
			r = take_daemon_option(option, options);
		else
			r = take_command_option(option, options);
	}
	options->command.socket = options->daemon.socket;
	return r;
}

/* What a command was asked for is its output: without that it failed. */
static int end_output(int code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	(void)fputs("affix-netprobe: standard output takes no more; is its disk full, or closed?\n",
		    stderr);
	return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	struct options options = {.daemon = {.socket = SOCKET_PATH}, .command = {.interval = 1}};
	const struct command *command = NULL;
	int r = parse_options(argc, argv, &options);

	if (r != 0)
		return r == 1 ? 0 : EXIT_USAGE;
	if (optind == argc) {
		if (options.is_command_only)
			return complain(argv[argc - 1], "belongs to a command, and there is none");
		return daemon_run(&options.daemon);
	}
	command = command_find(argv[optind]);
	if (!command)
		return complain(argv[optind], "is no command");
	if (optind + 1 < argc)
		return complain(argv[optind + 1], "is superfluous");
	if (options.is_daemon_only)
		return complain(
			argv[optind],
			"takes no --config, --metrics or --log-format: they are the daemon's");
	return end_output(command->run(&options.command));
}
