/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <libwebsockets.h>
#include <stdbool.h>

/* Connections that carry one request after another. */

/* A request on the connection begins, or the answer to one is written. */
void reuse_note(struct lws *wsi);
/* Whether the request that begins was sent before the one before it was answered. Where the kernel
 * does not say so, it was. */
bool reuse_is_early(struct lws *wsi);
