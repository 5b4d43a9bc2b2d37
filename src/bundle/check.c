/* SPDX-License-Identifier: Apache-2.0 */

/* `affix check`: everything that is wrong with an add-on's source, and nothing made. */

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "bundle/build.h"
#include "bundle/source.h"

static int check_manifest(int fd, const char *path, struct diagnostics *diagnostics)
{
	cleanup_manifest struct manifest *manifest = NULL;
	cleanup_free char *text = NULL;
	size_t size = 0;
	int r = fd_read_all(fd, MANIFEST_SIZE_MAX, &text, &size);

	if (r == -EFBIG)
		return diagnostics_add(diagnostics, REFUSAL_ENTRY_TOO_LARGE, path, 1, 1,
				       "the file is larger than the %u bytes it may have",
				       MANIFEST_SIZE_MAX);
	if (r == 0)
		r = manifest_parse(text, size, path, &manifest, diagnostics);
	return r < 0 ? r : 0;
}

int build_check(const char *path, struct diagnostics *diagnostics)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	cleanup_source struct source *source = NULL;
	struct stat status;
	int r;

	if (fd < 0 || fstat(fd, &status) < 0)
		return -errno;
	if (S_ISDIR(status.st_mode))
		r = source_load(path, &source, diagnostics);
	else if (S_ISREG(status.st_mode))
		r = check_manifest(fd, path, diagnostics);
	else
		return -EMEDIUMTYPE;
	diagnostics_sort(diagnostics);
	return r;
}
