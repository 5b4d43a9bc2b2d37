/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/command.h"

/* Every subcommand, each in a file of its own; the table is in main.c. */
extern const struct command command_build;
extern const struct command command_check;
extern const struct command command_help;
extern const struct command command_inspect;
extern const struct command command_keygen;
