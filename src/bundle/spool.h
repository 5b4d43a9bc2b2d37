/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "ipc/refusal.h"

/* An unnamed file (O_TMPFILE, mode 0600) that is being filled. */
struct spool {
	int fd;
	uint64_t size;
	uint64_t flushed; /* writeback was started up to here */
	bool is_kept;     /* it may get a name: its writeback is started early */
};

#define SPOOL_INIT           \
	(struct spool)       \
	{                    \
		.fd = -EBADF \
	}

/*
 * Makes one in *dirfd* for *expected* bytes, after asking the file system whether it has room for
 * them. O_EXCL in *flags* keeps it from ever getting a name, and takes that room at once. 0;
 * refused with REFUSAL_NO_SPACE, REFUSAL_NO_INODES or REFUSAL_UNSUPPORTED_FILESYSTEM; -errno.
 */
must_check int spool_open(struct spool *spool, int dirfd, uint64_t expected, int flags,
			  struct refusal *reterr_refusal);

/* Adds bytes, and starts writeback every few MiB if the file may be kept, so that the fsync that
 * follows finds little to do. 0; refused with REFUSAL_NO_SPACE; -errno. */
must_check int spool_add(struct spool *spool, const void *data, size_t size,
			 struct refusal *reterr_refusal);

/* The file is whole: its descriptor, which is the caller's now, or -EBADF. Writeback of the rest is
 * started. */
must_check int spool_take(struct spool *spool);
void spool_done(struct spool *spool);
#define cleanup_spool CLEANUP(spool_done)
