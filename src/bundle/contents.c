/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The entries of a bundle, in one pass: each is checked by its header before a byte of it is kept,
 * and counted by its bytes while it streams into its digest, its unnamed file and, where affix
 * itself reads it, into memory.
 *
 * addon.yaml comes first, so that its limits and names are known before anything else is read:
 * which entry is the program, which the schema.
 */

#include "bundle/contents.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/path.h"
#include "bundle/agree.h"
#include "bundle/elf_head.h"
#include "bundle/spool.h"
#include "manifest/names.h"
#include "manifest/schema.h"
#include "unit/unit_file.h"

struct reading {
	struct tar *tar;
	const struct digest_table *table; /* or NULL */
	struct hasher *hasher;
	struct bundle *bundle;
	const struct bundle_spool *spool;
	const struct bundle_sink *sink; /* of the entry that is being read; or NULL */
	uint8_t head[ELF_HEAD_SIZE];    /* of the program */
	size_t head_size;
};

int contents_check_name(const char *name, struct refusal *reterr_refusal)
{
	cleanup_free char *shown = NULL;

	if (name_is_entry(name) && !str_ends_with(name, FILE_TEMPORARY_SUFFIX))
		return 0;
	shown = str_escape(name, strlen(name), PATH_NAME_MAX);
	if (!shown)
		return -ENOMEM;
	return refuse(reterr_refusal, REFUSAL_BAD_ENTRY_NAME,
		      "an entry of a bundle cannot be called '%s': expected letters, digits and "
		      "'._+-', a letter or digit first, and not '%s' at the end",
		      shown, FILE_TEMPORARY_SUFFIX);
}

/* Against the entries before it; names are safe to show by now. */
static int check_place(const struct bundle *bundle, const char *name,
		       struct refusal *reterr_refusal)
{
	size_t n = bundle->n_entries;

	for (size_t i = 0; i < n; i++) {
		if (strcasecmp(bundle->entries[i].name, name) == 0)
			return refuse(reterr_refusal, REFUSAL_DUPLICATE_ENTRY,
				      "the bundle has '%s' behind '%s': names must differ in more "
				      "than case",
				      name, bundle->entries[i].name);
	}
	if (n == 0 && !str_equal(name, MANIFEST_NAME))
		return refuse(reterr_refusal, REFUSAL_MALFORMED_BUNDLE,
			      "the bundle's first entry is '%s': expected '%s'", name,
			      MANIFEST_NAME);
	if (n > 1 && strcmp(bundle->entries[n - 1].name, name) > 0)
		return refuse(reterr_refusal, REFUSAL_MALFORMED_BUNDLE,
			      "the bundle's entries are not sorted: '%s' comes behind '%s'", name,
			      bundle->entries[n - 1].name);
	return 0;
}

/* How long an entry that affix keeps in memory may be; 0: it is not kept. */
static uint64_t text_limit(const struct bundle *bundle, const char *name)
{
	if (bundle->n_entries == 0)
		return MANIFEST_SIZE_MAX;
	if (bundle_is_unit_name(name))
		return UNIT_FILE_SIZE_MAX;
	return str_equal(name, bundle->manifest->config_schema) ? SCHEMA_SIZE_MAX : 0;
}

static int check_size(const struct bundle *bundle, const char *name, uint64_t size,
		      struct refusal *reterr_refusal)
{
	uint64_t limit = text_limit(bundle, name);

	if (limit == 0)
		limit = BUNDLE_ENTRY_SIZE_MAX;
	if (size > limit)
		return refuse(reterr_refusal, REFUSAL_ENTRY_TOO_LARGE,
			      "the bundle's entry '%s' has %llu bytes: expected at most %llu", name,
			      (unsigned long long)size, (unsigned long long)limit);
	if (size > BUNDLE_SIZE_MAX - bundle->size)
		return refuse(reterr_refusal, REFUSAL_BUNDLE_TOO_LARGE,
			      "the bundle's entries up to '%s' have %llu bytes: expected at most "
			      "%llu in all",
			      name, (unsigned long long)bundle->size + size, BUNDLE_SIZE_MAX);
	return 0;
}

