/* SPDX-License-Identifier: Apache-2.0 */

/* `top`: the flows again and again. */

#include "netprobe/commands.h"

int command_top(const struct command_options *options)
{
	return command_flows(options);
}
