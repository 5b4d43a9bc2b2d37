/* SPDX-License-Identifier: Apache-2.0 */

/* What --filter and the filter of top choose: one text, sought in all that a row shows. */

#include "netprobe/filter.h"

#include <stdio.h>
#include <string.h>

bool filter_takes(const char *filter, const Netprobe__FlowAttributionEvent *flow)
{
	char numbers[64];

	if (!filter || *filter == '\0')
		return true;
	(void)snprintf(numbers, sizeof(numbers), ":%u :%u %u", flow->local_port, flow->remote_port,
		       flow->tgid);
	if (strcasestr(flow->comm, filter) || strcasestr(flow->container_id, filter) ||
	    strcasestr(flow->local_ip, filter) || strcasestr(flow->remote_ip, filter) ||
	    strcasestr(flow->transport_protocol, filter) || strstr(numbers, filter))
		return true;
	return flow->n_redacted_cmdline > 0 && strcasestr(flow->redacted_cmdline[0], filter);
}
