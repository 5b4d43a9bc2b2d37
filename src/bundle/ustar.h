/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bundle/tar.h"

/* A header as POSIX.1-2017 has it: pax, "ustar Interchange Format". Numbers are octal digits. */
struct ustar_header {
	char name[TAR_NAME_MAX];
	char mode[8];
	char uid[8];
	char gid[8];
	char size[12];
	char mtime[12];
	char checksum[8];
	char type;
	char link_name[100];
	char magic[8]; /* with the version behind it */
	char user[32];
	char group[32];
	char device_major[8];
	char device_minor[8];
	char prefix[155];
	char padding[12];
};

static_assert(sizeof(struct ustar_header) == TAR_BLOCK_SIZE, "a header is a block");

/* The header of a regular file of root's, of 1970; *name* has at most TAR_NAME_MAX bytes, *size* is
 * below 8 GiB. */
void ustar_format(struct ustar_header *ret, const char *name, uint64_t size, bool is_executable);

/* The same for any mode: of a regular file, or of a directory. */
void ustar_format_mode(struct ustar_header *ret, const char *name, uint64_t size, mode_t mode);
