/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Receiving: the bytes that are verified are the bytes that are used later. Whoever gave the
 * descriptor may write to its file at any moment, so it is copied once, and digested as it is
 * copied, into a file that has no name and no other holder. A sealed memfd cannot change and is
 * used as it is. Of the bundle's content nothing is looked at here.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/memory.h"
#include "bundle/bundle.h"
#include "bundle/frames.h"
#include "bundle/hasher.h"
#include "bundle/spool.h"

#define CHUNK_SIZE (128UL * 1024)
/* What is less is decompressed before there is a thread for that. */
#define LARGE_SIZE   BUNDLE_FRAME_SIZE_MAX
#define AHEAD_CHUNKS 24U /* the hasher takes so many without a wait */

static int check_descriptor(int fd, uint64_t *ret_size, struct refusal *reterr_refusal)
{
	struct stat status;
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fstat(fd, &status) < 0)
		return refuse(reterr_refusal, REFUSAL_BAD_DESCRIPTOR,
			      "the bundle's descriptor is not open");
	if (!S_ISREG(status.st_mode))
		return refuse(reterr_refusal, REFUSAL_BAD_DESCRIPTOR,
			      "the bundle's descriptor is not of a regular file");
	if ((flags & O_PATH) || (flags & O_ACCMODE) == O_WRONLY)
		return refuse(reterr_refusal, REFUSAL_BAD_DESCRIPTOR,
			      "the bundle's descriptor is not open for reading");
	if ((uint64_t)status.st_size > BUNDLE_SIZE_MAX)
		return refuse(reterr_refusal, REFUSAL_BUNDLE_TOO_LARGE,
			      "the bundle file has %llu bytes: expected at most %llu",
			      (unsigned long long)status.st_size, BUNDLE_SIZE_MAX);
	*ret_size = (uint64_t)status.st_size;
	return 0;
}

static bool is_sealed(int fd)
{
	const int wanted = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && (seals & wanted) == wanted;
}

/* A copy that is being made. The buffers are the hasher's until it has ended. */
struct bundle_copy {
	struct hasher *hasher;
	struct digest_state digest;
	struct spool spool;
	uint64_t offset;
	bool is_whole;
	int result; /* of what was begun */
	struct refusal refusal;
	struct hasher_turns turns;
	uint8_t (*ahead)[CHUNK_SIZE]; /* AHEAD_CHUNKS that are not used again; or NULL */
	uint8_t chunks[HASHER_BUFFERS][CHUNK_SIZE];
};

struct bundle_copy *bundle_copy_free(struct bundle_copy *copy)
{
	if (!copy)
		return NULL;
	(void)hasher_free(copy->hasher);
	spool_done(&copy->spool);
	free(copy->ahead);
	free(copy);
	return NULL;
}

/* Where the file goes on: to the digest, and to the spool if that is open. */
static int copy_chunk(int fd, struct bundle_copy *copy, uint8_t *chunk,
		      struct refusal *reterr_refusal)
{
	size_t n = 0;
	int r = fd_pread_full(fd, chunk, CHUNK_SIZE, copy->offset, &n);

	if (r < 0)
		return r;
	copy->offset += n;
	copy->is_whole = n < CHUNK_SIZE;
	if (copy->offset > BUNDLE_SIZE_MAX)
		return refuse(reterr_refusal, REFUSAL_BUNDLE_TOO_LARGE,
			      "the bundle file grew over the %llu bytes it may have",
			      BUNDLE_SIZE_MAX);
	hasher_post(copy->hasher, &copy->digest, chunk, n);
	return copy->spool.fd < 0 ? 0 : spool_add(&copy->spool, chunk, n, reterr_refusal);
}

static int open_copy(int fd, int dirfd, struct bundle_copy *copy, struct refusal *reterr_refusal)
{
	uint64_t size = 0;
	int r = check_descriptor(fd, &size, reterr_refusal);

	if (r == 0 && !is_sealed(fd))
		r = spool_open(&copy->spool, dirfd, size, O_EXCL, reterr_refusal);
	if (r == 0)
		r = hasher_new(&copy->hasher);
	if (r == 0)
		digest_begin(&copy->digest);
	return r;
}

