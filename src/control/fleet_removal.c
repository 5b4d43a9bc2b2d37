/* SPDX-License-Identifier: Apache-2.0 */

/* Confirmed removals, bound to the offer that they were confirmed for: a later change of the offer
 * asks again, also where it is followed by the same offer once more. */

#include "control/fleet_removal.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "control/fleet_private.h"
#include "manifest/manifest.h"

#define HASH_TEXT (FLEET_HASH_SIZE * 2 + 1)

static int forget(struct fleet *fleet, int64_t host)
{
	int r = store_begin(fleet->store);

	return r == 0 ? store_run(fleet->store,
				  "UPDATE host SET removal_confirmed = NULL WHERE id = $1",
				  STORE_INT(host))
		      : r;
}

int fleet_removal_load(struct fleet *fleet, int64_t host, const uint8_t hash[FLEET_HASH_SIZE],
		       json_t **ret)
{
	cleanup_rows struct store_rows *rows = NULL;
	cleanup_json json_t *confirmed = NULL;
	char text[HASH_TEXT];
	bool row = false;
	int r;

	r = store_select(fleet->store, &rows,
			 "SELECT removal_confirmed FROM host WHERE id = $1 AND "
			 "removal_confirmed IS NOT NULL",
			 STORE_INT(host));
	if (r == 0)
		r = store_next(rows, &row);
	if (r != 0 || !row)
		return r;
	confirmed = json_loads(store_text(rows, 0), 0, NULL);
	(void)sodium_bin2hex(text, sizeof(text), hash, FLEET_HASH_SIZE);
	if (!str_equal(json_string_value(json_object_get(confirmed, "hash")), text))
		return forget(fleet, host);
	*ret = json_incref(json_object_get(confirmed, "addons"));
	return 0;
}

/* What the host has and is not offered. */
static int list_unoffered(struct fleet *fleet, int64_t host_id, json_t *list)
{
	cleanup_assign_host struct assign_host host = ASSIGN_HOST_INIT;
	const struct assign_catalog *catalog = NULL;
	cleanup_rows struct store_rows *rows = NULL;
	bool row = false;
	int r;

	r = fleet_catalog(fleet, &catalog);
	if (r == 0)
		r = assign_host_load(fleet->store, host_id, &host);
	if (r == 0)
		r = store_select(fleet->store, &rows,
				 "SELECT addon FROM observed WHERE host = $1 ORDER BY addon",
				 STORE_INT(host_id));
	while (r == 0) {
		struct assign_choice choice = {0};

		r = store_next(rows, &row);
		if (r != 0 || !row)
			break;
		r = assign_decide_one(catalog, fleet->store, &host, store_text(rows, 0), &choice);
		if (r == 0 && !assign_is_offered(&choice))
			r = json_append(list, json_string(store_text(rows, 0)));
	}
	return r;
}

static int read_list(const json_t *list, json_t *ret, struct api_problem *reterr)
{
	const json_t *item;
	size_t i;
	int r = 0;

	if (!json_is_array(list) || json_array_size(list) > 256)
		return api_refuse(reterr, 400, "bad-request", "/addons",
				  "expected a list of ids of add-ons");
	json_array_foreach(list, i, item)
	{
		const char *id = json_string_value(item);

		if (!id || !manifest_id_is_valid(id))
			return api_refuse(reterr, 400, "bad-request", "/addons",
					  "expected a list of ids of add-ons");
		if (r == 0)
			r = json_append(ret, json_string(id));
	}
	return r;
}

int fleet_confirm_removal(struct fleet *fleet, int64_t host, const json_t *list, json_t **ret,
			  struct api_problem *reterr)
{
	cleanup_json json_t *addons = json_array();
	cleanup_json json_t *confirmed = NULL;
	cleanup_free char *text = NULL;
	uint8_t hash[FLEET_HASH_SIZE];
	char hash_text[HASH_TEXT];
	int r;

	if (!addons)
		return -ENOMEM;
	r = list ? read_list(list, addons, reterr) : list_unoffered(fleet, host, addons);
	if (r == 0)
		r = fleet_offer_hash(fleet, host, hash);
	if (r != 0)
		return r;
	(void)sodium_bin2hex(hash_text, sizeof(hash_text), hash, sizeof(hash));
	confirmed = json_pack("{s:s, s:O}", "hash", hash_text, "addons", addons);
	text = confirmed ? json_dumps(confirmed, JSON_COMPACT) : NULL;
	if (!text)
		return -ENOMEM;
	r = store_run(fleet->store, "UPDATE host SET removal_confirmed = $1 WHERE id = $2",
		      STORE_TEXT(text), STORE_INT(host));
	fleet_offer_again(fleet, host);
	if (r == 0)
		*ret = json_pack("{s:I, s:O}", "host", (json_int_t)host, "addons", addons);
	return r == 0 && !*ret ? -ENOMEM : r;
}
