/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fd.h"
#include "bundle/bundle.h"

#define COMMENT "affix:1 id=demo version=1.0.0 os=linux arch=amd64 created=2026-01-31T12:00:00Z"
#define SMALL   600000U            /* more than two chunks; copied to memory */
#define LARGE   (4718592U + SMALL) /* copied to a file */

/* What the next file seems to have, as it grows only then; 0: what it has. With 64-bit offsets the
 * call is fstat64(). */
static off_t shown_size;

int __real_fstat64(int fd, struct stat *ret);
int __wrap_fstat64(int fd, struct stat *ret);

int __wrap_fstat64(int fd, struct stat *ret)
{
	int r = __real_fstat64(fd, ret);

	if (r == 0 && shown_size > 0)
		ret->st_size = shown_size;
	return r;
}

struct fixture {
	int dir; /* for the private copies */
	struct trust *trust;
	struct minisign_secret_key secret;
	uint8_t *bytes;
	size_t size;
	char *signature;
};

static int setup(void **state, size_t size)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct minisign_public_key public;
	struct digest digest;

	assert_non_null(f);
	f->size = size;
	f->bytes = malloc(size);
	assert_non_null(f->bytes);
	f->dir = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->dir >= 0);
	minisign_keygen(&f->secret, &public);
	assert_int_equal(trust_of_key(&public, "test", &f->trust), 0);
	/* Noise: whoever parsed it before it is verified would stumble. */
	randombytes_buf(f->bytes, size);
	digest_of(f->bytes, size, &digest);
	assert_int_equal(minisign_sign(&f->secret, &digest, COMMENT, &f->signature), 0);
	*state = f;
	return 0;
}

static int setup_small(void **state)
{
	return setup(state, SMALL);
}

static int setup_large(void **state)
{
	return setup(state, LARGE);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)fd_close(f->dir);
	(void)trust_free(f->trust);
	free(f->signature);
	free(f->bytes);
	free(f);
	return 0;
}

static int file_of(const void *data, size_t size)
{
	int fd = memfd_create("bundle", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_full(fd, data, size), 0);
	return fd;
}

static int receive_until(const struct fixture *f, int fd, uint64_t deadline_usec,
			 struct bundle_receipt *ret)
{
	const struct bundle_verify verify = {.signature = f->signature,
					     .signature_size = strlen(f->signature),
					     .trust = f->trust,
					     .deadline_usec = deadline_usec,
					     .private_dirfd = f->dir};
	struct refusal refusal = REFUSAL_INIT;
	int r = bundle_receive(fd, &verify, ret, &refusal);

	assert_int_equal(refusal.code, MAX(r, 0));
	return r;
}

static int receive(const struct fixture *f, int fd, struct bundle_receipt *ret)
{
	return receive_until(f, fd, clock_monotonic_usec() + 60 * CLOCK_USEC_PER_SEC, ret);
}

static ino_t inode_of(int fd)
{
	struct stat status;

	assert_int_equal(fstat(fd, &status), 0);
	return status.st_ino;
}

static void assert_copied(const struct bundle_receipt *receipt, int fd, size_t size)
{
	struct digest copy;
	uint64_t copied = receipt->size;

	if (receipt->memory) {
		assert_int_equal(receipt->fd, -EBADF);
		digest_of(receipt->memory, (size_t)copied, &copy);
	} else {
		assert_int_not_equal(inode_of(fd), inode_of(receipt->fd));
		assert_int_equal(digest_of_fd(receipt->fd, &copy, &copied), 0);
	}
	assert_int_equal(copied, size);
	assert_true(digest_is_equal(&copy, &receipt->digest));
}

static void signed_bytes_are_received_with_digest_identity_and_key(void **state)
{
	const struct fixture *f = *state;
	cleanup_bundle_receipt struct bundle_receipt receipt = BUNDLE_RECEIPT_INIT;
	cleanup_fd int fd = file_of(f->bytes, f->size);
	struct digest wanted;
	struct stat status;

	assert_int_equal(receive(f, fd, &receipt), 0);
	digest_of(f->bytes, f->size, &wanted);
	assert_true(digest_is_equal(&receipt.digest, &wanted));
	assert_string_equal(receipt.identity.id, "demo");
	assert_string_equal(receipt.key->name, "test");
	assert_copied(&receipt, fd, f->size);
	assert_int_equal(receipt.memory != NULL, f->size == SMALL);
	if (receipt.memory)
		return;
	assert_int_equal(fstat(receipt.fd, &status), 0);
	assert_int_equal(status.st_nlink, 0);
	assert_int_equal(status.st_mode & 07777, 0600);
}

