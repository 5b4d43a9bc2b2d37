/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/* The bytes of a bundle's file, borrowed: in memory, or a descriptor, whose position is not used.
 */
struct bytes {
	int fd;
	const uint8_t *memory; /* or NULL */
	uint64_t size;         /* of the memory */
};

#define BYTES_OF_FILE(file) (&(const struct bytes){.fd = (file)})

/* As fd_pread_full(): less than *size* at the end only. 0 or -errno. */
must_check int bytes_read(const struct bytes *bytes, void *buffer, size_t size, uint64_t offset,
			  size_t *ret_size);

/* How many there are; of what is no regular file, 0. 0 or -errno. */
must_check int bytes_size(const struct bytes *bytes, uint64_t *ret);
