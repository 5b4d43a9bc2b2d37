/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "manifest/json_place.h"
#include "manifest/schema_node.h"

/* What a check of a value came to; or -errno. */
enum {
	SCHEMA_VALID = 0,
	SCHEMA_INVALID = 1,
	SCHEMA_TOO_COMPLEX = 2, /* a bound was crossed: not judged */
};

/* One validation. The first thing found wrong is what is said. */
struct schema_run {
	uint64_t budget; /* steps that are left */
	unsigned depth;
	unsigned quiet; /* > 0: alternatives are tried, say nothing */
	char *reterr;
	size_t size;
};

/* Takes *price* steps from the budget; whether there were as many. */
bool schema_run_pay(struct schema_run *run, uint64_t price);

/* Writes the sentence, unless alternatives are tried. SCHEMA_INVALID or -errno. */
must_check int schema_run_fail(struct schema_run *run, const struct json_step *step,
			       const char *format, ...) format_check(3, 4);

/* Holds a value against a schema with everything in it. */
must_check int schema_node_check(struct schema_run *run, const struct schema_node *node,
				 const json_t *value, const struct json_step *step);

/* The same, saying nothing: for alternatives. */
must_check int schema_node_try(struct schema_run *run, const struct schema_node *node,
			       const json_t *value, const struct json_step *step);

/* The keywords for one type of value. The value is of that type. */
must_check int schema_number_check(struct schema_run *run, const struct schema_node *node,
				   const json_t *value, const struct json_step *step);
must_check int schema_string_check(struct schema_run *run, const struct schema_node *node,
				   const json_t *value, const struct json_step *step);
must_check int schema_array_check(struct schema_run *run, const struct schema_node *node,
				  const json_t *value, const struct json_step *step);
must_check int schema_object_check(struct schema_run *run, const struct schema_node *node,
				   const json_t *value, const struct json_step *step);
