/* SPDX-License-Identifier: Apache-2.0 */

/*
 * netprobe-senders COUNT: sockets whose sender is known, all over loopback. Prints "COOKIE WHAT
 * PID" of each, "held" when all have sent, and keeps them until its input ends. COUNT of each kind:
 *
 *   plain, thread, corked,   connected datagram sockets, on which the process itself sends several
 *   more, vector             times, each in another way
 *   inherited, sendfile,     the process sends first, then a child does: by send(), sendfile(),
 *   spliced, placeless,      splice(), pwritev2(); and, of which no descriptor tells, by
 *   submitted, ring          io_submit() and an io_uring
 *   let_go, more_let_go,     what leaves in setsockopt(); over a socket on which nobody has sent
 *   first_let_go, corked_to  before, and over one that is not connected, whose listener is meant,
 * too stream, splicedstream,   connections of TCP, on which a child sends and never receives
 *   submitstream, ringstream
 *   waiting, late            the same, but the other side takes no more, so that nothing leaves
 * while the child sends: until its end, or until it is read by this process race the same, but both
 * send at once, and then the process does
 *
 * PID is who sent last. Of what the kernel has not the kinds are missing.
 *
 * netprobe-senders over FD: sends on that descriptor for every line of its input, by send() if that
 * is "send", by an io_uring if it is "ring"; says "sent" or "refused" each time.
 *
 * netprobe-senders six: over ::1, on a connected socket each of TCP, UDP and ICMPv6 that it made, a
 * child sends 12 bytes and receives as many. Prints and keeps them as above.
 *
 * netprobe-senders crowd COUNT: two threads send at the same time over one datagram socket, to each
 * of so many ports; and then over each of so many sockets, twice to the same port. Prints the
 * cookies, first that of the one, and keeps the sockets until its input ends.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/aio_abi.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipv6_send.h"
#include "ring_send.h"

#define TIMES       3
#define SOCKETS_MAX 4096U
#define FIRST_PORT  2000U
/* More than a receive buffer of the smallest size takes. */
#define STUFFING 8192

static int receiver, listener;
static int sockets[SOCKETS_MAX];
static int accepted[SOCKETS_MAX]; /* of some of them the other end */
static size_t n_sockets;
static struct sockaddr_in datagrams, streams;

static void give_up(const char *what)
{
	perror(what);
	_exit(1);
}

static int at_loopback(int type, struct sockaddr_in *address)
{
	int fd = socket(AF_INET, type, 0);
	socklen_t size = sizeof(*address);

	*address = (struct sockaddr_in){.sin_family = AF_INET,
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (fd < 0 || bind(fd, (struct sockaddr *)address, size) < 0 ||
	    getsockname(fd, (struct sockaddr *)address, &size) < 0)
		give_up("a socket");
	return fd;
}

static int connected(int type, const struct sockaddr_in *address)
{
	int fd = socket(AF_INET, type, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		give_up("connect");
	if (n_sockets == SOCKETS_MAX)
		give_up("too many");
	sockets[n_sockets++] = fd;
	return fd;
}

static void say(int fd, const char *what, pid_t pid)
{
	uint64_t cookie;
	socklen_t size = sizeof(cookie);

	if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) < 0)
		give_up("SO_COOKIE");
	(void)printf("%" PRIu64 " %s %d\n", cookie, what, (int)pid);
}

static void send_plain(int fd)
{
	if (send(fd, "data", 4, 0) != 4)
		give_up("send");
}

static void send_to(int fd, const struct sockaddr_in *to)
{
	/* Where nobody is and the socket is not connected, that is no error. */
	if (sendto(fd, "x", 1, 0, (const struct sockaddr *)to, sizeof(*to)) != 1)
		give_up("sendto");
}

static void *run_thread(void *argument)
{
	send_plain(*(int *)argument);
	return NULL;
}

static void send_thread(int fd)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, run_thread, &fd) != 0 || pthread_join(thread, NULL) != 0)
		give_up("a thread");
}

static void cork(int fd, int on)
{
	if (setsockopt(fd, IPPROTO_UDP, UDP_CORK, &on, sizeof(on)) < 0)
		give_up("UDP_CORK");
}

static void send_corked(int fd)
{
	cork(fd, 1);
	send_plain(fd);
	send_plain(fd);
	cork(fd, 0);
}

static void send_more(int fd)
{
	if (send(fd, "more", 4, MSG_MORE) != 4)
		give_up("send");
	send_plain(fd);
}

/* It leaves in no send. */
static void send_more_and_let_go(int fd)
{
	if (send(fd, "more", 4, MSG_MORE) != 4)
		give_up("send");
	cork(fd, 0);
}

