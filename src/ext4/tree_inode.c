/* SPDX-License-Identifier: Apache-2.0 */

/* Inodes of the tree: what a layer's entry says, kept in as little memory as it takes, and the
 * extents that their content got. */

#include <errno.h>
#include <stdalign.h>
#include <string.h>
#include <sys/stat.h>

#include "ext4/tree_private.h"

static int take_xattrs(struct tree *tree, struct tree_inode *inode, const struct layer_entry *entry)
{
	struct tree_xattrs *xattrs;
	uint8_t *at;
	size_t size = 0;

	inode->xattrs = NULL;
	for (size_t i = 0; i < entry->xattr_count; i++)
		size += strlen(entry->xattrs[i].name) + 1 + sizeof(uint32_t) +
			entry->xattrs[i].size;
	if (size == 0)
		return 0;
	xattrs = tree_allocate(tree, sizeof(*xattrs) + size, alignof(struct tree_xattrs));
	if (!xattrs)
		return -ENOMEM;
	xattrs->count = (uint32_t)entry->xattr_count;
	xattrs->size = (uint32_t)size;
	at = xattrs->bytes;
	for (size_t i = 0; i < entry->xattr_count; i++) {
		const struct layer_xattr *xattr = &entry->xattrs[i];
		const uint32_t value_size = (uint32_t)xattr->size;
		size_t n = strlen(xattr->name) + 1;

		memcpy(at, xattr->name, n);
		memcpy(at + n, &value_size, sizeof(value_size));
		if (xattr->size > 0)
			memcpy(at + n + sizeof(value_size), xattr->value, xattr->size);
		at += n + sizeof(value_size) + xattr->size;
	}
	inode->xattrs = xattrs;
	return 0;
}

int tree_inode_set(struct tree *tree, struct tree_inode *inode, const struct layer_entry *entry)
{
	inode->mode = (uint16_t)entry->mode;
	inode->uid = entry->uid;
	inode->gid = entry->gid;
	inode->mtime = entry->mtime;
	inode->mtime_ns = entry->mtime_ns;
	inode->size = entry->size;
	if (S_ISLNK(entry->mode)) {
		size_t size = strlen(entry->target) + 1;

		inode->target = tree_allocate(tree, size, 1);
		if (!inode->target)
			return -ENOMEM;
		memcpy(inode->target, entry->target, size);
		inode->size = size - 1;
	} else if (S_ISCHR(entry->mode) || S_ISBLK(entry->mode)) {
		inode->rdev_major = entry->rdev_major;
		inode->rdev_minor = entry->rdev_minor;
	}
	return take_xattrs(tree, inode, entry);
}

int tree_inode_new(struct tree *tree, const struct layer_entry *entry, struct tree_inode **ret)
{
	struct tree_inode *inode;
	int r;

	if (!tree->inodes || tree->inodes->used == TREE_INODE_CHUNK) {
		struct tree_inodes *chunk = malloc(sizeof(*chunk));

		if (!chunk)
			return -ENOMEM;
		chunk->next = tree->inodes;
		chunk->used = 0;
		tree->inodes = chunk;
	}
	inode = &tree->inodes->items[tree->inodes->used];
	memset(inode, 0, sizeof(*inode));
	r = tree_inode_set(tree, inode, entry);
	if (r < 0)
		return r;
	tree->inodes->used++;
	tree->inode_count++;
	tree->bytes += sizeof(*inode);
	*ret = inode;
	return 0;
}

const struct tree_extent *tree_extent_items(const struct tree_extents *extents)
{
	return extents->items ? extents->items : &extents->one;
}

static int grow(struct tree_extents *extents)
{
	uint32_t capacity = extents->capacity > 0 ? extents->capacity * 2 : 4;
	struct tree_extent *items =
		reallocarray(extents->items, capacity, sizeof(struct tree_extent));

	if (!items)
		return -ENOMEM;
	if (!extents->items)
		items[0] = extents->one;
	extents->items = items;
	extents->capacity = capacity;
	return 0;
}

/* The most blocks that ext4 has in one extent. */
#define EXTENT_MAX 32768U

int tree_extent_add(struct tree_extents *extents, uint64_t block, uint32_t logical, uint32_t count)
{
	struct tree_extent *last =
		extents->items ? &extents->items[extents->count - 1] : &extents->one;

	if (extents->count > 0 && last->block + last->count == block &&
	    last->logical + last->count == logical && last->count + count <= EXTENT_MAX) {
		last->count += count;
		return 0;
	}
	if (extents->count > 0 && extents->count >= extents->capacity && grow(extents) < 0)
		return -ENOMEM;
	last = extents->items ? &extents->items[extents->count] : &extents->one;
	*last = (struct tree_extent){block, logical, count};
	extents->count++;
	return 0;
}
