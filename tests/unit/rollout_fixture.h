/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control_fixture.h"

/* Hosts of a rollout, and what they do while it goes on. */

#define ROLLOUT_HOSTS 4U

extern struct control_agent rollout_agents[ROLLOUT_HOSTS];

/* Hosts that run 1.0.0 by assignment 1; 2.0.0 is approved. */
void rollout_make_hosts(struct control *c);
/* Rollout 1, to 2.0.0; *rest* are more members of it. */
void rollout_start(struct control *c, const char *rest);
void rollout_is(struct control *c, const char *state, int64_t wave);
/* What a host is to run now. */
void rollout_wanted(struct control *c, size_t i, char ret[16]);
unsigned rollout_count_wanted(struct control *c, const char *version);
/* All hosts that are to run 2.0.0 say that they are in *state* with *version*; others live on. */
void rollout_follow(struct control *c, const char *version, const char *state);
void rollout_live_for(struct control *c, unsigned seconds);
