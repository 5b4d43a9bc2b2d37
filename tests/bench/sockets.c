/* SPDX-License-Identifier: Apache-2.0 */

/*
 * sockets WHAT COUNT: uses the network of its namespace's loopback device, as much as it says.
 *
 *   connect COUNT   for every line of its input so many connections, one after the other; prints
 *                   nanoseconds for each, of the CPU of who connects, which never waits
 *   visit COUNT     the same once, with a server that asks who comes, and so uses them
 *   datagram COUNT  for every line a socket that sends so many times 64 bytes to one that nobody
 *                   reads, and stays until the next line; prints its port, and nanoseconds of its
 *                   CPU for each, as others may have that, too
 *   bulk MIB        for every line so much through a connection that stays until the next one;
 *                   prints the port of who sent, and nanoseconds of both ends' CPU for each MiB
 *   throughput MIB  the same by the clock on the wall, with an end on each of two CPUs
 *   pace COUNT      so many connections evenly within a minute; prints how many it made
 *   hold COUNT      so many connections that stay until standard input ends; prints "held"
 *
 * Ports of ended connections are taken again after a second, which Linux does on loopback.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHUNK       (128U * 1024)
#define SECOND      1000000000ULL
#define PER_PROCESS 4500U

static void give_up(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t read_clock(clockid_t clock)
{
	struct timespec at;

	if (clock_gettime(clock, &at) < 0)
		give_up("clock_gettime");
	return (uint64_t)at.tv_sec * SECOND + (uint64_t)at.tv_nsec;
}

static uint64_t now(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

/* A socket at 127.0.0.1, or at another loopback address; *address* is where. */
static int bound(int type, uint8_t host, struct sockaddr_in *address)
{
	int fd = socket(AF_INET, type, 0);
	socklen_t size = sizeof(*address);

	*address = (struct sockaddr_in){.sin_family = AF_INET,
					.sin_addr.s_addr = htonl(0x7f000000U | host)};
	if (fd < 0 || bind(fd, (struct sockaddr *)address, size) < 0 ||
	    getsockname(fd, (struct sockaddr *)address, &size) < 0)
		give_up("a socket");
	return fd;
}

static int listening(uint8_t host, struct sockaddr_in *address)
{
	int fd = bound(SOCK_STREAM, host, address);

	if (listen(fd, 4096) < 0)
		give_up("listen");
	return fd;
}

static int connected(const struct sockaddr_in *address)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		give_up("connect");
	return fd;
}

