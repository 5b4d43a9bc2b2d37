/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdlib.h>

/*
 * src/base/cleanup.h as cppcheck reads it: it cannot parse statement expressions inside
 * initialisers, and does not know the cleanup attribute.
 */

#define CLEANUP(f)
#define must_check
#define format_check(a, b)
#define ignore_result(expression) ((void)(expression))
#define TAKE_PTR(p)               (p)
#define DEFINE_CLEANUP(type, name, free_function)
#define cleanup_free
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)     ((a) < (b) ? (a) : (b))
#define MAX(a, b)     ((a) > (b) ? (a) : (b))
