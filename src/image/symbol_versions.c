/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Versions of symbols (.gnu.version_r of a program, .gnu.version_d of a library). libelf bounds
 * each step by the section that it is in; what it does not bound is the number of sections, for
 * which it allocates in advance, to what a compressed string table grows, and, left to whoever
 * asks, how far chains go and how long names are.
 */

#include "image/symbol_versions.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/str.h"

#define VERSIONS_MAX  4096U
#define NAME_SIZE_MAX 128U

static void end_elf(Elf **elf)
{
	(void)elf_end(*elf);
}

/* elf_strptr() would inflate a string table that is compressed; a loader's never are. */
static bool has_plain_names(Elf *elf, const GElf_Shdr *header)
{
	Elf_Scn *section = elf_getscn(elf, header->sh_link);
	GElf_Shdr names;

	return !(header->sh_flags & SHF_COMPRESSED) && section && gelf_getshdr(section, &names) &&
	       names.sh_type == SHT_STRTAB && !(names.sh_flags & SHF_COMPRESSED);
}

/* *ret_data* is NULL where there is no section of *type*. */
static int find_section(Elf *elf, GElf_Word type, GElf_Shdr *ret_header, Elf_Data **ret_data)
{
	Elf_Scn *section = NULL;

	*ret_data = NULL;
	while ((section = elf_nextscn(elf, section))) {
		if (!gelf_getshdr(section, ret_header))
			return -EBADMSG;
		if (ret_header->sh_type != type)
			continue;
		if (!has_plain_names(elf, ret_header))
			return -EBADMSG;
		*ret_data = elf_getdata(section, NULL);
		return *ret_data ? 0 : -EBADMSG;
	}
	return 0;
}

static const char *name_at(Elf *elf, const GElf_Shdr *header, size_t offset)
{
	const char *name = elf_strptr(elf, header->sh_link, offset);

	return name && strnlen(name, NAME_SIZE_MAX + 1) <= NAME_SIZE_MAX ? name : NULL;
}

static int add_version(Elf *elf, const GElf_Shdr *header, size_t offset, struct strv *ret)
{
	const char *name = name_at(elf, header, offset);

	return name && ret->count < VERSIONS_MAX ? strv_add(ret, name) : -EBADMSG;
}

/* Goes on by *step* bytes; whether it can. */
static bool advance(int *offset, GElf_Word step)
{
	return !__builtin_add_overflow(*offset, step, offset);
}

static int list_defined(Elf *elf, struct strv *ret)
{
	GElf_Verdef definition = {0};
	Elf_Data *data = NULL;
	GElf_Shdr header;
	int offset = 0;
	int r = find_section(elf, SHT_GNU_verdef, &header, &data);

	if (r < 0 || !data)
		return r;
	do {
		GElf_Verdaux name;
		int at;

		if (!advance(&offset, definition.vd_next) ||
		    !gelf_getverdef(data, offset, &definition))
			return -EBADMSG;
		at = offset;
		if (!advance(&at, definition.vd_aux) || !gelf_getverdaux(data, at, &name))
			return -EBADMSG;
		r = add_version(elf, &header, name.vda_name, ret);
	} while (r == 0 && definition.vd_next > 0);
	return r;
}

/* The versions of one library, whose list begins at *offset*. */
static int list_needed_there(Elf *elf, const GElf_Shdr *header, Elf_Data *data, int offset,
			     struct strv *ret)
{
	GElf_Vernaux version = {0};
	int r = 0;

	do {
		if (!advance(&offset, version.vna_next) || !gelf_getvernaux(data, offset, &version))
			return -EBADMSG;
		if (!(version.vna_flags & VER_FLG_WEAK))
			r = add_version(elf, header, version.vna_name, ret);
	} while (r == 0 && version.vna_next > 0);
	return r;
}

