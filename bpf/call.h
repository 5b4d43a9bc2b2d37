/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/*
 * In which system call the process that runs is. A packet leaves in the one that sends it, or in
 * that of somebody who has nothing to do with it (see packet.bpf.c). Where no hook at the end of a
 * send says which, the registers do: a send on a descriptor that is this very socket. What an
 * io_uring sends has none there.
 */
#include "owner.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct probe_users {
		int counter;
	} count;

	struct fdtable *fdt;
};

/* As a process had them when it entered the kernel; those of two machines. */
struct pt_regs {
	unsigned long di, dx, orig_ax;
	__u64 orig_x0, regs[31];
	int syscallno;
};

#pragma clang attribute pop

#ifdef __TARGET_ARCH_x86
#define CALL_WRITE     1
#define CALL_WRITEV    20
#define CALL_SENDFILE  40
#define CALL_SENDTO    44
#define CALL_SENDMSG   46
#define CALL_SENDMMSG  307
#define CALL_PWRITEV2  328
#define CALL_SPLICE    275
#define CALL_IO_SUBMIT 209
#define CALL_READ      0
#define CALL_READV     19
#define CALL_RECVFROM  45
#define CALL_RECVMSG   47
#define CALL_RECVMMSG  299
#define CALL_PREADV2   327
#else
#define CALL_WRITE     64
#define CALL_WRITEV    66
#define CALL_SENDFILE  71
#define CALL_SENDTO    206
#define CALL_SENDMSG   211
#define CALL_SENDMMSG  269
#define CALL_PWRITEV2  287
#define CALL_SPLICE    76
#define CALL_IO_SUBMIT 2
#define CALL_READ      63
#define CALL_READV     65
#define CALL_RECVFROM  207
#define CALL_RECVMSG   212
#define CALL_RECVMMSG  243
#define CALL_PREADV2   286
#endif
#define CALL_IO_URING_ENTER 426
#define PF_IO_WORKER        0x10

enum sending {
	SENDS_NOT,
	SENDS_PERHAPS, /* in a call that is not of one descriptor */
	SENDS_FOR_CERTAIN,
};

static __always_inline long call_of(const struct pt_regs *registers)
{
#ifdef __TARGET_ARCH_x86
	return (long)BPF_CORE_READ(registers, orig_ax);
#else
	return BPF_CORE_READ(registers, syscallno);
#endif
}

/* Of SENDS_FOR_CERTAIN the descriptor, too. */
static __always_inline enum sending read_call(struct task_struct *task, __u32 *ret_fd)
{
	struct pt_regs *registers = (struct pt_regs *)bpf_task_pt_regs(task);
	long call = call_of(registers);
#ifdef __TARGET_ARCH_x86
	__u64 first = BPF_CORE_READ(registers, di);
	__u64 third = BPF_CORE_READ(registers, dx);
#else
	__u64 first = BPF_CORE_READ(registers, orig_x0);
	__u64 third = BPF_CORE_READ(registers, regs[2]);
#endif

	*ret_fd = (__u32)(call == CALL_SPLICE ? third : first);
	if (call == CALL_IO_URING_ENTER || call == CALL_IO_SUBMIT || task->flags & PF_IO_WORKER)
		return SENDS_PERHAPS;
	return call == CALL_WRITE || call == CALL_WRITEV || call == CALL_PWRITEV2 ||
			       call == CALL_SENDFILE || call == CALL_SENDTO ||
			       call == CALL_SENDMSG || call == CALL_SENDMMSG || call == CALL_SPLICE
		       ? SENDS_FOR_CERTAIN
		       : SENDS_NOT;
}

/* Whether the process that runs sends on *sk*. */
static __always_inline enum sending sends_on(const void *sk)
{
	struct task_struct *task = bpf_get_current_task_btf();
	enum sending sending;
	struct fdtable *table;
	struct socket *socket;
	struct file **files;
	struct file *file = NULL;
	__u32 fd;

	if (!calls_are_known || task->flags & PF_KTHREAD)
		return SENDS_NOT;
	sending = read_call(task, &fd);
	if (sending != SENDS_FOR_CERTAIN)
		return sending;
	table = BPF_CORE_READ(task, files, fdt);
	if (fd >= BPF_CORE_READ(table, max_fds))
		return SENDS_NOT;
	files = BPF_CORE_READ(table, fd);
	if (bpf_probe_read_kernel(&file, sizeof(file), files + fd) < 0)
		return SENDS_NOT;
	/* Of a file that is no socket this is something else, at which no such pointer is. */
	socket = BPF_CORE_READ(file, private_data);
	return socket && (const void *)BPF_CORE_READ(socket, sk) == sk ? SENDS_FOR_CERTAIN
								       : SENDS_NOT;
}
