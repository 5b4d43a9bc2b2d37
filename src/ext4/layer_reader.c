/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A layer's entries: libarchive parses tar (ustar, pax, GNU with its sparse files) and walks
 * directories; here everything that it says is bounded and brought into one form.
 *
 * Names are bytes to Linux and text to pax. libarchive converts pax's UTF-8 into the charset of the
 * locale, and in the C locale it would put '?' for what it cannot say; so the reader works in
 * C.UTF-8, whatever the program's locale, and what is no UTF-8 in a pax header is refused, as every
 * other warning is: nothing gets into an image under another name than the layer gives it.
 */

#include "ext4/layer_reader.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "ext4/layer_acl.h"
#include "ext4/layer_stream.h"
#include "ext4/layer_walk.h"

#define XATTR_COUNT_MAX 128U
#define XATTR_NAME_MAX  255U
#define SHOWN_MAX       200U
#define TAR_BLOCK       512

struct layer_reader {
	const struct ext4_layer *layer;
	struct layer_stream *stream; /* or */
	struct layer_walk *walk;     /* of a directory */
	struct archive *archive;
	locale_t locale;
	struct layer_acl acl;
	int stream_result;
	struct problem stream_problem;
	uint64_t content_at; /* behind the last piece */
	struct layer_xattr xattrs[XATTR_COUNT_MAX];
	size_t xattrs_size; /* of their names and values */
	struct layer_entry entry;
};

int layer_reader_refuse(const struct layer_reader *reader, const char *path,
			struct problem *reterr_problem, const char *format, ...)
{
	cleanup_free char *shown = str_escape(path, strlen(path), SHOWN_MAX);
	char text[512];
	va_list arguments;

	if (!shown)
		return -ENOMEM;
	va_start(arguments, format);
	(void)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return problem_refuse(reterr_problem, "bad-layer", "layer '%s': '%s' %s",
			      reader ? reader->layer->name : "of this command", shown, text);
}

static la_ssize_t feed(struct archive *archive, void *context, const void **ret)
{
	struct layer_reader *reader = context;
	size_t size = 0;

	reader->stream_result =
		layer_stream_read(reader->stream, ret, &size, &reader->stream_problem);
	if (reader->stream_result != 0) {
		archive_set_error(archive, EIO, "stream");
		return ARCHIVE_FATAL;
	}
	return (la_ssize_t)size;
}

static la_int64_t skip(struct archive *archive, void *context, la_int64_t wanted)
{
	struct layer_reader *reader = context;

	(void)archive;
	return (la_int64_t)layer_stream_skip(reader->stream, (uint64_t)wanted);
}

/* What libarchive's failure comes down to: the stream's own, memory, or a broken archive. */
static int explain(struct layer_reader *reader, struct problem *reterr_problem)
{
	const char *text = archive_error_string(reader->archive);

	if (reader->stream_result > 0)
		*reterr_problem = reader->stream_problem;
	if (reader->stream_result != 0)
		return reader->stream_result;
	if (archive_errno(reader->archive) == ENOMEM)
		return -ENOMEM;
	return problem_refuse(
		reterr_problem, "bad-layer",
		"layer '%s' is no tar archive, or it is broken or cut off: %s; fetch it again",
		reader->layer->name, text ? text : "no reason was given");
}

static int open_archive(struct layer_reader *reader, struct problem *reterr_problem)
{
	int r = layer_stream_open(reader->layer->fd, reader->layer->name, reader->layer->digest,
				  &reader->stream);

	if (r < 0)
		return r;
	reader->archive = archive_read_new();
	if (!reader->archive || archive_read_support_format_tar(reader->archive) != ARCHIVE_OK)
		return -ENOMEM;
	if (archive_read_open2(reader->archive, reader, NULL, feed, skip, NULL) != ARCHIVE_OK)
		return explain(reader, reterr_problem);
	return 0;
}

int layer_reader_open(const struct ext4_layer *layer, struct layer_reader **ret,
		      struct problem *reterr_problem)
{
	cleanup_layer_reader struct layer_reader *reader = calloc(1, sizeof(*reader));
	locale_t before;
	int r;

