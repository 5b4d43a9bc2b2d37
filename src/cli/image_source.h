/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>

#include "base/cleanup.h"
#include "cli/transfer.h"
#include "ext4/writer.h"
#include "oci/source.h"

#define IMAGE_SOURCES_MAX 256U
#define IMAGE_LAYERS_MAX  2048U

/* The layers of what the command line names, lowest first, and what keeps them. */
struct image_source {
	struct ext4_layer layers[IMAGE_LAYERS_MAX];
	size_t layer_count;
	struct oci_source images[IMAGE_SOURCES_MAX]; /* which own the descriptors of their layers */
	size_t image_count;
	int fds[IMAGE_SOURCES_MAX]; /* of trees and archives */
	size_t fd_count;
};

/*
 * Adds a tree or a tar archive that *where* is the path of; else an image: a directory with
 * oci-layout, oci:DIR, oci-archive:FILE, or what a registry has. *where* must last. COMMAND_DONE,
 * or an exit code after a line on stderr.
 */
must_check int image_source_add(struct image_source *source, const char *where,
				struct transfer *transfer);

/* Adds a layer of *fd*, which is the source's from here on. 0; -errno. */
must_check int image_source_add_layer(struct image_source *source, const struct ext4_layer *layer);

void image_source_done(struct image_source *source);
