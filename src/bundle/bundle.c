/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A bundle from outside in: file → one compressed stream (decompress.c) → plain tar entries (tar.c)
 * → the entries of an add-on (contents.c) → which agree with each other (agree.c). Bytes flow
 * through in pieces and nothing is held whole but the texts that affix reads, so memory
 * does not grow with the bundle.
 */

#include "bundle/bundle.h"

#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "bundle/contents.h"
#include "bundle/decompress.h"
#include "crypto/digest.h"

static int read_piece(void *context, const void **ret, size_t *ret_size,
		      struct refusal *reterr_refusal)
{
	return decompress_read(context, ret, ret_size, reterr_refusal);
}

static int open_with(struct hasher *hasher, struct frames **ready, const struct bytes *bytes,
		     const struct identity *identity, const struct bundle_spool *spool,
		     struct bundle **ret, struct refusal *reterr_refusal)
{
	cleanup_decompressor struct decompressor *stream = NULL;
	int r = decompress_open(bytes, hasher, ready, &stream, reterr_refusal);

	if (r != 0)
		return r;
	return contents_read(&(struct tar_source){read_piece, stream}, decompress_table(stream),
			     hasher, identity, spool, ret, reterr_refusal);
}

int bundle_open(int fd, const struct identity *identity, const struct bundle_spool *spool,
		struct bundle **ret, struct refusal *reterr_refusal)
{
	cleanup_hasher struct hasher *hasher = NULL;
	cleanup_bundle struct bundle *bundle = NULL;
	int r = hasher_new(&hasher);

	if (r < 0)
		return r;
	r = open_with(hasher, NULL, BYTES_OF_FILE(fd), identity, spool, &bundle, reterr_refusal);
	if (r != 0)
		return r;
	r = identity ? 0 : digest_of_fd(fd, &bundle->digest, NULL);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(bundle);
	return 0;
}

int bundle_open_received(struct bundle_receipt *receipt, const struct bundle_spool *spool,
			 struct bundle **ret, struct refusal *reterr_refusal)
{
	const struct bytes bytes = {receipt->fd, receipt->memory, receipt->size};
	int r = open_with(receipt->hasher, &receipt->frames, &bytes, &receipt->identity, spool, ret,
			  reterr_refusal);

	if (r == 0)
		(*ret)->digest = receipt->digest;
	return r;
}

struct bundle *bundle_free(struct bundle *bundle)
{
	if (!bundle)
		return NULL;
	for (size_t i = 0; i < bundle->n_entries; i++) {
		free(bundle->entries[i].name);
		free(bundle->entries[i].text);
		(void)fd_close(bundle->entries[i].fd);
	}
	free(bundle->entries);
	(void)manifest_free(bundle->manifest);
	free(bundle);
	return NULL;
}

void bundle_close_spool(struct bundle *bundle)
{
	for (size_t i = 0; i < bundle->n_entries; i++)
		bundle->entries[i].fd = fd_close(bundle->entries[i].fd);
}

const struct bundle_entry *bundle_find(const struct bundle *bundle, const char *name)
{
	for (size_t i = 0; i < bundle->n_entries; i++) {
		if (strcmp(bundle->entries[i].name, name) == 0)
			return &bundle->entries[i];
	}
	return NULL;
}

bool bundle_is_unit_name(const char *name)
{
	return str_ends_with(name, ".service") || str_ends_with(name, ".timer");
}
