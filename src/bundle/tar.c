/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The tar layer: libarchive does checksums, numbers and framing; what it lets through is then held
 * against the one header that a bundle has, a plain ustar (or old GNU) header of a regular file.
 *
 * libarchive is generous: extended headers rename and resize the entry behind them, a NUL ends a
 * name whatever follows, unknown types become regular files, an archive may stop without an end
 * mark. Each of these lets two readers see two different archives, so all are refused. That needs
 * the bytes of the header itself. They are in the piece that was fed last, because pieces are whole
 * blocks and libarchive asks for no more than the next block; where that should not hold, the
 * header counts as not plain, and a bundle is refused rather than misread.
 */

#include "bundle/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/path.h"
#include "base/str.h"
#include "bundle/ustar.h"

#define SHOWN_MAX 120U

struct tar {
	struct tar_source source;
	struct archive *archive;
	const uint8_t *piece; /* what the source gave last */
	size_t piece_size;
	uint64_t piece_offset; /* of the tar stream */
	uint64_t entry_size;
	uint64_t entry_read;
	int source_result; /* of the source's last call; its refusal is: */
	struct refusal source_refusal;
};

static la_ssize_t feed(struct archive *archive, void *context, const void **ret)
{
	struct tar *tar = context;
	const void *piece = NULL;
	size_t size = 0;

	tar->piece_offset += tar->piece_size;
	tar->piece_size = 0;
	tar->source_result =
		tar->source.read(tar->source.context, &piece, &size, &tar->source_refusal);
	if (tar->source_result != 0) {
		archive_set_error(archive, EIO, "source");
		return ARCHIVE_FATAL;
	}
	tar->piece = piece;
	tar->piece_size = size;
	*ret = piece;
	return (la_ssize_t)size;
}

/* What libarchive's failure comes down to: the source's own, memory, or a broken archive. */
static int explain(struct tar *tar, struct refusal *reterr_refusal)
{
	const char *text = archive_error_string(tar->archive);

	if (tar->source_result > 0 && reterr_refusal)
		*reterr_refusal = tar->source_refusal;
	if (tar->source_result != 0)
		return tar->source_result;
	if (archive_errno(tar->archive) == ENOMEM)
		return -ENOMEM;
	return refuse(reterr_refusal, REFUSAL_MALFORMED_BUNDLE,
		      "the bundle's tar archive is broken or cut off: %s",
		      text ? text : "no reason was given");
}

int tar_open(const struct tar_source *source, struct tar **ret, struct refusal *reterr_refusal)
{
	cleanup_tar struct tar *tar = calloc(1, sizeof(*tar));

	if (!tar)
		return -ENOMEM;
	tar->source = *source;
	tar->archive = archive_read_new();
	if (!tar->archive || archive_read_support_format_tar(tar->archive) != ARCHIVE_OK)
		return -ENOMEM;
	if (archive_read_open(tar->archive, tar, NULL, feed, NULL) != ARCHIVE_OK)
		return explain(tar, reterr_refusal);
	*ret = TAKE_PTR(tar);
	return 0;
}

struct tar *tar_close(struct tar *tar)
{
	if (!tar)
		return NULL;
	(void)archive_read_free(tar->archive);
	free(tar);
	return NULL;
}

