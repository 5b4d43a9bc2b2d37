/* SPDX-License-Identifier: Apache-2.0 */

/*
 * affixd, the control plane: the command line. Values come from --config FILE first and from the
 * other options over it, in whatever order they were given.
 */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"
#include "control/config.h"
#include "control/log.h"
#include "control/puller.h"
#include "control/supervise.h"

#define EXIT_USAGE  2
#define CONFIG_PATH "/etc/affix/affixd.yaml"

enum option_value {
	OPTION_CONFIG = 'c',
	OPTION_DATA = 'd',
	OPTION_FRONTS = 'f',
	OPTION_LISTEN = 'l',
	OPTION_PUBLIC_URL = 'u',
	OPTION_TRUST = 't',
	OPTION_TLS_CERTIFICATE = 'C',
	OPTION_TLS_KEY = 'K',
	OPTION_CLIENT_CA = 'A',
	OPTION_CHECK = 'x',
};

static const struct option options[] = {
	{"config",           required_argument, NULL, OPTION_CONFIG},
	{"data",              required_argument, NULL, OPTION_DATA},
	{"fronts",                  required_argument, NULL, OPTION_FRONTS},
	{"listen",required_argument, NULL, OPTION_LISTEN},
	{"public-url",       required_argument, NULL, OPTION_PUBLIC_URL},
	{"trust",           required_argument, NULL, OPTION_TRUST},
	{"tls-cert",              required_argument, NULL, OPTION_TLS_CERTIFICATE},
	{"tls-key",                  required_argument, NULL, OPTION_TLS_KEY},
	{"client-ca",              required_argument, NULL, OPTION_CLIENT_CA},
	{"check-config",     no_argument, NULL, OPTION_CHECK},
	{0      },
};

struct command_line {
	const char *config;
	const char *texts[UINT8_MAX + 1]; /* by option */
	bool is_check;
};

static int usage(const char *sentence, const char *what)
{
	cleanup_free char *safe = str_escape(what, strlen(what), REFUSAL_TEXT_MAX);

	(void)fprintf(stderr, "usage: %s%s; see 'affixd --help'\n", sentence, safe ? safe : "");
	return EXIT_USAGE;
}

static int print_help(void)
{
	(void)puts(
		"usage: affixd serve --data DIR [OPTION…]\n\n"
		"The control plane of a fleet: hosts connect to it by OpAMP, operators by REST.\n\n"
		"  --data DIR          where database and artifacts are; made if it is not there\n"
		"  --listen ADDR:PORT  where to listen (127.0.0.1:4320)\n"
		"  --public-url URL    how hosts reach it, where that is not the address above\n"
		"  --fronts K          processes that hold connections (2)\n"
		"  --trust DIR         keys that bundles are verified with (DIR/trust.d in the data)\n"
		"  --tls-cert FILE     the server's certificate and what it was signed with, PEM\n"
		"  --tls-key FILE      its key, PEM\n"
		"  --client-ca FILE    clients must have a certificate of this authority\n"
		"  --config FILE       affixd.yaml(5), instead of /etc/affix/affixd.yaml\n"
		"  --check-config      say whether it could be served so, and end\n\n"
		"affixd(8) has the details.");
	return EXIT_SUCCESS;
}

static int read_options(int argc, char **argv, struct command_line *ret)
{
	int option;

	opterr = 0;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the program has one thread */
	while ((option = getopt_long(argc, argv, ":", options, NULL)) >= 0) {
		if (option == ':')
			return usage("a value is missing behind ", argv[optind - 1]);
		if (option == '?')
			return usage("unknown option ", argv[optind - 1]);
		if (option == OPTION_CHECK)
			ret->is_check = true;
		else if (option == OPTION_CONFIG)
			ret->config = optarg;
		else
			ret->texts[option] = optarg;
	}
	if (optind < argc)
		return usage("there is an operand too many: ", argv[optind]);
	return 0;
}

/* The file that was named, or the usual one if there is one. 0; 1 after complaining; -errno. */
static int read_file(const char *path, struct config *config)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	const char *name = path ? path : CONFIG_PATH;
	cleanup_free char *text = NULL;
	size_t size = 0;
	int r = fd_read_path(name, CONFIG_SIZE_MAX, &text, &size);

	if (r == -ENOENT && !path)
		return 0;
	if (r < 0) {
		log_line(LOG_ERR, "'%s' could not be read: %s", name, strerrordesc_np(-r));
		return 1;
	}
	r = config_parse(text, size, name, config, &diagnostics);
	diagnostics_sort(&diagnostics);
	for (size_t i = 0; i < diagnostics.count; i++)
		log_line(LOG_ERR, "%s:%u:%u: %s", diagnostics.items[i].file,
			 diagnostics.items[i].line, diagnostics.items[i].column,
			 diagnostics.items[i].message);
	return r;
}

static int replace_text(char **place, const char *text)
{
	char *copy;

	if (!text)
		return 0;
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	free(*place);
	*place = copy;
	return 0;
}

static int apply_options(const struct command_line *line, struct config *config)
{
	const struct {
		char **place;
		int option;
	} texts[] = {
		{&config->data,            OPTION_DATA           },
		{&config->listen,          OPTION_LISTEN         },
		{&config->public_url,      OPTION_PUBLIC_URL     },
		{&config->trust,           OPTION_TRUST          },
		{&config->tls_certificate, OPTION_TLS_CERTIFICATE},
		{&config->tls_key,         OPTION_TLS_KEY        },
		{&config->client_ca,       OPTION_CLIENT_CA      },
	};

	const char *fronts = line->texts[OPTION_FRONTS];
	char *end = NULL;
	unsigned long number;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(texts) && r == 0; i++)
		r = replace_text(texts[i].place, line->texts[texts[i].option]);
	if (r < 0 || !fronts)
		return r;
	number = strtoul(fronts, &end, 10);
	if (*fronts < '0' || *fronts > '9' || *end || number < 1 || number > CONFIG_FRONTS_MAX)
		return usage("--fronts takes a number from 1 to 64, not ", fronts);
	config->fronts = (unsigned)number;
	return 0;
}

static int serve(int argc, char **argv)
{
	cleanup_config struct config *config = NULL;
	struct command_line line = {0};
	cleanup_free char *problem = NULL;
	int r;

	r = read_options(argc, argv, &line);
	if (r != 0)
		return r;
	r = config_default(&config);
	if (r == 0)
		r = read_file(line.config, config);
	if (r != 0)
		return EXIT_FAILURE;
	r = apply_options(&line, config);
	if (r != 0)
		return r < 0 ? EXIT_FAILURE : r;
	if (config_check(config, &problem) != 0) {
		log_line(LOG_ERR, "%s", problem ? problem : "out of memory");
		return EXIT_FAILURE;
	}
	if (line.is_check)
		return EXIT_SUCCESS;
	return supervise(config) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return print_help();
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		return printf("affixd %s\n", AFFIX_VERSION) > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
	if (argc > 2 && strcmp(argv[1], PULLER_NAME) == 0)
		return sodium_init() < 0 ? EXIT_FAILURE : puller_run(argc, argv);
	if (argc < 2)
		return usage("'serve' is what it does", "");
	if (strcmp(argv[1], "serve") != 0)
		return usage("no such command: ", argv[1]);
	if (argc == 3 && strcmp(argv[2], "--help") == 0)
		return print_help();
	if (sodium_init() < 0) {
		log_line(LOG_ERR, "libsodium does not work here");
		return EXIT_FAILURE;
	}
	return serve(argc - 1, argv + 1);
}
