/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"

struct curl;

/* A client of affixd's REST API. */
struct fleet_client {
	const struct curl *curl;
	void *handle; /* of libcurl */
	char *server;
	char *token;
	char *ca_file;
	bool is_patient; /* answers may take as long as an upload */
};

/*
 * Finds server, token and authority: from the command line (NULL: not there), the environment
 * (AFFIX_SERVER, AFFIX_TOKEN_FILE), or fleet.yaml in the user's configuration directory, in this
 * order. COMMAND_DONE, or another exit code after saying what is wrong.
 */
int fleet_client_open(struct fleet_client *client, const char *server, const char *token_file,
		      const char *ca_file);
void fleet_client_done(struct fleet_client *client);

/*
 * One request; *path* with its query begins with '/'. *body* may be NULL. COMMAND_DONE and the
 * answer (an empty object where there is none; the caller owns it), or what is to be exited with
 * after one line on stderr.
 */
int fleet_client_call(struct fleet_client *client, const char *method, const char *path,
		      const json_t *body, json_t **ret);
/* POST of a file's bytes. */
int fleet_client_upload(struct fleet_client *client, const char *path, int fd, uint64_t size,
			json_t **ret);
