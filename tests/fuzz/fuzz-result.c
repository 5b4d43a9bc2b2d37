/* SPDX-License-Identifier: Apache-2.0 */

/* Results as a client and a record read them: what is accepted is written as it was read. */

#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"
#include "ipc/result.h"
#include "must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a refusal or an error says is told without its control characters, and can be read back. */
static void check_message(struct result *result)
{
	cleanup_result struct result again = RESULT_INIT;
	cleanup_json json_t *json = result_to_json(result);

	for (const char *p = result->message; *p; p++)
		must((unsigned char)*p >= ' ');
	must(json && result_from_json(json, &again) == 0);
	must(strcmp(again.message, result->message) == 0);
}

static void check_text(const uint8_t *data, size_t size)
{
	cleanup_result struct result result = RESULT_INIT;
	struct refusal refusal = REFUSAL_INIT;

	(void)refuse(&refusal, REFUSAL_BUSY, "%.*s", (int)MIN(size, 4096U), (const char *)data);
	result.verb = strdup("status");
	must(result.verb && result_set_refusal(&result, &refusal) == 0);
	check_message(&result);
	must(result_set(&result, RESULT_FAILED, "error", "%s", refusal.text) == 0);
	check_message(&result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_result struct result result = RESULT_INIT;
	cleanup_json json_t *json = NULL;
	cleanup_json json_t *again = NULL;
	int code;

	check_text(data, size);
	if (json_parse_object((const char *)data, size, &json, NULL) != 0)
		return 0;
	if (result_from_json(json, &result) != 0)
		return 0;
	code = result_exit_code(&result);
	must(code == 0 || code == 1 || code == 3 || code == 4);
	again = result_to_json(&result);
	must(again && json_equal(json, again));
	return 0;
}
