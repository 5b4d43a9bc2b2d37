/* SPDX-License-Identifier: Apache-2.0 */

/* Diagnostics for people: a line that an editor can jump to. File names are the user's own, but not
 * of his making always. */

#include "cli/problems.h"

#include <string.h>

#include "base/str.h"

#define SHOWN_MAX 4096U

void problems_print(const struct diagnostics *problems, FILE *stream, bool with_names)
{
	for (size_t i = 0; i < problems->count; i++) {
		const struct diagnostic *item = &problems->items[i];
		cleanup_free char *file = str_escape(item->file, strlen(item->file), SHOWN_MAX);
		cleanup_free char *message =
			str_escape(item->message, strlen(item->message), SHOWN_MAX);

		(void)fprintf(stream, "%s%s%s:%u:%u: %s\n",
			      with_names ? refusal_to_string(item->code) : "",
			      with_names ? ": " : "", file ? file : "?", item->line, item->column,
			      message ? message : "out of memory");
	}
}
