/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Records, and the plans in them. Nothing may crash; and since there is one spelling of both, what
 * is accepted must be written again exactly as it was read.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "store/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What else is known of an accepted plan: its digest is that of its bytes, its paths are its id's.
 */
static void check_plan(const struct plan *plan)
{
	cleanup_free char *path = plan_version_path(plan);
	cleanup_plan struct plan *again = NULL;
	const char *text = plan_config_text(plan);
	struct digest digest;
	struct digest twin;

	if (plan_clone(plan, &again) != 0 || plan_digest(plan, &digest) != 0 ||
	    plan_digest(again, &twin) != 0 || !digest_is_equal(&digest, &twin))
		abort();
	if (!path || !str_starts_with(path, "/opt/affix/") || strstr(path, "..") ||
	    (text && !plan_config_text(again)))
		abort();
}

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
	check_plan(plan);
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

	if (json_parse_kept((const char *)data, size, &json, NULL) != 0)
		return 0;
	try_plan(json);
	try_record(json);
	return 0;
}