static void what_the_sender_writes_afterwards_does_not_reach_the_copy(void **state)
{
	const struct fixture *f = *state;
	cleanup_bundle_receipt struct bundle_receipt receipt = BUNDLE_RECEIPT_INIT;
	cleanup_fd int fd = file_of(f->bytes, f->size);

	assert_int_equal(receive(f, fd, &receipt), 0);
	assert_int_equal(pwrite(fd, "evil", 4, 0), 4);
	assert_copied(&receipt, fd, f->size);
}

static void file_that_grows_while_it_is_copied_is_refused(void **state)
{
	const struct fixture *f = *state;
	cleanup_bundle_receipt struct bundle_receipt receipt = BUNDLE_RECEIPT_INIT;
	cleanup_fd int fd = file_of(f->bytes, f->size);
	const off_t grown[] = {1, 64 << 20};

	for (size_t i = 0; i < ARRAY_SIZE(grown); i++) {
		int r;

		assert_int_equal(ftruncate(fd, (off_t)f->size + grown[i]), 0);
		shown_size = (off_t)f->size;
		r = receive(f, fd, &receipt);
		shown_size = 0;
		assert_int_equal(r, REFUSAL_BAD_DESCRIPTOR);
	}
}

static void file_position_is_neither_used_nor_moved(void **state)
{
	const struct fixture *f = *state;
	cleanup_bundle_receipt struct bundle_receipt receipt = BUNDLE_RECEIPT_INIT;
	cleanup_fd int fd = file_of(f->bytes, f->size);

	assert_int_equal(lseek(fd, 4711, SEEK_SET), 4711);
	assert_int_equal(receive(f, fd, &receipt), 0);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 4711);
}

static void sealed_memfd_is_used_without_a_copy(void **state)
{
	const struct fixture *f = *state;
	cleanup_bundle_receipt struct bundle_receipt receipt = BUNDLE_RECEIPT_INIT;
	cleanup_fd int fd = file_of(f->bytes, f->size);

	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW), 0);
	assert_int_equal(receive(f, fd, &receipt), 0);
	assert_int_equal(inode_of(fd), inode_of(receipt.fd));
	assert_int_not_equal(fd, receipt.fd);
	assert_int_equal(fcntl(receipt.fd, F_GETFD), FD_CLOEXEC);
}

static void memfd_that_can_still_change_is_copied(void **state)
{
	static const int seals[] = {F_SEAL_WRITE | F_SEAL_GROW, F_SEAL_SHRINK | F_SEAL_GROW,
				    F_SEAL_WRITE | F_SEAL_SHRINK};
	const struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(seals); i++) {
		cleanup_bundle_receipt struct bundle_receipt receipt = BUNDLE_RECEIPT_INIT;
		cleanup_fd int fd = file_of(f->bytes, f->size);

		assert_int_equal(fcntl(fd, F_ADD_SEALS, seals[i]), 0);
		assert_int_equal(receive(f, fd, &receipt), 0);
		assert_copied(&receipt, fd, f->size);
	}
}

static void assert_bytes_refused(const struct fixture *f, const void *bytes, size_t size)
{
	cleanup_bundle_receipt struct bundle_receipt receipt = BUNDLE_RECEIPT_INIT;
	cleanup_fd int fd = file_of(bytes, size);

	assert_int_equal(receive(f, fd, &receipt), REFUSAL_BAD_SIGNATURE);
	assert_int_equal(receipt.fd, -EBADF);
	assert_null(receipt.key);
}

static void changed_shortened_or_lengthened_bytes_are_refused(void **state)
{
	struct fixture *f = *state;
	cleanup_free uint8_t *longer = malloc(f->size + 1);

	assert_non_null(longer);
	memcpy(longer, f->bytes, f->size);
	longer[f->size] = 0;
	assert_bytes_refused(f, longer, f->size + 1);
	assert_bytes_refused(f, longer, f->size - 1);
	assert_bytes_refused(f, longer, 0);
	longer[f->size - 1] ^= 1;
	assert_bytes_refused(f, longer, f->size);
}

static void signature_that_is_none_is_refused_before_anything_is_copied(void **state)
{
	struct fixture *f = *state;
	const struct bundle_verify verify = {.signature = "nonsense",
					     .signature_size = 8,
					     .trust = f->trust,
					     .private_dirfd = -EBADF};
	cleanup_bundle_receipt struct bundle_receipt receipt = BUNDLE_RECEIPT_INIT;
	cleanup_fd int fd = file_of(f->bytes, f->size);
	struct refusal refusal = REFUSAL_INIT;

	assert_int_equal(bundle_receive(fd, &verify, &receipt, &refusal),
			 REFUSAL_MALFORMED_SIGNATURE);
}

