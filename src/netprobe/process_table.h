/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"
#include "netprobe/flow.h"

struct container_cache;
struct probe_exec;
struct probe_owner;

/* One process in one life of its number. */
struct process {
	struct process *next;           /* of the same hash */
	struct process *before, *after; /* while no flow is its own: before is older */
	uint64_t start_ns, cgroup;
	uint32_t tgid, uid, gid;
	uint32_t flows; /* that it owns */
	uint32_t arguments;
	bool is_known; /* its command line is as good as it gets */
	char comm[FLOW_COMM_MAX];
	char *word;         /* argv[0]; NULL: not known */
	char *container_id; /* NULL: none */
};

/*
 * The processes that own flows, and those that were started lately: a short-lived one's name is
 * known at its exec, before its first socket. Names of the others are read from /proc, once.
 */
struct process_table;

/* Borrows *containers*, which may be NULL. */
struct process_table *process_table_new(struct container_cache *containers);
struct process_table *process_table_free(struct process_table *table);
DEFINE_CLEANUP(struct process_table *, process_table, process_table_free)
#define cleanup_process_table CLEANUP(cleanup_process_table)

/* The process of *owner*, whose tgid is not 0, with one flow more. NULL: no memory. */
struct process *process_table_take(struct process_table *table, const struct probe_owner *owner);
/* One flow less. Takes NULL. Returns NULL. */
struct process *process_table_drop(struct process_table *table, struct process *process);
/* A process runs another program from now on. */
void process_table_exec(struct process_table *table, const struct probe_exec *exec);
/* How many are kept. */
uint32_t process_table_size(const struct process_table *table);

void process_to_owner(const struct process *process, uint32_t thread, struct flow_owner *ret);
