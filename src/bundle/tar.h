/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "ipc/refusal.h"

/* Where the tar's bytes come from. Every piece but the last is a multiple of TAR_BLOCK_SIZE and
 * valid until the next call; size 0 is the end. 0; refused; -errno. */
struct tar_source {
	int (*read)(void *context, const void **ret, size_t *ret_size,
		    struct refusal *reterr_refusal);
	void *context;
};

#define TAR_BLOCK_SIZE 512U
#define TAR_NAME_MAX   100U /* what a plain header holds */
/* Zeroes that may follow the two blocks of the end: one record of tar(1)'s default size. */
#define TAR_PADDING_MAX 10240U

struct tar;

must_check int tar_open(const struct tar_source *source, struct tar **ret,
			struct refusal *reterr_refusal);
struct tar *tar_close(struct tar *tar);

DEFINE_CLEANUP(struct tar *, tar, tar_close)
#define cleanup_tar CLEANUP(cleanup_tar)

/*
 * The next entry: a regular file in a plain header. *ret_name* is valid until the next call, and
 * NULL at the end, which is reached only if nothing but padding follows. The content of the entry
 * before it must have been read. 0; refused with REFUSAL_MALFORMED_BUNDLE, REFUSAL_BAD_ENTRY_NAME,
 * REFUSAL_BAD_ENTRY_TYPE, REFUSAL_TRAILING_DATA or what the source says; -errno.
 */
must_check int tar_next(struct tar *tar, const char **ret_name, uint64_t *ret_size,
			struct refusal *reterr_refusal);

/* The next piece of the entry's content, within the source's last one, of size 0 at its end; all
 * together they are as long as the header said. */
must_check int tar_read(struct tar *tar, const void **ret, size_t *ret_size,
			struct refusal *reterr_refusal);
