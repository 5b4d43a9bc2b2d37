/* SPDX-License-Identifier: Apache-2.0 */

#include "bundle/build.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/path.h"
#include "bundle/bundle.h"
#include "bundle/decompress.h"
#include "bundle_maker.h"
#include "own_directory.h"

/* BLAKE2b-512 of the demo add-on's tar archive, begun. The compressor's version does not enter. */
#define GOLDEN "81d8af3fe8f946eafcde0928207da98caea118a4e7c0213ee781c0d961b2557d"

static const char *const source_names[] = {"addon.yaml", "config.schema.json",
					   "affix-demo.service"};

/* A scratch directory with the demo add-on in src/, a program and a place for bundles. */
struct fixture {
	char path[32];
	char src[64];
	char out[64];
	char program[64];
	char arm_program[64];
	int dir;
};

static void put(const struct fixture *f, const char *name, const void *data, size_t size)
{
	cleanup_fd int fd = openat(f->dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_full(fd, data, size), 0);
}

static void put_text(const struct fixture *f, const char *name, const char *text)
{
	put(f, name, text, strlen(text));
}

static void put_source(const struct fixture *f, const char *name)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "src/%s", name);
	put_text(f, path,
		 strcmp(name, "addon.yaml") == 0           ? bundle_maker_manifest
		 : strcmp(name, "config.schema.json") == 0 ? bundle_maker_schema
							   : bundle_maker_unit);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	uint8_t program[1000] = {0};

	assert_non_null(f);
	own_directory_make(f->path);
	f->dir = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->dir >= 0);
	(void)snprintf(f->src, sizeof(f->src), "%s/src", f->path);
	(void)snprintf(f->out, sizeof(f->out), "%s/out", f->path);
	(void)snprintf(f->program, sizeof(f->program), "%s/amd64", f->path);
	(void)snprintf(f->arm_program, sizeof(f->arm_program), "%s/arm64", f->path);
	assert_int_equal(mkdir(f->src, 0755), 0);
	for (size_t i = 0; i < ARRAY_SIZE(source_names); i++)
		put_source(f, source_names[i]);
	bundle_maker_elf(program, EM_X86_64);
	put(f, "amd64", program, sizeof(program));
	bundle_maker_elf(program, EM_AARCH64);
	put(f, "arm64", program, sizeof(program));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	own_directory_remove(f->path);
	(void)fd_close(f->dir);
	free(f);
	return 0;
}

static int build_with(const struct fixture *f, const struct build_binary *binaries, size_t n,
		      const char *entry, struct strv *paths, struct diagnostics *diagnostics)
{
	cleanup_strv struct strv entries = STRV_INIT;

	if (entry)
		assert_int_equal(strv_add(&entries, entry), 0);
	return build_bundles(f->src, binaries, n, &entries, f->out, paths, diagnostics);
}

static int build_demo(const struct fixture *f, const char *entry, struct strv *paths,
		      struct diagnostics *diagnostics)
{
	return build_with(f, &(struct build_binary){"linux", "amd64", f->program}, 1, entry, paths,
			  diagnostics);
}

/* How many names a directory has, or -1 where there is none. */
static int count_names(const char *path)
{
	DIR *dir = opendir(path);
	int n = 0;

	if (!dir)
		return -1;
	for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
		n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	(void)closedir(dir);
	return n;
}

static bool says(const struct diagnostics *diagnostics, enum refusal_code code, const char *file,
		 const char *text)
{
	for (size_t i = 0; i < diagnostics->count; i++) {
		const struct diagnostic *item = &diagnostics->items[i];

		if (item->code == code && str_ends_with(item->file, file) &&
		    strstr(item->message, text))
			return true;
	}
	for (size_t i = 0; i < diagnostics->count; i++)
		print_message("%s: %s:%u: %s\n", refusal_to_string(diagnostics->items[i].code),
			      diagnostics->items[i].file, diagnostics->items[i].line,
			      diagnostics->items[i].message);
	return false;
}

static void assert_build_refused(const struct fixture *f, const struct build_binary *binaries,
				 size_t n, enum refusal_code code, const char *text)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_strv struct strv paths = STRV_INIT;

	assert_int_equal(build_with(f, binaries, n, NULL, &paths, &diagnostics), 1);
	assert_true(says(&diagnostics, code, "", text));
	assert_int_equal(paths.count, 0);
	assert_int_equal(count_names(f->out), -1);
}

