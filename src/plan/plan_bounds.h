/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "plan/plan.h"

/*
 * Where an add-on's plan may put anything (DESIGN §4, "Host layout"). A plan that comes out of a
 * record is held against it, so that not even a forged record makes the updater write or remove
 * elsewhere. Paths are checked for being normal and absolute here.
 */

/* Whether a plan of *id* may make the directory *path*: its own, or one it shares. */
bool plan_bounds_allow_directory(const char *id, const char *path);

/* Whether *path* is a directory that add-ons share with each other and the system: never removed
 * but when empty. */
bool plan_bounds_is_shared(const char *path);

/* Whether *name* is `affix-<id>.…` or `affix-<id>_….` and ends in .service or .timer. */
bool plan_bounds_is_own_unit(const char *id, const char *name);

/* Whether *text* is the id of a key as minisign prints it, or "": there was none. */
bool plan_bounds_is_key_id(const char *text);

/* Whether *path* is a file in the directory that `current` of *id* points to. */
bool plan_bounds_allow_binary(const char *id, const char *path);

/* Whether uninstall --purge may remove *path* as state of *id*. */
bool plan_bounds_allow_state(const char *id, const char *path);

/* Whether *object*, which is not below /opt, stands where a plan of affix itself may
 * put one (plan_bounds_own.c). */
bool plan_bounds_allow_own(const struct plan_object *object);
/* Whether it may make the directory *path*, to be shared by all. */
bool plan_bounds_allow_own_directory(const char *path);

/* Whether *object* stands where *plan* may put an object of its type, a link also to what it
 * points. */
bool plan_bounds_allow_object(const struct plan *plan, const struct plan_object *object);
