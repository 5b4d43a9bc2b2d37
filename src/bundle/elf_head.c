/* SPDX-License-Identifier: Apache-2.0 */

/* The ELF header, as far as it says which machine can run the file. */

#include "bundle/elf_head.h"

#include <assert.h>
#include <elf.h>
#include <stdbool.h>
#include <string.h>

#include "base/str.h"

static const struct machine {
	const char *arch;
	unsigned machine;
} machines[] = {
	{"amd64", EM_X86_64 },
	{"arm64", EM_AARCH64},
};

static_assert(sizeof(Elf64_Ehdr) == ELF_HEAD_SIZE, "the head is the ELF header");

static bool is_elf(const uint8_t *head, size_t size)
{
	return size >= ELF_HEAD_SIZE && memcmp(head, ELFMAG, SELFMAG) == 0;
}

static unsigned u16_at(const uint8_t *bytes, size_t offset)
{
	return bytes[offset] | (unsigned)bytes[offset + 1] << 8;
}

static unsigned head_machine(const uint8_t *head)
{
	return u16_at(head, offsetof(Elf64_Ehdr, e_machine));
}

const char *elf_head_arch(const uint8_t *head, size_t size)
{
	if (!is_elf(head, size))
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++) {
		if (machines[i].machine == head_machine(head))
			return machines[i].arch;
	}
	return NULL;
}

int elf_head_check(const uint8_t *head, size_t size, const char *os, const char *arch,
		   const char *name, struct refusal *reterr_refusal)
{
	const struct machine *wanted = NULL;
	unsigned type;

	for (size_t i = 0; i < ARRAY_SIZE(machines); i++) {
		if (str_equal(machines[i].arch, arch))
			wanted = &machines[i];
	}
	if (!wanted || !str_equal(os, "linux"))
		return refuse(reterr_refusal, REFUSAL_WRONG_ELF,
			      "'%s' cannot be for %s/%s: expected linux/amd64 or linux/arm64", name,
			      os, arch);
	if (!is_elf(head, size))
		return refuse(reterr_refusal, REFUSAL_WRONG_ELF,
			      "'%s' is no ELF file: the bundle names %s/%s", name, os, arch);
	if (head[EI_CLASS] != ELFCLASS64 || head[EI_DATA] != ELFDATA2LSB)
		return refuse(reterr_refusal, REFUSAL_WRONG_ELF,
			      "'%s' is no 64-bit little-endian ELF file: the bundle names %s/%s",
			      name, os, arch);
	if (head_machine(head) != wanted->machine)
		return refuse(reterr_refusal, REFUSAL_WRONG_ELF,
			      "'%s' is for another machine: the bundle names %s/%s, machine %u, "
			      "got %u",
			      name, os, arch, wanted->machine, head_machine(head));
	if (head[EI_OSABI] != ELFOSABI_NONE && head[EI_OSABI] != ELFOSABI_LINUX)
		return refuse(reterr_refusal, REFUSAL_WRONG_ELF,
			      "'%s' is for another operating system: the bundle names %s/%s, "
			      "ELF's OS ABI is %u",
			      name, os, arch, head[EI_OSABI]);
	type = u16_at(head, offsetof(Elf64_Ehdr, e_type));
	if (type != ET_EXEC && type != ET_DYN)
		return refuse(reterr_refusal, REFUSAL_WRONG_ELF,
			      "'%s' is no program: expected an ELF file of type EXEC or DYN, got "
			      "type %u",
			      name, type);
	return 0;
}
