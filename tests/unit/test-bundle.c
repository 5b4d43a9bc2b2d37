/* SPDX-License-Identifier: Apache-2.0 */

#include "bundle/bundle.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "bundle_maker.h"

#define UNIT_MAX 65536U /* of affix-bundle(5) */

static const struct identity demo = {
	.id = "demo",
	.version = "1.0.0",
	.os = "linux",
	.arch = "amd64",
	.created = 1700000000,
	.epoch = 7,
};

static void assert_file_refused(int fd, const struct identity *identity, enum refusal_code code,
				const char *text)
{
	struct bundle *bundle = NULL;
	struct refusal refusal = REFUSAL_INIT;
	int r = bundle_open(fd, identity, NULL, &bundle, &refusal);

	if (r != (int)code || !strstr(refusal.text, text))
		fail_msg("%d %s, '%s': expected %s, '%s'", r, refusal_to_string(refusal.code),
			 refusal.text, refusal_to_string(code), text);
	assert_null(bundle);
}

static void assert_refused(const struct bundle_maker *maker, enum refusal_code code,
			   const char *text)
{
	cleanup_fd int fd = bundle_maker_file(maker);

	assert_file_refused(fd, &demo, code, text);
}

static int open_scratch(void)
{
	int fd = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void whole_bundle_is_read_with_its_texts_digests_and_files(void **state)
{
	cleanup_fd int spool = open_scratch();
	cleanup_fd int fd = -EBADF;
	cleanup_bundle struct bundle *bundle = NULL;
	const struct bundle_entry *entry;
	struct bundle_maker maker;
	struct refusal refusal = REFUSAL_INIT;
	struct digest digest;
	struct stat status;
	uint64_t size = 0;

	(void)state;
	bundle_maker_init(&maker);
	fd = bundle_maker_file(&maker);
	assert_int_equal(
		bundle_open(fd, &demo, &(struct bundle_spool){.dirfd = spool}, &bundle, &refusal),
		0);
	assert_int_equal(bundle->n_entries, 4);
	assert_string_equal(bundle->entries[0].name, "addon.yaml");
	assert_string_equal(bundle->entries[0].text, bundle_maker_manifest);
	assert_string_equal(bundle_find(bundle, "affix-demo.service")->text, bundle_maker_unit);
	assert_string_equal(bundle_find(bundle, "config.schema.json")->text, bundle_maker_schema);
	assert_string_equal(bundle->manifest->id, "demo");
	assert_int_equal(bundle->identity.epoch, 7);
	assert_string_equal(bundle->key_id, "");
	entry = bundle_find(bundle, "demo");
	assert_true(entry->is_binary);
	assert_null(entry->text);
	assert_int_equal(entry->size, sizeof(maker.binary));
	digest_of(maker.binary, sizeof(maker.binary), &digest);
	assert_true(digest_is_equal(&digest, &entry->digest));
	assert_int_equal(bundle->size, entry->size + sizeof(bundle_maker_manifest) - 1 +
					       sizeof(bundle_maker_unit) - 1 +
					       sizeof(bundle_maker_schema) - 1);
	for (size_t i = 0; i < bundle->n_entries; i++) {
		entry = &bundle->entries[i];
		assert_int_equal(digest_of_fd(entry->fd, &digest, &size), 0);
		assert_int_equal(size, entry->size);
		assert_true(digest_is_equal(&digest, &entry->digest));
		assert_int_equal(fstat(entry->fd, &status), 0);
		assert_int_equal(status.st_nlink, 0);
		assert_int_equal(status.st_mode & 07777, 0600);
	}
}

static void without_spool_no_entry_has_a_file(void **state)
{
	cleanup_fd int fd = -EBADF;
	cleanup_bundle struct bundle *bundle = NULL;
	struct bundle_maker maker;
	struct refusal refusal = REFUSAL_INIT;

	(void)state;
	bundle_maker_init(&maker);
	fd = bundle_maker_file(&maker);
	assert_int_equal(bundle_open(fd, &demo, NULL, &bundle, &refusal), 0);
	for (size_t i = 0; i < bundle->n_entries; i++)
		assert_int_equal(bundle->entries[i].fd, -EBADF);
	assert_null(bundle_find(bundle, "other"));
}

static void identity_that_nobody_gave_comes_from_manifest_and_program(void **state)
{
	static const struct {
		unsigned machine;
		const char *arch;
	} cases[] = {
		{EM_X86_64,  "amd64"},
                {EM_AARCH64, "arm64"}
        };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_fd int fd = -EBADF;
		cleanup_bundle struct bundle *bundle = NULL;
		struct bundle_maker maker;
		struct refusal refusal = REFUSAL_INIT;
		struct digest digest;

		bundle_maker_init(&maker);
		bundle_maker_elf(maker.binary, cases[i].machine);
		fd = bundle_maker_file(&maker);
		assert_int_equal(bundle_open(fd, NULL, NULL, &bundle, &refusal), 0);
		assert_int_equal(digest_of_fd(fd, &digest, NULL), 0);
		assert_true(digest_is_equal(&digest, &bundle->digest));
		assert_string_equal(bundle->identity.id, "demo");
		assert_string_equal(bundle->identity.version, "1.0.0");
		assert_string_equal(bundle->identity.os, "linux");
		assert_string_equal(bundle->identity.arch, cases[i].arch);
	}
}

