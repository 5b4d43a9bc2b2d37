/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Libraries that are loaded when they are needed and not before: what most commands have no use
 * for would make each start of all of them longer.
 */

#include "base/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

int library_load(const char *soname, const struct library_function *functions, size_t n,
		 void *table, const char **reterr_reason)
{
	void *library = dlopen(soname, RTLD_NOW | RTLD_LOCAL);

	for (size_t i = 0; i < n; i++) {
		void *function = library ? dlsym(library, functions[i].name) : NULL;

		if (!function) {
			if (reterr_reason)
				/* NOLINTNEXTLINE(concurrency-mt-unsafe): glibc's is the thread's */
				*reterr_reason = dlerror();
			return -ELIBACC;
		}
		memcpy((uint8_t *)table + functions[i].offset, &function, sizeof(function));
	}
	return 0;
}
