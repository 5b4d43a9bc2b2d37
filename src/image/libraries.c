/* SPDX-License-Identifier: Apache-2.0 */

/* The libraries of a program, looked for in an image. libelf reads the program, which is ours, and
 * of the image's libraries what symbol_versions.c asks for. */

#include "image/libraries.h"

#include <errno.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "image/symbol_versions.h"

/* What Debian 12 calls the packages of the libraries that affix's programs load. */
static const struct {
	const char *library;
	const char *package;
} packages[] = {
	{"libbpf.so.1",        "libbpf1"       },
        {"libc.so.6",          "libc6"         },
	{"libcrypto.so.3",     "libssl3"       },
        {"libcurl.so.4",       "libcurl4"      },
	{"libelf.so.1",        "libelf1"       },
        {"libfyaml.so.0",      "libfyaml0"     },
	{"libisal.so.2",       "libisal2"      },
        {"libjansson.so.4",    "libjansson4"   },
	{"libpcre2-8.so.0",    "libpcre2-8-0"  },
        {"libprotobuf-c.so.1", "libprotobuf-c1"},
	{"libsodium.so.23",    "libsodium23"   },
        {"libssl.so.3",        "libssl3"       },
	{"libsystemd.so.0",    "libsystemd0"   },
        {"libwslay.so.1",      "libwslay1"     },
	{"libzstd.so.1",       "libzstd1"      },
};

static const char *const places[] = {
	"/usr/lib/x86_64-linux-gnu",
	"/lib/x86_64-linux-gnu",
	"/usr/lib/aarch64-linux-gnu",
	"/lib/aarch64-linux-gnu",
	"/usr/lib64",
	"/lib64",
	"/usr/lib",
	"/lib",
	"/usr/local/lib",
};

/* The part of a header that is of one form for all classes, and what in it says the machine. */
#define HEAD_SIZE    20U
#define MACHINE_AT   18U
#define MACHINE_SIZE 2U

/* More than any library that a program of ours loads. */
#define LIBRARY_SIZE_MAX (64ULL << 20)

struct search {
	struct edit *edit;
	const char *program;
	Elf *elf;
	unsigned char head[HEAD_SIZE]; /* the program's */
	struct libraries *found;
};

static void end_elf(Elf **elf)
{
	(void)elf_end(*elf);
}

static int add_missing(const char *name, struct strv *ret)
{
	const char *package = strncmp(name, "/lib", 4) == 0 ? "libc6" : NULL;
	cleanup_free char *shown = NULL;
	int r;

	for (size_t i = 0; !package && i < ARRAY_SIZE(packages); i++) {
		if (strcmp(packages[i].library, name) == 0)
			package = packages[i].package;
	}
	r = package ? str_format(&shown, "%s (%s)", name, package) : str_format(&shown, "%s", name);
	if (r < 0)
		return r;
	return strv_has(ret, shown) ? 0 : strv_add(ret, shown);
}

/* What keeps a library from being the program's, of the first place that has one. */
struct copy {
	char *old;        /* a clause; NULL: none */
	char *unreadable; /* a path; NULL: none */
};

static void copy_done(struct copy *copy)
{
	free(copy->old);
	free(copy->unreadable);
}

/* The library *name* is there, at *path*: whether it has the versions of symbols that the program
 * needs. -EBADMSG: it cannot be read as a library. */
static int look_at_versions(const struct search *search, const char *name, const char *path,
			    const struct edit_stat *st, struct copy *copy, bool *ret)
{
	cleanup_fd int fd = memfd_create("library", MFD_CLOEXEC);
	cleanup_free char *lacking = NULL;
	cleanup_free char *newest = NULL;
	int r;

	if (fd < 0)
		return -errno;
	if (st->size > LIBRARY_SIZE_MAX)
		return -EBADMSG;
	r = edit_copy_file(search->edit, st->ino, LIBRARY_SIZE_MAX, fd);
	if (r == 0)
		r = symbol_versions_compare(search->elf, name, fd, &lacking, &newest);
	*ret = r == 0 && !lacking;
	if (r < 0 || !lacking || copy->old)
		return r;
	return str_format(&copy->old, "'%s' needs %s of '%s', which has %s%s", search->program,
			  lacking, path, newest ? newest : "none of that name",
			  newest ? " at most" : "");
}

/* Whether a file of the image is of the program's class, byte order and machine: the loader passes
 * over others. */
