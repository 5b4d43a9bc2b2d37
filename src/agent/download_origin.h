/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>

#include "agent/config.h"
#include "base/cleanup.h"

/* Whether two absolute addresses are of one origin: http or https, host and port, no name and
 * password in either. 0 or -ENOMEM. */
must_check int download_is_same_origin(const char *a, const char *b, bool *ret);

/* Whether bundles may come from *url*: from the host of agent.yaml's server, at any port and with
 * no weaker scheme, or an origin that it names. 0 or -ENOMEM. */
must_check int download_is_allowed(const struct config *config, const char *url, bool *ret);

#define DOWNLOAD_ORIGIN_NAME     "other-origin"
#define DOWNLOAD_ORIGIN_TEXT_MAX 384U
/* What is wrong with *url*, and what mends it, in a sentence. */
void download_refuse_origin(const struct config *config, const char *url,
			    char ret[DOWNLOAD_ORIGIN_TEXT_MAX]);
