/* SPDX-License-Identifier: Apache-2.0 */

/*
 * From layers to an image. The layers are read once each, from the uppermost down, and what is in
 * the result goes into the image as it comes; names, attributes and the places of content stay in
 * memory until all layers are read. Then come directories and inodes, in one go each.
 *
 * Two things need more than one look. What fits is known only when all was seen: without a size the
 * layers are read twice, the first time for counting. And a layer whose own hard links lead to
 * content that was passed over, because a layer above has another file there, is read again.
 */

#include "ext4/writer.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "ext4/writer_private.h"

#define EDIT_SIZE_MAX   (16UL << 20)
#define EDITS_MAX       (size_t) UINT8_MAX
#define FIRST_INODE     11U
#define BYTES_PER_INODE 8192U

static void writer_done(struct writer *w)
{
	if (w->fs)
		ext2fs_free(w->fs);
	(void)tree_free(w->tree);
	free(w);
}

static void cleanup_writer_ptr(struct writer **w)
{
	if (*w)
		writer_done(*w);
}

#define cleanup_writer CLEANUP(cleanup_writer_ptr)

static const struct ext4_edit *find_edit(const struct writer *w, const struct layer_entry *entry)
{
	for (size_t i = 0; i < w->options->edit_count; i++) {
		if (strcmp(w->options->edits[i].path, entry->path) == 0)
			return &w->options->edits[i];
	}
	return NULL;
}

static int add_new_content(struct writer *w, const struct ext4_edit *edit, const char *old,
			   size_t old_size, struct tree_inode *inode)
{
	cleanup_free char *content = NULL;
	size_t size = 0;
	int r = edit->edit(edit->context, old, old_size, &content, &size, w->problem);

	if (r != 0)
		return r;
	inode->size = size;
	inode->edit = (uint8_t)(edit - w->options->edits + 1);
	r = writer_content_add(w, inode, content, size, 0);
	return r == 0 ? writer_content_end(w, inode) : r;
}

/* A file that is changed on its way: small, and read whole. */
static int edit_content(struct writer *w, struct layer_reader *reader, const struct ext4_edit *edit,
			struct tree_inode *inode)
{
	cleanup_buffer struct buffer old = BUFFER_INIT;
	const void *piece = NULL;
	size_t size = 0;
	uint64_t offset = 0;
	int r;

	for (;;) {
		r = layer_reader_content(reader, &piece, &size, &offset, w->problem);
		if (r != 0 || size == 0)
			break;
		if (offset != old.size || size > EDIT_SIZE_MAX - old.size)
			return layer_reader_refuse(reader, edit->path, w->problem,
						   "is to be changed: expected a file of less than "
						   "16 MiB without holes");
		r = buffer_add(&old, piece, size);
		if (r < 0)
			break;
	}
	return r != 0 ? r : add_new_content(w, edit, old.data ? old.data : "", old.size, inode);
}

static int copy_content(struct writer *w, struct layer_reader *reader,
			const struct layer_entry *entry, struct tree_inode *inode)
{
	const struct ext4_edit *edit = find_edit(w, entry);
	const void *piece = NULL;
	size_t size = 0;
	uint64_t offset = 0;
	int r;

	if (edit)
		return edit_content(w, reader, edit, inode);
	for (;;) {
		r = layer_reader_content(reader, &piece, &size, &offset, w->problem);
		if (r != 0 || size == 0)
			break;
		r = writer_content_add(w, inode, piece, size, offset);
		if (r != 0)
			break;
	}
	return r != 0 ? r : writer_content_end(w, inode);
}

static int check_inodes(const struct writer *w)
{
	uint64_t room;

	if (!w->fs)
		return 0;
	room = w->fs->super->s_inodes_count - FIRST_INODE;
	/* Some may be replaced and not count in the end: then it is seen there. */
	return tree_inode_count(w->tree) / 2 > room ? writer_too_small(w, "inodes") : 0;
}

static int read_layer(struct writer *w, const struct ext4_layer *layer, uint16_t number,
		      bool is_again)
{
	cleanup_layer_reader struct layer_reader *reader = NULL;
	const struct layer_entry *entry = NULL;
	int r = layer_reader_open(layer, &reader, w->problem);

	while (r == 0) {
		struct tree_inode *inode = NULL;

		r = layer_reader_next(reader, &entry, w->problem);
		if (r != 0 || !entry)
			break;
		r = is_again ? tree_put_again(w->tree, reader, entry, number, &inode, w->problem)
			     : tree_put(w->tree, reader, entry, number, &inode, w->problem);
		if (r == 0 && inode && S_ISREG(inode->mode))
			r = copy_content(w, reader, entry, inode);
		if (r == 0)
			r = check_inodes(w);
	}
	return r;
}

/* Files that are to be changed and that no layer has. */
static int add_missing(struct writer *w)
{
	int r = 0;

	for (size_t i = 0; i < w->options->edit_count && r == 0; i++) {
		const struct ext4_edit *edit = &w->options->edits[i];
		cleanup_free struct layer_entry *entry = calloc(1, sizeof(*entry));
		struct tree_inode *inode = NULL;

		if (!entry)
			return -ENOMEM;
		(void)snprintf(entry->path, sizeof(entry->path), "%s", edit->path);
		entry->mode = S_IFREG | edit->mode;
		/* As if a layer below all others had it: there, and taken only if nobody has. */
		r = tree_put(w->tree, NULL, entry, 1, &inode, w->problem);
		if (r == 0 && inode)
			r = add_new_content(w, edit, NULL, 0, inode);
	}
	return r;
}

