/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A collector that sees what a test says. Each datagram to the socket $NETPROBE_SCRIPT is a JSON
 * object: {"event": KIND, "flow": {…}, "times": N}; of N flows each has the next cookie and local
 * port. {"fail": ERRNO} breaks it. $NETPROBE_SCRIPT_REFUSE is why no tier can be had.
 * $NETPROBE_SCRIPT_LOG is where it is written down that a collector was opened, with what, and
 * closed, and was to count anew.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "netprobe/collector.h"

#define DATAGRAM_MAX 65536U

struct collector {
	int fd;
	char path[108];
	enum collector_tier tier;
	void (*event)(void *context, enum flow_event kind, const struct flow *flow);
	void *context;
	struct flow *flows;
	uint32_t count;
	struct collector_counts counts;
};

static void note(const char *format, const struct collector_options *options)
{
	const char *path = getenv("NETPROBE_SCRIPT_LOG");
	FILE *file = path ? fopen(path, "ae") : NULL;

	if (!file)
		return;
	if (options)
		(void)fprintf(file, "%s %u %s %u\n", format, options->flows_max,
			      collector_tier_name(options->tier_max), options->diag_interval_ms);
	else
		(void)fprintf(file, "%s\n", format);
	(void)fclose(file);
}

const char *collector_tier_name(enum collector_tier tier)
{
	static const char *const names[] = {"none", "diag", "cgroup", "full"};

	return (size_t)tier < ARRAY_SIZE(names) ? names[tier] : "none";
}

static int bind_script(struct collector *collector)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = getenv("NETPROBE_SCRIPT");

	if (!path || strlen(path) >= sizeof(address.sun_path))
		return -ENOENT;
	memcpy(address.sun_path, path, strlen(path) + 1);
	memcpy(collector->path, path, strlen(path) + 1);
	collector->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	(void)unlink(path);
	if (collector->fd < 0 ||
	    bind(collector->fd, (const struct sockaddr *)(const void *)&address, sizeof(address)) <
		    0)
		return -errno;
	return 0;
}

int collector_open(const struct collector_options *options,
		   void (*event)(void *context, enum flow_event kind, const struct flow *flow),
		   void *context, char why[COLLECTOR_WHY_MAX], struct collector **ret)
{
	cleanup_collector struct collector *collector = NULL;
	const char *refuse = getenv("NETPROBE_SCRIPT_REFUSE");
	int r;

	note("open", options);
	if (refuse) {
		(void)snprintf(why, COLLECTOR_WHY_MAX, "%s", refuse);
		return -EPERM;
	}
	collector = calloc(1, sizeof(*collector));
	if (!collector)
		return -ENOMEM;
	collector->fd = -EBADF;
	collector->tier = options->tier_max;
	collector->event = event;
	collector->context = context;
	r = bind_script(collector);
	if (r < 0)
		return r;
	(void)snprintf(why, COLLECTOR_WHY_MAX, "%s",
		       options->tier_max == COLLECTOR_FULL ? "" : "As asked for.");
	*ret = TAKE_PTR(collector);
	return 0;
}

struct collector *collector_free(struct collector *collector)
{
	if (!collector)
		return NULL;
	note("close", NULL);
	(void)fd_close(collector->fd);
	(void)unlink(collector->path);
	free(collector->flows);
	free(collector);
	return NULL;
}

enum collector_tier collector_tier(const struct collector *collector)
{
	return collector->tier;
}

enum collector_sends collector_sends(const struct collector *collector)
{
	return collector->tier > COLLECTOR_DIAG ? COLLECTOR_SENDS_AT_PACKETS
						: COLLECTOR_SENDS_NOWHERE;
}

int collector_fd(const struct collector *collector)
{
	return collector->fd;
}

static uint64_t number(const json_t *object, const char *key, uint64_t otherwise)
{
	const json_t *value = json_object_get(object, key);

	return json_is_integer(value) ? (uint64_t)json_integer_value(value) : otherwise;
}

static const char *text(const json_t *object, const char *key, const char *otherwise)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value ? value : otherwise;
}

static void read_address(const char *from, uint8_t to[16], uint8_t *ret_family)
{
	*ret_family = strchr(from, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(*ret_family, from, to) != 1)
		abort();
}