static int check_header(const struct bundle *bundle, const char *name, uint64_t size,
			struct refusal *reterr_refusal)
{
	int r = contents_check_name(name, reterr_refusal);

	if (r != 0)
		return r;
	if (bundle->n_entries >= BUNDLE_ENTRIES_MAX)
		return refuse(reterr_refusal, REFUSAL_TOO_MANY_ENTRIES,
			      "the bundle has more than %u entries", BUNDLE_ENTRIES_MAX);
	r = check_place(bundle, name, reterr_refusal);
	if (r != 0)
		return r;
	return check_size(bundle, name, size, reterr_refusal);
}

/* One piece of an entry, to all who want it. */
static void take_piece(struct reading *reading, const struct bundle_entry *entry, uint64_t offset,
		       const void *data, size_t size)
{
	if (entry->text)
		memcpy(entry->text + offset, data, size);
	if (entry->is_binary && reading->head_size < sizeof(reading->head)) {
		size_t n = MIN(size, sizeof(reading->head) - reading->head_size);

		memcpy(reading->head + reading->head_size, data, n);
		reading->head_size += n;
	}
}

/* Without *digest* it is not digested. */
static int stream_entry(struct reading *reading, const struct bundle_entry *entry,
			struct digest_state *digest, struct spool *spool,
			struct refusal *reterr_refusal)
{
	uint64_t done = 0;

	for (;;) {
		const void *data = NULL;
		size_t size = 0;
		int r = tar_read(reading->tar, &data, &size, reterr_refusal);

		if (r != 0 || size == 0)
			return r;
		if (digest)
			hasher_post(reading->hasher, digest, data, size);
		take_piece(reading, entry, done, data, size);
		if (reading->sink)
			reading->sink->add(reading->sink->context, data, size);
		else if (spool->fd >= 0)
			r = spool_add(spool, data, size, reterr_refusal);
		if (r != 0)
			return r;
		done += size;
	}
}

/* What the bundle says of the entry that is being read. */
static const struct digest *find_told(const struct reading *reading)
{
	size_t n = reading->bundle->n_entries;

	return reading->table && n <= reading->table->n ? &reading->table->digests[n - 1] : NULL;
}

/* The digest of the entry's content, against which what the bundle says is held; unless that may be
 * believed, like the content itself, since both are signed. */
static int stream_and_digest(struct reading *reading, struct bundle_entry *entry,
			     struct spool *spool, struct refusal *reterr_refusal)
{
	const struct digest *told = find_told(reading);
	bool is_believed = told && reading->spool && reading->spool->is_trusting && !entry->text;
	struct digest_state state;
	int r;

	digest_begin(&state);
	r = stream_entry(reading, entry, is_believed ? NULL : &state, spool, reterr_refusal);
	/* It has our state, whatever came of the stream. */
	hasher_wait(reading->hasher, hasher_last(reading->hasher));
	if (r != 0)
		return r;
	digest_end(&state, &entry->digest);
	if (is_believed)
		entry->digest = *told;
	if (told && !digest_is_equal(told, &entry->digest))
		return refuse(reterr_refusal, REFUSAL_MALFORMED_BUNDLE,
			      "the bundle's table has another digest for '%s' than the entry's "
			      "content: expected what 'affix build' writes",
			      entry->name);
	return 0;
}

/* Where the content goes: to a sink that wants it, else into the file. */
static int open_place(struct reading *reading, const struct bundle_entry *entry,
		      struct spool *spool, struct refusal *reterr_refusal)
{
	const struct bundle_sink *sink = reading->spool ? reading->spool->sink : NULL;
	bool is_taken = false;
	int r = 0;

	reading->sink = NULL;
	if (!reading->spool)
		return 0;
	if (sink && !entry->text)
		r = sink->begin(sink->context, entry->size, &is_taken);
	if (r == 0)
		r = spool_open(spool, reading->spool->dirfd, is_taken ? 0 : entry->size, 0,
			       reterr_refusal);
	if (r != 0)
		return r;
	spool->is_kept = !reading->spool->is_fleeting;
	if (is_taken)
		reading->sink = sink;
	return 0;
}

