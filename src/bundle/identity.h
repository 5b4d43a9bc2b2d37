/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"
#include "manifest/manifest.h"
#include "manifest/version.h"

/* The highest epoch: what every reader of JSON takes for an exact number. */
#define IDENTITY_EPOCH_MAX 9007199254740991ULL

/* What a signature binds, the trusted comment: `affix:1 id=… version=… os=… arch=… created=…
 * [expires=…] [epoch=N]`. */
struct identity {
	char id[MANIFEST_ID_MAX + 1];
	char version[VERSION_MAX + 1];
	char os[16];
	char arch[16];
	uint64_t created; /* seconds since 1970, UTC; RFC 3339 in the comment */
	uint64_t expires; /* 0: never */
	uint64_t epoch;
};

/* 0; 1 if the comment is anything else: another prefix, an unknown, missing or repeated key, a bad
 * value. */
must_check int identity_parse(const char *comment, struct identity *ret);
/* The comment; the caller frees it. 0 or -ENOMEM. */
must_check int identity_format(const struct identity *identity, char **ret_comment);
/* `<id>-<version>-<os>-<arch>.tar.zst`. */
must_check int identity_file_name(const struct identity *identity, char **ret_name);

/* (epoch, version precedence, created) of two bundles of one add-on: <0, 0, >0. */
int identity_compare(const struct identity *a, const struct identity *b);
