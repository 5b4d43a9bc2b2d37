/* SPDX-License-Identifier: Apache-2.0 */

/* Whose container a cgroup is, by its name. */

#include "netprobe/container.h"

#include <string.h>

#define HEX_DIGITS "0123456789abcdefABCDEF"
#define SHORT_ID   32U

bool container_id_parse(const char *path, char id[FLOW_CONTAINER_MAX + 1])
{
	const char *at = path;

	id[0] = '\0';
	while (*at != '\0') {
		size_t length = strspn(at, HEX_DIGITS);

		if (length == FLOW_CONTAINER_MAX || length == SHORT_ID) {
			memcpy(id, at, length);
			id[length] = '\0';
			return true;
		}
		at += length > 0 ? length : strcspn(at, HEX_DIGITS);
	}
	return false;
}
