/* SPDX-License-Identifier: Apache-2.0 */

/* updater.yaml: the administrator's, but a typing error must be told and not obeyed. */

#include <stdint.h>
#include <stdlib.h>

#include "manifest/host_policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): the sanitizer's name */
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7.12 loses a kilobyte of its own when a quoted text ends in nonsense. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml";
}

/* NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming) */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_host_policy struct host_policy *policy = NULL;
	int r;

	r = host_policy_parse((const char *)data, size, "updater.yaml", &policy, &diagnostics);
	if ((r == 0) != (policy != NULL) || (r == 0) != (diagnostics.count == 0))
		abort();
	for (size_t i = 0; policy && i < policy->n_users; i++) {
		if (!host_policy_allows_user(policy, policy->users[i].id, policy->users[i].user))
			abort();
	}
	return 0;
}
