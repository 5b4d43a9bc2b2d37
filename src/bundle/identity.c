/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The trusted comment: what a signature says a bundle is. Words of KEY=VALUE behind a prefix with
 * the format's number, one blank between them. Whoever signs with stock minisign types it by hand,
 * so the order of the keys is free; anything else is not.
 */

#include "bundle/identity.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"

#define PREFIX "affix:1"

/* The longest word: a key, '=', and the longest version. */
#define WORD_MAX (VERSION_MAX + 16U)

enum key {
	KEY_ID,
	KEY_VERSION,
	KEY_OS,
	KEY_ARCH,
	KEY_CREATED,
	KEY_EXPIRES,
	KEY_EPOCH,
	KEY_N,
	KEY_INVALID = -EINVAL,
};

static const char *const key_names[] = {
	[KEY_ID] = "id",       [KEY_VERSION] = "version", [KEY_OS] = "os",
	[KEY_ARCH] = "arch",   [KEY_CREATED] = "created", [KEY_EXPIRES] = "expires",
	[KEY_EPOCH] = "epoch",
};

static_assert(ARRAY_SIZE(key_names) == KEY_N, "every key has a name");

#define KEYS_REQUIRED \
	(1U << KEY_ID | 1U << KEY_VERSION | 1U << KEY_OS | 1U << KEY_ARCH | 1U << KEY_CREATED)

static enum key key_from_string(const char *name)
{
	for (int i = 0; i < KEY_N; i++) {
		if (strcmp(key_names[i], name) == 0)
			return (enum key)i;
	}
	return KEY_INVALID;
}

/* Copies *value* into a field of *size* bytes. */
static bool copy_value(char *field, size_t size, const char *value)
{
	size_t length = strlen(value);

	if (length == 0 || length >= size)
		return false;
	memcpy(field, value, length + 1);
	return true;
}

static bool parse_epoch(const char *value, uint64_t *ret)
{
	uint64_t n = 0;

	if (*value < '0' || *value > '9' || (*value == '0' && value[1] != '\0'))
		return false;
	for (; *value >= '0' && *value <= '9'; value++) {
		n = n * 10 + (uint64_t)(*value - '0');
		if (n > IDENTITY_EPOCH_MAX)
			return false;
	}
	*ret = n;
	return *value == '\0';
}

static bool set_value(struct identity *identity, enum key key, const char *value)
{
	switch (key) {
	case KEY_ID:
		return copy_value(identity->id, sizeof(identity->id), value) &&
		       manifest_id_is_valid(value);
	case KEY_VERSION:
		return copy_value(identity->version, sizeof(identity->version), value) &&
		       version_is_valid(value);
	case KEY_OS:
		return copy_value(identity->os, sizeof(identity->os), value);
	case KEY_ARCH:
		return copy_value(identity->arch, sizeof(identity->arch), value);
	case KEY_CREATED:
		return clock_parse(value, &identity->created) == 0;
	case KEY_EXPIRES:
		/* 0 would be read as "never". */
		return clock_parse(value, &identity->expires) == 0 && identity->expires > 0;
	case KEY_EPOCH:
		return parse_epoch(value, &identity->epoch);
	default:
		return false;
	}
}

/* One word, KEY=VALUE; *seen* is the keys so far. */
static bool parse_word(const char *word, size_t length, struct identity *identity, unsigned *seen)
{
	char copy[WORD_MAX + 1];
	enum key key;
	char *value;

	if (length > WORD_MAX)
		return false;
	memcpy(copy, word, length);
	copy[length] = '\0';
	value = strchr(copy, '=');
	if (!value)
		return false;
	*value++ = '\0';
	key = key_from_string(copy);
	if (key < 0 || (*seen & 1U << key))
		return false;
	*seen |= 1U << key;
	return set_value(identity, key, value);
}

int identity_parse(const char *comment, struct identity *ret)
{
	struct identity identity = {0};
	unsigned seen = 0;
	const char *at;

	if (!str_starts_with(comment, PREFIX))
		return 1;
	for (at = comment + strlen(PREFIX); *at != '\0';) {
		size_t length;

		if (*at++ != ' ')
			return 1;
		length = strcspn(at, " ");
		if (!parse_word(at, length, &identity, &seen))
			return 1;
		at += length;
	}
	if ((seen & KEYS_REQUIRED) != KEYS_REQUIRED ||
	    !manifest_platform_is_known(identity.os, identity.arch))
		return 1;
	*ret = identity;
	return 0;
}

int identity_format(const struct identity *identity, char **ret_comment)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	char created[CLOCK_TEXT_SIZE];
	char expires[CLOCK_TEXT_SIZE];
	int r;

	clock_format(identity->created, created);
	r = buffer_format(&text, PREFIX " id=%s version=%s os=%s arch=%s created=%s", identity->id,
			  identity->version, identity->os, identity->arch, created);
	if (r == 0 && identity->expires > 0) {
		clock_format(identity->expires, expires);
		r = buffer_format(&text, " expires=%s", expires);
	}
	if (r == 0 && identity->epoch > 0)
		r = buffer_format(&text, " epoch=%llu", (unsigned long long)identity->epoch);
	if (r < 0)
		return r;
	*ret_comment = TAKE_PTR(text.data);
	return 0;
}

int identity_file_name(const struct identity *identity, char **ret_name)
{
	return str_format(ret_name, "%s-%s-%s-%s.tar.zst", identity->id, identity->version,
			  identity->os, identity->arch);
}

int identity_compare(const struct identity *a, const struct identity *b)
{
	int r;

	if (a->epoch != b->epoch)
		return a->epoch < b->epoch ? -1 : 1;
	r = version_compare(a->version, b->version);
	if (r != 0)
		return r;
	return a->created == b->created ? 0 : a->created < b->created ? -1 : 1;
}