static void send_corked_to(int fd)
{
	cork(fd, 1);
	send_to(fd, &datagrams);
	send_to(fd, &datagrams);
	cork(fd, 0);
}

static void send_vector(int fd)
{
	struct iovec part = {.iov_base = (char[]){'x'}, .iov_len = 1};
	struct mmsghdr messages[2] = {{.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}},
				      {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}}};

	if (writev(fd, &part, 1) != 1 || sendmmsg(fd, messages, 2, 0) != 2)
		give_up("sendmmsg");
}

static void send_file(int fd)
{
	static int file = -1;
	off_t at = 0;

	if (file < 0)
		file = memfd_create("data", 0);
	if (file < 0 || ftruncate(file, 4) < 0 || sendfile(fd, file, &at, 4) != 4)
		give_up("sendfile");
}

static void send_spliced(int fd)
{
	int ends[2];

	if (pipe(ends) < 0 || write(ends[1], "data", 4) != 4 ||
	    splice(ends[0], NULL, fd, NULL, 4, 0) != 4)
		give_up("splice");
	(void)close(ends[0]);
	(void)close(ends[1]);
}

static void send_at_no_place(int fd)
{
	struct iovec part = {.iov_base = (char[]){'x'}, .iov_len = 1};

	if (pwritev2(fd, &part, 1, -1, 0) != 1)
		give_up("pwritev2");
}

/* By Linux's own asynchronous input and output. 0 or -1. */
static int submit(int fd)
{
	aio_context_t context = 0;
	struct iocb one = {.aio_fildes = (uint32_t)fd,
			   .aio_lio_opcode = IOCB_CMD_PWRITE,
			   .aio_buf = (uint64_t)(uintptr_t) "data",
			   .aio_nbytes = 4};
	struct iocb *all[] = {&one};
	struct io_event done;

	if (syscall(SYS_io_setup, 1, &context) < 0 ||
	    syscall(SYS_io_submit, context, 1, all) != 1 ||
	    syscall(SYS_io_getevents, context, 1, 1, &done, NULL) != 1 || done.res != 4)
		return -1;
	return (int)syscall(SYS_io_destroy, context);
}

static void send_submitted(int fd)
{
	if (submit(fd) < 0)
		give_up("io_submit");
}

static void send_ring(int fd)
{
	if (ring_send(fd, "data", 4) < 0)
		give_up("io_uring");
}

static void send_alone(const char *what, void (*sends)(int fd), unsigned long count)
{
	for (unsigned long i = 0; i < count; i++) {
		int fd = connected(SOCK_DGRAM, &datagrams);

		for (int k = 0; k < TIMES; k++)
			sends(fd);
		say(fd, what, getpid());
	}
}

/* A child sends over each of the sockets from *first* on, and stays. */
static pid_t send_as_child(const char *what, size_t first, void (*sends)(int fd))
{
	int done[2];
	pid_t pid;
	char byte;

	if (pipe(done) < 0)
		give_up("pipe");
	pid = fork();
	if (pid < 0)
		give_up("fork");
	if (pid == 0) {
		for (size_t i = first; i < n_sockets; i++)
			sends(sockets[i]);
		if (write(done[1], "x", 1) != 1)
			give_up("write");
		for (;;)
			(void)pause();
	}
	if (read(done[0], &byte, 1) != 1)
		give_up("a child");
	for (size_t i = first; i < n_sockets; i++)
		say(sockets[i], what, pid);
	return pid;
}

/* This process sends first over each, if it is one of datagrams; then a child does. */
static pid_t send_shared(const char *what, int type, void (*sends)(int fd), unsigned long count)
{
	size_t first = n_sockets;

	for (unsigned long i = 0; i < count; i++) {
		int fd = connected(type, type == SOCK_DGRAM ? &datagrams : &streams);

		if (type == SOCK_DGRAM)
			send_plain(fd);
		else if (accept(listener, NULL, NULL) < 0)
			give_up("accept");
	}
	return send_as_child(what, first, sends);
}

/* Fills the way to the other side of *count* connections, which is not read. */
static void fill(unsigned long count)
{
	static const char stuffing[STUFFING];
	struct sockaddr_in address;
	int narrow = at_loopback(SOCK_STREAM, &address);

	if (setsockopt(narrow, SOL_SOCKET, SO_RCVBUF, &(int){1}, sizeof(int)) < 0 ||
	    listen(narrow, SOMAXCONN) < 0)
		give_up("listen");
	for (unsigned long i = 0; i < count; i++) {
		int fd = connected(SOCK_STREAM, &address);

		accepted[n_sockets - 1] = accept(narrow, NULL, NULL);
		if (accepted[n_sockets - 1] < 0 ||
		    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){2 * STUFFING}, sizeof(int)) < 0 ||
		    send(fd, stuffing, sizeof(stuffing), MSG_DONTWAIT) != STUFFING)
			give_up("send");
	}
	(void)close(narrow);
}

