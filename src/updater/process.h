/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cleanup.h"

/*
 * Puts the calling process into a known state, whatever it inherited: descriptors 0 to 2 are open
 * and everything behind the first *n_passed* descriptors from 3 on is closed, the environment is
 * empty but for NOTIFY_SOCKET, umask is 022, there are no core dumps and nobody attaches, no signal
 * is blocked or caught but SIGPIPE (ignored) and SIGTERM (ends the process at once with a failure,
 * so that somebody looks after what it was doing). 0 or -errno.
 */
must_check int process_sanitise(unsigned n_passed);
