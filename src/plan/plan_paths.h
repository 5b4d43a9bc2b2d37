/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Where the objects of plans stand (docs/ARCHITECTURE.md, "Layout"). */
#define PLAN_OPT_BASE      "/opt/affix"
#define PLAN_UNIT_BASE     "/etc/systemd/system"
#define PLAN_SYSUSERS_BASE "/etc/sysusers.d"
#define PLAN_TMPFILES_BASE "/etc/tmpfiles.d"
#define PLAN_CONFIG_BASE   "/etc/affix/addons"
#define PLAN_LOCAL_BASE    "/etc/affix/addons.d"
#define PLAN_STATE_BASE    "/var/lib/affix"
#define PLAN_CACHE_BASE    "/var/cache/affix"
#define PLAN_LOGS_BASE     "/var/log/affix"
#define PLAN_RUN_BASE      "/run/affix"

/* The user that plans name as owner of everything but a binary with file capabilities. */
#define PLAN_ROOT_USER "root"
