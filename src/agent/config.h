/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/reconcile.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "ipc/diagnostic.h"

#define CONFIG_PATH        "/etc/affix/agent.yaml"
#define CONFIG_SIZE_MAX    65536U
#define CONFIG_DIGEST_SIZE 32U

enum config_transport {
	CONFIG_TRANSPORT_AUTO, /* WebSocket, HTTP where the server does not speak it */
	CONFIG_TRANSPORT_WEBSOCKET,
	CONFIG_TRANSPORT_HTTP,
	CONFIG_TRANSPORT_N,
};

/* agent.yaml(5), defaults filled in. Texts may be NULL where said. */
struct config {
	char *url; /* https:// or http://, whatever the file says */
	enum config_transport transport;
	bool plaintext;
	char *proxy;              /* or NULL: the environment's */
	char *ca_file;            /* or NULL: the system's */
	char *client_certificate; /* with client_key, or NULL */
	char *client_key;
	char *token_file; /* or NULL */
	json_t *labels;   /* {KEY: VALUE} */
	uint64_t heartbeat_seconds;
	uint64_t status_seconds;
	uint64_t drift_seconds;
	uint64_t reconnect_max_seconds;
	struct reconcile_policy policy;
	struct strv download_origins; /* besides the server's own: https://HOST[:PORT] */
	uint64_t download_max_bytes;
	uint64_t download_min_speed;    /* bytes per second */
	uint64_t download_slow_seconds; /* how long less is borne */
	uint64_t download_max_seconds;
	uint64_t download_keep_free; /* bytes of the file system */
};

/* Parses the file's text; all that is wrong is added to *diagnostics* under the name *file*. 0; 1
 * with diagnostics; -errno. */
must_check int config_parse(const char *text, size_t size, const char *file, struct config **ret,
			    struct diagnostics *diagnostics);
/* The same for the file *path*. -errno if it cannot be read. */
must_check int config_load(const char *path, struct config **ret, struct diagnostics *diagnostics);
/* A digest of all that a connection to the server depends on, with what is in the files named. */
void config_digest_server(const struct config *config, uint8_t ret[CONFIG_DIGEST_SIZE]);
struct config *config_free(struct config *config);

DEFINE_CLEANUP(struct config *, config, config_free)
#define cleanup_config CLEANUP(cleanup_config)
