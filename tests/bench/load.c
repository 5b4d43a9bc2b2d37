/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A fleet that is not there: many agents in a few processes, each with a connection, an instance
 * UID and a credential of its own, that speak OpAMP to affixd as affix-agent would. They enrol with
 * a join token, come back with the credential they were given, tell their full state, and are then
 * heard of at every heartbeat; offers are answered with package statuses.
 *
 *   load ADDRESS PORT JOIN-TOKEN AGENTS PROCESSES HTTP-PERCENT HEARTBEAT-SECONDS SECONDS plain|tls
 * [PACKAGE]
 *
 * Once a second it prints a line of JSON: how many are connected, what heartbeats took, how many
 * have been offered PACKAGE. Each process calls from addresses of its own in 127/8.
 */

#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX    512
#define TICK_USEC     10000U
#define CONNECTS_TICK 40U /* per process in 10 ms */
#define PROCESSES_MAX 32U

uint64_t now_usec(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * USEC + (uint64_t)time.tv_nsec / 1000U;
}

void die(const char *what)
{
	perror(what);
	exit(EXIT_FAILURE);
}

/* Everybody is to connect anew, at once. */
static void heed_round(struct load *load)
{
	uint32_t round = load->counts->rounds;

	if (round == load->round)
		return;
	load->round = round;
	for (uint32_t i = 0; i < load->n; i++)
		agent_drop(load, &load->agents[i], 0);
}

/* Some that are not connected, each when it is due. */
static void connect_some(struct load *load, uint64_t now)
{
	unsigned made = 0;

	for (uint32_t i = 0; i < load->n && made < CONNECTS_TICK; i++) {
		struct agent *agent = &load->agents[load->connecting];

		load->connecting = (load->connecting + 1) % load->n;
		if (agent->phase != PHASE_IDLE || agent->due > now)
			continue;
		agent_begin(load, agent);
		made++;
	}
}

/* To be heard of so many ticks after *tick*, at most a turn of the wheel. */
static void plan(struct load *load, uint32_t index, uint64_t tick)
{
	struct agent *agent = &load->agents[index];
	uint64_t ticks = agent->beat * USEC / TICK_USEC;
	uint32_t *slot;

	if (ticks == 0 || ticks > load->n_slots)
		ticks = load->n_slots;
	slot = &load->wheel[(tick + ticks) % load->n_slots];
	agent->next = *slot;
	*slot = index + 1;
}

static void beat(struct load *load, uint64_t tick)
{
	uint32_t at = load->wheel[tick % load->n_slots];

	load->wheel[tick % load->n_slots] = 0;
	while (at > 0) {
		uint32_t index = at - 1;

		at = load->agents[index].next;
		agent_beat(load, &load->agents[index]);
		plan(load, index, tick);
	}
}

static void run(struct load *load)
{
	struct epoll_event events[EVENTS_MAX];
	uint64_t tick = now_usec() / TICK_USEC;

	load->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (load->epoll < 0)
		die("epoll_create1");
	for (;;) {
		int n = epoll_wait(load->epoll, events, EVENTS_MAX, 2);
		uint64_t now = now_usec();

		for (int i = 0; i < n; i++)
			agent_on_event(load, &events[i]);
		if (tick == now / TICK_USEC)
			continue;
		for (; tick < now / TICK_USEC; tick++)
			beat(load, tick);
		heed_round(load);
		connect_some(load, now);
	}
}

static void start_agents(struct load *load, unsigned http_percent)
{
	load->agents = calloc(load->n, sizeof(*load->agents));
	load->n_slots = (uint32_t)(load->heartbeat * USEC / TICK_USEC);
	load->wheel = calloc(load->n_slots, sizeof(*load->wheel));
	if (!load->agents || !load->wheel)
		die("calloc");
	srandom(load->process);
	for (uint32_t i = 0; i < load->n; i++) {
		uint32_t *slot = &load->wheel[(uint32_t)random() % load->n_slots];

		load->agents[i] =
			(struct agent){.fd = -1, .is_http = i % 100 < http_percent, .next = *slot};
		if (getrandom(load->agents[i].uid, UID_SIZE, 0) != UID_SIZE)
			die("getrandom");
		*slot = i + 1;
	}
}

