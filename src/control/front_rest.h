/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/front_http.h"

#define UPLOAD_MAX 1077936128ULL /* 1 GiB and some: the largest bundle */

/* The REST API: requests go to the store, what it answers goes back. */

/* The request's head is here; its body, if any, is yet to come. */
void rest_begin(struct exchange *exchange);
/* A piece of a body that is spooled. Non-zero: close the connection. */
int rest_spool(struct exchange *exchange, const void *data, size_t size);
/* The body is here. */
void rest_complete(struct exchange *exchange);
void rest_on_response(struct front *front, const Link__HttpResponse *response);
/* Tells the store that nobody waits any more for what it has not answered yet. */
void rest_forget_question(struct exchange *exchange);
/* What an upload leaves behind unless the store was told of it. */
void rest_forget_spool(struct exchange *exchange);
