/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Ends of system calls are seen at two tracepoints that came with Linux 6.3. Before, the functions
 * that the calls come to are hooked where they return (fexit), which needs a kernel built for that
 * and no tracefs; they are several ways to one end, so all are there or none is. Where there is
 * inet_sendpage() (up to Linux 6.4) no tracepoint sees its end.
 */

#include "netprobe/kernel_hooks.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

#define SENDS    "length_sent"
#define RECEIVES "length_received"

const struct hook hooks[HOOKS] = {
	{"socket_created",  "cgroup/sock_create",          COLLECTOR_CGROUP, HOOK_CGROUP,   NULL       },
	{"socket_released", "cgroup/sock_release",         COLLECTOR_CGROUP, HOOK_CGROUP,   NULL       },
	{"bound_ipv4",      "cgroup/post_bind4",           COLLECTOR_NONE,   HOOK_CGROUP,   NULL       },
	{"bound_ipv6",      "cgroup/post_bind6",           COLLECTOR_NONE,   HOOK_CGROUP,   NULL       },
	{"connects_ipv4",   "cgroup/connect4",             COLLECTOR_CGROUP, HOOK_CGROUP,   NULL       },
	{"connects_ipv6",   "cgroup/connect6",             COLLECTOR_NONE,   HOOK_CGROUP,   NULL       },
	{"sends_ipv4",      "cgroup/sendmsg4",             COLLECTOR_NONE,   HOOK_CGROUP,   SENDS      },
	{"sends_ipv6",      "cgroup/sendmsg6",             COLLECTOR_NONE,   HOOK_CGROUP,   SENDS      },
	{"receives_ipv4",   "cgroup/recvmsg4",             COLLECTOR_NONE,   HOOK_CGROUP,   NULL       },
	{"receives_ipv6",   "cgroup/recvmsg6",             COLLECTOR_NONE,   HOOK_CGROUP,   NULL       },
	{"named_ipv4",      "cgroup/getpeername4",         COLLECTOR_NONE,   HOOK_CGROUP,   NULL       },
	{"named_ipv6",      "cgroup/getpeername6",         COLLECTOR_NONE,   HOOK_CGROUP,   NULL       },
	{"packet_sent",     "cgroup_skb/egress",           COLLECTOR_CGROUP, HOOK_CGROUP,   NULL       },
	{"tcp_lives",       "sockops",                     COLLECTOR_CGROUP, HOOK_CGROUP,   "state_set"},
	{"tcp_received",    "tp_btf/tcp_rcv_space_adjust", COLLECTOR_FULL,   HOOK_TRACE,    NULL       },
	{"state_set",       "tp_btf/inet_sock_set_state",  COLLECTOR_FULL,   HOOK_TRACE,    NULL       },
	{"executed",        "tp_btf/sched_process_exec",   COLLECTOR_FULL,   HOOK_TRACE,    NULL       },
	{"length_sent",     "tp_btf/sock_send_length",     COLLECTOR_NONE,   HOOK_TRACE,    NULL       },
	{"length_received", "tp_btf/sock_recv_length",     COLLECTOR_NONE,   HOOK_TRACE,    NULL       },
	{"ipv4_sent",       "fexit/inet_sendmsg",          COLLECTOR_NONE,   HOOK_STAND_IN, SENDS      },
	{"ipv6_sent",       "fexit/inet6_sendmsg",         COLLECTOR_NONE,   HOOK_STAND_IN, SENDS      },
	{"page_sent",       "fexit/inet_sendpage",         COLLECTOR_NONE,   HOOK_STAND_IN, NULL       },
	{"ipv4_received",   "fexit/inet_recvmsg",          COLLECTOR_NONE,   HOOK_STAND_IN, RECEIVES   },
	{"ipv6_received",   "fexit/inet6_recvmsg",         COLLECTOR_NONE,   HOOK_STAND_IN, RECEIVES   },
	{"raw_received",    "fexit/sock_common_recvmsg",   COLLECTOR_NONE,   HOOK_STAND_IN, RECEIVES   },
	{"holders",         "iter/task_file",              COLLECTOR_FULL,   HOOK_TRACE,    NULL       },
};

static_assert(ARRAY_SIZE(hooks) == HOOKS, "as many as are there");

#define WAYS 3
static const char *const ways[][WAYS] = {
	{"ipv4_sent",     "ipv6_sent",     "page_sent"   },
	{"ipv4_received", "ipv6_received", "raw_received"},
};

size_t hook_find(const char *name)
{
	for (size_t i = 0; i < HOOKS; i++) {
		if (strcmp(hooks[i].name, name) == 0)
			return i;
	}
	return HOOKS;
}

