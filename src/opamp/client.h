/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "opamp/decode.h"

#define OPAMP_UID_SIZE 16U

/* What an agent tells of itself. A part is told once and again only when it is another. */
enum opamp_part {
	OPAMP_PART_DESCRIPTION,                /* AgentDescription */
	OPAMP_PART_HEALTH,                     /* ComponentHealth */
	OPAMP_PART_EFFECTIVE_CONFIG,           /* EffectiveConfig */
	OPAMP_PART_REMOTE_CONFIG_STATUS,       /* RemoteConfigStatus */
	OPAMP_PART_PACKAGE_STATUSES,           /* PackageStatuses */
	OPAMP_PART_CUSTOM_CAPABILITIES,        /* CustomCapabilities */
	OPAMP_PART_CUSTOM_MESSAGE,             /* CustomMessage: the newest one only */
	OPAMP_PART_CONNECTION_SETTINGS_STATUS, /* ConnectionSettingsStatus */
	OPAMP_PART_N,
};

/*
 * The agent's end of the protocol as a state machine without a transport: it numbers messages,
 * knows what the server was told, and what has changed since.
 */
struct opamp_client;

struct opamp_client *opamp_client_new(const uint8_t uid[OPAMP_UID_SIZE], uint64_t capabilities);
struct opamp_client *opamp_client_free(struct opamp_client *client);

DEFINE_CLEANUP(struct opamp_client *, opamp_client, opamp_client_free)
#define cleanup_opamp_client CLEANUP(cleanup_opamp_client)

/* Sets a part from its message (the type that the enum names). 0 or -ENOMEM. */
must_check int opamp_client_set(struct opamp_client *client, enum opamp_part part,
				const void *message);

/* Whether a message has something to tell that a heartbeat has not. */
bool opamp_client_has_news(const struct opamp_client *client);

/*
 * The next AgentToServer behind *prefix* zero bytes: what changed since the last one; a heartbeat
 * if nothing did. It counts as told: if it does not arrive, call opamp_client_restart(). 0 or
 * -ENOMEM. The caller frees *ret*.
 */
must_check int opamp_client_compose(struct opamp_client *client, size_t prefix, uint8_t **ret,
				    size_t *ret_size);
/* The last message of a connection, AgentDisconnect. */
must_check int opamp_client_compose_disconnect(struct opamp_client *client, size_t prefix,
					       uint8_t **ret, size_t *ret_size);

/* A connection begins, or a message was lost: the next message tells everything. */
void opamp_client_restart(struct opamp_client *client);

/* Heeds what concerns the protocol itself in *message*: ReportFullState and a new instance UID
 * (*ret_uid_changed*). 0; 1 where it is for another instance or has a UID of the wrong size. */
must_check int opamp_client_handle(struct opamp_client *client,
				   const Opamp__Proto__ServerToAgent *message,
				   bool *ret_uid_changed);
const uint8_t *opamp_client_uid(const struct opamp_client *client);
