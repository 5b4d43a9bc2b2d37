/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include "base/cleanup.h"

/*
 * How the guest is: affix-guestd(8), "Health". What cannot be learned is "unknown" or null, and is
 * no error. NULL: no memory.
 */
json_t *health_describe(void);

/* The random number of this boot, as text; "" where it cannot be read. */
#define HEALTH_BOOT_ID_SIZE 37U
void health_boot_id(char ret[HEALTH_BOOT_ID_SIZE]);
