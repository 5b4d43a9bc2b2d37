/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

#include "base/cleanup.h"
#include "ipc/refusal.h"

/* One thing wrong with a file of an add-on, printed as `file:line:column: message`. */
struct diagnostic {
	char *file;
	unsigned line;   /* from 1 */
	unsigned column; /* from 1 */
	enum refusal_code code;
	char *message;
};

/* All that is wrong, in the order of discovery. Readers of an add-on's files add to it and go on.
 */
struct diagnostics {
	struct diagnostic *items;
	size_t count;
};

#define DIAGNOSTICS_INIT     \
	(struct diagnostics) \
	{                    \
	}
/* More than this many are counted as one last "and more": a hostile file may hold a problem per
 * byte. */
#define DIAGNOSTICS_MAX 200U

/* 0 or -ENOMEM. */
must_check int diagnostics_add(struct diagnostics *list, enum refusal_code code, const char *file,
			       unsigned line, unsigned column, const char *format, ...)
	format_check(6, 7);
/* By file, line, column. */
void diagnostics_sort(struct diagnostics *list);
/* 0 for an empty list; else refuses with the first diagnostic's code, place and message, and how
 * many more. */
must_check int diagnostics_refuse(const struct diagnostics *list, struct refusal *reterr_refusal);
void diagnostics_done(struct diagnostics *list);

#define cleanup_diagnostics CLEANUP(diagnostics_done)