static struct bundle *open_bundle(const char *path)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct refusal refusal = REFUSAL_INIT;
	struct bundle *bundle = NULL;

	assert_true(fd >= 0);
	assert_int_equal(bundle_open(fd, NULL, NULL, &bundle, &refusal), 0);
	return bundle;
}

static void bundle_per_program_is_built_and_can_be_opened(void **state)
{
	const struct fixture *f = *state;
	const struct build_binary binaries[] = {
		{"linux", "amd64", f->program    },
                {"linux", "arm64", f->arm_program}
        };
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_strv struct strv paths = STRV_INIT;

	put_text(f, "rules.txt", "data\n");
	assert_int_equal(fchmodat(f->dir, "rules.txt", 0777, 0), 0);
	assert_int_equal(fchmodat(f->dir, "amd64", 0600, 0), 0);
	{
		char entry[64];

		(void)snprintf(entry, sizeof(entry), "%s/rules.txt", f->path);
		assert_int_equal(build_with(f, binaries, 2, entry, &paths, &diagnostics), 0);
	}
	assert_int_equal(paths.count, 2);
	assert_int_equal(count_names(f->out), 2);
	for (size_t i = 0; i < 2; i++) {
		cleanup_bundle struct bundle *bundle = open_bundle(paths.items[i]);
		char name[64];
		struct stat status;

		(void)snprintf(name, sizeof(name), "/demo-1.0.0-linux-%s.tar.zst",
			       binaries[i].arch);
		assert_true(str_ends_with(paths.items[i], name));
		assert_string_equal(bundle->identity.arch, binaries[i].arch);
		assert_int_equal(bundle->n_entries, 5);
		assert_string_equal(bundle->entries[0].name, "addon.yaml");
		assert_string_equal(bundle->entries[1].name, "affix-demo.service");
		assert_string_equal(bundle->entries[2].name, "config.schema.json");
		assert_string_equal(bundle->entries[3].name, "demo");
		assert_string_equal(bundle->entries[4].name, "rules.txt");
		assert_int_equal(stat(paths.items[i], &status), 0);
		assert_int_equal(status.st_mode, S_IFREG | 0644);
	}
}

static struct hasher *new_hasher(void)
{
	struct hasher *hasher = NULL;

	assert_int_equal(hasher_new(&hasher), 0);
	return hasher;
}

/* The digest of what is in the compressed stream. */
static void tar_digest(const char *path, char text[DIGEST_TEXT_SIZE])
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	cleanup_hasher struct hasher *hasher = new_hasher();
	cleanup_decompressor struct decompressor *d = NULL;
	struct refusal refusal = REFUSAL_INIT;
	struct digest_state state;
	struct digest digest;
	size_t size = 1;

	assert_int_equal(decompress_open(BYTES_OF_FILE(fd), hasher, NULL, &d, &refusal), 0);
	digest_begin(&state);
	while (size > 0) {
		const void *piece = NULL;

		assert_int_equal(decompress_read(d, &piece, &size, &refusal), 0);
		digest_add(&state, piece, size);
	}
	digest_end(&state, &digest);
	digest_to_string(&digest, text);
}

static void file_digest(const char *path, char text[DIGEST_TEXT_SIZE])
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct digest digest;
	uint64_t size = 0;

	assert_int_equal(digest_of_fd(fd, &digest, &size), 0);
	digest_to_string(&digest, text);
}