static void comment_that_names_another_field_is_refused_by_the_field(void **state)
{
	struct bundle_maker maker;
	cleanup_fd int fd = -EBADF;
	struct identity other = demo;

	(void)state;
	bundle_maker_init(&maker);
	fd = bundle_maker_file(&maker);
	(void)snprintf(other.id, sizeof(other.id), "other");
	assert_file_refused(fd, &other, REFUSAL_IDENTITY_MISMATCH, "id 'other'");
	other = demo;
	(void)snprintf(other.version, sizeof(other.version), "1.0.1");
	assert_file_refused(fd, &other, REFUSAL_IDENTITY_MISMATCH, "version '1.0.1'");
	other = demo;
	(void)snprintf(other.os, sizeof(other.os), "darwin");
	assert_file_refused(fd, &other, REFUSAL_IDENTITY_MISMATCH, "'darwin'");
	other = demo;
	(void)snprintf(other.arch, sizeof(other.arch), "arm64");
	assert_file_refused(fd, &other, REFUSAL_WRONG_ELF,
			    "names linux/arm64, machine 183, got 62");
}

static void program_of_another_machine_or_format_is_refused(void **state)
{
	static const char mach_o[64] = "\xcf\xfa\xed\xfe";
	struct bundle_maker maker;

	(void)state;
	bundle_maker_init(&maker);
	bundle_maker_elf(maker.binary, EM_AARCH64);
	assert_refused(&maker, REFUSAL_WRONG_ELF, "names linux/amd64, machine 62, got 183");
	bundle_maker_elf(maker.binary, EM_X86_64);
	maker.binary[EI_CLASS] = ELFCLASS32;
	assert_refused(&maker, REFUSAL_WRONG_ELF, "64-bit");
	bundle_maker_elf(maker.binary, EM_X86_64);
	maker.binary[EI_DATA] = ELFDATA2MSB;
	assert_refused(&maker, REFUSAL_WRONG_ELF, "little-endian");
	bundle_maker_elf(maker.binary, EM_X86_64);
	maker.binary[EI_OSABI] = ELFOSABI_FREEBSD;
	assert_refused(&maker, REFUSAL_WRONG_ELF, "operating system");
	bundle_maker_elf(maker.binary, EM_X86_64);
	maker.binary[16] = ET_REL;
	assert_refused(&maker, REFUSAL_WRONG_ELF, "no program");
	memcpy(maker.binary, mach_o, sizeof(mach_o));
	assert_refused(&maker, REFUSAL_WRONG_ELF, "no ELF file: the bundle names linux/amd64");
	bundle_maker_elf(maker.binary, EM_X86_64);
	bundle_maker_find(&maker, "demo")->data_size = 63;
	assert_refused(&maker, REFUSAL_WRONG_ELF, "no ELF file");
	bundle_maker_find(&maker, "demo")->data_size = 0;
	assert_refused(&maker, REFUSAL_WRONG_ELF, "no ELF file");
}

