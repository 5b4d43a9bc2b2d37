/* SPDX-License-Identifier: Apache-2.0 */

/*
 * When affixd was restarted, or the network comes back, every host tells everything, and nearly all
 * of it is what is in the database already. A digest per part tells so without a write. A host that
 * finds two reports of one digest has only kept its own last words from being written.
 */

#include "control/fleet_digest.h"

#include <sodium.h>
#include <string.h>

static void add(crypto_generichash_blake2b_state *into, const void *data, size_t size)
{
	uint64_t length = size;

	(void)crypto_generichash_blake2b_update(into, (const unsigned char *)&length,
						sizeof(length));
	if (size > 0)
		(void)crypto_generichash_blake2b_update(into, data, size);
}

static void add_text(crypto_generichash_blake2b_state *into, const char *text)
{
	add(into, text ? text : "", text ? strlen(text) : 0);
}

static void add_number(crypto_generichash_blake2b_state *into, uint64_t number)
{
	add(into, &number, sizeof(number));
}

static void add_description(crypto_generichash_blake2b_state *into,
			    const struct fleet_report *report)
{
	for (size_t i = 0; i < report->n_attributes; i++) {
		add_text(into, report->attributes[i].key);
		add_text(into, report->attributes[i].value);
		add_number(into, report->attributes[i].identifying);
	}
}

static void add_health(crypto_generichash_blake2b_state *into, const struct fleet_report *report)
{
	for (size_t i = 0; i < report->n_health; i++) {
		add_text(into, report->health[i].component);
		add_number(into, report->health[i].healthy);
		add_text(into, report->health[i].status);
		add_text(into, report->health[i].last_error);
	}
}

static void add_packages(crypto_generichash_blake2b_state *into, const struct fleet_report *report)
{
	add(into, report->packages_hash.data, report->packages_hash.size);
	add_text(into, report->packages_error);
	for (size_t i = 0; i < report->n_packages; i++) {
		const struct fleet_package_status *package = &report->packages[i];

		add_text(into, package->name);
		add_text(into, package->has_version);
		add(into, package->has_hash.data, package->has_hash.size);
		add_text(into, package->offered_version);
		add(into, package->offered_hash.data, package->offered_hash.size);
		add_number(into, package->status);
		add_text(into, package->error);
	}
}

static void add_effective_config(crypto_generichash_blake2b_state *into,
				 const struct fleet_report *report)
{
	for (size_t i = 0; i < report->n_effective_config; i++) {
		add_text(into, report->effective_config[i].name);
		add_text(into, report->effective_config[i].content_type);
		add(into, report->effective_config[i].body.data,
		    report->effective_config[i].body.size);
	}
}

bool fleet_part_is_present(const struct fleet_report *report, enum fleet_part part)
{
	switch (part) {
	case FLEET_PART_DESCRIPTION:
		return report->has_description;
	case FLEET_PART_HEALTH:
		return report->has_health;
	case FLEET_PART_PACKAGES:
		return report->has_packages;
	case FLEET_PART_CUSTOM:
		return report->has_custom_message;
	case FLEET_PART_EFFECTIVE_CONFIG:
		return report->has_effective_config;
	case FLEET_PART_CONFIG_STATUS:
		return report->has_config_status;
	case FLEET_PART_N:
	default:
		return false;
	}
}

uint64_t fleet_part_digest(const struct fleet_report *report, enum fleet_part part)
{
	uint8_t bytes[crypto_generichash_blake2b_BYTES_MIN];
	uint64_t digest;
	crypto_generichash_blake2b_state into;

	(void)crypto_generichash_blake2b_init(&into, NULL, 0, sizeof(bytes));
	switch (part) {
	case FLEET_PART_DESCRIPTION:
		add_description(&into, report);
		break;
	case FLEET_PART_HEALTH:
		add_health(&into, report);
		break;
	case FLEET_PART_PACKAGES:
		add_packages(&into, report);
		break;
	case FLEET_PART_CUSTOM:
		add_text(&into, report->custom_capability);
		add_text(&into, report->custom_type);
		add(&into, report->custom_data.data, report->custom_data.size);
		break;
	case FLEET_PART_EFFECTIVE_CONFIG:
		add_effective_config(&into, report);
		break;
	case FLEET_PART_CONFIG_STATUS:
		add(&into, report->config_hash.data, report->config_hash.size);
		add_number(&into, report->config_status);
		add_text(&into, report->config_error);
		break;
	case FLEET_PART_N:
	default:
		break;
	}
	(void)crypto_generichash_blake2b_final(&into, bytes, sizeof(bytes));
	memcpy(&digest, bytes, sizeof(digest));
	return digest != 0 ? digest : 1;
}
