/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "engine/operation.h"

/*
 * Makes the open transaction's plan the current one in the record: history, floor, key, origin,
 * directories. *is_lost*: the plan that is left has no bytes to go back to and is no history. The
 * record is changed in memory only. 0 or -ENOMEM.
 */
must_check int commit_transaction(struct operation *operation, bool is_lost);

/* Closes the open transaction without it. */
void commit_nothing(struct record *record);

/* Saves the record, and what was switched in the tree before it. What it keeps of old
 * configurations goes, the oldest first, where there is no room for it (RECORD_SIZE_MAX). A full
 * disk has room for what gets rid of something or ends. 0 or -errno. */
must_check int commit_save(struct operation *operation);

/* Adds *result* to the results that the record answers with again, and saves the record: the commit
 * point. */
must_check int commit_result(struct operation *operation, const struct result *result);

/* 0 with *ret* filled if the record holds a result of this request id; -ENOENT; -errno. */
must_check int commit_find_result(const struct record *record, const char *request_id,
				  struct result *ret);

/* What the fleet said for *plan*, one of the history, before the administrator's own keys went over
 * it; of a record that does not know, what came of both. 0 or -errno. */
must_check int commit_find_config(const struct record *record, const struct plan *plan,
				  json_t **ret);
