/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The daemon between the collector and its clients. A collector is open exactly while the
 * configuration asks for it. Whatever waits does so in the event loop: the collector's descriptor,
 * the sockets, and timers that are armed only while something is to be sent, so that an idle daemon
 * sleeps.
 */

#include "netprobe/probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "base/clock.h"
#include "base/fd.h"
#include "netprobe/log.h"
#include "netprobe/probe_private.h"
#include "netprobe/snapshot.h"
#include "netprobe/wall.h"

/* Records taken before anything else gets its turn. */
#define DRAIN_MAX   4096U
#define TIMER_SLACK 10000U
/* After the first change, so that what starts together is said together. */
#define SNAPSHOT_USEC 200000U

const char *probe_tier(const struct probe *probe)
{
	return collector_tier_name(probe->collector ? collector_tier(probe->collector)
						    : COLLECTOR_NONE);
}

struct collector_counts probe_counts(const struct probe *probe)
{
	struct collector_counts sum = probe->before;
	struct collector_counts now = {0};

	if (probe->collector)
		now = collector_counts(probe->collector);
	sum.events += now.events;
	sum.lost += now.lost;
	sum.flows_started += now.flows_started;
	sum.flows_ended += now.flows_ended;
	sum.flows_evicted += now.flows_evicted;
	sum.owners_known += now.owners_known;
	sum.owners_unknown += now.owners_unknown;
	sum.containers_missed += now.containers_missed;
	sum.owners_corrected += now.owners_corrected;
	return sum;
}

static void set_not_enabled(struct probe *probe)
{
	(void)snprintf(probe->why, sizeof(probe->why),
		       "Not enabled: no configuration says 'enabled': true.");
}

static void flush_batch(struct probe *probe)
{
	cleanup_frame struct frame *frame = NULL;
	unsigned count = probe->batch.count;

	(void)sd_event_source_set_enabled(probe->batch_timer, SD_EVENT_OFF);
	if (count == 0)
		return;
	if (batch_take(&probe->batch, &frame) == 0)
		server_events(probe->server, frame, count);
	else
		probe->metrics.no_memory += count;
}

static int on_batch_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	flush_batch(userdata);
	return 0;
}

static void send_alone(struct probe *probe, const struct event *event)
{
	cleanup_frame struct frame *frame = NULL;

	if (frame_encode(NETPROBE__NETPROBE_FRAME__PAYLOAD_FLOW_ATTRIBUTION_EVENT, &event->message,
			 &frame) == 0)
		server_events(probe->server, frame, 1);
	else
		probe->metrics.no_memory++;
}

void probe_send(struct probe *probe, const struct event *event)
{
	if (!probe->config->batch) {
		send_alone(probe, event);
		return;
	}
	if (batch_add(&probe->batch, event, wall_ns()) < 0) {
		probe->metrics.no_memory++;
		return;
	}
	if (probe->batch.count >= BATCH_EVENTS_MAX) {
		flush_batch(probe);
	} else if (probe->batch.count == 1) {
		(void)sd_event_source_set_time_relative(probe->batch_timer, BATCH_USEC);
		(void)sd_event_source_set_enabled(probe->batch_timer, SD_EVENT_ONESHOT);
	}
}

static uint64_t snapshot_interval(const struct probe *probe)
{
	uint32_t seconds = probe->config->process_snapshot_interval_s;

	return (seconds > 0 ? seconds : CONFIG_SNAPSHOT_S) * CLOCK_USEC_PER_SEC;
}

/* Not before the interval is over, and only if it says something new. */
static void want_snapshot(struct probe *probe)
{
	uint64_t now = clock_monotonic_usec();
	uint64_t next = probe->snapshot_usec + snapshot_interval(probe);
	int enabled = SD_EVENT_OFF;

	if (sd_event_source_get_enabled(probe->snapshot_timer, &enabled) < 0 ||
	    enabled != SD_EVENT_OFF)
		return;
	if (probe->snapshot_usec == 0 || next < now + SNAPSHOT_USEC)
		next = now + SNAPSHOT_USEC;
	(void)sd_event_source_set_time(probe->snapshot_timer, next);
	(void)sd_event_source_set_enabled(probe->snapshot_timer, SD_EVENT_ONESHOT);
}

