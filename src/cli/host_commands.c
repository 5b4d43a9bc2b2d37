/* SPDX-License-Identifier: Apache-2.0 */

/* The commands that work on hosts: each fills in a request and has it carried out. */

#include <errno.h>

#include "cli/commands.h"
#include "cli/host.h"
#include "cli/plan_local.h"

#define OPTION_ROOT  "  --root DIR           a tree that is not running, instead of this host\n"
#define OPTION_JSON  "  --json               print the result as JSON\n"
#define OPTION_TRUST "  --trust DIR          with --root: trust these keys, not those of the tree\n"
#define OPTIONS_OF_BUNDLE                                                             \
	"  --config FILE        the add-on's configuration, one JSON object\n"        \
	"  --signature FILE     the signature, if it is not BUNDLE.minisig\n"         \
	"  --limit KEY=N        lower a limit: cpu_max_percent, memory_high_bytes,\n" \
	"                       memory_max_bytes or tasks_max\n"                      \
	"  --capabilities LIST  grant no other capabilities than these\n" OPTION_TRUST

/* The one operand of a command, or COMMAND_USAGE. */
static int take_operand(const struct host_call *call, int argc, char **argv, const char *what,
			const char **ret)
{
	if (argc - optind != 1)
		return command_usage(call->command, "%s is wanted", what);
	*ret = argv[optind];
	return COMMAND_DONE;
}

static int run_bundle(const struct command *command, enum request_verb verb, const char *letters,
		      int argc, char **argv)
{
	cleanup_host_call struct host_call call = HOST_CALL_INIT(command);
	const char *bundle = NULL;
	int r;

	call.request.verb = verb;
	r = host_parse(&call, argc, argv, letters);
	if (r == COMMAND_DONE)
		r = take_operand(&call, argc, argv, "one bundle", &bundle);
	if (r == COMMAND_DONE && verb == REQUEST_PLAN && !call.root && !plan_has_updater())
		return plan_locally(&call, bundle);
	if (r == COMMAND_DONE)
		r = host_add_bundle(&call, bundle);
	if (r == COMMAND_DONE && call.config)
		r = host_add_file(&call, REQUEST_FD_CONFIG, call.config);
	return r == COMMAND_DONE ? host_run(&call) : r;
}

/* A command that takes an add-on's id, which *optional* may be left out. */
static int run_id(const struct command *command, enum request_verb verb, const char *letters,
		  int argc, char **argv)
{
	cleanup_host_call struct host_call call = HOST_CALL_INIT(command);
	bool optional = verb == REQUEST_STATUS || verb == REQUEST_DRIFT;
	const char *id = NULL;
	int r;

	call.request.verb = verb;
	r = host_parse(&call, argc, argv, letters);
	if (r == COMMAND_DONE && !(optional && optind == argc))
		r = take_operand(&call, argc, argv, "one add-on's id", &id);
	if (r == COMMAND_DONE && id)
		r = host_set_id(&call, id);
	if (r == COMMAND_DONE && call.signature && !call.bundle)
		r = command_usage(command, "--signature goes with --bundle");
	if (r == COMMAND_DONE && call.bundle)
		r = host_add_bundle(&call, call.bundle);
	return r == COMMAND_DONE ? host_run(&call) : r;
}

static int run_install(int argc, char **argv)
{
	return run_bundle(&command_install, REQUEST_INSTALL, "csdlCt", argc, argv);
}

static int run_plan(int argc, char **argv)
{
	return run_bundle(&command_plan, REQUEST_PLAN, "cslCt", argc, argv);
}

static int run_configure(int argc, char **argv)
{
	cleanup_host_call struct host_call call = HOST_CALL_INIT(&command_configure);
	int wanted;
	int r;

	call.request.verb = REQUEST_CONFIGURE;
	r = host_parse(&call, argc, argv, "R");
	wanted = call.request.use_running ? 1 : 2;
	if (r == COMMAND_DONE && argc - optind != wanted)
		r = command_usage(&command_configure,
				  "one add-on's id and either a file or --reread are wanted");
	if (r == COMMAND_DONE)
		r = host_set_id(&call, argv[optind]);
	if (r == COMMAND_DONE && wanted == 2)
		r = host_add_file(&call, REQUEST_FD_CONFIG, argv[optind + 1]);
	return r == COMMAND_DONE ? host_run(&call) : r;
}

static int run_rollback(int argc, char **argv)
{
	return run_id(&command_rollback, REQUEST_ROLLBACK, "v", argc, argv);
}

