/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The agent's loop. Whatever happens (an answer of the updater, an offer, time) ends in
 * agent_evaluate(), which looks at everything: nothing is remembered to be done later but what
 * memory.h says, and that is on disk before it matters. Where the updater does not answer, nothing
 * is done; where the server does not, everything stays as it is.
 */

#include "agent/agent.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "agent/disk.h"
#include "agent/drop_ins.h"
#include "agent/log.h"
#include "agent/reload.h"
#include "agent/report.h"
#include "agent/trim.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"

#define TICK_SLACK_USEC CLOCK_USEC_PER_SEC
#define RETRY_USEC      (5 * CLOCK_USEC_PER_SEC)
/* How long the first answer of the updater is waited for. */
#define PATIENCE_USEC (10 * CLOCK_USEC_PER_SEC)

static uint64_t boot_usec(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * CLOCK_USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}

static void wake_at(struct agent *agent, uint64_t usec)
{
	(void)sd_event_source_set_time(agent->tick, usec);
	(void)sd_event_source_set_enabled(agent->tick, SD_EVENT_ONESHOT);
}

static void load_overrides(struct agent *agent)
{
	struct overrides overrides = OVERRIDES_INIT;
	int r = overrides_load(agent->paths->overrides, &overrides);

	if (r < 0)
		return;
	if (overrides.problem[0] != '\0' &&
	    strcmp(overrides.problem, agent->overrides.problem) != 0)
		agent_log(LOG_WARNING, NULL, "'%s' is ignored: %s", agent->paths->overrides,
			  overrides.problem);
	overrides_done(&agent->overrides);
	agent->overrides = overrides;
}

/* The administrator changed the drop-ins that a version failed under: it need not wait any more. */
static void heed_drop_ins(struct agent *agent)
{
	for (size_t i = 0; i < agent->memory.count; i++) {
		struct memory_addon *memory = &agent->memory.items[i];
		char now[DESIRED_KEY_SIZE];

		if (memory->failure != MEMORY_QUARANTINED || memory->failed_local[0] == '\0' ||
		    drop_ins_digest(drop_in_directories, memory->id, now) < 0 ||
		    str_equal(now, memory->failed_local))
			continue;
		agent_log(LOG_INFO, memory->id,
			  "drop-ins that it failed under were changed: it is tried again");
		memory->retry_at = 0;
		memory->failed_local[0] = '\0';
	}
}

static int decide(struct agent *agent)
{
	uint64_t now = boot_usec();
	uint64_t elapsed = (now - agent->evaluated_at) / CLOCK_USEC_PER_SEC;
	struct reconcile_input input = {
		.offer = &agent->offer,
		.desired = &agent->desired,
		.host = &agent->host,
		.policy = &agent->config->policy,
		.now = clock_realtime_sec(),
		.elapsed = elapsed,
		.connection = agent->packages_connection,
	};
	struct desired desired = DESIRED_INIT;
	struct reconcile_result result = RECONCILE_RESULT_INIT;
	int r;

	/* What is left of a second counts the next time. */
	agent->evaluated_at += elapsed * CLOCK_USEC_PER_SEC;
	desired_done(&agent->desired);
	load_overrides(agent);
	heed_drop_ins(agent);
	r = desired_make(&agent->offer, &agent->overrides, &desired);
	if (r < 0)
		return r;
	agent->desired = desired;
	r = reconcile(&input, &agent->memory, &result);
	if (r < 0)
		return r;
	reconcile_result_done(&agent->result);
	agent->result = result;
	return 0;
}

/* Whether what was offered came on a connection that is no more, and another has to confirm it. */
static bool wants_confirmation(const struct agent *agent)
{
	return agent->result.wants_reconnect &&
	       agent->packages_connection != link_connection(agent->link);
}

