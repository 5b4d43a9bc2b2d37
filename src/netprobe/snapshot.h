/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"
#include "netprobe/collector.h"
#include "netprobe/fnv.h"
#include "netprobe/frame.h"

/*
 * A ProcessSnapshot of who listens where. *fingerprint* is the one of the snapshot before, and
 * becomes that of this one; where it is the same, *ret* is NULL. 0 or -ENOMEM.
 */
must_check int snapshot_make(const struct collector *collector, char fingerprint[FNV_TEXT_SIZE],
			     struct frame **ret, uint32_t *ret_entries);