static int on_snapshot_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct probe *probe = userdata;
	cleanup_frame struct frame *frame = NULL;
	uint32_t entries = 0;
	int r;

	(void)source;
	(void)usec;
	if (!probe->collector)
		return 0;
	r = snapshot_make(probe->collector, probe->snapshot_fingerprint, &frame, &entries);
	if (r < 0) {
		log_line(LOG_WARNING, "who listens cannot be told: %s, retrying",
			 strerrordesc_np(-r));
		probe->snapshot_usec = clock_monotonic_usec();
		want_snapshot(probe);
	}
	if (r < 0 || !frame)
		return 0;
	probe->snapshot_usec = clock_monotonic_usec();
	probe->metrics.snapshots++;
	(void)frame_unref(probe->snapshot);
	probe->snapshot = frame_ref(frame);
	server_snapshot(probe->server, frame);
	return 0;
}

static void on_flow(void *context, enum flow_event kind, const struct flow *flow)
{
	struct probe *probe = context;
	struct event event;

	if (flow->listener && kind != FLOW_UPDATE)
		want_snapshot(probe);
	match_add(probe->match, flow,
		  probe->config->external_flow_match_window_ms * (uint64_t)WALL_NS_PER_MSEC,
		  probe_now_ns());
	if (!probe->config->raw)
		return;
	if (!server_has_clients(probe->server)) {
		probe->metrics.no_receiver++;
		return;
	}
	event_fill(&event, kind, flow, probe_tier(probe));
	probe_send(probe, &event);
}

