/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/desired.h"
#include "agent/reconcile.h"
#include "agent/web.h"
#include "base/cleanup.h"

/* A bundle on its way: DIR/HASH.part, which the next attempt goes on with. */
struct download;

/* How it ended. With MEMORY_NO_FAILURE the file is whole, as far as HTTP knows: its SHA-256 is for
 * whoever uses it to check. */
struct download_end {
	enum memory_failure kind;
	const char *name;
	const char *text;
	uint64_t retry_after;
	bool is_resumed; /* part of it is from an attempt before */
};

struct download_spec {
	const char *url;  /* absolute, or a path on the server of agent.yaml */
	const char *hash; /* SHA-256 in hexadecimal: the file's name */
	const json_t *headers;
	int dirfd; /* borrowed for the download's life */
	const struct config *config;
	void *userdata;
	/* Called once, from the loop. The download may be freed in it. */
	void (*on_end)(void *userdata, const struct download_end *end);
};

/* The URL is none, or neither the server's own nor one that agent.yaml lets bundles come from. */
#define DOWNLOAD_E_ORIGIN 1

/* 0; DOWNLOAD_E_ORIGIN; -errno. */
must_check int download_start(struct web *web, const struct download_spec *spec,
			      struct download **ret);
/* Stops it; what came is kept. */
struct download *download_free(struct download *download);

DEFINE_CLEANUP(struct download *, download, download_free)
#define cleanup_download CLEANUP(cleanup_download)

/* "HASH.part". */
#define DOWNLOAD_NAME_SIZE 80U
void download_part_name(const char *hash, char ret[DOWNLOAD_NAME_SIZE]);