/* Reads all that was sent over the sockets from *first* on. It comes in pieces, and each takes its
 * time, so from all at once. */
static void read_all(size_t first)
{
	static char data[STUFFING];
	size_t left = (n_sockets - first) * (STUFFING + sizeof("data") - 1);

	while (left > 0) {
		for (size_t i = first; i < n_sockets; i++) {
			ssize_t got = recv(accepted[i], data, sizeof(data), MSG_DONTWAIT);

			if (got < 0 && errno != EAGAIN)
				give_up("recv");
			left -= got > 0 ? (size_t)got : 0;
		}
		(void)usleep(1000);
	}
}

/* What the child sends behind that waits. */
static pid_t send_waiting(const char *what, bool is_read, unsigned long count)
{
	size_t first = n_sockets;
	pid_t pid;

	fill(count);
	pid = send_as_child(what, first, send_plain);
	if (is_read)
		read_all(first);
	return pid;
}

/* This process only connects them. */
static pid_t send_first(const char *what, void (*sends)(int fd), unsigned long count)
{
	size_t first = n_sockets;

	for (unsigned long i = 0; i < count; i++)
		(void)connected(SOCK_DGRAM, &datagrams);
	return send_as_child(what, first, sends);
}

/* The same of sockets that are not connected: this process sends first over each. */
static pid_t send_unconnected(const char *what, void (*sends)(int fd), unsigned long count)
{
	size_t first = n_sockets;
	struct sockaddr_in own;

	for (unsigned long i = 0; i < count; i++) {
		if (n_sockets == SOCKETS_MAX)
			give_up("too many");
		sockets[n_sockets] = at_loopback(SOCK_DGRAM, &own);
		send_to(sockets[n_sockets++], &datagrams);
	}
	return send_as_child(what, first, sends);
}

static int do_over(int fd)
{
	char line[16];

	while (fgets(line, sizeof(line), stdin)) {
		bool is_sent = strcmp(line, "ring\n") == 0 ? ring_send(fd, "data", 4) == 0
							   : send(fd, "data", 4, 0) == 4;

		(void)puts(is_sent ? "sent" : "refused");
	}
	return 0;
}

static void ask_ipv6(int fd)
{
	if (ipv6_ask(fd) < 0)
		give_up("a question");
}

static pid_t send_ipv6(const char *what, int type, int protocol)
{
	size_t first = n_sockets;
	pid_t echo;
	pid_t pid;
	int peer;

	if (ipv6_connect(type, protocol, &sockets[n_sockets++], &peer) < 0)
		give_up("a socket of IPv6");
	echo = fork();
	if (echo == 0)
		_exit(ipv6_answer(type, peer));
	pid = send_as_child(what, first, ask_ipv6);
	if (echo > 0)
		(void)waitpid(echo, NULL, 0);
	return pid;
}

struct crowd {
	unsigned long count;
	unsigned long arrived; /* at the next turn, of both */
	void (*send)(unsigned long turn);
};

static void send_to_port(unsigned long turn)
{
	struct sockaddr_in to = datagrams;

	to.sin_port = htons((uint16_t)(FIRST_PORT + turn));
	send_to(sockets[0], &to);
}

static void send_twice(unsigned long turn)
{
	send_to(sockets[turn + 1], &datagrams);
	send_to(sockets[turn + 1], &datagrams);
}

static void *run_crowd(void *argument)
{
	struct crowd *crowd = argument;

	for (unsigned long i = 0; i < crowd->count; i++) {
		(void)__atomic_fetch_add(&crowd->arrived, 1, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(&crowd->arrived, __ATOMIC_SEQ_CST) < 2 * (i + 1))
			(void)sched_yield();
		crowd->send(i);
	}
	return NULL;
}

static void crowd_each(unsigned long count, void (*sends)(unsigned long turn))
{
	struct crowd crowd = {.count = count, .send = sends};
	pthread_t thread;

	if (pthread_create(&thread, NULL, run_crowd, &crowd) != 0)
		give_up("a thread");
	(void)run_crowd(&crowd);
	(void)pthread_join(thread, NULL);
}

