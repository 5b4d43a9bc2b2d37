/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "base/cleanup.h"

#define OVERRIDES_PATH     "/etc/affix/addons.local.json"
#define OVERRIDES_SIZE_MAX (512UL * 1024)
#define OVERRIDES_TEXT_MAX 512U

/* What the host's administrator changes in the fleet's offers; agent.yaml(5), "addons.local.json".
 */
enum overrides_enabled {
	OVERRIDES_AS_OFFERED,
	OVERRIDES_ON,
	OVERRIDES_OFF,
};

struct overrides {
	json_t *addons; /* {ID: {"enabled", "config", "capabilities", "limits"}}, or NULL */
	/* Why the file is ignored, or "". */
	char problem[OVERRIDES_TEXT_MAX];
};

#define OVERRIDES_INIT     \
	(struct overrides) \
	{                  \
	}

void overrides_done(struct overrides *overrides);
#define cleanup_overrides CLEANUP(overrides_done)

/* Parses the file's text. 0; 1 where it is malformed, with *problem* set and no add-ons; -ENOMEM.
 */
must_check int overrides_parse(const char *text, size_t size, struct overrides *ret);

/*
 * Reads *path*; a file that is not there is no override. It has to be a regular file that root owns
 * and nobody else may write: else it is ignored, with *problem* set. 0 also then; -errno.
 */
must_check int overrides_load(const char *path, struct overrides *ret);

enum overrides_enabled overrides_enabled(const struct overrides *overrides, const char *id);
/* Members of an add-on's override, or NULL. */
const json_t *overrides_member(const struct overrides *overrides, const char *id, const char *key);
