/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "opamp/client.h"

#define STATE_PATH           "/var/lib/affix/agent"
#define STATE_CREDENTIAL_MAX 4096U

/* Names in the state directory. */
#define STATE_OFFER      "offer.json"
#define STATE_MEMORY     "memory.json"
#define STATE_BUNDLES    "bundles"
#define STATE_CREDENTIAL "credential"
#define STATE_CANDIDATE  "credential.new"

/*
 * The agent's directory. Files are replaced whole and synced, and hold one thing each; one that
 * cannot be read is as if it were not there, so that a damaged disk costs a memory and not the
 * agent.
 */

must_check int state_open(const char *path, int *ret_dirfd);
/* 0 also if it is there. */
must_check int state_make_bundles(int dirfd);

/* The instance UID, a UUID of version 7. Where there is none, a new one is made, and yet to be
 * stored. */
must_check int state_load_uid(int dirfd, uint8_t ret[OPAMP_UID_SIZE], bool *ret_is_new);
must_check int state_store_uid(int dirfd, const uint8_t uid[OPAMP_UID_SIZE]);
/* "01890a5d-ac96-774b-bcce-b302099a8057" */
#define STATE_UID_TEXT_SIZE 37U
void state_format_uid(const uint8_t uid[OPAMP_UID_SIZE], char text[STATE_UID_TEXT_SIZE]);

/* A line of text, 0600: STATE_CREDENTIAL, STATE_CANDIDATE. NULL in *ret* if there is none. */
must_check int state_load_secret(int dirfd, const char *name, char **ret);
must_check int state_store_secret(int dirfd, const char *name, const char *secret);
/* 0 also if it was not there. */
must_check int state_remove(int dirfd, const char *name);

/* A JSON object; NULL in *ret* if there is none or it is damaged. */
must_check int state_load_json(int dirfd, const char *name, json_t **ret);
must_check int state_store_json(int dirfd, const char *name, const json_t *json);
