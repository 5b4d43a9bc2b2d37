/* SPDX-License-Identifier: Apache-2.0 */

/*
 * minisign's keys and signatures. A file is a fixed number of lines: comments behind fixed
 * prefixes, and structs of fixed size in base64. Reading is strict where minisign's own is lax
 * (bytes behind the last line, carriage returns, spare bits in base64), so that one signature has
 * one spelling. libsodium does the cryptography; minisign itself is a program, not a library.
 */

#include "crypto/minisign.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

#define UNTRUSTED_PREFIX "untrusted comment: "
#define TRUSTED_PREFIX   "trusted comment: "

#define OPS_MAX crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_SENSITIVE
#define MEM_MAX crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_SENSITIVE

/* The structs in base64. They hold bytes only, so there is no padding. */
struct public_blob {
	uint8_t algorithm[2]; /* "Ed" */
	uint8_t id[MINISIGN_KEY_ID_SIZE];
	uint8_t key[32];
};

struct signature_blob {
	uint8_t algorithm[2]; /* "ED": of the file's BLAKE2b-512; "Ed": of the file itself */
	uint8_t id[MINISIGN_KEY_ID_SIZE];
	uint8_t signature[64];
};

/* The part of a secret key that the password covers. */
struct secret_part {
	uint8_t id[MINISIGN_KEY_ID_SIZE];
	uint8_t key[64];
	uint8_t checksum[32];
};

struct secret_blob {
	uint8_t algorithm[2]; /* "Ed" */
	uint8_t kdf[2];       /* "Sc", or zero: not encrypted */
	uint8_t check[2];     /* "B2": BLAKE2b-256 */
	uint8_t salt[crypto_pwhash_scryptsalsa208sha256_SALTBYTES];
	uint64_t ops; /* little-endian */
	uint64_t mem; /* little-endian */
	struct secret_part part;
} __attribute__((packed));

static_assert(sizeof(struct public_blob) == 42, "as minisign writes it");
static_assert(sizeof(struct signature_blob) == 74, "as minisign writes it");
static_assert(sizeof(struct secret_blob) == 158, "as minisign writes it");

#define BASE64_SIZE(n) sodium_base64_ENCODED_LEN(n, sodium_base64_VARIANT_ORIGINAL)
/* The base64 of the largest of them and a NUL. */
#define BASE64_MAX BASE64_SIZE(sizeof(struct secret_blob))

/* What is left of a file: lines are taken off its front. */
struct reader {
	const char *at;
	size_t left;
};

/* Takes the next line, without its end. False: there is none. */
static bool take_line(struct reader *reader, const char **ret_line, size_t *ret_length)
{
	const char *end = reader->left > 0 ? memchr(reader->at, '\n', reader->left) : NULL;
	size_t length = end ? (size_t)(end - reader->at) : reader->left;

	if (reader->left == 0)
		return false;
	*ret_line = reader->at;
	*ret_length = length;
	reader->at += length + (end ? 1 : 0);
	reader->left -= length + (end ? 1 : 0);
	return true;
}

/* Comments are shown to people: no control bytes. What nobody signed may be any UTF-8. */
static bool comment_is_clean(const char *text, size_t length, bool ascii)
{
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f || (ascii && c > 0x7f))
			return false;
	}
	return ascii || str_is_utf8(text, length);
}

static bool take_comment(struct reader *reader, const char *prefix, bool ascii,
			 const char **ret_comment, size_t *ret_length)
{
	size_t skip = strlen(prefix);
	const char *line = NULL;
	size_t length = 0;

	if (!take_line(reader, &line, &length) || length < skip || memcmp(line, prefix, skip) != 0)
		return false;
	if (length - skip >= MINISIGN_COMMENT_MAX ||
	    !comment_is_clean(line + skip, length - skip, ascii))
		return false;
	*ret_comment = line + skip;
	*ret_length = length - skip;
	return true;
}

/* Takes a line that is the base64 of exactly *size* bytes, in the one spelling that has. */
static bool take_blob(struct reader *reader, void *ret, size_t size)
{
	size_t wanted = BASE64_SIZE(size) - 1;
	const char *line = NULL;
	char again[BASE64_MAX];
	size_t length = 0;
	size_t got = 0;
	bool same;

	assert(wanted < sizeof(again));
	if (!take_line(reader, &line, &length) || length != wanted)
		return false;
	if (sodium_base642bin(ret, size, line, length, NULL, &got, NULL,
			      sodium_base64_VARIANT_ORIGINAL) != 0 ||
	    got != size)
		return false;
	(void)sodium_bin2base64(again, sizeof(again), ret, size, sodium_base64_VARIANT_ORIGINAL);
	same = sodium_memcmp(again, line, length) == 0;
	sodium_memzero(again, sizeof(again));
	return same;
}

