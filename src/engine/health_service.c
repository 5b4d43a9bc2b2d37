/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A service under watch. Every look asks the manager first, then the kernel, then the socket, and
 * gives a verdict only where they agree about one and the same main process: what is caught in the
 * middle of a change (a zombie that PID 1 has not seen yet, a child that has not executed its
 * binary yet) is looked at again, never judged.
 */

#include "engine/health_service.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "engine/health_process.h"

/* Between fork and exec, a busy machine. */
#define EXEC_USEC (5 * CLOCK_USEC_PER_SEC)
/* The longest start that we wait for. */
#define START_MAX_USEC (900 * CLOCK_USEC_PER_SEC)
/* And all starts together, of a service that may restart. */
#define START_ALL_MAX_USEC (2 * START_MAX_USEC)
/* PID 1 ends a start that takes too long; it has the first word. */
#define START_SLACK_USEC (5 * CLOCK_USEC_PER_SEC)
/* While it is not ready, and once it is. */
#define PROBE_FIRST_USEC (50 * CLOCK_USEC_PER_MSEC)
#define PROBE_USEC       CLOCK_USEC_PER_SEC

/* What systemd exits with in place of a program that it could not start: systemd.exec(5). */
static const struct {
	int status;
	const char *name;
} exec_failures[] = {
	{200, "CHDIR"            },
        {203, "EXEC"             },
	{208, "STDIN"            },
        {209, "STDOUT"           },
	{216, "GROUP"            },
        {217, "USER"             },
	{218, "CAPABILITIES"     },
        {219, "CGROUP"           },
	{226, "NAMESPACE"        },
        {227, "NO_NEW_PRIVILEGES"},
	{228, "SECCOMP"          },
        {233, "RUNTIME_DIRECTORY"},
	{238, "STATE_DIRECTORY"  },
        {239, "CACHE_DIRECTORY"  },
	{240, "LOGS_DIRECTORY"   },
        {243, "CREDENTIALS"      },
};

/* Results that say more than the exit status does. */
static const struct {
	const char *result;
	const char *text;
} results[] = {
	{"timeout",         "it did not start or stop in time"        },
	{"watchdog",        "it missed its watchdog's time"           },
	{"oom-kill",        "the kernel killed it for want of memory" },
	{"start-limit-hit", "it was started too often in a short time"},
	{"resources",       "systemd could not start it (resources)"  },
};

/* A reason may hold foreign text, also cut in the middle of a character: JSON takes UTF-8 only. */
static void clean(char *text)
{
	size_t left = strlen(text);

	for (;;) {
		size_t good = str_utf8_length(text, left);

		if (good == left)
			return;
		text[good] = '?';
		text += good + 1;
		left -= good + 1;
	}
}

void health_set(struct health *health, enum health_state state, const char *unit,
		const char *format, ...)
{
	va_list arguments;

	health->state = state;
	(void)snprintf(health->unit, sizeof(health->unit), "%s", unit);
	va_start(arguments, format);
	(void)vsnprintf(health->reason, sizeof(health->reason), format, arguments);
	va_end(arguments);
	clean(health->reason);
}

static void describe_exit(int status, char ret[HEALTH_REASON_MAX])
{
	for (size_t i = 0; i < ARRAY_SIZE(exec_failures); i++) {
		if (exec_failures[i].status != status)
			continue;
		(void)snprintf(ret, HEALTH_REASON_MAX, "its main process exited with status %d/%s",
			       status, exec_failures[i].name);
		return;
	}
	(void)snprintf(ret, HEALTH_REASON_MAX, "its main process exited with status %d", status);
}

void health_service_describe_end(const struct manager_unit *unit, char ret[HEALTH_REASON_MAX])
{
	for (size_t i = 0; i < ARRAY_SIZE(results); i++) {
		if (strcmp(results[i].result, unit->result) == 0) {
			(void)snprintf(ret, HEALTH_REASON_MAX, "%s", results[i].text);
			return;
		}
	}
	if (unit->exec_main_code == CLD_EXITED) {
		describe_exit(unit->exec_main_status, ret);
	} else if (unit->exec_main_code == CLD_KILLED || unit->exec_main_code == CLD_DUMPED) {
		const char *name = sigabbrev_np(unit->exec_main_status);

		(void)snprintf(ret, HEALTH_REASON_MAX,
			       "its main process was killed by signal %d/%s",
			       unit->exec_main_status, name ? name : "?");
	} else {
		(void)snprintf(ret, HEALTH_REASON_MAX, "its result is '%s'", unit->result);
	}
}

uint64_t health_service_start_timeout(const struct manager_unit *unit)
{
	/* None at all, or none known. */
	if (unit->start_timeout_usec == 0)
		return START_MAX_USEC;
	return MIN(unit->start_timeout_usec, (uint64_t)START_MAX_USEC);
}

