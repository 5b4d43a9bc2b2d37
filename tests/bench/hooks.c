/* SPDX-License-Identifier: Apache-2.0 */

/*
 * hooks: what is called for each datagram, and for each piece of bulk over TCP, when netprobe
 * watches, with programs that only return. Says "attached", and keeps them until its input ends. So
 * much of what netprobe costs is the kernel's own, and no program can be cheaper.
 */

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "netprobe/cgroup_root.h"

static void give_up(const char *what)
{
	perror(what);
	exit(1);
}

/* A program that returns *value*. */
static int load(enum bpf_prog_type type, enum bpf_attach_type attach_type, const char *tracepoint,
		int value)
{
	const struct bpf_insn instructions[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = value},
		{.code = BPF_JMP | BPF_EXIT                      },
	};
	struct bpf_prog_load_opts options = {.sz = sizeof(options),
					     .expected_attach_type = attach_type};
	int fd;

	if (tracepoint) {
		int id = libbpf_find_vmlinux_btf_id(tracepoint, attach_type);

		if (id < 0)
			give_up(tracepoint);
		options.attach_btf_id = (__u32)id;
	}
	fd = bpf_prog_load(type, "only_returns", "GPL", instructions, ARRAY_SIZE(instructions),
			   &options);
	if (fd < 0)
		give_up("a program");
	return fd;
}

static void attach_packets(int cgroup)
{
	int program = load(BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS, NULL, 1);

	/* A link, which ends with the process. */
	if (bpf_link_create(program, cgroup, BPF_CGROUP_INET_EGRESS, NULL) < 0)
		give_up("cgroup_skb/egress");
}

static void attach_tracepoint(const char *name)
{
	int program = load(BPF_PROG_TYPE_TRACING, BPF_TRACE_RAW_TP, name, 0);

	if (bpf_raw_tracepoint_open(NULL, program) < 0)
		give_up(name);
}

int main(void)
{
	int cgroup = -EBADF;
	char byte;

	if (cgroup_root_open(&cgroup) < 0)
		give_up("cgroup2");
	attach_packets(cgroup);
	attach_tracepoint("sock_send_length");
	attach_tracepoint("sock_recv_length");
	attach_tracepoint("tcp_rcv_space_adjust");
	(void)puts("attached");
	(void)fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	return 0;
}
