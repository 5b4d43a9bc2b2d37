/* SPDX-License-Identifier: Apache-2.0 */

/* The constants were made by stock minisign 0.11, but for the cheap key: its cost is lowered. */

#include "crypto/minisign.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"

#define FILE_BYTES "hi\n"
#define COMMENT    "affix:1 id=x"
#define PASSWORD   "pass word"

#define PUBLIC_COMMENT "untrusted comment: minisign public key 667AFAF5BF0368A7\n"
#define PUBLIC_LINE    "RWSnaAO/9fp6ZpllNpc7k9RSDDohuBh9DEi8kNyiP2CEhvGcl3v7s92Z"
#define SECRET_COMMENT "untrusted comment: minisign encrypted secret key\n"
#define SECRET_KEY                                                                                     \
	SECRET_COMMENT                                                                                 \
	"RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAp2gDv/X6emaARCWaPpIW" \
	"XoUiudD2LWSGMQ/aQX5/XlV3lr5ApMUExZllNpc7k9RSDDohuBh9DEi8kNyiP2CEhvGcl3v7s92ZAAAAAAAAAAAA"     \
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
#define CHEAP_KEY                                                                                      \
	SECRET_COMMENT                                                                                 \
	"RWRTY0IyAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8AgAAAAAAAAAAAAAEAAAAAJeVQ6zIb8FWWfGxVJqSZ" \
	"+Kcpxi4dYFNhNwCj4aWTv099rFOCpkB0V24GUFQx+9NVsLzSZpZa/AdLqZVypHor+Sd4NPdg2Djw2RU9+5xDMNLc"     \
	"rMkczLPOmoLj/d0+7dToA+fWEuDwVBI=\n"
#define SIGNATURE_1 "untrusted comment: signature from minisign secret key\n"
#define SIGNATURE_2                                                                                    \
	"RUSnaAO/9fp6ZvUysqmZzfPxRdQQO33iRS0CNJHNZcvxYpcpqmv8DJ4wX+DsFpDmxUwaUIIUHaD3/qgQ3KBLc0aS+Vxm" \
	"mnm1KAo=\n"
#define SIGNATURE_3 "trusted comment: " COMMENT "\n"
#define SIGNATURE_4 \
	"3PoUAV3FckzJW1vKSjp+ktANPjVyybVLfVHuH3bIspJ2hgGKhW4HqrD5l05fLe/mu1l2KX00XcXsZ+dCbg8MCg=="
#define SIGNATURE SIGNATURE_1 SIGNATURE_2 SIGNATURE_3 SIGNATURE_4 "\n"
#define LEGACY                                                                                         \
	SIGNATURE_1                                                                                    \
	"RWSnaAO/9fp6ZlM+pIXH8yZMIF1gI+LIbHvTCy3NDia5DCBTsUqjKAvPyUfm30bXqkpWRnTkx4HjgQuveRHRaP1r8yjL" \
	"ZRvTpwQ=\n" SIGNATURE_3                                                                       \
	"tCl23oE1kXGMDO+2paUTR0MQJGhXnoK7AmxTj/2sGfsJZNf/ekbhFM2VXDKGIyIU9LtBH+9N7Ph1r32TEXBkBA==\n"

static int parse_public(const char *text, struct minisign_public_key *key)
{
	return minisign_public_key_parse(text, strlen(text), key);
}

static int parse_signature(const char *text, struct minisign_signature *signature)
{
	return minisign_signature_parse(text, strlen(text), signature);
}

static int parse_secret(const char *text, const char *password, struct minisign_secret_key *key)
{
	return minisign_secret_key_parse(text, strlen(text), password, key);
}

static void digest_of_file(struct digest *ret)
{
	digest_of(FILE_BYTES, strlen(FILE_BYTES), ret);
}

static void stock_public_key_is_read_and_its_id_shown_as_stock_shows_it(void **state)
{
	struct minisign_public_key key;
	char id[MINISIGN_KEY_ID_TEXT_SIZE];
	cleanup_free char *text = NULL;

	(void)state;
	assert_int_equal(parse_public(PUBLIC_COMMENT PUBLIC_LINE "\n", &key), 0);
	minisign_key_id_to_string(key.id, id);
	assert_string_equal(id, "667AFAF5BF0368A7");
	assert_int_equal(minisign_public_key_format(&key, &text), 0);
	assert_string_equal(text, PUBLIC_COMMENT PUBLIC_LINE "\n");
}

