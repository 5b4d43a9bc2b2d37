/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

/* How many single-byte edits make *a* of *b*; a large number for words of more than 40 bytes. */
size_t word_distance(const char *a, const char *b);

/* Up to how many edits another word is likely to be what *word* was meant to be. */
size_t word_distance_max(const char *word);
