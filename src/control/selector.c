/* SPDX-License-Identifier: Apache-2.0 */

/* A reader that goes once over the text; every refusal says what was expected at which byte. */

#include "control/selector.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

struct reader {
	const char *text;
	const char *at;
	char *problem;
};

static bool is_inner(char c)
{
	return isalnum((unsigned char)c) || c == '.' || c == '_' || c == '-' || c == '/';
}

static bool is_name(const char *text, size_t size)
{
	if (size == 0 || size > SELECTOR_NAME_MAX || !isalnum((unsigned char)text[0]) ||
	    !isalnum((unsigned char)text[size - 1]))
		return false;
	for (size_t i = 0; i < size; i++) {
		if (!is_inner(text[i]) || (unsigned char)text[i] >= 0x80)
			return false;
	}
	return true;
}

bool selector_key_is_valid(const char *key)
{
	return is_name(key, strlen(key));
}

bool selector_value_is_valid(const char *value)
{
	return *value == '\0' || is_name(value, strlen(value));
}

static int refuse_at(const struct reader *reader, const char *expected)
{
	(void)snprintf(reader->problem, SELECTOR_PROBLEM_MAX,
		       "the selector is not understood at byte %zu: expected %s",
		       (size_t)(reader->at - reader->text) + 1, expected);
	return 1;
}

static void skip_blanks(struct reader *reader)
{
	reader->at += strspn(reader->at, " \t");
}

static int read_name(struct reader *reader, const char *what, char **ret)
{
	size_t size = 0;

	while (is_inner(reader->at[size]))
		size++;
	if (!is_name(reader->at, size))
		return refuse_at(reader, what);
	*ret = strndup(reader->at, size);
	if (!*ret)
		return -ENOMEM;
	reader->at += size;
	skip_blanks(reader);
	return 0;
}

static int add_value(struct reader *reader, struct selector_term *term)
{
	char **values;
	int r;

	if (term->n_values == SELECTOR_VALUES_MAX)
		return refuse_at(reader, "no more values: there may be 32");
	values = reallocarray(term->values, term->n_values + 1, sizeof(*values));
	if (!values)
		return -ENOMEM;
	term->values = values;
	r = read_name(reader, "a value of letters, digits and '._-/'", &values[term->n_values]);
	if (r == 0)
		term->n_values++;
	return r;
}

static int read_values(struct reader *reader, struct selector_term *term)
{
	int r;

	if (*reader->at != '(')
		return refuse_at(reader, "'(' and a list of values");
	do {
		reader->at++;
		skip_blanks(reader);
		r = add_value(reader, term);
		if (r != 0)
			return r;
	} while (*reader->at == ',');
	if (*reader->at != ')')
		return refuse_at(reader, "',' or ')'");
	reader->at++;
	return 0;
}

/* The word *word* and nothing that would make it longer. */
static bool take_word(struct reader *reader, const char *word)
{
	size_t size = strlen(word);

	if (strncmp(reader->at, word, size) != 0 || is_inner(reader->at[size]))
		return false;
	reader->at += size;
	skip_blanks(reader);
	return true;
}

static int read_term(struct reader *reader, struct selector_term *term)
{
	bool is_absent = *reader->at == '!';
	int r;

	if (is_absent) {
		reader->at++;
		skip_blanks(reader);
	}
	r = read_name(reader, "the key of a label", &term->key);
	if (r != 0)
		return r;
	term->sign = is_absent ? SELECTOR_ABSENT : SELECTOR_PRESENT;
	if (is_absent || *reader->at == ',' || *reader->at == '\0')
		return 0;
	term->sign = SELECTOR_IN;
	if (take_word(reader, "in"))
		return read_values(reader, term);
	if (*reader->at == '!' || strncmp(reader->at, "notin", 5) == 0)
		term->sign = SELECTOR_NOT_IN;
	if (take_word(reader, "notin"))
		return read_values(reader, term);
	if (*reader->at == '!')
		reader->at++;
	if (*reader->at != '=')
		return refuse_at(reader, "'=', '!=', 'in (…)', 'notin (…)' or ','");
	reader->at++;
	skip_blanks(reader);
	return add_value(reader, term);
}