	if (!reader)
		return -ENOMEM;
	reader->layer = layer;
	reader->entry.xattrs = reader->xattrs;
	reader->locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	if (reader->locale == (locale_t)0)
		return -errno;
	before = uselocale(reader->locale);
	r = layer->is_directory ? layer_walk_open(layer, &reader->walk)
				: open_archive(reader, reterr_problem);
	(void)uselocale(before);
	if (r == 0)
		*ret = TAKE_PTR(reader);
	return r;
}

struct layer_reader *layer_reader_close(struct layer_reader *reader)
{
	if (!reader)
		return NULL;
	if (reader->archive)
		(void)archive_read_free(reader->archive);
	(void)layer_stream_close(reader->stream);
	(void)layer_walk_close(reader->walk);
	layer_acl_done(&reader->acl);
	if (reader->locale != (locale_t)0)
		freelocale(reader->locale);
	free(reader);
	return NULL;
}

/* The form that struct layer_entry promises. 0; 1 what cannot be brought into it. */
static int normalize(const char *name, char path[LAYER_PATH_MAX + 1])
{
	size_t size = 0;

	while (*name != '\0') {
		size_t length = strcspn(name, "/");

		if (length == 2 && name[0] == '.' && name[1] == '.')
			return 1;
		if (length > 0 && !(length == 1 && name[0] == '.')) {
			if (length > 255 || size + length + 1 > LAYER_PATH_MAX)
				return 1;
			if (size > 0)
				path[size++] = '/';
			memcpy(path + size, name, length);
			size += length;
		}
		name += length;
		while (*name == '/')
			name++;
	}
	path[size] = '\0';
	return 0;
}

static int take_path(struct layer_reader *reader, const char *name, char path[LAYER_PATH_MAX + 1],
		     const char *what, struct problem *reterr_problem)
{
	if (!name)
		return problem_refuse(reterr_problem, "bad-layer",
				      "layer '%s' has an entry without a name that can be read",
				      reader->layer->name);
	if (normalize(name, path) == 0)
		return 0;
	return layer_reader_refuse(reader, name, reterr_problem,
				   "is no %s inside the image: expected no '..', names of up to "
				   "255 bytes and paths of up to %u",
				   what, LAYER_PATH_MAX);
}

static int take_target(struct layer_reader *reader, struct archive_entry *from,
		       struct problem *reterr_problem)
{
	struct layer_entry *entry = &reader->entry;
	const char *link = archive_entry_hardlink(from);

	entry->target[0] = '\0';
	if (link) {
		entry->mode = 0;
		return take_path(reader, link, entry->target, "target of a hard link",
				 reterr_problem);
	}
	if (!S_ISLNK(entry->mode))
		return 0;
	link = archive_entry_symlink(from);
	if (!link || *link == '\0' || strlen(link) > LAYER_PATH_MAX)
		return layer_reader_refuse(reader, entry->path, reterr_problem,
					   "is a symbolic link whose target is not 1 to %u bytes",
					   LAYER_PATH_MAX);
	memcpy(entry->target, link, strlen(link) + 1);
	return 0;
}

static int take_numbers(struct layer_reader *reader, struct archive_entry *from,
			struct problem *reterr_problem)
{
	struct layer_entry *entry = &reader->entry;
	la_int64_t uid = archive_entry_uid(from);
	la_int64_t gid = archive_entry_gid(from);
	la_int64_t size = archive_entry_size(from);
	long ns = archive_entry_mtime_nsec(from);
	dev_t major = archive_entry_rdevmajor(from);
	dev_t minor = archive_entry_rdevminor(from);

