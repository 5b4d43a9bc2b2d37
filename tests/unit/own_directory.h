/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A directory of a test's own below /tmp. cmocka.h is to be there. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/file.h"

#define OWN_DIRECTORY_SIZE 32U

/* Makes one; its path. */
static inline void own_directory_make(char path[OWN_DIRECTORY_SIZE])
{
	(void)snprintf(path, OWN_DIRECTORY_SIZE, "/tmp/affix-test-XXXXXX");
	assert_non_null(mkdtemp(path));
}

/* With all that is in it. */
static inline void own_directory_remove(const char *path)
{
	cleanup_fd int parent = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(tree_remove(parent, path + strlen("/tmp/")), 0);
}
