/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "ipc/diagnostic.h"

/* One `--bin OS/ARCH=PATH`. */
struct build_binary {
	const char *os;
	const char *arch;
	const char *path;
};

/*
 * Assembles one bundle per binary from the add-on in directory *dir* (manifest, schema, its units,
 * *entries* as file paths) into *out_dir*: byte-identical for identical inputs, under a temporary
 * name until complete and synced, nothing left behind on failure. All checks of bundle_open() and
 * `affix check` are made first. 0 with the paths written; 1 with diagnostics; -errno.
 */
must_check int build_bundles(const char *dir, const struct build_binary *binaries,
			     size_t n_binaries, const struct strv *entries, const char *out_dir,
			     struct strv *ret_paths, struct diagnostics *diagnostics);

/*
 * Everything that is wrong with an add-on's source directory (or a lone addon.yaml: the manifest
 * only): manifest, units, schema, and how they fit. Nothing wrong adds nothing. 0 or -errno,
 * -EMEDIUMTYPE where *path* is neither.
 */
must_check int build_check(const char *path, struct diagnostics *diagnostics);
