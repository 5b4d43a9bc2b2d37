/* SPDX-License-Identifier: Apache-2.0 */

/*
 * libcurl, loaded when a request is to be made and not before: it brings thirty libraries with it,
 * and `affix fleet` alone talks to a server. Linked, each start of any command took 3 ms longer
 * (measured).
 */

#include "base/curl.h"

#include <assert.h>

#include "base/library.h"

/* What the headers that this was built with belong to. */
#define CURL_SONAME "libcurl.so.4"

#define FUNCTION(member) LIBRARY_FUNCTION(curl, member, "curl_" #member)

static const struct library_function functions[] = {
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
	int r = library_load(CURL_SONAME, functions, ARRAY_SIZE(functions), &curl, reterr_reason);

	if (r == 0)
		*ret = &curl;
	return r;
}
