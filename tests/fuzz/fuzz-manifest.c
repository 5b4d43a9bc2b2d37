/* SPDX-License-Identifier: Apache-2.0 */

/* addon.yaml from anybody: YAML, the table, the rules over several fields. */

#include <stdint.h>
#include <stdlib.h>

#include "manifest/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
	return 0;
}
