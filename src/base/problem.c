/* SPDX-License-Identifier: Apache-2.0 */

/* A refusal of the image side: its names are not the updater's, which never sees an image. */

#include "base/problem.h"

#include <stdarg.h>
#include <stdio.h>

void problem_set(struct problem *problem, const char *name, const char *format, ...)
{
	va_list arguments;

	if (!problem)
		return;
	(void)snprintf(problem->name, sizeof(problem->name), "%s", name);
	va_start(arguments, format);
	(void)vsnprintf(problem->text, sizeof(problem->text), format, arguments);
	va_end(arguments);
}
