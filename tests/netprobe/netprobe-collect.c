/* SPDX-License-Identifier: Apache-2.0 */

/*
 * netprobe-collect [full|cgroup|diag [FLOWS [brief|long [PEER-IDLE-MS]]]]: the collector alone.
 * Prints what it said of its tier, then every event of its own network as a JSON line, until the
 * end of its input. A line "sync" there prints a line with the counts, behind all events so far;
 * "each" prints every living flow before that, and "refresh" asks for their bytes first; "clock N"
 * sets the wall clock N seconds further, for this process. Programs that NETPROBE_WITHOUT names
 * cannot be attached, as where the kernel has no hook for them.
 */

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "netprobe/collector.h"

#define FLOWS_MAX 65536U

static const char *const event_names[] = {
	[FLOW_CONNECT] = "connect",     [FLOW_ACCEPT] = "accept",     [FLOW_CLOSE] = "close",
	[FLOW_UDP_SEND] = "udp_send",   [FLOW_UDP_RECV] = "udp_recv", [FLOW_STATE] = "state",
	[FLOW_ICMP_SEND] = "icmp_send", [FLOW_UPDATE] = "update",     [FLOW_SEEN] = "seen",
	[FLOW_EVICTED] = "evicted",
};

static void print(json_t *json)
{
	if (!json || json_dumpf(json, stdout, JSON_COMPACT) < 0 || putchar('\n') == EOF)
		exit(1);
	json_decref(json);
}

static json_t *flow_to_json(const char *event, const struct flow *flow)
{
	const struct flow_owner *owner = &flow->owner;
	char local[INET6_ADDRSTRLEN];
	char remote[INET6_ADDRSTRLEN];

	if (!inet_ntop(flow->family, flow->local, local, sizeof(local)) ||
	    !inet_ntop(flow->family, flow->remote, remote, sizeof(remote)))
		return NULL;
	return json_pack(
		"{ss sI sI si si sb sb si ss ss si si sI sI sI sI si sI sI sI si si si si si sI ss ss "
		"si ss}",
		"event", event, "cookie", (json_int_t)flow->cookie, "netns",
		(json_int_t)flow->netns, "family", flow->family, "protocol", flow->protocol,
		"listener", flow->listener, "inbound", flow->inbound, "state", flow->tcp_state,
		"local", local, "remote", remote, "local_port", flow->local_port, "remote_port",
		flow->remote_port, "bytes_sent", (json_int_t)flow->bytes_sent, "bytes_received",
		(json_int_t)flow->bytes_received, "packets_sent", (json_int_t)flow->packets_sent,
		"packets_received", (json_int_t)flow->packets_received, "retransmits",
		(int)flow->retransmits, "started_ns", (json_int_t)flow->started_ns, "last_ns",
		(json_int_t)flow->last_ns, "ended_ns", (json_int_t)flow->ended_ns, "end",
		(int)flow->end, "tgid", (int)owner->tgid, "pid", (int)owner->pid, "uid",
		(int)owner->uid, "gid", (int)owner->gid, "owner_started_ns",
		(json_int_t)owner->started_ns, "comm", owner->comm, "cmdline", owner->cmdline,
		"arguments", (int)owner->arguments, "container", owner->container_id);
}

/* The machine has other things to do than this test. */
static bool is_elsewhere(const struct flow *flow)
{
	static ino_t own;
	struct stat status;

	if (own == 0 && stat("/proc/self/ns/net", &status) == 0)
		own = status.st_ino;
	return flow->netns != 0 && flow->netns != own;
}

static void on_event(void *context, enum flow_event event, const struct flow *flow)
{
	const bool *brief = context;

	if (is_elsewhere(flow))
		return;
	if (*brief) {
		(void)printf("{\"event\":\"%s\",\"cookie\":%" PRIu64 ",\"netns\":%" PRIu64
			     ",\"tgid\":%" PRIu32 "}\n",
			     event_names[event], flow->cookie, flow->netns, flow->owner.tgid);
		return;
	}
	print(flow_to_json(event_names[event], flow));
}

static void on_flow(void *context, const struct flow *flow)
{
	(void)context;
	if (is_elsewhere(flow))
		return;
	print(flow_to_json("flow", flow));
}

