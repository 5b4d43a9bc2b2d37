/* SPDX-License-Identifier: Apache-2.0 */

/* What the daemon tells its operator. Only what decides something says so, and once. */

#include "netprobe/log.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/json.h"
#include "base/str.h"
#include "netprobe/wall.h"

#define LOG_LINE_MAX 2048U

static bool log_is_json;

void log_set_json(bool is_json)
{
	log_is_json = is_json;
}

static const char *level_of(int priority)
{
	if (priority <= LOG_ERR)
		return "error";
	if (priority == LOG_WARNING)
		return "warn";
	return priority <= LOG_INFO ? "info" : "debug";
}

static void print_json(int priority, const char *sentence)
{
	cleanup_json json_t *json =
		json_pack("{s:I,s:s,s:s,s:s}", "timestamp_unix_nano", (json_int_t)wall_ns(),
			  "level", level_of(priority), "target", "netprobe", "message", sentence);
	cleanup_free char *line = json ? json_dumps(json, JSON_COMPACT) : NULL;

	(void)fprintf(stderr, "%s\n", line ? line : "{\"message\":\"out of memory\"}");
}

static void print_text(int priority, const char *sentence)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nothing sets the environment */
	if (getenv("JOURNAL_STREAM"))
		(void)fprintf(stderr, "<%d>", priority);
	(void)fprintf(stderr, "affix-netprobe: %s\n", sentence);
}

void log_line(int priority, const char *format, ...)
{
	cleanup_free char *sentence = NULL;
	va_list arguments;

	va_start(arguments, format);
	sentence = str_format_shown(LOG_LINE_MAX, format, arguments);
	va_end(arguments);
	if (log_is_json)
		print_json(priority, sentence ? sentence : "out of memory");
	else
		print_text(priority, sentence ? sentence : "out of memory");
}
