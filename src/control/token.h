/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "control/store.h"

/*
 * Secrets that we hand out: `affix-KIND-` and 256 random bits in base64url. Only their SHA-256 is
 * kept. KIND: join (enrols hosts), host (a host's own credential), api (REST).
 */
#define TOKEN_TEXT_SIZE 64U
#define TOKEN_HASH_SIZE 32U

enum token_role {
	TOKEN_ROLE_NONE,
	TOKEN_ROLE_VIEWER,
	TOKEN_ROLE_OPERATOR,
	TOKEN_ROLE_ADMIN,
	TOKEN_ROLE_N,
};

struct token {
	char text[TOKEN_TEXT_SIZE];
	uint8_t hash[TOKEN_HASH_SIZE];
};

void token_make(const char *kind, struct token *ret);
void token_hash(const char *text, uint8_t ret[TOKEN_HASH_SIZE]);

/* The token of an `Authorization: Bearer TOKEN` header's value, or NULL. Borrowed from it. */
const char *token_from_header(const char *authorization);

/* Whether such a header, or NULL, has a join token, by its looks. */
bool token_looks_like_join(const char *authorization);

const char *token_role_to_string(enum token_role role);
enum token_role token_role_from_string(const char *name);

/* Names of tokens: 1 to 64 bytes of printable ASCII without quotes. */
bool token_name_is_valid(const char *name);

/* Makes and stores an API token. 0; STORE_E_EXISTS: the name is taken; -errno. */
must_check int token_create_api(struct store *store, const char *name, enum token_role role,
				uint64_t now, uint64_t expires, struct token *ret, int64_t *ret_id);

/* Whose API token that is. 0 with role TOKEN_ROLE_NONE where it is nobody's, expired or revoked;
 * the caller frees *ret_name*. */
must_check int token_find_api(struct store *store, const char *text, uint64_t now,
			      enum token_role *ret_role, char **ret_name);

struct token_join {
	const char *name;
	uint64_t expires;  /* 0: never */
	uint64_t max_uses; /* 0: any number */
};

must_check int token_create_join(struct store *store, const struct token_join *join, uint64_t now,
				 struct token *ret, int64_t *ret_id);

/* The id of a join token that may be used now, 0 where there is none. */
must_check int token_find_join(struct store *store, const char *text, uint64_t now,
			       int64_t *ret_id);
#define TOKEN_E_USED_UP 64
/* Counts one use. 0; TOKEN_E_USED_UP where there were as many as it allows; -errno. */
must_check int token_use_join(struct store *store, int64_t id);

/* Of "join_token" or "api_token": 0; 1 where there is none of that id, or it is revoked already. */
must_check int token_revoke(struct store *store, const char *table, int64_t id, uint64_t now);
