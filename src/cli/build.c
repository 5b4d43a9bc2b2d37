/* SPDX-License-Identifier: Apache-2.0 */

/* `affix build`: bundles from a directory and a program for each platform. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bundle/build.h"
#include "cli/commands.h"
#include "cli/problems.h"

#define BINARIES_MAX 16U

struct build_options {
	const char *dir;
	const char *out_dir;
	struct strv entries;
	struct strv words; /* OS, ARCH and PATH of each --bin, in turn */
};

static void build_options_done(struct build_options *options)
{
	strv_done(&options->entries);
	strv_done(&options->words);
}

/* OS/ARCH=PATH; the path may hold '/' and '='. 0; 1 if it is something else; -ENOMEM. */
static int split_binary(const char *text, struct strv *words)
{
	const char *slash = strchr(text, '/');
	const char *equals = strchr(text, '=');
	cleanup_free char *os = NULL;
	cleanup_free char *arch = NULL;

	if (!slash || !equals || slash > equals || slash == text || slash + 1 == equals ||
	    equals[1] == '\0')
		return 1;
	os = strndup(text, (size_t)(slash - text));
	arch = strndup(slash + 1, (size_t)(equals - slash - 1));
	if (!os || !arch || strv_add(words, os) < 0 || strv_add(words, arch) < 0)
		return -ENOMEM;
	return strv_add(words, equals + 1);
}

static int take_option(int option, struct build_options *options)
{
	int r = 0;

	switch (option) {
	case 'o':
		options->out_dir = optarg;
		break;
	case 'e':
		r = strv_add(&options->entries, optarg);
		break;
	case 'b':
		r = split_binary(optarg, &options->words);
		if (r > 0)
			return command_usage(&command_build,
					     "--bin '%s' is not OS/ARCH=PATH, 'linux/amd64=demo' "
					     "for one",
					     optarg);
		break;
	default:
		return COMMAND_USAGE;
	}
	return r < 0 ? command_broke(r, "the options could not be read") : COMMAND_DONE;
}

static int parse_options(int argc, char **argv, struct build_options *options)
{
	static const struct option long_options[] = {
		{"bin", required_argument, NULL, 'b'},
		{"entry", required_argument, NULL, 'e'},
		{0    },
	};
	int option;

	while ((option = command_option(&command_build, argc, argv, ":o:", long_options)) != -1) {
		int r = take_option(option, options);

		if (r != COMMAND_DONE)
			return r;
	}
	if (argc - optind != 1)
		return command_usage(&command_build, "one directory is wanted");
	if (options->words.count == 0)
		return command_usage(&command_build, "--bin is wanted: the program to pack");
	if (options->words.count > 3UL * BINARIES_MAX)
		return command_usage(&command_build, "--bin was given more than %u times",
				     BINARIES_MAX);
	if (!options->out_dir)
		return command_usage(&command_build, "-o is wanted: where the bundles go");
	options->dir = argv[optind];
	return COMMAND_DONE;
}

static int run_build(int argc, char **argv)
{
	CLEANUP(build_options_done) struct build_options options = {0};
	cleanup_diagnostics struct diagnostics problems = DIAGNOSTICS_INIT;
	cleanup_strv struct strv paths = STRV_INIT;
	struct build_binary binaries[BINARIES_MAX];
	size_t n = 0;
	int r = parse_options(argc, argv, &options);

	if (r != COMMAND_DONE)
		return r;
	for (; n < options.words.count / 3; n++) {
		char **words = options.words.items + 3 * n;

		binaries[n] = (struct build_binary){words[0], words[1], words[2]};
	}
	r = build_bundles(options.dir, binaries, n, &options.entries, options.out_dir, &paths,
			  &problems);
	if (r < 0)
		return command_broke(r, "'%s' could not be built into '%s'", options.dir,
				     options.out_dir);
	if (r > 0) {
		problems_print(&problems, stderr, true);
		return COMMAND_REFUSED;
	}
	command_note_change();
	for (size_t i = 0; i < paths.count; i++)
		(void)printf("%s\n", paths.items[i]);
	return COMMAND_DONE;
}

const struct command command_build = {
	.name = "build",
	.run = run_build,
	.synopsis = "DIR --bin OS/ARCH=PATH… [--entry FILE…] -o OUT",
	.summary = "assemble an add-on's bundles, one per program",
	.options = "  --bin OS/ARCH=PATH  the program for linux/amd64 or linux/arm64\n"
		   "  --entry FILE        a further file for every bundle, under its last name\n"
		   "  -o OUT              the directory for the bundles; made if it is missing\n"
		   "\n"
		   "The same input gives the same bytes. The bundles' paths are printed.\n",
};
