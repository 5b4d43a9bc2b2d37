/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/command.h"

/* The verbs of `affix image`, in files of their own; the table is in image.c. */
extern const struct command command_image_build;
extern const struct command command_image_cache;
extern const struct command command_image_pull;
