/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Checkers of directives with a list of words in which nothing is quoted. Most of them can only
 * take something away from a service; they are held to their syntax all the same, because systemd
 * skips a word that it does not know, and the service would run with less of a sandbox than its
 * author wrote.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "unit/unit_check.h"
#include "unit/unit_words.h"

#define SIGNALS                                                                                    \
	"SIGHUP SIGINT SIGQUIT SIGILL SIGTRAP SIGABRT SIGBUS SIGFPE SIGKILL SIGUSR1 SIGSEGV "      \
	"SIGUSR2 SIGPIPE SIGALRM SIGTERM SIGCHLD SIGCONT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGXCPU " \
	"SIGXFSZ SIGSYS"

/* Refuses the word of *length* bytes at *word*. */
static int refuse_word(const struct unit_check *check, const char *word, size_t length,
		       const char *expected)
{
	cleanup_free char *copy = strndup(word, length);

	if (!copy)
		return -ENOMEM;
	return unit_refuse(check, REFUSAL_UNIT_DIRECTIVE, copy, "%s", expected);
}

int unit_check_words(const struct unit_check *check, const struct unit_rule *rule)
{
	const char *value = check->entry->value;
	const char *p = value + (*value == '~');
	const char *word = NULL;
	size_t length = 0;
	int r = 0;

	if (rule->alone && unit_word_is_among(value, strlen(value), rule->alone))
		return 0;
	if (*p == '\0')
		return refuse_word(check, value, strlen(value), "something must follow the '~'");
	while (r == 0 && unit_plain_next(&p, &word, &length) > 0) {
		cleanup_free char *copy = NULL;

		if (unit_word_is_among(word, length, rule->words))
			continue;
		copy = strndup(word, length);
		r = copy ? unit_refuse(check, REFUSAL_UNIT_DIRECTIVE, copy,
				       "an add-on may only say: %s", rule->words)
			 : -ENOMEM;
	}
	return r;
}

int unit_check_documents(const struct unit_check *check, const struct unit_rule *rule)
{
	static const char *const schemes[] = {"http://", "https://", "file:/", "info:", "man:"};
	const char *p = check->entry->value;
	const char *word = NULL;
	size_t length = 0;
	int r = 0;

	(void)rule;
	while (r == 0 && unit_plain_next(&p, &word, &length) > 0) {
		bool is_known = false;

		for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
			is_known = is_known || (length > strlen(schemes[i]) &&
						str_starts_with(word, schemes[i]));
		for (size_t i = 0; i < length; i++)
			is_known = is_known && word[i] > ' ' && word[i] < 0x7f &&
				   !strchr("\"'\\%", word[i]);
		if (!is_known)
			r = refuse_word(check, word, length,
					"it must be an address that begins with 'https://', "
					"'http://', 'file:/', 'info:' or 'man:', without quotes, "
					"backslashes and '%'");
	}
	return r;
}

int unit_check_exit_statuses(const struct unit_check *check, const struct unit_rule *rule)
{
	const char *p = check->entry->value;
	const char *word = NULL;
	size_t length = 0;
	int r = 0;

	(void)rule;
	while (r == 0 && unit_plain_next(&p, &word, &length) > 0) {
		uint64_t n = 0;

		if (unit_word_is_among(word, length, SIGNALS) ||
		    (unit_parse_number(word, length, &n) == 0 && n <= 255))
			continue;
		r = refuse_word(check, word, length,
				"it must be numbers from 0 to 255 and signals such as 'SIGTERM'");
	}
	return r;
}

/* ADDRESS or ADDRESS/PREFIX, IPv4 or IPv6. */
static bool is_address(const char *word, size_t length)
{
	char text[INET6_ADDRSTRLEN] = "";
	const char *slash = memchr(word, '/', length);
	size_t address_length = slash ? (size_t)(slash - word) : length;
	unsigned char bytes[sizeof(struct in6_addr)];
	uint64_t prefix = 0;
	int family;

	if (address_length >= sizeof(text))
		return false;
	memcpy(text, word, address_length);
	family = strchr(text, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(family, text, bytes) != 1)
		return false;
	return !slash || (unit_parse_number(slash + 1, length - address_length - 1, &prefix) == 0 &&
			  prefix <= (family == AF_INET ? 32 : 128));
}

int unit_check_addresses(const struct unit_check *check, const struct unit_rule *rule)
{
	const char *p = check->entry->value;
	const char *word = NULL;
	size_t length = 0;
	int r = 0;

	while (r == 0 && unit_plain_next(&p, &word, &length) > 0) {
		if (!unit_word_is_among(word, length, rule->words) && !is_address(word, length))
			r = refuse_word(check, word, length,
					"it must be addresses such as '10.0.0.0/8', 'localhost', "
					"'link-local', 'multicast' or 'any'");
	}
	return r;
}

/* FIRST[-LAST] separated by blanks or commas. */
static bool is_processor_range(const char *word, size_t length)
{
	const char *dash = memchr(word, '-', length);
	size_t first_length = dash ? (size_t)(dash - word) : length;
	uint64_t first = 0;
	uint64_t last = UINT64_MAX;

	if (unit_parse_number(word, first_length, &first) < 0 || first > 8191)
		return false;
	if (!dash)
		return true;
	return unit_parse_number(dash + 1, length - first_length - 1, &last) == 0 &&
	       last >= first && last <= 8191;
}

int unit_check_processors(const struct unit_check *check, const struct unit_rule *rule)
{
	const char *p = check->entry->value;
	const char *word = NULL;
	size_t length = 0;
	int r = 0;

	(void)rule;
	while (r == 0 && unit_plain_next(&p, &word, &length) > 0) {
		if (!is_processor_range(word, length))
			r = refuse_word(
				check, word, length,
				"it must be numbers of processors and ranges such as '0 2-3'");
	}
	return r;
}

/* [<|<=|=|!=|>=|>]VERSION */
int unit_check_kernel_versions(const struct unit_check *check, const struct unit_rule *rule)
{
	static const char bytes[] = "0123456789.";
	const char *p = check->entry->value;
	const char *word = NULL;
	size_t length = 0;
	int r = 0;

	(void)rule;
	while (r == 0 && unit_plain_next(&p, &word, &length) > 0) {
		size_t operator_length = strspn(word, "<>=!");

		if (!unit_word_is_among(word, operator_length, "< <= = != >= >") ||
		    operator_length == length ||
		    strspn(word + operator_length, bytes) + operator_length != length)
			r = refuse_word(check, word, length,
					"it must be comparisons such as '>=5.8', without blanks");
	}
	return r;
}
