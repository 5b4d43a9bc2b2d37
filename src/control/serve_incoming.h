/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cleanup.h"

/* DATA/incoming, where fronts write uploads. What was on its way in when its writer ended is
 * nobody's any more; what was handed over has another name (package_arrival.c). */

/* At the start: all of it. 0 or -errno. */
must_check int serve_incoming_empty(int dirfd);
/* What a front that is gone wrote. */
void serve_incoming_forget(int dirfd, unsigned front);
