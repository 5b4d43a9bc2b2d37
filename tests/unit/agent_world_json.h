/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/reconcile.h"

/* A host, a server and an administrator, as few lines of JSON each. */

#define WORLD_DELAY 900U
#define WORLD_MASS  86400U

struct world {
	struct offer offer;
	struct overrides overrides;
	struct host host;
	struct memory memory;
	struct desired desired;
	struct reconcile_policy policy;
	struct reconcile_result result;
	uint64_t now;
	uint64_t connection;
};

static inline json_t *world_json(const char *text)
{
	json_error_t error;
	json_t *json = json_loads(text, 0, &error);

	if (!json)
		fail_msg("%s: %s", error.text, text);
	return json;
}

/* The server offers these add-ons, each as ID or ID=VERSION; NULL ends. */
static inline void world_offer(struct world *world, const char *const *ids)
{
	json_t *items = json_object();

	for (; *ids; ids++) {
		char id[32];
		char version[32] = "1.0.0";
		char hash[64];
		char url[80];

		(void)snprintf(id, sizeof(id), "%s", *ids);
		if (strchr(id, '=')) {
			(void)snprintf(version, sizeof(version), "%s", strchr(id, '=') + 1);
			*strchr(id, '=') = '\0';
		}
		(void)snprintf(hash, sizeof(hash), "%s%s", id, version);
		(void)snprintf(url, sizeof(url), "/a/%s/%s", id, version);
		(void)json_object_set_new(items, id,
					  json_pack("{s:s,s:s,s:s,s:s,s:s,s:{}}", "version",
						    version, "url", url, "content_hash", hash,
						    "signature", "signed", "hash", hash,
						    "headers"));
	}
	json_decref(world->offer.packages);
	world->offer.packages = json_pack("{s:s,s:o}", "hash", "00", "items", items);
}

/* The updater says that these are here: ID, VERSION, PLAN, then any JSON members. */
static inline void world_host(struct world *world, const char *const *addons)
{
	json_t *list = json_array();
	json_t *status;

	for (; *addons; addons++) {
		char id[32];
		char version[32];
		char plan[32];
		char text[600];
		int more = 0;

		assert_int_equal(sscanf(*addons, "%31s %31s %31s %n", id, version, plan, &more), 3);
		(void)snprintf(
			text, sizeof(text),
			"{\"id\":\"%s\",\"version\":\"%s\",\"installed\":true,\"state\":\"running\",\"origin\":\"fleet\",\"held\":false,\"current\":{\"plan\":\"%s\"},\"quarantine\":[],\"transaction\":null,\"units\":[]}",
			id, version, plan);
		json_t *item = world_json(text);

		if ((*addons)[more] != '\0') {
			json_t *members = world_json(*addons + more);

			(void)json_object_update(item, members);
			json_decref(members);
		}
		(void)json_array_append_new(list, item);
	}
	status = json_pack("{s:o}", "addons", list);
	host_done(&world->host);
	assert_int_equal(host_read(status, NULL, &world->host), 0);
	json_decref(status);
}

/* The server's own entry of the configuration map. */
static inline void world_settings(struct world *world, const char *config)
{
	json_decref(world->offer.config);
	world->offer.config = world_json(config);
}

static inline void world_override(struct world *world, const char *text)
{
	overrides_done(&world->overrides);
	assert_int_equal(overrides_parse(text, strlen(text), &world->overrides), 0);
}