static int run_uninstall(int argc, char **argv)
{
	return run_id(&command_uninstall, REQUEST_UNINSTALL, "p", argc, argv);
}

static int run_status(int argc, char **argv)
{
	return run_id(&command_status, REQUEST_STATUS, "", argc, argv);
}

static int run_drift(int argc, char **argv)
{
	return run_id(&command_drift, REQUEST_DRIFT, "", argc, argv);
}

static int run_repair(int argc, char **argv)
{
	return run_id(&command_repair, REQUEST_REPAIR, "bst", argc, argv);
}

static int run_prune(int argc, char **argv)
{
	return run_id(&command_prune, REQUEST_PRUNE, "", argc, argv);
}

static int run_hold(int argc, char **argv)
{
	return run_id(&command_hold, REQUEST_HOLD, "LSm", argc, argv);
}

static int run_clear_quarantine(int argc, char **argv)
{
	return run_id(&command_clear_quarantine, REQUEST_CLEAR_QUARANTINE, "", argc, argv);
}

const struct command command_plan = {
	.name = "plan",
	.run = run_plan,
	.synopsis = "[OPTION…] BUNDLE",
	.summary = "say what installing a bundle would make, and change nothing",
	.options = OPTIONS_OF_BUNDLE OPTION_ROOT OPTION_JSON,
};

const struct command command_install = {
	.name = "install",
	.run = run_install,
	.synopsis = "[OPTION…] BUNDLE",
	.summary = "install or upgrade an add-on, watch it, go back if it fails",
	.options = OPTIONS_OF_BUNDLE
	"  --allow-downgrade    install an older version than was installed here before\n" OPTION_ROOT
		OPTION_JSON,
};

const struct command command_configure = {
	.name = "configure",
	.run = run_configure,
	.synopsis = "[OPTION…] ID FILE",
	.summary = "give an add-on another configuration, go back if it fails with it",
	.options = "  --reread             instead of FILE: keep the configuration, take the\n"
		   "                       administrator's own keys anew\n" OPTION_ROOT OPTION_JSON,
};

const struct command command_rollback = {
	.name = "rollback",
	.run = run_rollback,
	.synopsis = "[OPTION…] ID",
	.summary = "go back to the version installed before",
	.options = "  --to VERSION         or to any other version that is recorded\n" OPTION_ROOT
		OPTION_JSON,
};

const struct command command_uninstall = {
	.name = "uninstall",
	.run = run_uninstall,
	.synopsis = "[OPTION…] ID",
	.summary = "remove an add-on",
	.options = "  --purge              and the state, cache and logs it left\n" OPTION_ROOT
		OPTION_JSON,
};

const struct command command_status = {
	.name = "status",
	.run = run_status,
	.synopsis = "[OPTION…] [ID]",
	.summary = "say what is installed and how it does",
	.options = OPTION_ROOT OPTION_JSON,
};

const struct command command_drift = {
	.name = "drift",
	.run = run_drift,
	.synopsis = "[OPTION…] [ID]",
	.summary = "say what is not as it was installed",
	.options = OPTION_ROOT OPTION_JSON,
};

const struct command command_repair = {
	.name = "repair",
	.run = run_repair,
	.synopsis = "[OPTION…] ID",
	.summary = "put back what is not as it was installed",
	.options = "  --bundle BUNDLE      the bundle it was installed from, if its own files are\n"
		   "                       damaged\n"
		   "  --signature FILE     its signature, if it is not "
		   "BUNDLE.minisig\n" OPTION_TRUST OPTION_ROOT OPTION_JSON,
};

const struct command command_prune = {
	.name = "prune",
	.run = run_prune,
	.synopsis = "[OPTION…] ID",
	.summary = "remove versions older than the previous one",
	.options = OPTION_ROOT OPTION_JSON,
};

const struct command command_hold = {
	.name = "hold",
	.run = run_hold,
	.synopsis = "[OPTION…] ID",
	.summary = "keep the fleet from changing an add-on",
	.options = "  --stop               and stop it, until it is released\n"
		   "  --reason TEXT        what the fleet is told\n"
		   "  --release            let go\n" OPTION_ROOT OPTION_JSON,
};

const struct command command_clear_quarantine = {
	.name = "clear-quarantine",
	.run = run_clear_quarantine,
	.synopsis = "[OPTION…] ID",
	.summary = "let what failed here be tried again",
	.options = OPTION_ROOT OPTION_JSON,
};
