/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "oci/condition.h"
#include "oci/options.h"

/* What commands share that move blobs: options, what is shown meanwhile, what is said if it fails.
 */

struct transfer_blob {
	char digest[72];
	uint64_t done;
	uint64_t total;
};

struct transfer {
	struct oci_options oci;
	bool is_quiet;
	bool is_terminal; /* a bar, not lines; and one is shown */
	bool has_bar;
	struct transfer_blob *blobs;
	size_t count;
	uint64_t shown; /* CLOCK_MONOTONIC, microseconds */
};

/* Letters of getopt_long() for the options of all of them; TRANSFER_OPTIONS is for their tables. */
#define TRANSFER_CA       0x100
#define TRANSFER_AUTHFILE 0x101
#define TRANSFER_QUIET    0x102
#define TRANSFER_CACHE    0x103
#define TRANSFER_OPTIONS                                                  \
	{"ca", required_argument, NULL, TRANSFER_CA},                     \
		{"authfile", required_argument, NULL, TRANSFER_AUTHFILE}, \
		{"cache", required_argument, NULL, TRANSFER_CACHE},       \
	{                                                                 \
		"quiet", no_argument, NULL, TRANSFER_QUIET                \
	}
#define TRANSFER_HELP                                                                            \
	"  --ca FILE         trust these authorities for the registry's TLS, not the system's\n" \
	"  --authfile FILE   credentials (default: $DOCKER_CONFIG or ~/.docker, config.json)\n"  \
	"  --cache DIR       keep blobs there (default: $XDG_CACHE_HOME/affix/oci)\n"            \
	"  --quiet           show no progress\n"

/* Takes one of those options; false for another. */
bool transfer_option(struct transfer *transfer, int option, const char *value);
/* "OS/ARCH" into two fields; false if it is anything else. */
bool transfer_platform(const char *text, char os[32], char arch[32]);
/* To be called before anything is moved, with the transfer where it stays. */
void transfer_begin(struct transfer *transfer);
/* Takes the bar away. */
void transfer_end(struct transfer *transfer);
void transfer_done(struct transfer *transfer);
#define cleanup_transfer CLEANUP(transfer_done)

/* After an oci_ function: what the program exits with, after one line on stderr. *r* is not 0;
 * *format* is for -errno. */
int transfer_failed(int r, const struct problem *problem, const char *what);
