/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cli/own_files.h"
#include "engine/engine.h"

#define OWN_SET_AFFIX "affix" /* programs, units, trust */
#define OWN_SET_VM    "vm"    /* what a virtual machine's guest wants */

/* The image that a plan of affix itself is for, as far as the plan depends on it. */
struct own_place {
	const char *trust;       /* the directory of keys that the image is to trust */
	const struct plan *keys; /* or the plan that has them, NULL where there is none */
	const uint8_t *uuid;     /* its file system's: 16 bytes */
	bool has_resolver;       /* systemd-resolved is in it */
	int spool_fd;            /* the directory in which programs are copied into unnamed files */
};

/* Makes the plan of *set* and its entries. 0; refused; -errno. End *ret* with own_plan_done(). */
must_check int own_plan_make(const struct own_files *files, const char *set,
			     const struct own_place *place, struct engine_own *ret,
			     struct refusal *reterr_refusal);
void own_plan_done(struct engine_own *own);

/* Whether *trust* has keys for an image: 0; refused. */
must_check int own_plan_check_trust(const char *trust, struct refusal *reterr_refusal);

/* The version of both: the running program's. */
void own_plan_identity(const char *set, struct identity *ret);
