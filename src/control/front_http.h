/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "control/front.h"

/* What a request is for: which file answers it. */
enum exchange_kind {
	EXCHANGE_NONE, /* answered already, with an error */
	EXCHANGE_OPAMP,
	EXCHANGE_REST,
	EXCHANGE_ARTIFACT,
};

#define EXCHANGE_HEADERS_MAX 8U

struct exchange_header {
	const char *name; /* static, lower case, with ':' */
	char *value;
};

/* One HTTP request and its answer. */
struct exchange {
	struct front *front;
	struct lws *wsi;
	enum exchange_kind kind;
	const char *method; /* static */
	char *path;         /* percent-encoded */
	char *query;        /* or NULL */
	char *authorization;
	char *content_type;
	uint64_t content_length;
	uint64_t number;   /* as the store calls it; 0: it was not asked */
	uint64_t deadline; /* msec, for what is waited for now; 0: nothing */
	uint64_t body_due; /* msec; 0: nothing of the body came yet */
	bool is_gzipped;   /* the request's body */
	bool accepts_gzip;
	bool is_head;
	bool is_complete; /* the request is here, whole */
	bool is_answered;
	bool is_started;     /* the answer's head is written */
	bool is_waiting;     /* for an answer of the store that may take its time */
	bool is_proven;      /* it came with a credential that the store knows */
	bool must_close;     /* nothing more can be understood on this connection */
	struct buffer body;  /* the request's */
	struct agent *agent; /* whose message this waits for */
	/* a body that is spooled: front_rest.c */
	int spool_fd;
	char spool_name[48];
	uint64_t spool_size;
	bool is_spool_granted;
	bool wants_continue; /* the client waits to be told to send the body */
	/* the answer */
	unsigned status;
	const char *answer_type; /* static, or answer_type_copy */
	char *answer_type_copy;
	struct exchange_header headers[EXCHANGE_HEADERS_MAX];
	size_t n_headers;
	uint8_t *answer;
	size_t answer_size;
	size_t answer_at;
	int file_fd; /* instead of bytes */
	uint64_t file_at;
	uint64_t file_end;
};

/* A request came in: makes its exchange, and has it answered or waits for its body. */
must_check int exchange_begin(struct front *front, struct lws *wsi, struct front_session *session,
			      const char *path);
/* A piece of the body; its end. Non-zero: close the connection. */
int exchange_body(struct exchange *exchange, const void *data, size_t size);
int exchange_complete(struct exchange *exchange);
/* The connection takes bytes. Non-zero: close it. The exchange may be gone afterwards. */
int exchange_write(struct front_session *session);
struct exchange *exchange_free(struct exchange *exchange);

/*
 * Decides the answer; it is written when the connection takes it. The second answer to an exchange
 * is ignored. *exchange_answer* takes *body* (malloc'ed, may be NULL), exchange_refuse() answers
 * with the JSON error of the REST API.
 */
void exchange_answer(struct exchange *exchange, unsigned status, const char *content_type,
		     uint8_t *body, size_t size);
void exchange_refuse(struct exchange *exchange, unsigned status, const char *name,
		     const char *sentence);
/* The same for a request whose body is not wanted: a short one is read and forgotten, so that the
 * client gets to reading the answer; behind a long one the connection is closed. */
void exchange_refuse_body(struct exchange *exchange, unsigned status, const char *name,
			  const char *sentence);
/* A header of the answer, before it is decided; *name* is static. */
void exchange_add_header(struct exchange *exchange, const char *name, const char *format, ...)
	format_check(3, 4);

/* What has waited for longer than it may. */
void exchange_expire(struct exchange *exchange);