/* A key file: an untrusted comment and one blob, nothing behind it. */
static int parse_key_file(const char *text, size_t size, void *ret_blob, size_t blob_size)
{
	struct reader reader = {text, size};
	const char *comment = NULL;
	size_t length = 0;

	if (size > MINISIGN_FILE_MAX ||
	    !take_comment(&reader, UNTRUSTED_PREFIX, false, &comment, &length) ||
	    !take_blob(&reader, ret_blob, blob_size) || reader.left > 0)
		return MINISIGN_E_MALFORMED;
	return 0;
}

void minisign_key_id_to_string(const uint8_t id[MINISIGN_KEY_ID_SIZE],
			       char text[MINISIGN_KEY_ID_TEXT_SIZE])
{
	static const char digits[] = "0123456789ABCDEF";

	for (size_t i = 0; i < MINISIGN_KEY_ID_SIZE; i++) {
		uint8_t byte = id[MINISIGN_KEY_ID_SIZE - 1 - i];

		text[2 * i] = digits[byte >> 4];
		text[2 * i + 1] = digits[byte & 0xf];
	}
	text[MINISIGN_KEY_ID_TEXT_SIZE - 1] = '\0';
}

int minisign_public_key_parse(const char *text, size_t size, struct minisign_public_key *ret)
{
	struct public_blob blob;
	int r = parse_key_file(text, size, &blob, sizeof(blob));

	if (r != 0)
		return r;
	/* A point of small order would verify signatures that nobody made. */
	if (memcmp(blob.algorithm, "Ed", 2) != 0 || !crypto_core_ed25519_is_valid_point(blob.key))
		return MINISIGN_E_MALFORMED;
	memcpy(ret->id, blob.id, sizeof(ret->id));
	memcpy(ret->key, blob.key, sizeof(ret->key));
	return 0;
}

int minisign_signature_parse(const char *text, size_t size, struct minisign_signature *ret)
{
	struct reader reader = {text, size};
	struct minisign_signature signature;
	struct signature_blob blob;
	const char *comment = NULL;
	size_t length = 0;

	if (size > MINISIGN_FILE_MAX ||
	    !take_comment(&reader, UNTRUSTED_PREFIX, false, &comment, &length) ||
	    !take_blob(&reader, &blob, sizeof(blob)) ||
	    !take_comment(&reader, TRUSTED_PREFIX, true, &comment, &length) ||
	    !take_blob(&reader, signature.global_signature, sizeof(signature.global_signature)) ||
	    reader.left > 0)
		return MINISIGN_E_MALFORMED;
	if (memcmp(blob.algorithm, "ED", 2) != 0)
		return memcmp(blob.algorithm, "Ed", 2) == 0 ? MINISIGN_E_LEGACY
							    : MINISIGN_E_MALFORMED;
	memcpy(signature.key_id, blob.id, sizeof(blob.id));
	memcpy(signature.signature, blob.signature, sizeof(blob.signature));
	memcpy(signature.trusted_comment, comment, length);
	memset(signature.trusted_comment + length, 0, sizeof(signature.trusted_comment) - length);
	*ret = signature;
	return 0;
}

/* What the global signature covers: the signature, and the comment behind it. */
static size_t join_global(const uint8_t signature[64], const char *comment,
			  uint8_t ret[64 + MINISIGN_COMMENT_MAX])
{
	size_t length = strnlen(comment, MINISIGN_COMMENT_MAX);

	memcpy(ret, signature, 64);
	memcpy(ret + 64, comment, length);
	return 64 + length;
}

int minisign_verify_comment(const struct minisign_signature *signature,
			    const struct minisign_public_key *key)
{
	uint8_t covered[64 + MINISIGN_COMMENT_MAX];
	size_t size = join_global(signature->signature, signature->trusted_comment, covered);

	if (memcmp(signature->key_id, key->id, sizeof(key->id)) != 0)
		return MINISIGN_E_WRONG_KEY;
	if (crypto_sign_verify_detached(signature->global_signature, covered, size, key->key) != 0)
		return MINISIGN_E_BAD_SIGNATURE;
	return 0;
}

