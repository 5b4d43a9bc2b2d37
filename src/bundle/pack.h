/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/* One file to pack: its bytes in memory, or those that *fd* has from offset 0. */
struct pack_entry {
	const char *name; /* at most TAR_NAME_MAX bytes; borrowed */
	const char *data; /* borrowed; NULL: read *fd* */
	int fd;           /* borrowed */
	uint64_t size;
	bool is_executable;
};

/*
 * Writes a bundle with these entries, in this order, to *fd*. The bytes follow from the entries
 * alone, for one version of the compressor. 0; -errno, -ESTALE where a file has become shorter.
 */
must_check int pack_write(int fd, const struct pack_entry *entries, size_t n_entries);
