/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

/* What fuzz targets know of tar. */

#define TAR_BLOCKS_SIZE 512U

/* A size field: octal digits behind blanks, or a number of base 256. */
static inline size_t tar_blocks_size(const uint8_t *field)
{
	size_t value = 0;
	size_t at = 0;

	if (field[0] & 0x80) {
		for (at = 4; at < 12; at++)
			value = value << 8 | field[at];
		return value;
	}
	while (at < 12 && (field[at] == ' ' || field[at] == '\t'))
		at++;
	for (; at < 12 && field[at] >= '0' && field[at] <= '7'; at++)
		value = value * 8 + (size_t)(field[at] - '0');
	return value;
}

/* A mutation seldom gets a header's checksum right: here all of them are. */
static inline void tar_blocks_repair(uint8_t *data, size_t size)
{
	for (size_t at = 0; size - at >= TAR_BLOCKS_SIZE && data[at] != 0;) {
		size_t content = tar_blocks_size(data + at + 124);
		unsigned sum = 0;
		char field[8];

		memset(data + at + 148, ' ', 8);
		for (size_t i = 0; i < TAR_BLOCKS_SIZE; i++)
			sum += data[at + i];
		(void)snprintf(field, sizeof(field), "%06o", sum);
		memcpy(data + at + 148, field, sizeof(field));
		at += TAR_BLOCKS_SIZE;
		if (content > size - at)
			break;
		at += MIN((content + TAR_BLOCKS_SIZE - 1) / TAR_BLOCKS_SIZE * TAR_BLOCKS_SIZE,
			  size - at);
	}
}
