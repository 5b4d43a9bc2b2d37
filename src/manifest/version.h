/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"

/* The longest version we take; it becomes the name of a directory. */
#define VERSION_MAX 64U

/* Semantic Versioning 2.0.0, whole: MAJOR.MINOR.PATCH[-PRE][+BUILD], numbers below 2^63. */
bool version_is_valid(const char *version);

/* SemVer precedence of two valid versions: <0, 0, >0. Build metadata does not count. */
int version_compare(const char *a, const char *b);

/*
 * Whether *version* satisfies *constraint*: comparisons (`>= > <= < = ^ ~`, or none for `=`) joined
 * by commas or blanks, all of which must hold. 0, or -EINVAL for a constraint or version that is
 * not understood: never a pass.
 */
must_check int version_satisfies(const char *version, const char *constraint, bool *ret);
