/* SPDX-License-Identifier: Apache-2.0 */

/* The end of the tree: what is in it, how many names each inode has, and their numbers. */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "ext4/tree_private.h"

#define LINKS_MAX 65000U /* the kernel's; of directories there may be more, ext4 then says 1 */
#define SHOWN_MAX 200U

/* Names come at the front of their directory's list: now the first that a layer had comes first. */
static void reverse_children(struct tree_node *directory)
{
	struct tree_node *reversed = NULL;

	while (directory->first) {
		struct tree_node *child = directory->first;

		directory->first = child->next;
		child->next = reversed;
		reversed = child;
	}
	directory->first = reversed;
}

/* A directory of which no layer said anything but what is in it. */
static int make_directories(struct tree *tree, struct tree_node *node)
{
	static const struct layer_entry unknown = {.mode = S_IFDIR | 0755};

	for (; !node->inode; node = node->parent) {
		int r = tree_inode_new(tree, &unknown, &node->inode);

		if (r < 0)
			return r;
	}
	return 0;
}

/* The next node, also of those that are not there; *enters*: what is below the node too. */
static struct tree_node *next_node(struct tree_node *node, bool enters)
{
	if (enters && node->first)
		return node->first;
	while (node->parent != node && !node->next)
		node = node->parent;
	return node->parent == node ? NULL : node->next;
}

struct tree_node *tree_next(struct tree_node *node)
{
	do {
		node = next_node(node, tree_is_there(node) && tree_is_directory(node));
	} while (node && !tree_is_there(node));
	return node;
}

static int refuse_dangling(struct tree_node *node, struct problem *problem)
{
	cleanup_free char *shown = str_escape(node->name, node->name_size, SHOWN_MAX);

	if (!shown)
		return -ENOMEM;
	return problem_refuse(problem, "bad-layer",
			      "'%s' is a hard link to something that no layer has: build the image "
			      "anew",
			      shown);
}

static int complete(struct tree *tree, struct problem *problem)
{
	int r = make_directories(tree, tree->root);

	for (struct tree_node *node = tree->root; node && r == 0;
	     node = next_node(node, tree_is_directory(node))) {
		if (tree_is_directory(node))
			reverse_children(node);
		if (node->inode || node->inside > 0)
			r = make_directories(tree, node->inode ? node->parent : node);
		else if (node->layer != 0)
			r = refuse_dangling(node, problem);
	}
	return r;
}

static int count_link(struct tree_node *node, struct problem *problem)
{
	if (tree_is_directory(node)) {
		node->inode->links += 2;
		if (node->parent != node)
			node->parent->inode->links++;
		return 0;
	}
	if (++node->inode->links <= LINKS_MAX)
		return 0;
	return problem_refuse(problem, "bad-layer",
			      "a file has more than %u hard links: ext4 can have no more",
			      LINKS_MAX);
}

/* e2fsck would miss it. */
static int have_lost_and_found(struct tree *tree, struct problem *problem)
{
	static const struct layer_entry entry = {.mode = S_IFDIR | 0700};
	struct tree_node *node = NULL;
	int r = tree_have(tree, tree->root, "lost+found", strlen("lost+found"), &node, problem);

	if (r != 0 || node->layer != 0)
		return r;
	node->layer = 1;
	return tree_inode_new(tree, &entry, &node->inode);
}

int tree_finish(struct tree *tree, uint32_t first, uint32_t *ret_last,
		struct problem *reterr_problem)
{
	uint32_t number = first;
	int r = have_lost_and_found(tree, reterr_problem);

	if (r == 0)
		r = complete(tree, reterr_problem);
	for (struct tree_node *node = tree->root; node && r == 0; node = tree_next(node)) {
		if (node->inode->number == 0)
			node->inode->number = node == tree->root ? 2 : number++;
		r = count_link(node, reterr_problem);
	}
	*ret_last = number - 1;
	return r;
}
