/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

/* The simulated agents: load.c says when, load_agent.c what. */

#define UID_SIZE    16U
#define TOKEN_MAX   96U
#define BUCKETS     100000U /* of 10 µs: a second */
#define BUCKET_USEC 10U
#define USEC        1000000ULL

enum phase {
	PHASE_IDLE,
	PHASE_CONNECTING,
	PHASE_UPGRADING,
	PHASE_TALKING,
};

struct agent {
	int fd;
	uint8_t phase;
	uint8_t is_http;
	uint8_t has_credential;
	uint8_t has_offer;
	uint8_t is_waiting; /* for an answer */
	uint8_t is_counted;
	uint32_t next; /* in its slot of the wheel, index + 1 */
	uint64_t sequence;
	uint64_t sent;
	uint64_t due; /* of the next try to connect */
	uint8_t uid[UID_SIZE];
	char token[TOKEN_MAX];
	uint8_t *partial; /* of an answer that is not whole */
	size_t partial_size;
};

/* What all processes count together. */
struct counts {
	_Atomic uint64_t connected;
	_Atomic uint64_t connects;
	_Atomic uint64_t failures;
	_Atomic uint64_t refusals;
	_Atomic uint64_t messages;
	_Atomic uint64_t heartbeats;
	_Atomic uint64_t offered;
	_Atomic uint32_t buckets[BUCKETS + 1];
};

struct load {
	struct sockaddr_in server;
	const char *join;
	const char *package;
	unsigned heartbeat;
	unsigned process;
	uint32_t n;
	struct agent *agents;
	uint32_t *wheel; /* index + 1 of the first agent of each slot */
	uint32_t n_slots;
	uint32_t connecting; /* next to look at */
	int epoll;
	struct counts *counts;
};

uint64_t now_usec(void);
/* Ends the program with what errno says. */
_Noreturn void die(const char *what);

/* Begins to connect. */
void agent_begin(struct load *load, struct agent *agent);
void agent_on_event(struct load *load, const struct epoll_event *event);
/* Sends a heartbeat to whom there is a connection with nothing on its way. */
void agent_beat(struct load *load, struct agent *agent);
