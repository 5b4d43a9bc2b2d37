/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Layout directories. They are somebody else's: files are opened below the directory, through no
 * link, and must be of the size that their descriptor says.
 */

#include "oci/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/path.h"
#include "oci/media.h"

#define MARK_MAX 4096U

static int check_mark(int fd, const char *path, struct problem *reterr_problem)
{
	cleanup_free char *text = NULL;
	cleanup_json json_t *json = NULL;
	const char *version = NULL;
	size_t size = 0;
	int r = fd_read_file_at(fd, "oci-layout", MARK_MAX, &text, &size);

	if (r == -ENOENT)
		return oci_fail(reterr_problem, OCI_NOT_FOUND,
				"'%s' is no OCI layout: it has no file oci-layout", path);
	if (r < 0 && r != -EFBIG)
		return r;
	if (r == 0)
		r = json_parse_object(text, size, &json, NULL);
	if (r == -ENOMEM)
		return r;
	if (r != 0 || json_member_string(json, "imageLayoutVersion", &version) < 0 ||
	    !str_starts_with(version, "1."))
		return oci_fail(reterr_problem, OCI_BAD_IMAGE,
				"'%s/oci-layout' is not what it may be: expected "
				"{\"imageLayoutVersion\": \"1.0.0\"}",
				path);
	return 0;
}

int oci_layout_open(const char *path, int *ret_fd, struct oci_text *ret_index,
		    struct problem *reterr_problem)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return oci_fail(reterr_problem, OCI_NOT_FOUND,
				"there is no directory '%s': expected an OCI layout", path);
	if (fd < 0)
		return -errno;
	r = check_mark(fd, path, reterr_problem);
	if (r != 0)
		return r;
	r = fd_read_file_at(fd, "index.json", OCI_DOCUMENT_MAX, &ret_index->data, &ret_index->size);
	if (r == -ENOENT || r == -EFBIG)
		return oci_fail(reterr_problem, OCI_BAD_IMAGE,
				"'%s' has no index.json of at most %u bytes", path,
				OCI_DOCUMENT_MAX);
	if (r < 0)
		return r;
	(void)snprintf(ret_index->type, sizeof(ret_index->type), "%s", OCI_MEDIA_INDEX);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int oci_layout_blob(int layout_fd, const char *digest, uint64_t size, int *ret_fd,
		    struct problem *reterr_problem)
{
	char name[sizeof("blobs/sha256/") + SHA256_TEXT_SIZE];
	cleanup_fd int fd = -EBADF;
	struct stat st;
	int r;

	(void)snprintf(name, sizeof(name), "blobs/sha256/%s", digest + strlen(OCI_DIGEST_PREFIX));
	r = path_open_beneath(layout_fd, name, O_RDONLY | O_NOCTTY | O_NONBLOCK, 0, &fd);
	if (r == -ENOENT)
		return oci_fail(reterr_problem, OCI_NOT_FOUND, "the layout has no blob %s", digest);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != size)
		return oci_fail(reterr_problem, OCI_BAD_DIGEST,
				"the layout's blob %s has %lld bytes: expected %llu", digest,
				(long long)st.st_size, (unsigned long long)size);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int oci_layout_choose(const struct oci_document *index, const char *tag,
		      const struct oci_descriptor **ret, struct problem *reterr_problem)
{
	for (size_t i = 0; i < index->count; i++) {
		const char *name = oci_annotation(index->items[i].annotations,
						  "org.opencontainers.image.ref.name");

		if (name && strcmp(name, tag) == 0) {
			*ret = &index->items[i];
			return 0;
		}
	}
	return oci_fail(reterr_problem, OCI_NOT_FOUND,
			"the layout has no image called '%s': its index.json names its images",
			tag);
}
