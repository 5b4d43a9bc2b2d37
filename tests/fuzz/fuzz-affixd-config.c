/* SPDX-License-Identifier: Apache-2.0 */

/* affixd.yaml: what is taken is complete and within its bounds, and can be judged as a whole. */

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "control/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_config struct config *config = NULL;
	char *address = NULL;
	char *port = NULL;
	int r;

	if (size > CONFIG_SIZE_MAX)
		return 0;
	must(config_default(&config) == 0);
	r = config_parse((const char *)data, size, "affixd.yaml", config, &diagnostics);
	must((r == 0) == (diagnostics.count == 0));
	if (r != 0)
		return 0;
	must(config->fronts >= 1 && config->fronts <= CONFIG_FRONTS_MAX);
	must(config->heartbeat_seconds > 0 && config->messages_per_second > 0);
	must(config_split_listen(config->listen, &address, &port) == 0);
	free(address);
	free(port);
	return 0;
}