static int read_layers(struct writer *w, const struct ext4_layer *layers, size_t count)
{
	int r = tree_new(&w->tree);

	/* Number 1 is below all layers. */
	for (size_t i = count; i > 0 && r == 0; i--) {
		uint16_t number = (uint16_t)(i + 1);

		r = read_layer(w, &layers[i - 1], number, false);
		if (r == 0 && tree_is_waiting(w->tree, number))
			r = read_layer(w, &layers[i - 1], number, true);
	}
	return r == 0 ? add_missing(w) : r;
}

static int write_directories(struct writer *w)
{
	int r = 0;

	for (struct tree_node *node = tree_root(w->tree); node && r == 0; node = tree_next(node)) {
		if (tree_is_directory(node))
			r = writer_directory(w, node);
		if (r == 0 && !w->fs && !node->inode->is_written) {
			node->inode->is_written = true;
			w->need.blocks += writer_inode_need(node->inode);
			w->need.inodes++;
		}
	}
	return r;
}

/* Content that was written before a later entry of its layer replaced it. */
static int free_lost(void *context, struct tree_inode *inode)
{
	struct writer *w = context;

	if (inode->number != 0 || !S_ISREG(inode->mode))
		return 0;
	for (uint32_t i = 0; i < inode->extents.count; i++) {
		const struct tree_extent *extent = &tree_extent_items(&inode->extents)[i];

		ext2fs_block_alloc_stats_range(w->fs, extent->block, extent->count, -1);
	}
	return 0;
}

static int write_inodes(struct writer *w)
{
	int r = tree_each_inode(w->tree, free_lost, w);

	for (struct tree_node *node = tree_root(w->tree); node && r == 0; node = tree_next(node)) {
		if (!node->inode->is_written)
			r = writer_inode(w, node->inode);
		node->inode->is_written = true;
	}
	return r == -ENOSPC ? writer_too_small(w, "blocks") : r;
}

/* An edit that went to another file than the path leads to in the end, or to none: the path is a
 * link, or below one, or hidden by a layer. */
static int check_edits(const struct writer *w)
{
	for (size_t i = 0; i < w->options->edit_count; i++) {
		const char *path = w->options->edits[i].path;
		const struct tree_inode *inode = NULL;
		int r = tree_look_up(w->tree, path, &inode, w->problem);

		if (r != 0)
			return r;
		if (!inode || inode->edit != i + 1)
			return problem_refuse(w->problem, "bad-layer",
					      "'/%s' is to be changed, and the layers have a link "
					      "there, or below a link, or removed it: expected a "
					      "regular file of that very name, or none",
					      path);
	}
	return 0;
}

static int finish(struct writer *w, struct ext4_summary *ret)
{
	uint32_t last = 0;
	int r = tree_finish(w->tree, FIRST_INODE, &last, w->problem);

	if (r == 0)
		r = check_edits(w);
	if (r == 0 && w->fs && last > w->fs->super->s_inodes_count)
		r = writer_too_small(w, "inodes");
	if (r == 0)
		r = write_directories(w);
	if (r != 0 || !w->fs)
		return r;
	r = writer_blocks_end(w);
	if (r == 0)
		r = write_inodes(w);
	return r == 0 ? writer_close(w, ret) : r;
}

static struct writer *new_writer(int fd, const struct ext4_options *options,
				 struct problem *problem)
{
	struct writer *w = calloc(1, sizeof(*w));

	if (w) {
		w->fd = fd;
		w->options = options;
		w->problem = problem;
	}
	return w;
}

static int measure(const struct ext4_layer *layers, size_t count,
		   const struct ext4_options *options, struct writer_need *ret,
		   struct problem *problem)
{
	cleanup_writer struct writer *w = new_writer(-EBADF, options, problem);
	struct ext4_summary unused;
	int r;

	if (!w)
		return -ENOMEM;
	r = read_layers(w, layers, count);
	if (r == 0)
		r = finish(w, &unused);
	*ret = w->need;
	return r;
}

static int format(struct writer *w, const struct ext4_layer *layers, size_t count)
{
	const struct ext4_options *options = w->options;
	struct writer_need need = {0};
	uint64_t inodes = options->size / BYTES_PER_INODE;
	int r;

	if (options->size > 0)
		return writer_format(w, options->size / EXT4_BLOCK_SIZE, MAX(inodes, 64U));
	r = measure(layers, count, options, &need, w->problem);
	need.blocks += options->later_blocks;
	need.inodes += options->later_inodes;
	return r == 0 ? writer_format_for(w, &need, options->spare) : r;
}

int ext4_write(int fd, const struct ext4_layer *layers, size_t layer_count,
	       const struct ext4_options *options, struct ext4_summary *ret,
	       struct problem *reterr_problem)
{
	cleanup_writer struct writer *w = new_writer(fd, options, reterr_problem);
	int r;

	if (!w)
		return -ENOMEM;
	assert(options->edit_count <= EDITS_MAX);
	if (layer_count >= TREE_LAYERS_MAX)
		return problem_refuse(reterr_problem, "bad-layer",
				      "the image has %zu layers: expected less than %u",
				      layer_count, TREE_LAYERS_MAX);
	r = format(w, layers, layer_count);
	if (r == 0)
		r = read_layers(w, layers, layer_count);
	return r == 0 ? finish(w, ret) : r;
}
