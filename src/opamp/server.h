/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "opamp/decode.h"

/* A ServerToAgent as plain values; everything is borrowed for the length of a call. Texts that are
 * NULL are left out. */
struct opamp_bytes {
	const void *data;
	size_t size;
};

struct opamp_header {
	const char *key;
	const char *value;
};

struct opamp_package {
	const char *name;
	const char *version;
	const char *url; /* absolute, or beginning with '/' for the server's own address */
	struct opamp_bytes content_hash;
	struct opamp_bytes signature;
	struct opamp_bytes hash;
	const struct opamp_header *headers;
	size_t n_headers;
};

struct opamp_config {
	const char *name;
	const char *content_type;
	struct opamp_bytes body;
};

/* New settings for the connection: a credential, and how often to be heard of. */
struct opamp_settings {
	struct opamp_bytes hash;
	const char *endpoint;
	const char *authorization;  /* value of the header, "Bearer …" */
	uint64_t heartbeat_seconds; /* 0: no heartbeats */
};

struct opamp_failure {
	Opamp__Proto__ServerErrorResponseType type;
	const char *message;
	uint64_t retry_after_seconds; /* 0: not said */
};

struct opamp_offer {
	struct opamp_bytes uid;
	uint64_t capabilities;
	uint64_t flags;
	const struct opamp_failure *failure;   /* or NULL; then nothing else is sent but uid */
	const struct opamp_settings *settings; /* or NULL */
	bool has_packages;                     /* false: the field is absent, which means nothing */
	const struct opamp_package *packages;
	size_t n_packages;
	struct opamp_bytes all_packages_hash;
	bool has_config;
	const struct opamp_config *configs;
	size_t n_configs;
	struct opamp_bytes config_hash;
	struct opamp_bytes new_uid;
	const char *const *custom_capabilities;
	size_t n_custom_capabilities;
	const char *custom_capability; /* with type and data: a custom message */
	const char *custom_type;
	struct opamp_bytes custom_data;
};

#define OPAMP_OFFER_INIT     \
	(struct opamp_offer) \
	{                    \
	}

/* The bytes of the ServerToAgent behind *prefix* zero bytes. 0 or -ENOMEM; the caller frees *ret*.
 */
must_check int opamp_offer_compose(const struct opamp_offer *offer, size_t prefix, uint8_t **ret,
				   size_t *ret_size);
