/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cleanup.h"
#include "base/str.h"
#include "unit/unit_file.h"

/*
 * The enablement links that `[Install]` of a checked unit asks for, as absolute paths of the links:
 * `/etc/systemd/system/<target>.wants/<name>` and `.requires`. Each link's target is
 * `/etc/systemd/system/<name>`. Added to *links* in byte order, none twice. 0 or -ENOMEM.
 */
must_check int unit_install_links(const struct unit_file *unit, const char *name,
				  struct strv *links);