static bool is_state(const struct manager_unit *unit, const char *state)
{
	return strcmp(unit->active_state, state) == 0;
}

/* A one-shot that stays active has no process by then. */
static bool has_process(const struct manager_unit *unit)
{
	return strcmp(unit->exec_type, "oneshot") != 0;
}

static unsigned count_restarts(struct health_service *service, const struct manager_unit *unit)
{
	unsigned restarts = unit->restarts;

	/* The restart that it waits for is counted by systemd when its job is queued. */
	if (strcmp(unit->sub_state, "auto-restart") == 0 && !unit->has_job)
		restarts++;
	if (unit->invocation_id[0] && strcmp(service->invocation_id, unit->invocation_id) != 0) {
		service->invocations += service->invocation_id[0] != '\0';
		(void)memcpy(service->invocation_id, unit->invocation_id,
			     sizeof(service->invocation_id));
	}
	return MAX(restarts, service->invocations);
}

static void judge_restarts(const struct health_service *service, const struct manager_unit *unit,
			   unsigned restarts, struct health *ret)
{
	char end[HEALTH_REASON_MAX] = "";

	if (unit->exec_main_code != 0)
		health_service_describe_end(unit, end);
	health_set(ret, HEALTH_BAD, service->unit,
		   "'%s' was restarted %u time%s since its start, %u allowed%s%.200s",
		   service->unit, restarts, restarts == 1 ? "" : "s", service->max_restarts,
		   end[0] ? "; " : "", end);
}

/* Not active, and not going to be. */
static void judge_end(const struct health_service *service, const struct manager_unit *unit,
		      struct health *ret)
{
	char end[HEALTH_REASON_MAX];

	if (strcmp(unit->load_state, "loaded") != 0) {
		health_set(ret, HEALTH_BAD, service->unit, "'%s' cannot be loaded by systemd (%s)",
			   service->unit, unit->load_state);
		return;
	}
	if (unit->exec_main_code == 0 && strcmp(unit->result, "success") == 0) {
		/* Either systemd has forgotten its end, which was no failure, or it never ran. */
		health_set(ret, HEALTH_BAD, service->unit,
			   "'%s' does not run, and systemd knows of no failure", service->unit);
		return;
	}
	health_service_describe_end(unit, end);
	health_set(ret, HEALTH_BAD, service->unit, "'%s' does not run: %.300s", service->unit, end);
}

/* Whether something may still become of a unit that is not active. */
static bool may_become_active(const struct health_service *service, const struct manager_unit *unit,
			      unsigned restarts)
{
	if (strcmp(unit->load_state, "loaded") != 0 || is_state(unit, "failed"))
		return false;
	if (is_state(unit, "inactive"))
		return unit->has_job;
	/* Its end, unless a restart follows, which must be one that is allowed. */
	if (is_state(unit, "deactivating"))
		return restarts < service->max_restarts;
	return true;
}

static void forget_process(struct health_service *service, pid_t main_pid)
{
	service->main_pid = main_pid;
	service->pid_since = clock_monotonic_usec();
	service->is_right = false;
	service->accepted_usec = 0;
	service->refused_since = 0;
	service->next_probe = 0;
	health_socket_done(&service->probe);
}

static void look_inactive(struct health_service *service, const struct manager_unit *unit,
			  unsigned restarts, struct health *ret)
{
	uint64_t limit = health_service_start_timeout(unit) + START_SLACK_USEC;

	if (service->main_pid != 0)
		forget_process(service, 0);
	if (!may_become_active(service, unit, restarts)) {
		judge_end(service, unit, ret);
		return;
	}
	/* Restarts have their own time. */
	limit = MIN(limit * (restarts + 1ULL), (uint64_t)START_ALL_MAX_USEC + START_SLACK_USEC);
	if (clock_monotonic_usec() - service->begin_usec > limit) {
		health_set(ret, HEALTH_BAD, service->unit,
			   "'%s' did not become active in %" PRIu64 " s: it is %s (%s)",
			   service->unit, (uint64_t)(limit / CLOCK_USEC_PER_SEC),
			   unit->active_state, unit->sub_state);
		return;
	}
	health_set(ret, HEALTH_WAITING, service->unit, "'%s' is %s (%s)", service->unit,
		   unit->active_state, unit->sub_state);
}

/* 0 with a state that is good only if nothing speaks against the process. */
static int look_process(struct health_service *service, const struct manager_unit *unit,
			struct health *ret)
{
	char reason[HEALTH_REASON_MAX] = "";
	enum health_state state = HEALTH_BAD;
	int r;

