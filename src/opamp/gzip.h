/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

enum gzip_error {
	GZIP_E_MALFORMED = 1, /* not one whole gzip member, or something behind it */
	GZIP_E_TOO_LARGE,     /* more than *max* bytes come out */
};

/* One gzip member to at most *max* bytes. 0; enum gzip_error; -ENOMEM. The caller frees *ret*. */
must_check int gzip_decompress(const void *data, size_t size, size_t max, uint8_t **ret,
			       size_t *ret_size);

/* To one gzip member. 0 or -ENOMEM (also above 1 GiB). The caller frees *ret*. */
must_check int gzip_compress(const void *data, size_t size, uint8_t **ret, size_t *ret_size);
