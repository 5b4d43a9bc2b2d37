/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "ipc/result.h"

/*
 * Message ids of the journal entries, one per outcome: affix-updater(8), "Journal". Beside MESSAGE=
 * there are AFFIX_VERB=, AFFIX_ADDON=, AFFIX_VERSION=, AFFIX_RESULT= (the outcome), AFFIX_NAME=
 * (the refusal's or failure's name), AFFIX_REQUEST_ID=, AFFIX_PEER_UID= and AFFIX_SIDE= (admin or
 * fleet).
 */
#define LOG_MESSAGE_DONE        "c2c5627afb5740c0864d44ae23d9ef65"
#define LOG_MESSAGE_REFUSED     "4f35b47fe28640849c4092cb6316b20e"
#define LOG_MESSAGE_ROLLED_BACK "d0aa3734ab1142609e337bf44e8891c5"
#define LOG_MESSAGE_FAILED      "9184055bda094e019d185851678090ff"
#define LOG_MESSAGE_INTERRUPTED "d1565057d49b4bd78f13640e16b590ba"

/* Writes one journal entry about a result; a journal that is not there is no error. */
void log_result(const struct result *result, uid_t peer, bool is_admin);
