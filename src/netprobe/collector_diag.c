/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The last tier: nothing runs in the kernel; all sockets of the own network namespace and all
 * descriptors are looked at, again and again. What lives shorter than the interval is not seen, and
 * a socket that several processes hold is of nobody.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "netprobe/collector_private.h"
#include "netprobe/socket_diag.h"
#include "netprobe/socket_holders.h"

#define INTERVAL_MS 1000U
#define MS_PER_SEC  1000U

struct pass {
	struct collector *collector;
	struct socket_holders *holders;
	uint64_t time_ns;
	uint32_t netns;
};

static void on_answer(void *context, const struct socket_diag_answer *answer)
{
	const struct pass *pass = context;
	struct probe_record record = answer->record;
	const struct probe_owner *owner;

	owner = socket_holders_find(pass->holders, answer->inode,
				    (record.flags & PROBE_LISTENER) != 0);
	record.time_ns = pass->time_ns;
	record.netns = pass->netns;
	if (owner && answer->inode != 0)
		record.owner = *owner;
	collector_stands(pass->collector, &record);
}

uint32_t collector_own_netns(void)
{
	struct stat status;

	return stat("/proc/self/ns/net", &status) < 0 ? 0 : (uint32_t)status.st_ino;
}

int collector_diag_look(struct collector *collector)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	cleanup_socket_holders struct socket_holders *holders = NULL;
	struct pass pass = {.collector = collector, .netns = collector_own_netns()};
	struct timespec now = {0};
	int r;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	pass.time_ns = (uint64_t)(now.tv_sec * NSEC_PER_SEC + now.tv_nsec);
	collector->round++;
	memset(collector->listening, 0, sizeof(collector->listening));
	/* A holder that goes meanwhile is missed; one that comes has what the answers do not name.
	 */
	r = socket_holders_load(&holders);
	pass.holders = holders;
	for (size_t i = 0; i < ARRAY_SIZE(families) && r >= 0; i++)
		r = socket_diag_dump(collector->diag_fd, families[i], IPPROTO_TCP, true, on_answer,
				     &pass);
	for (size_t i = 0; i < ARRAY_SIZE(families) && r >= 0; i++)
		r = socket_diag_dump(collector->diag_fd, families[i], IPPROTO_TCP, false, on_answer,
				     &pass);
	/* Kernels without udp_diag are many; what is known is told. */
	for (size_t i = 0; i < ARRAY_SIZE(families) && r >= 0; i++)
		ignore_result(socket_diag_dump(collector->diag_fd, families[i], IPPROTO_UDP, false,
					       on_answer, &pass));
	if (r >= 0)
		collector_sweep(collector, (int64_t)pass.time_ns, pass.netns, true);
	return r;
}

static uint32_t interval_of(const struct collector *collector)
{
	uint32_t interval_ms = collector->options.diag_interval_ms;

	return interval_ms > 0 ? interval_ms : INTERVAL_MS;
}

void collector_diag_explain(const struct collector *collector, char *text, size_t size)
{
	cleanup_fd int init = open("/proc/1/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)snprintf(text, size,
		       "%sSockets that live shorter than %" PRIu32
		       " ms are missed, and those of other network namespaces.%s",
		       collector->options.tier_max > COLLECTOR_DIAG ? " " : "",
		       interval_of(collector),
		       init < 0 ? " What other users have open may not be looked at: their flows "
				  "have no owner."
				: "");
}

int collector_diag_open(struct collector *collector)
{
	uint32_t interval_ms = interval_of(collector);
	struct itimerspec interval = {.it_value.tv_nsec = 1};
	int r;

	interval.it_interval.tv_sec = (time_t)(interval_ms / MS_PER_SEC);
	interval.it_interval.tv_nsec = (long)(interval_ms % MS_PER_SEC) * NSEC_PER_MS;
	r = socket_diag_open(&collector->diag_fd);
	if (r < 0)
		return r;
	collector->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (collector->timer_fd < 0 || timerfd_settime(collector->timer_fd, 0, &interval, NULL) < 0)
		return -errno;
	collector->tier = COLLECTOR_DIAG;
	return 0;
}

int collector_diag_drain(struct collector *collector)
{
	uint64_t turns = 0;

	if (read(collector->timer_fd, &turns, sizeof(turns)) < 0)
		return errno == EAGAIN ? 0 : -errno;
	return collector_diag_look(collector);
}
