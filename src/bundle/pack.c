/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The writer: a plain ustar archive in a row of zstd frames, each small enough to be decompressed
 * in one step and beside the next (frames.c), which costs 12 % of the size. Whatever could differ
 * from one machine or moment to the next is fixed: times and owners are zero, modes are two, the
 * compressor runs in one thread with the parameters below, and gets chunks of one size, whatever
 * the entries are.
 */

#include "bundle/pack.h"

#include <errno.h>
#include <string.h>
#include <zstd.h>

#include "base/fd.h"
#include "bundle/bundle.h"
#include "bundle/digest_table.h"
#include "bundle/ustar.h"

/* Measured on programs: higher levels take two to eight times as long for 2 % of the size. */
#define PACK_LEVEL 9
/* Measured: decompressed in a processor's own cache, installs are a fifth faster than with 2 MiB,
 * for 5 % of the size. */
#define PACK_FRAME_SIZE (512UL << 10)
#define OUTPUT_SIZE     (128UL * 1024)
#define CHUNK_SIZE      (128UL * 1024)

struct pack {
	ZSTD_CCtx *zstd;
	int fd;
	uint64_t left; /* of the archive, behind what the open frame will hold */
	size_t room;   /* in the open frame */
	size_t chunk_size;
	struct digest_state state; /* of the entry that is being added */
	uint8_t output[OUTPUT_SIZE];
	uint8_t chunk[CHUNK_SIZE]; /* of the archive, not yet compressed */
};

static struct pack *pack_free(struct pack *pack)
{
	(void)ZSTD_freeCCtx(pack->zstd);
	free(pack);
	return NULL;
}

DEFINE_CLEANUP(struct pack *, pack, pack_free)

static int begin_frame(struct pack *pack)
{
	pack->room = (size_t)MIN(pack->left, (uint64_t)PACK_FRAME_SIZE);
	pack->left -= pack->room;
	return ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(pack->zstd, pack->room)) ? -EINVAL : 0;
}

static int add_to_frame(struct pack *pack, const void *data, size_t size)
{
	ZSTD_EndDirective end = size == pack->room ? ZSTD_e_end : ZSTD_e_continue;
	ZSTD_inBuffer in = {data, size, 0};
	size_t left;

	do {
		ZSTD_outBuffer out = {pack->output, sizeof(pack->output), 0};
		int r;

		left = ZSTD_compressStream2(pack->zstd, &out, &in, end);
		if (ZSTD_isError(left))
			return -EIO;
		r = fd_write_full(pack->fd, pack->output, out.pos);
		if (r < 0)
			return r;
	} while (in.pos < in.size || (end == ZSTD_e_end && left > 0));
	pack->room -= size;
	return 0;
}

static int compress(struct pack *pack, const uint8_t *data, size_t size)
{
	while (size > 0) {
		size_t n = MIN(size, pack->room);
		int r = n > 0 ? add_to_frame(pack, data, n) : -EIO;

		if (r == 0 && pack->room == 0)
			r = begin_frame(pack);
		if (r < 0)
			return r;
		data += n;
		size -= n;
	}
	return 0;
}

static int flush_chunk(struct pack *pack)
{
	size_t size = pack->chunk_size;

	pack->chunk_size = 0;
	return compress(pack, pack->chunk, size);
}

/* *size* bytes of the chunk were filled in. */
static int grow_chunk(struct pack *pack, size_t size)
{
	pack->chunk_size += size;
	return pack->chunk_size == CHUNK_SIZE ? flush_chunk(pack) : 0;
}

/* *data* may be NULL for zeroes. */
static int add(struct pack *pack, const void *data, size_t size)
{
	size_t done = 0;
	int r = 0;

	while (done < size && r == 0) {
		uint8_t *to = pack->chunk + pack->chunk_size;
		size_t n = MIN(size - done, CHUNK_SIZE - pack->chunk_size);

		if (data)
			memcpy(to, (const uint8_t *)data + done, n);
		else
			memset(to, 0, n);
		done += n;
		r = grow_chunk(pack, n);
	}
	return r;
}

static int add_file(struct pack *pack, int fd, uint64_t size)
{
	uint64_t done = 0;
	int r = 0;

	while (done < size && r == 0) {
		size_t wanted = (size_t)MIN(size - done, (uint64_t)CHUNK_SIZE - pack->chunk_size);
		size_t n = 0;

		r = fd_pread_full(fd, pack->chunk + pack->chunk_size, wanted, done, &n);
		if (r < 0)
			return r;
		if (n < wanted)
			return -ESTALE;
		digest_add(&pack->state, pack->chunk + pack->chunk_size, n);
		done += n;
		r = grow_chunk(pack, n);
	}
	return r;
}

static int add_entry(struct pack *pack, const struct pack_entry *entry, struct digest *ret)
{
	struct ustar_header header;
	size_t tail = (size_t)(entry->size % TAR_BLOCK_SIZE);
	int r;

	ustar_format(&header, entry->name, entry->size, entry->is_executable);
	r = add(pack, &header, sizeof(header));
	digest_begin(&pack->state);
	if (entry->data)
		digest_add(&pack->state, entry->data, (size_t)entry->size);
	if (r == 0)
		r = entry->data ? add(pack, entry->data, (size_t)entry->size)
				: add_file(pack, entry->fd, entry->size);
	digest_end(&pack->state, ret);
	return r == 0 && tail > 0 ? add(pack, NULL, TAR_BLOCK_SIZE - tail) : r;
}

static uint64_t archive_size(const struct pack_entry *entries, size_t n_entries)
{
	uint64_t size = 2ULL * TAR_BLOCK_SIZE;

	for (size_t i = 0; i < n_entries; i++)
		size += TAR_BLOCK_SIZE +
			(entries[i].size + TAR_BLOCK_SIZE - 1) / TAR_BLOCK_SIZE * TAR_BLOCK_SIZE;
	return size;
}

static int setup_zstd(struct pack *pack)
{
	const struct {
		ZSTD_cParameter parameter;
		int value;
	} parameters[] = {
		{ZSTD_c_compressionLevel, PACK_LEVEL},
		{ZSTD_c_contentSizeFlag,  1         },
 /* The signature covers every byte. */
		{ZSTD_c_checksumFlag,     0         },
	};

	pack->zstd = ZSTD_createCCtx();
	if (!pack->zstd)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(parameters); i++) {
		if (ZSTD_isError(ZSTD_CCtx_setParameter(pack->zstd, parameters[i].parameter,
							parameters[i].value)))
			return -EINVAL;
	}
	return begin_frame(pack);
}

int pack_write(int fd, const struct pack_entry *entries, size_t n_entries)
{
	cleanup_free struct digest *digests = calloc(n_entries + 1, sizeof(*digests));
	CLEANUP(cleanup_pack) struct pack *pack = calloc(1, sizeof(*pack));
	int r;

	if (!pack || !digests)
		return -ENOMEM;
	pack->fd = fd;
	pack->left = archive_size(entries, n_entries);
	r = setup_zstd(pack);
	for (size_t i = 0; i < n_entries && r == 0; i++)
		r = add_entry(pack, &entries[i], &digests[i]);
	if (r == 0)
		r = add(pack, NULL, 2UL * TAR_BLOCK_SIZE);
	if (r == 0)
		r = flush_chunk(pack);
	/* A bundle of more is none, which its reader says. */
	return r == 0 && n_entries <= BUNDLE_ENTRIES_MAX
		       ? digest_table_write(fd, digests, n_entries)
		       : r;
}
