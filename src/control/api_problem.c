/* SPDX-License-Identifier: Apache-2.0 */

/* Refusals of the REST API; affix-rest(7) lists the names. */

#include "control/api_problem.h"

#include <stdarg.h>
#include <stdio.h>

void api_problem_set(struct api_problem *problem, unsigned status, const char *name,
		     const char *path, const char *format, ...)
{
	va_list arguments;

	problem->status = status;
	problem->name = name;
	(void)snprintf(problem->path, sizeof(problem->path), "%s", path ? path : "");
	va_start(arguments, format);
	(void)vsnprintf(problem->message, sizeof(problem->message), format, arguments);
	va_end(arguments);
}
