/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What is read before a signature holds: the signature file and its comment; and key files, which
 * have the same shape. What was read must survive being written and read again.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bundle/identity.h"
#include "crypto/minisign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A broken promise stops the fuzzer, also where assert() is compiled out. */
static void must(bool holds)
{
	if (!holds)
		abort();
}

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

static void check_keys(const char *text, size_t size)
{
	cleanup_secret_key struct minisign_secret_key secret = {0};
	struct minisign_public_key again;
	struct minisign_public_key key;
	cleanup_free char *written = NULL;

	(void)!minisign_secret_key_parse(text, size, NULL, &secret);
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
	check_keys(exact, size);
	check_comment(text);
	return 0;
}
