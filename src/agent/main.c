/* SPDX-License-Identifier: Apache-2.0 */

/* affix-agent: between the fleet's server and the updater. affix-agent(8). */

#include <errno.h>
#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/log.h"
#include "agent/reload.h"
#include "agent/state.h"

#define EXIT_USAGE 2

struct options {
	struct agent_paths paths;
	bool check_only;
};

static const char usage[] =
	"Usage: affix-agent [OPTION]…\n"
	"Keep this host's add-ons as the fleet's server wants them.\n"
	"\n"
	"  --config FILE      instead of " CONFIG_PATH "\n"
	"  --state DIR        instead of " STATE_PATH "\n"
	"  --overrides FILE   instead of " OVERRIDES_PATH "\n"
	"  --updater SOCKET   instead of " REQUEST_FLEET_SOCKET "\n"
	"  --check-config     say what is wrong with the configuration, and end\n"
	"  --help, --version\n"
	"\n"
	"affix-agent(8), agent.yaml(5)\n";

/* 0 to go on; 1 to end well; 2 for a wrong command line. */
static int parse_options(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{"config",       required_argument, NULL, 'c'},
		{"state",        required_argument, NULL, 's'},
		{"overrides",    required_argument, NULL, 'o'},
		{"updater",      required_argument, NULL, 'u'},
		{"check-config", no_argument,       NULL, 'n'},
		{"help",         no_argument,       NULL, 'h'},
		{"version",      no_argument,       NULL, 'v'},
		{NULL,           0,                 NULL, 0  },
	};
	int option;

	/* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet */
	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (option) {
		case 'c':
			options->paths.config = optarg;
			break;
		case 's':
			options->paths.state = optarg;
			break;
		case 'o':
			options->paths.overrides = optarg;
			break;
		case 'u':
			options->paths.updater = optarg;
			break;
		case 'n':
			options->check_only = true;
			break;
		case 'h':
			(void)fputs(usage, stdout);
			return 1;
		case 'v':
			(void)puts("affix-agent " AFFIX_VERSION);
			return 1;
		default:
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		(void)fprintf(stderr, "affix-agent: '%s' is superfluous; see --help\n",
			      argv[optind]);
		return EXIT_USAGE;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct options options = {
		.paths = {.config = CONFIG_PATH,
			  .state = STATE_PATH,
			  .overrides = OVERRIDES_PATH,
			  .updater = REQUEST_FLEET_SOCKET,
			  .installed = "/opt/affix",
			  .run = "/run/affix"},
	};
	cleanup_config struct config *config = NULL;
	char problem[AGENT_PROBLEM_MAX];
	int r = parse_options(argc, argv, &options);

	if (r != 0)
		return r == 1 ? 0 : EXIT_USAGE;
	if (sodium_init() < 0)
		return 1;
	r = reload_load_config(options.paths.config, &config, problem, sizeof(problem));
	if (r != 0)
		return EXIT_USAGE;
	if (options.check_only)
		return 0;
	r = agent_run(config, &options.paths);
	if (r < 0) {
		agent_log(LOG_ERR, NULL, "the agent cannot run: %s", strerrordesc_np(-r));
		return 1;
	}
	return 0;
}
