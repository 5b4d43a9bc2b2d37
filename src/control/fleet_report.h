/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What hosts say, decoded. Everything is borrowed for the length of a call. */
#define FLEET_UID_SIZE 16U

/* The first message of a connection. All strings may be NULL. */
struct fleet_hello {
	uint64_t connection;
	uint8_t instance_uid[FLEET_UID_SIZE];
	const char *authorization; /* the header's value */
	const char *peer;          /* address, for the audit log */
	const char *transport;     /* "ws" or "http" */
	const char *certificate_name;
	const char *base_url; /* how it reached us: "https://fleet.example:4320" */
};

/* An attribute of the agent's description, its value as text. */
struct fleet_attribute {
	const char *key;
	const char *value;
	bool identifying;
};

/* One component of the health tree, parents before children. */
struct fleet_health {
	const char *component; /* "" for the agent itself, else the map key: the add-on's id */
	bool healthy;
	const char *status;     /* or NULL */
	const char *last_error; /* or NULL */
	uint64_t start_time;    /* nanoseconds since 1970, 0: unknown */
};

struct fleet_bytes {
	const void *data;
	size_t size;
};

struct fleet_package_status {
	const char *name;
	const char *has_version;
	struct fleet_bytes has_hash;
	const char *offered_version;
	struct fleet_bytes offered_hash;
	unsigned status; /* OpAMP's PackageStatusEnum */
	const char *error;
};

struct fleet_config_entry {
	const char *name;
	const char *content_type;
	struct fleet_bytes body;
};

/* One AgentToServer, decoded. What is not present was not in the message: it did not change. */
struct fleet_report {
	uint64_t connection;
	uint64_t sequence;
	bool is_after_gap; /* messages were lost: it does not follow the connection's last one,
			    * heartbeats that the front answered included */
	uint64_t capabilities;
	uint64_t flags;
	bool has_description;
	const struct fleet_attribute *attributes;
	size_t n_attributes;
	bool has_health;
	const struct fleet_health *health;
	size_t n_health;
	bool has_config_status;
	struct fleet_bytes config_hash; /* last_remote_config_hash */
	unsigned config_status;         /* OpAMP's RemoteConfigStatuses */
	const char *config_error;
	bool has_effective_config;
	const struct fleet_config_entry *effective_config;
	size_t n_effective_config;
	bool has_packages;
	struct fleet_bytes packages_hash; /* server_provided_all_packages_hash */
	const char *packages_error;
	const struct fleet_package_status *packages;
	size_t n_packages;
	bool has_custom_capabilities;
	const char *const *custom_capabilities;
	size_t n_custom_capabilities;
	bool has_custom_message;
	const char *custom_capability;
	const char *custom_type;
	struct fleet_bytes custom_data;
	bool disconnect;
};
