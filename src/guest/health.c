/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The guest's state. systemd is asked through systemctl(1), which every guest with systemd has: the
 * library for its bus is a shared one only, and this program is linked statically so that it runs
 * in whatever image it is put into. The add-ons come from the updater's status, over the socket
 * that `affix status` uses.
 */

#include "guest/health.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "guest/child.h"
#include "ipc/transport.h"

/* In a guest that has just booted and has one slow processor; the updater starts when it is asked.
 */
#define ASK_USEC         (8 * CLOCK_USEC_PER_SEC)
#define STATUS_USEC      (20 * CLOCK_USEC_PER_SEC)
#define ANSWER_MAX       (256UL * 1024)
#define FAILED_UNITS_MAX 64U
#define ADD_ONS_MAX      64U
#define NAME_MAX_SHOWN   256U
#define BOOT_ID_PATH     "/proc/sys/kernel/random/boot_id"

static const char *const state_question[] = {"systemctl", "show", "--property=SystemState",
					     "--value", NULL};
static const char *const failed_question[] = {"systemctl", "list-units",  "--state=failed",
					      "--plain",   "--no-legend", "--no-pager",
					      "--full",    NULL};

static int run_systemctl(const void *context)
{
	static const char *const paths[] = {"/usr/bin/systemctl", "/bin/systemctl"};
	static const char *const environment[] = {"LC_ALL=C.UTF-8", "SYSTEMD_COLORS=0",
						  "SYSTEMD_URLIFY=0", NULL};
	const char *const *question = context;

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		(void)execve(paths[i], (char *const *)question, (char *const *)environment);
	return EXIT_FAILURE;
}

/* Has *text* up to *end* into *json*, as text that can be shown. 0 or -ENOMEM. */
static int append_word(json_t *array, const char *text, size_t length)
{
	cleanup_free char *shown = str_escape(text, length, NAME_MAX_SHOWN);

	return shown ? json_append(array, json_string(shown)) : -ENOMEM;
}

static int add_failed_units(json_t *json)
{
	cleanup_free char *text = NULL;
	cleanup_json json_t *names = json_array();
	const char *at;
	int r;

	if (!names)
		return -ENOMEM;
	r = child_read(run_systemctl, failed_question, ASK_USEC, ANSWER_MAX, &text);
	if (r < 0)
		return json_add(json, "failed_units", json_null());
	r = 0;
	for (at = text; r == 0 && *at; at += strspn(at, "\n")) {
		size_t length = strcspn(at, " \n");

		if (length > 0 && json_array_size(names) < FAILED_UNITS_MAX)
			r = append_word(names, at, length);
		at += strcspn(at, "\n");
	}
	return r < 0 ? r : json_add(json, "failed_units", TAKE_PTR(names));
}

static int add_state(json_t *json)
{
	cleanup_free char *text = NULL;
	cleanup_free char *shown = NULL;
	int r = child_read(run_systemctl, state_question, ASK_USEC, ANSWER_MAX, &text);

	/* Who does not say that is not asked more: it may be the time that is lacking. */
	if (r < 0)
		r = json_add_string(json, "state", "unknown");
	if (!text)
		return r < 0 ? r : json_add(json, "failed_units", json_null());
	shown = str_escape(text, strcspn(text, " \n"), NAME_MAX_SHOWN);
	if (!shown)
		return -ENOMEM;
	r = json_add_string(json, "state", *shown ? shown : "unknown");
	return r < 0 ? r : add_failed_units(json);
}

/* Of an add-on's status, what a host asks first. 0 or -ENOMEM. */
static int append_add_on(json_t *list, const json_t *status)
{
	static const char *const members[] = {"id", "version", "state"};
	cleanup_json json_t *item = json_object();

	for (size_t i = 0; item && i < ARRAY_SIZE(members); i++) {
		const char *value = NULL;

		ignore_result(json_member_string(status, members[i], &value));
		if (json_add_string(item, members[i], value) < 0)
			return -ENOMEM;
	}
	return item ? json_append(list, TAKE_PTR(item)) : -ENOMEM;
}

/* Asks the updater, and writes an array to standard output. */
static int run_status(const void *context)
{
	struct request request = {.verb = REQUEST_STATUS};
	const int fds[REQUEST_FD_N] = {-EBADF, -EBADF, -EBADF};
	cleanup_result struct result result = RESULT_INIT;
	cleanup_json json_t *list = json_array();
	cleanup_free char *text = NULL;
	json_t *add_ons = NULL;
	int r = transport_call(context, &request, fds, &result);

	if (r < 0 || result.outcome != RESULT_DONE ||
	    json_member_array(result.data, "addons", &add_ons) < 0)
		return EXIT_FAILURE;
	for (size_t i = 0; i < json_array_size(add_ons) && i < ADD_ONS_MAX; i++) {
		if (!list || append_add_on(list, json_array_get(add_ons, i)) < 0)
			return EXIT_FAILURE;
	}
	text = json_dumps(list, JSON_COMPACT);
	return text && fd_write_full(STDOUT_FILENO, text, strlen(text)) == 0 ? 0 : EXIT_FAILURE;
}

static int add_add_ons(json_t *json)
{
	cleanup_free char *text = NULL;
	json_t *list;
	int r = child_read(run_status, REQUEST_ADMIN_SOCKET, STATUS_USEC, ANSWER_MAX, &text);

	if (r < 0)
		return json_add(json, "addons", json_null());
	/* It was made above. */
	list = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	return json_add(json, "addons", list);
}

void health_boot_id(char ret[HEALTH_BOOT_ID_SIZE])
{
	cleanup_free char *text = NULL;
	size_t size = 0;

	ret[0] = '\0';
	if (fd_read_path(BOOT_ID_PATH, HEALTH_BOOT_ID_SIZE, &text, &size) < 0 ||
	    size < HEALTH_BOOT_ID_SIZE)
		return;
	memcpy(ret, text, HEALTH_BOOT_ID_SIZE - 1);
	ret[HEALTH_BOOT_ID_SIZE - 1] = '\0';
}

static uint64_t uptime(void)
{
	struct timespec now = {0};

	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec;
}

json_t *health_describe(void)
{
	cleanup_json json_t *json = json_object();
	char boot_id[HEALTH_BOOT_ID_SIZE];
	int r = json ? add_state(json) : -ENOMEM;

	if (r == 0)
		r = add_add_ons(json);
	health_boot_id(boot_id);
	if (r == 0)
		r = json_add_string(json, "boot_id", boot_id[0] ? boot_id : NULL);
	if (r == 0)
		r = json_add_uint(json, "uptime_seconds", uptime());
	if (r == 0)
		r = json_add_string(json, "version", AFFIX_VERSION);
	return r < 0 ? NULL : TAKE_PTR(json);
}
