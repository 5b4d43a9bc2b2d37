/* SPDX-License-Identifier: Apache-2.0 */

/* The audit log: a table that is only ever added to. */

#include "control/audit.h"

#include <errno.h>

int audit_add(struct store *store, const struct audit_actor *actor, const char *action,
	      const char *object, const json_t *before, const json_t *after)
{
	cleanup_free char *before_text = NULL;
	cleanup_free char *after_text = NULL;

	if (before)
		before_text = json_dumps(before, JSON_COMPACT);
	if (after)
		after_text = json_dumps(after, JSON_COMPACT);
	if ((before && !before_text) || (after && !after_text))
		return -ENOMEM;
	return store_run(store,
			 "INSERT INTO audit (time, who, peer, action, object, before, after) "
			 "VALUES ($1, $2, $3, $4, $5, $6, $7)",
			 STORE_INT(actor->time), STORE_TEXT(actor->who),
			 STORE_TEXT(actor->peer ? actor->peer : ""), STORE_TEXT(action),
			 STORE_TEXT(object), STORE_TEXT(before_text), STORE_TEXT(after_text));
}
