/* SPDX-License-Identifier: Apache-2.0 */

/* Selectors, as operators and everybody with a token write them. */

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "control/selector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* The one way to write a selector means the same, and is written the same again. */
static void check_text(const struct selector *selector)
{
	static const struct selector_label labels[] = {
		{"os",   "linux"},
                {"arch", "amd64"},
                {"env",  "prod" },
                {"rack", ""     }
        };
	cleanup_selector struct selector *again = NULL;
	cleanup_free char *text = selector_to_string(selector);
	cleanup_free char *same = NULL;
	char problem[SELECTOR_PROBLEM_MAX];

	must(text != NULL);
	/* It may be a little longer than what was read: "a in(b)" is "a=b", but "(b,c)" gets
	 * blanks. */
	if (strlen(text) > SELECTOR_SIZE_MAX)
		return;
	must(selector_parse(text, &again, problem) == 0);
	same = selector_to_string(again);
	must(same != NULL && strcmp(text, same) == 0);
	for (size_t n = 0; n <= ARRAY_SIZE(labels); n++)
		must(selector_matches(selector, labels, n) == selector_matches(again, labels, n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_selector struct selector *selector = NULL;
	cleanup_free char *text = strndup((const char *)data, size);
	char problem[SELECTOR_PROBLEM_MAX] = "";
	int r;

	must(text != NULL);
	r = selector_parse(text, &selector, problem);
	must(r == 0 || r == 1);
	must((r == 0) == (selector != NULL) && (r == 1) == (problem[0] != '\0'));
	must(str_is_utf8(problem, strlen(problem)));
	if (selector)
		check_text(selector);
	return 0;
}
