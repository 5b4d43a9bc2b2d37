/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "netprobe/command_line.h"
#include "netprobe/flow.h"

/* The unit in which /proc tells when a process started. */
#define PROCFS_TICK_NS 10000000ULL

struct procfs_process {
	uint64_t start_ns; /* CLOCK_BOOTTIME, cut to PROCFS_TICK_NS */
	uint32_t uid, gid;
	char comm[FLOW_COMM_MAX];
	struct command_line command_line;
	char container_id[FLOW_CONTAINER_MAX + 1];
	bool is_unified; /* container_id is that of its cgroup in cgroup2 */
	bool is_kernel;  /* a thread of the kernel: no command line and no memory */
};

/* The directory of process *tgid*: it names this process for good, not its number. 0; -ESRCH: there
 * is none. */
must_check int procfs_open(uint32_t tgid, int *ret_directory);
/* The process as it is now. -ESRCH: it is gone. */
must_check int procfs_read(int directory, struct procfs_process *ret);
/* Both. */
must_check int procfs_read_process(uint32_t tgid, struct procfs_process *ret);
