/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/cleanup.h"

#define API_MESSAGE_MAX 1024U
#define API_PATH_MAX    256U

/* Why a request is not done: an HTTP status, a name for programs, a sentence for people, and where
 * there is one the place in the request, as a JSON Pointer or the name of a parameter. */
struct api_problem {
	unsigned status;
	const char *name; /* static */
	char message[API_MESSAGE_MAX];
	char path[API_PATH_MAX];
};

void api_problem_set(struct api_problem *problem, unsigned status, const char *name,
		     const char *path, const char *format, ...) format_check(5, 6);

/* The same, and its value is 1: what a function says that refuses. */
#define api_refuse(problem, status, name, path, ...)                               \
	({                                                                         \
		api_problem_set((problem), (status), (name), (path), __VA_ARGS__); \
		1;                                                                 \
	})