/* The time in milliseconds that *part* of all heartbeats were answered in. */
static double percentile(const struct counts *counts, double part)
{
	uint64_t all = counts->heartbeats;
	uint64_t seen = 0;

	for (uint32_t i = 0; i <= BUCKETS; i++) {
		seen += counts->buckets[i];
		if (all > 0 && (double)seen >= part * (double)all)
			return (double)(i + 1) * BUCKET_USEC / 1000.0;
	}
	return 0;
}

static void print_counts(const struct counts *counts, uint64_t begin)
{
	(void)printf("{\"seconds\":%.2f,\"connected\":%" PRIu64 ",\"connects\":%" PRIu64
		     ",\"failures\":%" PRIu64 ",\"refusals\":%" PRIu64 ",\"messages\":%" PRIu64
		     ",\"heartbeats\":%" PRIu64 ",\"offered\":%" PRIu64
		     ",\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"max_ms\":%.2f}\n",
		     (double)(now_usec() - begin) / (double)USEC, (uint64_t)counts->connected,
		     (uint64_t)counts->connects, (uint64_t)counts->failures,
		     (uint64_t)counts->refusals, (uint64_t)counts->messages,
		     (uint64_t)counts->heartbeats, (uint64_t)counts->offered,
		     percentile(counts, 0.5), percentile(counts, 0.99), percentile(counts, 1));
	(void)fflush(stdout);
}

/* What comes on standard input: "r" forgets the times so far, "c" has all connect anew, an end
 * ends.
 */
static bool heed_input(struct counts *counts)
{
	char byte;
	ssize_t n = read(STDIN_FILENO, &byte, 1);

	if (n == 0)
		return false;
	if (n == 1 && byte == 'r') {
		counts->heartbeats = 0;
		for (uint32_t i = 0; i <= BUCKETS; i++)
			counts->buckets[i] = 0;
	}
	if (n == 1 && byte == 'c')
		counts->rounds++;
	return true;
}

/* Any certificate will do: what is measured is the server. */
static SSL_CTX *open_tls(void)
{
	SSL_CTX *tls = SSL_CTX_new(TLS_client_method());

	if (!tls)
		die("SSL_CTX_new");
	(void)SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
	(void)SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify(tls, SSL_VERIFY_NONE, NULL);
	return tls;
}

int main(int argc, char **argv)
{
	struct load load = {.server.sin_family = AF_INET};
	pid_t children[PROCESSES_MAX];
	struct rlimit limit;
	unsigned agents;
	unsigned processes;
	unsigned seconds;
	uint64_t begin;

	if (argc < 10 || inet_pton(AF_INET, argv[1], &load.server.sin_addr) != 1) {
		(void)fputs("usage: load ADDRESS PORT JOIN-TOKEN AGENTS PROCESSES HTTP-PERCENT "
			    "HEARTBEAT-SECONDS SECONDS plain|tls [PACKAGE]\n",
			    stderr);
		return 2;
	}
	load.server.sin_port = htons((uint16_t)strtoul(argv[2], NULL, 10));
	load.join = argv[3];
	agents = (unsigned)strtoul(argv[4], NULL, 10);
	processes = (unsigned)strtoul(argv[5], NULL, 10);
	load.heartbeat = (unsigned)strtoul(argv[7], NULL, 10);
	seconds = (unsigned)strtoul(argv[8], NULL, 10);
	load.tls = strcmp(argv[9], "tls") == 0 ? open_tls() : NULL;
	load.package = argv[10];
	if (processes == 0 || processes > PROCESSES_MAX || load.heartbeat == 0)
		return 2;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	load.counts = mmap(NULL, sizeof(*load.counts), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (load.counts == MAP_FAILED)
		die("mmap");
	begin = now_usec();
	for (unsigned i = 0; i < processes; i++) {
		children[i] = fork();
		if (children[i] < 0)
			die("fork");
		if (children[i] > 0)
			continue;
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		load.process = i;
		load.n = agents / processes + (i < agents % processes);
		start_agents(&load, (unsigned)strtoul(argv[6], NULL, 10));
		run(&load);
	}
	(void)fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
	while (now_usec() - begin < seconds * USEC && heed_input(load.counts)) {
		(void)usleep(200000);
		print_counts(load.counts, begin);
	}
	for (unsigned i = 0; i < processes; i++) {
		(void)kill(children[i], SIGKILL);
		(void)waitpid(children[i], NULL, 0);
	}
	return 0;
}
