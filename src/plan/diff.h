/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "plan/plan.h"
#include "plan/tree.h"

enum diff_kind {
	DIFF_MISSING,
	DIFF_TYPE,
	DIFF_CONTENT,
	DIFF_MODE,
	DIFF_OWNER,
	DIFF_CAPABILITIES, /* file capabilities */
	DIFF_TARGET,
	DIFF_MASKED,         /* a unit, by the administrator's hand (masks.h) */
	DIFF_FOREIGN,        /* a file in the version directory that no plan has */
	DIFF_LOCAL_OVERRIDE, /* the administrator's own drop-in: reported, never removed */
	DIFF_N,
};

/* One place where the tree is not what the plan says. */
struct diff_item {
	enum diff_kind kind;
	char *path;
	char *wanted; /* short text, or NULL */
	char *found;
};

struct diff {
	struct diff_item *items;
	size_t count;
};

#define DIFF_INIT     \
	(struct diff) \
	{             \
	}

/* Compares the tree with *plan*, reading every byte of it. Sorted by path. 0 or -errno. */
must_check int plan_diff(const struct plan *plan, const struct tree *tree, struct diff *ret);
/* The administrator's drop-ins that go for units of *plan*, installed or not: those of the unit, of
 * a beginning of its name, of its type. Sorted by path. 0 or -errno. */
must_check int plan_find_overrides(const struct plan *plan, const struct tree *tree,
				   struct diff *ret);
/* How many items are damage: all but the administrator's own overrides. */
size_t diff_count_damage(const struct diff *diff);
void diff_done(struct diff *diff);
#define cleanup_diff CLEANUP(diff_done)

/* "missing", "content", … */
const char *diff_kind_to_string(enum diff_kind kind);
