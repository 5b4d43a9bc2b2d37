/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/problem.h"
#include "ext4/layer_reader.h"

/* What the layers of an image come to. Layers are told lowest 1, and are put from the uppermost
 * down. */

#define TREE_LAYERS_MAX 4096U
#define TREE_NAMES_MAX  (32U << 20)
#define TREE_BYTES_MAX  (2ULL << 30) /* of memory, for all that the layers say */

/* *count* blocks of a file from *logical* on, which lie from *block* on. */
struct tree_extent {
	uint64_t block;
	uint32_t logical;
	uint32_t count;
};

struct tree_extents {
	struct tree_extent *items; /* or, for one or none, */
	struct tree_extent one;
	uint32_t count;
	uint32_t capacity;
};

/* One after another in memory: name, NUL, 4 bytes size, value. */
struct tree_xattrs {
	uint32_t count;
	uint32_t size;
	uint8_t bytes[];
};

/* An inode: made once, reached by one name or several. */
struct tree_inode {
	int64_t mtime;
	uint64_t size;

	union {
		struct tree_extents extents; /* of a regular file, of a directory at the end */

		struct {
			uint32_t rdev_major;
			uint32_t rdev_minor;
		};

		char *target; /* of a symbolic link */
	};
	const struct tree_xattrs *xattrs; /* or NULL */
	uint32_t uid;
	uint32_t gid;
	uint32_t mtime_ns;
	uint32_t links;  /* counted when all is known */
	uint32_t number; /* in the image, from then on */
	uint16_t mode;
	bool is_written;
	uint8_t edit; /* the number of the edit that made its content, from 1; 0: none */
};

/* A name in a directory. Without inode and layer it is nothing yet: a directory above something, or
 * what a whiteout said. */
struct tree_node {
	struct tree_node *parent; /* the root's is itself */
	struct tree_node *bucket_next;
	struct tree_node *next; /* in the directory */
	struct tree_node *first;
	struct tree_inode *inode; /* NULL too: a hard link that waits for its target */
	uint16_t layer;           /* that said what it is, 0: none yet */
	uint16_t floor;           /* layers below say nothing about it */
	uint16_t floor_inside;    /* nor, below this one, about what is in it */
	uint16_t inside;          /* the uppermost layer that has something in it */
	uint8_t name_size;
	char name[];
};

struct tree;

must_check int tree_new(struct tree **ret);
struct tree *tree_free(struct tree *tree);

DEFINE_CLEANUP(struct tree *, tree, tree_free)
#define cleanup_tree CLEANUP(cleanup_tree)

struct tree_node *tree_root(struct tree *tree);
uint64_t tree_inode_count(const struct tree *tree);

/*
 * Takes what *layer* says. *ret_inode*: the inode whose content is now wanted, or NULL; also where
 * a hard link of a layer above has waited for this path. The reader names the layer in sentences.
 * 0; PROBLEM_E_REFUSED; -errno.
 */
must_check int tree_put(struct tree *tree, const struct layer_reader *reader,
			const struct layer_entry *entry, uint16_t layer,
			struct tree_inode **ret_inode, struct problem *reterr_problem);

/* Whether hard links of *layer* itself have found nothing: then it is read again, by
 * tree_put_again() for each entry, which takes what they wait for and nothing else. */
bool tree_is_waiting(const struct tree *tree, uint16_t layer);
must_check int tree_put_again(struct tree *tree, const struct layer_reader *reader,
			      const struct layer_entry *entry, uint16_t layer,
			      struct tree_inode **ret_inode, struct problem *reterr_problem);

/* Adds lost+found where there is none, counts links and numbers the inodes, the root's being 2,
 * others from *first* on, directories before what is in them. 0; PROBLEM_E_REFUSED; -errno. */
must_check int tree_finish(struct tree *tree, uint32_t first, uint32_t *ret_last,
			   struct problem *reterr_problem);

/* The next in the order of tree_finish(), the root first; NULL behind the last. */
struct tree_node *tree_next(struct tree_node *node);

/* What *path* leads to in the result, through symbolic links but the last; NULL: nothing. 0;
 * PROBLEM_E_REFUSED; -errno. */
must_check int tree_look_up(struct tree *tree, const char *path, const struct tree_inode **ret,
			    struct problem *reterr_problem);

/* Whether the node is in the result. */
bool tree_is_there(const struct tree_node *node);
bool tree_is_directory(const struct tree_node *node);

/* Calls *each* for every inode that was made, also those that no name leads to. */
must_check int tree_each_inode(struct tree *tree, int (*each)(void *context, struct tree_inode *),
			       void *context);

/* 0 or -ENOMEM. */
must_check int tree_extent_add(struct tree_extents *extents, uint64_t block, uint32_t logical,
			       uint32_t count);
const struct tree_extent *tree_extent_items(const struct tree_extents *extents);
