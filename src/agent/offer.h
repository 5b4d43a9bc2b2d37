/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <opamp.pb-c.h>
#include <stdbool.h>

#include "base/cleanup.h"
#include "base/json.h"

#define OFFER_ADDONS_MAX  256U
#define OFFER_HASH_MAX    64U
#define OFFER_TEXT_MAX    4096U
#define OFFER_HEADERS_MAX 8U
#define OFFER_SETTINGS_KEY \
	"affix" /* the entry of the configuration map that is about all add-ons */

/*
 * What the server offered last, as JSON that is also the last-known-good on disk.
 *
 *   packages: {"hash": HEX, "problem": TEXT?, "items": {ID: {"version", "url", "content_hash": HEX,
 *              "signature", "hash": HEX, "headers": {KEY: VALUE}, "problem": TEXT?}}}
 *   config:   {"hash": HEX, "problem": TEXT?, "configs": {ID: OBJECT}, "addons": {ID: {"enabled",
 *              "capabilities", "limits", "revoked"}}, "confirm_removal": [ID], "is_affix": BOOL}
 *
 * NULL where nothing was ever offered: that means nothing, and never "no add-ons".
 */
struct offer {
	json_t *packages;
	json_t *config;
};

#define OFFER_INIT     \
	(struct offer) \
	{              \
	}

void offer_done(struct offer *offer);
#define cleanup_offer CLEANUP(offer_done)

/*
 * Takes over what was offered; 1 where packages are more than OFFER_ADDONS_MAX. An item that cannot
 * be used stays in the offer with its problem: a broken offer of an add-on is no reason to remove
 * it. 0; 1; -ENOMEM. *offer* is untouched unless 0.
 */
must_check int offer_set_packages(struct offer *offer,
				  const Opamp__Proto__PackagesAvailable *packages);
must_check int offer_set_config(struct offer *offer, const Opamp__Proto__AgentRemoteConfig *config);

/* {"schema":1,"packages":…,"config":…}; NULL: no memory. */
json_t *offer_to_json(const struct offer *offer);
/* 0; 1 for anything that offer_to_json() does not write; -ENOMEM. */
must_check int offer_from_json(const json_t *json, struct offer *ret);

/* Hashes of the offer in hexadecimal, "" where there is none; problems or NULL. */
const char *offer_packages_hash(const struct offer *offer);
const char *offer_config_hash(const struct offer *offer);
const char *offer_packages_problem(const struct offer *offer);
const char *offer_config_problem(const struct offer *offer);
/* Whether the server speaks affix's own words, and so can confirm a removal. */
bool offer_is_affix(const struct offer *offer);
bool offer_confirms_removal(const struct offer *offer, const char *id);
