/* SPDX-License-Identifier: Apache-2.0 */

/*
 * libcurl, loaded when a request is to be made and not before: it brings thirty libraries with it,
 * and `affix fleet` alone talks to a server. Linked, each start of any command took 3 ms longer
 * (measured).
 */

#include "base/curl.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What the headers that this was built with belong to. */
#define CURL_SONAME "libcurl.so.4"

#define FUNCTION(member)                                       \
	{                                                      \
		"curl_" #member, offsetof(struct curl, member) \
	}

static const struct {
	const char *name;
	size_t offset;
} functions[] = {
	FUNCTION(global_init),    FUNCTION(easy_init),        FUNCTION(easy_reset),
	FUNCTION(easy_cleanup),   FUNCTION(easy_setopt),      FUNCTION(easy_getinfo),
	FUNCTION(easy_perform),   FUNCTION(easy_strerror),    FUNCTION(slist_append),
	FUNCTION(slist_free_all), FUNCTION(multi_init),       FUNCTION(multi_cleanup),
	FUNCTION(multi_setopt),   FUNCTION(multi_add_handle), FUNCTION(multi_remove_handle),
	FUNCTION(multi_perform),  FUNCTION(multi_poll),       FUNCTION(multi_info_read),
};

static_assert(sizeof(functions) / sizeof(*functions) * sizeof(void *) == sizeof(struct curl),
	      "each function has a name");

int curl_load(const struct curl **ret, const char **reterr_reason)
{
	static struct curl curl;
	void *library = dlopen(CURL_SONAME, RTLD_NOW | RTLD_LOCAL);

	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		void *function = library ? dlsym(library, functions[i].name) : NULL;

		if (!function) {
			/* NOLINTNEXTLINE(concurrency-mt-unsafe): the program has one thread */
			*reterr_reason = dlerror();
			return -ELIBACC;
		}
		memcpy((uint8_t *)&curl + functions[i].offset, &function, sizeof(function));
	}
	*ret = &curl;
	return 0;
}
