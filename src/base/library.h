/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

#include "base/cleanup.h"

/* Where the address of a library's function goes: into a struct of nothing but such pointers. */
struct library_function {
	const char *name;
	size_t offset;
};

/* That *name* goes into *member* of the struct. */
#define LIBRARY_FUNCTION(struct_name, member, name)          \
	{                                                    \
		(name), offsetof(struct struct_name, member) \
	}

/*
 * Loads *soname*, which then stays, and fills the struct at *table*. 0, or -ELIBACC where it or one
 * of the *n* functions is missing; then *reterr_reason*, which may be NULL, is the loader's
 * sentence, borrowed until it is next asked something in this thread, and *table* is not for use.
 */
must_check int library_load(const char *soname, const struct library_function *functions, size_t n,
			    void *table, const char **reterr_reason);
