/* SPDX-License-Identifier: Apache-2.0 */

/* The word for an add-on: what was tried and failed comes before what the host says of what runs,
 * because the former is why the latter is not what is wanted. */

#include "agent/addon_state.h"

#include <string.h>

#include "base/str.h"

static bool is_failure(const struct step *step, const struct wanted *wanted,
		       const struct memory_addon *memory)
{
	return step->kind == STEP_WAIT && memory && memory->failure != MEMORY_NO_FAILURE &&
	       wanted && strcmp(memory->failed_key, wanted->key) == 0 &&
	       strcmp(step->name, memory->failed_name) == 0;
}

static const char *failure_word(const struct memory_addon *memory, bool is_installed)
{
	if (str_equal(memory->failed_name, "quarantined") ||
	    str_equal(memory->failed_name, "version-barred"))
		return "quarantined";
	if (memory->failure == MEMORY_QUARANTINED)
		return is_installed ? "rolled-back" : "quarantined";
	if (str_equal(memory->failed_name, "wrong-platform") ||
	    str_equal(memory->failed_name, "unsupported"))
		return "unsupported";
	return is_installed ? "degraded" : "unhealthy";
}

static const char *host_word(const struct host_addon *addon, const struct memory_addon *memory)
{
	if (str_equal(addon->state, "stopped"))
		return "stopped";
	if (memory && memory->since > 0 && addon->restarts > memory->restarts)
		return "restarting";
	if (addon->is_changing || addon->is_starting)
		return addon->restarts > 0 && addon->is_starting ? "restarting" : "starting";
	return str_equal(addon->state, "running") ? "running" : "unhealthy";
}

struct addon_state addon_state_judge(const struct step *step, const struct wanted *wanted,
				     const struct host_addon *addon,
				     const struct memory_addon *memory, enum activity activity)
{
	bool is_installed = addon && addon->is_installed;
	struct addon_state state = {.name = "", .reason = ""};

	if (step->kind == STEP_WAIT) {
		state.name = step->name;
		state.reason = step->reason;
	}
	if (activity != ACTIVITY_NONE) {
		state.word = "starting";
		state.reason = activity == ACTIVITY_DOWNLOADING ? "the bundle is being downloaded"
								: "the updater is at work";
	} else if (is_failure(step, wanted, memory)) {
		state.word = failure_word(memory, is_installed);
		state.is_failed = true;
	} else if (is_installed) {
		state.word = host_word(addon, memory);
		if (state.reason[0] == '\0' && addon->reason)
			state.reason = addon->reason;
	} else if (addon && str_equal(addon->state, "bad-record")) {
		state.word = "unhealthy";
		state.name = "bad-record";
		state.reason = addon->reason ? addon->reason : "";
	} else if (wanted && wanted->is_offered && wanted->is_enabled) {
		state.word = step->kind == STEP_WAIT ? "stopped" : "starting";
	} else {
		state.word = "stopped";
	}
	state.is_healthy = str_equal(state.word, "running");
	return state;
}
