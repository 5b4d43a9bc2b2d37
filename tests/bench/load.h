/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

/* The simulated agents: load.c says when, load_agent.c what, load_wire.c over what. */

#define UID_SIZE    16U
#define TOKEN_MAX   96U
#define BUCKETS     100000U /* of 10 µs: a second */
#define BUCKET_USEC 10U
#define USEC        1000000ULL

enum phase {
	PHASE_IDLE,
	PHASE_CONNECTING,
	PHASE_SECURING, /* TLS */
	PHASE_UPGRADING,
	PHASE_TALKING,
};

struct agent {
	int fd;
	SSL *tls; /* NULL without */
	uint8_t phase;
	uint8_t is_http;
	uint8_t has_credential;
	uint8_t has_offer;
	uint8_t is_waiting; /* for an answer */
	uint8_t is_counted;
	uint32_t next; /* in its slot of the wheel, index + 1 */
	uint64_t sequence;
	uint64_t sent;
	uint64_t due;  /* of the next try to connect */
	uint32_t beat; /* seconds between polls, as it was told; 0: not */
	uint8_t uid[UID_SIZE];
	char token[TOKEN_MAX];
	uint8_t *partial; /* of an answer that is not whole */
	size_t partial_size;
};

/* What all processes count together. */
struct counts {
	_Atomic uint64_t connected;
	_Atomic uint64_t connects; /* with TLS, if there is any */
	_Atomic uint64_t failures;
	_Atomic uint64_t refusals;
	_Atomic uint64_t messages;
	_Atomic uint64_t heartbeats;
	_Atomic uint64_t offered;
	_Atomic uint32_t rounds; /* how often all were to connect anew */
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
	uint32_t round;
	int epoll;
	SSL_CTX *tls;
	struct counts *counts;
};

uint64_t now_usec(void);
/* Ends the program with what errno says. */
_Noreturn void die(const char *what);

/* Closes the connection, to be made anew after *wait* microseconds. */
void agent_drop(struct load *load, struct agent *agent, uint64_t wait);
/* Begins to connect. */
void agent_begin(struct load *load, struct agent *agent);
void agent_on_event(struct load *load, const struct epoll_event *event);
/* Sends a heartbeat to whom there is a connection with nothing on its way. */
void agent_beat(struct load *load, struct agent *agent);

/* Begins to connect, from an address of this process's own. false: it failed. */
bool wire_connect(struct load *load, struct agent *agent);
/* What to wait for next. */
void wire_watch(struct load *load, struct agent *agent, uint32_t events);
/* 1: TLS is up; 0: not yet; -1: it failed. */
int wire_secure(struct load *load, struct agent *agent);
/* All of it, or false. */
bool wire_send(struct agent *agent, const void *data, size_t size);
/* As recv(2); *ret_more*: there is more that no event will tell of. */
ssize_t wire_receive(struct agent *agent, void *data, size_t size, bool *ret_more);
void wire_close(struct agent *agent);
