/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Command lines. The program is always the add-on's binary, by the path that every version of it
 * has in turn: nothing else in a bundle is executable. It is compared byte by byte before anything
 * is unquoted, so that no spelling of another path can pass. Arguments are the add-on's own affair,
 * but for specifiers, which systemd expands after it has resolved escapes, and for ';', which
 * begins another command.
 */

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "unit/unit_check.h"
#include "unit/unit_words.h"

#define BLANKS " \t"

static int check_program(const struct unit_check *check, const char *word, size_t length)
{
	cleanup_free char *expected = NULL;
	cleanup_free char *shown = NULL;
	int r;

	r = str_format(&expected, "/opt/affix/%s/current/%s", check->manifest->id,
		       check->manifest->exec_binary);
	if (r < 0)
		return r;
	if (strlen(expected) == length && memcmp(expected, word, length) == 0)
		return 0;
	shown = strndup(check->entry->value, length + (size_t)(word - check->entry->value));
	if (!shown)
		return -ENOMEM;
	return unit_refuse(
		check, REFUSAL_UNIT_EXEC, shown,
		"the program must be '%s' (exec.binary of addon.yaml), unquoted, with no prefix but '-'",
		expected);
}

static bool is_semicolon(const char *p)
{
	return p[0] == ';' && (p[1] == '\0' || strchr(BLANKS, p[1]));
}

/* One argument at **p, which moves behind it: 1; 0 at the end or once refused. */
static int check_argument(const struct unit_check *check, const char **p)
{
	cleanup_free char *word = NULL;
	int r;

	*p += strspn(*p, BLANKS);
	if (is_semicolon(*p))
		return unit_refuse(check, REFUSAL_UNIT_EXEC, ";",
				   "a line holds one command; write '\\;' for a literal semicolon");
	if (**p == '\\' && is_semicolon(*p + 1)) {
		*p += 2;
		return 1;
	}
	r = unit_word_next(p, &word);
	if (r == -EINVAL)
		return unit_refuse(check, REFUSAL_UNIT_EXEC, check->entry->value,
				   "its quotes or escapes are broken; see systemd.syntax(7)");
	if (r > 0 && !unit_specifiers_are_known(word, true))
		return unit_refuse(check, REFUSAL_UNIT_EXEC, word,
				   "the only specifiers are '%%d' and '%%%%'");
	return r;
}

int unit_check_exec(const struct unit_check *check, const struct unit_rule *rule)
{
	const char *p = check->entry->value;
	size_t length;
	int r;

	(void)rule;
	if (*p == '-')
		p++;
	length = strcspn(p, BLANKS);
	r = check_program(check, p, length);
	p += length;
	if (r < 0)
		return r;
	do
		r = check_argument(check, &p);
	while (r > 0);
	return r;
}

int unit_check_exec_reload(const struct unit_check *check, const struct unit_rule *rule)
{
	static const char *const words[] = {"/bin/kill", "-HUP", "$MAINPID"};
	const char *p = check->entry->value;
	const char *word = NULL;
	size_t length = 0;

	if (*p == '-')
		p++;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (unit_plain_next(&p, &word, &length) == 0 || strlen(words[i]) != length ||
		    memcmp(words[i], word, length) != 0)
			return unit_check_exec(check, rule);
	}
	if (unit_plain_next(&p, &word, &length) == 0)
		return 0;
	return unit_refuse(check, REFUSAL_UNIT_EXEC, check->entry->value,
			   "nothing may follow '/bin/kill -HUP $MAINPID'");
}
