/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <sodium.h>

#include "ext4/tree.h"

#define TREE_ARENA_CHUNK  (256UL * 1024)
#define TREE_INODE_CHUNK  1024U
#define TREE_WAIT_BUCKETS 1024U

/* Memory that is given back all at once. */
struct tree_chunk {
	struct tree_chunk *next;
	size_t used;
	size_t size;
	uint8_t bytes[];
};

struct tree_inodes {
	struct tree_inodes *next;
	uint32_t used;
	struct tree_inode items[TREE_INODE_CHUNK];
};

/* A hard link whose target no layer that was read so far has. */
struct tree_wait {
	struct tree_wait *next;
	struct tree_node *node;
	uint16_t layer;      /* the link's: only this one and those below have the target */
	uint16_t node_layer; /* that said what *node* is; another says so now: it waits no more */
	char path[];
};

struct tree {
	struct tree_node *root;
	struct tree_node **buckets;
	uint64_t bucket_mask;
	uint64_t node_count;
	uint64_t inode_count;
	uint64_t bytes; /* that all of it takes */
	uint64_t work;  /* steps that hostile layers could have done over and over */
	size_t wait_count;
	struct tree_wait *waits[TREE_WAIT_BUCKETS];
	uint32_t waiting[TREE_LAYERS_MAX + 2]; /* how many of each layer */
	struct tree_chunk *chunks;
	struct tree_inodes *inodes;
	uint8_t key[crypto_shorthash_KEYBYTES]; /* so that nobody can choose names that collide */
};

void *tree_allocate(struct tree *tree, size_t size, size_t alignment);
must_check int tree_inode_new(struct tree *tree, const struct layer_entry *entry,
			      struct tree_inode **ret);
/* Makes *inode* what the entry says; of a directory made before too. */
must_check int tree_inode_set(struct tree *tree, struct tree_inode *inode,
			      const struct layer_entry *entry);

struct tree_node *tree_find(struct tree *tree, const struct tree_node *directory, const char *name,
			    size_t size);
/* Finds or makes. 0; PROBLEM_E_REFUSED; -errno. */
must_check int tree_have(struct tree *tree, struct tree_node *directory, const char *name,
			 size_t size, struct tree_node **ret, struct problem *problem);
/* Takes the node out of the names, or puts it into those of *directory*, its list included. */
void tree_unlist(struct tree *tree, struct tree_node *node);
void tree_list(struct tree *tree, struct tree_node *node, struct tree_node *directory);
/* Counts a step against the budget. 0; PROBLEM_E_REFUSED. */
must_check int tree_work(struct tree *tree, struct problem *problem);
/* Whether time and memory are left for another entry. 0; PROBLEM_E_REFUSED. */
must_check int tree_check_limits(const struct tree *tree, struct problem *problem);

static inline void tree_raise(uint16_t *floor, uint16_t layer)
{
	if (*floor < layer)
		*floor = layer;
}

/* One look along a path (tree_walk.c). */
struct tree_walk {
	struct tree *tree;
	const struct layer_reader *reader;
	uint16_t layer; /* floors above it hide; UINT16_MAX: nothing does */
	uint16_t
		implies; /* this layer has something in every directory on the way; 0: it has not */
	struct tree_node *at;
	bool passes_files; /* what is below them is hidden, and no error */
	bool is_hidden;
	bool is_blocked; /* by what is no directory; only with UINT16_MAX */
};

/* From *walk->at* along *path*, making what is not there. 0; PROBLEM_E_REFUSED; -errno. */
must_check int tree_walk_to(struct tree_walk *walk, const char *path, size_t size,
			    struct problem *problem);

/* Moves what is in *from* to where the symbolic link that comes in its place leads (tree_graft.c).
 * *ret_is_kept*: it leads to no directory, and *from* stays one. */
must_check int tree_graft(struct tree *tree, const struct layer_reader *reader,
			  struct tree_node *from, const struct layer_entry *link, bool *ret_is_kept,
			  struct problem *problem);

/* Hard links that wait (tree_wait.c). */
must_check int tree_wait_add(struct tree *tree, struct tree_node *node, uint16_t layer,
			     const char *path);
/* Takes those out that wait for *path* in a layer from *lowest* up: a list. */
struct tree_wait *tree_wait_take(struct tree *tree, const char *path, uint16_t lowest);
/* Whether *wait*'s node still waits. */
bool tree_wait_is_open(const struct tree_wait *wait);
/* What waits for *from* to be told is *to* from now on. 0; PROBLEM_E_REFUSED. */
must_check int tree_wait_move(struct tree *tree, const struct tree_node *from, struct tree_node *to,
			      struct problem *problem);
void tree_wait_done(struct tree *tree);
