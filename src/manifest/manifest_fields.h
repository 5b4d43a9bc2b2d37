/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "manifest/yaml_fields.h"

/* addon.yaml as a table; it fills a struct manifest. */
extern const struct yaml_field manifest_fields[];

/* The spellings of enum manifest_delivery and enum manifest_supervision, in their order. */
extern const char *const manifest_deliveries[];
extern const char *const manifest_supervisions[];
