/* SPDX-License-Identifier: Apache-2.0 */

/* addons.local.json: root's own, but an agent that falls over it is one that nobody can help from
 * afar. What is taken is patched over a configuration. */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/desired.h"
#include "base/json.h"
#include "scratch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void patch(const struct overrides *overrides)
{
	cleanup_json json_t *config = json_pack("{s:i,s:{s:i}}", "a", 1, "b", "c", 2);
	CLEANUP(desired_done) struct desired desired = DESIRED_INIT;
	struct offer offer = OFFER_INIT;
	const char *id;
	json_t *value;

	must(desired_make(&offer, overrides, &desired) == 0);
	must(desired.count == json_object_size(overrides->addons) && !desired.is_known);
	json_object_foreach(overrides->addons, id, value)
	{
		const json_t *changes = overrides_member(overrides, id, "config");
		const struct wanted *wanted = desired_find(&desired, id);

		must(wanted != NULL && !wanted->is_offered && json_is_object(wanted->config));
		must(!(wanted->is_forced && wanted->is_switched_off));
		if (changes) {
			cleanup_json json_t *once = desired_patch(config, changes);
			cleanup_json json_t *twice = desired_patch(once, changes);

			must(once && twice && json_equal(once, twice));
		}
	}
}

#define FILE_NAME "addons.local.json"

/* The file is judged like the text, and its mode before its text. */
static void check_file(const uint8_t *data, size_t size, bool is_accepted)
{
	cleanup_overrides struct overrides open_to_all = OVERRIDES_INIT;
	cleanup_overrides struct overrides overrides = OVERRIDES_INIT;
	static char path[sizeof(scratch_path) + sizeof(FILE_NAME)];
	static int fd = -EBADF;

	if (fd < 0) {
		cleanup_fd int dirfd = scratch_make();

		(void)snprintf(path, sizeof(path), "%s/" FILE_NAME, scratch_path);
		fd = openat(dirfd, FILE_NAME, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		must(fd >= 0);
	}
	must(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
	must(fchmod(fd, 0666) == 0 && overrides_load(path, &open_to_all) == 0);
	must(open_to_all.addons == NULL && open_to_all.problem[0] != '\0');
	must(fchmod(fd, 0644) == 0 && overrides_load(path, &overrides) == 0);
	/* Only root's file counts, whoever fuzzes. */
	must((overrides.addons != NULL) == (is_accepted && geteuid() == 0));
	must((overrides.addons != NULL) == (overrides.problem[0] == '\0'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_overrides struct overrides overrides = OVERRIDES_INIT;
	int r = overrides_parse((const char *)data, size, &overrides);

	must(r == 0 || r == 1);
	must((r == 0) == (overrides.addons != NULL));
	must((r == 1) == (overrides.problem[0] != '\0'));
	if (r == 0)
		patch(&overrides);
	check_file(data, size, r == 0);
	return 0;
}
