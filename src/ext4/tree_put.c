/* SPDX-License-Identifier: Apache-2.0 */

/*
 * OCI's rules, from the uppermost layer down, so that content which a layer above hides is never
 * written. A name belongs to the first layer that has it; what came later says nothing, except that
 * directories are one over all layers, with the attributes of the uppermost. *Floors* carry what
 * hides: layers below a node's floor say nothing about it, those below its inner floor nothing
 * about what is in it. A whiteout raises both, an opaque whiteout the inner one, and what is no
 * directory raises both as well: below it there is nothing. A whiteout concerns layers below its
 * own and never its own, wherever in the layer it stands. Within a layer the later of two entries
 * of one name counts.
 */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/path.h"
#include "base/str.h"
#include "ext4/tree_private.h"

#define WHITEOUT        ".wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"
#define WHITEOUT_OTHER  ".wh..wh."

struct put {
	struct tree *tree;
	const struct layer_reader *reader;
	const struct layer_entry *entry;
	uint16_t layer;
	struct problem *problem;
};

static void raise_floors(struct tree_node *node, uint16_t layer)
{
	tree_raise(&node->floor, layer);
	tree_raise(&node->floor_inside, layer);
}

/* The next node in the tree below *top*, or NULL. */
static struct tree_node *next_below(struct tree_node *node, const struct tree_node *top)
{
	if (node->first)
		return node->first;
	while (node != top && !node->next)
		node = node->parent;
	return node == top ? NULL : node->next;
}

/* What layers above have below a directory. */
struct above {
	bool is_something;
	bool is_hidden; /* or a whiteout */
};

static void forget_one(const struct put *put, struct tree_node *node)
{
	if (node->layer == put->layer) {
		node->layer = 0;
		node->inode = NULL;
	}
	if (node->inside == put->layer)
		node->inside = 0;
	if (node->floor == put->layer)
		node->floor = 0;
	if (node->floor_inside == put->layer)
		node->floor_inside = 0;
}

/* Forgets what *put*'s layer has below *top*; what is left is of layers above. */
static int forget_below(const struct put *put, struct tree_node *top, struct above *ret)
{
	if (top->inside == put->layer)
		top->inside = 0;
	ret->is_something = top->inside != 0;
	ret->is_hidden = top->floor_inside > put->layer;
	for (struct tree_node *node = next_below(top, top); node; node = next_below(node, top)) {
		int r = tree_work(put->tree, put->problem);

		if (r != 0)
			return r;
		forget_one(put, node);
		ret->is_something |= node->layer != 0 || node->inside != 0;
		ret->is_hidden |= node->floor != 0 || node->floor_inside != 0;
	}
	return 0;
}

/* The node of *path* as the layer sees it; NULL where a layer above hides it. *directory_size* is
 * that of the path before its last name. */
static int find_place(const struct put *put, const char *path, uint16_t implies,
		      struct tree_node **ret)
{
	const char *name = path_last_name(path);
	struct tree_walk walk = {.tree = put->tree,
				 .reader = put->reader,
				 .layer = put->layer,
				 .implies = implies,
				 .at = put->tree->root};
	int r = tree_walk_to(&walk, path, (size_t)(name - path), put->problem);

	*ret = NULL;
	if (r != 0 || walk.is_hidden)
		return r;
	if (*name == '\0') {
		*ret = put->tree->root;
		return 0;
	}
	if (put->layer < walk.at->floor_inside)
		return 0;
	r = tree_have(put->tree, walk.at, name, strlen(name), ret, put->problem);
	if (r == 0 && put->layer < (*ret)->floor)
		*ret = NULL;
	return r;
}

/* A hard link's target within its layer, or whatever comes later. */
static int link_node(const struct put *put, struct tree_node *node)
{
	struct tree_node *target = NULL;
	int r = find_place(put, put->entry->target, 0, &target);

	if (r != 0)
		return r;
	if (target == node || (target && target->layer == put->layer && target->inode &&
			       S_ISDIR(target->inode->mode)))
		return layer_reader_refuse(put->reader, put->entry->path, put->problem,
					   "is a hard link to a directory or to itself: expected a "
					   "file");
	if (target && target->layer == put->layer && target->inode) {
		node->inode = target->inode;
		return 0;
	}
	node->inode = NULL;
	return tree_wait_add(put->tree, node, put->layer, put->entry->target);
}

static int define(const struct put *put, struct tree_node *node, struct tree_inode **ret_inode)
{
	int r = 0;

	if (!S_ISDIR(put->entry->mode))
		raise_floors(node, put->layer);
	node->layer = put->layer;
	if (put->entry->mode == 0)
		return link_node(put, node);
	r = tree_inode_new(put->tree, put->entry, &node->inode);
	if (r == 0)
		*ret_inode = node->inode;
	return r;
}

