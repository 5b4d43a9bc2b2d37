/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/clock.h"
#include "plan/plan.h"
#include "unit/manager.h"

/*
 * A plan's units on a running host. All of these do nothing without a manager (NULL). -errno only
 * when PID 1 cannot be asked; what became of the units is for health.h to say.
 */

/* Timers first, then services, all of them: the first error comes at the end. What does not stop in
 * its time, or in *timeout_usec* all together, is killed; -ETIMEDOUT: even so it did not die. */
#define UNITS_STOP_USEC (180 * CLOCK_USEC_PER_SEC)
must_check int units_stop(struct manager *manager, const struct plan *plan, uint64_t timeout_usec);

/*
 * Failures are forgotten, and how often units were started: neither a start limit nor `systemctl
 * --failed` is to know of a plan that is gone.
 */
must_check int units_forget(struct manager *manager, const struct plan *plan);

/* Services first, then timers: those that are primary or enabled. Earlier failures are forgotten
 * before. -ESHUTDOWN: one is masked, or needs one that is; the others were started. */
must_check int units_start(struct manager *manager, const struct plan *plan);

/* Whether the host starts *unit* with this plan: it is primary or has an enablement link. */
bool units_is_started(const struct plan *plan, const struct plan_unit *unit);

/* Makes the add-on's user (systemd-sysusers) or its directories (systemd-tmpfiles) by transient
 * units. -EIO if that failed. */
must_check int units_make_user(struct manager *manager, const struct plan *plan);
must_check int units_make_directories(struct manager *manager, const struct plan *plan);