static int new_copy(struct bundle_copy **ret)
{
	struct bundle_copy *copy = aligned_alloc(_Alignof(struct bundle_copy), sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	/* Not the buffers: what is never used is never paid for. */
	memset(copy, 0, offsetof(struct bundle_copy, chunks));
	copy->spool = SPOOL_INIT;
	*ret = copy;
	return 0;
}

int bundle_copy_begin(int fd, int dirfd, struct bundle_copy **ret)
{
	struct bundle_copy *copy = NULL;
	int r = new_copy(&copy);

	if (r < 0)
		return r;
	r = open_copy(fd, dirfd, copy, &copy->refusal);
	if (r == 0) {
		copy->ahead = memory_new_large(AHEAD_CHUNKS * sizeof(*copy->ahead));
		r = copy->ahead ? 0 : -ENOMEM;
	}
	for (size_t i = 0; r == 0 && i < AHEAD_CHUNKS && !copy->is_whole; i++)
		r = copy_chunk(fd, copy, copy->ahead[i], &copy->refusal);
	copy->result = r;
	*ret = copy;
	return 0;
}

/* While the hasher ends what it has: what comes behind the digest. Not before, or the hasher would
 * have to wait for a processor, or for us. */
static int get_ready(const struct bundle_verify *verify, struct bundle_receipt *receipt,
		     bool is_large)
{
	int r = is_large ? frames_prepare(receipt->hasher, &receipt->frames) : 0;

	return r == 0 && verify->meanwhile ? verify->meanwhile(verify->context) : r;
}

static int copy_rest(int fd, const struct bundle_verify *verify, struct bundle_copy *copy,
		     struct refusal *reterr_refusal)
{
	int r = copy->result;

	if (r > 0)
		*reterr_refusal = copy->refusal;
	while (r == 0 && !copy->is_whole) {
		uint8_t *chunk = copy->chunks[hasher_turn(copy->hasher, &copy->turns)];

		if (verify->deadline_usec > 0 && clock_monotonic_usec() > verify->deadline_usec)
			return refuse(reterr_refusal, REFUSAL_TIMEOUT,
				      "the bundle could not be copied in time: %llu KiB came",
				      (unsigned long long)copy->offset / 1024);
		r = copy_chunk(fd, copy, chunk, reterr_refusal);
	}
	return r;
}

/* To its end: the hasher is the receipt's then. */
static int end_copy(int fd, const struct bundle_verify *verify, struct bundle_copy *copy,
		    struct bundle_receipt *receipt, struct refusal *reterr_refusal)
{
	int r = copy_rest(fd, verify, copy, reterr_refusal);

	if (r != 0)
		return r;
	receipt->hasher = TAKE_PTR(copy->hasher);
	receipt->fd = TAKE_FD(copy->spool.fd);
	r = get_ready(verify, receipt, copy->offset >= LARGE_SIZE);
	/* It has the copy's state and chunks, whatever came of it. */
	hasher_wait(receipt->hasher, hasher_last(receipt->hasher));
	digest_end(&copy->digest, &receipt->digest);
	return r;
}

/* All of it, with what was begun, if anything was. */
static int take_file(int fd, const struct bundle_verify *verify, struct bundle_receipt *receipt,
		     struct refusal *reterr_refusal)
{
	cleanup_bundle_copy struct bundle_copy *copy = NULL;
	int r;

	if (verify->begun)
		return end_copy(fd, verify, verify->begun, receipt, reterr_refusal);
	r = new_copy(&copy);
	if (r == 0)
		r = open_copy(fd, verify->private_dirfd, copy, reterr_refusal);
	return r != 0 ? r : end_copy(fd, verify, copy, receipt, reterr_refusal);
}

int bundle_receive(int fd, const struct bundle_verify *verify, struct bundle_receipt *ret,
		   struct refusal *reterr_refusal)
{
	cleanup_bundle_receipt struct bundle_receipt receipt = BUNDLE_RECEIPT_INIT;
	struct minisign_signature signature;
	uint64_t size = 0;
	int r = check_descriptor(fd, &size, reterr_refusal);

	if (r != 0)
		return r;
	r = trust_signature_parse(verify->signature, verify->signature_size, &signature,
				  reterr_refusal);
	if (r == 0)
		r = take_file(fd, verify, &receipt, reterr_refusal);
	if (r == 0)
		r = trust_verify(verify->trust, &signature, &receipt.digest, verify->now,
				 &receipt.key, &receipt.identity, reterr_refusal);
	if (r == 0 && receipt.fd < 0)
		receipt.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (r != 0 || receipt.fd < 0)
		return r != 0 ? r : -errno;
	*ret = receipt;
	receipt = BUNDLE_RECEIPT_INIT;
	return 0;
}

void bundle_receipt_done(struct bundle_receipt *receipt)
{
	receipt->frames = frames_close(receipt->frames);
	receipt->hasher = hasher_free(receipt->hasher);
	receipt->fd = fd_close(receipt->fd);
}
