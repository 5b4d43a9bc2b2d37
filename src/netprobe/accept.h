/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cleanup.h"

/* A descriptor that is there to be given up; -EBADF where even that cannot be had. */
int accept_spare(void);
/* Takes a connection from *listener*, which does not wait. 0, or -errno: there is none. If the
 * process may have no more descriptors the connection is closed, by means of *spare*. */
must_check int accept_one(int listener, int *spare, int *ret_fd);
