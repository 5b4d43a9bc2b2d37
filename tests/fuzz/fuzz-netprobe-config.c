/* SPDX-License-Identifier: Apache-2.0 */

/* netprobe's configuration file: what is taken is within its bounds and means the same when it is
 * read again; what is not is refused with a sentence. */

#include <stdint.h>
#include <string.h>

#include "must.h"
#include "netprobe/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct config *config, const struct config *again)
{
	cleanup_config struct config *other = config_new();
	char why[CONFIG_WHY_MAX] = "";
	char first[CONFIG_HASH_SIZE];
	char second[CONFIG_HASH_SIZE];

	must(other != NULL && config_check(config, why) == 0);
	must(config_flows_max(config) > 0 && config->external_flow_match_window_ms > 0);
	must(config->capture_interfaces.count <= CONFIG_INTERFACES_MAX);
	must(config->tier_max > COLLECTOR_NONE && config->tier_max <= COLLECTOR_FULL);
	must(!config->dpi_enabled || config_wants_packets(config));
	config_hash(config, first);
	config_hash(again, second);
	must(strcmp(first, second) == 0 && config_check_change(config, again, why) == 0);
	must((config_check_change(other, config, why) == 0) == (why[0] == '\0'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_config struct config *config = NULL;
	cleanup_config struct config *again = NULL;
	char why[CONFIG_WHY_MAX] = "";
	int r = config_parse((const char *)data, size, &config, why);

	must(r >= 0 && (r == 0) == (why[0] == '\0') && (r == 0) == (config != NULL));
	must(strlen(why) < CONFIG_WHY_MAX);
	if (r != 0)
		return 0;
	must(config_parse((const char *)data, size, &again, why) == 0);
	check(config, again);
	return 0;
}
