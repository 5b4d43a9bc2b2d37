/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Records, and the plans in them. Nothing may crash; and since there is one spelling of both, what
 * is accepted must be written again exactly as it was read.
 */

#include <stdint.h>
#include <stdlib.h>

#include "store/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_plan(const json_t *json)
{
	cleanup_plan struct plan *plan = NULL;
	cleanup_json json_t *again = NULL;
	struct json_problem problem;

	if (plan_from_json(json, &plan, &problem) != 0)
		return;
	again = plan_to_json(plan);
	if (!again || !json_equal(json, again) || !plan_primary(plan))
		abort();
}

static void try_record(const json_t *json)
{
	cleanup_record struct record *record = NULL;
	cleanup_json json_t *again = NULL;
	struct json_problem problem;

	if (record_from_json(json, &record, &problem) != 0)
		return;
	again = record_to_json(record);
	if (!again || !json_equal(json, again))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_json json_t *json = NULL;

	if (json_parse_object((const char *)data, size, &json, NULL) != 0)
		return 0;
	try_plan(json);
	try_record(json);
	return 0;
}
