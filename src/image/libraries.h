/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/str.h"
#include "ext4/edit.h"

/*
 * What the program behind *fd* loads when it starts, its interpreter and its shared libraries, and
 * the image does not have for that machine: added to *ret*, each once, as `libcurl.so.4
 * (libcurl4)`, the package of Debian 12 behind it where it is known. Looked for where Debian's
 * loader looks without a configuration. 0; -EBADMSG: it is no program; -errno.
 */
must_check int libraries_find_missing(struct edit *edit, int fd, struct strv *ret);