static int do_crowd(unsigned long count)
{
	struct sockaddr_in own;
	char byte;

	if (count >= SOCKETS_MAX)
		return 2;
	for (unsigned long i = 0; i <= count; i++)
		sockets[n_sockets++] = at_loopback(SOCK_DGRAM, &own);
	/* The first peer has a place of its own. */
	send_to(sockets[0], &datagrams);
	crowd_each(count, send_to_port);
	crowd_each(count, send_twice);
	for (size_t i = 0; i < n_sockets; i++)
		say(sockets[i], "crowd", getpid());
	(void)puts("held");
	while (read(STDIN_FILENO, &byte, 1) > 0)
		continue;
	return 0;
}

/* The child goes along with every turn, and is there as long as this process is. */
static pid_t send_in_race(unsigned long count)
{
	unsigned long *arrived = mmap(NULL, sizeof(*arrived), PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	size_t first = n_sockets;
	pid_t pid;

	if (arrived == MAP_FAILED)
		give_up("mmap");
	for (unsigned long i = 0; i < count; i++) {
		int fd = connected(SOCK_STREAM, &streams);

		/* Or what is sent behind something waits for an answer. */
		if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) < 0 ||
		    accept(listener, NULL, NULL) < 0)
			give_up("accept");
	}
	pid = fork();
	if (pid < 0)
		give_up("fork");
	for (unsigned long i = 0; i < 2 * count; i++) {
		(void)__atomic_fetch_add(arrived, 1, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(arrived, __ATOMIC_SEQ_CST) < 2 * (i + 1))
			(void)sched_yield();
		if (i % 2 == 0 || pid != 0)
			send_plain(sockets[first + i / 2]);
	}
	if (pid == 0) {
		for (;;)
			(void)pause();
	}
	for (size_t i = first; i < n_sockets; i++)
		say(sockets[i], "race", getpid());
	return pid;
}

static int stay(const pid_t *children, size_t n)
{
	char byte;

	(void)puts("held");
	while (read(STDIN_FILENO, &byte, 1) > 0)
		continue;
	while (n-- > 0) {
		(void)kill(children[n], SIGKILL);
		(void)waitpid(children[n], NULL, 0);
	}
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	pid_t children[20];
	struct rlimit files;
	size_t n = 0;

	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	receiver = at_loopback(SOCK_DGRAM, &datagrams);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	if (argc > 2 && strcmp(argv[1], "over") == 0)
		return do_over((int)strtol(argv[2], NULL, 10));
	if (argc > 2 && strcmp(argv[1], "crowd") == 0)
		return do_crowd(strtoul(argv[2], NULL, 10));
	if (argc > 1 && strcmp(argv[1], "six") == 0) {
		children[n++] = send_ipv6("tcp", SOCK_STREAM, IPPROTO_TCP);
		children[n++] = send_ipv6("udp", SOCK_DGRAM, IPPROTO_UDP);
		children[n++] = send_ipv6("raw", SOCK_RAW, IPPROTO_ICMPV6);
		return stay(children, n);
	}
	if (count == 0)
		return 2;
	listener = at_loopback(SOCK_STREAM, &streams);
	if (listen(listener, SOMAXCONN) < 0)
		give_up("listen");
	send_alone("plain", send_plain, count);
	send_alone("thread", send_thread, count);
	send_alone("corked", send_corked, count);
	send_alone("more", send_more, count);
	send_alone("vector", send_vector, count);
	children[n++] = send_shared("inherited", SOCK_DGRAM, send_plain, count);
	children[n++] = send_shared("sendfile", SOCK_DGRAM, send_file, count);
	children[n++] = send_shared("spliced", SOCK_DGRAM, send_spliced, count);
	children[n++] = send_shared("stream", SOCK_STREAM, send_plain, count);
	children[n++] = send_shared("placeless", SOCK_DGRAM, send_at_no_place, count);
	children[n++] = send_shared("splicedstream", SOCK_STREAM, send_spliced, count);
	children[n++] = send_shared("let_go", SOCK_DGRAM, send_corked, count);
	children[n++] = send_shared("more_let_go", SOCK_DGRAM, send_more_and_let_go, count);
	children[n++] = send_first("first_let_go", send_corked, count);
	children[n++] = send_unconnected("corked_to", send_corked_to, count);
	children[n++] = send_waiting("waiting", false, count);
	children[n++] = send_waiting("late", true, count);
	children[n++] = send_in_race(count);
	if (submit(connected(SOCK_DGRAM, &datagrams)) == 0) {
		children[n++] = send_shared("submitted", SOCK_DGRAM, send_submitted, count);
		children[n++] = send_shared("submitstream", SOCK_STREAM, send_submitted, count);
	}
	if (ring_send(connected(SOCK_DGRAM, &datagrams), "data", 4) == 0) {
		children[n++] = send_shared("ring", SOCK_DGRAM, send_ring, count);
		children[n++] = send_shared("ringstream", SOCK_STREAM, send_ring, count);
	}
	return stay(children, n);
}
