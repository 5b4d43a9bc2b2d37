/* SPDX-License-Identifier: Apache-2.0 */

/* Misspelt words, for "did you mean": the edit distance, in one row of the usual table. */

#include "manifest/word.h"

#include <string.h>

#include "base/cleanup.h"

#define WORD_MAX 40U

size_t word_distance(const char *a, const char *b)
{
	size_t row[WORD_MAX + 1];
	size_t n = strlen(a);
	size_t m = strlen(b);

	if (n > WORD_MAX || m > WORD_MAX)
		return WORD_MAX;
	for (size_t j = 0; j <= m; j++)
		row[j] = j;
	for (size_t i = 1; i <= n; i++) {
		size_t corner = row[0];

		row[0] = i;
		for (size_t j = 1; j <= m; j++) {
			size_t edited = corner + (a[i - 1] == b[j - 1] ? 0 : 1);
			size_t shifted = MIN(row[j], row[j - 1]) + 1;

			corner = row[j];
			row[j] = MIN(edited, shifted);
		}
	}
	return row[m];
}

size_t word_distance_max(const char *word)
{
	size_t third = strlen(word) / 3;

	return MAX(third, (size_t)1);
}
