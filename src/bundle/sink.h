/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Whoever takes the content of an entry at once, instead of a spooled file: that is then as long as
 * the entry, and a hole. What goes wrong with the content is for the sink to remember, and to say
 * later.
 */
struct bundle_sink {
	/* Whether it takes *size* bytes. 0 or -errno. */
	int (*begin)(void *context, uint64_t size, bool *ret_taken);
	void (*add)(void *context, const void *data, size_t size);
	/* All of it came, and *fd* stands for it. 0 or -errno. */
	int (*end)(void *context, int fd);
	void *context;
};
