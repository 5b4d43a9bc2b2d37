/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cleanup.h"
#include "manifest/schema_node.h"

/* Sets *is_endless* of every node whose $ref leads back to it without a step into the value that is
 * looked at: such a schema would be evaluated for ever. Targets must be known. 0 or -ENOMEM. */
must_check int schema_cycle_mark(struct schema *schema);
