/* SPDX-License-Identifier: Apache-2.0 */

/*
 * SHA-256 by libcrypto, which knows the processor's own instructions (1,700 MB/s where libsodium
 * does 400, measured), for image layers of gigabytes. It is loaded when the first digest is made:
 * most commands make none, and each start would take longer. Where it is not installed libsodium
 * does the same work.
 */

#include "crypto/sha256.h"

#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/fd.h"
#include "base/library.h"

#define CRYPTO_SONAME "libcrypto.so.3"
#define PIECE_SIZE    262144U

static struct libcrypto {
	__typeof__(EVP_MD_CTX_new) *MD_CTX_new;
	__typeof__(EVP_MD_CTX_free) *MD_CTX_free;
	__typeof__(EVP_DigestInit_ex) *DigestInit_ex;
	__typeof__(EVP_DigestUpdate) *DigestUpdate;
	__typeof__(EVP_DigestFinal_ex) *DigestFinal_ex;
	__typeof__(EVP_sha256) *sha256;
} evp;

static bool is_loaded;

#define FUNCTION(member) LIBRARY_FUNCTION(libcrypto, member, "EVP_" #member)

static const struct library_function functions[] = {
	FUNCTION(MD_CTX_new),   FUNCTION(MD_CTX_free),    FUNCTION(DigestInit_ex),
	FUNCTION(DigestUpdate), FUNCTION(DigestFinal_ex), FUNCTION(sha256),
};

static_assert(sizeof(functions) / sizeof(*functions) * sizeof(void *) == sizeof(evp),
	      "each function has a name");

static void load_library(void)
{
	is_loaded = library_load(CRYPTO_SONAME, functions, ARRAY_SIZE(functions), &evp, NULL) == 0;
}

int sha256_begin(struct sha256 *hash)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	sha256_done(hash);
	(void)pthread_once(&once, load_library);
	if (!is_loaded) {
		(void)crypto_hash_sha256_init(&hash->plain);
		return 0;
	}
	hash->context = evp.MD_CTX_new();
	if (hash->context && evp.DigestInit_ex(hash->context, evp.sha256(), NULL) == 1)
		return 0;
	sha256_done(hash);
	return -ENOMEM;
}

void sha256_add(struct sha256 *hash, const void *data, size_t size)
{
	if (hash->context)
		(void)evp.DigestUpdate(hash->context, data, size);
	else
		(void)crypto_hash_sha256_update(&hash->plain, data, size);
}

void sha256_end(struct sha256 *hash, char ret_text[SHA256_TEXT_SIZE])
{
	uint8_t bytes[SHA256_SIZE] = {0};

	if (hash->context)
		(void)evp.DigestFinal_ex(hash->context, bytes, NULL);
	else
		(void)crypto_hash_sha256_final(&hash->plain, bytes);
	(void)sodium_bin2hex(ret_text, SHA256_TEXT_SIZE, bytes, sizeof(bytes));
	sha256_done(hash);
}

void sha256_done(struct sha256 *hash)
{
	if (hash->context)
		evp.MD_CTX_free(hash->context);
	hash->context = NULL;
}

int sha256_of(const void *data, size_t size, char ret_text[SHA256_TEXT_SIZE])
{
	cleanup_sha256 struct sha256 hash = {0};
	int r = sha256_begin(&hash);

	if (r < 0)
		return r;
	sha256_add(&hash, data, size);
	sha256_end(&hash, ret_text);
	return 0;
}

int sha256_of_fd(int fd, char ret_text[SHA256_TEXT_SIZE], uint64_t *ret_size)
{
	cleanup_free uint8_t *piece = malloc(PIECE_SIZE);
	cleanup_sha256 struct sha256 hash = {0};
	uint64_t offset = 0;
	size_t n = 0;
	int r = piece ? sha256_begin(&hash) : -ENOMEM;

	while (r == 0) {
		r = fd_pread_full(fd, piece, PIECE_SIZE, offset, &n);
		if (r < 0 || n == 0)
			break;
		sha256_add(&hash, piece, n);
		offset += n;
	}
	if (r < 0)
		return r;
	sha256_end(&hash, ret_text);
	if (ret_size)
		*ret_size = offset;
	return 0;
}
