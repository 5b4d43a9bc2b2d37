/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What affixd tells its operator. All its processes write whole lines to the one stderr that the
 * parent was given, so that nothing of it has to be opened in a process that may open nothing.
 */

#include "control/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/str.h"

#define LOG_LINE_MAX 2048U

static const char *log_name;

void log_set_name(const char *name)
{
	log_name = name;
}

void log_line(int priority, const char *format, ...)
{
	cleanup_free char *sentence = NULL;
	char prefix[8] = "";
	va_list arguments;

	va_start(arguments, format);
	sentence = str_format_shown(LOG_LINE_MAX, format, arguments);
	va_end(arguments);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the program has one thread */
	if (getenv("JOURNAL_STREAM"))
		(void)snprintf(prefix, sizeof(prefix), "<%d>", priority);
	(void)fprintf(stderr, "%saffixd%s%s: %s\n", prefix, log_name ? " " : "",
		      log_name ? log_name : "", sentence ? sentence : "out of memory");
}
