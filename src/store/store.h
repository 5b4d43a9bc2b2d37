/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "plan/tree.h"
#include "store/record.h"

/* The updater's directory in one tree: RECORD_DIRECTORY, root 0700, and its locks. */
struct store {
	int dirfd;
	bool is_copy; /* the tree's */
	bool is_new;  /* it was made, and not synced yet */
};

/*
 * Opens it, making it (and /var/lib/affix, 0755) if it is missing and *make*. -ENOENT otherwise;
 * -ENOTRECOVERABLE if others than its owner, who must be the caller, may write there:
 * STORE_SHARED_TEXT.
 */
#define STORE_SHARED_TEXT                                                                  \
	"the records in '" RECORD_DIRECTORY "' cannot be relied on: others than root may " \
	"write there; find out who did, then chown root and chmod 0700 it"
must_check int store_open(const struct tree *tree, bool make, struct store *ret);
void store_done(struct store *store);
#define cleanup_store CLEANUP(store_done)

/* A store that was not opened, since there is none, has no records: store_load(), store_list(),
 * store_time_floor(). */

/* 0 with *ret*; -ENOENT: no record; refused with REFUSAL_BAD_RECORD; -errno. */
must_check int store_load(const struct store *store, const char *id, struct record **ret,
			  struct refusal *reterr_refusal);
/*
 * Replaces the record: temporary file, fsync, rename, fsync of the directory (of the file system,
 * if the store is new). The commit point. After -errno the old record stands, or, where only the
 * last step failed, the new one without being durable: load it to know. -EFBIG (larger than
 * RECORD_SIZE_MAX) and -EBADMSG (store_load() would refuse it): nothing was written.
 */
must_check int store_save(const struct store *store, const struct record *record);
/* The two halves of it, with a sync of the store's file system between, which others need as well:
 * the temporary file, and the rest. What store_prepare() left is store_forget_unfinished()'s. */
must_check int store_prepare(const struct store *store, const struct record *record);
must_check int store_publish(const struct store *store, const char *id);
/* Gives the room back to the disk that each save leaves for a later one, if it can: a full disk has
 * place for one more record. 0; -ENOENT: there is none; -errno. */
must_check int store_spend_reserve(const struct store *store);
/* The ids of all records, sorted. */
must_check int store_list(const struct store *store, struct strv *ret);
/* The ids for which a killed store_save() left a temporary file, sorted; they need not have a
 * record. */
must_check int store_list_unfinished(const struct store *store, struct strv *ret);
/* Removes that file. The id's lock is held. */
must_check int store_forget_unfinished(const struct store *store, const char *id);

/*
 * Locks, held by an open descriptor: close it to let go. *wait_usec* 0 does not wait. The
 * administrator's request takes the id's gate first and keeps it while it waits, and others need
 * the gate too, so that a stream of requests cannot starve it. 0; refused with REFUSAL_BUSY;
 * -errno.
 */
must_check int store_lock(const struct store *store, const char *id, bool is_admin,
			  uint64_t wait_usec, int *ret_fd, struct refusal *reterr_refusal);
/* Whether a process holds *id*'s lock now. */
must_check int store_is_locked(const struct store *store, const char *id, bool *ret);
/* The short global one around switch and reload; waits. */
must_check int store_lock_switch(const struct store *store, int *ret_fd);

/*
 * max over all records of `newest_created`, those of uninstalled add-ons too. A record that cannot
 * be read refuses with REFUSAL_BAD_RECORD: without it the floor might be lower than it was. 0;
 * refused; -errno.
 */
must_check int store_time_floor(const struct store *store, uint64_t *ret,
				struct refusal *reterr_refusal);
