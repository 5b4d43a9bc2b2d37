/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/str.h"
#include "cli/command.h"
#include "cli/host.h"
#include "image/content.h"
#include "image/excerpt.h"

/* The verbs of `affix image`, in files of their own; the table is in image.c. */
extern const struct command command_image_build;
extern const struct command command_image_cache;
extern const struct command command_image_cat;
extern const struct command command_image_drift;
extern const struct command command_image_inject;
extern const struct command command_image_ls;
extern const struct command command_image_pull;
extern const struct command command_image_reset;
extern const struct command command_image_rm_add_on;
extern const struct command command_image_status;

/* `NAME: SENTENCE` on stderr for PROBLEM_E_REFUSED, else what *r* (-errno) means; the exit code. */
int image_complain(const struct problem *problem, const struct edit *edit, int r);

/* Makes what is staged the image's, at once. COMMAND_DONE, or the exit code after a line on stderr.
 */
must_check int image_commit(struct edit *edit);

/* An image that the engine works on, through a copy of what it needs. */
struct image_work {
	struct edit edit;
	struct excerpt excerpt;
	struct content *content; /* what goes into the image at once; NULL for reading */
	struct bundle_sink sink; /* its */
	struct strv mended;      /* by image_end(): replay.h */
};

#define IMAGE_WORK_INIT                                                             \
	(struct image_work)                                                         \
	{                                                                           \
		.edit = {.fd = -EBADF, .dirfd = -EBADF}, .excerpt = {.fd = -EBADF } \
	}

/* Opens *image* for the add-ons *ids*. COMMAND_DONE, or the exit code after a line on stderr. */
must_check int image_begin(struct image_work *work, const char *image, bool writable,
			   const struct strv *ids);
/* The same of a file that has no name yet (edit_open_new()), to be changed. */
must_check int image_begin_new(struct image_work *work, int fd, const char *image,
			       const struct strv *ids);
void image_work_done(struct image_work *work);
#define cleanup_image_work CLEANUP(image_work_done)

/* The request's answer, of the copy. As host_ask(). */
must_check int image_ask(struct image_work *work, struct host_call *call, struct result *ret);

/* Makes what the engine did to the copy the image's, at once. COMMAND_DONE, or the exit code after
 * a line on stderr: the image is as it was. */
must_check int image_end(struct image_work *work, const struct strv *ids);
