/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

/* send() by an io_uring of its own. 0; -errno, of which -ENOSYS and -EPERM say that there is none.
 */
int ring_send(int fd, const void *data, size_t size);