static void stock_signature_verifies_and_tells_its_comment(void **state)
{
	struct minisign_signature signature;
	struct minisign_public_key key;
	struct digest digest;

	(void)state;
	digest_of_file(&digest);
	assert_int_equal(parse_public(PUBLIC_COMMENT PUBLIC_LINE "\n", &key), 0);
	assert_int_equal(parse_signature(SIGNATURE, &signature), 0);
	assert_int_equal(minisign_verify(&signature, &key, &digest), 0);
	assert_string_equal(signature.trusted_comment, COMMENT);
}

static void signing_makes_the_bytes_that_stock_makes(void **state)
{
	cleanup_secret_key struct minisign_secret_key key;
	cleanup_free char *text = NULL;
	struct digest digest;

	(void)state;
	digest_of_file(&digest);
	assert_int_equal(parse_secret(SECRET_KEY, NULL, &key), 0);
	assert_int_equal(minisign_sign(&key, &digest, COMMENT, &text), 0);
	assert_string_equal(strchr(text, '\n') + 1, SIGNATURE_2 SIGNATURE_3 SIGNATURE_4 "\n");
}

static void only_one_line_of_printable_ascii_is_signed_as_comment(void **state)
{
	static const char *const bad[] = {"a\nb", "a\rb", "tab\t", "\x7f", "\xc3\xa9"};
	cleanup_secret_key struct minisign_secret_key key;
	char longest[MINISIGN_COMMENT_MAX + 1];
	cleanup_free char *text = NULL;
	struct digest digest;

	(void)state;
	digest_of_file(&digest);
	assert_int_equal(parse_secret(SECRET_KEY, NULL, &key), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(minisign_sign(&key, &digest, bad[i], &text), -EINVAL);
	memset(longest, 'x', sizeof(longest));
	longest[MINISIGN_COMMENT_MAX] = '\0';
	assert_int_equal(minisign_sign(&key, &digest, longest, &text), -EINVAL);
	assert_null(text);
	longest[MINISIGN_COMMENT_MAX - 1] = '\0';
	assert_int_equal(minisign_sign(&key, &digest, longest, &text), 0);
}

static void changed_file_signature_comment_or_key_does_not_verify(void **state)
{
	struct minisign_signature signature;
	struct minisign_signature changed;
	struct minisign_public_key other;
	struct minisign_public_key key;
	struct digest digest;

	(void)state;
	digest_of_file(&digest);
	assert_int_equal(parse_public(PUBLIC_COMMENT PUBLIC_LINE "\n", &key), 0);
	assert_int_equal(parse_signature(SIGNATURE, &signature), 0);

	changed = signature;
	changed.signature[0] ^= 1;
	assert_int_equal(minisign_verify(&changed, &key, &digest), MINISIGN_E_BAD_SIGNATURE);
	changed = signature;
	changed.global_signature[63] ^= 1;
	assert_int_equal(minisign_verify(&changed, &key, &digest), MINISIGN_E_BAD_SIGNATURE);
	changed = signature;
	changed.trusted_comment[0] = 'A';
	assert_int_equal(minisign_verify(&changed, &key, &digest), MINISIGN_E_BAD_SIGNATURE);
	other = key;
	other.id[0] ^= 1;
	assert_int_equal(minisign_verify(&signature, &other, &digest), MINISIGN_E_WRONG_KEY);
	digest.bytes[0] ^= 1;
	assert_int_equal(minisign_verify(&signature, &key, &digest), MINISIGN_E_BAD_SIGNATURE);
}

/* Each is done without the other somewhere: what it says must be its own. */
static void file_and_comment_are_verified_one_without_the_other(void **state)
{
	struct minisign_signature signature;
	struct minisign_public_key other;
	struct minisign_public_key key;
	struct digest digest;

	(void)state;
	digest_of_file(&digest);
	assert_int_equal(parse_public(PUBLIC_COMMENT PUBLIC_LINE "\n", &key), 0);
	assert_int_equal(parse_signature(SIGNATURE, &signature), 0);
	assert_int_equal(minisign_verify_comment(&signature, &key), 0);
	assert_int_equal(minisign_verify_file(&signature, &key, &digest), 0);
	other = key;
	other.id[0] ^= 1;
	assert_int_equal(minisign_verify_comment(&signature, &other), MINISIGN_E_WRONG_KEY);
	assert_int_equal(minisign_verify_file(&signature, &other, &digest), MINISIGN_E_WRONG_KEY);
	signature.trusted_comment[0] = 'A';
	assert_int_equal(minisign_verify_comment(&signature, &key), MINISIGN_E_BAD_SIGNATURE);
	assert_int_equal(minisign_verify_file(&signature, &key, &digest), 0);
	digest.bytes[0] ^= 1;
	assert_int_equal(minisign_verify_file(&signature, &key, &digest), MINISIGN_E_BAD_SIGNATURE);
}

static void public_key_files_have_one_spelling(void **state)
{
	static const char *const bad[] = {
		"",
		PUBLIC_LINE "\n",
		PUBLIC_COMMENT,
		PUBLIC_COMMENT "\n",
		PUBLIC_COMMENT "\n" PUBLIC_LINE "\n",
		PUBLIC_COMMENT PUBLIC_LINE "\r\n",
		PUBLIC_COMMENT PUBLIC_LINE " \n",
		PUBLIC_COMMENT PUBLIC_LINE "\n\n",
		PUBLIC_COMMENT PUBLIC_LINE "\nmore",
		"comment: x\n" PUBLIC_LINE "\n",
		"untrusted comment: \x1b[2J\n" PUBLIC_LINE "\n",
		"untrusted comment: \xff\n" PUBLIC_LINE "\n",
		/* another algorithm */
		PUBLIC_COMMENT "RESnaAO/9fp6ZpllNpc7k9RSDDohuBh9DEi8kNyiP2CEhvGcl3v7s92Z\n",
		/* a point of small order */
		PUBLIC_COMMENT "RWSnaAO/9fp6ZgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
	};
	struct minisign_public_key key;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(parse_public(bad[i], &key), MINISIGN_E_MALFORMED);
	assert_int_equal(parse_public(PUBLIC_COMMENT PUBLIC_LINE, &key), 0);
	assert_int_equal(parse_public("untrusted comment: \n" PUBLIC_LINE, &key), 0);
	assert_int_equal(parse_public("untrusted comment: caf\xc3\xa9\n" PUBLIC_LINE, &key), 0);
}

static void signature_files_have_one_spelling(void **state)
{
	static const char *const bad[] = {
		"",
		SIGNATURE_1,
		SIGNATURE_1 SIGNATURE_2 SIGNATURE_3,
		SIGNATURE "\n",
		SIGNATURE "x",
		SIGNATURE_1 SIGNATURE_2 SIGNATURE_3 SIGNATURE_4 "\r\n",
		SIGNATURE_1 SIGNATURE_2 "trusted comment: a\r\n" SIGNATURE_4 "\n",
		SIGNATURE_1 SIGNATURE_2 "trusted comment: \xc3\xa9\n" SIGNATURE_4 "\n",
		SIGNATURE_1 SIGNATURE_2 "trusted  comment: a\n" SIGNATURE_4 "\n",
		SIGNATURE_1 SIGNATURE_3 SIGNATURE_2 SIGNATURE_4 "\n",
		SIGNATURE_1 SIGNATURE_2 SIGNATURE_3 SIGNATURE_2,
		/* spare bits that say nothing, and no padding */
		SIGNATURE_1 SIGNATURE_2 SIGNATURE_3
		"3PoUAV3FckzJW1vKSjp+ktANPjVyybVLfVHuH3bIspJ2hgGKhW4HqrD5l05fLe/mu1l2KX00XcXsZ+dCbg8MCh==",
		SIGNATURE_1 SIGNATURE_2 SIGNATURE_3
		"3PoUAV3FckzJW1vKSjp+ktANPjVyybVLfVHuH3bIspJ2hgGKhW4HqrD5l05fLe/mu1l2KX00XcXsZ+dCbg8MCg",
		/* neither "ED" nor "Ed" */
		SIGNATURE_1
		"RVSnaAO/9fp6ZvUysqmZzfPxRdQQO33iRS0CNJHNZcvxYpcpqmv8DJ4wX+DsFpDmxUwaUIIU"
		"HaD3/qgQ3KBLc0aS+Vxmmnm1KAo=\n" SIGNATURE_3 SIGNATURE_4 "\n",
	};
	struct minisign_signature signature;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(parse_signature(bad[i], &signature), MINISIGN_E_MALFORMED);
	assert_int_equal(
		parse_signature(SIGNATURE_1 SIGNATURE_2 SIGNATURE_3 SIGNATURE_4, &signature), 0);
	assert_int_equal(minisign_signature_parse("a\0b", 3, &signature), MINISIGN_E_MALFORMED);
}

static void comments_and_files_above_the_limits_are_refused(void **state)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	char comment[MINISIGN_COMMENT_MAX];
	struct minisign_signature signature;

	(void)state;
	memset(comment, 'x', sizeof(comment));
	assert_int_equal(buffer_format(&text,
				       SIGNATURE_1 SIGNATURE_2 "trusted comment: %.*s\n" SIGNATURE_4
							       "\n",
				       (int)sizeof(comment) - 1, comment),
			 0);
	assert_int_equal(minisign_signature_parse(text.data, text.size, &signature), 0);
	assert_int_equal(strlen(signature.trusted_comment), MINISIGN_COMMENT_MAX - 1);
	text.size = 0;
	assert_int_equal(buffer_format(&text,
				       SIGNATURE_1 SIGNATURE_2 "trusted comment: %.*s\n" SIGNATURE_4
							       "\n",
				       (int)sizeof(comment), comment),
			 0);
	assert_int_equal(minisign_signature_parse(text.data, text.size, &signature),
			 MINISIGN_E_MALFORMED);
	assert_int_equal(minisign_signature_parse(text.data, MINISIGN_FILE_MAX + 1, &signature),
			 MINISIGN_E_MALFORMED);
}

