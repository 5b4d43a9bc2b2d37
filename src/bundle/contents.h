/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "bundle/bundle.h"
#include "bundle/digest_table.h"
#include "bundle/hasher.h"
#include "bundle/tar.h"

/* bundle_open() behind the decompression: reads the tar archive of *source* whole, whose pieces
 * must stay as they are until *hasher* has done with them. *table* is what the bundle says of its
 * entries' digests, or NULL. The digest of the bundle's file is the caller's to fill in. */
must_check int contents_read(const struct tar_source *source, const struct digest_table *table,
			     struct hasher *hasher, const struct identity *identity,
			     const struct bundle_spool *spool, struct bundle **ret,
			     struct refusal *reterr_refusal);

/* Whether *name* may be an entry's: a plain name that affix does not use itself. 0 or refused with
 * REFUSAL_BAD_ENTRY_NAME; -ENOMEM. */
must_check int contents_check_name(const char *name, struct refusal *reterr_refusal);
