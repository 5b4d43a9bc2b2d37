/* SPDX-License-Identifier: Apache-2.0 */

/* updater.yaml: the administrator's, but a typing error must be told and not obeyed. */

#include <stdint.h>
#include <stdlib.h>

#include "manifest/host_policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_host_policy struct host_policy *policy = NULL;
	int r;

	r = host_policy_parse((const char *)data, size, "updater.yaml", &policy, &diagnostics);
	if ((r == 0) != (policy != NULL) || (r == 0) != (diagnostics.count == 0))
		abort();
	return 0;
}
