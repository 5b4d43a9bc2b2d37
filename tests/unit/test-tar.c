/* SPDX-License-Identifier: Apache-2.0 */

#include "bundle/tar.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>

#include <cmocka.h>

#include "tar_maker.h"

#define PIECE 4096U

struct memory {
	const struct buffer *tar;
	size_t at;
	size_t read;
	int fail_at_end; /* instead of an end */
};

static int read_memory(void *context, const void **ret, size_t *ret_size,
		       struct refusal *reterr_refusal)
{
	struct memory *memory = context;
	size_t size = MIN((size_t)PIECE, memory->tar->size - memory->at);

	if (size == 0 && memory->fail_at_end > 0)
		return refuse(reterr_refusal, (enum refusal_code)memory->fail_at_end, "source");
	if (size == 0 && memory->fail_at_end < 0)
		return memory->fail_at_end;
	*ret = memory->tar->data + memory->at;
	*ret_size = size;
	memory->at += size;
	return 0;
}

/* Reads it all: names and sizes of entries, "name=size " each. */
static int walk(struct memory *memory, struct buffer *seen, struct refusal *refusal)
{
	cleanup_tar struct tar *tar = NULL;
	int r = tar_open(&(struct tar_source){read_memory, memory}, &tar, refusal);

	while (r == 0) {
		const char *name = NULL;
		const void *data = NULL;
		uint64_t size = 0;
		size_t n = 1;

		r = tar_next(tar, &name, &size, refusal);
		if (r != 0 || !name)
			return r;
		assert_int_equal(buffer_format(seen, "%s=%llu ", name, (unsigned long long)size),
				 0);
		while (n > 0) {
			r = tar_read(tar, &data, &n, refusal);
			if (r != 0)
				return r;
		}
	}
	return r;
}

static int walk_buffer(const struct buffer *tar, struct buffer *seen, struct refusal *refusal)
{
	struct memory memory = {.tar = tar};

	return walk(&memory, seen, refusal);
}

static void assert_refused(const struct buffer *tar, enum refusal_code code, const char *text)
{
	cleanup_buffer struct buffer seen = BUFFER_INIT;
	struct refusal refusal = REFUSAL_INIT;

	if (walk_buffer(tar, &seen, &refusal) != (int)code || refusal.code != code ||
	    !strstr(refusal.text, text))
		fail_msg("%s, '%s': expected %s, '%s'", refusal_to_string(refusal.code),
			 refusal.text, refusal_to_string(code), text);
}

/* An entry behind a good one: what only an archive's first header must be is not what is tested. */
static void assert_entry_refused(const struct tar_maker_entry *entry, enum refusal_code code,
				 const char *text)
{
	cleanup_buffer struct buffer tar = BUFFER_INIT;

	assert_int_equal(tar_maker_add(&tar, &(struct tar_maker_entry){.name = "good"}), 0);
	assert_int_equal(tar_maker_add(&tar, entry), 0);
	assert_int_equal(tar_maker_end(&tar), 0);
	assert_refused(&tar, code, text);
}

static void plain_entries_are_read_in_order_with_their_sizes(void **state)
{
	cleanup_buffer struct buffer tar = BUFFER_INIT;
	cleanup_buffer struct buffer seen = BUFFER_INIT;
	struct refusal refusal = REFUSAL_INIT;

	(void)state;
	assert_int_equal(
		tar_maker_add(&tar, &(struct tar_maker_entry){.name = "a", .data_size = 0}), 0);
	assert_int_equal(
		tar_maker_add(&tar, &(struct tar_maker_entry){.name = "b", .data_size = 100000}),
		0);
	assert_int_equal(tar_maker_add(&tar, &(struct tar_maker_entry){.name = "c",
								       .data_size = 512,
								       .magic = "ustar  "}),
			 0);
	assert_int_equal(tar_maker_end(&tar), 0);
	assert_int_equal(walk_buffer(&tar, &seen, &refusal), 0);
	assert_string_equal(seen.data, "a=0 b=100000 c=512 ");
}

static void longest_name_of_a_plain_header_is_read(void **state)
{
	cleanup_buffer struct buffer tar = BUFFER_INIT;
	cleanup_buffer struct buffer seen = BUFFER_INIT;
	struct refusal refusal = REFUSAL_INIT;
	char name[TAR_NAME_MAX + 1] = {0};
	char wanted[TAR_NAME_MAX + 8];

	(void)state;
	memset(name, 'n', TAR_NAME_MAX);
	(void)snprintf(wanted, sizeof(wanted), "%s=1 ", name);
	assert_int_equal(
		tar_maker_add(&tar, &(struct tar_maker_entry){.name = name, .data_size = 1}), 0);
	assert_int_equal(tar_maker_end(&tar), 0);
	assert_int_equal(walk_buffer(&tar, &seen, &refusal), 0);
	assert_string_equal(seen.data, wanted);
}

