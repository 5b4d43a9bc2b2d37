/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "bundle/bytes.h"
#include "crypto/digest.h"

/*
 * The digests of a bundle's entries, in their order, behind its last frame: a skippable frame,
 * which other readers of zstd pass over. What is signed with the bundle need not be computed by
 * each host that installs it.
 */
struct digest_table {
	uint64_t offset; /* of the bundle's file, where the frames end; the file's size without one
			  */
	size_t n;        /* 0: the bundle has no table */
	struct digest digests[]; /* BUNDLE_ENTRIES_MAX of them have room */
};

/* Looks at the end of *bytes* for a table. What is none is left to whoever reads the frames. The
 * caller frees *ret*. 0 or -errno. */
must_check int digest_table_read(const struct bytes *bytes, struct digest_table **ret);

/* Writes the table of *n* digests, 1 to BUNDLE_ENTRIES_MAX, at the position of *fd*. 0 or -errno.
 */
must_check int digest_table_write(int fd, const struct digest *digests, size_t n);
