/* SPDX-License-Identifier: Apache-2.0 */

/* Sizes and identifiers as the commands of `affix image` take them. */

#include "cli/image_options.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int parse_bytes(const char *text, uint64_t *ret)
{
	static const char units[] = "KMGT";
	char *end = NULL;
	unsigned long long number;
	unsigned shift = 0;

	errno = 0;
	number = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)*text) || errno != 0)
		return 1;
	if (*end != '\0') {
		const char *unit = strchr(units, *end);

		if (!unit || end[1] != '\0')
			return 1;
		shift = 10 * (unsigned)(unit - units + 1);
	}
	if (number > UINT64_MAX >> 1 >> shift)
		return 1;
	*ret = (uint64_t)number << shift;
	return 0;
}

int image_size_parse(const char *text, uint64_t *ret_size, uint64_t *ret_spare)
{
	*ret_size = 0;
	*ret_spare = 0;
	if (strcmp(text, "fit") == 0)
		return 0;
	if (*text == '+')
		return parse_bytes(text + 1, ret_spare);
	return parse_bytes(text, ret_size) > 0 || *ret_size == 0 ? 1 : 0;
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (tolower((unsigned char)c) >= 'a' && tolower((unsigned char)c) <= 'f')
		return tolower((unsigned char)c) - 'a' + 10;
	return -1;
}

int image_uuid_parse(const char *text, uint8_t ret[16])
{
	size_t nibble = 0;

	if (strlen(text) != 36)
		return 1;
	for (size_t i = 0; i < 36; i++) {
		int value = digit_value(text[i]);

		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (text[i] != '-')
				return 1;
			continue;
		}
		if (value < 0)
			return 1;
		ret[nibble / 2] = (uint8_t)(nibble % 2 == 0 ? value << 4 : ret[nibble / 2] | value);
		nibble++;
	}
	return 0;
}
