/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include "image/attributes.h"

/* Adds to the add-ons of a drift answer what their copies could not show: owners and file
 * capabilities. 0 or -errno. */
must_check int image_add_drift(struct edit *edit, const struct attributes *attributes,
			       json_t *addons);
