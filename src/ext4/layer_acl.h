/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

#include "base/cleanup.h"
#include "base/str.h"

struct archive_entry;

/* The access control lists of an entry, in the form of their extended attributes. */
struct layer_acl {
	struct buffer lists[2];
	const char *names[2]; /* of the attributes */
};

/* Takes the lists that tar gives as text (SCHILY.acl.…). An empty list is none. 0; 1 if one is no
 * POSIX.1e list; -ENOMEM. */
must_check int layer_acl_take(struct layer_acl *acl, struct archive_entry *entry);
void layer_acl_done(struct layer_acl *acl);