static void read_owner(const json_t *object, struct flow_owner *owner)
{
	owner->tgid = (uint32_t)number(object, "pid", 0);
	owner->pid = (uint32_t)number(object, "tid", owner->tgid);
	owner->uid = (uint32_t)number(object, "uid", 0);
	owner->gid = (uint32_t)number(object, "gid", 0);
	owner->arguments = (uint32_t)number(object, "arguments", 0);
	(void)snprintf(owner->comm, sizeof(owner->comm), "%s", text(object, "comm", ""));
	/* JSON cannot have what is not UTF-8. */
	for (char *at = owner->comm; *at; at++) {
		if (*at == '^')
			*at = (char)0xff;
	}
	(void)snprintf(owner->cmdline, sizeof(owner->cmdline), "%s", text(object, "cmdline", ""));
	(void)snprintf(owner->container_id, sizeof(owner->container_id), "%s",
		       text(object, "container", ""));
}

static struct flow read_flow(const json_t *object)
{
	struct timespec now;
	struct flow flow = {0};
	int64_t now_ns;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	now_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	flow.cookie = number(object, "cookie", 1);
	flow.protocol = (uint8_t)number(object, "protocol", IPPROTO_TCP);
	read_address(text(object, "remote", "0.0.0.0"), flow.remote, &flow.family);
	read_address(text(object, "local", "127.0.0.1"), flow.local, &flow.family);
	flow.local_port = (uint16_t)number(object, "local_port", 0);
	flow.remote_port = (uint16_t)number(object, "remote_port", 0);
	flow.netns = number(object, "netns", 0);
	flow.listener = json_is_true(json_object_get(object, "listener"));
	flow.inbound = json_is_true(json_object_get(object, "inbound"));
	flow.bytes_sent = number(object, "bytes_sent", 0);
	flow.bytes_received = number(object, "bytes_received", 0);
	flow.retransmits = (uint32_t)number(object, "retransmits", 0);
	flow.started_ns = (int64_t)number(object, "started", (uint64_t)now_ns);
	flow.last_ns = (int64_t)number(object, "last", (uint64_t)now_ns);
	flow.ended_ns = (int64_t)number(object, "ended", 0);
	flow.end = flow.ended_ns != 0 ? FLOW_END_CLOSED : FLOW_END_NONE;
	read_owner(object, &flow.owner);
	return flow;
}

static void keep(struct collector *collector, const struct flow *flow)
{
	uint32_t at = 0;

	while (at < collector->count && collector->flows[at].cookie != flow->cookie)
		at++;
	if (flow->ended_ns != 0) {
		collector->counts.flows_ended++;
		if (flow->owner.tgid == 0)
			collector->counts.owners_unknown++;
		if (at < collector->count)
			collector->flows[at] = collector->flows[--collector->count];
		return;
	}
	if (at == collector->count) {
		collector->flows = reallocarray(collector->flows, collector->count + 1UL,
						sizeof(*collector->flows));
		if (!collector->flows)
			abort();
		collector->count++;
		collector->counts.flows_started++;
		if (flow->owner.tgid != 0)
			collector->counts.owners_known++;
	}
	collector->flows[at] = *flow;
}

static void play(struct collector *collector, const json_t *line)
{
	struct flow flow = read_flow(json_object_get(line, "flow"));
	uint64_t times = number(line, "times", 1);
	enum flow_event event = (enum flow_event)number(line, "event", FLOW_CONNECT);

	collector->counts.lost += number(line, "lost", 0);
	for (uint64_t i = 0; i < times; i++) {
		collector->counts.events++;
		/* A storm is not remembered: finding each again would be its square. */
		if (times <= 4096)
			keep(collector, &flow);
		collector->event(collector->context, event, &flow);
		flow.cookie++;
		flow.local_port++;
	}
}

int collector_drain(struct collector *collector, unsigned max)
{
	static char data[DATAGRAM_MAX];
	cleanup_json json_t *line = NULL;
	ssize_t n = recv(collector->fd, data, sizeof(data), MSG_DONTWAIT);

	(void)max;
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	line = json_loadb(data, (size_t)n, 0, NULL);
	if (!line)
		abort();
	if (json_object_get(line, "fail"))
		return -(int)number(line, "fail", EIO);
	play(collector, line);
	return 1;
}

int collector_refresh(struct collector *collector)
{
	(void)collector;
	note("refresh", NULL);
	return 0;
}

void collector_each(const struct collector *collector,
		    void (*each)(void *context, const struct flow *flow), void *context)
{
	for (uint32_t i = 0; i < collector->count; i++)
		each(context, &collector->flows[i]);
}

bool collector_scan(const struct collector *collector, uint32_t *cursor,
		    void (*each)(void *context, const struct flow *flow), void *context)
{
	if (*cursor < collector->count)
		each(context, &collector->flows[*cursor]);
	return ++*cursor < collector->count;
}

uint32_t collector_size(const struct collector *collector)
{
	return collector->count;
}

struct collector_counts collector_counts(const struct collector *collector)
{
	return collector->counts;
}