int minisign_verify_file(const struct minisign_signature *signature,
			 const struct minisign_public_key *key, const struct digest *file)
{
	if (memcmp(signature->key_id, key->id, sizeof(key->id)) != 0)
		return MINISIGN_E_WRONG_KEY;
	if (crypto_sign_verify_detached(signature->signature, file->bytes, DIGEST_SIZE, key->key) !=
	    0)
		return MINISIGN_E_BAD_SIGNATURE;
	return 0;
}

int minisign_verify(const struct minisign_signature *signature,
		    const struct minisign_public_key *key, const struct digest *file)
{
	int r = minisign_verify_comment(signature, key);

	return r != 0 ? r : minisign_verify_file(signature, key, file);
}

void minisign_secret_key_done(struct minisign_secret_key *key)
{
	sodium_memzero(key, sizeof(*key));
}

char *minisign_secret_text_free(char *text)
{
	if (text)
		sodium_memzero(text, strlen(text));
	free(text);
	return NULL;
}

void minisign_keygen(struct minisign_secret_key *ret_secret, struct minisign_public_key *ret_public)
{
	randombytes_buf(ret_secret->id, sizeof(ret_secret->id));
	(void)crypto_sign_keypair(ret_public->key, ret_secret->key);
	memcpy(ret_public->id, ret_secret->id, sizeof(ret_public->id));
}

static void secret_blob_done(struct secret_blob *blob)
{
	sodium_memzero(blob, sizeof(*blob));
}

static void secret_checksum(const struct secret_blob *blob, uint8_t ret[32])
{
	crypto_generichash_blake2b_state state;

	(void)crypto_generichash_blake2b_init(&state, NULL, 0, 32);
	(void)crypto_generichash_blake2b_update(&state, blob->algorithm, sizeof(blob->algorithm));
	(void)crypto_generichash_blake2b_update(&state, blob->part.id, sizeof(blob->part.id));
	(void)crypto_generichash_blake2b_update(&state, blob->part.key, sizeof(blob->part.key));
	(void)crypto_generichash_blake2b_final(&state, ret, 32);
	sodium_memzero(&state, sizeof(state));
}

/* Encrypts or decrypts: the stream that password and salt give is XORed over the secret part. */
static int apply_password(struct secret_blob *blob, const char *password)
{
	uint8_t stream[sizeof(struct secret_part)];
	uint8_t *bytes = (uint8_t *)&blob->part;

	if (crypto_pwhash_scryptsalsa208sha256(stream, sizeof(stream), password, strlen(password),
					       blob->salt, le64toh(blob->ops),
					       (size_t)le64toh(blob->mem)) != 0)
		return -ENOMEM;
	for (size_t i = 0; i < sizeof(stream); i++)
		bytes[i] ^= stream[i];
	sodium_memzero(stream, sizeof(stream));
	return 0;
}

/* `untrusted comment: COMMENT`, and the blob. */
static int format_key_file(const char *comment, const void *blob, size_t size, char **ret_text)
{
	char base64[BASE64_MAX];
	int r;

	(void)sodium_bin2base64(base64, sizeof(base64), blob, size, sodium_base64_VARIANT_ORIGINAL);
	r = str_format(ret_text, UNTRUSTED_PREFIX "%s\n%s\n", comment, base64);
	sodium_memzero(base64, sizeof(base64));
	return r;
}

int minisign_secret_key_format(const struct minisign_secret_key *key, const char *password,
			       char **ret_text)
{
	CLEANUP(secret_blob_done) struct secret_blob blob = {.algorithm = "Ed", .check = "B2"};
	int r;

	memcpy(blob.part.id, key->id, sizeof(blob.part.id));
	memcpy(blob.part.key, key->key, sizeof(blob.part.key));
	if (!password)
		return format_key_file("minisign secret key, not encrypted", &blob, sizeof(blob),
				       ret_text);
	memcpy(blob.kdf, "Sc", 2);
	randombytes_buf(blob.salt, sizeof(blob.salt));
	blob.ops = htole64(OPS_MAX);
	blob.mem = htole64(MEM_MAX);
	secret_checksum(&blob, blob.part.checksum);
	r = apply_password(&blob, password);
	if (r < 0)
		return r;
	return format_key_file("minisign encrypted secret key", &blob, sizeof(blob), ret_text);
}

