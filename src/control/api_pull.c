/* SPDX-License-Identifier: Apache-2.0 */

/* Import from a registry: all bundles of an add-on, or none. */

#include <errno.h>

#include "base/json.h"
#include "control/api_call.h"
#include "control/package.h"
#include "control/package_arrival.h"

static int take_in(struct api_call *call, const struct package_arrival *bundle, json_t *items,
		   int64_t *last)
{
	json_t *object = NULL;
	int64_t id = 0;
	int r;

	r = package_import(call->fleet, bundle, &call->actor, &id, &call->problem);
	/* Bundles of one package are one item, and it says what platforms it has. */
	if (r == 0 && id == *last)
		r = json_array_remove(items, json_array_size(items) - 1);
	if (r == 0)
		r = package_to_json(call->fleet, id, &object);
	*last = id;
	return r == 0 ? json_append(items, object) : r;
}

static int import(struct api_call *call, const struct package_arrival *arrival)
{
	cleanup_json json_t *items = json_array();
	int64_t last = 0;
	int r = items ? arrival->result : -ENOMEM;

	if (r > 0)
		call->problem = arrival->problem;
	for (const struct package_arrival *bundle = arrival->next; bundle && r == 0;
	     bundle = bundle->next)
		r = take_in(call, bundle, items, &last);
	if (r == 0)
		r = audit_add(call->fleet->store, &call->actor, "pull", arrival->pull->reference,
			      NULL, NULL);
	if (r == 0)
		r = package_keep(call->fleet, arrival);
	return r == 0 ? api_answer_list(call, TAKE_PTR(items), 0) : r;
}

static int begin(struct api_call *call, struct package_arrival **ret)
{
	const char *reference = NULL;
	int r;

	r = api_body_text(call, "reference", NULL, &reference);
	return r == 0 ? package_pull_new(call->fleet, reference, ret, &call->problem) : r;
}

int api_package_pull(struct api_call *call)
{
	static const char *const known[] = {"reference", NULL};
	int r = api_body_known(call, known);

	return r == 0 ? api_import(call, begin, import) : r;
}
