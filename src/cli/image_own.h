/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/image_bundles.h"
#include "cli/own_files.h"
#include "cli/own_plan.h"

#define IMAGE_OWN_SETS_MAX 2U

/* affix itself, to be put into an image before its add-ons: --with-affix, --profile. */
struct image_own {
	bool with_affix;
	bool is_vm;
	bool allow_downgrade;
	const char *trust; /* as the bundles' */
	bool has_trust;    /* somebody named it; an image that has keys keeps them otherwise */
	struct own_files files;
	const char *sets[IMAGE_OWN_SETS_MAX];
	struct result results[IMAGE_OWN_SETS_MAX];
	size_t count;
};

#define IMAGE_OWN_INIT                  \
	(struct image_own)              \
	{                               \
		.files = OWN_FILES_INIT \
	}

void image_own_done(struct image_own *own);
#define cleanup_image_own CLEANUP(image_own_done)

/* Takes the value of --profile. COMMAND_DONE, or an exit code after a line on stderr, as all here.
 */
must_check int image_own_set_profile(struct image_own *own, const struct command *command,
				     const char *value);

/* Finds the files, once the options are known; what is put in is added to *ids*. */
must_check int image_own_open(struct image_own *own, struct strv *ids);

/* Adds what it needs at most. */
must_check int image_own_measure(const struct image_own *own, uint64_t block_size,
				 struct image_bundles_need *need);

/* Has the engine install it in the copy. */
must_check int image_own_install(struct image_own *own, struct image_work *work);

/* The answers: "results" of *json*, or for people. */
must_check int image_own_to_json(const struct image_own *own, json_t *json);
void image_own_show(const struct image_own *own);
