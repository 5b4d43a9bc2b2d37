/* SPDX-License-Identifier: Apache-2.0 */

/* Which add-ons have a socket to talk to. The manifest on the host says so: root put it there, of a
 * bundle that it had verified. It is read again when the plan is another. */

#include "agent/addon_ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "agent/frame_client.h"
#include "agent/memory.h"
#include "base/fd.h"
#include "base/json.h"
#include "manifest/manifest.h"

struct item {
	char id[MANIFEST_ID_MAX + 1];
	char plan[MEMORY_PLAN_SIZE];
	struct frame_client *client; /* NULL: it has no IPC */
	bool is_seen;
};

struct addon_ipc {
	sd_event *event;
	const char *installed;
	const char *run;
	struct item *items;
	size_t count;
};

int addon_ipc_new(sd_event *event, const char *installed, const char *run, struct addon_ipc **ret)
{
	struct addon_ipc *ipc = calloc(1, sizeof(*ipc));

	if (!ipc)
		return -ENOMEM;
	*ipc = (struct addon_ipc){.event = sd_event_ref(event), .installed = installed, .run = run};
	*ret = ipc;
	return 0;
}

struct addon_ipc *addon_ipc_free(struct addon_ipc *ipc)
{
	if (!ipc)
		return NULL;
	for (size_t i = 0; i < ipc->count; i++)
		(void)frame_client_free(ipc->items[i].client);
	free(ipc->items);
	(void)sd_event_unref(ipc->event);
	free(ipc);
	return NULL;
}

static struct item *find(const struct addon_ipc *ipc, const char *id)
{
	for (size_t i = 0; i < ipc->count; i++) {
		if (strcmp(ipc->items[i].id, id) == 0)
			return &ipc->items[i];
	}
	return NULL;
}

static bool has_ipc(const struct addon_ipc *ipc, const char *id)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_manifest struct manifest *manifest = NULL;
	cleanup_free char *path = NULL;
	cleanup_free char *text = NULL;
	size_t size = 0;

	return str_format(&path, "%s/%s/current/" MANIFEST_NAME, ipc->installed, id) >= 0 &&
	       fd_read_path(path, MANIFEST_SIZE_MAX, &text, &size) == 0 &&
	       manifest_parse(text, size, path, &manifest, &diagnostics) == 0 &&
	       str_equal(manifest->ipc, ADDON_IPC_PROTOCOL);
}

static int begin(struct addon_ipc *ipc, const struct host_addon *addon, struct item *item)
{
	cleanup_free char *path = NULL;
	int r;

	item->client = frame_client_free(item->client);
	(void)snprintf(item->plan, sizeof(item->plan), "%s", addon->plan);
	if (!has_ipc(ipc, addon->id))
		return 0;
	r = str_format(&path, "%s/%s/ipc.sock", ipc->run, addon->id);
	return r < 0 ? r : frame_client_new(ipc->event, path, &item->client);
}

static struct item *get(struct addon_ipc *ipc, const char *id)
{
	struct item *found = find(ipc, id);
	struct item *items;

	if (found)
		return found;
	items = reallocarray(ipc->items, ipc->count + 1, sizeof(*items));
	if (!items)
		return NULL;
	ipc->items = items;
	found = &items[ipc->count++];
	*found = (struct item){.client = NULL};
	(void)snprintf(found->id, sizeof(found->id), "%s", id);
	return found;
}

static int look_after(struct addon_ipc *ipc, const struct host_addon *addon,
		      const struct wanted *wanted)
{
	struct item *item = get(ipc, addon->id);
	int r = 0;

	if (!item)
		return -ENOMEM;
	item->is_seen = true;
	if (strcmp(item->plan, addon->plan) != 0)
		r = begin(ipc, addon, item);
	/* Configuration is the fleet's to apply; what the administrator installed has its own. */
	if (r == 0 && item->client && wanted && wanted->config && !addon->is_changing)
		frame_client_tick(item->client, wanted->config, wanted->key);
	return r;
}

int addon_ipc_tick(struct addon_ipc *ipc, const struct host *host, const struct desired *desired)
{
	int r = 0;

	for (size_t i = 0; i < ipc->count; i++)
		ipc->items[i].is_seen = false;
	for (size_t i = 0; r == 0 && i < host->count; i++) {
		const struct host_addon *addon = &host->items[i];

		if (addon->is_installed && addon->plan)
			r = look_after(ipc, addon, desired_find(desired, addon->id));
	}
	for (size_t i = ipc->count; r == 0 && i > 0; i--) {
		if (ipc->items[i - 1].is_seen)
			continue;
		(void)frame_client_free(ipc->items[i - 1].client);
		ipc->items[i - 1] = ipc->items[--ipc->count];
	}
	return r;
}

const char *addon_ipc_problem(const struct addon_ipc *ipc, const char *id)
{
	const struct item *item = find(ipc, id);
	const char *problem = item && item->client ? frame_client_problem(item->client) : "";

	return problem[0] != '\0' ? problem : NULL;
}

json_t *addon_ipc_events(const struct addon_ipc *ipc)
{
	cleanup_json json_t *json = json_object();

	for (size_t i = 0; json && i < ipc->count; i++) {
		if (ipc->items[i].client &&
		    json_add(json, ipc->items[i].id, frame_client_events(ipc->items[i].client)) < 0)
			return NULL;
	}
	return TAKE_PTR(json);
}
