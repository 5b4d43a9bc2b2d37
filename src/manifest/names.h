/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"

/* The syntax of names in addon.yaml and updater.yaml; manifest.h has those that others need. */

/* A user that adduser(8) would make: `[a-z_][a-z0-9_-]*`, at most 31 bytes. */
bool name_is_user(const char *name);

/* A file name that means nothing special to a shell, to systemd or to tar:
 * `[A-Za-z0-9][A-Za-z0-9._+-]*`. */
bool name_is_entry(const char *name);

/* A protocol and its version: `netprobe-frame/1`. */
bool name_is_protocol(const char *name);

/* `NAME.slice`, as systemd takes it, and not among those of logins and of machines: their limits
 * are not to be used up by add-ons. */
bool name_is_slice(const char *name);

/* A Linux capability in any spelling (`CAP_NET_RAW`, `net_raw`) as `cap_net_raw`. 0; 1 if there is
 * none of that name; -ENOMEM. */
must_check int name_normalize_capability(const char *name, char **ret);
