/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The one kind of header that a bundle has. Written here and not by libarchive: its writer pulls
 * all formats into the program, and their libraries with them. The bytes are those that libarchive
 * writes, so bundles stay what they were: numbers end with a blank, where there is room with a NUL
 * behind it.
 */

#include "bundle/ustar.h"

#include <string.h>
#include <sys/stat.h>

/* *digits* octal digits and a blank; what is behind is NUL already. */
static void format_number(char *field, size_t digits, uint64_t value)
{
	field[digits] = ' ';
	while (digits > 0) {
		field[--digits] = (char)('0' + (value & 7));
		value >>= 3;
	}
	assert(value == 0);
}

static void format_checksum(struct ustar_header *header)
{
	const uint8_t *bytes = (const uint8_t *)header;
	uint64_t sum = 0;

	memset(header->checksum, ' ', sizeof(header->checksum));
	for (size_t i = 0; i < sizeof(*header); i++)
		sum += bytes[i];
	/* The one number with the NUL before the blank. */
	format_number(header->checksum, sizeof(header->checksum) - 2, sum);
	header->checksum[6] = '\0';
	header->checksum[7] = ' ';
}

void ustar_format_mode(struct ustar_header *ret, const char *name, uint64_t size, mode_t mode)
{
	size_t length = strlen(name);

	assert(length <= sizeof(ret->name));
	*ret = (struct ustar_header){.type = S_ISDIR(mode) ? '5' : '0'};
	memcpy(ret->name, name, length);
	format_number(ret->mode, 6, mode & 07777);
	format_number(ret->uid, 6, 0);
	format_number(ret->gid, 6, 0);
	format_number(ret->size, 11, size);
	format_number(ret->mtime, 11, 0);
	memcpy(ret->magic, "ustar\00000", sizeof(ret->magic));
	format_number(ret->device_major, 6, 0);
	format_number(ret->device_minor, 6, 0);
	format_checksum(ret);
}

void ustar_format(struct ustar_header *ret, const char *name, uint64_t size, bool is_executable)
{
	ustar_format_mode(ret, name, size, S_IFREG | (is_executable ? 0755 : 0644));
}
