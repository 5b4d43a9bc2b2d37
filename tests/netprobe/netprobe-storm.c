/* SPDX-License-Identifier: Apache-2.0 */

/*
 * netprobe-storm CONNECTIONS WORKERS: that many connections over 127.0.0.1, each from a process
 * that exits right behind it, to a server of that many processes which accept from one socket.
 * Prints "COOKIE PID" of every end of every connection: what the processes themselves know.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PARALLEL 16U
#define STACK    65536U

struct end {
	uint64_t cookie;
	pid_t pid;
};

struct truth {
	uint32_t count;
	struct end ends[];
};

static void give_up(const char *what)
{
	perror(what);
	_exit(1);
}

static void note(struct truth *truth, int fd)
{
	struct end *end = &truth->ends[__atomic_fetch_add(&truth->count, 1, __ATOMIC_RELAXED)];
	socklen_t size = sizeof(end->cookie);

	end->pid = getpid();
	if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &end->cookie, &size) < 0)
		give_up("SO_COOKIE");
}

static void serve(struct truth *truth, int listener)
{
	char byte;

	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			continue;
		note(truth, fd);
		if (read(fd, &byte, 1) == 1)
			(void)!write(fd, &byte, 1);
		(void)close(fd);
	}
}

/* What a caller knows; it shares memory with the others, because copying page tables would take
 * most of the time. */
struct caller {
	pid_t pid; /* 0: none runs here */
	struct truth *truth;
	struct sockaddr_in address;
	char stack[STACK] __attribute__((aligned(16)));
};

static int call(void *argument)
{
	struct caller *caller = argument;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char byte = 'x';

	if (fd < 0 || connect(fd, (struct sockaddr *)&caller->address, sizeof(caller->address)) < 0)
		give_up("connect");
	note(caller->truth, fd);
	if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
		give_up("talk");
	_exit(0);
}

static int wait_one(struct caller callers[PARALLEL])
{
	int status;
	pid_t pid = waitpid(-1, &status, 0);

	for (size_t i = 0; i < PARALLEL; i++) {
		if (callers[i].pid == pid)
			callers[i].pid = 0;
	}
	return pid > 0 && status == 0 ? 0 : -1;
}

static int start_one(struct caller callers[PARALLEL])
{
	size_t i = 0;

	while (callers[i].pid != 0)
		i++;
	callers[i].pid = clone(call, callers[i].stack + STACK, CLONE_VM | SIGCHLD, &callers[i]);
	return callers[i].pid < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
	unsigned long connections = argc > 2 ? strtoul(argv[1], NULL, 10) : 0;
	unsigned long workers = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	size_t size = sizeof(struct truth) + 2 * connections * sizeof(struct end);
	struct truth *truth =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	unsigned long running = 0;
	struct caller *callers = calloc(PARALLEL, sizeof(*callers));
	pid_t pids[64];

	if (truth == MAP_FAILED || !callers || workers > 64 || connections == 0)
		return 2;
	if (bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 4096) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &length) < 0)
		give_up("listen");
	for (unsigned long i = 0; i < workers; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			serve(truth, listener);
	}
	for (size_t i = 0; i < PARALLEL; i++) {
		callers[i].truth = truth;
		callers[i].address = address;
	}
	for (unsigned long i = 0; i < connections; i++) {
		if (running == PARALLEL && wait_one(callers) < 0)
			return 1;
		running -= running == PARALLEL;
		if (start_one(callers) < 0)
			return 1;
		running++;
	}
	for (; running > 0; running--) {
		if (wait_one(callers) < 0)
			return 1;
	}
	for (unsigned long i = 0; i < workers; i++)
		(void)kill(pids[i], SIGKILL);
	for (uint32_t i = 0; i < truth->count; i++)
		(void)printf("%" PRIu64 " %d\n", truth->ends[i].cookie, (int)truth->ends[i].pid);
	return 0;
}