static int list_needed(Elf *elf, const char *library, struct strv *ret)
{
	GElf_Verneed need = {0};
	Elf_Data *data = NULL;
	GElf_Shdr header;
	int offset = 0;
	int r = find_section(elf, SHT_GNU_verneed, &header, &data);

	if (r < 0 || !data)
		return r;
	do {
		const char *name;
		int at;

		if (!advance(&offset, need.vn_next) || !gelf_getverneed(data, offset, &need))
			return -EBADMSG;
		name = name_at(elf, &header, need.vn_file);
		at = offset;
		if (!name || !advance(&at, need.vn_aux))
			return -EBADMSG;
		if (strcmp(name, library) == 0)
			r = list_needed_there(elf, &header, data, at, ret);
	} while (r == 0 && need.vn_next > 0);
	return r;
}

/* The newest of *list* that begins with the *length* bytes of *family* and a digit, or NULL;
 * *passed* (may be NULL) are left out. */
static const char *find_newest(const struct strv *list, const char *family, size_t length,
			       const struct strv *passed)
{
	const char *newest = NULL;

	for (size_t i = 0; i < list->count; i++) {
		const char *name = list->items[i];
		bool is_of_it = length == 0 || (strncmp(name, family, length) == 0 &&
						name[length] >= '0' && name[length] <= '9');

		if (is_of_it && !(passed && strv_has(passed, name)) &&
		    (!newest || strverscmp(name, newest) > 0))
			newest = name;
	}
	return newest;
}

static int copy_name(const char *name, char **ret)
{
	*ret = name ? strdup(name) : NULL;
	return name && !*ret ? -ENOMEM : 0;
}

static int compare(const struct strv *needed, const struct strv *defined, char **ret_lacking,
		   char **ret_newest)
{
	const char *lacking = find_newest(needed, "", 0, defined);
	const char *end = lacking ? strrchr(lacking, '_') : NULL;
	cleanup_free char *copy = NULL;
	int r = copy_name(lacking, &copy);

	if (r == 0)
		r = copy_name(end ? find_newest(defined, lacking, (size_t)(end + 1 - lacking), NULL)
				  : NULL,
			      ret_newest);
	if (r == 0)
		*ret_lacking = TAKE_PTR(copy);
	return r;
}

/* Whether the header is one of a whole file, for which libelf allocates little: no more sections
 * than are counted in it, all of them there. */
static bool is_usual(int fd)
{
	Elf64_Ehdr header;
	struct stat st;
	uint64_t size;
	size_t n = 0;

	if (fstat(fd, &st) < 0 || fd_pread_full(fd, &header, sizeof(header), 0, &n) < 0 ||
	    n < sizeof(header) || header.e_ident[EI_CLASS] != ELFCLASS64 ||
	    header.e_ident[EI_DATA] != ELFDATA2LSB)
		return false;
	if (header.e_shoff == 0)
		return true;
	size = (uint64_t)st.st_size;
	return header.e_shnum > 0 && header.e_shoff <= size &&
	       header.e_shnum * sizeof(Elf64_Shdr) <= size - header.e_shoff;
}

int symbol_versions_compare(Elf *program, const char *library, int fd, char **ret_lacking,
			    char **ret_newest)
{
	CLEANUP(end_elf) Elf *elf = NULL;
	cleanup_strv struct strv needed = STRV_INIT;
	cleanup_strv struct strv defined = STRV_INIT;
	int r = list_needed(program, library, &needed);

	if (r < 0)
		return r;
	if (!is_usual(fd))
		return -EBADMSG;
	elf = elf_begin(fd, ELF_C_READ, NULL);
	if (!elf || elf_kind(elf) != ELF_K_ELF)
		return -EBADMSG;
	r = list_defined(elf, &defined);
	if (r < 0)
		return r;
	if (defined.count == 0) {
		*ret_lacking = NULL;
		*ret_newest = NULL;
		return 0;
	}
	return compare(&needed, &defined, ret_lacking, ret_newest);
}
