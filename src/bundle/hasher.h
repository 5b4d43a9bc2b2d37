/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "crypto/digest.h"

/*
 * A second thread that digests while the first one reads, unpacks and writes, and a third one that
 * reads for it. They touch memory and files that they were given and nothing else. Where no thread
 * can be had, who posts does the work.
 */
struct hasher;

must_check int hasher_new(struct hasher **ret);
/* Ends when everything posted is done. */
struct hasher *hasher_free(struct hasher *hasher);

DEFINE_CLEANUP(struct hasher *, hasher, hasher_free)
#define cleanup_hasher CLEANUP(cleanup_hasher)

/* digest_add(), later. State and data are the hasher's until hasher_wait() has returned for them.
 */
void hasher_post(struct hasher *hasher, struct digest_state *state, const void *data, size_t size);

/* What is read from *fd* at *offset* first, *size* bytes to *data*; of them *digested* count. */
struct hasher_read {
	int fd;
	uint64_t offset;
	void *data;
	size_t size;
	size_t digested;
	int *result; /* 0; -errno from a failure on, and nothing more is digested for it then */
};

/* So many of them are read ahead. */
#define HASHER_READS 3U

/* The same of such bytes. *data* may be that of another job, if HASHER_READS - 1 lie between. */
void hasher_post_read(struct hasher *hasher, struct digest_state *state,
		      const struct hasher_read *read);

/* The number of what was posted last, for hasher_wait(). */
uint64_t hasher_last(const struct hasher *hasher);

/* Waits until everything up to number *last* is done. */
void hasher_wait(struct hasher *hasher, uint64_t last);

/* So many buffers let the two threads run on while the machine has other work to do. */
#define HASHER_BUFFERS 8U

/* Buffers that are filled in turn while the hasher may still read the others. */
struct hasher_turns {
	unsigned current;
	uint64_t last[HASHER_BUFFERS]; /* the last job that can be about each */
};

/* Leaves the current buffer to what was posted, and takes the next one as soon as nothing posted is
 * about it: its number. */
unsigned hasher_turn(struct hasher *hasher, struct hasher_turns *turns);
