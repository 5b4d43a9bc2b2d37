/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "engine/operation.h"

/* One item of a drift answer. 0 or -ENOMEM. */
must_check int running_add_item(json_t *list, const char *kind, const char *path,
				const char *wanted, const char *found);

/*
 * Compares what PID 1 has with the record's current plan; a difference is an item of *list*.
 * *ret_drifted*: whether one of them is such that starting anew may mend it, a unit that was
 * stopped or masked by hand. Nothing where there is no manager, where the administrator stopped the
 * add-on, or while an operation changes it. 0 or -errno.
 */
must_check int running_compare(struct operation *operation, const struct record *record,
			       json_t *list, bool *ret_drifted);

/* Whether a repair has to start the record's units again: one is stopped, masked, or failed. 0 or
 * -errno. */
must_check int running_needs_start(struct operation *operation, const struct record *record,
				   bool *ret);