static void names_with_separators_dots_or_control_bytes_are_refused(void **state)
{
	static const char *const bad[] = {"../evil",  "/etc/passwd", "a/b",   "..",   ".",
					  "a\\b",     "a\nb",        "a\x1b", "a b",  "-rf",
					  "\xc3\xa9", "\xff",        "./a",   "a\x7f"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_entry_refused(&(struct tar_maker_entry){.name = bad[i]},
				     REFUSAL_BAD_ENTRY_NAME, "plain name");
	assert_entry_refused(&(struct tar_maker_entry){.name = "b", .prefix = "a"},
			     REFUSAL_BAD_ENTRY_NAME, "'a/b'");
}

static void control_bytes_of_a_name_are_escaped_in_the_sentence(void **state)
{
	(void)state;
	assert_entry_refused(&(struct tar_maker_entry){.name = "a\nb\x1b[2J"},
			     REFUSAL_BAD_ENTRY_NAME, "'a\\x0ab\\x1b[2J'");
}

static void name_that_goes_on_behind_a_nul_is_refused(void **state)
{
	(void)state;
	assert_entry_refused(&(struct tar_maker_entry){.name = "a\0../evil", .name_size = 9},
			     REFUSAL_BAD_ENTRY_NAME, "NUL");
}

static void everything_but_regular_files_is_refused(void **state)
{
	(void)state;
	assert_entry_refused(&(struct tar_maker_entry){.name = "a", .type = '1', .link = "b"},
			     REFUSAL_BAD_ENTRY_TYPE, "hard link");
	assert_entry_refused(&(struct tar_maker_entry){.name = "a", .type = '2', .link = "b"},
			     REFUSAL_BAD_ENTRY_TYPE, "symbolic link");
	assert_entry_refused(&(struct tar_maker_entry){.name = "a", .type = '3'},
			     REFUSAL_BAD_ENTRY_TYPE, "device");
	assert_entry_refused(&(struct tar_maker_entry){.name = "a", .type = '4'},
			     REFUSAL_BAD_ENTRY_TYPE, "device");
	assert_entry_refused(&(struct tar_maker_entry){.name = "a", .type = '5'},
			     REFUSAL_BAD_ENTRY_TYPE, "directory");
	assert_entry_refused(&(struct tar_maker_entry){.name = "a", .type = '6'},
			     REFUSAL_BAD_ENTRY_TYPE, "fifo");
}

static void types_that_readers_disagree_about_are_refused(void **state)
{
	static const char types[] = {'7', 'D', 'I', 'M', 'S', 'Z', 's', '8', 0x7f};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		assert_entry_refused(&(struct tar_maker_entry){.name = "a", .type = types[i]},
				     REFUSAL_BAD_ENTRY_TYPE, "");
	assert_entry_refused(&(struct tar_maker_entry){.name = "a", .link = "/etc/shadow"},
			     REFUSAL_BAD_ENTRY_TYPE, "");
	assert_entry_refused(&(struct tar_maker_entry){.name = "a", .magic = "\0\0\0\0\0\0\0"},
			     REFUSAL_BAD_ENTRY_TYPE, "ustar");
}

/* An extended header of *type* with *content*, and an entry behind it. */
static void assert_extension_refused(char type, const struct buffer *content,
				     enum refusal_code code, const char *text)
{
	cleanup_buffer struct buffer tar = BUFFER_INIT;

	assert_int_equal(tar_maker_add(&tar, &(struct tar_maker_entry){.name = "x",
								       .type = type,
								       .data = content->data,
								       .data_size = content->size}),
			 0);
	assert_int_equal(
		tar_maker_add(&tar, &(struct tar_maker_entry){.name = "a", .data_size = 3}), 0);
	assert_int_equal(tar_maker_end(&tar), 0);
	assert_refused(&tar, code, text);
}

/* "LENGTH KEY=VALUE\n", where the length counts itself; records shorter than 96 bytes. */
static void assert_pax_refused(char type, const char *record, size_t size, enum refusal_code code,
			       const char *text)
{
	cleanup_buffer struct buffer content = BUFFER_INIT;

	assert_int_equal(buffer_format(&content, "%02zu ", size + 4), 0);
	assert_int_equal(buffer_add(&content, record, size), 0);
	assert_int_equal(buffer_add(&content, "\n", 1), 0);
	assert_extension_refused(type, &content, code, text);
}

#define PAX(type, record, code, text) \
	assert_pax_refused(type, record, sizeof(record) - 1, code, text)

static void pax_headers_are_refused_whatever_they_say(void **state)
{
	static const char extended[] = "extended headers";

	(void)state;
	PAX('x', "comment=x", REFUSAL_BAD_ENTRY_TYPE, extended);
	PAX('g', "comment=x", REFUSAL_BAD_ENTRY_TYPE, extended);
	PAX('x', "path=bb", REFUSAL_BAD_ENTRY_TYPE, extended);
	PAX('g', "path=bb", REFUSAL_BAD_ENTRY_TYPE, extended);
	PAX('x', "path=a/b", REFUSAL_BAD_ENTRY_NAME, "'a/b'");
	PAX('x', "path=a\nb", REFUSAL_BAD_ENTRY_NAME, "'a\\x0ab'");
	PAX('x', "path=a\0/b", REFUSAL_BAD_ENTRY_TYPE, extended);
	PAX('x', "path=\xff\xfe\xfd", REFUSAL_BAD_ENTRY_NAME, "");
	PAX('x', "size=1", REFUSAL_BAD_ENTRY_TYPE, extended);
	PAX('x', "size=99999999999", REFUSAL_BAD_ENTRY_TYPE, extended);
	PAX('x', "linkpath=/etc", REFUSAL_BAD_ENTRY_TYPE, "");
	PAX('x', "SCHILY.xattr.security.capability=ab", REFUSAL_BAD_ENTRY_TYPE, extended);
	PAX('x', "SCHILY.acl.access=user::rwx,group::r-x,other::r--", REFUSAL_BAD_ENTRY_TYPE,
	    extended);
	PAX('x', "GNU.sparse.map=0,1", REFUSAL_BAD_ENTRY_TYPE, extended);
}

static void gnu_headers_are_refused_whatever_they_say(void **state)
{
	static const struct {
		char type;
		const char *content;
		enum refusal_code code;
		const char *text;
	} cases[] = {
		{'L', "longname",                      REFUSAL_BAD_ENTRY_TYPE,   "extended headers"},
		{'L', "../evil",                       REFUSAL_BAD_ENTRY_NAME,   "'../evil'"       },
		{'K', "target",                        REFUSAL_BAD_ENTRY_TYPE,   ""                },
		{'V', "volume",                        REFUSAL_MALFORMED_BUNDLE, ""                },
		{'A', "acl",                           REFUSAL_BAD_ENTRY_TYPE,   ""                },
		{'x', "99999999999999999999 path=b\n", REFUSAL_BAD_ENTRY_TYPE,   ""                },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_buffer struct buffer content = BUFFER_INIT;

		assert_int_equal(
			buffer_add(&content, cases[i].content, strlen(cases[i].content) + 1), 0);
		assert_extension_refused(cases[i].type, &content, cases[i].code, cases[i].text);
	}
}

static void lying_sizes_are_told_or_refused_before_they_are_read(void **state)
{
	static const struct {
		const char *field;
		uint64_t size; /* 0: refused as broken */
	} cases[] = {
		{"20000000000\0",				    2ULL << 30      },
		{"40000000000\0",				    4ULL << 30      },
		{"77777777777\0",				    (8ULL << 30) - 1},
		{"\x80\0\0\0\0\0\0\x01\0\0\0\0",                     1ULL << 32      },
		{"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",       0               },
		{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 0               },
		{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0",   0               },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cleanup_buffer struct buffer bytes = BUFFER_INIT;
		cleanup_tar struct tar *tar = NULL;
		struct memory memory = {.tar = &bytes};
		struct refusal refusal = REFUSAL_INIT;
		const char *name = NULL;
		uint64_t size = 0;
		int r;

		assert_int_equal(
			tar_maker_add(&bytes, &(struct tar_maker_entry){.name = "a",
									.size = cases[i].field,
									.data_size = 100000}),
			0);
		assert_int_equal(tar_maker_end(&bytes), 0);
		assert_int_equal(
			tar_open(&(struct tar_source){read_memory, &memory}, &tar, &refusal), 0);
		r = tar_next(tar, &name, &size, &refusal);
		assert_true(memory.at <= PIECE);
		if (cases[i].size == 0) {
			assert_int_equal(r, REFUSAL_MALFORMED_BUNDLE);
			continue;
		}
		assert_int_equal(r, 0);
		assert_int_equal(size, cases[i].size);
	}
}

static void archive_cut_off_anywhere_is_refused(void **state)
{
	cleanup_buffer struct buffer whole = BUFFER_INIT;

	(void)state;
	assert_int_equal(
		tar_maker_add(&whole, &(struct tar_maker_entry){.name = "a", .data_size = 1500}),
		0);
	assert_int_equal(tar_maker_end(&whole), 0);
	for (size_t size = 0; size < whole.size; size += 100) {
		const struct buffer cut = {.data = whole.data, .size = size};

		assert_refused(&cut, REFUSAL_MALFORMED_BUNDLE, "");
	}
}

static void only_zeroes_up_to_one_record_may_follow_the_end(void **state)
{
	cleanup_buffer struct buffer tar = BUFFER_INIT;
	cleanup_buffer struct buffer seen = BUFFER_INIT;
	struct refusal refusal = REFUSAL_INIT;
	size_t end;

	(void)state;
	assert_int_equal(
		tar_maker_add(&tar, &(struct tar_maker_entry){.name = "a", .data_size = 9}), 0);
	assert_int_equal(tar_maker_end(&tar), 0);
	end = tar.size;
	assert_int_equal(tar_maker_zeroes(&tar, TAR_PADDING_MAX), 0);
	assert_int_equal(walk_buffer(&tar, &seen, &refusal), 0);
	tar.data[tar.size - 1] = 'x';
	assert_refused(&tar, REFUSAL_TRAILING_DATA, "end mark");
	tar.data[tar.size - 1] = '\0';
	tar.data[end] = 'x';
	assert_refused(&tar, REFUSAL_TRAILING_DATA, "end mark");
	tar.data[end] = '\0';
	assert_int_equal(tar_maker_zeroes(&tar, 1), 0);
	assert_refused(&tar, REFUSAL_TRAILING_DATA, "end mark");
	tar.size = end;
	assert_int_equal(tar_maker_add(&tar, &(struct tar_maker_entry){.name = "b"}), 0);
	assert_refused(&tar, REFUSAL_TRAILING_DATA, "end mark");
}

static void end_mark_of_one_block_is_refused(void **state)
{
	cleanup_buffer struct buffer tar = BUFFER_INIT;

	(void)state;
	assert_int_equal(tar_maker_add(&tar, &(struct tar_maker_entry){.name = "a"}), 0);
	assert_int_equal(tar_maker_zeroes(&tar, 512), 0);
	assert_refused(&tar, REFUSAL_MALFORMED_BUNDLE, "end mark");
	assert_int_equal(tar_maker_add(&tar, &(struct tar_maker_entry){.name = "b"}), 0);
	assert_refused(&tar, REFUSAL_MALFORMED_BUNDLE, "end mark");
}

static void wrong_checksum_and_noise_are_refused(void **state)
{
	cleanup_buffer struct buffer tar = BUFFER_INIT;

	(void)state;
	assert_int_equal(tar_maker_add(&tar, &(struct tar_maker_entry){.name = "a"}), 0);
	assert_int_equal(tar_maker_end(&tar), 0);
	tar.data[148] ^= 1;
	assert_refused(&tar, REFUSAL_MALFORMED_BUNDLE, "");
	memset(tar.data, 'n', tar.size);
	assert_refused(&tar, REFUSAL_MALFORMED_BUNDLE, "");
	assert_int_equal(tar_maker_add(&tar, &(struct tar_maker_entry){.name = "a"}), 0);
}

static void failure_of_the_source_comes_through_as_it_is(void **state)
{
	cleanup_buffer struct buffer tar = BUFFER_INIT;
	cleanup_buffer struct buffer seen = BUFFER_INIT;
	struct memory memory = {.tar = &tar, .fail_at_end = REFUSAL_NO_SPACE};
	struct refusal refusal = REFUSAL_INIT;

	(void)state;
	assert_int_equal(
		tar_maker_add(&tar, &(struct tar_maker_entry){.name = "a", .data_size = 4096}), 0);
	assert_int_equal(walk(&memory, &seen, &refusal), REFUSAL_NO_SPACE);
	assert_string_equal(refusal.text, "source");
	memory = (struct memory){.tar = &tar, .fail_at_end = -EIO};
	assert_int_equal(walk(&memory, &seen, &refusal), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_entries_are_read_in_order_with_their_sizes),
		cmocka_unit_test(longest_name_of_a_plain_header_is_read),
		cmocka_unit_test(names_with_separators_dots_or_control_bytes_are_refused),
		cmocka_unit_test(control_bytes_of_a_name_are_escaped_in_the_sentence),
		cmocka_unit_test(name_that_goes_on_behind_a_nul_is_refused),
		cmocka_unit_test(everything_but_regular_files_is_refused),
		cmocka_unit_test(types_that_readers_disagree_about_are_refused),
		cmocka_unit_test(pax_headers_are_refused_whatever_they_say),
		cmocka_unit_test(gnu_headers_are_refused_whatever_they_say),
		cmocka_unit_test(lying_sizes_are_told_or_refused_before_they_are_read),
		cmocka_unit_test(archive_cut_off_anywhere_is_refused),
		cmocka_unit_test(only_zeroes_up_to_one_record_may_follow_the_end),
		cmocka_unit_test(end_mark_of_one_block_is_refused),
		cmocka_unit_test(wrong_checksum_and_noise_are_refused),
		cmocka_unit_test(failure_of_the_source_comes_through_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
