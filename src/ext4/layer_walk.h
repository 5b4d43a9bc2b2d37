/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "ext4/layer_reader.h"

/* The tree of a directory, in the order of its names' bytes. */
struct layer_walk;

/* *layer* is borrowed. 0 or -errno. */
must_check int layer_walk_open(const struct ext4_layer *layer, struct layer_walk **ret);
struct layer_walk *layer_walk_close(struct layer_walk *walk);

/* Fills *entry*, whose xattrs have room for *xattrs_max*. What layer_reader_next() says. */
must_check int layer_walk_next(struct layer_walk *walk, struct layer_entry *entry,
			       size_t xattrs_max, bool *ret_is_end, struct problem *reterr_problem);

/* As layer_reader_content(). */
must_check int layer_walk_content(struct layer_walk *walk, const void **ret, size_t *ret_size,
				  uint64_t *ret_offset);
