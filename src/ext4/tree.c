/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The tree that an image will hold, in memory: a million files are to cost less than 200 MB. So
 * nodes and inodes are small, lie one behind the other in chunks that are given back together, and
 * nothing is ever taken out: what is replaced is forgotten where it lies. All names are in one hash
 * table, by directory and name.
 */

#include "ext4/tree.h"

#include <errno.h>
#include <stdalign.h>
#include <string.h>
#include <sys/stat.h>

#include "ext4/tree_private.h"

#define BUCKETS_FIRST 1024U
#define WORK_MAX      (1ULL << 28)

void *tree_allocate(struct tree *tree, size_t size, size_t alignment)
{
	struct tree_chunk *chunk = tree->chunks;
	size_t at = chunk ? (chunk->used + alignment - 1) / alignment * alignment : 0;

	if (!chunk || at > chunk->size || size > chunk->size - at) {
		size_t room = MAX(size, TREE_ARENA_CHUNK);

		chunk = malloc(sizeof(*chunk) + room);
		if (!chunk)
			return NULL;
		chunk->size = room;
		chunk->next = tree->chunks;
		tree->chunks = chunk;
		at = 0;
	}
	chunk->used = at + size;
	tree->bytes += size;
	return chunk->bytes + at;
}

static uint64_t hash_name(const struct tree *tree, const struct tree_node *directory,
			  const char *name, size_t size)
{
	uint8_t text[sizeof(uintptr_t) + UINT8_MAX];
	uint64_t hash = 0;
	const uintptr_t address = (uintptr_t)directory;

	memcpy(text, &address, sizeof(address));
	memcpy(text + sizeof(address), name, size);
	(void)crypto_shorthash((uint8_t *)&hash, text, sizeof(address) + size, tree->key);
	return hash;
}

static struct tree_node **bucket_of(struct tree *tree, const struct tree_node *directory,
				    const char *name, size_t size)
{
	return &tree->buckets[hash_name(tree, directory, name, size) & tree->bucket_mask];
}

struct tree_node *tree_find(struct tree *tree, const struct tree_node *directory, const char *name,
			    size_t size)
{
	struct tree_node *node = *bucket_of(tree, directory, name, size);

	while (node && (node->parent != directory || node->name_size != size ||
			memcmp(node->name, name, size) != 0))
		node = node->bucket_next;
	return node;
}

static int grow_buckets(struct tree *tree)
{
	uint64_t before = tree->bucket_mask + 1;
	struct tree_node **old = tree->buckets;
	struct tree_node **buckets = calloc(before * 2, sizeof(struct tree_node *));

	if (!buckets)
		return -ENOMEM;
	tree->buckets = buckets;
	tree->bucket_mask = before * 2 - 1;
	for (uint64_t i = 0; i < before; i++) {
		while (old[i]) {
			struct tree_node *node = old[i];
			struct tree_node **bucket =
				bucket_of(tree, node->parent, node->name, node->name_size);

			old[i] = node->bucket_next;
			node->bucket_next = *bucket;
			*bucket = node;
		}
	}
	free(old);
	return 0;
}

void tree_list(struct tree *tree, struct tree_node *node, struct tree_node *directory)
{
	struct tree_node **bucket = bucket_of(tree, directory, node->name, node->name_size);

	node->parent = directory;
	node->bucket_next = *bucket;
	*bucket = node;
	node->next = directory->first;
	directory->first = node;
}

void tree_unlist(struct tree *tree, struct tree_node *node)
{
	struct tree_node **place = bucket_of(tree, node->parent, node->name, node->name_size);

	while (*place != node)
		place = &(*place)->bucket_next;
	*place = node->bucket_next;
}

static struct tree_node *make_node(struct tree *tree, const char *name, size_t size)
{
	struct tree_node *node =
		tree_allocate(tree, sizeof(*node) + size + 1, alignof(struct tree_node));

