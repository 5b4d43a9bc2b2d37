/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

/* Room for *size* bytes that will all be used, at the beginning of a page; NULL. The kernel may
 * make it of large pages: one fault then does for 512. free() it. */
void *memory_new_large(size_t size);
