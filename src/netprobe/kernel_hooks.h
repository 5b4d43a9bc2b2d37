/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "netprobe/collector.h"

/* The programs of bpf/ and what each is for; and which of them a kernel takes. */

/* How a program is attached. */
enum hook_kind {
	HOOK_CGROUP,
	HOOK_TRACE,
	HOOK_STAND_IN, /* at a function of the kernel, instead of at a tracepoint that it lacks */
};

struct hook {
	const char *name;
	const char *what;           /* as people call it */
	enum collector_tier needed; /* the tier that there is not without it; NONE: a detail */
	enum hook_kind kind;
	const char *unless; /* a better one, with which it is not needed */
};

enum {
	HOOKS = 26
};

extern const struct hook hooks[HOOKS];

/* Why a hook is not there: 0 it is (or may be), else an errno. ECANCELED: it is not tried. */
struct trial {
	int error[HOOKS];
};

/* HOOKS: there is none. */
size_t hook_find(const char *name);
bool trial_has(const struct trial *trial, size_t hook);
/* Whether it is loaded; what is not because of a better one is not missing. */
bool trial_uses(const struct trial *trial, size_t hook);
/* Whether there is that tracepoint, or what stands in for it. */
bool trial_traces(const struct trial *trial, const char *tracepoint);
/* Gives up what is of no use without others that have failed. */
void trial_settle(struct trial *trial);
enum collector_tier trial_tier(const struct trial *trial);
/* Which hooks are missing, and what stands in for others: sentences, or "". */
void trial_explain(const struct trial *trial, char *why, size_t size);
