/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A layer wrote lib/x, and a layer below it turns out to have lib as a link to usr/lib: what the
 * upper one wrote is usr/lib/x, as it would be for anybody who unpacks one layer over the other. So
 * what is already in lib moves to where the link leads, name by name, without recursion.
 */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "ext4/tree_private.h"

/* Of two that have the same name the upper layer's stays; in *to*. */
static int unite(struct tree *tree, struct tree_node *to, struct tree_node *from,
		 struct problem *problem)
{
	int r = 0;

	if (from->layer > to->layer) {
		/* A hard link whose target is still to come. */
		if (!from->inode)
			r = tree_wait_move(tree, from, to, problem);
		to->layer = from->layer;
		to->inode = from->inode;
	}
	tree_raise(&to->floor, from->floor);
	tree_raise(&to->floor_inside, from->floor_inside);
	tree_raise(&to->inside, from->inside);
	from->layer = 0;
	from->inode = NULL;
	return r;
}

/* The list of what is still to be moved goes through *bucket_next* of nodes that are in no bucket
 * any more; where each goes is its *parent*. */
static int move_children(struct tree *tree, struct tree_node *from, struct tree_node *to,
			 struct tree_node **todo, struct problem *problem)
{
	struct tree_node *child = from->first;

	from->first = NULL;
	while (child) {
		struct tree_node *next = child->next;
		struct tree_node *there = tree_find(tree, to, child->name, child->name_size);
		int r = tree_work(tree, problem);

		if (r != 0)
			return r;
		tree_unlist(tree, child);
		if (there) {
			r = unite(tree, there, child, problem);
			if (r != 0)
				return r;
			child->parent = there;
			child->bucket_next = *todo;
			*todo = child;
		} else {
			tree_list(tree, child, to);
		}
		child = next;
	}
	return 0;
}

int tree_graft(struct tree *tree, const struct layer_reader *reader, struct tree_node *from,
	       const struct layer_entry *link, bool *ret_is_kept, struct problem *problem)
{
	struct tree_walk walk = {.tree = tree,
				 .reader = reader,
				 .layer = UINT16_MAX,
				 .implies = from->inside,
				 .at = link->target[0] == '/' ? tree->root : from->parent};
	struct tree_node *todo = NULL;
	int r = tree_walk_to(&walk, link->target, strlen(link->target), problem);

	if (r != 0)
		return r;
	*ret_is_kept = walk.is_blocked;
	if (walk.is_blocked)
		return 0;
	for (const struct tree_node *node = walk.at; node != tree->root; node = node->parent) {
		if (node == from)
			return layer_reader_refuse(reader, link->path, problem,
						   "is a symbolic link to what would be below it: "
						   "expected no loops");
	}
	/* The root is above all: nothing is below itself. */
	if (from == tree->root)
		return 0;
	tree_raise(&walk.at->floor_inside, from->floor_inside);
	r = move_children(tree, from, walk.at, &todo, problem);
	while (todo && r == 0) {
		struct tree_node *node = todo;

		todo = node->bucket_next;
		r = move_children(tree, node, node->parent, &todo, problem);
	}
	return r;
}
