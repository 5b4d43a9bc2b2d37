/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Challenges in the order in which they come: a scheme's name, then its parameters, and commas
 * between both, so that a name is known for one or the other by the '=' behind it only.
 */

#include "oci/challenge.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define VALUE_MAX 1024U

static bool is_token_byte(char c)
{
	return isascii((unsigned char)c) &&
	       (isalnum((unsigned char)c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c)));
}

static const char *skip_token(const char *at)
{
	while (is_token_byte(*at))
		at++;
	return at;
}

static const char *skip_space(const char *at)
{
	return at + strspn(at, " \t");
}

/* What is behind '=': a token, or anything in quotes. Behind it; NULL where it is neither, or too
 * long. */
static const char *read_value(const char *at, char value[VALUE_MAX])
{
	bool is_quoted = *at == '"';
	size_t n = 0;

	at += is_quoted;
	while (is_quoted ? *at != '"' : is_token_byte(*at)) {
		if (is_quoted && *at == '\\')
			at++;
		/* Nothing that could end a line of a request is taken over. */
		if (*at == '\0' || iscntrl((unsigned char)*at) || n + 1 >= VALUE_MAX)
			return NULL;
		value[n++] = *at++;
	}
	value[n] = '\0';
	return at + is_quoted;
}

static bool is_word(const char *at, const char *end, const char *word)
{
	return (size_t)(end - at) == strlen(word) && strncasecmp(at, word, strlen(word)) == 0;
}

static bool keep(char *text, size_t size, const char *value)
{
	return snprintf(text, size, "%s", value) < (int)size;
}

/* One parameter of *challenge*; false where it does not fit. */
static bool take_parameter(struct oci_challenge *challenge, const char *name, const char *end,
			   const char *value)
{
	if (is_word(name, end, "realm"))
		return keep(challenge->realm, sizeof(challenge->realm), value);
	if (is_word(name, end, "service"))
		return keep(challenge->service, sizeof(challenge->service), value);
	if (is_word(name, end, "scope"))
		return keep(challenge->scope, sizeof(challenge->scope), value);
	return true;
}

static enum oci_challenge_kind kind_of(const char *name, const char *end)
{
	if (is_word(name, end, "Bearer"))
		return OCI_CHALLENGE_BEARER;
	return is_word(name, end, "Basic") ? OCI_CHALLENGE_BASIC : OCI_CHALLENGE_NONE;
}

/* Keeps the better of two. */
static void settle(struct oci_challenge *best, const struct oci_challenge *found)
{
	if (found->kind > best->kind &&
	    (found->kind != OCI_CHALLENGE_BEARER || *found->realm != '\0'))
		*best = *found;
}

void oci_challenge_parse(const char *header, struct oci_challenge *ret)
{
	struct oci_challenge current = {0};
	char value[VALUE_MAX];

	*ret = (struct oci_challenge){0};
	while (*header) {
		const char *name = header + strspn(header, " \t,");
		const char *end = skip_token(name);
		const char *equals = skip_space(end);

		if (end == name)
			break;
		if (*equals == '=') {
			header = read_value(skip_space(equals + 1), value);
			if (!header || !take_parameter(&current, name, end, value))
				return;
			continue;
		}
		settle(ret, &current);
		current = (struct oci_challenge){.kind = kind_of(name, end)};
		header = end;
		/* A scheme that is not known may have one word, which '=' may end. */
		if (current.kind == OCI_CHALLENGE_NONE)
			header += strcspn(header, ",");
	}
	settle(ret, &current);
}
