/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A fleet in a directory of its own, with a clock that tests set, and what it said last. Every
 * answer of the REST API is held against docs/openapi.json. */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/json.h"
#include "bundle_maker.h"
#include "control/api.h"
#include "control/fleet.h"
#include "crypto/minisign.h"
#include "opamp/decode.h"

#define CONTROL_SAID_MAX 64U
/* Agents take packages, configuration, connection settings; send statuses, health, heartbeats. */
#define CONTROL_AGENT        0x3fffU
#define CONTROL_POLL_SECONDS 7U

struct control_said {
	uint64_t connection;
	unsigned status; /* of a refusal, else 0 */
	unsigned retry_after;
	uint8_t *data;
	size_t size;
};

struct control {
	char path[32];
	int dir;
	struct minisign_secret_key secret;
	struct fleet *fleet;
	struct control_said said[CONTROL_SAID_MAX];
	size_t n_said;
	char admin[80]; /* "Bearer …" */
	uint64_t next_connection;
	bool trust_certificates; /* from the next control_reopen() on, as the next one */
	unsigned audit_keep_days;
};

/* What their clock says. */
extern uint64_t control_time;
uint64_t control_clock(void);
void control_forget(struct control *c);
int control_try_open(struct control *c, char *problem);
void control_open(struct control *c);
/* As affixd killed and started again. */
void control_reopen(struct control *c);
int control_setup(void **state);
int control_teardown(void **state);
/* Asks the REST API; the answer's object (owned by the caller) or NULL without a body. */
json_t *control_ask_as(struct control *c, const char *authorization, const char *method,
		       const char *target, const char *body, unsigned *ret_status);
/* As the administrator, with success or not. */
json_t *control_ask(struct control *c, unsigned wanted, const char *method, const char *target,
		    const char *body);
/* The same, with nothing to look at. */
void control_do(struct control *c, unsigned wanted, const char *method, const char *target,
		const char *body);
/* Refused: the name of the error. */
void control_refused(struct control *c, unsigned wanted, const char *name, const char *method,
		     const char *target, const char *body);
const char *control_text(const json_t *json, const char *key);
int64_t control_number(const json_t *json, const char *key);
const json_t *control_item(const json_t *json, size_t index);
size_t control_count(const json_t *json);
/* A bundle of 'demo' as DATA/incoming/upload: what *maker* has, signed as *version* for *arch*. Its
 * signature, owned by the caller. */
char *control_spool(struct control *c, const struct bundle_maker *maker, const char *version,
		    const char *arch);
/* Uploads one. */
json_t *control_upload(struct control *c, unsigned wanted, const struct bundle_maker *maker,
		       const char *version, const char *arch);
void control_manifest(char *text, size_t size, const char *version, const char *requires_lines);
/* Imports and approves demo *version* for linux/amd64. */
void control_package(struct control *c, const char *version);

/* An agent of a test. */
struct control_agent {
	uint64_t connection;
	char authorization[80];
	uint8_t uid[16];
	uint64_t sequence;
	int64_t host;
	const char *name;
	const char *env;
	const char *arch;
	const char *certificate;
	bool is_polling;
};

void control_join_token(struct control *c, const char *body, char *ret, size_t size);
void control_hello(struct control *c, struct control_agent *agent);
/* What was said to this connection since the last control_forget(): the newest, or NULL. */
const struct control_said *control_last(const struct control *c, const struct control_agent *agent);
Opamp__Proto__ServerToAgent *control_decode(const struct control_said *said,
					    struct opamp_arena **ret_arena);
/* Sends a report with *parts* set by the caller, and flushes. */
void control_report(struct control *c, struct control_agent *agent, struct fleet_report *report);
void control_describe(struct control *c, struct control_agent *agent);
/* Enrols a new host and connects it with its credential. */
void control_enrol(struct control *c, struct control_agent *agent, const char *name);
/* The agent says *addon*, a JSON object, in its status message. */
void control_say(struct control *c, struct control_agent *agent, const char *addon);
/* The agent says that it runs demo *version* ("" none) in *state*. */
void control_say_status(struct control *c, struct control_agent *agent, const char *version,
			const char *state);
void control_tick(struct control *c);
