/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "ipc/diagnostic.h"

#define UNIT_FILE_SIZE_MAX    65536U /* 64 KiB */
#define UNIT_FILE_LINE_MAX    4096U  /* a logical line, continuations joined */
#define UNIT_FILE_SECTION_MAX 32U

/* A section header, in the order of the file; the same section may come again. */
struct unit_section {
	char *name;
	unsigned line; /* from 1 */
};

/* One assignment, in the order of the file. Values have blanks trimmed and continuations joined, as
 * systemd reads them. */
struct unit_entry {
	const char *section; /* of the file's sections */
	char *key;
	char *value;
	unsigned line;   /* where it begins, from 1 */
	unsigned column; /* of the value, from 1 */
};

struct unit_file {
	struct unit_section *sections;
	size_t n_sections;
	struct unit_entry *entries;
	size_t count;
};

/*
 * Reads a unit file strictly: UTF-8 without control bytes but tab and newline, LF only, `[Section]`
 * and `Key=value` lines, `#` and `;` comments, no assignment outside a section, no line that
 * systemd would only warn about. 0; 1 with diagnostics (REFUSAL_BAD_UNIT) under the name *file*;
 * -errno. The caller frees it.
 */
must_check int unit_file_parse(const char *text, size_t size, const char *file,
			       struct unit_file **ret, struct diagnostics *diagnostics);
struct unit_file *unit_file_free(struct unit_file *unit);

DEFINE_CLEANUP(struct unit_file *, unit_file, unit_file_free)
#define cleanup_unit_file CLEANUP(cleanup_unit_file)

/* The effective (last) value of a directive, or NULL. An empty assignment yields "". */
const char *unit_file_get(const struct unit_file *unit, const char *section, const char *key);
bool unit_file_has_section(const struct unit_file *unit, const char *section);
