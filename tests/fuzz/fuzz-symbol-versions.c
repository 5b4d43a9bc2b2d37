/* SPDX-License-Identifier: Apache-2.0 */

/* A shared library of an image, held against what this program needs of libc. */

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fd.h"
#include "base/str.h"
#include "image/symbol_versions.h"
#include "must.h"

#define FAMILY    "GLIBC_"
#define SHOWN_MAX 128U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static Elf *open_program(void)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	Elf *elf;

	must(fd >= 0 && elf_version(EV_CURRENT) != EV_NONE);
	elf = elf_begin(fd, ELF_C_READ, NULL);
	must(elf != NULL);
	return elf;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static Elf *program;
	cleanup_fd int fd = memfd_create("library", MFD_CLOEXEC);
	cleanup_free char *lacking = NULL;
	cleanup_free char *newest = NULL;
	int r;

	if (!program)
		program = open_program();
	must(fd >= 0 && fd_write_full(fd, data, size) == 0);
	r = symbol_versions_compare(program, "libc.so.6", fd, &lacking, &newest);
	must(r == 0 || r == -EBADMSG);
	must(r == 0 || !lacking);
	must(lacking || !newest);
	must(!newest || strlen(newest) <= SHOWN_MAX);
	must(!lacking || str_starts_with(lacking, FAMILY));
	/* What is there is not what is lacking, and has a number behind the name. */
	must(!newest || (str_starts_with(newest, FAMILY) && strcmp(newest, lacking) != 0 &&
			 newest[strlen(FAMILY)] >= '0' && newest[strlen(FAMILY)] <= '9'));
	return 0;
}
