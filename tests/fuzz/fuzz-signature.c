/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What is read before a signature holds: the signature file and its comment; and key files, which
 * have the same shape. What was read must survive being written and read again.
 */

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bundle/identity.h"
#include "crypto/minisign.h"
#include "must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_comment(const char *comment)
{
	struct identity identity = {0};
	struct identity again = {0};
	cleanup_free char *text = NULL;
	cleanup_free char *text_again = NULL;

	if (identity_parse(comment, &identity) != 0)
		return;
	must(identity_format(&identity, &text) == 0);
	must(identity_parse(text, &again) == 0);
	must(identity_format(&again, &text_again) == 0);
	must(strcmp(text, text_again) == 0);
	must(identity_compare(&identity, &again) == 0);
}

static void check_signature(const char *text, size_t size)
{
	struct minisign_public_key key = {.key = {1}};
	struct minisign_signature signature;
	struct digest digest = {.bytes = {0}};

	if (minisign_signature_parse(text, size, &signature) != 0)
		return;
	must(memchr(signature.trusted_comment, '\0', sizeof(signature.trusted_comment)) != NULL);
	memcpy(key.id, signature.key_id, sizeof(key.id));
	must(minisign_verify(&signature, &key, &digest) != 0);
	check_comment(signature.trusted_comment);
}

/* A key that was read signs what its public half verifies, and nothing else. */
static void check_signing(const struct minisign_secret_key *secret)
{
	struct minisign_public_key public;
	struct minisign_signature signature;
	struct digest digest = {.bytes = {0}};
	cleanup_free char *text = NULL;

	memcpy(public.id, secret->id, sizeof(public.id));
	memcpy(public.key, secret->key + 32, sizeof(public.key));
	must(minisign_sign(secret, &digest, "affix:1", &text) == 0);
	must(minisign_signature_parse(text, strlen(text), &signature) == 0);
	must(minisign_verify(&signature, &public, &digest) == 0);
	digest.bytes[0] = 1;
	must(minisign_verify(&signature, &public, &digest) == MINISIGN_E_BAD_SIGNATURE);
}

/* Whether a password costs little enough to be tried: the cost is in bytes 38 to 53 of the blob. */
static bool is_cheap(const char *text, size_t size)
{
	const char *line = memchr(text, '\n', size);
	uint8_t blob[158] = {0};
	uint64_t cost[2];
	size_t n = 0;

	if (!line)
		return false;
	(void)sodium_base642bin(blob, sizeof(blob), line + 1, size - (size_t)(line + 1 - text),
				"\n", &n, NULL, sodium_base64_VARIANT_ORIGINAL);
	memcpy(cost, blob + 38, sizeof(cost));
	return le64toh(cost[0]) <= 32768 && le64toh(cost[1]) <= 16U << 20;
}

static void check_secret_key(const char *text, size_t size)
{
	cleanup_secret_key struct minisign_secret_key again = {0};
	cleanup_secret_key struct minisign_secret_key key = {0};
	cleanup_secret char *written = NULL;
	int r = minisign_secret_key_parse(text, size, NULL, &key);

	if (r == MINISIGN_E_PASSWORD && is_cheap(text, size))
		r = minisign_secret_key_parse(text, size, "pass word", &key);
	if (r != 0)
		return;
	must(minisign_secret_key_format(&key, NULL, &written) == 0);
	must(minisign_secret_key_parse(written, strlen(written), NULL, &again) == 0);
	must(memcmp(&key, &again, sizeof(key)) == 0);
	check_signing(&key);
}

static void check_public_key(const char *text, size_t size)
{
	struct minisign_public_key again;
	struct minisign_public_key key;
	cleanup_free char *written = NULL;

	if (minisign_public_key_parse(text, size, &key) != 0)
		return;
	must(minisign_public_key_format(&key, &written) == 0);
	must(minisign_public_key_parse(written, strlen(written), &again) == 0);
	must(memcmp(&key, &again, sizeof(key)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* A copy without room behind it, so that a read too far is seen, and one with a NUL. */
	cleanup_free char *exact = malloc(size > 0 ? size : 1);
	cleanup_free char *text = calloc(1, size + 1);

	must(exact && text);
	if (size > 0) {
		memcpy(exact, data, size);
		memcpy(text, data, size);
	}
	check_signature(exact, size);
	check_secret_key(exact, size);
	check_public_key(exact, size);
	check_comment(text);
	return 0;
}
