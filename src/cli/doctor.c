/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `affix doctor`: is this host able to take add-ons? Every check says what it looked at, also when
 * all is well, and what to do when it is not. Nothing is changed, but for two directories that come
 * and go where versions are kept.
 */

#include "cli/doctor.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/commands.h"

static const char *const verdicts[] = {
	[DOCTOR_OK] = "ok",
	[DOCTOR_SKIPPED] = "skipped",
	[DOCTOR_WARN] = "warn",
	[DOCTOR_FAIL] = "fail",
};

static_assert(ARRAY_SIZE(verdicts) == DOCTOR_VERDICT_N, "every verdict has a name");

static int add_check(struct doctor *doctor, const char *name, enum doctor_verdict verdict,
		     const char *sentence)
{
	cleanup_free char *safe = str_escape(sentence, strlen(sentence), strlen(sentence));
	json_t *item = json_object();
	int r;

	r = json_append(doctor->checks, item);
	if (r == 0)
		r = json_add_string(item, "name", name);
	if (r == 0)
		r = json_add_string(item, "verdict", verdicts[verdict]);
	return r < 0 ? r : json_add_string(item, "text", safe);
}

void doctor_say(struct doctor *doctor, const char *name, enum doctor_verdict verdict,
		const char *format, ...)
{
	cleanup_free char *sentence = NULL;
	va_list arguments;

	va_start(arguments, format);
	ignore_result(str_vformat(&sentence, format, arguments));
	va_end(arguments);
	if (!sentence || add_check(doctor, name, verdict, sentence) < 0 || verdict == DOCTOR_FAIL)
		doctor->has_failed = true;
}

static int print_checks(const struct doctor *doctor)
{
	const json_t *check;
	size_t i;

	json_array_foreach(doctor->checks, i, check)
	{
		(void)printf("%-7s  %-12s  %s\n",
			     json_string_value(json_object_get(check, "verdict")),
			     json_string_value(json_object_get(check, "name")),
			     json_string_value(json_object_get(check, "text")));
	}
	return COMMAND_DONE;
}

static int print_json(const struct doctor *doctor)
{
	cleanup_json json_t *json = command_json_new();

	if (!json || json_add(json, "ok", json_boolean(!doctor->has_failed)) < 0 ||
	    json_add(json, "checks", json_incref(doctor->checks)) < 0)
		return command_broke(-ENOMEM, "the answer could not be made");
	return command_print_json(json);
}

static void run_checks(struct doctor *doctor)
{
	doctor_check_systemd(doctor);
	doctor_check_cgroups(doctor);
	doctor_check_directories(doctor);
	doctor_check_filesystem(doctor);
	doctor_check_policy(doctor);
	doctor_check_trust(doctor);
	doctor_check_sockets(doctor);
	doctor_check_records(doctor);
}

static int run_doctor(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{0 },
	};
	cleanup_json json_t *checks = json_array();
	cleanup_fd int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct doctor doctor = {.checks = checks, .is_root = geteuid() == 0, .rootfd = root};
	bool json = false;
	int option;
	int r;

	while ((option = command_option(&command_doctor, argc, argv, ":", options)) != -1) {
		if (option != 'j')
			return COMMAND_USAGE;
		json = true;
	}
	if (optind != argc)
		return command_usage(&command_doctor, "no operand is wanted");
	if (!checks || root < 0)
		return command_broke(root < 0 ? -errno : -ENOMEM, "the host cannot be looked at");
	run_checks(&doctor);
	r = json ? print_json(&doctor) : print_checks(&doctor);
	return r == COMMAND_DONE && doctor.has_failed ? COMMAND_REFUSED : r;
}

const struct command command_doctor = {
	.name = "doctor",
	.run = run_doctor,
	.synopsis = "[--json]",
	.summary = "say whether this host can take add-ons, and what is in the way",
	.options = "  --json  print the findings as JSON\n",
};
