/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "bundle/bundle.h"
#include "plan/plan.h"
#include "plan/tree.h"

/*
 * The applier for the live root and for directories. Every step is idempotent and can be taken
 * again after a crash at any instruction: what to do follows from the plans and from what the tree
 * holds, never from how far an earlier attempt came.
 *
 * The bytes of a version live in `/opt/affix/<id>/versions/<version>`. Another bundle of the same
 * version is staged and kept beside it, parked, as `versions/.<version>~<first 16 hexadecimal
 * digits of the bundle's digest>`.
 */

/*
 * Foreign files in the way, masked units, space, inodes, RENAME_EXCHANGE and O_TMPFILE for going
 * from *old* (may be NULL) to *plan*. Changes nothing. 0; refused; -errno.
 */
must_check int apply_preflight(const struct tree *tree, const struct plan *plan,
			       const struct plan *old, struct refusal *reterr_refusal);

/* What is mounted on paths of *plan*, which then can be neither replaced nor removed; it may be
 * NULL. 0; refused; -errno. */
must_check int apply_check_mounts(const struct tree *tree, const struct plan *plan,
				  struct refusal *reterr_refusal);

/* The same of versions that are to be removed and are not in place; NULL is none. */
must_check int apply_check_old_mounts(const struct tree *tree, struct plan *const *plans, size_t n,
				      struct refusal *reterr_refusal);

/* The first part of it, which goes for a repair as well: only what stands in the way. */
must_check int apply_check_places(const struct tree *tree, const struct plan *plan,
				  const struct plan *old, struct refusal *reterr_refusal);

/* The same for one object; *is_ours*: affix made it, so that what was changed of it is replaced,
 * but for a directory. */
must_check int apply_check_place(const struct tree *tree, const struct plan_object *object,
				 bool is_ours, struct refusal *reterr_refusal);

/* The existing directory, walking up from /opt/affix, in which bundle content is spooled; same file
 * system as the versions. */
must_check int apply_open_spool(const struct tree *tree, int *ret_fd);

/*
 * Makes the parked version directory of *plan* from the bundle's spooled entries, complete or not
 * there; a correct one is used as it is. Directories above it that are missing are made. Not
 * synced: apply_prepare() is. 0 or -errno.
 */
must_check int apply_stage(const struct tree *tree, const struct plan *plan,
			   const struct bundle *bundle);

/*
 * Writes everything of *plan* that apply_switch() will publish under temporary names, and syncs the
 * file systems: with one wait for all, staged bytes included, and while the old version still runs.
 * 0 or -errno.
 */
must_check int apply_prepare(const struct tree *tree, const struct plan *plan);

/*
 * Makes every object of *to* true and removes every object that only *from* has (either may be
 * NULL, not both), `current` last when both are there; not synced: apply_sync() is. Version
 * directories: *to*'s is un-parked, *from*'s stays (parked if it has the same version). The bytes
 * of *to* must be staged or in place. Directories listed in *created* (paths) that *to* does not
 * have are removed if they are empty. 0 or -errno.
 */
must_check int apply_switch(const struct tree *tree, const struct plan *to, const struct plan *from,
			    const struct strv *created);

/*
 * The same on the way back to *to*, which was committed before. Its bytes may be damaged or gone by
 * now: everything else is put back all the same, and apply_has_bytes() tells. What has come into
 * the way since is moved aside, to `.NAME.affix-aside` beside it. 0 or -errno.
 */
must_check int apply_restore(const struct tree *tree, const struct plan *to,
			     const struct plan *from, const struct strv *created);

/* Waits until the disks have what was written to the tree, and to *other_fd*'s file system unless
 * that is negative. 0 or -errno. */
must_check int apply_sync(const struct tree *tree, int other_fd);

/* The directories that apply_switch() and apply_stage() would have to make for *plan*: recorded
 * before they are made. */
must_check int apply_missing_directories(const struct tree *tree, const struct plan *plan,
					 struct strv *ret);

/* Whether the tree holds all bytes of *plan*'s version directory, in place or parked: 0 and *ret*;
 * -errno. */
must_check int apply_has_bytes(const struct tree *tree, const struct plan *plan, bool *ret);

/*
 * Takes away what stands in place of the seeds of *plan* that *old* (may be NULL) does not have, so
 * that the switch makes them: a file that says nothing (no line but comments), and a machine's id,
 * which must not be that of every machine of an image, nor be taken from D-Bus' copy of it: that
 * becomes a link. 0 or -errno.
 */
must_check int apply_clear_seeds(const struct tree *tree, const struct plan *plan,
				 const struct plan *old);

/* Removes version directories (parked ones too) and leftovers of *id* that none of the *n* plans
 * needs; keep[0] is the current one, if there is any. Bytes that one needs are never removed,
 * whatever name they got. */
must_check int apply_prune(const struct tree *tree, const char *id, const struct plan *const *keep,
			   size_t n);
