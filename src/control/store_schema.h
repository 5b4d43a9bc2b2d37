/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

/* The steps from an empty database to today's, in order; the number of a database is how many it
 * has taken. A step that was ever released is never changed again: the next change is a new one. */
extern const char *const store_schema_steps[];
extern const size_t store_schema_n_steps;
