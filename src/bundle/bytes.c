/* SPDX-License-Identifier: Apache-2.0 */

/* Most bundles are small: what was copied to memory to be digested is read there, too. */

#include "bundle/bytes.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"

int bytes_read(const struct bytes *bytes, void *buffer, size_t size, uint64_t offset,
	       size_t *ret_size)
{
	if (!bytes->memory)
		return fd_pread_full(bytes->fd, buffer, size, offset, ret_size);
	offset = MIN(offset, bytes->size);
	*ret_size = (size_t)MIN((uint64_t)size, bytes->size - offset);
	memcpy(buffer, bytes->memory + offset, *ret_size);
	return 0;
}

int bytes_size(const struct bytes *bytes, uint64_t *ret)
{
	struct stat st;

	if (bytes->memory) {
		*ret = bytes->size;
		return 0;
	}
	if (fstat(bytes->fd, &st) < 0)
		return -errno;
	*ret = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	return 0;
}
