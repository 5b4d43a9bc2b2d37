/* SPDX-License-Identifier: Apache-2.0 */

/* Names of cgroups, part by part. Anybody may name one of his own as he likes: below a user's own
 * part of the hierarchy a container's id is that user's word. */

#include "netprobe/container.h"

#include <string.h>

#include "base/str.h"

#define HEX_DIGITS      "0123456789abcdef"
#define NAME_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_"
#define ID_DIGITS       64U

/* What stands around an id or a name. */
struct shape {
	const char *before, *behind;
	bool is_name;
};

static const struct shape shapes[] = {
	{"docker-",         "",         false},
        {"libpod-",         "",         false},
	{"libpod-payload-", "",         false},
        {"crio-",           "",         false},
	{"cri-containerd-", "",         false},
        {"nerdctl-",        "",         false},
	{"lxc.payload.",    "",         true },
        {"systemd-nspawn@", ".service", true },
};

/* Directories of runtimes. */
static const struct {
	const char *name;
	enum container_place place;
} parents[] = {
	{"docker",        CONTAINER_DIGITS},
        {"libpod_parent", CONTAINER_DIGITS},
	{"actions_job",   CONTAINER_DIGITS},
        {"ecs",           CONTAINER_BELOW },
	{"lxc",           CONTAINER_NAMES },
};

static bool take(const char *name, size_t length, bool is_name, char id[FLOW_CONTAINER_MAX + 1])
{
	size_t good = strspn(name, is_name ? NAME_CHARACTERS : HEX_DIGITS);

	if (good < length || length == 0 || length > FLOW_CONTAINER_MAX ||
	    (!is_name && length != ID_DIGITS))
		return false;
	memcpy(id, name, length);
	id[length] = '\0';
	return true;
}

/* "docker-<id>.scope"; without ".scope" where no systemd made it. */
static bool take_shape(const char *name, size_t length, char id[FLOW_CONTAINER_MAX + 1])
{
	static const char scope[] = ".scope";

	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		size_t before = strlen(shapes[i].before);
		const char *behind = shapes[i].is_name ? shapes[i].behind : scope;
		size_t rest = strlen(behind);

		if (length <= before || strncmp(name, shapes[i].before, before) != 0)
			continue;
		if (length <= before + rest || strncmp(name + length - rest, behind, rest) != 0) {
			if (shapes[i].is_name)
				continue;
			rest = 0;
		}
		if (take(name + before, length - before - rest, shapes[i].is_name, id))
			return true;
	}
	return false;
}

enum container_place container_step(enum container_place place, const char *name, size_t length,
				    char id[FLOW_CONTAINER_MAX + 1])
{
	id[0] = '\0';
	if (take_shape(name, length, id) ||
	    (place != CONTAINER_ANY && take(name, length, place == CONTAINER_NAMES, id)))
		return CONTAINER_ANY;
	for (size_t i = 0; i < ARRAY_SIZE(parents); i++) {
		if (strlen(parents[i].name) == length &&
		    strncmp(name, parents[i].name, length) == 0)
			return parents[i].place;
	}
	if (length >= strlen("kubepods") && strncmp(name, "kubepods", strlen("kubepods")) == 0)
		return CONTAINER_BELOW;
	return place == CONTAINER_BELOW ? CONTAINER_BELOW : CONTAINER_ANY;
}

bool container_id_parse(const char *path, char id[FLOW_CONTAINER_MAX + 1])
{
	enum container_place place = CONTAINER_ANY;

	id[0] = '\0';
	while (*path != '\0' && id[0] == '\0') {
		size_t length = strcspn(path, "/");

		if (length > 0)
			place = container_step(place, path, length, id);
		path += length + (path[length] == '/');
	}
	return id[0] != '\0';
}
