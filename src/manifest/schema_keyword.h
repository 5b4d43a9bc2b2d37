/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "ipc/diagnostic.h"
#include "manifest/json_place.h"
#include "manifest/schema_node.h"

/* A schema being read. */
struct schema_reader {
	const char *text;
	size_t size;
	const char *file;
	struct diagnostics *diagnostics;
	struct schema *schema;
	size_t problems;
};

/* Reports "'POINTER' SENTENCE" where *step* stands. 0 or -errno. */
must_check int schema_problem(struct schema_reader *reader, const struct json_step *step,
			      const char *format, ...) format_check(3, 4);

/* Reads *value*, which stands at *step*, as a schema. 0, with problems reported and *ret* set, or
 * -errno. */
must_check int schema_node_read(struct schema_reader *reader, const json_t *value,
				const struct json_step *step, struct schema_node **ret);

/* Reads the keyword at *step* (its key) with *value* into *node*. As schema_node_read(). */
must_check int schema_keyword_read(struct schema_reader *reader, struct schema_node *node,
				   const json_t *value, const struct json_step *step);
