/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Downloads. Nothing that a server says is believed: sizes are counted as bytes come, space is
 * looked at before the first byte is written, a slow trickle ends at a speed and at a time. What
 * came stays, so that the next attempt asks for the rest only; whether the whole is the right one
 * is a digest's business and not ours. Redirects are followed here and not by libcurl, because each
 * has to lead to where bundles may come from.
 */

#include "agent/download.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "agent/address.h"
#include "agent/download_origin.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"

#define REDIRECTS_MAX  3U
#define SPACE_INTERVAL (16ULL << 20)
#define STATUS_RANGE   416
#define TEXT_SIZE      DOWNLOAD_ORIGIN_TEXT_MAX

static_assert(TEXT_SIZE >= CURL_ERROR_SIZE + 64, "what libcurl says fits");

struct download {
	struct web_transfer *transfer;
	struct download_spec spec;
	char *url; /* where it is fetched now, absolute */
	unsigned redirects;
	uint64_t due; /* when it must be over */
	int fd;
	uint64_t offset;     /* where this attempt began */
	uint64_t written;    /* of the whole file */
	uint64_t next_check; /* of space */
	/* Why writing stopped, or NULL. */
	const char *stop_name;
	enum memory_failure stop_kind;
};

void download_part_name(const char *hash, char ret[DOWNLOAD_NAME_SIZE])
{
	(void)snprintf(ret, DOWNLOAD_NAME_SIZE, "%.64s.part", hash);
}

static size_t stop(struct download *download, enum memory_failure kind, const char *name)
{
	download->stop_kind = kind;
	download->stop_name = name;
	return 0;
}

/* Whether *more* bytes fit, and leave free what others need. */
static bool has_space(const struct download *download, uint64_t more)
{
	struct statvfs st;

	if (fstatvfs(download->fd, &st) < 0)
		return true;
	return (uint64_t)st.f_bavail * st.f_frsize >=
	       more + download->spec.config->download_keep_free;
}

static bool check_space(struct download *download)
{
	curl_off_t length = -1;
	uint64_t more = SPACE_INTERVAL;

	if (download->written < download->next_check)
		return true;
	(void)curl_easy_getinfo(download->transfer->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T,
				&length);
	/* All that is announced, before the first byte; piece by piece afterwards. */
	if (download->next_check == 0 && length > 0)
		more = (uint64_t)length;
	download->next_check = download->written + SPACE_INTERVAL;
	return has_space(download, MIN(more, download->spec.config->download_max_bytes));
}

