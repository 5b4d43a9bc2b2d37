/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "ipc/diagnostic.h"

/*
 * JSON Schema, the core of draft 2020-12 that add-on schemas use; addon.yaml(5) lists the keywords.
 * A keyword that is not understood is an error in the schema, never ignored, except annotations and
 * `x-*`. No remote references.
 */
#define SCHEMA_SIZE_MAX  262144U /* 256 KiB */
#define SCHEMA_LOCAL_KEY "x-affix-local"

struct schema;

/*
 * Compiles the schema in *text*. 0; 1 with diagnostics added under the name *file*; -errno. The
 * caller frees it.
 */
must_check int schema_parse(const char *text, size_t size, const char *file, struct schema **ret,
			    struct diagnostics *diagnostics);
struct schema *schema_free(struct schema *schema);

DEFINE_CLEANUP(struct schema *, schema, schema_free)
#define cleanup_schema CLEANUP(cleanup_schema)

/*
 * Validates *instance*. 0; 1 and a problem as `PATH: sentence` (PATH a JSON Pointer, "" the whole)
 * in *reterr* (up to *size* bytes, control characters escaped); -errno.
 */
must_check int schema_validate(const struct schema *schema, const json_t *instance, char *reterr,
			       size_t size);

/*
 * The same in a forked child without privileges, descriptors, or system calls beyond read, write
 * and exit, with bounded memory and time: for schemas and instances that come from outside, in a
 * privileged process. The raw texts go in, so that the child does the parsing as well. 0 valid; 1
 * and the sentence in *reterr*; 2 the schema itself is not usable (sentence in *reterr*); -errno.
 */
must_check int schema_validate_isolated(const char *schema_text, size_t schema_size,
					const char *instance_text, size_t instance_size,
					char *reterr, size_t size);

/*
 * In steps, so that the child is ready by the time that there is something to judge, and that
 * nobody has to wait for what it says: it is started, asked once, and heard. It
 * shares this process's memory as it was when it was started, and
 * closes the descriptors: no file that a stranger serves may be open then. 0, -errno.
 */
struct schema_judge;
must_check int schema_judge_start(struct schema_judge **ret);
void schema_judge_ask(struct schema_judge *judge, const char *schema_text, size_t schema_size,
		      const char *instance_text, size_t instance_size);
must_check int schema_judge_hear(struct schema_judge *judge, char *reterr, size_t size);
struct schema_judge *schema_judge_end(struct schema_judge *judge);

DEFINE_CLEANUP(struct schema_judge *, schema_judge, schema_judge_end)
#define cleanup_schema_judge CLEANUP(cleanup_schema_judge)

/* Whether the top-level property *key* is marked `"x-affix-local": true` in the schema text's
 * object. */
bool schema_key_is_local(const json_t *schema_object, const char *key);
