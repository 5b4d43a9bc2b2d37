/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "agent/desired.h"
#include "base/cleanup.h"

/* Where systemd looks for drop-ins of the administrator's; ends with NULL. */
extern const char *const drop_in_directories[];

/*
 * A digest of the administrator's drop-ins that the units of *id* have in *directories*, in
 * hexadecimal: another one means that some came, went or were written. "" where there are none.
 * What cannot be read is as if it were not there. 0 or -ENOMEM.
 */
must_check int drop_ins_digest(const char *const *directories, const char *id,
			       char ret[DESIRED_KEY_SIZE]);
