/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Receiving: the bytes that are verified are the bytes that are used later. Whoever gave the
 * descriptor may write to its file at any moment, so it is copied once, and digested as it is
 * copied, into a file that has no name and no other holder, or into memory. A large sealed memfd
 * cannot change and is used as it is. Of the bundle's content nothing is looked at here.
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
/* With so much the hasher begins. */
#define FIRST_SIZE (256UL * 1024)
/* What is less is decompressed before there is a thread for that. */
#define LARGE_SIZE BUNDLE_FRAME_SIZE_MAX
/* What is copied to memory. A file costs more: its pages are written and read again, and if it got
 * blocks, giving them back takes 2 ms where they are discarded at once (measured). */
#define SMALL_SIZE (4ULL << 20)

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

/* What is read while the hasher has what came before. */
struct chunks {
	struct digest_state *digest;
	struct hasher_turns turns;
	uint8_t data[HASHER_BUFFERS][CHUNK_SIZE];
};

/* While the hasher ends what it has: what comes behind the digest, and of the signature what does
 * not need it. Not before, or the hasher would have to wait for a processor, or for us. */
static int get_ready(const struct bundle_verify *verify, const struct minisign_signature *signature,
		     struct bundle_receipt *receipt, uint64_t size, struct refusal *reterr_refusal)
{
	int r = size >= LARGE_SIZE ? frames_prepare(receipt->hasher, &receipt->frames) : 0;

	return r < 0 ? r
		     : trust_verify_comment(verify->trust, signature, &receipt->key,
					    reterr_refusal);
}

static int check_time(const struct bundle_verify *verify, uint64_t offset,
		      struct refusal *reterr_refusal)
{
	if (verify->deadline_usec == 0 || clock_monotonic_usec() <= verify->deadline_usec)
		return 0;
	return refuse(reterr_refusal, REFUSAL_TIMEOUT,
		      "the bundle could not be copied in time: %llu KiB came",
		      (unsigned long long)offset / 1024);
}

/* Room was taken for *size*, so no more than that comes. */
static int check_growth(uint64_t size, uint64_t offset, struct refusal *reterr_refusal)
{
	if (offset <= size)
		return 0;
	return refuse(reterr_refusal, REFUSAL_BAD_DESCRIPTOR,
		      "the bundle file had %llu bytes and grew while it was copied; send it when "
		      "it is complete",
		      (unsigned long long)size);
}

/* Reads what comes next of *fd*, which has *size* bytes or fewer by now, to *receipt*, by way of
 * *first* at the beginning, and gives it to the hasher. */
static int read_chunk(int fd, uint64_t size, struct bundle_receipt *receipt,
		      struct digest_state *digest, uint8_t *first, size_t *ret,
		      struct refusal *reterr_refusal)
{
	bool is_first = receipt->size == 0;
	uint8_t *place = receipt->memory + receipt->size;
	uint8_t *chunk = is_first ? first : place;
	size_t wanted = is_first ? FIRST_SIZE : CHUNK_SIZE;
	int r;

	wanted = (size_t)MIN(size + 1 - receipt->size, (uint64_t)wanted);
	r = fd_pread_full(fd, chunk, wanted, receipt->size, ret);
	if (r == 0)
		r = check_growth(size, receipt->size + *ret, reterr_refusal);
	if (r != 0)
		return r;
	hasher_post(receipt->hasher, digest, chunk, *ret);
	if (is_first)
		memcpy(place, first, *ret);
	receipt->size += *ret;
	return 0;
}

/* Reads *fd* to the digest and to *receipt*. What comes first is digested elsewhere: meanwhile a
 * large page is made for it, which takes as long. */
static int digest_to_memory(int fd, uint64_t size, const struct bundle_verify *verify,
			    struct bundle_receipt *receipt, struct digest_state *digest,
			    struct refusal *reterr_refusal)
{
	cleanup_free uint8_t *first = malloc(FIRST_SIZE);
	size_t n = 1;
	int r = 0;

	receipt->memory =
		size >= LARGE_SIZE ? memory_new_large((size_t)size + 1) : malloc((size_t)size + 1);
	if (!first || !receipt->memory)
		return -ENOMEM;
	while (r == 0 && n > 0) {
		r = check_time(verify, receipt->size, reterr_refusal);
		if (r == 0)
			r = read_chunk(fd, size, receipt, digest, first, &n, reterr_refusal);
	}
	/* The first job's. */
	hasher_wait(receipt->hasher, MIN(hasher_last(receipt->hasher), (uint64_t)1));
	return r;
}

struct bundle_copy {
	struct digest_state digest; /* the hasher's */
	struct bundle_receipt receipt;
};

struct bundle_copy *bundle_copy_free(struct bundle_copy *copy)
{
	if (!copy)
		return NULL;
	bundle_receipt_done(&copy->receipt);
	free(copy);
	return NULL;
}

struct bundle_copy *bundle_copy_begin(int fd)
{
	const struct bundle_verify nothing = {0};
	cleanup_bundle_copy struct bundle_copy *copy = NULL;
	struct refusal refusal = REFUSAL_INIT;
	uint64_t size = 0;
	int r = check_descriptor(fd, &size, &refusal);

