/* SPDX-License-Identifier: Apache-2.0 */

/* Request headers: whatever is accepted can be written, reads back as itself, and is judged. */

#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"
#include "ipc/request.h"
#include "must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_request struct request request = REQUEST_INIT;
	cleanup_request struct request again = REQUEST_INIT;
	struct refusal refusal = REFUSAL_INIT;
	cleanup_free char *first = NULL;
	cleanup_free char *second = NULL;
	int r;

	r = request_parse((const char *)data, size, &request, &refusal);
	if (r != 0) {
		must(r < 0 || (refusal.code == (enum refusal_code)r && refusal.text[0]));
		return 0;
	}
	must(request_format(&request, &first) == 0);
	must(request_parse(first, strlen(first), &again, &refusal) == 0);
	must(request_format(&again, &second) == 0);
	must(strcmp(first, second) == 0);
	if (request_check_fleet(&request, &refusal) == 0)
		must(!request.purge && !request.version[0] && !request.allow_downgrade &&
		     request.verb != REQUEST_HOLD && request.verb != REQUEST_PRUNE &&
		     request.verb != REQUEST_CLEAR_QUARANTINE);
	return 0;
}