static void signature_that_is_not_prehashed_is_named_as_such(void **state)
{
	struct minisign_signature signature;

	(void)state;
	assert_int_equal(parse_signature(LEGACY, &signature), MINISIGN_E_LEGACY);
}

static void default_comment_of_stock_with_its_tabs_is_read(void **state)
{
	struct minisign_signature signature;

	(void)state;
	assert_int_equal(
		parse_signature(SIGNATURE_1 SIGNATURE_2
				"trusted comment: timestamp:1\tfile:f\thashed\n" SIGNATURE_4,
				&signature),
		0);
	assert_string_equal(signature.trusted_comment, "timestamp:1\tfile:f\thashed");
}

static void encrypted_key_opens_with_its_password_alone(void **state)
{
	cleanup_secret_key struct minisign_secret_key plain;
	cleanup_secret_key struct minisign_secret_key key;

	(void)state;
	assert_int_equal(parse_secret(SECRET_KEY, NULL, &plain), 0);
	assert_int_equal(parse_secret(CHEAP_KEY, NULL, &key), MINISIGN_E_PASSWORD);
	assert_int_equal(parse_secret(CHEAP_KEY, "pass w0rd", &key), MINISIGN_E_PASSWORD);
	assert_int_equal(parse_secret(CHEAP_KEY, "", &key), MINISIGN_E_PASSWORD);
	assert_int_equal(parse_secret(CHEAP_KEY, PASSWORD, &key), 0);
	assert_memory_equal(&key, &plain, sizeof(key));
}