static void same_input_gives_the_same_bytes_under_any_umask_zone_locale_and_order(void **state)
{
	const struct fixture *f = *state;
	char first[DIGEST_TEXT_SIZE] = "";

	for (int run = 0; run < 3; run++) {
		cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
		cleanup_strv struct strv paths = STRV_INIT;
		mode_t before = umask(run == 0 ? 0 : 0077);
		char digest[DIGEST_TEXT_SIZE];
		struct stat status;

		(void)setenv("TZ", run == 1 ? "Pacific/Kiritimati" : "UTC", 1);
		tzset();
		(void)setlocale(LC_ALL, run == 2 ? "C.UTF-8" : "C");
		/* The order of creation is what a directory is listed by, on most of them. */
		for (size_t i = 0; i < ARRAY_SIZE(source_names); i++) {
			const char *name =
				source_names[run == 1 ? ARRAY_SIZE(source_names) - 1 - i : i];
			char path[64];

			(void)snprintf(path, sizeof(path), "src/%s", name);
			assert_int_equal(unlinkat(f->dir, path, 0), 0);
			put_source(f, name);
		}
		put_text(f, "src/affix-demo_more.service", bundle_maker_unit);
		put_text(f, "src/affix-demo_also.service", bundle_maker_unit);
		assert_int_equal(unlinkat(f->dir, "src/affix-demo_more.service", 0), 0);
		assert_int_equal(unlinkat(f->dir, "src/affix-demo_also.service", 0), 0);
		assert_int_equal(build_demo(f, NULL, &paths, &diagnostics), 0);
		(void)umask(before);
		(void)setlocale(LC_ALL, "C");
		assert_int_equal(stat(paths.items[0], &status), 0);
		assert_int_equal(status.st_mode, S_IFREG | 0644);
		file_digest(paths.items[0], digest);
		if (run == 0)
			memcpy(first, digest, sizeof(first));
		assert_string_equal(digest, first);
		tar_digest(paths.items[0], digest);
		digest[64] = '\0';
		assert_string_equal(digest, GOLDEN);
	}
}

static void program_of_another_machine_is_refused_and_nothing_is_left(void **state)
{
	const struct fixture *f = *state;
	const struct build_binary binaries[] = {
		{"linux", "amd64", f->program    },
		{"linux", "arm64", f->arm_program},
		{"linux", "amd64", f->arm_program}
        };

	assert_build_refused(f, binaries + 2, 1, REFUSAL_WRONG_ELF,
			     "names linux/amd64, machine 62, got 183");
	/* Also beside a good one. */
	assert_build_refused(f, binaries + 1, 2, REFUSAL_WRONG_ELF, "machine 62, got 183");
	assert_build_refused(f, binaries, 3, REFUSAL_DUPLICATE_ENTRY, "linux/amd64");
}

static void program_of_another_format_or_platform_is_refused_and_nothing_is_left(void **state)
{
	const struct fixture *f = *state;
	struct build_binary binary = {"linux", "amd64", f->program};

	put_text(f, "amd64", "\xcf\xfa\xed\xfe Mach-O");
	assert_build_refused(f, &binary, 1, REFUSAL_WRONG_ELF, "linux/amd64");
	binary.arch = "riscv64";
	assert_build_refused(f, &binary, 1, REFUSAL_WRONG_PLATFORM, "linux/riscv64");
	binary = (struct build_binary){"linux", "amd64", "/tmp"};
	assert_build_refused(f, &binary, 1, REFUSAL_BAD_ENTRY_TYPE, "regular");
	binary.path = "/nonexistent";
	assert_build_refused(f, &binary, 1, REFUSAL_MISSING_ENTRY, "No such file");
}

static void extra_entry_that_cannot_be_one_is_refused(void **state)
{
	const struct fixture *f = *state;

	static const struct {
		const char *name;
		enum refusal_code code;
	} cases[] = {
		{".hidden",     REFUSAL_BAD_ENTRY_NAME },
                {"a b",         REFUSAL_BAD_ENTRY_NAME },
		{"x.affix-new", REFUSAL_BAD_ENTRY_NAME },
                {"demo",        REFUSAL_DUPLICATE_ENTRY},
		{"Addon.yaml",  REFUSAL_DUPLICATE_ENTRY},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
		cleanup_strv struct strv paths = STRV_INIT;
		char entry[64];

		(void)snprintf(entry, sizeof(entry), "%s/%s", f->path, cases[i].name);
		put_text(f, cases[i].name, "x");
		assert_int_equal(build_demo(f, entry, &paths, &diagnostics), 1);
		assert_true(says(&diagnostics, cases[i].code, "", ""));
		assert_int_equal(count_names(f->out), -1);
	}
}

static void name_too_long_for_a_tar_header_is_refused(void **state)
{
	const struct fixture *f = *state;
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_strv struct strv paths = STRV_INIT;
	char name[102] = {0};
	char entry[160];

	memset(name, 'n', 101);
	(void)snprintf(entry, sizeof(entry), "%s/%s", f->path, name);
	put_text(f, name, "x");
	assert_int_equal(build_demo(f, entry, &paths, &diagnostics), 1);
	assert_true(says(&diagnostics, REFUSAL_BAD_ENTRY_NAME, "", "100"));
	entry[strlen(entry) - 1] = '\0';
	name[100] = '\0';
	put_text(f, name, "x");
	diagnostics_done(&diagnostics);
	assert_int_equal(build_demo(f, entry, &paths, &diagnostics), 0);
}

