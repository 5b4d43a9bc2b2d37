/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "ipc/diagnostic.h"

#define MANIFEST_STATE_DIRS_MAX 64U
#define MANIFEST_NAME           "addon.yaml"
#define MANIFEST_SIZE_MAX       262144U /* 256 KiB */
#define MANIFEST_ID_MAX         25U
#define MANIFEST_WINDOW_MAX     900U

enum manifest_delivery {
	MANIFEST_DELIVERY_COMPILED_IN,
	MANIFEST_DELIVERY_PUSHED_ARTIFACT,
	MANIFEST_DELIVERY_OS_PACKAGE,
	MANIFEST_DELIVERY_N,
};

enum manifest_supervision {
	MANIFEST_SUPERVISION_CONFIG_TOGGLE,
	MANIFEST_SUPERVISION_AGENT_SIDECAR,
	MANIFEST_SUPERVISION_SYSTEMD_SERVICE,
	MANIFEST_SUPERVISION_SYSTEMD_TIMER,
	MANIFEST_SUPERVISION_EPHEMERAL_HELPER,
	MANIFEST_SUPERVISION_N,
};

/* Limits of the add-on's services. 0: none. */
struct manifest_limits {
	uint64_t cpu_max_percent; /* of one CPU */
	uint64_t memory_high_bytes;
	uint64_t memory_max_bytes;
	uint64_t tasks_max;
};

struct manifest_health {
	unsigned window_seconds; /* 1 to MANIFEST_WINDOW_MAX, 10 by default */
	unsigned max_restarts;   /* 0 by default */
	char *ready_socket;      /* below /run/affix/<id>/, or NULL */
	bool run_once;           /* timers: the job runs once before commit; true by default */
};

/* What addon.yaml says; addon.yaml(5) is the reference. Lists keep the file's order. */
struct manifest {
	char *id;
	char *name;
	char *version;
	char *description; /* or NULL */
	enum manifest_delivery delivery;
	enum manifest_supervision supervision;
	struct strv capabilities;    /* feature names, not Linux capabilities */
	char *base_agent;            /* a constraint version_satisfies() understands */
	struct strv platforms;       /* "linux", … */
	struct strv os_capabilities; /* Linux capabilities as "cap_net_raw", lower case */
	struct strv agent_capabilities;
	char *run_as; /* never NULL: `affix-<id>` by default */
	struct manifest_limits limits;
	char *slice;             /* or NULL */
	char *exec_binary;       /* a single name: the binary's entry in the bundle */
	char *exec_install_path; /* or NULL; understood, not used */
	struct strv exec_args;
	bool file_capabilities; /* exec.file_capabilities: os_capabilities as xattr on the binary */
	struct strv state_dirs;
	char *config_schema; /* a single name: the schema's entry in the bundle */
	char *ipc;           /* protocol name, or NULL */
	struct manifest_health health;
};

/*
 * Reads *text* (YAML, no anchors, no tags). Everything wrong is added to *diagnostics* under the
 * name *file*, cross-field rules that need only the manifest included. 0 and *ret* if the manifest
 * can be used (no diagnostic was added); 1 with diagnostics; -errno. The caller frees it.
 */
must_check int manifest_parse(const char *text, size_t size, const char *file,
			      struct manifest **ret, struct diagnostics *diagnostics);
/*
 * The same for who reports more than the manifest's problems: with 1, *ret* is set all the same if
 * id, run_as, exec.binary and config_schema are good; whatever else was not is as if it were not
 * there.
 */
must_check int manifest_parse_partial(const char *text, size_t size, const char *file,
				      struct manifest **ret, struct diagnostics *diagnostics);
struct manifest *manifest_free(struct manifest *manifest);

DEFINE_CLEANUP(struct manifest *, manifest, manifest_free)
#define cleanup_manifest CLEANUP(cleanup_manifest)

/* `[a-z][a-z0-9]*(-[a-z0-9]+)*`, at most MANIFEST_ID_MAX bytes, not reserved. */
bool manifest_id_is_valid(const char *id);

/* Whether affix itself is recorded under it, in images: "affix", its programs, and "vm", what the
 * guest of a virtual machine wants. No add-on can have it. */
bool manifest_id_is_own(const char *id);

/* Whether there can be a record of that id: an add-on's, or affix's own. */
bool manifest_id_is_recorded(const char *id);

/* `linux`/`amd64` and friends, as bundles and comments spell them. */
bool manifest_platform_is_known(const char *os, const char *arch);
/* The architecture that this program was built for. */
const char *manifest_native_arch(void);

const char *manifest_delivery_to_string(enum manifest_delivery delivery);
const char *manifest_supervision_to_string(enum manifest_supervision supervision);

/* The bit of a Linux capability by its lower-case name ("cap_net_raw"), or -EINVAL. */
int manifest_capability_from_string(const char *name);
/* "cap_net_raw" for the bit, or NULL. */
const char *manifest_capability_to_string(int bit);
/* The mask of a list of valid names. */
uint64_t manifest_capability_mask(const struct strv *names);
