/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* FNV-1a, 64 bits: for names of contents. Tables have hash.h. */

#define FNV_INIT      0xcbf29ce484222325ULL
#define FNV_TEXT_SIZE 17U

static inline uint64_t fnv_add(uint64_t hash, const void *data, size_t size)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < size; i++) {
		/* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): all are set */
		hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
	}
	return hash;
}

static inline void fnv_format(uint64_t hash, char text[FNV_TEXT_SIZE])
{
	(void)snprintf(text, FNV_TEXT_SIZE, "%016llx", (unsigned long long)hash);
}
