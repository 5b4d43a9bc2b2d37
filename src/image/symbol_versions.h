/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <gelf.h>

#include "base/cleanup.h"

/*
 * Compares the versions of symbols that *program* needs of its shared library *library*
 * (`libc.so.6`) with those that the ELF file *fd* defines, which may be anything, as the loader
 * does: a library that says nothing of versions has them all, and needs that are marked weak are
 * none. *ret_lacking*: the newest that is not there, or NULL: all are; *ret_newest*: the newest of
 * that name that is, or NULL. The caller frees both. 0; -EBADMSG: *fd* cannot be read as a shared
 * library; -errno.
 */
must_check int symbol_versions_compare(Elf *program, const char *library, int fd,
				       char **ret_lacking, char **ret_newest);
