/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cleanup.h"
#include "control/fleet.h"
#include "control/link.h"

/* Hands a report of front number *front* to the fleet: what fleet_report() returns, or -ENOMEM. */
must_check int serve_report(struct fleet *fleet, unsigned front, const Link__AgentReport *from);
