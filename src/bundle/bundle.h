/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bundle/identity.h"
#include "bundle/sink.h"
#include "bundle/trust.h"
#include "crypto/digest.h"
#include "manifest/manifest.h"

struct frames;
struct hasher;

#define BUNDLE_ENTRIES_MAX    64U
#define BUNDLE_ENTRY_SIZE_MAX (512ULL << 20)
#define BUNDLE_SIZE_MAX       (1ULL << 30) /* all entries together; and the compressed file */
#define BUNDLE_TEXT_SIZE_MAX  262144U      /* manifest, schema, a unit: kept in memory */
#define BUNDLE_WINDOW_LOG_MAX 23           /* the largest zstd window we decode: 8 MiB */
/* A bundle is a row of zstd frames that hold so much each; the last one may hold any less. */
#define BUNDLE_FRAME_SIZE_MAX  (1UL << 20)
#define BUNDLE_FRAME_SIZE_UNIT (64UL << 10)

/* One file of a bundle. */
struct bundle_entry {
	char *name;
	uint64_t size;
	struct digest digest;
	bool is_binary; /* exec.binary: 0755; everything else is 0644 */
	char *text;     /* manifest, schema, *.service, *.timer: the bytes, NUL behind; else NULL */
	int fd; /* with a spool: an unnamed file (O_TMPFILE) of this content, owned; else -EBADF */
};

/* A bundle whose bytes were read whole and found well-formed. Entries: addon.yaml first, then by
 * name. */
struct bundle {
	struct identity identity;
	struct digest digest; /* of the bundle file */
	struct manifest *manifest;
	struct bundle_entry *entries;
	size_t n_entries;
	uint64_t size;                          /* of all entries */
	char key_id[MINISIGN_KEY_ID_TEXT_SIZE]; /* the key that signed it; "" for none */
};

/* The copy of a small bundle, which is digested while something else is done. */
struct bundle_copy;

/* NULL: nothing was begun, and bundle_receive() does all of it. */
struct bundle_copy *bundle_copy_begin(int fd);
struct bundle_copy *bundle_copy_free(struct bundle_copy *copy);

DEFINE_CLEANUP(struct bundle_copy *, bundle_copy, bundle_copy_free)
#define cleanup_bundle_copy CLEANUP(cleanup_bundle_copy)

/* What of the request makes a bundle's bytes acceptable, and where they are kept meanwhile. */
struct bundle_verify {
	const char *signature; /* text of the signature file */
	size_t signature_size;
	const struct trust *trust;
	uint64_t now;              /* 0: the signature's times are not judged */
	uint64_t deadline_usec;    /* CLOCK_MONOTONIC; the copy must be done by then; 0: none */
	int private_dirfd;         /* a directory that nobody but us can write to */
	struct bundle_copy *begun; /* of the same file, borrowed; or NULL */
};

/* Verified bytes, and what their signature says. */
struct bundle_receipt {
	int fd;          /* or: */
	uint8_t *memory; /* the bytes, so many */
	uint64_t size;
	struct digest digest;
	struct identity identity;
	const struct trust_key *key; /* borrowed from the trust */
	struct hasher *hasher;       /* what reads them, which got ready meanwhile */
	struct frames *frames;
};

#define BUNDLE_RECEIPT_INIT     \
	(struct bundle_receipt) \
	{                       \
		.fd = -EBADF    \
	}

void bundle_receipt_done(struct bundle_receipt *receipt);
#define cleanup_bundle_receipt CLEANUP(bundle_receipt_done)

/*
 * Copies *fd* (a regular file; a large sealed memfd is used as it is) into an unnamed file, or into
 * memory if it is small, digests what it copies, and verifies the signature over it. Nothing of the
 * bundle is parsed. 0; refused; -errno.
 */
must_check int bundle_receive(int fd, const struct bundle_verify *verify,
			      struct bundle_receipt *ret, struct refusal *reterr_refusal);

/* Where the content of entries goes. */
struct bundle_spool {
	int dirfd;
	bool is_fleeting; /* it is copied elsewhere soon: no writeback is started */
	bool is_trusting; /* digests that the bundle says are believed, but of texts */
	const struct bundle_sink *sink; /* NULL, or who takes the content of large entries */
};

/*
 * Reads the bundle in *fd* (verified bytes, or a file that is only inspected): one pass, every
 * limit on actual bytes, layout, manifest, ELF class and machine, units present for the supervision
 * model, schema compiles. With *spool* (else NULL) each entry's content goes to an
 * O_TMPFILE there (mode 0600, writeback started, not yet synced). *identity* is what the comment
 * said and must agree with the manifest, or NULL: then os and arch come from the binary and the
 * other fields from the manifest, and the bundle's digest is made; whoever has an identity has that
 * too, and sets it. 0; refused; -errno.
 */
must_check int bundle_open(int fd, const struct identity *identity,
			   const struct bundle_spool *spool, struct bundle **ret,
			   struct refusal *reterr_refusal);
/* The same of what was received, once. */
must_check int bundle_open_received(struct bundle_receipt *receipt,
				    const struct bundle_spool *spool, struct bundle **ret,
				    struct refusal *reterr_refusal);
struct bundle *bundle_free(struct bundle *bundle);

DEFINE_CLEANUP(struct bundle *, bundle, bundle_free)
#define cleanup_bundle CLEANUP(cleanup_bundle)

/* Closes the spooled content: a program that somebody holds open for writing cannot be executed. */
void bundle_close_spool(struct bundle *bundle);

/* The entry called *name*, or NULL. */
const struct bundle_entry *bundle_find(const struct bundle *bundle, const char *name);

/* Whether *name* ends in .service or .timer. */
bool bundle_is_unit_name(const char *name);
