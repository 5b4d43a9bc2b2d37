/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the guest says and does when it is asked. Ending the guest is one signal to PID 1
 * (systemd(1): SIGRTMIN+4 starts poweroff.target); that needs no bus and no privilege beyond being
 * root. It comes after the answer, or the host would never read it, so everything that it needs is
 * looked at before.
 */

#include "guest/answer.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "guest/health.h"

#define INIT_PID         1
#define POWER_OFF_SIGNAL (SIGRTMIN + 4)
/* As sd_booted(3) looks at it. */
#define BOOTED_PATH "/run/systemd/system"

static int ping(struct result *ret)
{
	char boot_id[HEALTH_BOOT_ID_SIZE];
	json_t *json = json_object();

	health_boot_id(boot_id);
	ret->data = json;
	if (!json || json_add_string(json, "version", AFFIX_VERSION) < 0 ||
	    json_add_string(json, "boot_id", boot_id[0] ? boot_id : NULL) < 0)
		return -ENOMEM;
	return result_set(ret, RESULT_DONE, "", "affix-guestd %s answers", AFFIX_VERSION);
}

static int health(struct result *ret)
{
	const char *state = "";

	ret->data = health_describe();
	if (!ret->data)
		return -ENOMEM;
	ignore_result(json_member_string(ret->data, "state", &state));
	return result_set(ret, RESULT_DONE, "", "the guest is %s", state);
}

static int shut_down(bool may_end, struct result *ret, bool *ret_ends)
{
	struct refusal refusal = REFUSAL_INIT;
	struct stat st;

	if (!may_end) {
		refusal_set(
			&refusal, REFUSAL_FORBIDDEN,
			"over vsock the guest is shut down for a port below %u alone, which the "
			"host keeps for root: ask as root, or by the VM's serial port",
			GUEST_VSOCK_PRIVILEGED_END);
		return result_set_refusal(ret, &refusal);
	}
	if (stat(BOOTED_PATH, &st) < 0 || kill(INIT_PID, 0) < 0) {
		refusal_set(&refusal, REFUSAL_NO_MANAGER,
			    "the guest cannot be shut down: systemd is not its PID 1, or is not to "
			    "be reached; end the VM from outside");
		return result_set_refusal(ret, &refusal);
	}
	*ret_ends = true;
	return result_set(ret, RESULT_DONE, "", "the guest shuts down");
}

static int answer_request(const struct guest_request *request, bool may_end, struct result *ret,
			  bool *ret_ends)
{
	switch (request->verb) {
	case GUEST_PING:
		return ping(ret);
	case GUEST_HEALTH:
		return health(ret);
	case GUEST_SHUTDOWN:
		return shut_down(may_end, ret, ret_ends);
	case GUEST_VERB_N:
	default:
		return -EINVAL;
	}
}

static int set_text(char **place, const char *text)
{
	*place = strdup(text);
	return *place ? 0 : -ENOMEM;
}

int answer_line(const char *line, size_t size, bool may_end, struct result *ret, bool *ret_ends)
{
	struct guest_request request = GUEST_REQUEST_INIT;
	struct refusal refusal = REFUSAL_INIT;
	int r = guest_request_parse(line, size, &request, &refusal);

	*ret_ends = false;
	ret->time = clock_realtime_sec();
	if (r < 0)
		return r;
	if (request.request_id[0] && set_text(&ret->request_id, request.request_id) < 0)
		return -ENOMEM;
	if (r > 0)
		return result_set_refusal(ret, &refusal);
	r = set_text(&ret->verb, guest_verb_to_string(request.verb));
	return r < 0 ? r : answer_request(&request, may_end, ret, ret_ends);
}

int answer_too_long(struct result *ret)
{
	struct refusal refusal = REFUSAL_INIT;

	ret->time = clock_realtime_sec();
	refusal_set(&refusal, REFUSAL_BAD_REQUEST, "the request has more than %u bytes",
		    GUEST_REQUEST_MAX);
	return result_set_refusal(ret, &refusal);
}

void answer_end_guest(void)
{
	(void)kill(INIT_PID, POWER_OFF_SIGNAL);
}