	if (r != 0 || size > SMALL_SIZE)
		return NULL;
	copy = aligned_alloc(_Alignof(struct bundle_copy), sizeof(*copy));
	if (!copy)
		return NULL;
	copy->receipt = BUNDLE_RECEIPT_INIT;
	digest_begin(&copy->digest);
	r = hasher_new(&copy->receipt.hasher);
	if (r == 0)
		r = digest_to_memory(fd, size, &nothing, &copy->receipt, &copy->digest, &refusal);
	return r == 0 ? TAKE_PTR(copy) : NULL;
}

/* Takes what was begun. */
static int end_copy(const struct bundle_verify *verify, const struct minisign_signature *signature,
		    struct bundle_receipt *receipt, struct refusal *reterr_refusal)
{
	struct bundle_copy *copy = verify->begun;
	int r;

	*receipt = copy->receipt;
	copy->receipt = BUNDLE_RECEIPT_INIT;
	r = get_ready(verify, signature, receipt, receipt->size, reterr_refusal);
	hasher_wait(receipt->hasher, hasher_last(receipt->hasher));
	digest_end(&copy->digest, &receipt->digest);
	return r;
}

/* Reads *fd*, which has *size* bytes or fewer by now, to the digest, and to *copy* if that is open.
 * The chunks and the digest are the hasher's until it ends. */
static int digest_and_copy(int fd, uint64_t size, const struct bundle_verify *verify,
			   struct bundle_receipt *receipt, struct chunks *chunks,
			   struct spool *copy, struct refusal *reterr_refusal)
{
	struct hasher *hasher = receipt->hasher;
	uint64_t offset = 0;
	size_t n = 0;

	do {
		uint8_t *chunk = chunks->data[hasher_turn(hasher, &chunks->turns)];
		int r = check_time(verify, offset, reterr_refusal);

		if (r == 0)
			r = fd_pread_full(fd, chunk, CHUNK_SIZE, offset, &n);
		offset += n;
		if (r == 0)
			r = check_growth(size, offset, reterr_refusal);
		if (r != 0)
			return r;
		hasher_post(hasher, chunks->digest, chunk, n);
		r = copy->fd < 0 ? 0 : spool_add(copy, chunk, n, reterr_refusal);
		if (r != 0)
			return r;
	} while (n == CHUNK_SIZE);
	return 0;
}

static int take_bytes(int fd, uint64_t size, const struct bundle_verify *verify,
		      const struct minisign_signature *signature, struct spool *copy,
		      struct bundle_receipt *receipt, struct refusal *reterr_refusal)
{
	bool is_in_memory = copy->fd < 0 && size <= SMALL_SIZE;
	cleanup_free struct chunks *chunks = calloc(1, sizeof(*chunks));
	struct digest_state digest;
	int r;

	if (!chunks)
		return -ENOMEM;
	chunks->digest = &digest;
	digest_begin(&digest);
	r = is_in_memory ? digest_to_memory(fd, size, verify, receipt, &digest, reterr_refusal)
			 : digest_and_copy(fd, size, verify, receipt, chunks, copy, reterr_refusal);
	if (r == 0)
		r = get_ready(verify, signature, receipt, size, reterr_refusal);
	/* It has our state and the bytes, whatever came of it. */
	hasher_wait(receipt->hasher, hasher_last(receipt->hasher));
	if (r == 0)
		digest_end(&digest, &receipt->digest);
	return r;
}

int bundle_receive(int fd, const struct bundle_verify *verify, struct bundle_receipt *ret,
		   struct refusal *reterr_refusal)
{
	cleanup_spool struct spool copy = SPOOL_INIT;
	cleanup_bundle_receipt struct bundle_receipt receipt = BUNDLE_RECEIPT_INIT;
	struct minisign_signature signature;
	uint64_t size = 0;
	bool is_copied;
	int r = check_descriptor(fd, &size, reterr_refusal);

	if (r != 0)
		return r;
	is_copied = !verify->begun && size > SMALL_SIZE && !is_sealed(fd);
	r = trust_signature_parse(verify->signature, verify->signature_size, &signature,
				  reterr_refusal);
	if (r == 0 && is_copied)
		r = spool_open(&copy, verify->private_dirfd, size, O_EXCL, reterr_refusal);
	if (r == 0 && !verify->begun)
		r = hasher_new(&receipt.hasher);
	if (r == 0)
		r = verify->begun ? end_copy(verify, &signature, &receipt, reterr_refusal)
				  : take_bytes(fd, size, verify, &signature, &copy, &receipt,
					       reterr_refusal);
	if (r == 0)
		r = trust_verify_file(receipt.key, &signature, &receipt.digest, verify->now,
				      &receipt.identity, reterr_refusal);
	if (r != 0)
		return r;
	if (!receipt.memory) {
		receipt.fd = is_copied ? TAKE_FD(copy.fd) : fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if (receipt.fd < 0)
			return -errno;
	}
	*ret = receipt;
	receipt = BUNDLE_RECEIPT_INIT;
	return 0;
}

void bundle_receipt_done(struct bundle_receipt *receipt)
{
	receipt->frames = frames_close(receipt->frames);
	receipt->hasher = hasher_free(receipt->hasher);
	receipt->fd = fd_close(receipt->fd);
	free(receipt->memory);
	receipt->memory = NULL;
}