static void bundle_that_is_there_is_replaced(void **state)
{
	const struct fixture *f = *state;
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_strv struct strv paths = STRV_INIT;
	cleanup_bundle struct bundle *bundle = NULL;

	assert_int_equal(mkdir(f->out, 0755), 0);
	put_text(f, "out/demo-1.0.0-linux-amd64.tar.zst", "old");
	assert_int_equal(build_demo(f, NULL, &paths, &diagnostics), 0);
	bundle = open_bundle(paths.items[0]);
	assert_non_null(bundle);
	assert_int_equal(count_names(f->out), 1);
}

static void failed_build_leaves_what_was_there(void **state)
{
	const struct fixture *f = *state;
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_strv struct strv paths = STRV_INIT;

	assert_int_equal(mkdir(f->out, 0755), 0);
	put_text(f, "out/demo-1.0.0-linux-amd64.tar.zst", "old");
	put_text(f, "Demo", "twin");
	{
		char entry[64];

		(void)snprintf(entry, sizeof(entry), "%s/Demo", f->path);
		assert_int_equal(build_demo(f, entry, &paths, &diagnostics), 1);
	}
	assert_true(says(&diagnostics, REFUSAL_DUPLICATE_ENTRY, "", "Demo"));
	assert_int_equal(count_names(f->out), 1);
}

/* `affix check` on the fixture's source. */
static void check(const struct fixture *f, struct diagnostics *diagnostics)
{
	assert_int_equal(build_check(f->src, diagnostics), 0);
}

static void good_source_has_no_problem(void **state)
{
	const struct fixture *f = *state;
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;

	put_text(f, "src/.affix-demo.service.swp", "what an editor left");
	put_text(f, "src/README", "anything");
	check(f, &diagnostics);
	assert_int_equal(diagnostics.count, 0);
}

static void problems_of_manifest_units_and_schema_come_together_with_their_places(void **state)
{
	const struct fixture *f = *state;
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_buffer struct buffer manifest = BUFFER_INIT;
	cleanup_buffer struct buffer unit = BUFFER_INIT;

	assert_int_equal(buffer_format(&manifest, "%ssurprise: 1\nhealth:\n  window_seconds: 0\n",
				       bundle_maker_manifest),
			 0);
	put_text(f, "src/addon.yaml", manifest.data);
	assert_int_equal(buffer_format(&unit, "%s[Service]\nRootDirectory=/\nUser=root\n",
				       bundle_maker_unit),
			 0);
	put_text(f, "src/affix-demo.service", unit.data);
	put_text(f, "src/affix-demo_b.service", "[Service\n");
	put_text(f, "src/config.schema.json", "[]");
	check(f, &diagnostics);
	assert_true(says(&diagnostics, REFUSAL_BAD_MANIFEST, "src/addon.yaml", "surprise"));
	assert_true(says(&diagnostics, REFUSAL_BAD_MANIFEST, "src/addon.yaml", "window_seconds"));
	assert_true(
		says(&diagnostics, REFUSAL_UNIT_PATH, "src/affix-demo.service", "RootDirectory"));
	assert_true(says(&diagnostics, REFUSAL_UNIT_USER, "src/affix-demo.service", "root"));
	assert_true(says(&diagnostics, REFUSAL_BAD_UNIT, "src/affix-demo_b.service", ""));
	assert_true(says(&diagnostics, REFUSAL_BAD_SCHEMA, "src/config.schema.json", ""));
	for (size_t i = 1; i < diagnostics.count; i++)
		assert_true(strcmp(diagnostics.items[i - 1].file, diagnostics.items[i].file) <= 0);
}

static void source_without_its_schema_or_units_is_told_so(void **state)
{
	const struct fixture *f = *state;
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;

	assert_int_equal(unlinkat(f->dir, "src/config.schema.json", 0), 0);
	assert_int_equal(unlinkat(f->dir, "src/affix-demo.service", 0), 0);
	check(f, &diagnostics);
	assert_true(says(&diagnostics, REFUSAL_MISSING_ENTRY, "src/config.schema.json", "exist"));
	assert_true(
		says(&diagnostics, REFUSAL_MISSING_ENTRY, "src/addon.yaml", "affix-demo.service"));
	assert_int_equal(diagnostics.count, 2);
}