static void entry_that_the_manifest_names_must_be_there(void **state)
{
	static const char *const names[] = {"demo", "config.schema.json", "affix-demo.service"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct bundle_maker maker;

		bundle_maker_init(&maker);
		bundle_maker_remove(&maker, names[i]);
		assert_refused(&maker, REFUSAL_MISSING_ENTRY,
			       strstr(names[i], ".service") ? ".service" : names[i]);
	}
}

static void timer_model_needs_both_a_timer_and_a_service(void **state)
{
	static const char model[] = "systemd-service";
	const char *place = strstr(bundle_maker_manifest, model);
	cleanup_buffer struct buffer manifest = BUFFER_INIT;
	struct bundle_maker maker;

	(void)state;
	assert_non_null(place);
	assert_int_equal(buffer_format(&manifest, "%.*ssystemd-timer%s",
				       (int)(place - bundle_maker_manifest), bundle_maker_manifest,
				       place + strlen(model)),
			 0);
	bundle_maker_init(&maker);
	bundle_maker_set_text(&maker, "addon.yaml", manifest.data);
	assert_refused(&maker, REFUSAL_MISSING_ENTRY, ".timer");
	bundle_maker_find(&maker, "affix-demo.service")->name = "affix-demo.timer";
	assert_refused(&maker, REFUSAL_MISSING_ENTRY, ".service");
}

static void manifest_comes_first_and_the_rest_is_sorted(void **state)
{
	struct bundle_maker maker;

	(void)state;
	bundle_maker_init(&maker);
	bundle_maker_remove(&maker, "addon.yaml");
	assert_refused(&maker, REFUSAL_MALFORMED_BUNDLE, "first entry");
	(void)bundle_maker_add(&maker, "addon.yaml", bundle_maker_manifest,
			       sizeof(bundle_maker_manifest) - 1);
	assert_refused(&maker, REFUSAL_MALFORMED_BUNDLE, "first entry");
	bundle_maker_init(&maker);
	(void)bundle_maker_add(&maker, "data", "x", 1);
	assert_refused(&maker, REFUSAL_MALFORMED_BUNDLE, "not sorted");
	maker = (struct bundle_maker){};
	assert_refused(&maker, REFUSAL_MALFORMED_BUNDLE, "");
}

static void duplicates_and_twins_by_case_are_refused(void **state)
{
	static const char *const names[] = {"demo", "DEMO", "Addon.yaml", "addon.yaml"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct bundle_maker maker;

		bundle_maker_init(&maker);
		(void)bundle_maker_add(&maker, names[i], "x", 1);
		assert_refused(&maker, REFUSAL_DUPLICATE_ENTRY, names[i]);
	}
}

static void names_that_affix_uses_itself_are_refused(void **state)
{
	static const char *const names[] = {".hidden",        ".serviceradar-addon.json",
					    "demo.affix-new", "-rf",
					    "../evil",        "sub/x.service",
					    "e\xcc\x81",      "%d"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct bundle_maker maker;

		bundle_maker_init(&maker);
		(void)bundle_maker_add(&maker, names[i], "x", 1);
		assert_refused(&maker, REFUSAL_BAD_ENTRY_NAME, "");
	}
}

static void sixty_four_entries_are_read_and_one_more_is_refused(void **state)
{
	char names[BUNDLE_ENTRIES_MAX][8];
	struct bundle_maker maker;
	cleanup_fd int fd = -EBADF;
	cleanup_bundle struct bundle *bundle = NULL;
	struct refusal refusal = REFUSAL_INIT;

	(void)state;
	bundle_maker_init(&maker);
	for (unsigned i = 0; i < BUNDLE_ENTRIES_MAX - 4; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "e%02u", i);
		(void)bundle_maker_add(&maker, names[i], "x", 1);
	}
	fd = bundle_maker_file(&maker);
	assert_int_equal(bundle_open(fd, &demo, NULL, &bundle, &refusal), 0);
	assert_int_equal(bundle->n_entries, BUNDLE_ENTRIES_MAX);
	(void)bundle_maker_add(&maker, "f", "x", 1);
	assert_refused(&maker, REFUSAL_TOO_MANY_ENTRIES, "64");
}

