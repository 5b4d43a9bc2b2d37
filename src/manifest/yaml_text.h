/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "manifest/yaml.h"

/* Whether libfyaml may see the text; if not, *reader* has the problem and its place. A byte order
 * mark at the beginning and all of YAML's line ends are fine. */
bool yaml_text_check(const char *text, size_t size, struct yaml_reader *reader);