static int read_terms(struct reader *reader, struct selector *selector)
{
	struct selector_term *terms;
	int r;

	skip_blanks(reader);
	if (*reader->at == '\0')
		return 0;
	for (;;) {
		if (selector->n_terms == SELECTOR_TERMS_MAX)
			return refuse_at(reader, "no more terms: there may be 32");
		terms = reallocarray(selector->terms, selector->n_terms + 1, sizeof(*terms));
		if (!terms)
			return -ENOMEM;
		selector->terms = terms;
		terms[selector->n_terms] = (struct selector_term){};
		selector->n_terms++;
		r = read_term(reader, &terms[selector->n_terms - 1]);
		if (r != 0)
			return r;
		skip_blanks(reader);
		if (*reader->at == '\0')
			return 0;
		if (*reader->at != ',')
			return refuse_at(reader, "',' or the end");
		reader->at++;
		skip_blanks(reader);
	}
}

int selector_parse(const char *text, struct selector **ret, char *reterr)
{
	struct reader reader = {.text = text, .at = text, .problem = reterr};
	cleanup_selector struct selector *selector = NULL;
	int r;

	if (strlen(text) > SELECTOR_SIZE_MAX) {
		(void)snprintf(reterr, SELECTOR_PROBLEM_MAX, "the selector has more than %u bytes",
			       SELECTOR_SIZE_MAX);
		return 1;
	}
	selector = calloc(1, sizeof(*selector));
	if (!selector)
		return -ENOMEM;
	r = read_terms(&reader, selector);
	if (r == 0)
		*ret = TAKE_PTR(selector);
	return r;
}

struct selector *selector_free(struct selector *selector)
{
	if (!selector)
		return NULL;
	for (size_t i = 0; i < selector->n_terms; i++) {
		struct selector_term *term = &selector->terms[i];

		for (size_t j = 0; j < term->n_values; j++)
			free(term->values[j]);
		free(term->values);
		free(term->key);
	}
	free(selector->terms);
	free(selector);
	return NULL;
}

static const char *find_value(const struct selector_label *labels, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(labels[i].key, key) == 0)
			return labels[i].value;
	}
	return NULL;
}

static bool term_holds(const struct selector_term *term, const char *value)
{
	bool found = false;

	if (term->sign == SELECTOR_PRESENT)
		return value;
	if (term->sign == SELECTOR_ABSENT)
		return !value;
	for (size_t i = 0; i < term->n_values && value && !found; i++)
		found = strcmp(term->values[i], value) == 0;
	return found == (term->sign == SELECTOR_IN);
}

bool selector_matches(const struct selector *selector, const struct selector_label *labels,
		      size_t n)
{
	for (size_t i = 0; i < selector->n_terms; i++) {
		const struct selector_term *term = &selector->terms[i];

		if (!term_holds(term, find_value(labels, n, term->key)))
			return false;
	}
	return true;
}

static int format_term(struct buffer *text, const struct selector_term *term)
{
	bool is_list = term->n_values > 1;
	bool is_not = term->sign == SELECTOR_NOT_IN;
	int r;

	r = buffer_format(text, "%s%s", term->sign == SELECTOR_ABSENT ? "!" : "", term->key);
	if (r == 0 && term->n_values > 0)
		r = buffer_format(text, "%s",
				  is_list ? (is_not ? " notin (" : " in (")
					  : (is_not ? "!=" : "="));
	for (size_t i = 0; i < term->n_values && r == 0; i++)
		r = buffer_format(text, "%s%s", i > 0 ? "," : "", term->values[i]);
	if (r == 0 && is_list)
		r = buffer_format(text, ")");
	return r;
}

char *selector_to_string(const struct selector *selector)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	int r = buffer_add(&text, "", 0);

	for (size_t i = 0; i < selector->n_terms && r == 0; i++) {
		if (i > 0)
			r = buffer_add(&text, ",", 1);
		if (r == 0)
			r = format_term(&text, &selector->terms[i]);
	}
	return r == 0 ? TAKE_PTR(text.data) : NULL;
}