static void texts_over_their_limits_are_refused(void **state)
{
	cleanup_free char *text = malloc(BUNDLE_TEXT_SIZE_MAX + 1);
	struct bundle_maker maker;

	(void)state;
	assert_non_null(text);
	memset(text, '#', BUNDLE_TEXT_SIZE_MAX + 1);
	bundle_maker_init(&maker);
	(void)bundle_maker_add(&maker, "e.service", text, UNIT_MAX);
	(void)bundle_maker_add(&maker, "e.timer", text, UNIT_MAX + 1);
	assert_refused(&maker, REFUSAL_ENTRY_TOO_LARGE, "'e.timer'");
	bundle_maker_init(&maker);
	bundle_maker_find(&maker, "addon.yaml")->data = text;
	bundle_maker_find(&maker, "addon.yaml")->data_size = BUNDLE_TEXT_SIZE_MAX + 1;
	assert_refused(&maker, REFUSAL_ENTRY_TOO_LARGE, "'addon.yaml'");
	bundle_maker_init(&maker);
	bundle_maker_find(&maker, "config.schema.json")->data = text;
	bundle_maker_find(&maker, "config.schema.json")->data_size = BUNDLE_TEXT_SIZE_MAX + 1;
	assert_refused(&maker, REFUSAL_ENTRY_TOO_LARGE, "'config.schema.json'");
}

static void size_over_the_limit_is_refused_by_its_header(void **state)
{
	static const char *const fields[] = {"04000000001\0", "20000000000\0", "40000000000\0",
					     "77777777777\0", "\x80\0\0\0\0\0\0\x01\0\0\0\0"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		struct bundle_maker maker;

		bundle_maker_init(&maker);
		bundle_maker_add(&maker, "e", "x", 1)->size = fields[i];
		assert_refused(&maker, REFUSAL_ENTRY_TOO_LARGE, "at most 536870912");
	}
}

/* A tar of the demo add-on and of entries full of zeroes, compressed piece by piece. */
static int large_bundle(const uint64_t *sizes, size_t n)
{
	static const char zeroes[1U << 20];
	cleanup_buffer struct buffer head = BUFFER_INIT;
	ZSTD_CCtx *context = ZSTD_createCCtx();
	int fd = memfd_create("bundle", MFD_CLOEXEC);
	cleanup_free char *out = malloc(ZSTD_CStreamOutSize());
	struct bundle_maker maker;

	assert_true(context && out && fd >= 0);
	(void)ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, -5);
	bundle_maker_init(&maker);
	assert_int_equal(bundle_maker_tar(&maker, &head), 0);
	head.size -= 2UL * TAR_MAKER_BLOCK;
	for (size_t i = 0; i <= n; i++) {
		uint64_t left = i < n ? (sizes[i] + 511) / 512 * 512 : 0;
		char name[2] = {(char)('e' + i), '\0'};
		char field[16];

		if (i < n) {
			(void)snprintf(field, sizeof(field), "%011llo",
				       (unsigned long long)sizes[i]);
			assert_int_equal(
				tar_maker_header(&head, &(struct tar_maker_entry){.name = name,
										  .size = field}),
				0);
		} else {
			assert_int_equal(tar_maker_end(&head), 0);
		}
		while (head.size > 0 || left > 0) {
			ZSTD_inBuffer in = {
				head.size > 0 ? head.data : zeroes,
				head.size > 0 ? head.size : (size_t)MIN(left, sizeof(zeroes)), 0};

			left -= head.size > 0 ? 0 : in.size;
			head.size = 0;
			do {
				ZSTD_outBuffer target = {out, ZSTD_CStreamOutSize(), 0};

				assert_false(ZSTD_isError(ZSTD_compressStream2(
					context, &target, &in, ZSTD_e_continue)));
				assert_int_equal(fd_write_full(fd, out, target.pos), 0);
			} while (in.pos < in.size);
		}
	}
	for (size_t left = 1; left > 0;) {
		ZSTD_inBuffer in = {NULL, 0, 0};
		ZSTD_outBuffer target = {out, ZSTD_CStreamOutSize(), 0};

		left = ZSTD_compressStream2(context, &target, &in, ZSTD_e_end);
		assert_int_equal(fd_write_full(fd, out, target.pos), 0);
	}
	(void)ZSTD_freeCCtx(context);
	return fd;
}