static void new_key_survives_encryption_and_signs(void **state)
{
	cleanup_secret_key struct minisign_secret_key made;
	cleanup_secret_key struct minisign_secret_key read;
	cleanup_secret char *text = NULL;
	struct minisign_signature signature;
	struct minisign_public_key public;
	cleanup_free char *signed_text = NULL;
	struct digest digest;

	(void)state;
	digest_of_file(&digest);
	minisign_keygen(&made, &public);
	assert_int_equal(minisign_secret_key_format(&made, PASSWORD, &text), 0);
	assert_int_equal(parse_secret(text, PASSWORD, &read), 0);
	assert_memory_equal(&read, &made, sizeof(read));
	assert_int_equal(minisign_sign(&read, &digest, COMMENT, &signed_text), 0);
	assert_int_equal(parse_signature(signed_text, &signature), 0);
	assert_int_equal(minisign_verify(&signature, &public, &digest), 0);
}

static void new_key_survives_a_file_without_password(void **state)
{
	cleanup_secret_key struct minisign_secret_key made;
	cleanup_secret_key struct minisign_secret_key read;
	cleanup_secret char *text = NULL;
	struct minisign_public_key public;

	(void)state;
	minisign_keygen(&made, &public);
	assert_int_equal(minisign_secret_key_format(&made, NULL, &text), 0);
	assert_int_equal(parse_secret(text, NULL, &read), 0);
	assert_memory_equal(&read, &made, sizeof(read));
	assert_memory_equal(public.key, made.key + 32, 32);
}

