/* SPDX-License-Identifier: Apache-2.0 */

/* What the agent says. Only main.c, agent.c and its parts that decide something log. */

#include "agent/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-journal.h>

#include "base/str.h"

#define LOG_LINE_MAX 2048U

void agent_log(int priority, const char *id, const char *format, ...)
{
	cleanup_free char *sentence = NULL;
	const char *line;
	va_list arguments;

	va_start(arguments, format);
	sentence = str_format_shown(LOG_LINE_MAX, format, arguments);
	va_end(arguments);
	line = sentence ? sentence : "out of memory";
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nothing sets the environment */
	if (!getenv("JOURNAL_STREAM")) {
		if (priority < LOG_DEBUG)
			(void)fprintf(stderr, "affix-agent: %s%s%s\n", id ? id : "", id ? ": " : "",
				      line);
		return;
	}
	if (id)
		(void)sd_journal_send("MESSAGE=%s: %s", id, line, "PRIORITY=%i", priority,
				      "AFFIX_ADDON=%s", id, NULL);
	else
		(void)sd_journal_send("MESSAGE=%s", line, "PRIORITY=%i", priority, NULL);
}
