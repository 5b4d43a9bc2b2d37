/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Regular expressions from strangers over text from strangers. PCRE2's match limit is counted anew
 * at every position that the search starts from, and counts no character that a repeat runs over,
 * so that neither bounds the time. Here an automatic callout in front of every item pays for each
 * step, and for the distance to the step before, out of the budget of the whole validation. The
 * interpreter is used, not the JIT: it needs no writable code, and its backtracking is on the heap.
 */

#define PCRE2_CODE_UNIT_WIDTH 8

#include "manifest/schema_pattern.h"

#include <errno.h>
#include <pcre2.h>
#include <stdio.h>
#include <string.h>

#define NEST_MAX      32U
#define HEAP_KIB_MAX  2048U
#define CODE_SIZE_MAX ((size_t)64 * 1024)
/* What a start position costs: a repeat that fails early calls out only once, however far it ran.
 */
#define START_SHIFT 8U

struct schema_pattern {
	pcre2_code *code;
	pcre2_match_context *context;
	pcre2_match_data *data;
};

struct search {
	uint64_t *budget;
	size_t length;
	size_t last_start;
	size_t last_position;
};

static void cleanup_compile_context(pcre2_compile_context **context)
{
	pcre2_compile_context_free(*context);
}

struct schema_pattern *schema_pattern_free(struct schema_pattern *pattern)
{
	if (!pattern)
		return NULL;
	pcre2_match_data_free(pattern->data);
	pcre2_match_context_free(pattern->context);
	pcre2_code_free(pattern->code);
	free(pattern);
	return NULL;
}

static int compile(const char *text, pcre2_code **ret, char reterr[SCHEMA_PATTERN_ERROR_MAX])
{
	const uint32_t options = PCRE2_UTF | PCRE2_AUTO_CALLOUT | PCRE2_DOLLAR_ENDONLY |
				 PCRE2_NEVER_BACKSLASH_C | PCRE2_ALT_BSUX |
				 PCRE2_ALLOW_EMPTY_CLASS | PCRE2_MATCH_UNSET_BACKREF;
	CLEANUP(cleanup_compile_context)
	pcre2_compile_context *context = pcre2_compile_context_create(NULL);
	char reason[SCHEMA_PATTERN_ERROR_MAX] = "";
	PCRE2_SIZE offset = 0;
	int error = 0;

	if (!context)
		return -ENOMEM;
	(void)pcre2_set_parens_nest_limit(context, NEST_MAX);
	(void)pcre2_set_compile_extra_options(context, PCRE2_EXTRA_ALT_BSUX);
	*ret = pcre2_compile((PCRE2_SPTR)text, strlen(text), options, &error, &offset, context);
	if (*ret)
		return 0;
	if (error == PCRE2_ERROR_HEAP_FAILED || error == PCRE2_ERROR_NOMEMORY)
		return -ENOMEM;
	(void)pcre2_get_error_message(error, (PCRE2_UCHAR *)reason, sizeof(reason));
	(void)snprintf(reterr, SCHEMA_PATTERN_ERROR_MAX, "%.90s at offset %zu", reason, offset);
	return 1;
}

int schema_pattern_new(const char *text, struct schema_pattern **ret,
		       char reterr[SCHEMA_PATTERN_ERROR_MAX])
{
	cleanup_schema_pattern struct schema_pattern *pattern = calloc(1, sizeof(*pattern));
	size_t code_size = 0;
	int r;

	if (!pattern)
		return -ENOMEM;
	if (strlen(text) > SCHEMA_PATTERN_MAX) {
		(void)snprintf(reterr, SCHEMA_PATTERN_ERROR_MAX, "longer than %u bytes",
			       SCHEMA_PATTERN_MAX);
		return 1;
	}
	r = compile(text, &pattern->code, reterr);
	if (r != 0)
		return r;
	(void)pcre2_pattern_info(pattern->code, PCRE2_INFO_SIZE, &code_size);
	if (code_size > CODE_SIZE_MAX) {
		(void)snprintf(reterr, SCHEMA_PATTERN_ERROR_MAX, "too large once it is compiled");
		return 1;
	}
	pattern->context = pcre2_match_context_create(NULL);
	pattern->data = pcre2_match_data_create(1, NULL);
	if (!pattern->context || !pattern->data)
		return -ENOMEM;
	(void)pcre2_set_heap_limit(pattern->context, HEAP_KIB_MAX);
	*ret = TAKE_PTR(pattern);
	return 0;
}

static bool pay(uint64_t *budget, uint64_t price)
{
	if (price > *budget) {
		*budget = 0;
		return false;
	}
	*budget -= price;
	return true;
}

static int on_item(pcre2_callout_block *block, void *data)
{
	struct search *search = data;
	size_t at = block->current_position;
	uint64_t price = 1 + (at > search->last_position ? at - search->last_position
							 : search->last_position - at);

	search->last_position = at;
	if (block->start_match != search->last_start) {
		search->last_start = block->start_match;
		price += search->length >> START_SHIFT;
	}
	return pay(search->budget, price) ? 0 : PCRE2_ERROR_CALLOUT;
}

int schema_pattern_search(const struct schema_pattern *pattern, const char *subject, size_t length,
			  uint64_t *budget, bool *ret)
{
	struct search search = {.budget = budget, .length = length, .last_start = SIZE_MAX};
	int r;

	if (!pay(budget, 1 + length / 16))
		return 1;
	(void)pcre2_set_callout(pattern->context, on_item, &search);
	r = pcre2_match(pattern->code, (PCRE2_SPTR)subject, length, 0, PCRE2_NO_JIT, pattern->data,
			pattern->context);
	(void)pcre2_set_callout(pattern->context, NULL, NULL);
	if (r == PCRE2_ERROR_NOMEMORY)
		return -ENOMEM;
	if (r < 0 && r != PCRE2_ERROR_NOMATCH)
		return 1;
	*ret = r >= 0;
	return 0;
}
