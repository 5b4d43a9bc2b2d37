/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/image_bundles.h"
#include "cli/image_own.h"

/*
 * Has the engine install affix itself and then the add-ons in the copy of *work*, and makes that
 * the image's: all of it, or nothing. The answers say what became of the image. COMMAND_DONE, or
 * the exit code after a line on stderr.
 */
must_check int image_install(struct image_work *work, struct image_own *own,
			     struct image_bundles *bundles);
