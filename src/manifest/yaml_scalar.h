/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "manifest/yaml.h"

/* What an unquoted scalar is: https://yaml.org/spec/1.2.2/#103-core-schema, without octal and hex.
 */
enum yaml_type yaml_type_of(const char *text);

/* The number in a scalar of type YAML_INTEGER, or -ERANGE if it is negative or too large. */
must_check int yaml_node_uint(const struct yaml_node *node, uint64_t *ret);
