/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "agent/addon_state.h"
#include "agent/download.h"
#include "agent/lane.h"
#include "agent/reconcile.h"
#include "base/cleanup.h"

struct agent;

/* One step being carried out: download, request, result. What was wanted when it began is copied,
 * since offers change meanwhile. */
struct operation {
	struct agent *agent;
	struct lane *lane;
	struct download *download;
	enum activity activity;
	enum step_kind kind;
	char id[MANIFEST_ID_MAX + 1];
	struct wanted wanted; /* texts owned; unused for an uninstall */
	bool is_downloaded;   /* the bundle was, in this operation */
	bool is_resumed;
	bool has_bundle;  /* the updater said that it needs the bundle */
	bool is_repaired; /* before it is configured */
};

/* 0 or -errno. */
must_check int operation_init(struct operation *operation, struct agent *agent);
void operation_done(struct operation *operation);

/* Begins the first step that is one, unless one is under way. */
void operation_next(struct operation *operation, const struct reconcile_result *result);
bool operation_is_busy(const struct operation *operation);
/* Removes bundles and parts that nobody needs any more. */
void operation_prune(struct operation *operation);
