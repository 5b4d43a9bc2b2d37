/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/str.h"
#include "ext4/edit.h"

/* What the shared libraries of an image are not enough for, a clause each. */
struct libraries {
	struct strv missing; /* `libcurl.so.4 (libcurl4)`: the package of Debian 12, where it is
				known */
	struct strv old; /* `'affix' needs GLIBC_2.34 of '/lib/libc.so.6', which has GLIBC_2.31 at
			    most`: of a library, the newest version of symbols that it lacks */
	struct strv unreadable; /* paths */
};

#define LIBRARIES_INIT     \
	(struct libraries) \
	{                  \
	}

void libraries_done(struct libraries *libraries);
#define cleanup_libraries CLEANUP(libraries_done)

/*
 * Looks in the image for what the program behind *fd*, called *program*, loads when it starts: its
 * interpreter and its shared libraries, for that machine, where Debian's loader looks. Of several
 * with a name, one that will do is enough. What is missing is added once, also if several programs
 * miss it. 0; -EBADMSG: it is no program; -errno.
 */
must_check int libraries_find(struct edit *edit, int fd, const char *program,
			      struct libraries *ret);