static void drain(struct probe *probe)
{
	int r = collector_drain(probe->collector, DRAIN_MAX);

	/* What cannot be read now stays readable: better a new start than a loop. */
	if (r < 0) {
		log_line(LOG_ERR, "records of the kernel cannot be read: %s", strerrordesc_np(-r));
		(void)sd_event_exit(probe->event, r);
	}
	(void)sd_event_source_set_enabled(probe->collector_more,
					  r > 0 ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static int on_collector(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	(void)source;
	(void)fd;
	(void)events;
	drain(userdata);
	return 0;
}

static int on_more(sd_event_source *source, void *userdata)
{
	struct probe *probe = userdata;

	(void)source;
	if (probe->collector)
		drain(probe);
	return 0;
}

static void count_unknown(void *context, const struct flow *flow)
{
	uint64_t *unknown = context;

	*unknown += flow->owner.tgid == 0;
}

static void close_collector(struct probe *probe)
{
	flush_batch(probe);
	probe->before = probe_counts(probe);
	/* Those that live have no end at which they would be counted. */
	if (probe->collector)
		collector_each(probe->collector, count_unknown, &probe->before.owners_unknown);
	probe->collector_io = sd_event_source_disable_unref(probe->collector_io);
	(void)sd_event_source_set_enabled(probe->collector_more, SD_EVENT_OFF);
	(void)sd_event_source_set_enabled(probe->snapshot_timer, SD_EVENT_OFF);
	probe->collector = collector_free(probe->collector);
	probe->refreshed_usec = 0;
	probe->snapshot = frame_unref(probe->snapshot);
	probe->snapshot_fingerprint[0] = '\0';
	set_not_enabled(probe);
	match_clear(probe->match);
}

static void open_collector(struct probe *probe)
{
	const struct collector_options options = {
		.flows_max = config_flows_max(probe->config),
		.tier_max = probe->config->tier_max,
		.diag_interval_ms = probe->config->diag_interval_ms,
	};
	int r;

	probe->why[0] = '\0';
	r = collector_open(&options, on_flow, probe, probe->why, &probe->collector);
	if (r < 0) {
		if (probe->why[0] == '\0')
			(void)snprintf(probe->why, sizeof(probe->why), "%s.", strerrordesc_np(-r));
		log_line(LOG_ERR, "nothing can be collected: %s", probe->why);
		return;
	}
	log_line(LOG_INFO, "flows are collected, tier %s%s%s", probe_tier(probe),
		 probe->why[0] ? "; " : "", probe->why);
	r = sd_event_add_io(probe->event, &probe->collector_io, collector_fd(probe->collector),
			    EPOLLIN, on_collector, probe);
	if (r < 0) {
		(void)snprintf(probe->why, sizeof(probe->why), "%s.", strerrordesc_np(-r));
		probe->collector = collector_free(probe->collector);
		return;
	}
	probe->collectors++;
	drain(probe);
	want_snapshot(probe);
}

int probe_apply(struct probe *probe, struct config **config, char why[CONFIG_WHY_MAX])
{
	bool stays = probe->collector && (*config)->enabled;

	if (stays && config_check_change(probe->config, *config, why) != 0)
		return CONFIG_E_BAD;
	flush_batch(probe);
	/* An empty collector_ip keeps the old one. */
	if (!(*config)->collector_ip && probe->config->collector_ip)
		(*config)->collector_ip = TAKE_PTR(probe->config->collector_ip);
	(void)config_free(probe->config);
	probe->config = TAKE_PTR(*config);
	config_hash(probe->config, probe->hash);
	if (!probe->config->enabled)
		close_collector(probe);
	else if (!probe->collector)
		open_collector(probe);
	if (config_wants_packets(probe->config))
		log_line(LOG_WARNING, "capture_interfaces, device_bindings and dpi have no effect "
				      "in this version, ignoring");
	(void)sd_notifyf(0, "STATUS=%s, tier %s%s%s",
			 probe->config->enabled ? "enabled" : "not enabled", probe_tier(probe),
			 probe->why[0] ? ": " : "", probe->why);
	return 0;
}

int probe_metrics(struct probe *probe, struct buffer *buffer)
{
	struct metrics *metrics = &probe->metrics;

	metrics->enabled = probe->config->enabled;
	metrics->tier = probe->collector ? collector_tier(probe->collector) : COLLECTOR_NONE;
	metrics->sends =
		probe->collector ? collector_sends(probe->collector) : COLLECTOR_SENDS_NOWHERE;
	metrics->uptime_seconds =
		(clock_monotonic_usec() - probe->started_usec) / CLOCK_USEC_PER_SEC;
	metrics->flows = probe->collector ? collector_size(probe->collector) : 0;
	metrics->flows_max = config_flows_max(probe->config);
	metrics->collector = probe_counts(probe);
	metrics->server = server_counts(probe->server);
	return metrics_format(metrics, buffer);
}

static void on_connected(void *context, struct server_client *client)
{
	struct probe *probe = context;

	if (probe->snapshot)
		server_reply(client, 0, probe->snapshot);
}

static int add_sources(struct probe *probe)
{
	int r = sd_event_add_time(probe->event, &probe->batch_timer, CLOCK_MONOTONIC, UINT64_MAX,
				  TIMER_SLACK, on_batch_timer, probe);

	if (r >= 0)
		r = sd_event_add_time(probe->event, &probe->snapshot_timer, CLOCK_MONOTONIC,
				      UINT64_MAX, TIMER_SLACK, on_snapshot_timer, probe);
	if (r >= 0)
		r = sd_event_add_defer(probe->event, &probe->collector_more, on_more, probe);
	/* What is deferred is always older than what comes: in a storm clients would have no turn.
	 */
	if (r >= 0)
		r = sd_event_source_set_priority(probe->collector_more, SD_EVENT_PRIORITY_IDLE);
	if (r >= 0)
		r = sd_event_source_set_enabled(probe->batch_timer, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_source_set_enabled(probe->snapshot_timer, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_source_set_enabled(probe->collector_more, SD_EVENT_OFF);
	return r;
}

int probe_new(sd_event *event, int fd, struct probe **ret)
{
	cleanup_probe struct probe *probe = calloc(1, sizeof(*probe));
	const struct server_handler handler = {probe, probe_request, on_connected};
	int r;

	if (!probe) {
		(void)fd_close(fd);
		return -ENOMEM;
	}
	r = server_new(event, fd, &handler, &probe->server);
	if (r < 0)
		return r;
	probe->event = sd_event_ref(event);
	probe->started_usec = clock_monotonic_usec();
	probe->config = config_new();
	probe->match = match_new();
	if (!probe->config || !probe->match)
		return -ENOMEM;
	config_hash(probe->config, probe->hash);
	set_not_enabled(probe);
	r = add_sources(probe);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(probe);
	return 0;
}

struct probe *probe_free(struct probe *probe)
{
	if (!probe)
		return NULL;
	if (probe->collector)
		close_collector(probe);
	(void)server_free(probe->server);
	(void)sd_event_source_disable_unref(probe->batch_timer);
	(void)sd_event_source_disable_unref(probe->snapshot_timer);
	(void)sd_event_source_disable_unref(probe->collector_more);
	batch_done(&probe->batch);
	(void)match_free(probe->match);
	(void)frame_unref(probe->snapshot);
	(void)config_free(probe->config);
	(void)sd_event_unref(probe->event);
	free(probe);
	return NULL;
}