static int report(struct agent *agent)
{
	struct report_input input = {
		.offer = &agent->offer,
		.desired = &agent->desired,
		.host = &agent->host,
		.result = &agent->result,
		.ipc = agent->ipc,
		.events = agent->events,
		.overrides_problem = agent->overrides.problem,
		.updater_problem = agent->updater_problem,
		.state_problem = agent->state_problem,
		.config_problem = agent->config_problem,
		.offer_problem = agent->offer_problem,
		.active_id = operation_is_busy(&agent->operation) ? agent->operation.id : "",
		.activity = agent->operation.activity,
		.wants_offer = agent->result.wants_fresh_offer || wants_confirmation(agent),
		.started = agent->started,
		.now = clock_realtime_sec(),
	};
	int r = report_update(agent->client, &input, &agent->memory);

	/* What cannot be kept is told, and is tried again with the next look. */
	if (r == 0 && disk_keep(agent))
		r = report_update(agent->client, &input, &agent->memory);
	if (opamp_client_has_news(agent->client))
		link_send(agent->link);
	return r;
}

/* Another connection confirms a removal, once this one has said what it has to say. It asks for the
 * offer with its first message: a server may take the two connections for one. */
static int heed_reconnect(struct agent *agent)
{
	if (!agent->result.wants_reconnect || agent->packages_connection == 0 ||
	    agent->packages_connection != link_connection(agent->link))
		return 0;
	link_reconnect(agent->link, 0);
	return report(agent);
}

/* Whether what is known of the host is enough to act on. What an operation has just changed is not
 * in an answer to a question from before its end, and would be done twice. */
static bool is_host_current(const struct agent *agent)
{
	return agent->host.is_known && agent->updater_problem[0] == '\0' &&
	       agent->host_operations == agent->operations;
}

/* The server hears of this host when there is something to tell, or nothing to wait for any more,
 * and of one that will be the same after a restart. */
static void begin_link(struct agent *agent)
{
	if (agent->is_linked || agent->is_waiting || agent->is_uid_unkept)
		return;
	agent->is_linked = true;
	operation_prune(&agent->operation);
	ignore_result(link_start(agent->link));
}

void agent_evaluate(struct agent *agent)
{
	uint64_t wake = agent->status_at;
	int r = decide(agent);

	/* What was done must be on disk, or it is done again after a restart. */
	if (agent->state_problem[0] != '\0')
		(void)disk_keep(agent);
	if (r == 0 && is_host_current(agent) && agent->state_problem[0] == '\0')
		operation_next(&agent->operation, &agent->result);
	if (r == 0)
		r = report(agent);
	if (r == 0)
		r = heed_reconnect(agent);
	if (r < 0) {
		agent_log(LOG_ERR, NULL, "the add-ons could not be looked at: %s, retrying",
			  strerrordesc_np(-r));
		wake_at(agent, boot_usec() + RETRY_USEC);
		return;
	}
	if (agent->state_problem[0] != '\0')
		wake = MIN(wake, boot_usec() + RETRY_USEC);
	if (agent->result.wake != UINT64_MAX)
		wake = MIN(wake, boot_usec() + agent->result.wake * CLOCK_USEC_PER_SEC);
	wake_at(agent, wake);
	begin_link(agent);
}

void agent_keep_offer(struct agent *agent)
{
	agent->is_offer_unkept = true;
	/* On disk before it is acted on. */
	(void)disk_keep(agent);
	agent_evaluate(agent);
}

static void ask(struct agent *agent, enum request_verb verb)
{
	CLEANUP(lane_request_done) struct lane_request request = LANE_REQUEST_INIT;
	int r;

	request.request.verb = verb;
	agent->is_asking_drift = verb == REQUEST_DRIFT;
	/* The answer says when the next is due: time alone does not ask on top of a question. */
	if (verb == REQUEST_STATUS)
		agent->status_at = UINT64_MAX;
	agent->asked_operations = agent->operations;
	r = lane_start(agent->questions, &request);
	if (r < 0) {
		agent_log(LOG_ERR, NULL, "the updater could not be asked: %s, retrying",
			  strerrordesc_np(-r));
		agent->status_at = boot_usec() + RETRY_USEC;
		wake_at(agent, agent->status_at);
	}
}

