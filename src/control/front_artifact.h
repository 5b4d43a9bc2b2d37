/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/front_http.h"

/* Answers a request for a download URL. */
void artifact_begin(struct exchange *exchange);

/* Answers with an artifact by its name, as the store demands it; ranges and ETag as for a URL. */
void artifact_answer(struct exchange *exchange, const char *sha256);
