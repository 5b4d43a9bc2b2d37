/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Directories, written once and whole. What fits into one block is a list. Everything else is an
 * htree as the kernel makes them: names sorted by hash into full leaves, an index of one or two
 * levels over them. libext2fs knows how to add a name to a list by looking through all of it, and
 * makes no index; what it has, hashes and checksums, is used.
 *
 * The format is that of the kernel's Documentation/filesystems/ext4/directory.rst.
 */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "ext4/writer_private.h"

#define TAIL_SIZE      12U
#define LIST_ROOM      (EXT4_BLOCK_SIZE - TAIL_SIZE)
#define DOT_SIZE       12U
#define ROOT_AT        32U /* of the index in the first block */
#define NODE_AT        8U  /* and in others */
#define INDEX_ENTRY    8U
#define INDEX_TAIL     8U
#define ROOT_LIMIT     ((EXT4_BLOCK_SIZE - ROOT_AT - INDEX_TAIL) / INDEX_ENTRY)
#define NODE_LIMIT     ((EXT4_BLOCK_SIZE - NODE_AT - INDEX_TAIL) / INDEX_ENTRY)
#define HASH_CONTINUES 1U

struct directory_name {
	uint32_t hash;
	uint32_t minor;
	const struct tree_node *node;
};

struct directory_leaf {
	uint32_t hash; /* of the first name */
	uint32_t first;
};

struct directory {
	struct writer *writer;
	struct tree_node *node;
	struct directory_name *names;
	uint32_t name_count;
	struct directory_leaf *leaves; /* and one behind the last */
	uint32_t leaf_count;
	uint32_t blocks; /* written */
	uint8_t block[EXT4_BLOCK_SIZE];
};

static void directory_done(struct directory *d)
{
	free(d->names);
	free(d->leaves);
}

static uint16_t record_size(size_t name_size)
{
	return (uint16_t)((8 + name_size + 3) & ~(size_t)3);
}

static int type_of(uint16_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return EXT2_FT_REG_FILE;
	case S_IFDIR:
		return EXT2_FT_DIR;
	case S_IFCHR:
		return EXT2_FT_CHRDEV;
	case S_IFBLK:
		return EXT2_FT_BLKDEV;
	case S_IFIFO:
		return EXT2_FT_FIFO;
	case S_IFSOCK:
		return EXT2_FT_SOCK;
	default:
		return EXT2_FT_SYMLINK;
	}
}

static void put_record(uint8_t *at, uint16_t size, const struct tree_inode *inode, const char *name,
		       uint8_t name_size)
{
	const uint32_t number = inode->number;
	const uint8_t type = (uint8_t)type_of(inode->mode);

	memcpy(at, &number, 4);
	memcpy(at + 4, &size, 2);
	at[6] = name_size;
	at[7] = type;
	memcpy(at + 8, name, name_size);
}

static void put_dots(struct directory *d, uint16_t second_size)
{
	put_record(d->block, DOT_SIZE, d->node->inode, ".", 1);
	put_record(d->block + DOT_SIZE, second_size, d->node->parent->inode, "..", 2);
}

/* The block is complete: its checksum, and away. */
static int add_block(struct directory *d)
{
	struct writer *w = d->writer;

	if (w->fs) {
		errcode_t error = ext2fs_dir_block_csum_set(
			w->fs, d->node->inode->number, (struct ext2_dir_entry *)(void *)d->block);

		if (error != 0)
			return writer_error(error);
	}
	return writer_blocks_add(w, &d->node->inode->extents, d->blocks++, d->block, 1);
}

/* Names from *first* on, *count* of them, behind *at* in the block; the last one reaches to the
 * tail. *last_at*: of the record before. */
static int add_list(struct directory *d, uint32_t first, uint32_t count, size_t at, size_t last_at)
{
	uint16_t size;

	for (uint32_t i = first; i < first + count; i++) {
		const struct tree_node *node = d->names[i].node;

		last_at = at;
		put_record(d->block + at, record_size(node->name_size), node->inode, node->name,
			   node->name_size);
		at += record_size(node->name_size);
	}
	size = (uint16_t)(LIST_ROOM - last_at);
	memcpy(d->block + last_at + 4, &size, 2);
	/* The tail looks like a record that is not used. */
	d->block[LIST_ROOM + 4] = TAIL_SIZE;
	d->block[LIST_ROOM + 7] = 0xde;
	return add_block(d);
}

static int write_list(struct directory *d)
{
	memset(d->block, 0, sizeof(d->block));
	put_dots(d, DOT_SIZE);
	return add_list(d, 0, d->name_count, 2UL * DOT_SIZE, DOT_SIZE);
}

static int hash_names(struct directory *d)
{
	const struct ext4_options *options = d->writer->options;
	uint32_t seed[4];

	/* As in the super block: writer_format.c. */
	memcpy(seed, options->uuid, sizeof(seed));
	for (uint32_t i = 0; i < d->name_count; i++) {
		struct directory_name *name = &d->names[i];
		errcode_t error =
			ext2fs_dirhash2(EXT2_HASH_HALF_MD4, name->node->name, name->node->name_size,
					NULL, 0, seed, &name->hash, &name->minor);

		if (error != 0)
			return writer_error(error);
	}
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	const struct directory_name *x = a;
	const struct directory_name *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	if (x->minor != y->minor)
		return x->minor < y->minor ? -1 : 1;
	return strcmp(x->node->name, y->node->name);
}

