/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "agent/offer.h"
#include "agent/overrides.h"
#include "base/cleanup.h"

#define DESIRED_KEY_SIZE 65U /* a SHA-256 in hexadecimal, and NUL */

/* One add-on as it is wanted here: the offer, patched. Texts are borrowed from both. */
struct wanted {
	const char *id;
	bool is_offered;      /* a package of it stands in the offer */
	bool is_enabled;      /* by offer and override */
	bool is_forced;       /* the administrator wants it: never removed by the fleet */
	bool is_switched_off; /* the administrator does not want it: removed without delay */
	bool is_revoked;      /* stays where it is, and is not installed anew */
	bool is_overridden;
	const char *problem; /* why the offer cannot be used, or NULL */
	const char *version; /* NULL where *problem* is set, as the next four */
	const char *url;
	const char *content_hash;
	const char *signature;
	const char *hash;
	const json_t *headers;
	json_t *config;             /* owned; {} where there is none */
	const json_t *capabilities; /* array that narrows, or NULL */
	const json_t *limits;       /* object that lowers, or NULL */
	/* Name everything that an installation depends on, and the same without configuration. */
	char key[DESIRED_KEY_SIZE];
	char bundle_key[DESIRED_KEY_SIZE];
};

struct desired {
	struct wanted *items;
	size_t count;
	bool is_known; /* packages were offered at some time */
};

#define DESIRED_INIT     \
	(struct desired) \
	{                \
	}

void desired_done(struct desired *desired);

/* What is wanted of all add-ons that either names; both must outlive *ret*. 0 or -ENOMEM. */
must_check int desired_make(const struct offer *offer, const struct overrides *overrides,
			    struct desired *ret);
const struct wanted *desired_find(const struct desired *desired, const char *id);

/* JSON merge patch (RFC 7386) of two objects. NULL: no memory. */
json_t *desired_patch(const json_t *target, const json_t *patch);
