/* SPDX-License-Identifier: Apache-2.0 */

#include "crypto/sha256.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

/* Whether libcrypto is there, as the test wants it. */
static bool is_missing;

void *__real_dlopen(const char *name, int flags);
void *__wrap_dlopen(const char *name, int flags);

void *__wrap_dlopen(const char *name, int flags)
{
	return is_missing ? NULL : __real_dlopen(name, flags);
}

static void digests_are_those_of_the_standard(void **state)
{
	cleanup_sha256 struct sha256 hash = {0};
	char text[SHA256_TEXT_SIZE];

	(void)state;
	assert_int_equal(sha256_of("", 0, text), 0);
	assert_string_equal(text, EMPTY);
	assert_int_equal(sha256_begin(&hash), 0);
	sha256_add(&hash, "x", 1);
	assert_int_equal(sha256_begin(&hash), 0);
	sha256_add(&hash, "a", 1);
	sha256_add(&hash, "bc", 2);
	sha256_end(&hash, text);
	assert_string_equal(text, ABC);
}

/* The library is looked for once in a process. */
static void without_libcrypto_they_are_the_same(void **state)
{
	char text[SHA256_TEXT_SIZE];
	int status = -1;
	pid_t child = fork();

	(void)state;
	assert_true(child >= 0);
	if (child == 0) {
		is_missing = true;
		_exit(sha256_of("abc", 3, text) == 0 && strcmp(text, ABC) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

int main(void)
{
	/* The first has a process in which nothing was loaded. */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_libcrypto_they_are_the_same),
		cmocka_unit_test(digests_are_those_of_the_standard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
