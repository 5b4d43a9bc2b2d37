/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "control/api_problem.h"
#include "control/assign_catalog.h"
#include "control/audit.h"
#include "control/fleet.h"

/*
 * Assignments as operators write them. *body* is the JSON object of a request: members as in the
 * answer of GET /api/v1/assignments/ID, those that affixd sets aside. Everything is judged before
 * anything is written. Each 0; 1 with *reterr*; -errno; within the caller's transaction.
 */
must_check int assign_create(struct fleet *fleet, const json_t *body,
			     const struct audit_actor *actor, int64_t *ret_id,
			     struct api_problem *reterr);
/* Only the members of *body* change. */
must_check int assign_change(struct fleet *fleet, int64_t id, const json_t *body,
			     const struct audit_actor *actor, struct api_problem *reterr);
must_check int assign_remove(struct fleet *fleet, int64_t id, const struct audit_actor *actor,
			     struct api_problem *reterr);

/* 0; 1 where there is none; -errno. */
must_check int assign_to_json(struct fleet *fleet, int64_t id, json_t **ret);

/* Whether a configuration (NULL: none) is good for a package. 0; 1 with *reterr* and the place
 * below "/config"; -errno. */
must_check int assign_check_config(struct fleet *fleet, const struct assign_package *package,
				   const json_t *config, struct api_problem *reterr);

/* Notes for each of the newest versions of the add-on, and for those of *versions*, that *config*
 * fits that the assignment says this of it: a host that keeps a version is not sent what another
 * one wants. What was noted for others is forgotten. 0 or -errno. */
must_check int assign_keep_config(struct fleet *fleet, int64_t assignment, const char *addon,
				  const struct strv *versions, const json_t *config);
