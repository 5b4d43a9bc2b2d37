/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "image/attributes.h"
#include "image/content.h"
#include "image/excerpt.h"

/*
 * Brings into the image what became of its excerpt, and what the records say of owners and
 * capabilities; reads every file back, and removes the copy. Everything is staged only:
 * edit_commit() follows. *ids*: the add-ons whose installed files are looked at, too. 0;
 * PROBLEM_E_REFUSED (no room); -errno.
 */
must_check int replay(struct excerpt *excerpt, struct content *content, const struct strv *ids,
		      struct problem *reterr_problem);
