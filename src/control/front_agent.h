/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/front_http.h"

/* Agents: OpAMP over WebSocket and over HTTP, one struct agent for each. */

/* The head of a WebSocket came. Non-zero: it is none of ours, or not now, and was told so. */
int agent_filter(struct front *front, struct lws *wsi);
/* A WebSocket was opened. Non-zero: close it. */
int agent_open(struct front *front, struct lws *wsi, struct front_session *session);
/* Bytes of a message. Non-zero: close. */
int agent_receive(struct agent *agent, const void *data, size_t size);
/* The WebSocket takes a message. Non-zero: close. */
int agent_write(struct agent *agent);
/* The peer answered a ping. */
void agent_alive(struct agent *agent);
/* The WebSocket is closed. */
void agent_closed(struct front_session *session);

/* A whole OpAMP message came as an HTTP request. */
void agent_poll(struct exchange *exchange);
/* The exchange that waits for the agent's message ends without it. */
void agent_forget_exchange(struct exchange *exchange);
/* It has waited long enough: the agent gets an empty message. */
void agent_poll_expired(struct exchange *exchange);

/* What the store says. */
void agent_on_message(struct front *front, const Link__AgentMessage *message);
void agent_on_refuse(struct front *front, const Link__AgentRefuse *refuse);
void agent_on_revoked(struct front *front, const Link__Revoked *revoked);

/* Once a second: half-open connections, agents that poll no more, and what was heard. */
void agent_sweep(struct front *front);
/* Closes the WebSockets for which that was decided. Outside of callbacks of libwebsockets: where
 * one for writing asks for it, it closes without a close frame. */
void agent_close_decided(struct front *front);
/* Tells all agents over what time to come back, and closes their WebSockets. */
void agent_close_all(struct front *front);