bool trial_has(const struct trial *trial, size_t hook)
{
	return trial->error[hook] == 0;
}

static bool is_replaced(const struct trial *trial, size_t hook)
{
	for (size_t i = 0; i < HOOKS && !trial_has(trial, hook); i++) {
		if (hooks[i].kind == HOOK_STAND_IN && hooks[i].unless && trial_has(trial, i) &&
		    strcmp(hooks[i].unless, hooks[hook].name) == 0)
			return true;
	}
	return false;
}

bool trial_traces(const struct trial *trial, const char *tracepoint)
{
	size_t hook = hook_find(tracepoint);

	return trial_has(trial, hook) || is_replaced(trial, hook);
}

bool trial_uses(const struct trial *trial, size_t hook)
{
	const char *better = hooks[hook].unless;

	if (!better || !trial_has(trial, hook))
		return trial_has(trial, hook);
	return hooks[hook].kind == HOOK_STAND_IN ? !trial_has(trial, hook_find(better))
						 : !trial_traces(trial, better);
}

void trial_settle(struct trial *trial)
{
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		int *first = &trial->error[hook_find(ways[i][0])];

		for (size_t k = 1; k < WAYS; k++) {
			int *error = &trial->error[hook_find(ways[i][k])];

			/* Only the last of a way is one that a kernel may do without. Where IPv6 is
			 * a module that is not there yet, its functions are not, either. */
			if (k == WAYS - 1 && *error == ESRCH)
				*error = ECANCELED;
			if (*error != 0 && *error != ECANCELED && *first == 0)
				*first = *error;
		}
		for (size_t k = 1; k < WAYS && *first != 0; k++) {
			size_t hook = hook_find(ways[i][k]);

			if (hooks[hook].unless || trial_has(trial, hook))
				trial->error[hook] = ECANCELED;
		}
	}
}

enum collector_tier trial_tier(const struct trial *trial)
{
	enum collector_tier tier = COLLECTOR_FULL;

	for (size_t i = 0; i < HOOKS; i++) {
		if (trial_has(trial, i) || hooks[i].needed == COLLECTOR_NONE)
			continue;
		if (hooks[i].needed <= tier)
			tier = hooks[i].needed - 1;
	}
	return tier;
}

/* The one reason for which all of them fail; 0: there is none. */
static int common_error(const struct trial *trial)
{
	int common = 0;

	for (size_t i = 0; i < HOOKS; i++) {
		if (trial_has(trial, i) ||
		    (common != 0 && trial->error[i] != common && trial->error[i] != ECANCELED))
			return 0;
		if (trial->error[i] != ECANCELED)
			common = trial->error[i];
	}
	return common;
}

static const char *error_text(int error)
{
	const char *text = strerrordesc_np(error);

	return text ? text : "unknown error";
}

/* " fexit/… stands in for tp_btf/…." */
static void explain_stand_ins(const struct trial *trial, char *why, size_t size)
{
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		size_t hook = hook_find(ways[i][0]);
		size_t used = strlen(why);

		if (trial_uses(trial, hook))
			(void)snprintf(why + used, size - used, "%s%s stands in for %s.",
				       used > 0 ? " " : "", hooks[hook].what,
				       hooks[hook_find(hooks[hook].unless)].what);
	}
}

/* Whether there is something as good. */
static bool is_needless(const struct trial *trial, size_t hook)
{
	return is_replaced(trial, hook) ||
	       (hooks[hook].kind == HOOK_STAND_IN && hooks[hook].unless &&
		trial_has(trial, hook_find(hooks[hook].unless)));
}

/* "The kernel does not take tp_btf/… (No such file or directory), …." */
void trial_explain(const struct trial *trial, char *why, size_t size)
{
	const char *before = "The kernel does not take ";
	size_t used = 0;

	if (common_error(trial) != 0) {
		(void)snprintf(why, size, "The kernel takes no program of ours (%s).",
			       error_text(common_error(trial)));
		return;
	}
	for (size_t i = 0; i < HOOKS; i++) {
		int length;

		if (trial_has(trial, i) || trial->error[i] == ECANCELED || is_needless(trial, i))
			continue;
		length = snprintf(why + used, size - used, "%s%s (%s)", before, hooks[i].what,
				  error_text(trial->error[i]));
		/* The full stop has to fit, too. */
		if (length < 0 || (size_t)length + 1 >= size - used)
			break;
		used += (size_t)length;
		before = ", ";
	}
	if (used > 0)
		(void)snprintf(why + used, size - used, ".");
	else
		why[0] = '\0';
	explain_stand_ins(trial, why, size);
}
