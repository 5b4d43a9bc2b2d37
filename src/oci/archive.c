/* SPDX-License-Identifier: Apache-2.0 */

/*
 * An archive of a layout, as `skopeo copy … oci-archive:FILE` and tar make it. Its blobs go into
 * the cache as they come, digested: the archive is read once, and an image in it costs what a
 * pulled one does. What is not a layout's file is passed over; what claims to be one and is not, is
 * refused.
 */

#include "oci/layout.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "oci/media.h"

#define PIECE_SIZE  65536U
#define ENTRIES_MAX 65536U

static void reader_free(struct archive **reader)
{
	if (*reader)
		(void)archive_read_free(*reader);
}

static int broken(struct archive *reader, const char *path, struct problem *reterr_problem)
{
	const char *said = archive_error_string(reader);
	cleanup_free char *shown = str_escape(said ? said : "", said ? strlen(said) : 0, 200);

	if (archive_errno(reader) == ENOMEM)
		return -ENOMEM;
	return oci_fail(reterr_problem, OCI_BAD_IMAGE,
			"'%s' is no archive of an OCI layout that can be read: %s", path,
			shown ? shown : "");
}

static int open_reader(const char *path, struct archive **ret, struct problem *reterr_problem)
{
	CLEANUP(reader_free) struct archive *reader = archive_read_new();

	if (!reader)
		return -ENOMEM;
	if (archive_read_support_format_tar(reader) != ARCHIVE_OK)
		return -ENOSYS;
	if (archive_read_open_filename(reader, path, PIECE_SIZE) != ARCHIVE_OK) {
		if (archive_errno(reader) == ENOENT)
			return oci_fail(reterr_problem, OCI_NOT_FOUND,
					"there is no file '%s': expected an archive of an OCI "
					"layout",
					path);
		return broken(reader, path, reterr_problem);
	}
	*ret = TAKE_PTR(reader);
	return 0;
}

/* The entry that comes next, as bytes. */
static int read_document(struct archive *reader, const char *path, size_t max, struct buffer *ret,
			 struct problem *reterr_problem)
{
	char piece[4096];
	la_ssize_t n;

	while ((n = archive_read_data(reader, piece, sizeof(piece))) > 0) {
		if (ret->size + (size_t)n > max)
			return oci_fail(reterr_problem, OCI_BAD_IMAGE,
					"'%s': its index.json has more than the %zu bytes that it "
					"may have",
					path, max);
		if (buffer_add(ret, piece, (size_t)n) < 0)
			return -ENOMEM;
	}
	return n < 0 ? broken(reader, path, reterr_problem) : 0;
}

static int read_blob(struct archive *reader, const char *path, const char *digest, uint64_t size,
		     const struct oci_cache *cache, struct problem *reterr_problem)
{
	cleanup_oci_cache_blob struct oci_cache_blob blob = OCI_CACHE_BLOB_INIT;
	cleanup_free char *piece = malloc(PIECE_SIZE);
	cleanup_fd int fd = -EBADF;
	la_ssize_t n = 0;
	int r;

	if (!piece)
		return -ENOMEM;
	if (oci_cache_find(cache, digest, size, &fd) == 0)
		return 0;
	r = oci_cache_begin(cache, digest, size, &blob);
	if (r == 0)
		r = oci_cache_restart(&blob);
	while (r == 0 && (n = archive_read_data(reader, piece, PIECE_SIZE)) > 0)
		r = oci_cache_add(&blob, piece, (size_t)n);
	if (r == 0 && n == 0)
		return oci_cache_commit(&blob, &fd, reterr_problem);
	/* The next attempt begins anew: what is there would be of no use. */
	oci_cache_discard(&blob);
	return n < 0 ? broken(reader, path, reterr_problem) : r;
}

/* One entry, by its name without "./" before it. */
static int read_entry(struct archive *reader, struct archive_entry *entry, const char *path,
		      const struct oci_cache *cache, struct buffer *index,
		      struct problem *reterr_problem)
{
	const char *name = archive_entry_pathname(entry);
	char digest[OCI_DIGEST_TEXT_SIZE];
	la_int64_t size = archive_entry_size(entry);

	if (!name || archive_entry_filetype(entry) != AE_IFREG)
		return 0;
	while (str_starts_with(name, "./"))
		name += 2;
	if (strcmp(name, "index.json") == 0 && index->size == 0)
		return read_document(reader, path, OCI_DOCUMENT_MAX, index, reterr_problem);
	if (!str_starts_with(name, "blobs/sha256/"))
		return 0;
	(void)snprintf(digest, sizeof(digest), OCI_DIGEST_PREFIX "%.64s",
		       name + strlen("blobs/sha256/"));
	if (!oci_digest_is_valid(digest) ||
	    strlen(name) != strlen("blobs/sha256/") + SHA256_TEXT_SIZE - 1)
		return oci_fail(reterr_problem, OCI_BAD_IMAGE,
				"'%s' has a blob whose name is no digest", path);
	if (size < 0 || (uint64_t)size > OCI_BLOB_SIZE_MAX)
		return oci_fail(reterr_problem, OCI_BAD_IMAGE, "'%s': the blob %s is too large",
				path, digest);
	return read_blob(reader, path, digest, (uint64_t)size, cache, reterr_problem);
}

int oci_archive_read(const char *path, const struct oci_cache *cache, struct oci_text *ret_index,
		     struct problem *reterr_problem)
{
	CLEANUP(reader_free) struct archive *reader = NULL;
	cleanup_buffer struct buffer index = BUFFER_INIT;
	struct archive_entry *entry = NULL;
	unsigned count = 0;
	int code = ARCHIVE_OK;
	int r = open_reader(path, &reader, reterr_problem);

	while (r == 0) {
		code = archive_read_next_header(reader, &entry);
		if (code == ARCHIVE_EOF)
			break;
		if (code != ARCHIVE_OK && code != ARCHIVE_WARN)
			return broken(reader, path, reterr_problem);
		if (++count > ENTRIES_MAX)
			return oci_fail(reterr_problem, OCI_BAD_IMAGE,
					"'%s' has more than the %u entries that it may have", path,
					ENTRIES_MAX);
		r = read_entry(reader, entry, path, cache, &index, reterr_problem);
	}
	if (r != 0)
		return r;
	if (index.size == 0)
		return oci_fail(reterr_problem, OCI_BAD_IMAGE,
				"'%s' is no archive of an OCI layout: it has no index.json", path);
	(void)snprintf(ret_index->type, sizeof(ret_index->type), "%s", OCI_MEDIA_INDEX);
	ret_index->size = index.size;
	ret_index->data = TAKE_PTR(index.data);
	return 0;
}
