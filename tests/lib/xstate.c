/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Preloaded into Debian's linux.uml, so that it runs on processors whose floating-point state is
 * larger than it knows (AMX): it hands ptrace() a buffer of its own size, and kernels since 5.16
 * take nothing but the whole state (EFAULT, and init dies by SIGSEGV at its first return to user
 * space). What it does not know about is what the task has already.
 */

#define _GNU_SOURCE
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Larger than any state that there is: AMX has 11,008 bytes in all. */
static _Thread_local char whole[32768];

static long set_state(pid_t pid, const struct iovec *known)
{
	struct iovec all = {.iov_base = whole, .iov_len = sizeof(whole)};

	if (syscall(SYS_ptrace, PTRACE_GETREGSET, pid, NT_X86_XSTATE, &all) < 0)
		return -1;
	memcpy(whole, known->iov_base, known->iov_len < all.iov_len ? known->iov_len : all.iov_len);
	return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, NT_X86_XSTATE, &all);
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list rest;

	va_start(rest, request);
	pid_t pid = va_arg(rest, pid_t);
	void *address = va_arg(rest, void *);
	void *data = va_arg(rest, void *);
	va_end(rest);
	if (request == PTRACE_SETREGSET && (long)address == NT_X86_XSTATE)
		return set_state(pid, data);
	/* The C library gives back what is peeked at; the system call stores it. */
	long word = 0;
	long result = syscall(
		SYS_ptrace, request, pid, address,
		request >= PTRACE_PEEKTEXT && request <= PTRACE_PEEKUSER ? (void *)&word : data);

	return result == 0 && request >= PTRACE_PEEKTEXT && request <= PTRACE_PEEKUSER ? word
										       : result;
}
