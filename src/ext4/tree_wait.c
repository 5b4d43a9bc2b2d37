/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Hard links to files that only a layer below has, or that their own layer has but a layer above
 * replaced, so that their content was passed over. They wait, by the path of their target, until it
 * comes. They are rare.
 */

#include <errno.h>
#include <string.h>

#include "ext4/tree_private.h"

static struct tree_wait **bucket_of(struct tree *tree, const char *path)
{
	uint64_t hash = 0;

	(void)crypto_shorthash((uint8_t *)&hash, (const uint8_t *)path, strlen(path), tree->key);
	return &tree->waits[hash % TREE_WAIT_BUCKETS];
}

int tree_wait_add(struct tree *tree, struct tree_node *node, uint16_t layer, const char *path)
{
	struct tree_wait **bucket = bucket_of(tree, path);
	size_t size = strlen(path) + 1;
	struct tree_wait *wait = malloc(sizeof(*wait) + size);

	if (!wait)
		return -ENOMEM;
	wait->node = node;
	wait->layer = layer;
	wait->node_layer = node->layer;
	memcpy(wait->path, path, size);
	wait->next = *bucket;
	*bucket = wait;
	tree->wait_count++;
	tree->waiting[layer]++;
	tree->bytes += sizeof(*wait) + size;
	return 0;
}

struct tree_wait *tree_wait_take(struct tree *tree, const char *path, uint16_t lowest)
{
	struct tree_wait *taken = NULL;
	struct tree_wait **place;

	if (tree->wait_count == 0)
		return NULL;
	place = bucket_of(tree, path);
	while (*place) {
		struct tree_wait *wait = *place;

		tree->work++;
		if (wait->layer < lowest || strcmp(wait->path, path) != 0) {
			place = &wait->next;
			continue;
		}
		*place = wait->next;
		wait->next = taken;
		taken = wait;
		tree->wait_count--;
		tree->waiting[wait->layer]--;
	}
	return taken;
}

bool tree_is_waiting(const struct tree *tree, uint16_t layer)
{
	return tree->waiting[layer] > 0;
}

bool tree_wait_is_open(const struct tree_wait *wait)
{
	return wait->node->layer == wait->node_layer && wait->node->inode == NULL;
}

int tree_wait_move(struct tree *tree, const struct tree_node *from, struct tree_node *to,
		   struct problem *problem)
{
	for (size_t i = 0; i < TREE_WAIT_BUCKETS && tree->wait_count > 0; i++) {
		for (struct tree_wait *wait = tree->waits[i]; wait; wait = wait->next) {
			int r = tree_work(tree, problem);

			if (r != 0)
				return r;
			if (wait->node == from)
				wait->node = to;
		}
	}
	return 0;
}

void tree_wait_done(struct tree *tree)
{
	for (size_t i = 0; i < TREE_WAIT_BUCKETS; i++) {
		while (tree->waits[i]) {
			struct tree_wait *wait = tree->waits[i];

			tree->waits[i] = wait->next;
			free(wait);
		}
	}
}
