/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"

/* JSON values as JSON Schema compares them: 1 and 1.0 are the same, members have no order. */

/* <0, 0, >0 as numbers, exactly. Both are numbers. */
int schema_value_compare(const json_t *a, const json_t *b);

/* A number without a fraction. */
bool schema_value_is_integral(const json_t *value);

/* Whether a number is a multiple of another that is above 0. Decimal fractions are taken for what
 * they were written as: 0.3 is a multiple of 0.1. */
bool schema_value_is_multiple(const json_t *value, const json_t *of);

/* Whether two values are equal; each pair that is looked at is taken from *budget*, and with
 * nothing left the answer is false. */
bool schema_value_is_equal(const json_t *a, const json_t *b, uint64_t *budget);

/* Whether two items of an array are equal. 0 with *ret*, or -ENOMEM. */
must_check int schema_value_has_equal_items(const json_t *array, uint64_t *budget, bool *ret);
