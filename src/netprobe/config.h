/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <netprobe.pb-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "netprobe/collector.h"

#define CONFIG_SIZE_MAX       262144U
#define CONFIG_WHY_MAX        320U
#define CONFIG_HASH_SIZE      17U
#define CONFIG_FLOWS          65536U /* per capture interface, or at all without one */
#define CONFIG_FLOWS_MAX      4194304U
#define CONFIG_WINDOW_MS      120000U
#define CONFIG_SNAPSHOT_S     10U
#define CONFIG_INTERFACES_MAX 64U

enum config_condition {
	CONFIG_E_BAD = 1,
};

/* affix-netprobe(8), CONFIGURATION. Whatever says it, a file or a client: this is what is meant. */
struct config {
	bool enabled;
	bool batch; /* events come in batches, and not each for itself */
	bool raw;   /* events of flows are sent at all, and not only matches of external ones */
	uint32_t flow_table_max_entries; /* 0: config_flows_max() */
	uint32_t process_snapshot_interval_s;
	uint32_t external_flow_match_window_ms;
	enum collector_tier tier_max;
	uint32_t diag_interval_ms;
	char *collector_ip; /* or NULL */
	/* Packet evidence: checked and kept, without effect yet. */
	struct strv capture_interfaces;
	struct strv device_bindings; /* their addresses */
	uint32_t default_sample_interval_ms;
	bool dpi_enabled;
	struct strv dpi_protocols;
};

struct config *config_free(struct config *config);

DEFINE_CLEANUP(struct config *, config, config_free)
#define cleanup_config CLEANUP(cleanup_config)

/* The configuration of {}. NULL: no memory. */
struct config *config_new(void);

/* 0; CONFIG_E_BAD with a sentence in *why*; -ENOMEM. */
must_check int config_parse(const char *text, size_t size, struct config **ret,
			    char why[CONFIG_WHY_MAX]);
must_check int config_from_wire(const Netprobe__VisibilityAgentConfig *message, struct config **ret,
				char why[CONFIG_WHY_MAX]);
/* The file *path*. Also -errno where it cannot be read. */
must_check int config_load(const char *path, struct config **ret, char why[CONFIG_WHY_MAX]);

/* What the keys must be, wherever they come from. 0 or CONFIG_E_BAD. */
must_check int config_check(const struct config *config, char why[CONFIG_WHY_MAX]);
/* Whether *to* can follow *from* while a collector is open. 0, or CONFIG_E_BAD: *why* names the key
 * that only a restart changes. */
must_check int config_check_change(const struct config *from, const struct config *to,
				   char why[CONFIG_WHY_MAX]);

uint32_t config_flows_max(const struct config *config);
/* The same for what means the same. */
void config_hash(const struct config *config, char hash[CONFIG_HASH_SIZE]);
/* Whether it asks for what this version does not do. */
bool config_wants_packets(const struct config *config);