static int close_place(const struct reading *reading, const struct bundle_entry *entry)
{
	if (!reading->sink)
		return 0;
	if (ftruncate(entry->fd, (off_t)entry->size) < 0)
		return -errno;
	return reading->sink->end(reading->sink->context, entry->fd);
}

/* gcc 12's analyzer takes for lost what is kept behind the bundle. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

static int read_entry(struct reading *reading, const char *name, uint64_t size,
		      struct refusal *reterr_refusal)
{
	cleanup_spool struct spool spool = SPOOL_INIT;
	struct bundle *bundle = reading->bundle;
	struct bundle_entry *entry = &bundle->entries[bundle->n_entries];
	bool is_text = text_limit(bundle, name) > 0;
	int r;

	*entry = (struct bundle_entry){
		.name = strdup(name),
		.size = size,
		.is_binary = bundle->manifest && str_equal(name, bundle->manifest->exec_binary),
		.text = is_text ? calloc(1, (size_t)size + 1) : NULL,
		.fd = -EBADF,
	};
	bundle->n_entries++;
	if (!entry->name || (is_text && !entry->text))
		return -ENOMEM;
	r = open_place(reading, entry, &spool, reterr_refusal);
	if (r != 0)
		return r;
	r = stream_and_digest(reading, entry, &spool, reterr_refusal);
	entry->fd = spool_take(&spool);
	if (r == 0)
		r = close_place(reading, entry);
	if (r == 0)
		bundle->size += size;
	return r;
}

#pragma GCC diagnostic pop

static int parse_manifest(struct bundle *bundle, struct refusal *reterr_refusal)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	const struct bundle_entry *entry = &bundle->entries[0];
	int r = manifest_parse(entry->text, (size_t)entry->size, entry->name, &bundle->manifest,
			       &diagnostics);

	return r <= 0 ? r : diagnostics_refuse(&diagnostics, reterr_refusal);
}

static int read_entries(struct reading *reading, struct refusal *reterr_refusal)
{
	struct bundle *bundle = reading->bundle;

	for (;;) {
		const char *name = NULL;
		uint64_t size = 0;
		int r = tar_next(reading->tar, &name, &size, reterr_refusal);

		if (r != 0)
			return r;
		if (!name)
			return 0;
		r = check_header(bundle, name, size, reterr_refusal);
		if (r != 0)
			return r;
		r = read_entry(reading, name, size, reterr_refusal);
		if (r != 0)
			return r;
		r = bundle->manifest ? 0 : parse_manifest(bundle, reterr_refusal);
		if (r != 0)
			return r;
	}
}

static int check_table(const struct reading *reading, struct refusal *reterr_refusal)
{
	if (!reading->table || reading->table->n == reading->bundle->n_entries)
		return 0;
	return refuse(reterr_refusal, REFUSAL_MALFORMED_BUNDLE,
		      "the bundle's table has %zu digests for %zu entries", reading->table->n,
		      reading->bundle->n_entries);
}

int contents_read(const struct tar_source *source, const struct digest_table *table,
		  struct hasher *hasher, const struct identity *identity,
		  const struct bundle_spool *spool, struct bundle **ret,
		  struct refusal *reterr_refusal)
{
	cleanup_bundle struct bundle *bundle = calloc(1, sizeof(*bundle));
	cleanup_tar struct tar *tar = NULL;
	struct reading reading = {
		.table = table, .hasher = hasher, .bundle = bundle, .spool = spool};
	int r;

	if (!bundle)
		return -ENOMEM;
	bundle->entries = calloc(BUNDLE_ENTRIES_MAX, sizeof(*bundle->entries));
	if (!bundle->entries)
		return -ENOMEM;
	r = tar_open(source, &tar, reterr_refusal);
	if (r != 0)
		return r;
	reading.tar = tar;
	r = read_entries(&reading, reterr_refusal);
	if (r == 0)
		r = check_table(&reading, reterr_refusal);
	if (r != 0)
		return r;
	r = agree_check(bundle, identity, reading.head, reading.head_size, reterr_refusal);
	if (r != 0)
		return r;
	*ret = TAKE_PTR(bundle);
	return 0;
}
