/* SPDX-License-Identifier: Apache-2.0 */

/* What the agent says. Only main.c, agent.c and its parts that decide something log. */

#include "agent/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <systemd/sd-journal.h>

#define LINE_MAX_SIZE 2048U

void agent_log(int priority, const char *id, const char *format, ...)
{
	char line[LINE_MAX_SIZE];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
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