static bool is_zero(const void *data, size_t size)
{
	const uint8_t *bytes = data;

	return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* The header that was just read, or NULL if headers of another kind came with it. */
static const struct ustar_header *last_header(const struct tar *tar)
{
	uint64_t begin = (uint64_t)archive_read_header_position(tar->archive);
	uint64_t end = (uint64_t)archive_filter_bytes(tar->archive, 0);

	if (end - begin != TAR_BLOCK_SIZE || begin < tar->piece_offset ||
	    end > tar->piece_offset + tar->piece_size)
		return NULL;
	return (const void *)(tar->piece + (begin - tar->piece_offset));
}

static int refuse_entry(enum refusal_code code, const char *name, size_t length, const char *reason,
			struct refusal *reterr_refusal)
{
	cleanup_free char *shown = str_escape(name, length, SHOWN_MAX);

	if (!shown)
		return -ENOMEM;
	return refuse(reterr_refusal, code, "the bundle's entry '%s' %s", shown, reason);
}

static int check_name(const char *name, const struct ustar_header *raw,
		      struct refusal *reterr_refusal)
{
	size_t length;
	size_t end = sizeof(raw->name);

	if (!name)
		return refuse(reterr_refusal, REFUSAL_BAD_ENTRY_NAME,
			      "a bundle's entry has a name that is not text");
	if (!path_is_safe_name(name))
		return refuse_entry(REFUSAL_BAD_ENTRY_NAME, name, strlen(name),
				    "does not have a plain name: expected one path segment of "
				    "printable ASCII without blanks",
				    reterr_refusal);
	if (!raw)
		return 0;
	length = strnlen(raw->name, sizeof(raw->name));
	if (is_zero(raw->name + length, sizeof(raw->name) - length))
		return 0;
	while (raw->name[end - 1] == '\0')
		end--;
	return refuse_entry(REFUSAL_BAD_ENTRY_NAME, raw->name, end, "has a NUL within its name",
			    reterr_refusal);
}

static const char *type_name(struct archive_entry *entry)
{
	if (archive_entry_hardlink(entry))
		return "is a hard link: expected a regular file";
	switch (archive_entry_filetype(entry)) {
	case AE_IFREG:
		return NULL;
	case AE_IFLNK:
		return "is a symbolic link: expected a regular file";
	case AE_IFDIR:
		return "is a directory: expected a regular file";
	case AE_IFIFO:
		return "is a fifo: expected a regular file";
	case AE_IFCHR:
	case AE_IFBLK:
		return "is a device: expected a regular file";
	default:
		return "is of an unknown type: expected a regular file";
	}
}

static int check_type(struct archive_entry *entry, struct refusal *reterr_refusal)
{
	const char *name = archive_entry_pathname(entry);
	const char *reason = type_name(entry);

	if (!reason)
		return 0;
	return refuse_entry(REFUSAL_BAD_ENTRY_TYPE, name ? name : "", name ? strlen(name) : 0,
			    reason, reterr_refusal);
}

static int check_plain(const char *name, const struct ustar_header *raw,
		       struct refusal *reterr_refusal)
{
	const char *reason = NULL;

	if (!raw)
		reason = "has extended headers (PAX or GNU): expected a plain ustar header";
	else if (raw->type != '0' && raw->type != '\0')
		reason = "is of a special type: expected a regular file";
	else if (!is_zero(raw->link_name, sizeof(raw->link_name)))
		reason = "names a link's target: expected a regular file";
	else if (memcmp(raw->magic, "ustar\00000", 8) != 0 &&
		 memcmp(raw->magic, "ustar  \0", 8) != 0)
		reason = "has another header than ustar";
	if (!reason)
		return 0;
	return refuse_entry(REFUSAL_BAD_ENTRY_TYPE, name, strlen(name), reason, reterr_refusal);
}

/* Behind the last entry: two blocks of zeroes, then padding, then nothing. Headers that libarchive
 * passes over in silence, such as a volume's label, make the end longer than that. */
static int check_end(struct tar *tar, struct refusal *reterr_refusal)
{
	uint64_t begin = (uint64_t)archive_read_header_position(tar->archive);
	uint64_t at = (uint64_t)archive_filter_bytes(tar->archive, 0);
	uint64_t padding = 0;

	if (at < begin + 2ULL * TAR_BLOCK_SIZE || at < tar->piece_offset)
		return refuse(reterr_refusal, REFUSAL_MALFORMED_BUNDLE,
			      "the bundle's tar archive is cut off: it has no end mark");
	if (at > begin + 2ULL * TAR_BLOCK_SIZE)
		return refuse(reterr_refusal, REFUSAL_BAD_ENTRY_TYPE,
			      "the bundle has a header that is no entry's before its end mark: "
			      "expected regular files and nothing else");
	at -= tar->piece_offset;
	for (;;) {
		const void *piece = NULL;
		size_t size = 0;
		int r;

		padding += tar->piece_size - at;
		if (!is_zero(tar->piece + at, tar->piece_size - at) || padding > TAR_PADDING_MAX)
			return refuse(reterr_refusal, REFUSAL_TRAILING_DATA,
				      "the bundle's tar archive goes on behind its end mark");
		if (tar->piece_size == 0)
			return 0;
		r = tar->source.read(tar->source.context, &piece, &size, reterr_refusal);
		if (r != 0)
			return r;
		tar->piece = piece;
		tar->piece_size = size;
		at = 0;
	}
}

int tar_next(struct tar *tar, const char **ret_name, uint64_t *ret_size,
	     struct refusal *reterr_refusal)
{
	struct archive_entry *entry = NULL;
	const struct ustar_header *raw;
	const char *name;
	int status = archive_read_next_header(tar->archive, &entry);
	int r;

	if (status == ARCHIVE_EOF) {
		r = check_end(tar, reterr_refusal);
		if (r == 0)
			*ret_name = NULL;
		return r;
	}
	/* A warning is a name or value that libarchive could not represent: looked at below. */
	if (status != ARCHIVE_OK && status != ARCHIVE_WARN)
		return explain(tar, reterr_refusal);
	raw = last_header(tar);
	name = archive_entry_pathname(entry);
	r = check_type(entry, reterr_refusal);
	if (r == 0)
		r = check_name(name, raw, reterr_refusal);
	if (r == 0)
		r = check_plain(name, raw, reterr_refusal);
	if (r != 0)
		return r;
	if (status == ARCHIVE_WARN || !archive_entry_size_is_set(entry) ||
	    archive_entry_size(entry) < 0)
		return explain(tar, reterr_refusal);
	tar->entry_size = (uint64_t)archive_entry_size(entry);
	tar->entry_read = 0;
	*ret_name = name;
	*ret_size = tar->entry_size;
	return 0;
}

static bool is_within(const struct tar *tar, const void *data, size_t size)
{
	uintptr_t begin = (uintptr_t)tar->piece;
	uintptr_t at = (uintptr_t)data;

	return at >= begin && at - begin <= tar->piece_size &&
	       size <= tar->piece_size - (at - begin);
}

int tar_read(struct tar *tar, const void **ret, size_t *ret_size, struct refusal *reterr_refusal)
{
	const void *data = NULL;
	size_t size = 0;
	la_int64_t offset = 0;
	int status = archive_read_data_block(tar->archive, &data, &size, &offset);

	if (status != ARCHIVE_OK && status != ARCHIVE_EOF)
		return explain(tar, reterr_refusal);
	if (status == ARCHIVE_EOF)
		size = 0;
	/* Never seen of whole blocks: a copy that is libarchive's would not live long enough. */
	if (size > 0 && !is_within(tar, data, size))
		return -EIO;
	if ((size > 0 && (uint64_t)offset != tar->entry_read) ||
	    size > tar->entry_size - tar->entry_read ||
	    (size == 0 && tar->entry_read != tar->entry_size))
		return refuse(reterr_refusal, REFUSAL_MALFORMED_BUNDLE,
			      "the bundle's tar archive has an entry of another length than its "
			      "header says");
	tar->entry_read += size;
	*ret = data;
	*ret_size = size;
	return 0;
}
