/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "ipc/diagnostic.h"
#include "manifest/manifest.h"

/* A text of an add-on: its manifest, its schema, or a unit. */
struct source_text {
	char *name;
	char *text;
	size_t size;
};

/* An add-on's source directory, read and judged. */
struct source {
	char *path;
	struct manifest *manifest; /* NULL, or what is left of one with problems */
	struct source_text *texts; /* the manifest, the schema, and then the units by name */
	size_t n_texts;
};

/*
 * Reads the directory *path*. All that is wrong with its manifest, its units, its schema, and with
 * how they fit is added to *diagnostics*, under the paths of the files. 0; -errno where the
 * directory itself cannot be read. The caller frees *ret*.
 */
must_check int source_load(const char *path, struct source **ret, struct diagnostics *diagnostics);
struct source *source_free(struct source *source);

DEFINE_CLEANUP(struct source *, source, source_free)
#define cleanup_source CLEANUP(cleanup_source)