	if (!node)
		return NULL;
	memset(node, 0, sizeof(*node));
	node->name_size = (uint8_t)size;
	memcpy(node->name, name, size);
	node->name[size] = '\0';
	return node;
}

int tree_have(struct tree *tree, struct tree_node *directory, const char *name, size_t size,
	      struct tree_node **ret, struct problem *problem)
{
	struct tree_node *node = tree_find(tree, directory, name, size);

	if (!node && tree->node_count >= TREE_NAMES_MAX)
		return problem_refuse(
			problem, "bad-layer",
			"the layers have more than %u names: expected a file system's",
			TREE_NAMES_MAX);
	if (!node && tree->node_count > tree->bucket_mask && grow_buckets(tree) < 0)
		return -ENOMEM;
	if (!node) {
		node = make_node(tree, name, size);
		if (!node)
			return -ENOMEM;
		tree_list(tree, node, directory);
		tree->node_count++;
	}
	*ret = node;
	return 0;
}

int tree_work(struct tree *tree, struct problem *problem)
{
	tree->work++;
	return tree_check_limits(tree, problem);
}

int tree_check_limits(const struct tree *tree, struct problem *problem)
{
	if (tree->work > WORK_MAX)
		return problem_refuse(
			problem, "bad-layer",
			"the layers replace directories, or link to what no layer has, "
			"so often that no end is in sight: expected an image that was "
			"built for use");
	if (tree->bytes > TREE_BYTES_MAX)
		return problem_refuse(problem, "bad-layer",
				      "the names and attributes in the layers take more than %llu "
				      "bytes: expected a file system's",
				      TREE_BYTES_MAX);
	return 0;
}

int tree_new(struct tree **ret)
{
	cleanup_tree struct tree *tree = calloc(1, sizeof(*tree));

	if (!tree)
		return -ENOMEM;
	randombytes_buf(tree->key, sizeof(tree->key));
	tree->buckets = calloc(BUCKETS_FIRST, sizeof(struct tree_node *));
	tree->bucket_mask = BUCKETS_FIRST - 1;
	if (!tree->buckets)
		return -ENOMEM;
	tree->root = make_node(tree, "", 0);
	if (!tree->root)
		return -ENOMEM;
	tree->root->parent = tree->root;
	*ret = TAKE_PTR(tree);
	return 0;
}

static int free_extents(void *context, struct tree_inode *inode)
{
	(void)context;
	if (S_ISREG(inode->mode) || S_ISDIR(inode->mode))
		free(inode->extents.items);
	return 0;
}

struct tree *tree_free(struct tree *tree)
{
	if (!tree)
		return NULL;
	ignore_result(tree_each_inode(tree, free_extents, NULL));
	tree_wait_done(tree);
	while (tree->inodes) {
		struct tree_inodes *inodes = tree->inodes;

		tree->inodes = inodes->next;
		free(inodes);
	}
	while (tree->chunks) {
		struct tree_chunk *chunk = tree->chunks;

		tree->chunks = chunk->next;
		free(chunk);
	}
	free(tree->buckets);
	free(tree);
	return NULL;
}

struct tree_node *tree_root(struct tree *tree)
{
	return tree->root;
}

uint64_t tree_inode_count(const struct tree *tree)
{
	return tree->inode_count;
}

bool tree_is_directory(const struct tree_node *node)
{
	return node->inode ? S_ISDIR(node->inode->mode) : node->layer == 0;
}

bool tree_is_there(const struct tree_node *node)
{
	return node->inode != NULL;
}

int tree_each_inode(struct tree *tree, int (*each)(void *context, struct tree_inode *),
		    void *context)
{
	for (struct tree_inodes *chunk = tree->inodes; chunk; chunk = chunk->next) {
		for (uint32_t i = 0; i < chunk->used; i++) {
			int r = each(context, &chunk->items[i]);

			if (r != 0)
				return r;
		}
	}
	return 0;
}
