/* SPDX-License-Identifier: Apache-2.0 */

/* addon.yaml from anybody: YAML, the table, the rules over several fields. */

#include <stdint.h>
#include <stdlib.h>

#include "manifest/manifest.h"
#include "manifest/version.h"

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
	cleanup_manifest struct manifest *manifest = NULL;
	int r;

	r = manifest_parse((const char *)data, size, MANIFEST_NAME, &manifest, &diagnostics);
	/* A manifest or a reason, never both, never neither. */
	if ((r == 0) != (manifest != NULL) || (r == 0) != (diagnostics.count == 0))
		abort();
	if (manifest && (!manifest_id_is_valid(manifest->id) || !manifest->run_as))
		abort();
	/* What affix itself is recorded as is no add-on's to take. */
	if (manifest &&
	    (manifest_id_is_own(manifest->id) || !manifest_id_is_recorded(manifest->id)))
		abort();
	if (manifest && version_compare(manifest->version, "1.0.0-rc.1.2") !=
				-version_compare("1.0.0-rc.1.2", manifest->version))
		abort();
	if (manifest && (manifest_capability_mask(&manifest->os_capabilities) == 0) !=
				(manifest->os_capabilities.count == 0))
		abort();
	return 0;
}
