/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Tokens are looked up by their digest, which is unique: no comparison of secrets takes place that
 * could be timed.
 */

#include "control/token.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"

#define NAME_MAX_BYTES 64U

static const char *const role_names[TOKEN_ROLE_N] = {
	[TOKEN_ROLE_NONE] = "none",
	[TOKEN_ROLE_VIEWER] = "viewer",
	[TOKEN_ROLE_OPERATOR] = "operator",
	[TOKEN_ROLE_ADMIN] = "admin",
};

void token_hash(const char *text, uint8_t ret[TOKEN_HASH_SIZE])
{
	static_assert(TOKEN_HASH_SIZE == crypto_hash_sha256_BYTES, "digests are SHA-256");
	(void)crypto_hash_sha256(ret, (const unsigned char *)text, strlen(text));
}

void token_make(const char *kind, struct token *ret)
{
	uint8_t random[32];
	char text[sodium_base64_ENCODED_LEN(sizeof(random),
					    sodium_base64_VARIANT_URLSAFE_NO_PADDING)];

	randombytes_buf(random, sizeof(random));
	(void)sodium_bin2base64(text, sizeof(text), random, sizeof(random),
				sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	(void)snprintf(ret->text, sizeof(ret->text), "affix-%s-%s", kind, text);
	token_hash(ret->text, ret->hash);
	sodium_memzero(random, sizeof(random));
	sodium_memzero(text, sizeof(text));
}

const char *token_from_header(const char *authorization)
{
	static const char scheme[] = "bearer ";

	if (!authorization || strncasecmp(authorization, scheme, strlen(scheme)) != 0)
		return NULL;
	authorization += strlen(scheme);
	authorization += strspn(authorization, " ");
	return *authorization != '\0' ? authorization : NULL;
}

bool token_looks_like_join(const char *authorization)
{
	const char *token = token_from_header(authorization);

	return token && str_starts_with(token, "affix-join-");
}

const char *token_role_to_string(enum token_role role)
{
	return (unsigned)role < TOKEN_ROLE_N ? role_names[role] : NULL;
}

enum token_role token_role_from_string(const char *name)
{
	for (unsigned i = TOKEN_ROLE_VIEWER; i < TOKEN_ROLE_N; i++) {
		if (strcmp(role_names[i], name) == 0)
			return (enum token_role)i;
	}
	return TOKEN_ROLE_NONE;
}

bool token_name_is_valid(const char *name)
{
	size_t size = strlen(name);

	if (size == 0 || size > NAME_MAX_BYTES || name[0] == ' ' || name[size - 1] == ' ')
		return false;
	for (size_t i = 0; i < size; i++) {
		if (name[i] < ' ' || name[i] > '~' || strchr("'\"\\", name[i]))
			return false;
	}
	return true;
}

int token_create_api(struct store *store, const char *name, enum token_role role, uint64_t now,
		     uint64_t expires, struct token *ret, int64_t *ret_id)
{
	token_make("api", ret);
	return store_number(store, ret_id, 0,
			    "INSERT INTO api_token (name, hash, role, created, expires) "
			    "VALUES ($1, $2, $3, $4, $5) RETURNING id",
			    STORE_TEXT(name), STORE_BLOB(ret->hash, TOKEN_HASH_SIZE),
			    STORE_TEXT(token_role_to_string(role)), STORE_INT(now),
			    STORE_INT(expires));
}

int token_find_api(struct store *store, const char *text, uint64_t now, enum token_role *ret_role,
		   char **ret_name)
{
	cleanup_rows struct store_rows *rows = NULL;
	uint8_t hash[TOKEN_HASH_SIZE];
	bool row = false;
	int r;

	*ret_role = TOKEN_ROLE_NONE;
	token_hash(text, hash);
	r = store_select(store, &rows,
			 "SELECT role, name FROM api_token WHERE hash = $1 AND revoked = 0 "
			 "AND (expires = 0 OR expires > $2)",
			 STORE_BLOB(hash, sizeof(hash)), STORE_INT(now));
	if (r == 0)
		r = store_next(rows, &row);
	if (r != 0 || !row)
		return r;
	*ret_name = strdup(store_text(rows, 1));
	if (!*ret_name)
		return -ENOMEM;
	*ret_role = token_role_from_string(store_text(rows, 0));
	return 0;
}

int token_create_join(struct store *store, const struct token_join *join, uint64_t now,
		      struct token *ret, int64_t *ret_id)
{
	token_make("join", ret);
	return store_number(store, ret_id, 0,
			    "INSERT INTO join_token (name, hash, created, expires, max_uses) "
			    "VALUES ($1, $2, $3, $4, $5) RETURNING id",
			    STORE_TEXT(join->name), STORE_BLOB(ret->hash, TOKEN_HASH_SIZE),
			    STORE_INT(now), STORE_INT(join->expires), STORE_INT(join->max_uses));
}

int token_find_join(struct store *store, const char *text, uint64_t now, int64_t *ret_id)
{
	uint8_t hash[TOKEN_HASH_SIZE];

	token_hash(text, hash);
	return store_number(store, ret_id, 0,
			    "SELECT id FROM join_token WHERE hash = $1 AND revoked = 0 "
			    "AND (expires = 0 OR expires > $2)",
			    STORE_BLOB(hash, sizeof(hash)), STORE_INT(now));
}

int token_use_join(struct store *store, int64_t id)
{
	int r = store_run(store,
			  "UPDATE join_token SET uses = uses + 1 "
			  "WHERE id = $1 AND (max_uses = 0 OR uses < max_uses)",
			  STORE_INT(id));

	return r == 0 && store_changes(store) == 0 ? TOKEN_E_USED_UP : r;
}

int token_revoke(struct store *store, const char *table, int64_t id, uint64_t now)
{
	bool is_join = strcmp(table, "join_token") == 0;
	int r;

	r = store_run(store,
		      is_join ? "UPDATE join_token SET revoked = $1 WHERE id = $2 AND revoked = 0"
			      : "UPDATE api_token SET revoked = $1 WHERE id = $2 AND revoked = 0",
		      STORE_INT(now), STORE_INT(id));
	return r == 0 && store_changes(store) == 0 ? 1 : r;
}