/* Whether the second half of an Ed25519 secret key is the public key that its first half gives. */
static bool key_halves_agree(const uint8_t key[64])
{
	uint8_t public_half[32];
	uint8_t whole[64];

	(void)crypto_sign_seed_keypair(public_half, whole, key);
	sodium_memzero(whole, sizeof(whole));
	return sodium_memcmp(public_half, key + 32, 32) == 0;
}

static int open_secret_blob(struct secret_blob *blob, const char *password)
{
	uint8_t checksum[32];
	bool good;
	int r;

	if (sodium_is_zero(blob->kdf, sizeof(blob->kdf)))
		return 0;
	if (memcmp(blob->kdf, "Sc", 2) != 0 || le64toh(blob->ops) > OPS_MAX ||
	    le64toh(blob->mem) > MEM_MAX)
		return MINISIGN_E_MALFORMED;
	if (!password)
		return MINISIGN_E_PASSWORD;
	r = apply_password(blob, password);
	if (r < 0)
		return r;
	secret_checksum(blob, checksum);
	good = sodium_memcmp(checksum, blob->part.checksum, sizeof(checksum)) == 0;
	sodium_memzero(checksum, sizeof(checksum));
	return good ? 0 : MINISIGN_E_PASSWORD;
}

int minisign_secret_key_parse(const char *text, size_t size, const char *password,
			      struct minisign_secret_key *ret)
{
	CLEANUP(secret_blob_done) struct secret_blob blob = {0};
	int r = parse_key_file(text, size, &blob, sizeof(blob));

	if (r != 0)
		return r;
	if (memcmp(blob.algorithm, "Ed", 2) != 0 || memcmp(blob.check, "B2", 2) != 0)
		return MINISIGN_E_MALFORMED;
	r = open_secret_blob(&blob, password);
	if (r != 0)
		return r;
	if (!key_halves_agree(blob.part.key))
		return MINISIGN_E_MALFORMED;
	memcpy(ret->id, blob.part.id, sizeof(ret->id));
	memcpy(ret->key, blob.part.key, sizeof(ret->key));
	return 0;
}

int minisign_public_key_format(const struct minisign_public_key *key, char **ret_text)
{
	char comment[sizeof("minisign public key ") + MINISIGN_KEY_ID_TEXT_SIZE];
	struct public_blob blob = {.algorithm = "Ed"};
	char id[MINISIGN_KEY_ID_TEXT_SIZE];

	memcpy(blob.id, key->id, sizeof(blob.id));
	memcpy(blob.key, key->key, sizeof(blob.key));
	minisign_key_id_to_string(key->id, id);
	(void)snprintf(comment, sizeof(comment), "minisign public key %s", id);
	return format_key_file(comment, &blob, sizeof(blob), ret_text);
}

int minisign_sign(const struct minisign_secret_key *key, const struct digest *file,
		  const char *trusted_comment, char **ret_text)
{
	struct signature_blob blob = {.algorithm = "ED"};
	uint8_t covered[64 + MINISIGN_COMMENT_MAX];
	char id[MINISIGN_KEY_ID_TEXT_SIZE];
	char first[BASE64_MAX];
	char second[BASE64_MAX];
	uint8_t global[64];
	size_t size;

	if (strlen(trusted_comment) >= MINISIGN_COMMENT_MAX ||
	    !comment_is_clean(trusted_comment, strlen(trusted_comment), true) ||
	    strchr(trusted_comment, '\t'))
		return -EINVAL;
	memcpy(blob.id, key->id, sizeof(blob.id));
	(void)crypto_sign_detached(blob.signature, NULL, file->bytes, DIGEST_SIZE, key->key);
	size = join_global(blob.signature, trusted_comment, covered);
	(void)crypto_sign_detached(global, NULL, covered, size, key->key);
	(void)sodium_bin2base64(first, sizeof(first), (const uint8_t *)&blob, sizeof(blob),
				sodium_base64_VARIANT_ORIGINAL);
	(void)sodium_bin2base64(second, sizeof(second), global, sizeof(global),
				sodium_base64_VARIANT_ORIGINAL);
	minisign_key_id_to_string(key->id, id);
	return str_format(ret_text,
			  UNTRUSTED_PREFIX "signature by minisign key %s\n%s\n" TRUSTED_PREFIX
					   "%s\n%s\n",
			  id, first, trusted_comment, second);
}
