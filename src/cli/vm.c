/* SPDX-License-Identifier: Apache-2.0 */

/* `affix vm`: what the guest agent of a VM is asked from outside. */

#include "cli/vm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/commands.h"

#define TIMEOUT_SECONDS     60U
#define TIMEOUT_SECONDS_MAX 86400UL

struct vm_call {
	const struct command *command;
	struct vm_address address;
	bool is_firecracker;
	bool json;
	unsigned timeout; /* seconds */
};

static const struct command *const verbs[] = {
	&command_vm_ping,
	&command_vm_health,
	&command_vm_shutdown,
	NULL,
};

static int parse_timeout(struct vm_call *call, const char *text)
{
	char *end = NULL;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || value == 0 ||
	    value > TIMEOUT_SECONDS_MAX)
		return command_usage(call->command,
				     "--timeout '%s' is not 1 to %lu: seconds are wanted", text,
				     TIMEOUT_SECONDS_MAX);
	call->timeout = (unsigned)value;
	return COMMAND_DONE;
}

static int parse_options(struct vm_call *call, int argc, char **argv)
{
	static const struct option long_options[] = {
		{"timeout",    required_argument, NULL, 't'},
		{"firecracker",        no_argument, NULL, 'f'},
		{"json",            no_argument, NULL, 'j'},
		{0},
	};
	int option;

	while ((option = command_option(call->command, argc, argv, ":", long_options)) != -1) {
		int code = COMMAND_DONE;

		if (option == 't')
			code = parse_timeout(call, optarg);
		else if (option == 'f')
			call->is_firecracker = true;
		else if (option == 'j')
			call->json = true;
		else
			code = COMMAND_USAGE;
		if (code != COMMAND_DONE)
			return code;
	}
	if (argc - optind != 1)
		return command_usage(call->command, "one VM is wanted: CID[:PORT], or the path of "
						    "a socket");
	if (vm_address_parse(argv[optind], &call->address) < 0)
		return command_usage(call->command,
				     "'%s' is no VM: CID[:PORT], or the path of a socket is wanted",
				     argv[optind]);
	if (call->is_firecracker && !call->address.path)
		return command_usage(call->command, "--firecracker is for the path of a socket");
	call->address.has_preface = call->is_firecracker;
	return COMMAND_DONE;
}

/* What a failed question means for who asked: the guest never heard it, or does not say. */
static int explain(const struct vm_call *call, int error, struct result *ret)
{
	const char *where = call->address.as_given;
	int r;

	switch (error) {
	case -ETIMEDOUT:
		r = result_set(
			ret, RESULT_REFUSED, "timeout",
			"the guest at '%s' did not answer in %u seconds: it is still booting, "
			"or affix-guestd(8) does not run in it",
			where, call->timeout);
		return r < 0 ? command_broke(r, "out of memory") : COMMAND_TRY_AGAIN;
	case -EPERM:
		r = result_set(
			ret, RESULT_REFUSED, "forbidden",
			"the guest at '%s' was not asked: a shutdown over vsock needs a port "
			"below %u, which is root's; run it as root, or use the socket of the "
			"VM's serial port",
			where, GUEST_VSOCK_PRIVILEGED_END);
		return r < 0 ? command_broke(r, "out of memory") : result_exit_code(ret);
	case -ENOENT:
	case -ECONNREFUSED:
	case -ENODEV:
		r = result_set(ret, RESULT_REFUSED, "no-guest", "there is no VM at '%s': %s", where,
			       call->address.path
				       ? "nobody has that socket; start the VM first"
				       : "no VM has that CID, or this machine has no vsock");
		return r < 0 ? command_broke(r, "out of memory") : COMMAND_TRY_AGAIN;
	default:
		return command_broke(error, "the guest at '%s' could not be asked", where);
	}
}

static void print_member(const char *before, const json_t *object, const char *key,
			 const char *behind)
{
	const char *text = json_string_value(json_object_get(object, key));
	cleanup_free char *shown = text ? str_escape(text, strlen(text), strlen(text)) : NULL;

	(void)printf("%s%s%s", before, shown ? shown : "-", behind);
}

static void print_health(const json_t *data)
{
	const json_t *item;
	uint64_t uptime = 0;
	size_t i;

	print_member("state         ", data, "state", "\n");
	print_member("affix         ", data, "version", "\n");
	print_member("boot          ", data, "boot_id", "");
	if (json_member_uint(data, "uptime_seconds", INT64_MAX, &uptime) == 0)
		(void)printf(", %llu s ago", (unsigned long long)uptime);
	(void)printf("\n");
	json_array_foreach(json_object_get(data, "failed_units"), i, item)
	{
		const char *name = json_string_value(item);
		cleanup_free char *shown =
			name ? str_escape(name, strlen(name), strlen(name)) : NULL;

		(void)printf("failed        %s\n", shown ? shown : "-");
	}
	json_array_foreach(json_object_get(data, "addons"), i, item)
	{
		print_member("add-on        ", item, "id", "");
		print_member(" ", item, "version", "");
		print_member(" ", item, "state", "\n");
	}
}

