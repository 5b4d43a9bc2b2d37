/* SPDX-License-Identifier: Apache-2.0 */

/* Results as a client and a record read them: what is accepted is written as it was read. */

#include <assert.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "ipc/result.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_result struct result result = RESULT_INIT;
	cleanup_json json_t *json = NULL;
	cleanup_json json_t *again = NULL;
	int code;

	if (json_parse_object((const char *)data, size, &json, NULL) != 0)
		return 0;
	if (result_from_json(json, &result) != 0)
		return 0;
	code = result_exit_code(&result);
	assert(code == 0 || code == 1 || code == 3 || code == 4);
	again = result_to_json(&result);
	assert(again && json_equal(json, again));
	return 0;
}
