/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cleanup.h"
#include "control/config.h"

/*
 * Runs affixd: makes the sockets, forks the store and the fronts, starts a front again that died,
 * and on SIGTERM or SIGINT ends first the fronts and then the store. Returns when all are gone: 0
 * after a stop that was asked for, else -errno; what went wrong was said by then.
 */
must_check int supervise(const struct config *config);