static void key_that_is_not_trusted_is_refused(void **state)
{
	const struct fixture *f = *state;
	struct fixture other = *f;
	struct minisign_secret_key secret;
	struct minisign_public_key public;
	cleanup_trust struct trust *trust = NULL;
	cleanup_bundle_receipt struct bundle_receipt receipt = BUNDLE_RECEIPT_INIT;
	cleanup_fd int fd = file_of(f->bytes, f->size);

	minisign_keygen(&secret, &public);
	assert_int_equal(trust_of_key(&public, "other", &trust), 0);
	other.trust = trust;
	assert_int_equal(receive(&other, fd, &receipt), REFUSAL_UNTRUSTED_KEY);
}

static void assert_descriptor_refused(const struct fixture *f, int fd)
{
	cleanup_bundle_receipt struct bundle_receipt receipt = BUNDLE_RECEIPT_INIT;

	assert_int_equal(receive(f, fd, &receipt), REFUSAL_BAD_DESCRIPTOR);
}

static void descriptor_of_anything_but_a_readable_file_is_refused(void **state)
{
	const struct fixture *f = *state;

	static const struct {
		const char *path;
		int flags;
	} cases[] = {
		{"/tmp",            O_RDONLY | O_DIRECTORY},
		{"/dev/zero",       O_RDONLY              },
		{"/proc/self/stat", O_PATH                },
		{"/tmp",            O_WRONLY | O_TMPFILE  },
	};

	int ends[2] = {-EBADF, -EBADF};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_fd int fd = open(cases[i].path, cases[i].flags | O_CLOEXEC, 0600);

		assert_true(fd >= 0);
		assert_descriptor_refused(f, fd);
	}
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_descriptor_refused(f, ends[0]);
	(void)fd_close(ends[0]);
	(void)fd_close(ends[1]);
	assert_descriptor_refused(f, -EBADF);
}

static void file_over_the_limit_is_refused_by_its_size(void **state)
{
	const struct fixture *f = *state;
	cleanup_bundle_receipt struct bundle_receipt receipt = BUNDLE_RECEIPT_INIT;
	cleanup_fd int fd = file_of("", 0);

	assert_int_equal(ftruncate(fd, (off_t)BUNDLE_SIZE_MAX + 1), 0);
	assert_int_equal(receive_until(f, fd, 1, &receipt), REFUSAL_BUNDLE_TOO_LARGE);
	/* At the limit it is read: here, until the time is up. */
	assert_int_equal(ftruncate(fd, (off_t)BUNDLE_SIZE_MAX), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW), 0);
	assert_int_equal(receive_until(f, fd, 1, &receipt), REFUSAL_TIMEOUT);
}

static void copy_that_is_not_done_in_time_is_refused(void **state)
{
	const struct fixture *f = *state;
	cleanup_bundle_receipt struct bundle_receipt receipt = BUNDLE_RECEIPT_INIT;
	cleanup_fd int fd = file_of(f->bytes, f->size);

	assert_int_equal(receive_until(f, fd, clock_monotonic_usec() - 1, &receipt),
			 REFUSAL_TIMEOUT);
	assert_int_equal(receipt.fd, -EBADF);
	assert_int_equal(receive_until(f, fd, 0, &receipt), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signed_bytes_are_received_with_digest_identity_and_key),
		cmocka_unit_test(what_the_sender_writes_afterwards_does_not_reach_the_copy),
		cmocka_unit_test(file_that_grows_while_it_is_copied_is_refused),
		cmocka_unit_test(file_position_is_neither_used_nor_moved),
		cmocka_unit_test(memfd_that_can_still_change_is_copied),
		cmocka_unit_test(changed_shortened_or_lengthened_bytes_are_refused),
		cmocka_unit_test(signature_that_is_none_is_refused_before_anything_is_copied),
		cmocka_unit_test(key_that_is_not_trusted_is_refused),
		cmocka_unit_test(descriptor_of_anything_but_a_readable_file_is_refused),
		cmocka_unit_test(file_over_the_limit_is_refused_by_its_size),
		cmocka_unit_test(copy_that_is_not_done_in_time_is_refused),
	};
	const struct CMUnitTest large_tests[] = {
		cmocka_unit_test(sealed_memfd_is_used_without_a_copy),
	};
	int failed = 0;

	if (sodium_init() < 0)
		return 1;
	failed += cmocka_run_group_tests(tests, setup_small, teardown);
	failed += cmocka_run_group_tests(tests, setup_large, teardown);
	return failed + cmocka_run_group_tests(large_tests, setup_large, teardown);
}