/* How the host is; agent_evaluate() follows. */
static void ask_status(struct agent *agent)
{
	if (lane_is_busy(agent->questions))
		agent->status_at = 0;
	else
		ask(agent, REQUEST_STATUS);
}

void agent_operation_ended(struct agent *agent)
{
	agent->operations++;
	ask_status(agent);
}

/* Sets what is wrong with the updater, "" for nothing, and logs when that changes. */
static void set_updater_problem(struct agent *agent, const char *problem)
{
	if (strcmp(agent->updater_problem, problem) == 0)
		return;
	(void)snprintf(agent->updater_problem, sizeof(agent->updater_problem), "%s", problem);
	if (problem[0] != '\0')
		agent_log(LOG_WARNING, NULL, "%s, retrying", problem);
	else
		agent_log(LOG_INFO, NULL, "the updater answers");
}

static int take_answer(struct agent *agent, const struct lane_answer *answer)
{
	struct host host = HOST_INIT;
	char problem[AGENT_PROBLEM_MAX] = "";
	json_t *status;
	int r;

	if (answer->error < 0)
		(void)snprintf(problem, sizeof(problem), "the updater does not answer at '%s': %s",
			       agent->paths->updater, strerrordesc_np(-answer->error));
	else if (answer->result.outcome != RESULT_DONE)
		(void)snprintf(problem, sizeof(problem), "the updater refuses to answer: %s",
			       answer->result.message ? answer->result.message : "");
	set_updater_problem(agent, problem);
	if (problem[0] != '\0' || agent->asked_operations != agent->operations)
		return 0;
	status = answer->result.data;
	if (agent->is_asking_drift) {
		json_decref(agent->drift);
		agent->drift = json_incref(answer->result.data);
		status = agent->host.answer;
	}
	r = host_read(status, agent->drift, &host);
	if (r != 0)
		return r < 0 ? r : -EBADMSG;
	host_done(&agent->host);
	agent->host = host;
	if (!agent->is_asking_drift)
		agent->host_operations = agent->asked_operations;
	return 0;
}

static bool has_installed(const struct host *host)
{
	for (size_t i = 0; i < host->count; i++) {
		if (host->items[i].is_installed)
			return true;
	}
	return false;
}

/* Sockets of add-ons are looked after with each status, and what came is told as seldom as drift:
 * counters change all the time. */
static int look_after_ipc(struct agent *agent, uint64_t now)
{
	int r = addon_ipc_tick(agent->ipc, &agent->host, &agent->desired);

	if (r == 0 && now >= agent->drift_at) {
		json_decref(agent->events);
		agent->events = addon_ipc_events(agent->ipc);
	}
	return r;
}

static void on_question(void *userdata, struct lane_answer *answer)
{
	struct agent *agent = userdata;
	bool is_due = agent->status_at == 0;
	uint64_t now = boot_usec();
	int r = take_answer(agent, answer);

	if (r == 0 && !agent->is_asking_drift)
		r = look_after_ipc(agent, now);
	if (r < 0)
		agent_log(LOG_ERR, NULL, "the updater's answer cannot be used: %s, retrying",
			  strerrordesc_np(-r));
	if (!agent->is_asking_drift)
		agent->status_at = now + agent->config->status_seconds * CLOCK_USEC_PER_SEC;
	agent->is_waiting = false;
	agent_evaluate(agent);
	if (is_due)
		ask_status(agent);
	else if (!agent->is_asking_drift && now >= agent->drift_at && has_installed(&agent->host) &&
		 !operation_is_busy(&agent->operation)) {
		agent->drift_at = now + agent->config->drift_seconds * CLOCK_USEC_PER_SEC;
		ask(agent, REQUEST_DRIFT);
	}
	trim_memory();
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct agent *agent = userdata;

	(void)source;
	(void)usec;
	if (agent->is_waiting) {
		agent->is_waiting = false;
		set_updater_problem(agent, "the updater has not answered yet");
	}
	if (boot_usec() >= agent->status_at)
		ask_status(agent);
	else
		agent_evaluate(agent);
	return 0;
}

