/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Bundles: input that begins as a compressed stream goes through bundle_open(), anything else is
 * the tar archive within one. What is accepted is read again by a reader that knows nothing but
 * plain headers: the two must see the same entries.
 */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "bundle/contents.h"
#include "bundle/digest_table.h"
#include "must.h"
#include "tar_blocks.h"

#define BLOCK TAR_BLOCKS_SIZE
#define PIECE (2U * BLOCK)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct memory {
	struct hasher *hasher;
	const uint8_t *data;
	size_t size;
	size_t at;
	uint8_t *piece; /* of its own, so that a read too far is seen */
};

static int read_memory(void *context, const void **ret, size_t *ret_size,
		       struct refusal *reterr_refusal)
{
	struct memory *memory = context;
	size_t n = MIN((size_t)PIECE, memory->size - memory->at);

	(void)reterr_refusal;
	hasher_wait(memory->hasher, hasher_last(memory->hasher));
	free(memory->piece);
	memory->piece = malloc(n > 0 ? n : 1);
	must(memory->piece != NULL);
	memcpy(memory->piece, memory->data + memory->at, n);
	memory->at += n;
	*ret = memory->piece;
	*ret_size = n;
	return 0;
}

static void check_against_archive(const struct bundle *bundle, const uint8_t *data, size_t size)
{
	size_t at = 0;

	for (size_t i = 0; i < bundle->n_entries; i++) {
		const struct bundle_entry *entry = &bundle->entries[i];
		struct digest digest;

		must(size - at >= BLOCK);
		must(strncmp(entry->name, (const char *)data + at, 100) == 0);
		must(data[at + 156] == '0' || data[at + 156] == '\0');
		must(entry->size == tar_blocks_size(data + at + 124));
		at += BLOCK;
		must(entry->size <= size - at);
		digest_of(data + at, (size_t)entry->size, &digest);
		must(digest_is_equal(&digest, &entry->digest));
		must(!entry->text || memcmp(entry->text, data + at, (size_t)entry->size) == 0);
		at += ((size_t)entry->size + BLOCK - 1) / BLOCK * BLOCK;
	}
	must(size - at >= 2UL * BLOCK && size - at <= 2UL * BLOCK + TAR_PADDING_MAX);
	for (; at < size; at++)
		must(data[at] == 0);
}

static void check_bundle(const struct bundle *bundle)
{
	uint64_t sum = 0;

	must(bundle->n_entries > 0 && bundle->n_entries <= BUNDLE_ENTRIES_MAX);
	must(strcmp(bundle->entries[0].name, MANIFEST_NAME) == 0);
	must(bundle_find(bundle, bundle->manifest->exec_binary) != NULL);
	for (size_t i = 0; i < bundle->n_entries; i++) {
		const struct bundle_entry *entry = &bundle->entries[i];

		must(path_is_safe_name(entry->name) && entry->name[0] != '.');
		must(i < 2 || strcmp(bundle->entries[i - 1].name, entry->name) < 0);
		must(!entry->text || entry->text[entry->size] == '\0');
		must(entry->fd == -EBADF);
		sum += entry->size;
	}
	must(sum == bundle->size && sum <= BUNDLE_SIZE_MAX);
}

/* What the outcome promises, whatever it is; the caller frees the bundle. */
static void check_outcome(int r, const struct bundle *bundle, const struct refusal *refusal)
{
	must(r >= 0 && (r == 0) == (bundle != NULL));
	if (r > 0)
		must((int)refusal->code == r && strlen(refusal->text) > 0);
	else
		check_bundle(bundle);
}

static void try_archive(struct hasher *hasher, const uint8_t *data, size_t size)
{
	struct memory memory = {.hasher = hasher, .data = data, .size = size};
	cleanup_bundle struct bundle *bundle = NULL;
	struct refusal refusal = REFUSAL_INIT;
	int r = contents_read(&(struct tar_source){read_memory, &memory}, NULL, hasher, NULL, NULL,
			      &bundle, &refusal);

	hasher_wait(hasher, hasher_last(hasher));
	free(memory.piece);
	check_outcome(r, bundle, &refusal);
	if (r == 0)
		check_against_archive(bundle, data, size);
}

/* A table has one spelling. */
static void check_table(int fd, const uint8_t *data, size_t size)
{
	cleanup_free struct digest_table *table = NULL;
	cleanup_fd int copy = memfd_create("table", MFD_CLOEXEC);
	cleanup_free uint8_t *again = malloc(size + 1);
	size_t n = 0;

	must(copy >= 0 && again && digest_table_read(BYTES_OF_FILE(fd), &table) == 0 &&
	     table->offset <= size);
	must((table->n == 0) == (table->offset == size));
	if (table->n == 0)
		return;
	must(digest_table_write(copy, table->digests, table->n) == 0);
	must(fd_pread_full(copy, again, size + 1, 0, &n) == 0 && n == size - table->offset);
	must(memcmp(again, data + table->offset, n) == 0);
}

/* The same bytes in memory, for whom a signature is for what *file* was, if it was a bundle. */
static void try_memory(struct hasher *hasher, const uint8_t *data, size_t size,
		       const struct bundle *file)
{
	cleanup_bundle struct bundle *bundle = NULL;
	struct bundle_receipt receipt = BUNDLE_RECEIPT_INIT;
	struct refusal refusal = REFUSAL_INIT;
	int r;

	receipt.memory = memcpy(malloc(size), data, size);
	receipt.size = size;
	receipt.hasher = hasher;
	if (file)
		receipt.identity = file->identity;
	r = bundle_open_received(&receipt, NULL, &bundle, &refusal);
	check_outcome(r, bundle, &refusal);
	must(!file || r == 0);
	free(receipt.memory);
}

static void try_file(struct hasher *hasher, const uint8_t *data, size_t size)
{
	cleanup_bundle struct bundle *bundle = NULL;
	cleanup_fd int fd = memfd_create("bundle", MFD_CLOEXEC);
	struct refusal refusal = REFUSAL_INIT;
	int r;

	must(fd >= 0 && fd_write_full(fd, data, size) == 0);
	r = bundle_open(fd, NULL, NULL, &bundle, &refusal);
	check_outcome(r, bundle, &refusal);
	check_table(fd, data, size);
	try_memory(hasher, data, size, bundle);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct hasher *hasher; /* one for all runs: a thread each is slow */
	cleanup_free uint8_t *copy = malloc(size > 0 ? size : 1);

	must(copy && (hasher || hasher_new(&hasher) == 0));
	if (size >= 2 &&
	    ((data[0] == 0x28 && data[1] == 0xb5) || (data[0] == 0x1f && data[1] == 0x8b)))
		try_file(hasher, data, size);
	if (size > 0)
		memcpy(copy, data, size);
	try_archive(hasher, copy, size);
	tar_blocks_repair(copy, size);
	try_archive(hasher, copy, size);
	return 0;
}
