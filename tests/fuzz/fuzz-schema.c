/* SPDX-License-Identifier: Apache-2.0 */

/* A schema and, behind a line of dashes, a configuration: both from strangers. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "manifest/schema.h"

#define BORDER "\n---\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_diagnostics struct diagnostics problems = DIAGNOSTICS_INIT;
	cleanup_schema struct schema *schema = NULL;
	cleanup_json json_t *instance = NULL;
	const char *text = (const char *)data;
	const char *border = memmem(text, size, BORDER, strlen(BORDER));
	size_t schema_size = border ? (size_t)(border - text) : size;
	size_t at = border ? schema_size + strlen(BORDER) : size;
	char reason[128] = "";
	int r;

	r = schema_parse(text, schema_size, "x", &schema, &problems);
	/* A schema or a reason, never both, never neither. */
	if ((r == 0) != (schema != NULL) || (r == 0) != (problems.count == 0))
		abort();
	instance = json_loadb(text + at, size - at, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
	if (!schema || !instance)
		return 0;
	r = schema_validate(schema, instance, reason, sizeof(reason));
	if (r < 0 || (r == 0) != (reason[0] == '\0'))
		abort();
	return 0;
}
