/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "image/attributes.h"
#include "image/content.h"
#include "image/excerpt.h"

/*
 * Brings into the image what became of its excerpt, and what the records say of owners and
 * capabilities; reads every file back, and removes the copy. Everything is staged only:
 * edit_commit() follows. *ids*: the add-ons whose installed files are looked at, too; to *mended*
 * go those of them that had files with other owners, modes or capabilities than the plan says,
 * which no copy shows. 0; PROBLEM_E_REFUSED (no room); -errno.
 */
must_check int replay(struct excerpt *excerpt, struct content *content, const struct strv *ids,
		      struct strv *mended, struct problem *reterr_problem);

/* What -ENOSPC of *edit* means. PROBLEM_E_REFUSED: there is no room in its file system. -ENOSPC: in
 * that which the image is in. */
must_check int replay_refuse_full(const struct edit *edit, struct problem *reterr_problem);
