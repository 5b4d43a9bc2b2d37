/* SPDX-License-Identifier: Apache-2.0 */

/* No means to watch sockets with: what a build without the kernel's half links. */

#include <errno.h>
#include <stdio.h>

#include "netprobe/collector.h"

int collector_open(const struct collector_options *options, collector_event_fn event, void *context,
		   char *why, struct collector **ret)
{
	(void)options;
	(void)event;
	(void)context;
	(void)ret;
	(void)snprintf(why, 300, "this build has no collector.");
	return -EPERM;
}

struct collector *collector_free(struct collector *collector)
{
	(void)collector;
	return NULL;
}

enum collector_tier collector_tier(const struct collector *collector)
{
	(void)collector;
	return COLLECTOR_NONE;
}

const char *collector_tier_name(enum collector_tier tier)
{
	static const char *const names[] = {"none", "diag", "cgroup", "full"};

	return (size_t)tier < ARRAY_SIZE(names) ? names[tier] : "none";
}

int collector_fd(const struct collector *collector)
{
	(void)collector;
	return -EBADF;
}

int collector_drain(struct collector *collector, unsigned max)
{
	(void)collector;
	(void)max;
	return 0;
}

int collector_refresh(struct collector *collector)
{
	(void)collector;
	return 0;
}

void collector_each(const struct collector *collector, collector_flow_fn each, void *context)
{
	(void)collector;
	(void)each;
	(void)context;
}

uint32_t collector_size(const struct collector *collector)
{
	(void)collector;
	return 0;
}

struct collector_counts collector_counts(const struct collector *collector)
{
	(void)collector;
	return (struct collector_counts){0};
}