/* Something that is no directory comes where there is one: *ret_is_kept*, the directory stays. */
static int replace_directory(const struct put *put, struct tree_node *node, bool *ret_is_kept)
{
	struct above above = {0};
	bool is_blocked = false;
	bool is_link = S_ISLNK(put->entry->mode) && node->layer == 0;
	int r = forget_below(put, node, &above);

	if (r == 0 && is_link && (above.is_something || above.is_hidden)) {
		r = tree_graft(put->tree, put->reader, node, put->entry, &is_blocked, put->problem);
		above.is_something &= is_blocked;
	}
	*ret_is_kept = node->layer > put->layer || above.is_something;
	if (r != 0 || !*ret_is_kept)
		return r;
	raise_floors(node, put->layer);
	/* What this layer said of it before counts no more: layers above have something in it. */
	if (node->layer == put->layer) {
		node->layer = 0;
		node->inode = NULL;
	}
	return 0;
}

static int put_at(const struct put *put, struct tree_node *node, struct tree_inode **ret_inode)
{
	bool is_kept = false;
	int r = 0;

	if (S_ISDIR(put->entry->mode) && node->inode && S_ISDIR(node->inode->mode))
		return node->layer > put->layer
			       ? 0
			       : tree_inode_set(put->tree, node->inode, put->entry);
	if (!S_ISDIR(put->entry->mode) && tree_is_directory(node))
		r = replace_directory(put, node, &is_kept);
	return r != 0 || is_kept ? r : define(put, node, ret_inode);
}

static int put_whiteout(const struct put *put, const char *name)
{
	size_t directory_size = (size_t)(name - put->entry->path);
	struct tree_walk walk = {.tree = put->tree,
				 .reader = put->reader,
				 .layer = put->layer,
				 .at = put->tree->root,
				 .passes_files = true};
	struct tree_node *node = NULL;
	int r = tree_walk_to(&walk, put->entry->path, directory_size, put->problem);

	if (r != 0 || walk.is_hidden)
		return r;
	if (strcmp(name, WHITEOUT_OPAQUE) == 0) {
		tree_raise(&walk.at->floor_inside, put->layer);
		return 0;
	}
	/* What the file system AUFS noted for itself. */
	if (str_starts_with(name, WHITEOUT_OTHER))
		return 0;
	name += strlen(WHITEOUT);
	if (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return layer_reader_refuse(put->reader, put->entry->path, put->problem,
					   "is a whiteout of no name");
	r = tree_have(put->tree, walk.at, name, strlen(name), &node, put->problem);
	if (r == 0)
		raise_floors(node, put->layer);
	return r;
}

static struct tree_wait *free_wait(struct tree_wait *wait)
{
	struct tree_wait *next = wait->next;

	free(wait);
	return next;
}

/* The entry is a hard link itself: its target is what they wait for now. */
static int wait_on(const struct put *put, struct tree_wait *waits)
{
	struct tree_node *target = NULL;
	int r = find_place(put, put->entry->target, 0, &target);

	if (target && (target->layer != put->layer || tree_is_directory(target)))
		target = NULL;
	for (; waits; waits = free_wait(waits)) {
		if (r == 0 && tree_wait_is_open(waits)) {
			if (target && target->inode)
				waits->node->inode = target->inode;
			else
				r = tree_wait_add(put->tree, waits->node, put->layer,
						  put->entry->target);
		}
	}
	return r;
}

/* Those that wait get *inode*, or a new one, whose content is then wanted. */
static int serve_waits(const struct put *put, struct tree_wait *waits, struct tree_inode **inode)
{
	int r = 0;

	if (!waits)
		return 0;
	if (put->entry->mode == 0)
		return wait_on(put, waits);
	if (S_ISDIR(put->entry->mode))
		r = layer_reader_refuse(put->reader, put->entry->path, put->problem,
					"is a directory, but a hard link of a layer above leads to "
					"it: expected a file");
	else if (!*inode)
		r = tree_inode_new(put->tree, put->entry, inode);
	for (; waits; waits = free_wait(waits)) {
		if (r == 0 && tree_wait_is_open(waits))
			waits->node->inode = *inode;
	}
	return r;
}

int tree_put(struct tree *tree, const struct layer_reader *reader, const struct layer_entry *entry,
	     uint16_t layer, struct tree_inode **ret_inode, struct problem *reterr_problem)
{
	const struct put put = {tree, reader, entry, layer, reterr_problem};
	const char *name = path_last_name(entry->path);
	struct tree_node *node = NULL;
	int r = tree_check_limits(tree, reterr_problem);

	*ret_inode = NULL;
	if (r != 0)
		return r;
	if (str_starts_with(name, WHITEOUT))
		return put_whiteout(&put, name);
	if (*name == '\0' && !S_ISDIR(entry->mode))
		return layer_reader_refuse(reader, "/", reterr_problem,
					   "is no directory: expected the image's root");
	r = find_place(&put, entry->path, layer, &node);
	if (r == 0 && node)
		r = put_at(&put, node, ret_inode);
	if (r != 0)
		return r;
	return serve_waits(&put, tree_wait_take(tree, entry->path, (uint16_t)(layer + 1)),
			   ret_inode);
}

int tree_put_again(struct tree *tree, const struct layer_reader *reader,
		   const struct layer_entry *entry, uint16_t layer, struct tree_inode **ret_inode,
		   struct problem *reterr_problem)
{
	const struct put put = {tree, reader, entry, layer, reterr_problem};

	int r = tree_check_limits(tree, reterr_problem);

	*ret_inode = NULL;
	return r != 0 ? r : serve_waits(&put, tree_wait_take(tree, entry->path, layer), ret_inode);
}
