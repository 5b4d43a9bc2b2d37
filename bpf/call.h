/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/*
 * In which system call the process that runs is. A packet leaves in the one that sends it, or in
 * that of somebody who has nothing to do with it (see packet.bpf.c). Where no hook at the end of a
 * send says which, the registers do: a send on a descriptor that is this very socket.
 */
#include "owner.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct file {
	void *private_data;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

/* As a process had them when it entered the kernel; those of two machines. */
struct pt_regs {
	unsigned long di, orig_ax;
	__u64 orig_x0;
	int syscallno;
};

#pragma clang attribute pop

#ifdef __TARGET_ARCH_x86
#define CALL_WRITE    1
#define CALL_WRITEV   20
#define CALL_SENDFILE 40
#define CALL_SENDTO   44
#define CALL_SENDMSG  46
#define CALL_SENDMMSG 307
#else
#define CALL_WRITE    64
#define CALL_WRITEV   66
#define CALL_SENDFILE 71
#define CALL_SENDTO   206
#define CALL_SENDMSG  211
#define CALL_SENDMMSG 269
#endif

/* The descriptor that the process sends on. False: it is in no call that sends on its first one. */
static __always_inline bool read_send(struct task_struct *task, __u32 *ret_fd)
{
	struct pt_regs *registers = (struct pt_regs *)bpf_task_pt_regs(task);
#ifdef __TARGET_ARCH_x86
	long call = (long)BPF_CORE_READ(registers, orig_ax);

	*ret_fd = (__u32)BPF_CORE_READ(registers, di);
#else
	long call = BPF_CORE_READ(registers, syscallno);

	*ret_fd = (__u32)BPF_CORE_READ(registers, orig_x0);
#endif
	return call == CALL_WRITE || call == CALL_WRITEV || call == CALL_SENDFILE ||
	       call == CALL_SENDTO || call == CALL_SENDMSG || call == CALL_SENDMMSG;
}

/* Whether the process that runs sends on *sk*: certain if true. */
static __always_inline bool is_sending(const void *sk)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct fdtable *table;
	struct socket *socket;
	struct file **files;
	struct file *file = NULL;
	__u32 fd;

	if (!calls_are_known || task->flags & PF_KTHREAD || !read_send(task, &fd))
		return false;
	table = BPF_CORE_READ(task, files, fdt);
	if (fd >= BPF_CORE_READ(table, max_fds))
		return false;
	files = BPF_CORE_READ(table, fd);
	if (bpf_probe_read_kernel(&file, sizeof(file), files + fd) < 0)
		return false;
	/* Of a file that is no socket this is something else, at which no such pointer is. */
	socket = BPF_CORE_READ(file, private_data);
	return socket && (const void *)BPF_CORE_READ(socket, sk) == sk;
}
