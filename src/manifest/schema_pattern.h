/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

#define SCHEMA_PATTERN_MAX       1024U /* bytes of a regular expression */
#define SCHEMA_PATTERN_ERROR_MAX 128U

struct schema_pattern;

/* Compiles a regular expression (PCRE2, UTF). 0; 1 with the reason in *reterr*; -ENOMEM. */
must_check int schema_pattern_new(const char *text, struct schema_pattern **ret,
				  char reterr[SCHEMA_PATTERN_ERROR_MAX]);
struct schema_pattern *schema_pattern_free(struct schema_pattern *pattern);

DEFINE_CLEANUP(struct schema_pattern *, schema_pattern, schema_pattern_free)
#define cleanup_schema_pattern CLEANUP(cleanup_schema_pattern)

/*
 * Searches *subject* (UTF-8). Each step of the search is taken from *budget*. 0 with *ret*; 1 if
 * the budget or the memory for backtracking did not suffice; -ENOMEM.
 */
must_check int schema_pattern_search(const struct schema_pattern *pattern, const char *subject,
				     size_t length, uint64_t *budget, bool *ret);
