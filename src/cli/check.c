/* SPDX-License-Identifier: Apache-2.0 */

/* `affix check`: every problem of an add-on's source at once, before anything is built. */

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/json.h"
#include "bundle/build.h"
#include "cli/commands.h"
#include "cli/problems.h"

static int parse_options(int argc, char **argv, bool *ret_json, const char **ret_path)
{
	static const struct option long_options[] = {
		{"json", no_argument, NULL, 'j'},
                {0 }
        };
	int option;

	while ((option = command_option(&command_check, argc, argv, ":", long_options)) != -1) {
		if (option != 'j')
			return COMMAND_USAGE;
		*ret_json = true;
	}
	if (argc - optind != 1)
		return command_usage(&command_check, "one directory or addon.yaml is wanted");
	*ret_path = argv[optind];
	return COMMAND_DONE;
}

static int add_problem(json_t *list, const struct diagnostic *item)
{
	cleanup_json json_t *problem = json_object();

	if (!problem || json_add_string(problem, "file", item->file) < 0 ||
	    json_add_uint(problem, "line", item->line) < 0 ||
	    json_add_uint(problem, "column", item->column) < 0 ||
	    json_add_string(problem, "name", refusal_to_string(item->code)) < 0 ||
	    json_add_string(problem, "message", item->message) < 0)
		return -ENOMEM;
	return json_append(list, TAKE_PTR(problem));
}

static int print_json(const char *path, const struct diagnostics *problems)
{
	cleanup_json json_t *json = command_json_new();
	cleanup_json json_t *list = json_array();
	int r = json && list ? 0 : -ENOMEM;

	for (size_t i = 0; i < problems->count && r == 0; i++)
		r = add_problem(list, &problems->items[i]);
	if (r == 0)
		r = json_add_string(json, "path", path);
	if (r == 0)
		r = json_add(json, "problems", TAKE_PTR(list));
	return r < 0 ? command_broke(r, "the answer could not be made") : command_print_json(json);
}

static int run_check(int argc, char **argv)
{
	cleanup_diagnostics struct diagnostics problems = DIAGNOSTICS_INIT;
	struct refusal refusal = REFUSAL_INIT;
	const char *path = NULL;
	bool json = false;
	int r = parse_options(argc, argv, &json, &path);

	if (r != COMMAND_DONE)
		return r;
	r = build_check(path, &problems);
	if (r < 0)
		return command_broke(r, "'%s' could not be checked", path);
	if (json) {
		r = print_json(path, &problems);
		if (r != COMMAND_DONE)
			return r;
	} else {
		problems_print(&problems, stdout, false);
	}
	if (problems.count == 0)
		return COMMAND_DONE;
	(void)refuse(&refusal, problems.items[0].code, "'%s' has %zu problem%s", path,
		     problems.count, problems.count == 1 ? "" : "s");
	return command_refuse(&refusal);
}

const struct command command_check = {
	.name = "check",
	.run = run_check,
	.synopsis = "DIR|addon.yaml [--json]",
	.summary = "say everything that is wrong with an add-on's source",
	.options = "  --json  a list of problems with file, line, column, name and message\n"
		   "\n"
		   "A directory is checked whole: manifest, units, schema, and how they fit. Of a\n"
		   "lone addon.yaml, only the manifest is.\n",
};
