/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "crypto/digest.h"

/*
 * Keys and signatures in minisign's format (https://jedisct1.github.io/minisign/): Ed25519 over the
 * BLAKE2b-512 of the file ("ED", prehashed; the legacy "Ed" is refused), a global signature over
 * signature and trusted comment.
 */
#define MINISIGN_KEY_ID_SIZE      8U
#define MINISIGN_KEY_ID_TEXT_SIZE 17U
#define MINISIGN_FILE_MAX         4096U /* the largest key or signature file we read */
#define MINISIGN_COMMENT_MAX      1024U

struct minisign_public_key {
	uint8_t id[MINISIGN_KEY_ID_SIZE];
	uint8_t key[32];
};

struct minisign_secret_key {
	uint8_t id[MINISIGN_KEY_ID_SIZE];
	uint8_t key[64];
};

struct minisign_signature {
	uint8_t key_id[MINISIGN_KEY_ID_SIZE];
	uint8_t signature[64];
	uint8_t global_signature[64];
	char trusted_comment[MINISIGN_COMMENT_MAX]; /* printable ASCII and tabs; meaningless before
						       verification */
};

/* What a function says with a value > 0. */
enum minisign_condition {
	MINISIGN_E_MALFORMED = 1, /* the text is not what the format says */
	MINISIGN_E_WRONG_KEY,     /* the signature was made by another key id */
	MINISIGN_E_BAD_SIGNATURE, /* the bytes or the comment are not what was signed */
	MINISIGN_E_PASSWORD,      /* the secret key needs a password, or another one */
	MINISIGN_E_LEGACY,        /* a signature that is not prehashed ("Ed", minisign -l) */
};

/* Lines end with '\n', the last one may lack it; carriage returns are refused. The longest
 * password, and the highest cost of a key file, are minisign's own. */
#define MINISIGN_PASSWORD_MAX 1023U

/* Upper-case hexadecimal of the id read as little-endian number, as minisign prints it. */
void minisign_key_id_to_string(const uint8_t id[MINISIGN_KEY_ID_SIZE],
			       char text[MINISIGN_KEY_ID_TEXT_SIZE]);

/* A .pub file: untrusted comment line and base64 line, exactly. 0 or MINISIGN_E_MALFORMED. */
must_check int minisign_public_key_parse(const char *text, size_t size,
					 struct minisign_public_key *ret);

/* A .minisig file: four lines, nothing behind them. 0, MINISIGN_E_MALFORMED or MINISIGN_E_LEGACY.
 */
must_check int minisign_signature_parse(const char *text, size_t size,
					struct minisign_signature *ret);

/* Whether *signature* is *key*'s over a file with this digest, its comment included: both of what
 * follows. 0 or a condition. */
must_check int minisign_verify(const struct minisign_signature *signature,
			       const struct minisign_public_key *key, const struct digest *file);

/* The half that needs no file: whether the comment is *key*'s, for this signature of a file. */
must_check int minisign_verify_comment(const struct minisign_signature *signature,
				       const struct minisign_public_key *key);
/* The other half, which says nothing of the comment. */
must_check int minisign_verify_file(const struct minisign_signature *signature,
				    const struct minisign_public_key *key,
				    const struct digest *file);

/* Forgets a secret key; text with a secret in it (NULL is taken). */
void minisign_secret_key_done(struct minisign_secret_key *key);
char *minisign_secret_text_free(char *text);

#define cleanup_secret_key CLEANUP(minisign_secret_key_done)
DEFINE_CLEANUP(char *, secret_text, minisign_secret_text_free)
#define cleanup_secret CLEANUP(cleanup_secret_text)

/* Makes a key pair; libsodium must be initialised. */
void minisign_keygen(struct minisign_secret_key *ret_secret,
		     struct minisign_public_key *ret_public);

/*
 * A secret key file, encrypted with *password* (scrypt, minisign's "sensitive" cost) unless it is
 * NULL (minisign -W). The text ends with minisign_secret_text_free(). 0, -ENOMEM. Parsing: 0,
 * -ENOMEM, or a condition; *password* may be NULL: MINISIGN_E_PASSWORD tells that one is needed.
 * For a key that is not encrypted it is not looked at. The cost is 1 GiB of memory for seconds.
 */
must_check int minisign_secret_key_format(const struct minisign_secret_key *key,
					  const char *password, char **ret_text);
must_check int minisign_secret_key_parse(const char *text, size_t size, const char *password,
					 struct minisign_secret_key *ret);
must_check int minisign_public_key_format(const struct minisign_public_key *key, char **ret_text);

/*
 * Signs the digest of a file with *trusted_comment* (one line of printable ASCII). The text of the
 * .minisig file; the caller frees it. 0, -ENOMEM, -EINVAL (the comment).
 */
must_check int minisign_sign(const struct minisign_secret_key *key, const struct digest *file,
			     const char *trusted_comment, char **ret_text);