/* *text*, a key file, with byte *at* of its blob changed; the caller frees it. */
static char *with_changed_byte(const char *text, size_t at)
{
	const char *line = strchr(text, '\n') + 1;
	uint8_t blob[158];
	char base64[sodium_base64_ENCODED_LEN(sizeof(blob), sodium_base64_VARIANT_ORIGINAL)];
	char *changed = NULL;
	size_t size = 0;

	assert_int_equal(sodium_base642bin(blob, sizeof(blob), line, strlen(line), "\n", &size,
					   NULL, sodium_base64_VARIANT_ORIGINAL),
			 0);
	assert_int_equal(size, sizeof(blob));
	blob[at] ^= 0x40;
	(void)sodium_bin2base64(base64, sizeof(base64), blob, sizeof(blob),
				sodium_base64_VARIANT_ORIGINAL);
	assert_int_equal(str_format(&changed, SECRET_COMMENT "%s\n", base64), 0);
	return changed;
}

static void secret_key_with_a_changed_field_is_refused(void **state)
{
	/* algorithm, checksum's algorithm, kdf, cost in time, cost in memory */
	static const size_t encrypted[] = {0, 4, 2, 45, 53};
	cleanup_secret_key struct minisign_secret_key key;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(encrypted); i++) {
		cleanup_free char *text = with_changed_byte(CHEAP_KEY, encrypted[i]);

		assert_int_equal(parse_secret(text, PASSWORD, &key), MINISIGN_E_MALFORMED);
	}
	{
		cleanup_free char *seed = with_changed_byte(SECRET_KEY, 62);
		cleanup_free char *point = with_changed_byte(SECRET_KEY, 62 + 32);

		assert_int_equal(parse_secret(seed, NULL, &key), MINISIGN_E_MALFORMED);
		assert_int_equal(parse_secret(point, NULL, &key), MINISIGN_E_MALFORMED);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stock_public_key_is_read_and_its_id_shown_as_stock_shows_it),
		cmocka_unit_test(stock_signature_verifies_and_tells_its_comment),
		cmocka_unit_test(signing_makes_the_bytes_that_stock_makes),
		cmocka_unit_test(only_one_line_of_printable_ascii_is_signed_as_comment),
		cmocka_unit_test(changed_file_signature_comment_or_key_does_not_verify),
		cmocka_unit_test(file_and_comment_are_verified_one_without_the_other),
		cmocka_unit_test(public_key_files_have_one_spelling),
		cmocka_unit_test(signature_files_have_one_spelling),
		cmocka_unit_test(comments_and_files_above_the_limits_are_refused),
		cmocka_unit_test(signature_that_is_not_prehashed_is_named_as_such),
		cmocka_unit_test(default_comment_of_stock_with_its_tabs_is_read),
		cmocka_unit_test(encrypted_key_opens_with_its_password_alone),
		cmocka_unit_test(new_key_survives_encryption_and_signs),
		cmocka_unit_test(new_key_survives_a_file_without_password),
		cmocka_unit_test(secret_key_with_a_changed_field_is_refused),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
