/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the daemon is told to do. A file and a client fill the same struct, and the same rules judge
 * it, so that a host that was started with a configuration and one that was sent it do the same.
 */

#include "netprobe/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "netprobe/fnv.h"

#define WINDOW_MS_MAX   86400000U
#define SNAPSHOT_S_MAX  86400U
#define INTERVAL_MS_MIN 100U
#define INTERVAL_MS_MAX 60000U

struct config *config_new(void)
{
	struct config *config = malloc(sizeof(*config));

	if (config)
		*config = (struct config){
			.batch = true,
			.raw = true,
			.external_flow_match_window_ms = CONFIG_WINDOW_MS,
			.tier_max = COLLECTOR_FULL,
		};
	return config;
}

struct config *config_free(struct config *config)
{
	if (!config)
		return NULL;
	free(config->collector_ip);
	strv_done(&config->capture_interfaces);
	strv_done(&config->device_bindings);
	strv_done(&config->dpi_protocols);
	free(config);
	return NULL;
}

static int bad(char why[CONFIG_WHY_MAX], const char *key, const char *value, const char *expected)
{
	cleanup_free char *safe = str_escape(value, strlen(value), 64);

	(void)snprintf(why, CONFIG_WHY_MAX, "%s: '%s' %s", key, safe ? safe : "", expected);
	return CONFIG_E_BAD;
}

static int bad_number(char why[CONFIG_WHY_MAX], const char *key, uint32_t value, uint32_t min,
		      uint32_t max)
{
	(void)snprintf(why, CONFIG_WHY_MAX, "%s: %u is outside %u to %u", key, value, min, max);
	return CONFIG_E_BAD;
}

static bool is_interface(const char *name)
{
	size_t length = strlen(name);

	if (length == 0 || length >= IF_NAMESIZE || strcmp(name, "any") == 0 ||
	    strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return false;
	for (; *name; name++) {
		if (*name <= ' ' || *name > '~' || strchr("*/:", *name))
			return false;
	}
	return true;
}

static int check_interfaces(const struct config *config, char why[CONFIG_WHY_MAX])
{
	if (config->capture_interfaces.count > CONFIG_INTERFACES_MAX)
		return bad_number(why, "capture_interfaces",
				  (uint32_t)config->capture_interfaces.count, 0,
				  CONFIG_INTERFACES_MAX);
	for (size_t i = 0; i < config->capture_interfaces.count; i++) {
		if (!is_interface(config->capture_interfaces.items[i]))
			return bad(why, "capture_interfaces", config->capture_interfaces.items[i],
				   "is no name of one interface; list each by its name");
	}
	return 0;
}

static bool is_address(const char *text)
{
	uint8_t address[16];

	return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

int config_check(const struct config *config, char why[CONFIG_WHY_MAX])
{
	if (config->flow_table_max_entries > CONFIG_FLOWS_MAX)
		return bad_number(why, "flow_table_max_entries", config->flow_table_max_entries, 0,
				  CONFIG_FLOWS_MAX);
	if (config->process_snapshot_interval_s > SNAPSHOT_S_MAX)
		return bad_number(why, "process_snapshot_interval_s",
				  config->process_snapshot_interval_s, 0, SNAPSHOT_S_MAX);
	if (config->external_flow_match_window_ms > WINDOW_MS_MAX)
		return bad_number(why, "external_flow_match_window_ms",
				  config->external_flow_match_window_ms, 0, WINDOW_MS_MAX);
	if (config->diag_interval_ms != 0 && (config->diag_interval_ms < INTERVAL_MS_MIN ||
					      config->diag_interval_ms > INTERVAL_MS_MAX))
		return bad_number(why, "diag_interval_ms", config->diag_interval_ms,
				  INTERVAL_MS_MIN, INTERVAL_MS_MAX);
	if (config->collector_ip && !is_address(config->collector_ip))
		return bad(why, "collector_ip", config->collector_ip, "is no IP address");
	for (size_t i = 0; i < config->device_bindings.count; i++) {
		if (!is_address(config->device_bindings.items[i]))
			return bad(why, "device_bindings", config->device_bindings.items[i],
				   "is no IP address");
	}
	return check_interfaces(config, why);
}

/* Whether both name the same ones, in whatever order and however often. */
static bool is_same_set(const struct strv *a, const struct strv *b)
{
	for (size_t i = 0; i < a->count; i++) {
		if (!strv_has(b, a->items[i]))
			return false;
	}
	for (size_t i = 0; i < b->count; i++) {
		if (!strv_has(a, b->items[i]))
			return false;
	}
	return true;
}

static int refuse_number(char why[CONFIG_WHY_MAX], const char *key, uint32_t from, uint32_t to)
{
	(void)snprintf(why, CONFIG_WHY_MAX,
		       "%s can only be changed by a restart: %u is in force, %u was asked for", key,
		       from, to);
	return CONFIG_E_BAD;
}

int config_check_change(const struct config *from, const struct config *to,
			char why[CONFIG_WHY_MAX])
{
	if (config_flows_max(from) != config_flows_max(to))
		return refuse_number(why, "flow_table_max_entries", config_flows_max(from),
				     config_flows_max(to));
	if (from->diag_interval_ms != to->diag_interval_ms)
		return refuse_number(why, "diag_interval_ms", from->diag_interval_ms,
				     to->diag_interval_ms);
	if (from->tier_max != to->tier_max) {
		(void)snprintf(
			why, CONFIG_WHY_MAX,
			"tier_max can only be changed by a restart: '%s' is in force, '%s' was "
			"asked for",
			collector_tier_name(from->tier_max), collector_tier_name(to->tier_max));
		return CONFIG_E_BAD;
	}
	if (!is_same_set(&from->capture_interfaces, &to->capture_interfaces)) {
		(void)snprintf(why, CONFIG_WHY_MAX,
			       "capture_interfaces can only be changed by a restart");
		return CONFIG_E_BAD;
	}
	return 0;
}

uint32_t config_flows_max(const struct config *config)
{
	if (config->flow_table_max_entries != 0)
		return config->flow_table_max_entries;
	return CONFIG_FLOWS * (uint32_t)MAX((size_t)1, config->capture_interfaces.count);
}

static uint64_t hash_list(uint64_t hash, const struct strv *list)
{
	for (size_t i = 0; i < list->count; i++)
		hash = fnv_add(hash, list->items[i], strlen(list->items[i]) + 1);
	return fnv_add(hash, "", 1);
}

void config_hash(const struct config *config, char hash[CONFIG_HASH_SIZE])
{
	const uint32_t numbers[] = {
		config->enabled,
		config->batch,
		config->raw,
		config_flows_max(config),
		config->process_snapshot_interval_s,
		config->external_flow_match_window_ms,
		(uint32_t)config->tier_max,
		config->diag_interval_ms,
		config->default_sample_interval_ms,
		config->dpi_enabled,
	};
	uint64_t sum = fnv_add(FNV_INIT, numbers, sizeof(numbers));

	if (config->collector_ip)
		sum = fnv_add(sum, config->collector_ip, strlen(config->collector_ip));
	sum = hash_list(sum, &config->capture_interfaces);
	sum = hash_list(sum, &config->device_bindings);
	sum = hash_list(sum, &config->dpi_protocols);
	fnv_format(sum, hash);
}

bool config_wants_packets(const struct config *config)
{
	return config->capture_interfaces.count > 0 || config->device_bindings.count > 0 ||
	       config->dpi_enabled;
}