static json_int_t looks; /* at all descriptors */

int __real_bpf_iter_create(int link);
int __wrap_bpf_iter_create(int link);

int __wrap_bpf_iter_create(int link)
{
	looks++;
	return __real_bpf_iter_create(link);
}

static void print_counts(const struct collector *collector)
{
	struct collector_counts counts = collector_counts(collector);

	print(json_pack("{ss sI sI sI sI sI sI sI sI sI sI}", "event", "counts", "looks", looks,
			"events", (json_int_t)counts.events, "lost", (json_int_t)counts.lost,
			"started", (json_int_t)counts.flows_started, "ended",
			(json_int_t)counts.flows_ended, "evicted", (json_int_t)counts.flows_evicted,
			"known", (json_int_t)counts.owners_known, "unknown",
			(json_int_t)counts.owners_unknown, "corrected",
			(json_int_t)counts.owners_corrected, "forgotten",
			(json_int_t)counts.owners_forgotten));
}

static int64_t clock_offset;

int __real_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
	int r = __real_clock_gettime(clock, ret);

	if (r == 0 && clock == CLOCK_REALTIME)
		ret->tv_sec += clock_offset;
	return r;
}

struct bpf_link *__real_bpf_program__attach(const struct bpf_program *program);
struct bpf_link *__wrap_bpf_program__attach(const struct bpf_program *program);

struct bpf_link *__wrap_bpf_program__attach(const struct bpf_program *program)
{
	const char *without = getenv("NETPROBE_WITHOUT");

	if (!without || !strstr(without, bpf_program__name(program)))
		return __real_bpf_program__attach(program);
	errno = ENOENT;
	return NULL;
}

/* 0: go on; 1: the input ended. */
static int obey(struct collector *collector)
{
	char line[32] = {0};
	int r;

	for (size_t at = 0; at < sizeof(line) - 1; at++) {
		if (read(STDIN_FILENO, &line[at], 1) != 1)
			return 1;
		if (line[at] == '\n')
			break;
	}
	/* What the kernel said before the question belongs to the answer. */
	while ((r = collector_drain(collector, 0)) > 0)
		continue;
	if (r < 0)
		exit(1);
	if (strncmp(line, "clock ", 6) == 0)
		clock_offset += strtol(line + 6, NULL, 10);
	if (strcmp(line, "refresh\n") == 0 && collector_refresh(collector) < 0)
		exit(1);
	if (strcmp(line, "sync\n") != 0)
		collector_each(collector, on_flow, NULL);
	print_counts(collector);
	return 0;
}

int main(int argc, char **argv)
{
	struct collector_options options = {
		.flows_max = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : FLOWS_MAX,
		.tier_max = COLLECTOR_FULL,
		.peer_idle_ms = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : 0,
	};
	cleanup_collector struct collector *collector = NULL;
	bool brief = argc > 3 && strcmp(argv[3], "brief") == 0;
	char why[COLLECTOR_WHY_MAX];
	int r;

	for (int tier = COLLECTOR_DIAG; argc > 1 && tier <= COLLECTOR_FULL; tier++) {
		if (strcmp(argv[1], collector_tier_name((enum collector_tier)tier)) == 0)
			options.tier_max = (enum collector_tier)tier;
	}
	r = collector_open(&options, on_event, &brief, why, &collector);
	if (r < 0) {
		(void)fprintf(stderr, "netprobe-collect: %s: %s\n", strerrordesc_np(-r), why);
		return r == -EPERM ? 77 : 1;
	}
	print(json_pack("{ss ss ss}", "event", "tier", "tier",
			collector_tier_name(collector_tier(collector)), "why", why));
	for (;;) {
		struct pollfd watched[] = {
			{.fd = collector_fd(collector), .events = POLLIN},
			{.fd = STDIN_FILENO,            .events = POLLIN}
                };

		(void)fflush(stdout);
		if (poll(watched, ARRAY_SIZE(watched), -1) < 0 && errno != EINTR)
			return 1;
		if (watched[0].revents && collector_drain(collector, 0) < 0)
			return 1;
		if (watched[1].revents && obey(collector) > 0)
			return 0;
	}
}
