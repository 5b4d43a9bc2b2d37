/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "bundle/trust.h"
#include "cli/image.h"

#define IMAGE_BUNDLES_MAX 64U

/* One bundle: its request, and the answer. */
struct image_bundle {
	const char *path; /* borrowed */
	struct host_call call;
	struct result result;
};

/* Add-ons that are to be put into one image, all or none, and what is said of it. */
struct image_bundles {
	const struct command *command; /* whose options these are */
	const char *trust;
	bool is_json;
	bool allow_downgrade;
	struct strv configs; /* ID=FILE */
	struct strv ids;
	struct image_bundle *items;
	size_t count;
};

#define IMAGE_BUNDLES_INIT(c)                           \
	(struct image_bundles)                          \
	{                                               \
		.command = (c), .trust = "/" TRUST_PATH \
	}

void image_bundles_done(struct image_bundles *bundles);
#define cleanup_image_bundles CLEANUP(image_bundles_done)

/* Takes the value of --config. COMMAND_DONE, or an exit code after a line on stderr, as all here.
 */
must_check int image_bundles_add_config(struct image_bundles *bundles, const char *value);

/* Opens the bundles, IMAGE_BUNDLES_MAX at most, and gives each the configuration of its id. *paths*
 * must last. */
must_check int image_bundles_open(struct image_bundles *bundles, char *const *paths, size_t n);

/* What they need at most, and when the last of them was signed. */
struct image_bundles_need {
	uint64_t blocks;
	uint64_t inodes;
	uint64_t created;
};

/* Verifies them, before anything is done that takes long: the engine does it again. */
must_check int image_bundles_measure(const struct image_bundles *bundles, uint64_t block_size,
				     struct image_bundles_need *ret);

/* Begins to receive the first of them: its digest is made while the image is looked at. */
void image_bundles_begin(struct image_bundles *bundles);

/* Has the engine install them in the copy; image_end() brings that into the image. */
must_check int image_bundles_install(struct image_bundles *bundles, struct image_work *work);

/* The answers: added to "results" of *json*, or for people. */
must_check int image_bundles_to_json(const struct image_bundles *bundles, json_t *json);
must_check int image_bundles_show(struct image_bundles *bundles);
