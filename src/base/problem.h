/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cleanup.h"

#define PROBLEM_TEXT_MAX 1024U

/* Why something is not done: a name for programs, and a sentence that names the thing, what was
 * expected, and what to do. Of images and registries; the updater's are ipc/refusal.h. */
struct problem {
	char name[32];
	char text[PROBLEM_TEXT_MAX];
};

#define PROBLEM_INIT     \
	(struct problem) \
	{                \
	}

/* The condition of every function that can say such a thing and no more than that. */
#define PROBLEM_E_REFUSED 1

/* Sets *problem*, which may be NULL, and returns PROBLEM_E_REFUSED: a macro, so that whoever judges
 * a function sees that it is not 0. */
#define problem_refuse(problem, ...)               \
	({                                         \
		problem_set(problem, __VA_ARGS__); \
		PROBLEM_E_REFUSED;                 \
	})

void problem_set(struct problem *problem, const char *name, const char *format, ...)
	format_check(3, 4);
