/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"

/*
 * Reads a password: from the terminal that stdin is, with *prompt* on stderr and without echo, and
 * with *twice* a second time for comparison; where stdin is no terminal, its next line, once. 0;
 * -ENODATA (nothing came), -EINVAL (a NUL in it), -E2BIG (longer than minisign takes), -EBADMSG
 * (the two differ), -EINTR (a signal; echo is on again), -errno. *ret_password* ends with
 * minisign_secret_text_free().
 */
must_check int password_read(const char *prompt, bool twice, char **ret_password);

/* A sentence for what password_read() returned. */
const char *password_problem(int r);
