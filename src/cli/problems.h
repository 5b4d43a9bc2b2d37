/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "ipc/diagnostic.h"

/* A line `file:line:column: message` for each, safe to print; with the name of its refusal and ": "
 * before it if *with_names*. */
void problems_print(const struct diagnostics *problems, FILE *stream, bool with_names);
