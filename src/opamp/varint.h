/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Protobuf's base-128 numbers and keys of fields, for the few frames that are written without their
 * payload being copied. Each put returns how many bytes it wrote. */

#define VARINT_SIZE_MAX 10U

enum varint_wire {
	VARINT_NUMBER = 0,
	VARINT_BYTES = 2,
};

static inline size_t varint_put(uint64_t value, uint8_t *out)
{
	size_t n = 0;

	while (value >= 0x80U) {
		out[n++] = (uint8_t)(value | 0x80U);
		value >>= 7U;
	}
	out[n++] = (uint8_t)value;
	return n;
}

static inline size_t varint_put_key(uint32_t field, enum varint_wire wire, uint8_t *out)
{
	return varint_put((uint64_t)field << 3U | (unsigned)wire, out);
}