static void print_text(const struct result *result)
{
	cleanup_free char *shown =
		str_escape(result->message, strlen(result->message), strlen(result->message));

	if (str_equal(result->verb, "health"))
		print_health(result->data);
	else
		(void)printf("%s\n", shown ? shown : "out of memory");
}

static int show(const struct vm_call *call, const struct result *result, int code)
{
	cleanup_json json_t *json = NULL;
	int shown = COMMAND_DONE;

	if (call->json) {
		json = result_to_json(result);
		shown = json ? command_print_json(json)
			     : command_broke(-ENOMEM, "the answer could not be shown");
	} else if (result->outcome == RESULT_DONE) {
		print_text(result);
	}
	if (result->outcome != RESULT_DONE)
		command_complain(result->name, result->message);
	return code == COMMAND_DONE ? shown : code;
}

/* A name that programs may rely on: what a guest says that is none of ours is an error. */
static void check_name(struct result *result)
{
	static const char error[] = "error";

	if (result->outcome != RESULT_DONE && refusal_from_string(result->name) == REFUSAL_NONE)
		memcpy(result->name, error, sizeof(error));
}

/* As `systemctl is-system-running`: whoever waits for a guest, or has one that is not well, is told
 * so by the exit code. */
static int health_code(const struct result *result)
{
	static const char *const passing[] = {"initializing", "starting", "stopping"};
	const char *state = "";

	if (result->outcome != RESULT_DONE)
		return result_exit_code(result);
	ignore_result(json_member_string(result->data, "state", &state));
	for (size_t i = 0; i < ARRAY_SIZE(passing); i++) {
		if (strcmp(state, passing[i]) == 0)
			return COMMAND_TRY_AGAIN;
	}
	return strcmp(state, "running") == 0 ? COMMAND_DONE : COMMAND_FAILED;
}

static int run(const struct command *command, enum guest_verb verb, int argc, char **argv)
{
	struct vm_call call = {.command = command, .timeout = TIMEOUT_SECONDS};
	cleanup_result struct result result = RESULT_INIT;
	int code = parse_options(&call, argc, argv);
	int r;

	if (code != COMMAND_DONE)
		return code;
	r = vm_ask(&call.address, verb, call.timeout * CLOCK_USEC_PER_SEC, &result);
	if (r == 0)
		check_name(&result);
	if (r < 0)
		code = explain(&call, r, &result);
	else
		code = verb == GUEST_HEALTH ? health_code(&result) : result_exit_code(&result);
	if (r == 0 && code == COMMAND_DONE && verb == GUEST_SHUTDOWN)
		command_note_change();
	/* Without an answer, the reason was said already. */
	return result.message ? show(&call, &result, code) : code;
}

static int run_ping(int argc, char **argv)
{
	return run(&command_vm_ping, GUEST_PING, argc, argv);
}

static int run_health(int argc, char **argv)
{
	return run(&command_vm_health, GUEST_HEALTH, argc, argv);
}

static int run_shutdown(int argc, char **argv)
{
	return run(&command_vm_shutdown, GUEST_SHUTDOWN, argc, argv);
}

static int run_vm(int argc, char **argv)
{
	if (command_option(&command_vm, argc, argv, ":", NULL) != -1)
		return COMMAND_USAGE;
	if (optind == argc)
		return command_usage(&command_vm, "a verb is wanted, such as 'ping'");
	return command_usage(&command_vm, "'%s' is nothing that can be done with VMs",
			     argv[optind]);
}

#define SYNOPSIS "[--timeout SECONDS] [--firecracker] [--json] CID[:PORT]|SOCKET"
#define OPTIONS                                                                                        \
	"  --timeout SECONDS  how long to wait for the answer, and for the guest (default: 60)\n"      \
	"  --firecracker      SOCKET is the vsock of Firecracker or Cloud Hypervisor\n"                \
	"  --json             a JSON object: affix(1), JSON OUTPUT\n"                                  \
	"\n"                                                                                           \
	"CID is the VM's number on vsock. SOCKET is what QEMU made of '-chardev socket,path=SOCKET'\n" \
	"for its serial port org.affix.guestd.0.\n"

const struct command command_vm_ping = {
	.name = "vm ping",
	.run = run_ping,
	.synopsis = SYNOPSIS,
	.summary = "ask whether a VM's guest agent is there",
	.options = OPTIONS,
};

const struct command command_vm_health = {
	.name = "vm health",
	.run = run_health,
	.synopsis = SYNOPSIS,
	.summary = "ask how a VM is: its systemd, its add-ons",
	.options = OPTIONS,
};

const struct command command_vm_shutdown = {
	.name = "vm shutdown",
	.run = run_shutdown,
	.synopsis = SYNOPSIS,
	.summary = "have a VM shut down in order",
	.options = OPTIONS,
};

const struct command command_vm = {
	.name = "vm",
	.run = run_vm,
	.synopsis = "VERB [OPTION…] VM",
	.summary = "ask the guest agent of a VM",
	.verbs = verbs,
};