/* A child that takes so many connections and closes them; as servers do it *asks* who comes. */
static pid_t server(int listener, uint64_t count, bool asks)
{
	pid_t pid = fork();

	if (pid < 0)
		give_up("fork");
	if (pid > 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (count > 0) {
		struct sockaddr_in peer;
		socklen_t size = sizeof(peer);
		int fd = asks ? accept(listener, (struct sockaddr *)&peer, &size)
			      : accept(listener, NULL, NULL);

		if (fd < 0)
			continue;
		(void)close(fd);
		count--;
	}
	_exit(0);
}

static void end(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}

static void connect_each(const struct sockaddr_in *address, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		(void)close(connected(address));
}

static void do_connect(uint64_t count)
{
	struct sockaddr_in address;
	pid_t pid = server(listening(1, &address), UINT64_MAX, false);

	while (getchar() != EOF) {
		uint64_t began = read_clock(CLOCK_THREAD_CPUTIME_ID);

		connect_each(&address, count);
		began = read_clock(CLOCK_THREAD_CPUTIME_ID) - began;
		(void)printf("%.1f\n", (double)began / (double)count);
		(void)fflush(stdout);
	}
	end(pid);
}

static void do_visit(uint64_t count)
{
	struct sockaddr_in address;
	pid_t pid = server(listening(1, &address), count, true);
	uint64_t began = now();

	connect_each(&address, count);
	(void)printf("%.1f\n", (double)(now() - began) / (double)count);
	(void)waitpid(pid, NULL, 0);
}

static void do_pace(uint64_t count)
{
	struct sockaddr_in address;
	pid_t pid = server(listening(1, &address), count, true);
	uint64_t began = now();

	for (uint64_t i = 0; i < count; i++) {
		uint64_t due = began + i * 60 * SECOND / count, at = now();

		if (due > at + SECOND / 1000)
			(void)usleep((useconds_t)((due - at) / 1000));
		(void)close(connected(&address));
	}
	(void)printf("%" PRIu64 "\n", count);
	(void)waitpid(pid, NULL, 0);
}

static void send_each(int sender, const struct sockaddr_in *to, uint64_t count)
{
	static const char bytes[64];

	for (uint64_t i = 0; i < count; i++)
		if (sendto(sender, bytes, sizeof(bytes), 0, (const struct sockaddr *)to,
			   sizeof(*to)) < 0)
			give_up("sendto");
}

static void do_datagram(uint64_t count)
{
	struct sockaddr_in to, from;
	int receiver = bound(SOCK_DGRAM, 1, &to);
	int sender = -1;

	while (getchar() != EOF) {
		uint64_t began;

		if (sender >= 0)
			(void)close(sender);
		sender = bound(SOCK_DGRAM, 1, &from);
		began = read_clock(CLOCK_THREAD_CPUTIME_ID);
		send_each(sender, &to, count);
		(void)printf("%u %.1f\n", (unsigned)ntohs(from.sin_port),
			     (double)(read_clock(CLOCK_THREAD_CPUTIME_ID) - began) / (double)count);
		(void)fflush(stdout);
	}
	(void)close(sender);
	(void)close(receiver);
}

/* A child that takes so much from each connection, says that it has it, and waits for the next. */
static pid_t taker(int listener, uint64_t mib)
{
	static char bytes[CHUNK];
	pid_t pid = fork();
	int before = -1;

	if (pid < 0)
		give_up("fork");
	if (pid > 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		ssize_t n = 0;

		for (uint64_t left = mib << 20; left > 0; left -= (uint64_t)n) {
			n = read(fd, bytes, sizeof(bytes));
			if (n <= 0)
				give_up("read");
		}
		if (write(fd, bytes, 1) != 1)
			give_up("write");
		if (before >= 0)
			(void)close(before);
		before = fd;
	}
}

static void send_bulk(int fd, uint64_t mib)
{
	static char bytes[CHUNK];

	for (uint64_t left = mib << 20; left > 0; left -= sizeof(bytes))
		if (write(fd, bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes))
			give_up("write");
	if (read(fd, bytes, 1) != 1)
		give_up("read");
}

static clockid_t clock_of(pid_t pid)
{
	clockid_t clock = 0;

	if (clock_getcpuclockid(pid, &clock) != 0)
		give_up("clock_getcpuclockid");
	return clock;
}

/* What both processes have used of CPUs. */
static uint64_t read_both(clockid_t other)
{
	return read_clock(CLOCK_THREAD_CPUTIME_ID) + read_clock(other);
}

static void send_windows(uint64_t mib, const struct sockaddr_in *address, clockid_t other,
			 bool is_throughput)
{
	struct sockaddr_in from = {0};
	socklen_t size = sizeof(from);
	int fd = -1;

	while (getchar() != EOF) {
		uint64_t began;

		if (fd >= 0)
			(void)close(fd);
		fd = connected(address);
		if (getsockname(fd, (struct sockaddr *)&from, &size) < 0)
			give_up("getsockname");
		began = is_throughput ? now() : read_both(other);
		send_bulk(fd, mib);
		began = (is_throughput ? now() : read_both(other)) - began;
		(void)printf("%u %.1f\n", (unsigned)ntohs(from.sin_port),
			     (double)began / (double)mib);
		(void)fflush(stdout);
	}
}

static void do_bulk(uint64_t mib)
{
	struct sockaddr_in address;
	pid_t pid = taker(listening(1, &address), mib);

	send_windows(mib, &address, clock_of(pid), false);
	end(pid);
}

/* Keeps *pid* on the CPU that is number *n* of those that we may use, or the last. */
static void pin(pid_t pid, int n)
{
	cpu_set_t all, one;

	if (sched_getaffinity(0, sizeof(all), &all) < 0)
		give_up("sched_getaffinity");
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE && n >= 0; cpu++) {
		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		n--;
	}
	if (sched_setaffinity(pid, sizeof(one), &one) < 0)
		give_up("sched_setaffinity");
}

static void do_throughput(uint64_t mib)
{
	struct sockaddr_in address;
	pid_t pid = taker(listening(1, &address), mib);

	pin(pid, 1);
	pin(0, 0);
	send_windows(mib, &address, clock_of(pid), true);
	end(pid);
}

/* Both ends of so many connections, in a process of their own because of its descriptors. Says so
 * through *done*. */
static void hold_some(uint64_t count, uint8_t host, int done)
{
	struct sockaddr_in address;
	int listener = listening(host, &address);
	char byte = 'x';

	for (uint64_t i = 0; i < count; i++)
		if (write(connected(&address), &byte, 1) != 1 ||
		    read(accept(listener, NULL, NULL), &byte, 1) != 1)
			give_up("a connection");
	if (write(done, &byte, 1) != 1)
		give_up("write");
	for (;;)
		(void)pause();
}

static void do_hold(uint64_t count)
{
	pid_t children[64];
	size_t n = 0;
	int done[2];
	char byte;

	if (pipe(done) < 0)
		give_up("pipe");
	for (uint64_t left = count; left > 0 && n < sizeof(children) / sizeof(*children); n++) {
		uint64_t some = left < PER_PROCESS ? left : PER_PROCESS;

		children[n] = fork();
		if (children[n] < 0)
			give_up("fork");
		if (children[n] == 0)
			hold_some(some, (uint8_t)(n + 2), done[1]);
		left -= some;
	}
	for (size_t i = 0; i < n; i++)
		if (read(done[0], &byte, 1) != 1)
			give_up("a child");
	(void)puts("held");
	(void)fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	for (size_t i = 0; i < n; i++)
		end(children[i]);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(uint64_t count);
	} all[] = {
		{"connect",    do_connect   },
                {"visit",      do_visit     },
                {"datagram",   do_datagram  },
		{"bulk",       do_bulk      },
                {"throughput", do_throughput},
                {"pace",       do_pace      },
		{"hold",       do_hold      }
        };
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	for (size_t i = 0; argc == 3 && i < sizeof(all) / sizeof(*all); i++)
		if (strcmp(argv[1], all[i].name) == 0) {
			all[i].run(strtoull(argv[2], NULL, 10));
			return 0;
		}
	(void)fputs("usage: sockets connect|visit|datagram|bulk|throughput|pace|hold COUNT\n",
		    stderr);
	return 2;
}