	if (uid < 0 || gid < 0 || uid >= UINT32_MAX || gid >= UINT32_MAX)
		return layer_reader_refuse(reader, entry->path, reterr_problem,
					   "belongs to %lld:%lld: expected numbers below 2^32 - 1",
					   (long long)uid, (long long)gid);
	if (size < 0 || (uint64_t)size > LAYER_SIZE_MAX || ns < 0 || ns >= 1000000000L ||
	    major > 0xfff || minor > 0xfffff)
		return layer_reader_refuse(reader, entry->path, reterr_problem,
					   "has a size, time or device number out of range");
	entry->uid = (uint32_t)uid;
	entry->gid = (uint32_t)gid;
	entry->size = S_ISREG(entry->mode) ? (uint64_t)size : 0;
	entry->mtime = archive_entry_mtime(from);
	entry->mtime_ns = (uint32_t)ns;
	entry->rdev_major = (uint32_t)major;
	entry->rdev_minor = (uint32_t)minor;
	return 0;
}

/* Whether the kernel would take it: libext2fs takes more, and would write it somehow. */
static bool is_xattr(const char *name, size_t size)
{
	static const char *const namespaces[] = {"user.", "security.", "trusted."};
	static const char *const lists[] = {"system.posix_acl_access", "system.posix_acl_default"};

	if (strlen(name) > XATTR_NAME_MAX || size > LAYER_XATTRS_MAX)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++) {
		if (str_starts_with(name, namespaces[i]))
			return name[strlen(namespaces[i])] != '\0';
	}
	/* A version, and entries of eight bytes. */
	return (str_equal(name, lists[0]) || str_equal(name, lists[1])) && size % 8 == 4;
}

static int add_xattr(struct layer_reader *reader, const char *name, const void *value, size_t size,
		     struct problem *reterr_problem)
{
	struct layer_entry *entry = &reader->entry;
	size_t name_size = strlen(name);

	/* What containers' file systems note for themselves is not the image's. */
	if (str_starts_with(name, "trusted.overlay.") || str_starts_with(name, "user.overlay."))
		return 0;
	if (!is_xattr(name, size) || entry->xattr_count == XATTR_COUNT_MAX ||
	    name_size + size > LAYER_XATTRS_MAX - reader->xattrs_size)
		return layer_reader_refuse(
			reader, entry->path, reterr_problem,
			"has extended attributes that ext4 cannot hold, such as "
			"'%.100s' of %zu bytes: expected names of up to %u bytes "
			"and less than 4 KiB for all of a file's",
			name, size, XATTR_NAME_MAX);
	reader->xattrs_size += name_size + size;
	entry->xattrs[entry->xattr_count++] = (struct layer_xattr){name, value, size};
	return 0;
}

static int take_xattrs(struct layer_reader *reader, struct archive_entry *from,
		       struct problem *reterr_problem)
{
	const char *name = NULL;
	const void *value = NULL;
	size_t size = 0;
	int r;

	reader->entry.xattr_count = 0;
	reader->xattrs_size = 0;
	(void)archive_entry_xattr_reset(from);
	while (archive_entry_xattr_next(from, &name, &value, &size) == ARCHIVE_OK) {
		r = add_xattr(reader, name, value, size, reterr_problem);
		if (r != 0)
			return r;
	}
	r = layer_acl_take(&reader->acl, from);
	if (r > 0)
		return layer_reader_refuse(reader, reader->entry.path, reterr_problem,
					   "has an access control list that is not POSIX.1e's with "
					   "numbers for users and groups");
	for (size_t i = 0; i < ARRAY_SIZE(reader->acl.lists) && r == 0; i++) {
		if (reader->acl.lists[i].size > 0)
			r = add_xattr(reader, reader->acl.names[i], reader->acl.lists[i].data,
				      reader->acl.lists[i].size, reterr_problem);
	}
	return r;
}

static int take_entry(struct layer_reader *reader, struct archive_entry *from,
		      struct problem *reterr_problem)
{
	struct layer_entry *entry = &reader->entry;
	int r = take_path(reader, archive_entry_pathname(from), entry->path, "path",
			  reterr_problem);