static void source_without_a_manifest_is_told_so(void **state)
{
	const struct fixture *f = *state;
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;

	assert_int_equal(unlinkat(f->dir, "src/addon.yaml", 0), 0);
	check(f, &diagnostics);
	assert_true(says(&diagnostics, REFUSAL_MISSING_ENTRY, "src/addon.yaml", "exist"));
	assert_int_equal(diagnostics.count, 1);
}

static void two_primary_units_are_told_of(void **state)
{
	const struct fixture *f = *state;
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;

	put_text(f, "src/affix-demo_two.service", bundle_maker_unit);
	check(f, &diagnostics);
	assert_int_equal(diagnostics.count, 1);
}

static void unit_without_our_prefix_is_told_of(void **state)
{
	const struct fixture *f = *state;
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;

	put_text(f, "src/sshd.service", bundle_maker_unit);
	check(f, &diagnostics);
	assert_true(says(&diagnostics, REFUSAL_UNIT_NAME, "src/sshd.service", ""));
}

static void links_and_oversized_texts_of_a_source_are_told_of(void **state)
{
	const struct fixture *f = *state;
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_free char *large = malloc(BUNDLE_TEXT_SIZE_MAX + 1);

	assert_non_null(large);
	memset(large, ' ', BUNDLE_TEXT_SIZE_MAX + 1);
	put(f, "src/config.schema.json", large, BUNDLE_TEXT_SIZE_MAX + 1);
	assert_int_equal(unlinkat(f->dir, "src/affix-demo.service", 0), 0);
	assert_int_equal(symlinkat("/etc/passwd", f->dir, "src/affix-demo.service"), 0);
	check(f, &diagnostics);
	assert_true(
		says(&diagnostics, REFUSAL_ENTRY_TOO_LARGE, "src/config.schema.json", "262144"));
	assert_true(says(&diagnostics, REFUSAL_BAD_ENTRY_TYPE, "src/affix-demo.service", "link"));
}

static void lone_manifest_is_checked_by_itself(void **state)
{
	const struct fixture *f = *state;
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	char path[80];

	(void)snprintf(path, sizeof(path), "%s/addon.yaml", f->src);
	assert_int_equal(unlinkat(f->dir, "src/config.schema.json", 0), 0);
	assert_int_equal(build_check(path, &diagnostics), 0);
	assert_int_equal(diagnostics.count, 0);
	put_text(f, "src/addon.yaml", "id: demo\nsurprise: 1\n");
	assert_int_equal(build_check(path, &diagnostics), 0);
	assert_true(says(&diagnostics, REFUSAL_BAD_MANIFEST, path, "surprise"));
}

static void path_that_is_not_there_is_an_error(void **state)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;

	(void)state;
	assert_int_equal(build_check("/nonexistent", &diagnostics), -ENOENT);
	assert_int_equal(build_check("/dev/null", &diagnostics), -EMEDIUMTYPE);
	assert_int_equal(diagnostics.count, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(bundle_per_program_is_built_and_can_be_opened),
		TEST(same_input_gives_the_same_bytes_under_any_umask_zone_locale_and_order),
		TEST(program_of_another_machine_is_refused_and_nothing_is_left),
		TEST(program_of_another_format_or_platform_is_refused_and_nothing_is_left),
		TEST(extra_entry_that_cannot_be_one_is_refused),
		TEST(name_too_long_for_a_tar_header_is_refused),
		TEST(bundle_that_is_there_is_replaced),
		TEST(failed_build_leaves_what_was_there),
		TEST(good_source_has_no_problem),
		TEST(problems_of_manifest_units_and_schema_come_together_with_their_places),
		TEST(source_without_its_schema_or_units_is_told_so),
		TEST(source_without_a_manifest_is_told_so),
		TEST(two_primary_units_are_told_of),
		TEST(unit_without_our_prefix_is_told_of),
		TEST(links_and_oversized_texts_of_a_source_are_told_of),
		TEST(lone_manifest_is_checked_by_itself),
		TEST(path_that_is_not_there_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
