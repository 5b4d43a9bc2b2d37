/* SPDX-License-Identifier: Apache-2.0 */

/* What an image is built of: trees, tar archives, and images of registries and layouts, in any
 * order; all of it is layers in the end. */

#include "cli/image_source.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/command.h"

int image_source_add_layer(struct image_source *source, const struct ext4_layer *layer)
{
	if (source->layer_count == IMAGE_LAYERS_MAX || source->fd_count == IMAGE_SOURCES_MAX) {
		(void)fd_close(layer->fd);
		return -E2BIG;
	}
	source->fds[source->fd_count++] = layer->fd;
	source->layers[source->layer_count++] = *layer;
	return 0;
}

static int add_image(struct image_source *source, const char *where, struct transfer *transfer)
{
	struct oci_source *image = &source->images[source->image_count];
	struct problem problem = PROBLEM_INIT;
	int r;

	if (source->image_count == IMAGE_SOURCES_MAX)
		return command_error("more than %u images were given", IMAGE_SOURCES_MAX);
	transfer_begin(transfer);
	r = oci_source_open(where, &transfer->oci, image, &problem);
	transfer_end(transfer);
	if (r != 0)
		return transfer_failed(r, &problem, "the image could not be had");
	source->image_count++;
	for (size_t i = 0; i < image->layer_count; i++) {
		const struct oci_layer *layer = &image->layers[i];

		if (source->layer_count == IMAGE_LAYERS_MAX)
			return command_error("'%s' has more layers than the %u that there may be",
					     where, IMAGE_LAYERS_MAX);
		source->layers[source->layer_count++] = (struct ext4_layer){
			.name = layer->digest,
			.digest = layer->is_verified ? NULL : layer->digest,
			.fd = layer->fd,
		};
	}
	return COMMAND_DONE;
}

int image_source_add(struct image_source *source, const char *where, struct transfer *transfer)
{
	struct ext4_layer layer = {.name = where,
				   .fd = open(where, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)};
	cleanup_fd int layout = -EBADF;
	struct stat st;
	int r;

	if (layer.fd < 0 && errno != ENOENT && errno != ENOTDIR)
		return command_broke(-errno, "'%s' could not be opened", where);
	if (layer.fd < 0)
		return add_image(source, where, transfer);
	layout = openat(layer.fd, "oci-layout", O_PATH | O_CLOEXEC);
	if (layout >= 0) {
		(void)fd_close(layer.fd);
		return add_image(source, where, transfer);
	}
	r = fstat(layer.fd, &st) < 0 ? -errno : 0;
	layer.is_directory = r == 0 && S_ISDIR(st.st_mode);
	if (r == 0 && !layer.is_directory && !S_ISREG(st.st_mode))
		r = -EINVAL;
	if (r == 0)
		r = image_source_add_layer(source, &layer);
	else
		(void)fd_close(layer.fd);
	return r == 0 ? COMMAND_DONE
		      : command_broke(r,
				      "'%s' cannot be a layer: expected a tree, or a tar archive",
				      where);
}

void image_source_done(struct image_source *source)
{
	for (size_t i = 0; i < source->image_count; i++)
		oci_source_close(&source->images[i]);
	for (size_t i = 0; i < source->fd_count; i++)
		(void)fd_close(source->fds[i]);
}
