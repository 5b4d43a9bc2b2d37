/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "cli/command.h"

/* Every subcommand, each in a file of its own; the table is in main.c. */
extern const struct command command_help;

extern const struct command command_build;
extern const struct command command_check;
extern const struct command command_inspect;
extern const struct command command_keygen;
extern const struct command command_new;
extern const struct command command_pull;
extern const struct command command_push;
extern const struct command command_sign;
extern const struct command command_verify;

/* host_commands.c */
extern const struct command command_clear_quarantine;
extern const struct command command_configure;
extern const struct command command_drift;
extern const struct command command_hold;
extern const struct command command_install;
extern const struct command command_plan;
extern const struct command command_prune;
extern const struct command command_repair;
extern const struct command command_rollback;
extern const struct command command_status;
extern const struct command command_uninstall;

extern const struct command command_doctor;
extern const struct command command_fleet;
extern const struct command command_image;
extern const struct command command_vm;
