/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The way along a path that a layer names. Directories on it that no layer has told of yet are
 * made as bare names: a layer below may say what they are. Symbolic links are followed where the
 * layer itself (or, in a graft, any) has them, and lead nowhere but within the image.
 */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/path.h"
#include "ext4/tree_private.h"

#define LINKS_MAX 40U

struct way {
	unsigned links;
	size_t size;
	size_t at;
	char path[2 * (LAYER_PATH_MAX + 1)];
};

/* Puts a link's target in front of what is left of the way. */
static int follow(struct tree_walk *walk, struct way *way, const struct tree_node *link,
		  struct problem *problem)
{
	const char *target = link->inode->target;
	size_t length = strlen(target);
	size_t rest = way->size - way->at;

	if (++way->links > LINKS_MAX || length + 1 + rest > sizeof(way->path))
		return layer_reader_refuse(walk->reader, link->name, problem,
					   "is a symbolic link that leads through more than %u "
					   "others: expected no loops",
					   LINKS_MAX);
	memmove(way->path + length + 1, way->path + way->at, rest);
	memcpy(way->path, target, length);
	way->path[length] = '/';
	way->size = length + 1 + rest;
	way->at = 0;
	if (target[0] == '/')
		walk->at = walk->tree->root;
	return 0;
}

static int step_into(struct tree_walk *walk, struct way *way, struct tree_node *node,
		     struct problem *problem)
{
	if (walk->layer < node->floor) {
		walk->is_hidden = true;
		return 0;
	}
	if (tree_is_directory(node)) {
		tree_raise(&node->inside, walk->implies);
		walk->at = node;
		return 0;
	}
	if (node->inode && S_ISLNK(node->inode->mode))
		return follow(walk, way, node, problem);
	walk->is_hidden = walk->passes_files;
	if (walk->passes_files)
		return 0;
	if (walk->layer == UINT16_MAX) {
		walk->is_blocked = true;
		return 0;
	}
	return layer_reader_refuse(walk->reader, node->name, problem,
				   "is no directory, but the layer has something below it");
}

int tree_walk_to(struct tree_walk *walk, const char *path, size_t size, struct problem *problem)
{
	struct way way = {.size = size};
	int r = 0;

	memcpy(way.path, path, size);
	while (way.at < way.size && r == 0 && !walk->is_hidden && !walk->is_blocked) {
		const char *name = way.path + way.at;
		const char *end = memchr(name, '/', way.size - way.at);
		size_t length = end ? (size_t)(end - name) : way.size - way.at;
		struct tree_node *node = NULL;

		way.at += length + (end ? 1 : 0);
		if (length == 0 || (length == 1 && name[0] == '.'))
			continue;
		if (length == 2 && name[0] == '.' && name[1] == '.') {
			walk->at = walk->at->parent;
			continue;
		}
		if (length > UINT8_MAX)
			return layer_reader_refuse(walk->reader, path, problem,
						   "leads through a name of more than 255 bytes");
		if (walk->layer < walk->at->floor_inside) {
			walk->is_hidden = true;
			return 0;
		}
		r = tree_have(walk->tree, walk->at, name, length, &node, problem);
		if (r == 0)
			r = step_into(walk, &way, node, problem);
	}
	return r;
}

int tree_look_up(struct tree *tree, const char *path, const struct tree_inode **ret,
		 struct problem *reterr_problem)
{
	struct tree_walk walk = {.tree = tree, .layer = UINT16_MAX, .at = tree->root};
	const char *name = path_last_name(path);
	const struct tree_node *node = NULL;
	int r = tree_walk_to(&walk, path, (size_t)(name - path), reterr_problem);

	if (r == 0 && !walk.is_blocked)
		node = tree_find(tree, walk.at, name, strlen(name));
	*ret = node ? node->inode : NULL;
	return r;
}
