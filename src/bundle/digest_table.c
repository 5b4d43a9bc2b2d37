/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The format, which affix-bundle(5) describes: a zstd skippable frame (RFC 8878, 3.1.2) whose
 * content is a tag, the digests, and their number as the last four bytes of the file. From that
 * number follows where the frame begins, and whether all of it is there.
 */

#include "bundle/digest_table.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "bundle/bundle.h"

#define SKIPPABLE_MAGIC 0x184d2a5aU
#define TAG             "affix:b2"

struct head {
	uint32_t magic; /* little-endian, as the others */
	uint32_t size;  /* of what follows in the frame */
	char tag[8];
};

static size_t table_size(size_t n)
{
	return sizeof(struct head) + n * sizeof(struct digest) + sizeof(uint32_t);
}

static struct head make_head(size_t n)
{
	struct head head = {
		.magic = htole32(SKIPPABLE_MAGIC),
		.size = htole32((uint32_t)(table_size(n) - 2 * sizeof(uint32_t))),
	};

	memcpy(head.tag, TAG, sizeof(head.tag));
	return head;
}

/* The number at the end of a file of *size* bytes, if a table of so many has room there; else 0. */
static int read_number(const struct bytes *bytes, uint64_t size, size_t *ret)
{
	uint32_t number = 0;
	size_t n = 0;
	int r = 0;

	if (size > sizeof(number))
		r = bytes_read(bytes, &number, sizeof(number), size - sizeof(number), &n);
	number = n == sizeof(number) ? le32toh(number) : 0;
	*ret = number <= BUNDLE_ENTRIES_MAX && table_size(number) <= size ? number : 0;
	return r;
}

/* The table of *n* digests that begins at its offset, if there is one. */
static int read_table(const struct bytes *bytes, size_t n, struct digest_table *table)
{
	const struct head wanted = make_head(n);
	struct head head;
	size_t got = 0;
	int r = bytes_read(bytes, &head, sizeof(head), table->offset, &got);

	if (r < 0 || got != sizeof(head) || memcmp(&head, &wanted, sizeof(head)) != 0)
		return r;
	r = bytes_read(bytes, table->digests, n * sizeof(*table->digests),
		       table->offset + sizeof(head), &got);
	if (r == 0 && got == n * sizeof(*table->digests))
		table->n = n;
	return r;
}

int digest_table_read(const struct bytes *bytes, struct digest_table **ret)
{
	cleanup_free struct digest_table *table =
		calloc(1, sizeof(*table) + BUNDLE_ENTRIES_MAX * sizeof(table->digests[0]));
	uint64_t size = 0;
	size_t n = 0;
	int r;

	if (!table)
		return -ENOMEM;
	r = bytes_size(bytes, &size);
	if (r == 0)
		r = read_number(bytes, size, &n);
	if (r < 0)
		return r;
	table->offset = size - (n > 0 ? table_size(n) : 0);
	r = n > 0 ? read_table(bytes, n, table) : 0;
	if (r < 0)
		return r;
	if (table->n == 0)
		table->offset = size;
	*ret = TAKE_PTR(table);
	return 0;
}

int digest_table_write(int fd, const struct digest *digests, size_t n)
{
	const struct head head = make_head(n);
	const uint32_t number = htole32((uint32_t)n);
	int r;

	if (n == 0 || n > BUNDLE_ENTRIES_MAX)
		return -EINVAL;
	r = fd_write_full(fd, &head, sizeof(head));
	if (r == 0)
		r = fd_write_full(fd, digests, n * sizeof(*digests));
	return r < 0 ? r : fd_write_full(fd, &number, sizeof(number));
}