/* Where each leaf begins. *d->leaves* has room for the worst. */
static void divide(struct directory *d)
{
	size_t room = 0;

	for (uint32_t i = 0; i < d->name_count; i++) {
		const struct directory_name *name = &d->names[i];
		size_t size = record_size(name->node->name_size);

		if (size > room) {
			bool continues = i > 0 && d->names[i - 1].hash == name->hash;

			d->leaves[d->leaf_count++] = (struct directory_leaf){
				.hash = name->hash | (continues ? HASH_CONTINUES : 0), .first = i};
			room = LIST_ROOM;
		}
		room -= size;
	}
	d->leaves[d->leaf_count] = (struct directory_leaf){.first = d->name_count};
}

/* Entries of an index: the hash of the first is the one that leads here, and in its place stand the
 * limit and the count. */
static void put_index(struct directory *d, size_t at, uint16_t limit, uint16_t count,
		      const struct directory_leaf *leaves, uint32_t step, uint32_t block)
{
	memcpy(d->block + at, &limit, 2);
	memcpy(d->block + at + 2, &count, 2);
	for (uint32_t i = 0; i < count; i++) {
		const uint32_t there = block + i;
		const uint32_t hash = leaves[(size_t)i * step].hash;

		if (i > 0)
			memcpy(d->block + at + (size_t)i * INDEX_ENTRY, &hash, 4);
		memcpy(d->block + at + (size_t)i * INDEX_ENTRY + 4, &there, 4);
	}
}

static int write_root(struct directory *d, uint32_t nodes)
{
	memset(d->block, 0, sizeof(d->block));
	put_dots(d, EXT4_BLOCK_SIZE - DOT_SIZE);
	d->block[28] = EXT2_HASH_HALF_MD4;
	d->block[29] = 8; /* the size of this head */
	d->block[30] = nodes > 0 ? 1 : 0;
	put_index(d, ROOT_AT, ROOT_LIMIT, (uint16_t)(nodes > 0 ? nodes : d->leaf_count), d->leaves,
		  nodes > 0 ? NODE_LIMIT : 1, 1);
	return add_block(d);
}

static int write_nodes(struct directory *d, uint32_t nodes)
{
	const uint16_t size = EXT4_BLOCK_SIZE;
	int r = 0;

	for (uint32_t i = 0; i < nodes && r == 0; i++) {
		uint32_t first = i * NODE_LIMIT;
		uint32_t count = MIN(d->leaf_count - first, (uint32_t)NODE_LIMIT);

		memset(d->block, 0, sizeof(d->block));
		memcpy(d->block + 4, &size, 2);
		put_index(d, NODE_AT, NODE_LIMIT, (uint16_t)count, d->leaves + first, 1,
			  1 + nodes + first);
		r = add_block(d);
	}
	return r;
}

static int write_leaves(struct directory *d)
{
	int r = 0;

	for (uint32_t i = 0; i < d->leaf_count && r == 0; i++) {
		memset(d->block, 0, sizeof(d->block));
		r = add_list(d, d->leaves[i].first, d->leaves[i + 1].first - d->leaves[i].first, 0,
			     0);
	}
	return r;
}

static int write_tree(struct directory *d, size_t records_size)
{
	uint32_t nodes;
	int r;

	/* A leaf is left only for a name that does not fit: all but the last are filled so far. */
	d->leaves = calloc(records_size / (LIST_ROOM - record_size(UINT8_MAX)) + 3,
			   sizeof(struct directory_leaf));
	if (!d->leaves)
		return -ENOMEM;
	r = hash_names(d);
	if (r < 0)
		return r;
	qsort(d->names, d->name_count, sizeof(struct directory_name), compare_names);
	divide(d);
	nodes = d->leaf_count > ROOT_LIMIT ? (d->leaf_count + NODE_LIMIT - 1) / NODE_LIMIT : 0;
	if (nodes > ROOT_LIMIT)
		return problem_refuse(
			d->writer->problem, "bad-layer",
			"a directory has %u names: an ext4 directory's index does not "
			"hold so many",
			d->name_count);
	r = write_root(d, nodes);
	if (r == 0)
		r = write_nodes(d, nodes);
	return r == 0 ? write_leaves(d) : r;
}

int writer_directory(struct writer *w, struct tree_node *node)
{
	CLEANUP(directory_done) struct directory d = {.writer = w, .node = node};
	size_t records_size = 0;
	int r;

	for (const struct tree_node *child = node->first; child; child = child->next) {
		d.name_count += tree_is_there(child);
		records_size += tree_is_there(child) ? record_size(child->name_size) : 0;
	}
	d.names = calloc(d.name_count + 1UL, sizeof(struct directory_name));
	if (!d.names)
		return -ENOMEM;
	d.name_count = 0;
	for (const struct tree_node *child = node->first; child; child = child->next) {
		if (tree_is_there(child))
			d.names[d.name_count++].node = child;
	}
	r = records_size + 2UL * DOT_SIZE <= LIST_ROOM ? write_list(&d)
						       : write_tree(&d, records_size);
	node->inode->size = (uint64_t)d.blocks * EXT4_BLOCK_SIZE;
	return r;
}
