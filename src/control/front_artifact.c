/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Artifacts are files named by their SHA-256: nothing about one ever changes, so its name is its
 * ETag. A URL that the store signed is all the permission that is needed; what host it was made for
 * is the store's business. One range a request is served; of several, the whole file (RFC 9110 lets
 * a server ignore what it does not want).
 */

#include "control/front_artifact.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/path.h"
#include "control/child.h"

#define ARTIFACT_TYPE "application/octet-stream"
#define RANGE_UNIT    "bytes="

enum range {
	RANGE_NONE,
	RANGE_PART,
	RANGE_BAD,
};

/* Digits up to *stop*; false where there are none or too many. */
static bool read_number(const char **at, uint64_t *ret)
{
	char *end = NULL;

	if (**at < '0' || **at > '9')
		return false;
	errno = 0;
	*ret = strtoull(*at, &end, 10);
	*at = end;
	return errno == 0;
}

/* "bytes=FIRST-[LAST]" or "bytes=-COUNT" of a file of *size* bytes; anything else is no range. */
static enum range read_range(const char *text, uint64_t size, uint64_t *ret_start,
			     uint64_t *ret_end)
{
	const char *at;
	uint64_t first = 0;
	uint64_t last = 0;
	bool has_first;
	bool has_last;

	if (!text || strncmp(text, RANGE_UNIT, strlen(RANGE_UNIT)) != 0)
		return RANGE_NONE;
	at = text + strlen(RANGE_UNIT);
	has_first = read_number(&at, &first);
	if (*at++ != '-')
		return RANGE_NONE;
	has_last = read_number(&at, &last);
	if (*at != '\0' || (!has_first && !has_last) || (has_first && has_last && last < first))
		return RANGE_NONE;
	if (has_first ? first >= size : last == 0)
		return RANGE_BAD;
	*ret_start = has_first ? first : size - MIN(last, size);
	*ret_end = has_first && has_last ? MIN(last, size - 1) + 1 : size;
	return RANGE_PART;
}

/* Whether If-Range, where it is there, still means this file. */
static bool is_range_meant(struct exchange *exchange, const char *sha256)
{
	cleanup_free char *condition = front_header(exchange->wsi, WSI_TOKEN_HTTP_IF_RANGE);

	return !condition || strstr(condition, sha256);
}

static void answer_range(struct exchange *exchange, const char *sha256, int fd, uint64_t size)
{
	cleanup_free char *range = front_header(exchange->wsi, WSI_TOKEN_HTTP_RANGE);
	uint64_t start = 0;
	uint64_t end = size;
	enum range kind = RANGE_NONE;

	if (range && is_range_meant(exchange, sha256))
		kind = read_range(range, size, &start, &end);
	if (kind == RANGE_BAD) {
		(void)fd_close(fd);
		exchange_add_header(exchange, "content-range:", "bytes */%" PRIu64, size);
		exchange_refuse(exchange, HTTP_STATUS_REQ_RANGE_NOT_SATISFIABLE, "bad-range",
				"the artifact is shorter than that");
		return;
	}
	exchange->file_fd = fd;
	exchange->file_at = start;
	exchange->file_end = end;
	if (kind == RANGE_PART)
		exchange_add_header(exchange,
				    "content-range:", "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64,
				    start, end - 1, size);
	exchange_answer(exchange, kind == RANGE_PART ? HTTP_STATUS_PARTIAL_CONTENT : HTTP_STATUS_OK,
			ARTIFACT_TYPE, NULL, 0);
}

void artifact_answer(struct exchange *exchange, const char *sha256)
{
	cleanup_free char *known = front_header(exchange->wsi, WSI_TOKEN_HTTP_IF_NONE_MATCH);
	cleanup_fd int fd = -EBADF;
	struct stat st;

	if (!path_is_safe_name(sha256) ||
	    path_open_beneath(FRONT_FD_ARTIFACTS, sha256, O_RDONLY | O_NONBLOCK, 0, &fd) < 0 ||
	    fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		exchange_refuse(exchange, HTTP_STATUS_NOT_FOUND, "not-found",
				"the artifact is not there any more");
		return;
	}
	exchange_add_header(exchange, "etag:", "\"%s\"", sha256);
	exchange_add_header(exchange, "accept-ranges:", "bytes");
	exchange_add_header(exchange, "cache-control:", "private, immutable, max-age=31536000");
	if (known && strstr(known, sha256))
		exchange_answer(exchange, HTTP_STATUS_NOT_MODIFIED, ARTIFACT_TYPE, NULL, 0);
	else
		answer_range(exchange, sha256, TAKE_FD(fd), (uint64_t)st.st_size);
}

void artifact_begin(struct exchange *exchange)
{
	struct front *front = exchange->front;
	struct package_url url;
	int r;

	exchange->kind = EXCHANGE_ARTIFACT;
	if (strcmp(exchange->method, "GET") != 0 && !exchange->is_head) {
		exchange_refuse_body(exchange, HTTP_STATUS_METHOD_NOT_ALLOWED, "method-not-allowed",
				     "artifacts are fetched with GET");
		return;
	}
	if (!front->has_key) {
		exchange_add_header(exchange, "retry-after:", "1");
		exchange_refuse(exchange, HTTP_STATUS_SERVICE_UNAVAILABLE, "starting",
				"the server has just started; try again");
		return;
	}
	r = package_url_parse(front->key, exchange->path, exchange->query, clock_realtime_sec(),
			      &url);
	if (r == 0)
		artifact_answer(exchange, url.sha256);
	else if (r == PACKAGE_URL_E_EXPIRED)
		exchange_refuse(exchange, HTTP_STATUS_FORBIDDEN, "expired",
				"the URL is too old; the next offer has a new one");
	else if (r == PACKAGE_URL_E_SIGNATURE)
		exchange_refuse(exchange, HTTP_STATUS_FORBIDDEN, "bad-signature",
				"the URL is not one that this server made");
	else
		exchange_refuse(exchange, HTTP_STATUS_NOT_FOUND, "not-found",
				"there is nothing of this name");
}