	if (unit->main_pid == 0) {
		health_set(ret, HEALTH_BAD, service->unit,
			   "'%s' is active without a main process: what it started went away",
			   service->unit);
		return 0;
	}
	r = health_process_check(service->plan, service->tree, unit->main_pid, reason);
	switch (r) {
	case 0:
		service->is_right = true;
		health_set(ret, HEALTH_GOOD, "", "%s", "");
		return 0;
	case HEALTH_PROCESS_E_GONE:
		health_set(ret, HEALTH_WAITING, service->unit, "'%s': its main process is gone",
			   service->unit);
		return 0;
	case HEALTH_PROCESS_E_OTHER:
		if (!service->is_right && clock_monotonic_usec() - service->pid_since < EXEC_USEC)
			state = HEALTH_WAITING;
		health_set(ret, state, service->unit, "'%s': %.400s", service->unit, reason);
		return 0;
	case HEALTH_PROCESS_E_WRONG:
		health_set(ret, HEALTH_BAD, service->unit, "'%s': %.400s", service->unit, reason);
		return 0;
	default:
		return r;
	}
}

static bool is_accepted(const struct health_service *service)
{
	return service->accepted_usec != 0 && service->accepted_usec >= service->probes_since;
}

/* The open attempt goes on, or the next one begins when it is time. */
static int step_probe(struct health_service *service, uint64_t now)
{
	struct health_socket *probe = &service->probe;
	bool is_wanted = service->accepted_usec != 0 && !is_accepted(service);
	int r;

	if (probe->begin_usec == 0) {
		if (now < service->next_probe && !is_wanted)
			return 0;
		r = health_socket_begin(probe, service->tree, service->plan->health.ready_socket);
		if (r < 0)
			return r;
	}
	return health_socket_check(probe, service->accept_usec);
}

/*
 * What accepted before must go on doing so, but for the moment in which it may be dying: PID 1 is
 * to tell that. What never did has its time.
 */
static void judge_refusal(struct health_service *service, uint64_t now, struct health *ret)
{
	struct health_socket *probe = &service->probe;
	bool is_late = now - service->pid_since >= service->ready_usec;

	if (service->refused_since == 0)
		service->refused_since = probe->begin_usec;
	if (service->accepted_usec != 0)
		is_late = now - service->refused_since >= service->accept_usec;
	health_set(ret, is_late ? HEALTH_BAD : HEALTH_WAITING, service->unit,
		   "'%s' is not ready: %.300s", service->unit, probe->reason);
	service->next_probe = now + PROBE_FIRST_USEC;
	service->is_probing = !is_late;
	health_socket_done(probe);
}

static int look_socket(struct health_service *service, struct health *ret)
{
	struct health_socket *probe = &service->probe;
	uint64_t now = clock_monotonic_usec();
	int r;

	if (!service->plan->health.ready_socket)
		return 0;
	r = step_probe(service, now);
	if (r < 0)
		return r;
	if (probe->state == HEALTH_SOCKET_REFUSED) {
		judge_refusal(service, now, ret);
		return 0;
	}
	if (probe->state == HEALTH_SOCKET_ACCEPTED) {
		service->accepted_usec = probe->begin_usec;
		service->refused_since = 0;
		service->next_probe = now + PROBE_USEC;
		health_socket_done(probe);
	}
	if (!is_accepted(service) || service->refused_since != 0) {
		service->is_probing = true;
		health_set(ret, HEALTH_WAITING, service->unit, "'%s': waiting for its socket",
			   service->unit);
	}
	return 0;
}

int health_service_look(struct health_service *service, struct health *ret)
{
	cleanup_manager_unit struct manager_unit unit = MANAGER_UNIT_INIT;
	unsigned restarts;
	int r;

	service->is_probing = false;
	r = manager_get_unit(service->manager, service->unit, &unit);
	if (r < 0)
		return r;
	restarts = count_restarts(service, &unit);
	if (restarts > service->max_restarts) {
		judge_restarts(service, &unit, restarts, ret);
		return 0;
	}
	if (!is_state(&unit, "active") && !is_state(&unit, "reloading")) {
		look_inactive(service, &unit, restarts, ret);
		return 0;
	}
	if (service->pid_since == 0 || service->main_pid != unit.main_pid)
		forget_process(service, unit.main_pid);
	health_set(ret, HEALTH_GOOD, "", "%s", "");
	if (has_process(&unit))
		r = look_process(service, &unit, ret);
	if (r < 0 || ret->state != HEALTH_GOOD)
		return r;
	return look_socket(service, ret);
}

bool health_service_is_probing(const struct health_service *service)
{
	return service->is_probing;
}

void health_service_done(struct health_service *service)
{
	health_socket_done(&service->probe);
}
