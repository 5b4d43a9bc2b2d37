/* SPDX-License-Identifier: Apache-2.0 */

/*
 * An agent waits nearly all of its life. Starting touches much of forty libraries, and a report
 * allocates what it needs for a moment; both are let go here. Segments that are not writable hold
 * what is in their files and nothing else, so dropping their pages loses nothing: what is used
 * again comes back from the page cache. Segments that relocations were written to are writable
 * ones, also where they are protected later, and are left alone.
 */

#include "agent/trim.h"

#include <elf.h>
#include <link.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

static int drop_object(struct dl_phdr_info *object, size_t size, void *userdata)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)size;
	(void)userdata;
	for (size_t i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
		uintptr_t begin = object->dlpi_addr + segment->p_vaddr;
		uintptr_t end = begin + segment->p_memsz;

		if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W) != 0)
			continue;
		begin &= ~(page - 1);
		end = (end + page - 1) & ~(page - 1);
		/* NOLINTNEXTLINE(performance-no-int-to-ptr): addresses come as numbers */
		(void)madvise((void *)begin, end - begin, MADV_DONTNEED);
	}
	return 0;
}

void trim_memory(void)
{
	(void)malloc_trim(0);
	(void)dl_iterate_phdr(drop_object, NULL);
}
