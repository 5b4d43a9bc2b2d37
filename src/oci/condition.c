/* SPDX-License-Identifier: Apache-2.0 */

/* The names of what can be wrong with images and registries: what scripts match on. */

#include "oci/condition.h"

#include <assert.h>

static const char *const names[] = {
	[OCI_NONE] = "none",
	[OCI_BAD_REFERENCE] = "bad-reference",
	[OCI_BAD_IMAGE] = "bad-image",
	[OCI_BAD_DIGEST] = "bad-digest",
	[OCI_NO_PLATFORM] = "no-platform",
	[OCI_NOT_FOUND] = "not-found",
	[OCI_UNAUTHORIZED] = "unauthorized",
	[OCI_BAD_CREDENTIALS] = "bad-credentials",
	[OCI_UNTRUSTED_SERVER] = "untrusted-server",
	[OCI_REGISTRY_REFUSED] = "registry-refused",
	[OCI_UNREACHABLE] = "unreachable",
	[OCI_NO_SPACE] = "no-space",
	[OCI_BUSY] = "busy",
};

static_assert(ARRAY_SIZE(names) == OCI_CONDITION_N, "every condition has a name");

const char *oci_condition_to_string(enum oci_condition code)
{
	return names[code > OCI_NONE && code < OCI_CONDITION_N ? code : OCI_NONE];
}

bool oci_condition_is_transient(enum oci_condition code)
{
	return code == OCI_UNREACHABLE || code == OCI_BUSY;
}
