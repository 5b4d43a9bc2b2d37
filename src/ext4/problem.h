/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

#include "base/cleanup.h"

/* Why an image is not worked on: a name for programs, and a sentence. */
struct image_problem {
	char name[32];
	char text[1024];
};

#define IMAGE_PROBLEM_INIT     \
	(struct image_problem) \
	{                      \
	}

/* The condition of every function that can say such a thing. */
#define IMAGE_E_REFUSED 1

/* Sets *problem* and returns IMAGE_E_REFUSED. The sentence names the thing, what was expected, what
 * to do. */
#define image_refuse(problem, ...)                       \
	({                                               \
		image_problem_set(problem, __VA_ARGS__); \
		IMAGE_E_REFUSED;                         \
	})

void image_problem_set(struct image_problem *problem, const char *name, const char *format, ...)
	format_check(3, 4);