static long get_status(const struct download *download)
{
	long status = 0;

	(void)curl_easy_getinfo(download->transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	return status;
}

static bool is_redirect(const struct download *download)
{
	switch (get_status(download)) {
	case 301:
	case 302:
	case 303:
	case 307:
	case 308:
		return true;
	default:
		return false;
	}
}

static size_t on_body(char *data, size_t size, size_t count, void *userdata)
{
	struct download *download = userdata;
	size_t length = size * count;

	/* What stands there to be read by people is no bundle. */
	if (is_redirect(download))
		return 0;
	if (length > download->spec.config->download_max_bytes - download->written)
		return stop(download, MEMORY_PERMANENT, "too-large");
	if (!check_space(download))
		return stop(download, MEMORY_TRANSIENT, "no-space");
	if (fd_write_full(download->fd, data, length) < 0)
		return stop(download, MEMORY_TRANSIENT, "write-failed");
	download->written += length;
	return length;
}

static void finish(struct download *download, const struct download_end *end)
{
	download->spec.on_end(download->spec.userdata, end);
}

static const char *stop_text(const struct download *download)
{
	if (strcmp(download->stop_name, "too-large") == 0)
		return "the download is larger than agent.yaml allows";
	if (strcmp(download->stop_name, "no-space") == 0)
		return "there is not enough space for the download";
	return "the download could not be written";
}

/* What is left of the time for all of it; at least a second, since 0 is for ever. */
static void set_time(struct download *download)
{
	uint64_t now = clock_monotonic_usec();
	uint64_t left = download->due > now ? (download->due - now) / CLOCK_USEC_PER_SEC : 0;

	(void)curl_easy_setopt(download->transfer->easy, CURLOPT_TIMEOUT, MAX((long)left, 1L));
}

static int go_to(struct download *download, const char *next)
{
	cleanup_free char *url = strdup(next);
	bool is_same = false;
	int r;

	if (!url)
		return -ENOMEM;
	r = download_is_same_origin(download->url, url, &is_same);
	if (r < 0)
		return r;
	if (!is_same)
		web_transfer_forget_who(download->transfer);
	free(download->url);
	download->url = TAKE_PTR(url);
	download->redirects++;
	set_time(download);
	return web_transfer_again(download->transfer, download->url);
}

/* Where the redirect leads; NULL: nowhere. 0 or -ENOMEM. */
static int find_location(const struct download *download, char **ret)
{
	struct curl_header *header = NULL;

	*ret = NULL;
	if (curl_easy_header(download->transfer->easy, "Location", 0, CURLH_HEADER, -1, &header) !=
	    CURLHE_OK)
		return 0;
	return address_resolve(download->url, header->value, ret);
}

/* Whether the download goes on elsewhere; if not, *end* has why. */
static bool follow(struct download *download, char text[TEXT_SIZE], struct download_end *end)
{
	cleanup_free char *next = NULL;
	bool is_allowed = false;
	int r;

	end->kind = MEMORY_TRANSIENT;
	end->name = "download-failed";
	end->text = text;
	(void)snprintf(text, TEXT_SIZE, "the download was redirected %u times, or to nowhere",
		       download->redirects + 1);
	r = find_location(download, &next);
	if (r == 0 && (!next || download->redirects >= REDIRECTS_MAX))
		return false;
	/* From a safe place to no unsafe one. */
	if (r == 0 &&
	    (str_starts_with(next, "https://") || !str_starts_with(download->url, "https://")))
		r = download_is_allowed(download->spec.config, next, &is_allowed);
	if (r == 0 && !is_allowed) {
		end->kind = MEMORY_PERMANENT;
		end->name = DOWNLOAD_ORIGIN_NAME;
		download_refuse_origin(download->spec.config, next, text);
		return false;
	}
	if (r == 0)
		r = go_to(download, next);
	if (r < 0)
		(void)snprintf(text, TEXT_SIZE, "the redirect could not be followed: %s",
			       strerrordesc_np(-r));
	return r == 0;
}

/* How it ended, where it was not redirected. */
static void judge(struct download *download, CURLcode code, char text[TEXT_SIZE],
		  struct download_end *end)
{
	long status = get_status(download);

	if (download->stop_name) {
		end->kind = download->stop_kind;
		end->name = download->stop_name;
		end->text = stop_text(download);
	} else if (code == CURLE_RANGE_ERROR || status == STATUS_RANGE) {
		/* The server does not go on where we stopped, or there is nothing more: anew. */
		ignore_result(ftruncate(download->fd, 0));
		end->kind = MEMORY_TRANSIENT;
		end->name = "download-failed";
		end->text = "the server does not resume the download; it begins anew";
	} else if (code == CURLE_HTTP_RETURNED_ERROR) {
		(void)snprintf(text, TEXT_SIZE, "the download was answered with HTTP status %ld",
			       status);
		end->kind = reconcile_judge_status(status);
		end->name = "download-refused";
		end->text = text;
	} else if (code != CURLE_OK) {
		(void)snprintf(text, TEXT_SIZE, "the download failed: %s",
			       web_transfer_error(download->transfer, code));
		end->kind = MEMORY_TRANSIENT;
		end->name = "download-failed";
		end->text = text;
	}
}

static void on_done(void *userdata, CURLcode code)
{
	struct download *download = userdata;
	struct download_end end = {.is_resumed = download->offset > 0};
	curl_off_t retry_after = 0;
	char text[TEXT_SIZE];

	(void)curl_easy_getinfo(download->transfer->easy, CURLINFO_RETRY_AFTER, &retry_after);
	end.retry_after = retry_after > 0 ? (uint64_t)retry_after : 0;
	if (is_redirect(download)) {
		if (follow(download, text, &end))
			return;
	} else {
		judge(download, code, text, &end);
	}
	finish(download, &end);
}

static int open_part(struct download *download)
{
	char name[DOWNLOAD_NAME_SIZE];
	struct stat st;

	download_part_name(download->spec.hash, name);
	download->fd = openat(download->spec.dirfd, name,
			      O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (download->fd < 0 || fstat(download->fd, &st) < 0)
		return -errno;
	download->offset = (uint64_t)st.st_size;
	if (download->offset >= download->spec.config->download_max_bytes) {
		if (ftruncate(download->fd, 0) < 0)
			return -errno;
		download->offset = 0;
	}
	download->written = download->offset;
	return 0;
}

static void set_options(struct download *download)
{
	const struct config *config = download->spec.config;
	CURL *easy = download->transfer->easy;

	(void)curl_easy_setopt(easy, CURLOPT_FAILONERROR, 1L);
	(void)curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE,
			       (curl_off_t)config->download_max_bytes);
	(void)curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, (long)config->download_min_speed);
	(void)curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)config->download_slow_seconds);
	(void)curl_easy_setopt(easy, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)download->offset);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(easy, CURLOPT_WRITEDATA, download);
	download->due = clock_monotonic_usec() + config->download_max_seconds * CLOCK_USEC_PER_SEC;
	set_time(download);
}

static int add_headers(struct download *download)
{
	const char *key;
	json_t *value;
	int r = 0;

	json_object_foreach((json_t *)download->spec.headers, key, value)
	{
		if (r == 0 && json_is_string(value))
			r = web_transfer_add_header(download->transfer, key,
						    json_string_value(value));
	}
	return r;
}

/* The transfer, where it may be made. This host's certificate is shown to the server only. */
static int make_transfer(struct web *web, struct download *download)
{
	const struct config *config = download->spec.config;
	bool is_allowed = false;
	bool is_own = false;
	int r;

	r = address_resolve(config->url, download->spec.url, &download->url);
	if (r == 0 && download->url)
		r = download_is_allowed(config, download->url, &is_allowed);
	if (r == 0 && !is_allowed)
		return DOWNLOAD_E_ORIGIN;
	if (r == 0)
		r = download_is_same_origin(config->url, download->url, &is_own);
	if (r == 0)
		r = web_transfer_new(web, download->url, &download->transfer);
	if (r < 0)
		return r;
	if (!is_own)
		web_transfer_forget_who(download->transfer);
	return 0;
}

int download_start(struct web *web, const struct download_spec *spec, struct download **ret)
{
	cleanup_download struct download *download = calloc(1, sizeof(*download));
	int r;

	if (!download)
		return -ENOMEM;
	download->fd = -EBADF;
	download->spec = *spec;
	r = make_transfer(web, download);
	if (r == 0)
		r = open_part(download);
	if (r != 0)
		return r;
	set_options(download);
	r = add_headers(download);
	if (r < 0)
		return r;
	download->transfer->on_done = on_done;
	download->transfer->userdata = download;
	r = web_transfer_start(download->transfer);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(download);
	return 0;
}

struct download *download_free(struct download *download)
{
	if (!download)
		return NULL;
	(void)web_transfer_free(download->transfer);
	(void)fd_close(download->fd);
	free(download->url);
	free(download);
	return NULL;
}
