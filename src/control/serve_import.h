/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <systemd/sd-event.h>

#include "base/cleanup.h"
#include "control/link.h"

struct package_arrival;

/* Uploads that are checked beside the loop, one after another; and beside both what is pulled from
 * registries, from each one after another. */
struct serve_imports;

/* An upload was checked. *front*: the number of the front that asked, 0 if it is gone. */
struct serve_imports_output {
	void *userdata;
	void (*checked)(void *userdata, unsigned front, const Link__HttpRequest *request,
			struct package_arrival *arrival);
};

must_check int serve_imports_new(sd_event *event, const struct serve_imports_output *output,
				 struct serve_imports **ret);
/* What is being checked then goes on until the process ends, which is to be soon. */
struct serve_imports *serve_imports_free(struct serve_imports *imports);

DEFINE_CLEANUP(struct serve_imports *, serve_imports, serve_imports_free)
#define cleanup_serve_imports CLEANUP(cleanup_serve_imports)

/* Takes *arrival* over; *request* is copied. Where that cannot be done it is checked at once; a
 * pull beyond as many as may wait is refused: *checked* is called with the problem. */
void serve_imports_add(struct serve_imports *imports, unsigned front,
		       const Link__HttpRequest *request, struct package_arrival *arrival);
/* Nobody waits for the answer to that request any more: a pull ends, and is not answered, unless it
 * has just brought what was wanted. An upload is here already, and taken in. */
void serve_imports_gone(struct serve_imports *imports, unsigned front, uint64_t request);
/* Nor for the answers to any of that front's. */
void serve_imports_front_gone(struct serve_imports *imports, unsigned front);
