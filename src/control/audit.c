/* SPDX-License-Identifier: Apache-2.0 */

/* The audit log: a table that is only ever added to, but for what is older than it is kept. */

#include "control/audit.h"

#include <errno.h>

#include "base/clock.h"
#include "base/json.h"

#define BATCH 128

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

/* What the run removed before; 0, and *entry* 0, without an entry: it may have been taken back with
 * its transaction. */
static int load_count(struct store *store, int64_t *entry, int64_t *ret)
{
	cleanup_rows struct store_rows *rows = NULL;
	cleanup_json json_t *after = NULL;
	bool row = false;
	int r;

	*ret = 0;
	r = store_select(store, &rows, "SELECT after FROM audit WHERE id = $1 AND action = 'prune'",
			 STORE_INT(*entry));
	if (r == 0)
		r = store_next(rows, &row);
	if (r != 0)
		return r;
	if (!row) {
		*entry = 0;
		return 0;
	}
	after = json_loads(store_text(rows, 0), 0, NULL);
	*ret = json_integer_value(json_object_get(after, "rows"));
	return 0;
}

static int say_pruned(struct store *store, struct audit_prune *prune, uint64_t now, int64_t n)
{
	cleanup_json json_t *after = NULL;
	cleanup_free char *text = NULL;
	char until[CLOCK_TEXT_SIZE];
	int64_t before = 0;
	int r;

	r = load_count(store, &prune->entry, &before);
	if (r != 0)
		return r;
	clock_format(prune->until, until);
	after = json_pack("{s:I, s:s}", "rows", (json_int_t)before + n, "until", until);
	text = after ? json_dumps(after, JSON_COMPACT) : NULL;
	if (!text)
		return -ENOMEM;
	if (prune->entry != 0)
		return store_run(store, "UPDATE audit SET after = $1 WHERE id = $2",
				 STORE_TEXT(text), STORE_INT(prune->entry));
	return store_number(store, &prune->entry, 0,
			    "INSERT INTO audit (time, who, peer, action, object, after) "
			    "VALUES ($1, 'affixd', '', 'prune', 'audit log', $2) RETURNING id",
			    STORE_INT(now), STORE_TEXT(text));
}

int audit_prune(struct store *store, struct audit_prune *prune, uint64_t now, bool *ret_more)
{
	int64_t any = 0;
	int64_t n;
	int r;

	*ret_more = false;
	r = store_number(store, &any, 0, "SELECT 1 FROM audit WHERE time < $1 LIMIT 1",
			 STORE_INT(prune->until));
	if (r != 0 || any == 0)
		return r;
	r = store_begin(store);
	if (r == 0)
		r = store_run(store,
			      "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE time < $1 "
			      "ORDER BY time, id LIMIT $2)",
			      STORE_INT(prune->until), STORE_INT(BATCH));
	if (r != 0)
		return r;
	n = store_changes(store);
	*ret_more = n == BATCH;
	return say_pruned(store, prune, now, n);
}