static void sum_of_entries_is_held_to_the_limit_to_the_byte(void **state)
{
	struct bundle_maker maker;
	uint64_t rest = BUNDLE_SIZE_MAX - BUNDLE_ENTRY_SIZE_MAX;
	cleanup_fd int largest = -EBADF;
	cleanup_fd int over = -EBADF;
	cleanup_bundle struct bundle *bundle = NULL;
	struct refusal refusal = REFUSAL_INIT;

	(void)state;
	/* Two GiB take minutes there. */
	if (getenv("AFFIX_VALGRIND"))
		skip();
	bundle_maker_init(&maker);
	for (size_t i = 0; i < maker.n_entries; i++)
		rest -= maker.entries[i].data_size;
	largest = large_bundle((uint64_t[]){BUNDLE_ENTRY_SIZE_MAX, rest}, 2);
	assert_int_equal(bundle_open(largest, &demo, NULL, &bundle, &refusal), 0);
	assert_int_equal(bundle->size, BUNDLE_SIZE_MAX);
	over = large_bundle((uint64_t[]){BUNDLE_ENTRY_SIZE_MAX, rest + 1}, 2);
	assert_file_refused(over, &demo, REFUSAL_BUNDLE_TOO_LARGE, "1073741825");
}

static void manifest_with_problems_is_refused_with_its_first_place(void **state)
{
	cleanup_buffer struct buffer text = BUFFER_INIT;
	struct bundle_maker maker;

	(void)state;
	bundle_maker_init(&maker);
	assert_int_equal(buffer_format(&text, "%ssurprise: 1\nmore: 2\n", bundle_maker_manifest),
			 0);
	bundle_maker_set_text(&maker, "addon.yaml", text.data);
	assert_refused(&maker, REFUSAL_BAD_MANIFEST, "addon.yaml:14:");
	bundle_maker_set_text(&maker, "addon.yaml", "");
	assert_refused(&maker, REFUSAL_BAD_MANIFEST, "addon.yaml");
}

static void schema_that_does_not_compile_is_refused(void **state)
{
	struct bundle_maker maker;

	(void)state;
	bundle_maker_init(&maker);
	bundle_maker_set_text(&maker, "config.schema.json", "[]");
	assert_refused(&maker, REFUSAL_BAD_SCHEMA, "config.schema.json:1:");
}

static void bundle_cut_off_or_continued_is_refused(void **state)
{
	struct bundle_maker maker;
	cleanup_fd int fd = -EBADF;
	struct stat status;

	(void)state;
	bundle_maker_init(&maker);
	fd = bundle_maker_file(&maker);
	assert_int_equal(fd_write_full(fd, "x", 1), 0);
	assert_file_refused(fd, &demo, REFUSAL_TRAILING_DATA, "");
	assert_int_equal(fstat(fd, &status), 0);
	for (off_t size = status.st_size - 2; size >= 0; size -= 7) {
		assert_int_equal(ftruncate(fd, size), 0);
		assert_file_refused(fd, &demo, REFUSAL_MALFORMED_BUNDLE, "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_bundle_is_read_with_its_texts_digests_and_files),
		cmocka_unit_test(without_spool_no_entry_has_a_file),
		cmocka_unit_test(identity_that_nobody_gave_comes_from_manifest_and_program),
		cmocka_unit_test(comment_that_names_another_field_is_refused_by_the_field),
		cmocka_unit_test(program_of_another_machine_or_format_is_refused),
		cmocka_unit_test(entry_that_the_manifest_names_must_be_there),
		cmocka_unit_test(timer_model_needs_both_a_timer_and_a_service),
		cmocka_unit_test(manifest_comes_first_and_the_rest_is_sorted),
		cmocka_unit_test(duplicates_and_twins_by_case_are_refused),
		cmocka_unit_test(names_that_affix_uses_itself_are_refused),
		cmocka_unit_test(sixty_four_entries_are_read_and_one_more_is_refused),
		cmocka_unit_test(texts_over_their_limits_are_refused),
		cmocka_unit_test(size_over_the_limit_is_refused_by_its_header),
		cmocka_unit_test(sum_of_entries_is_held_to_the_limit_to_the_byte),
		cmocka_unit_test(manifest_with_problems_is_refused_with_its_first_place),
		cmocka_unit_test(schema_that_does_not_compile_is_refused),
		cmocka_unit_test(bundle_cut_off_or_continued_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