/* The administrator changed something: try everything again, and look closely. */
static int on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	struct agent *agent = userdata;

	(void)source;
	(void)info;
	agent_log(LOG_INFO, NULL, "reloading: what failed is tried again");
	reload(agent);
	memory_clear_failures(&agent->memory);
	agent->drift_at = 0;
	ask_status(agent);
	/* An updater that is slow to answer does not keep it from being told. */
	agent_evaluate(agent);
	return 0;
}

static int on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	struct agent *agent = userdata;
	cleanup_free uint8_t *data = NULL;
	size_t size = 0;

	(void)source;
	(void)info;
	(void)sd_notify(0, "STOPPING=1");
	if (opamp_client_compose_disconnect(agent->client, 1, &data, &size) == 0)
		link_say_goodbye(agent->link, data, size);
	return sd_event_exit(agent->event, 0);
}

static int add_signals(struct agent *agent)
{
	sigset_t set;
	int r;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet */
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet */
	(void)signal(SIGPIPE, SIG_IGN);
	r = sd_event_add_signal(agent->event, NULL, SIGTERM, on_stop, agent);
	if (r >= 0)
		r = sd_event_add_signal(agent->event, NULL, SIGINT, on_stop, agent);
	if (r >= 0)
		r = sd_event_add_signal(agent->event, NULL, SIGHUP, on_reload, agent);
	return MIN(r, 0);
}

static int init(struct agent *agent)
{
	int r = sd_event_default(&agent->event);

	if (r >= 0)
		r = add_signals(agent);
	if (r == 0)
		r = disk_load(agent);
	if (r == 0)
		r = web_new(agent->event, agent->config, &agent->web);
	talk_init(&agent->talk, agent);
	if (r == 0)
		r = link_new(agent->event, agent->web, agent->config, &agent->talk.handler,
			     &agent->link);
	if (r == 0)
		r = lane_new(agent->event, agent->paths->updater, on_question, agent,
			     &agent->questions);
	if (r == 0)
		r = addon_ipc_new(agent->event, agent->paths->installed, agent->paths->run,
				  &agent->ipc);
	if (r == 0)
		r = operation_init(&agent->operation, agent);
	if (r == 0)
		r = sd_event_add_time(agent->event, &agent->tick, CLOCK_BOOTTIME, UINT64_MAX / 2,
				      TICK_SLACK_USEC, on_tick, agent);
	if (r < 0)
		return r;
	talk_restore(&agent->talk);
	return 0;
}

static void done(struct agent *agent)
{
	operation_done(&agent->operation);
	agent->questions = lane_free(agent->questions);
	agent->link = link_free(agent->link);
	agent->ipc = addon_ipc_free(agent->ipc);
	agent->web = web_free(agent->web);
	talk_done(&agent->talk);
	agent->client = opamp_client_free(agent->client);
	(void)sd_event_source_disable_unref(agent->tick);
	(void)sd_event_unref(agent->event);
	reconcile_result_done(&agent->result);
	desired_done(&agent->desired);
	host_done(&agent->host);
	memory_done(&agent->memory);
	offer_done(&agent->offer);
	overrides_done(&agent->overrides);
	json_decref(agent->drift);
	json_decref(agent->events);
	free(agent->memory_text);
	(void)fd_close(agent->statefd);
}

int agent_run(struct config *config, const struct agent_paths *paths)
{
	CLEANUP(done)
	struct agent agent = {
		.config = config,
		.paths = paths,
		.statefd = -EBADF,
		.status_at = UINT64_MAX,
		.is_waiting = true,
		.started = clock_realtime_sec(),
		.evaluated_at = boot_usec(),
	};
	int r;

	/* One heap for all threads: they come and go, and their memory would stay. */
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet */
	(void)mallopt(M_ARENA_MAX, 1);
	config_digest_server(config, agent.server_digest);
	r = init(&agent);
	if (r < 0)
		return r;
	ask_status(&agent);
	wake_at(&agent, boot_usec() + PATIENCE_USEC);
	(void)sd_notify(0, "READY=1");
	return sd_event_loop(agent.event);
}
