/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"

/* Values of options of `affix image`. Each returns 0, or 1 for text that is none. */

/* "2G" (*ret_size*), "+512M" (*ret_spare* beside what is needed), "fit". K, M, G and T are powers
 * of 1024. */
must_check int image_size_parse(const char *text, uint64_t *ret_size, uint64_t *ret_spare);

/* 8-4-4-4-12 hexadecimal digits. */
must_check int image_uuid_parse(const char *text, uint8_t ret[16]);
