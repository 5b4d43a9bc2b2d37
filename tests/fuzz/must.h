/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdlib.h>

/* A broken promise stops the fuzzer, also where assert() is compiled out. */
static inline void must(bool holds)
{
	if (!holds)
		abort();
}