static int is_alike(const struct search *search, const struct edit_stat *st, bool *ret)
{
	unsigned char head[HEAD_SIZE] = {0};
	cleanup_fd int fd = -EBADF;
	int r;

	*ret = false;
	if (!S_ISREG(st->mode) || st->size < sizeof(head))
		return 0;
	fd = memfd_create("library", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = edit_read_file(search->edit, st->ino, sizeof(head), fd);
	if (r == 0 && pread(fd, head, sizeof(head), 0) < 0)
		r = -errno;
	*ret = r == 0 && memcmp(head, search->head, EI_VERSION) == 0 &&
	       memcmp(head + MACHINE_AT, search->head + MACHINE_AT, MACHINE_SIZE) == 0;
	return r;
}

/* Whether the image has *path* for the program: a link that leads nowhere is none. */
static int has_path(const struct search *search, const char *path, struct edit_stat *ret_stat,
		    bool *ret)
{
	int r = edit_resolve(search->edit, path, NULL, ret_stat, NULL);

	*ret = false;
	if (path_leads_nowhere(r))
		return 0;
	return r < 0 ? r : is_alike(search, ret_stat, ret);
}

/* The interpreter, or another that is named by its path. */
static int look_for_path(const struct search *search, const char *path)
{
	struct edit_stat st;
	bool found = false;
	int r = has_path(search, path, &st, &found);

	return r < 0 || found ? r : add_missing(path, &search->found->missing);
}

/* In one of the places: whether it is there as the program needs it. */
static int look_in(const struct search *search, const char *path, const char *name,
		   struct copy *copy, bool *ret)
{
	struct edit_stat st;
	int r = has_path(search, path, &st, ret);

	if (r < 0 || !*ret)
		return r;
	r = look_at_versions(search, name, path, &st, copy, ret);
	if (r != -EBADMSG)
		return r;
	*ret = false;
	return copy->unreadable ? 0 : str_format(&copy->unreadable, "%s", path);
}

/* Which of several the loader takes is up to the image's ld.so.conf: one that will do is enough. */
static int look_for(const struct search *search, const char *name)
{
	CLEANUP(copy_done) struct copy copy = {0};
	struct libraries *found = search->found;
	bool is_good = false;
	char path[512];
	int r = 0;

	if (*name == '/')
		return look_for_path(search, name);
	for (size_t i = 0; r == 0 && !is_good && i < ARRAY_SIZE(places); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", places[i], name);
		r = look_in(search, path, name, &copy, &is_good);
	}
	if (r < 0 || is_good)
		return r;
	if (copy.old)
		return strv_add(&found->old, copy.old);
	if (!copy.unreadable)
		return add_missing(name, &found->missing);
	return strv_has(&found->unreadable, copy.unreadable)
		       ? 0
		       : strv_add(&found->unreadable, copy.unreadable);
}

static int look_at_needed(const struct search *search, Elf *elf, Elf_Scn *section)
{
	Elf_Data *data = elf_getdata(section, NULL);
	GElf_Shdr header;
	GElf_Dyn entry;
	int r = 0;

	if (!data || !gelf_getshdr(section, &header))
		return -EBADMSG;
	for (int i = 0; r == 0 && gelf_getdyn(data, i, &entry) && entry.d_tag != DT_NULL; i++) {
		const char *name;

		if (entry.d_tag != DT_NEEDED)
			continue;
		name = elf_strptr(elf, header.sh_link, entry.d_un.d_val);
		r = name ? look_for(search, name) : -EBADMSG;
	}
	return r;
}

static int look_at_section(const struct search *search, Elf *elf, size_t names, Elf_Scn *section)
{
	const char *name;
	GElf_Shdr header;
	Elf_Data *data;

	if (!gelf_getshdr(section, &header))
		return -EBADMSG;
	if (header.sh_type == SHT_DYNAMIC)
		return look_at_needed(search, elf, section);
	name = elf_strptr(elf, names, header.sh_name);
	if (!name || strcmp(name, ".interp") != 0)
		return 0;
	data = elf_getdata(section, NULL);
	if (!data || data->d_size == 0 || ((const char *)data->d_buf)[data->d_size - 1] != '\0')
		return -EBADMSG;
	return look_for(search, data->d_buf);
}

void libraries_done(struct libraries *libraries)
{
	strv_done(&libraries->missing);
	strv_done(&libraries->old);
	strv_done(&libraries->unreadable);
}

int libraries_find(struct edit *edit, int fd, const char *program, struct libraries *ret)
{
	struct search search = {.edit = edit, .program = program, .found = ret};
	CLEANUP(end_elf) Elf *elf = NULL;
	Elf_Scn *section = NULL;
	size_t names = 0;
	int r = 0;

	if (elf_version(EV_CURRENT) == EV_NONE ||
	    pread(fd, search.head, HEAD_SIZE, 0) != (ssize_t)HEAD_SIZE)
		return -EBADMSG;
	elf = elf_begin(fd, ELF_C_READ, NULL);
	if (!elf || elf_kind(elf) != ELF_K_ELF || elf_getshdrstrndx(elf, &names) < 0)
		return -EBADMSG;
	search.elf = elf;
	while (r == 0 && (section = elf_nextscn(elf, section)))
		r = look_at_section(&search, elf, names, section);
	return r;
}
