/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Access control lists, from libarchive's parsed text to what the kernel calls
 * system.posix_acl_access: a version, then entries of tag, permissions and id, little-endian,
 * ordered by tag and id. libarchive keeps the three entries that the mode says in the mode.
 */

#include "ext4/layer_acl.h"

#include <archive.h>
#include <archive_entry.h>
#include <endian.h>
#include <errno.h>
#include <stdint.h>

#define ACL_VERSION 2U
#define ACL_NO_ID   UINT32_MAX
#define ACL_MAX     256U

struct acl_row {
	uint16_t tag;
	uint16_t permissions;
	uint32_t id;
};

static int tag_of(int tag, struct acl_row *row)
{
	static const struct {
		int from;
		uint16_t to;
	} tags[] = {
		{ARCHIVE_ENTRY_ACL_USER_OBJ,  0x01},
                {ARCHIVE_ENTRY_ACL_USER,      0x02},
		{ARCHIVE_ENTRY_ACL_GROUP_OBJ, 0x04},
                {ARCHIVE_ENTRY_ACL_GROUP,     0x08},
		{ARCHIVE_ENTRY_ACL_MASK,      0x10},
                {ARCHIVE_ENTRY_ACL_OTHER,     0x20},
	};

	for (size_t i = 0; i < ARRAY_SIZE(tags); i++) {
		if (tags[i].from == tag) {
			row->tag = tags[i].to;
			return 0;
		}
	}
	return 1;
}

static int compare_rows(const void *a, const void *b)
{
	const struct acl_row *x = a;
	const struct acl_row *y = b;

	if (x->tag != y->tag)
		return x->tag < y->tag ? -1 : 1;
	return x->id == y->id ? 0 : x->id < y->id ? -1 : 1;
}

static int add_rows(struct buffer *list, struct acl_row *rows, size_t count)
{
	const uint32_t version = htole32(ACL_VERSION);
	int r;

	qsort(rows, count, sizeof(*rows), compare_rows);
	r = buffer_add(list, &version, sizeof(version));
	for (size_t i = 0; i < count && r == 0; i++) {
		const struct acl_row row = {htole16(rows[i].tag), htole16(rows[i].permissions),
					    htole32(rows[i].id)};

		r = buffer_add(list, &row, sizeof(row));
	}
	return r;
}

static int take_list(struct archive_entry *entry, int kind, struct buffer *list)
{
	struct acl_row rows[ACL_MAX];
	size_t count = 0;
	int type = 0;
	int permissions = 0;
	int tag = 0;
	int id = 0;
	const char *name = NULL;

	list->size = 0;
	if (archive_entry_acl_reset(entry, kind) == 0)
		return 0;
	while (archive_entry_acl_next(entry, kind, &type, &permissions, &tag, &id, &name) ==
	       ARCHIVE_OK) {
		struct acl_row *row = &rows[count];

		if (count == ACL_MAX || tag_of(tag, row) > 0)
			return 1;
		row->permissions = (uint16_t)(permissions & 7);
		row->id = ACL_NO_ID;
		if (row->tag == 0x02 || row->tag == 0x08) {
			if (id < 0)
				return 1;
			row->id = (uint32_t)id;
		}
		count++;
	}
	return count > 0 ? add_rows(list, rows, count) : 0;
}

int layer_acl_take(struct layer_acl *acl, struct archive_entry *entry)
{
	int r;

	acl->names[0] = "system.posix_acl_access";
	acl->names[1] = "system.posix_acl_default";
	acl->lists[0].size = 0;
	acl->lists[1].size = 0;
	if (archive_entry_acl_types(entry) == 0)
		return 0;
	if (archive_entry_acl_types(entry) & ARCHIVE_ENTRY_ACL_TYPE_NFS4)
		return 1;
	r = take_list(entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, &acl->lists[0]);
	return r != 0 ? r : take_list(entry, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, &acl->lists[1]);
}

void layer_acl_done(struct layer_acl *acl)
{
	for (size_t i = 0; i < ARRAY_SIZE(acl->lists); i++)
		buffer_done(&acl->lists[i]);
}