	if (r != 0)
		return r;
	entry->mode = archive_entry_mode(from);
	r = take_target(reader, from, reterr_problem);
	if (r != 0)
		return r;
	if (entry->mode != 0 && !S_ISREG(entry->mode) && !S_ISDIR(entry->mode) &&
	    !S_ISLNK(entry->mode) && !S_ISCHR(entry->mode) && !S_ISBLK(entry->mode) &&
	    !S_ISFIFO(entry->mode) && !S_ISSOCK(entry->mode))
		return layer_reader_refuse(reader, entry->path, reterr_problem,
					   "is of a type that is no file's");
	reader->content_at = 0;
	r = take_numbers(reader, from, reterr_problem);
	return r != 0 ? r : take_xattrs(reader, from, reterr_problem);
}

/* The tar ends with blocks of zeroes; what stands behind them counts for the digest only. */
static int read_out(struct layer_reader *reader, struct problem *reterr_problem)
{
	la_int64_t begin = archive_read_header_position(reader->archive);
	const void *piece = NULL;
	size_t size = 0;

	if (archive_filter_bytes(reader->archive, 0) < begin + TAR_BLOCK)
		return problem_refuse(
			reterr_problem, "bad-layer",
			"layer '%s' is cut off: its tar archive has no end mark; fetch "
			"it again",
			reader->layer->name);
	do {
		int r = layer_stream_read(reader->stream, &piece, &size, reterr_problem);

		if (r != 0)
			return r;
	} while (size > 0);
	return 0;
}

static int next_of_archive(struct layer_reader *reader, const struct layer_entry **ret,
			   struct problem *reterr_problem)
{
	struct archive_entry *from = NULL;
	int status = archive_read_next_header(reader->archive, &from);
	int r;

	if (status == ARCHIVE_EOF) {
		*ret = NULL;
		return read_out(reader, reterr_problem);
	}
	if (status != ARCHIVE_OK)
		return explain(reader, reterr_problem);
	r = take_entry(reader, from, reterr_problem);
	if (r == 0)
		*ret = &reader->entry;
	return r;
}

static int next_of_walk(struct layer_reader *reader, const struct layer_entry **ret,
			struct problem *reterr_problem)
{
	bool is_end = false;
	int r = layer_walk_next(reader->walk, &reader->entry, XATTR_COUNT_MAX, &is_end,
				reterr_problem);

	if (r == 0 && !is_end && reader->entry.size > LAYER_SIZE_MAX)
		return layer_reader_refuse(reader, reader->entry.path, reterr_problem,
					   "has more than 16 TiB: ext4 can have no such file");
	if (r == 0)
		*ret = is_end ? NULL : &reader->entry;
	return r;
}

int layer_reader_next(struct layer_reader *reader, const struct layer_entry **ret,
		      struct problem *reterr_problem)
{
	locale_t before = uselocale(reader->locale);
	int r = reader->walk ? next_of_walk(reader, ret, reterr_problem)
			     : next_of_archive(reader, ret, reterr_problem);

	(void)uselocale(before);
	return r;
}

int layer_reader_content(struct layer_reader *reader, const void **ret, size_t *ret_size,
			 uint64_t *ret_offset, struct problem *reterr_problem)
{
	la_int64_t offset = 0;
	int status;

	if (reader->walk)
		return layer_walk_content(reader->walk, ret, ret_size, ret_offset);
	*ret = NULL;
	do {
		status = archive_read_data_block(reader->archive, ret, ret_size, &offset);
	} while (status == ARCHIVE_OK && *ret_size == 0);
	if (status != ARCHIVE_OK && status != ARCHIVE_EOF)
		return explain(reader, reterr_problem);
	if (status == ARCHIVE_EOF)
		*ret_size = 0;
	if (*ret_size == 0)
		return 0;
	/* Pieces ascend: what is written is never gone back to. */
	if (offset < 0 || (uint64_t)offset < reader->content_at ||
	    (uint64_t)offset > reader->entry.size ||
	    *ret_size > reader->entry.size - (uint64_t)offset)
		return layer_reader_refuse(reader, reader->entry.path, reterr_problem,
					   "has content that does not fit its size");
	*ret_offset = (uint64_t)offset;
	reader->content_at = (uint64_t)offset + *ret_size;
	return 0;
}
