/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "ipc/refusal.h"

/* So many bytes from the beginning of a file are needed to judge it. */
#define ELF_HEAD_SIZE 64U

/* The architecture, as bundles spell it, that the ELF head is for; NULL if it is no ELF file, or
 * for a machine that we do not know. */
const char *elf_head_arch(const uint8_t *head, size_t size);

/*
 * Whether *head* begins a 64-bit little-endian ELF program (or position-independent one) for Linux
 * on *arch*. *name* is what the sentence calls the file. 0 or refused with REFUSAL_WRONG_ELF.
 */
must_check int elf_head_check(const uint8_t *head, size_t size, const char *os, const char *arch,
			      const char *name, struct refusal *reterr_refusal);
