/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The configuration as a client sends it. Fields that are not given are what they are in {}: the
 * two truth values whose default is true are told apart from false by having been given at all.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "netprobe/config.h"
#include "netprobe/config_tier.h"

int config_tier_from_string(const char *text, enum collector_tier *ret)
{
	static const enum collector_tier tiers[] = {COLLECTOR_FULL, COLLECTOR_CGROUP,
						    COLLECTOR_DIAG};

	for (size_t i = 0; i < ARRAY_SIZE(tiers); i++) {
		if (strcmp(text, collector_tier_name(tiers[i])) == 0) {
			*ret = tiers[i];
			return 0;
		}
	}
	return -EINVAL;
}

static int copy_list(char *const *items, size_t n, struct strv *list)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = strv_add(list, items[i]);
	return r;
}

static int copy_texts(const Netprobe__VisibilityAgentConfig *message, struct config *config)
{
	int r = copy_list(message->capture_interfaces, message->n_capture_interfaces,
			  &config->capture_interfaces);

	for (size_t i = 0; r == 0 && i < message->n_device_bindings; i++)
		r = strv_add(&config->device_bindings, message->device_bindings[i]->ip);
	if (r == 0 && message->dpi)
		r = copy_list(message->dpi->protocols, message->dpi->n_protocols,
			      &config->dpi_protocols);
	if (r == 0 && message->collector_ip[0] != '\0') {
		config->collector_ip = strdup(message->collector_ip);
		r = config->collector_ip ? 0 : -ENOMEM;
	}
	return r;
}

int config_from_wire(const Netprobe__VisibilityAgentConfig *message, struct config **ret,
		     char why[CONFIG_WHY_MAX])
{
	cleanup_config struct config *config = config_new();
	int r;

	if (!config)
		return -ENOMEM;
	if (message->tier_max[0] != '\0' &&
	    config_tier_from_string(message->tier_max, &config->tier_max) < 0) {
		(void)snprintf(why, CONFIG_WHY_MAX,
			       "tier_max: expected 'full', 'cgroup' or 'diag'");
		return CONFIG_E_BAD;
	}
	config->enabled = message->enabled;
	if (message->batch_case ==
	    NETPROBE__VISIBILITY_AGENT_CONFIG__BATCH_FLOW_ATTRIBUTION_IPC_BATCH)
		config->batch = message->flow_attribution_ipc_batch;
	if (message->raw_case ==
	    NETPROBE__VISIBILITY_AGENT_CONFIG__RAW_EMIT_RAW_FLOW_ATTRIBUTION_EVENTS)
		config->raw = message->emit_raw_flow_attribution_events;
	config->flow_table_max_entries = message->flow_table_max_entries;
	config->process_snapshot_interval_s = message->process_snapshot_interval_s;
	if (message->external_flow_match_window_ms != 0)
		config->external_flow_match_window_ms = message->external_flow_match_window_ms;
	config->diag_interval_ms = message->diag_interval_ms;
	config->default_sample_interval_ms = message->default_sample_interval_ms;
	config->dpi_enabled = message->dpi && message->dpi->enabled;
	r = copy_texts(message, config);
	if (r == 0)
		r = config_check(config, why);
	if (r == 0)
		*ret = TAKE_PTR(config);
	return r;
}
