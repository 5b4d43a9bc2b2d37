/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Layers: one or, behind "LAYER" and its size in three bytes, several. What they become is an image
 * that e2fsck has nothing to say about, or a refusal with a sentence; never anything else. The same
 * layers with headers whose checksums are right are tried too.
 */

#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "ext4/writer.h"
#include "must.h"
#include "tar_blocks.h"

#define LAYERS_MAX 4U
#define MARK       "LAYER"
#define MARK_SIZE  (sizeof(MARK) - 1 + 3)
#define IMAGE_SIZE (8ULL << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add_layer(struct ext4_layer *layer, const uint8_t *data, size_t size, bool is_repaired)
{
	cleanup_free uint8_t *copy = malloc(size > 0 ? size : 1);

	must(copy != NULL);
	if (size > 0)
		memcpy(copy, data, size);
	if (is_repaired)
		tar_blocks_repair(copy, size);
	*layer = (struct ext4_layer){.name = "fuzzed", .fd = memfd_create("layer", MFD_CLOEXEC)};
	must(layer->fd >= 0 && fd_write_full(layer->fd, copy, size) == 0);
}

static size_t split(const uint8_t *data, size_t size, bool is_repaired, struct ext4_layer *layers)
{
	size_t count = 0;

	while (count + 1 < LAYERS_MAX && size >= MARK_SIZE &&
	       memcmp(data, MARK, sizeof(MARK) - 1) == 0) {
		size_t n = (size_t)data[5] | (size_t)data[6] << 8 | (size_t)data[7] << 16;

		n = MIN(n, size - MARK_SIZE);
		add_layer(&layers[count++], data + MARK_SIZE, n, is_repaired);
		data += MARK_SIZE + n;
		size -= MARK_SIZE + n;
	}
	add_layer(&layers[count++], data, size, is_repaired);
	return count;
}

/* Only where there is something to look at: it takes longer than everything else. */
static void check_image(int fd)
{
	char path[64];
	char name[] = "e2fsck";
	char flags[] = "-fn";
	char *const words[] = {name, flags, path, NULL};
	posix_spawn_file_actions_t actions;
	pid_t child = -1;
	int status = -1;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", getpid(), fd);
	must(posix_spawn_file_actions_init(&actions) == 0);
	must(posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0) ==
	     0);
	must(posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0) ==
	     0);
	must(posix_spawn(&child, "/sbin/e2fsck", &actions, NULL, words, NULL) == 0);
	must(posix_spawn_file_actions_destroy(&actions) == 0);
	must(waitpid(child, &status, 0) == child);
	must(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void try_layers(const uint8_t *data, size_t size, bool is_repaired)
{
	struct ext4_options options = {.size = IMAGE_SIZE};
	struct ext4_layer layers[LAYERS_MAX];
	struct ext4_summary summary = {0};
	struct problem problem = PROBLEM_INIT;
	cleanup_fd int fd = memfd_create("image", MFD_CLOEXEC);
	size_t count = split(data, size, is_repaired, layers);
	int r;

	must(fd >= 0);
	memcpy(options.uuid, ext4_default_uuid, sizeof(options.uuid));
	r = ext4_write(fd, layers, count, &options, &summary, &problem);
	must(r == 0 || r == PROBLEM_E_REFUSED);
	if (r == 0)
		check_image(fd);
	else
		must(strlen(problem.name) > 0 && strlen(problem.text) > 0);
	for (size_t i = 0; i < count; i++)
		(void)fd_close(layers[i].fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	try_layers(data, size, false);
	try_layers(data, size, true);
	return 0;
}
