/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* What becomes of one blob: told as bytes come, for people who wait. */
enum oci_step {
	OCI_STEP_START,  /* *total* bytes are to come; *done* of them are there from an earlier try
			  */
	OCI_STEP_MOVED,  /* *done* bytes are there */
	OCI_STEP_RETRY,  /* it failed as *text* says, and is tried again */
	OCI_STEP_DONE,   /* all of it is there, and checked */
	OCI_STEP_EXISTS, /* it was there before */
};

struct oci_progress {
	enum oci_step step;
	const char *digest; /* of the blob */
	uint64_t done;
	uint64_t total;
	const char *text; /* OCI_STEP_RETRY */
};

/* Zero-initialised is good for everything. */
struct oci_options {
	const char *os;          /* NULL: linux */
	const char *arch;        /* NULL: this machine's */
	const char *variant;     /* NULL: any, the machine's own first */
	const char *cache_path;  /* NULL: $XDG_CACHE_HOME/affix/oci */
	const char *config_path; /* NULL: $DOCKER_CONFIG/config.json, ~/.docker/config.json */
	const char *ca_file;     /* trusted instead of the system's authorities */
	void (*on_progress)(void *userdata, const struct oci_progress *progress);
	void *userdata;
};
