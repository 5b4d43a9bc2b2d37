/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

/* Tar archives by hand, block by block, so that a test can make what no archiver would. */

#define TAR_MAKER_BLOCK 512U

struct tar_maker_entry {
	const char *name;
	size_t name_size; /* 0: strlen(name); more shows a NUL within */
	char type;        /* '\0' stands for '0' */
	const char *link; /* or NULL */
	const char *size; /* the 12 raw bytes of the size field, or NULL for what *data* has */
	const void *data; /* or NULL for zeroes */
	size_t data_size;
	const char *magic;  /* 8 bytes, or NULL for ustar's */
	const char *prefix; /* or NULL */
};

static inline void tar_maker_checksum(uint8_t *block)
{
	unsigned sum = 0;

	memset(block + 148, ' ', 8);
	for (size_t i = 0; i < TAR_MAKER_BLOCK; i++)
		sum += block[i];
	(void)snprintf((char *)block + 148, 8, "%06o", sum);
}

static inline int tar_maker_header(struct buffer *tar, const struct tar_maker_entry *entry)
{
	uint8_t block[TAR_MAKER_BLOCK] = {0};
	size_t length = entry->name_size > 0 ? entry->name_size : strlen(entry->name);

	memcpy(block, entry->name, length);
	(void)snprintf((char *)block + 100, 8, "0000644");
	(void)snprintf((char *)block + 108, 8, "0000000");
	(void)snprintf((char *)block + 116, 8, "0000000");
	if (entry->size)
		memcpy(block + 124, entry->size, 12);
	else
		(void)snprintf((char *)block + 124, 12, "%011zo", entry->data_size);
	(void)snprintf((char *)block + 136, 12, "%011o", 0U);
	block[156] = entry->type == '\0' ? '0' : (uint8_t)entry->type;
	if (entry->link)
		memcpy(block + 157, entry->link, strlen(entry->link));
	/* NOLINTNEXTLINE(bugprone-not-null-terminated-result): a field of eight bytes */
	memcpy(block + 257, entry->magic ? entry->magic : "ustar\00000", 8);
	if (entry->prefix)
		memcpy(block + 345, entry->prefix, strlen(entry->prefix));
	tar_maker_checksum(block);
	return buffer_add(tar, block, sizeof(block));
}

static inline int tar_maker_zeroes(struct buffer *tar, size_t size)
{
	static const char zeroes[4096];
	int r = 0;

	for (size_t done = 0; done < size && r == 0; done += MIN(size - done, sizeof(zeroes)))
		r = buffer_add(tar, zeroes, MIN(size - done, sizeof(zeroes)));
	return r;
}

static inline int tar_maker_add(struct buffer *tar, const struct tar_maker_entry *entry)
{
	int r = tar_maker_header(tar, entry);

	if (r == 0)
		r = entry->data ? buffer_add(tar, entry->data, entry->data_size)
				: tar_maker_zeroes(tar, entry->data_size);
	if (r == 0 && entry->data_size % TAR_MAKER_BLOCK > 0)
		r = tar_maker_zeroes(tar, TAR_MAKER_BLOCK - entry->data_size % TAR_MAKER_BLOCK);
	return r;
}

static inline int tar_maker_end(struct buffer *tar)
{
	return tar_maker_zeroes(tar, 2ULL * TAR_MAKER_BLOCK);
}
