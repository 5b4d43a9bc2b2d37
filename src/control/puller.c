/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The process that talks to a registry for affixd. It was executed anew, so nothing of the fleet is
 * in its memory; before it says a word to anybody it gives up every file but what TLS and name
 * resolution read, its own cache and the directory of uploads. A registry that takes it over has
 * gained what an operator may do anyway: to send a bundle that nobody's key has signed.
 *
 * The cache makes a pull that broke off go on the next time. After one that succeeded it is empty,
 * as it is after one for which there was no room; where pulls share it, after the last of them.
 */

#include "control/puller.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/curl.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "control/confine.h"
#include "control/log.h"
#include "oci/artifact.h"

#define CACHE_PATH   "/proc/self/fd/4" /* PULLER_FD_CACHE */
#define KEPT_SECONDS 86400U            /* what a pull that failed has fetched */
#define FILE_MAX     (1ULL << 30)
#define BUSY_TRIES   50U
#define BUSY_USEC    100000U
#define PRUNE_TRIES  20U

/* None is none: not those of the user that affixd runs as. */
#define NO_CREDENTIALS "{}"

struct puller {
	const char *reference;
	const char *number;
	struct oci_options options;
};

static int answer(const json_t *object)
{
	cleanup_free char *text = object ? json_to_canonical(object) : NULL;

	if (!text)
		return -ENOMEM;
	return fd_write_full(STDOUT_FILENO, text, strlen(text));
}

static int answer_problem(int condition, const struct problem *problem)
{
	cleanup_json json_t *object =
		json_pack("{s:i, s:s}", "condition", condition, "text", problem->text);

	return answer(object);
}

/* What a child has to be and to leave before it meets a stranger. */
static int settle_in(const struct puller *puller)
{
	const struct rlimit size = {FILE_MAX, FILE_MAX};
	const struct curl *curl = NULL;
	const char *reason = NULL;
	bool has_files = false;
	int r;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 ||
	    close_range(PULLER_FD_END, UINT_MAX, 0) < 0 || setrlimit(RLIMIT_FSIZE, &size) < 0)
		return -errno;
	/* Libraries before the door is shut; that it is missing is said when it is needed. */
	ignore_result(curl_load(&curl, &reason));
	r = confine_puller(PULLER_FD_CACHE, PULLER_FD_INCOMING, puller->options.config_path,
			   puller->options.ca_file, &has_files);
	if (r == 0 && !has_files)
		log_line(LOG_WARNING, "this kernel cannot confine files: what talks to registries "
				      "could read those of user affixd");
	return r;
}

/* Gives one bundle its name among the uploads. */
static int keep(const struct puller *puller, const struct oci_pulled *pulled, size_t index,
		json_t *items)
{
	cleanup_free char *name = NULL;
	cleanup_free char *held = NULL;
	json_t *item;
	int r;

	r = str_format(&name, PULLER_FILE_NAME, puller->number, index);
	if (r == 0)
		r = str_format(&held, "/proc/self/fd/%d", pulled->bundle_fd);
	if (r != 0)
		return r;
	if (linkat(AT_FDCWD, held, PULLER_FD_INCOMING, name, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	item = json_object();
	if (json_add_string(item, "name", name) < 0 ||
	    json_add(item, "signature", json_stringn(pulled->signature, pulled->signature_size)) <
		    0) {
		json_decref(item);
		return -ENOMEM;
	}
	return json_append(items, item);
}

static int keep_all(const struct puller *puller, const struct oci_pulled_list *pulled,
		    json_t **ret_items, struct problem *reterr_problem)
{
	cleanup_json json_t *items = json_array();
	int r = items ? 0 : -ENOMEM;

	for (size_t i = 0; i < pulled->count && r == 0; i++) {
		const struct oci_pulled *item = &pulled->items[i];

		if (!str_is_utf8(item->signature, item->signature_size))
			return oci_fail(reterr_problem, OCI_BAD_IMAGE,
					"the signature in %s is no text: expected what 'affix "
					"sign' writes",
					item->digest);
		r = keep(puller, item, i, items);
	}
	if (r == 0)
		*ret_items = TAKE_PTR(items);
	return r;
}

static int make_no_credentials(int *ret_fd, char **ret_path)
{
	cleanup_fd int fd = memfd_create("no-credentials", MFD_CLOEXEC);
	int r;

	if (fd < 0)
		return -errno;
	r = fd_write_full(fd, NO_CREDENTIALS, strlen(NO_CREDENTIALS));
	if (r == 0)
		r = str_format(ret_path, "/proc/self/fd/%d", fd);
	if (r == 0)
		*ret_fd = TAKE_FD(fd);
	return r;
}

static int pull(const struct puller *puller, json_t **ret_items, struct problem *reterr_problem)
{
	cleanup_oci_pulled_list struct oci_pulled_list pulled = {0};
	cleanup_oci_origin struct oci_origin origin = OCI_ORIGIN_INIT;
	struct oci_options options = puller->options;
	cleanup_free char *nothing = NULL;
	cleanup_fd int fd = -EBADF;
	int r = 0;

	if (!options.config_path)
		r = make_no_credentials(&fd, &nothing);
	if (nothing)
		options.config_path = nothing;
	if (r == 0)
		r = oci_origin_open(puller->reference, &options, &origin, reterr_problem);
	/* A pull that ends empties the cache, which is soon done. */
	for (unsigned i = 0; r == OCI_BUSY && i < BUSY_TRIES; i++) {
		(void)usleep(BUSY_USEC);
		r = oci_origin_open(puller->reference, &options, &origin, reterr_problem);
	}
	if (r == 0)
		r = oci_addon_pull(&origin, NULL, &pulled, reterr_problem);
	return r == 0 ? keep_all(puller, &pulled, ret_items, reterr_problem) : r;
}

/* What has failed is gone on with the next time, unless it was the disk that had no more room. One
 * that ends just now is waited for; what another pull uses stays until that one ends. */
static void empty_cache(int result)
{
	bool is_kept =
		result != 0 && result != OCI_NO_SPACE && result != -ENOSPC && result != -EDQUOT;
	cleanup_oci_cache struct oci_cache cache = OCI_CACHE_INIT;
	struct problem problem = PROBLEM_INIT;
	uint64_t before = is_kept ? clock_realtime_sec() - KEPT_SECONDS : UINT64_MAX;
	uint64_t count;
	uint64_t size;
	int r = OCI_BUSY;

	for (unsigned i = 0; r == OCI_BUSY && i < PRUNE_TRIES; i++) {
		if (i > 0)
			(void)usleep(BUSY_USEC);
		oci_cache_close(&cache);
		r = oci_cache_open(CACHE_PATH, &cache, &problem);
		if (r == 0)
			r = oci_cache_prune(&cache, before, &count, &size, &problem);
	}
}

static int run(const struct puller *puller)
{
	struct problem problem = PROBLEM_INIT;
	cleanup_json json_t *object = json_object();
	cleanup_json json_t *items = NULL;
	int r = object ? settle_in(puller) : -ENOMEM;

	if (r == 0)
		r = pull(puller, &items, &problem);
	empty_cache(r);
	if (r == OCI_UNAUTHORIZED && !puller->options.config_path)
		problem_set(&problem, oci_condition_to_string(OCI_UNAUTHORIZED),
			    "the registry of '%s' wants credentials: name a file that has them "
			    "(skopeo login --authfile FILE) as 'registry_auth' in affixd.yaml",
			    puller->reference);
	if (r > 0)
		return answer_problem(r, &problem);
	if (r == 0)
		r = json_add(object, "items", TAKE_PTR(items));
	return r == 0 ? answer(object) : r;
}

int puller_run(int argc, char **argv)
{
	struct puller puller = {0};
	int r;

	if (argc != PULLER_ARGUMENTS || fcntl(PULLER_FD_CACHE, F_GETFD) < 0) {
		log_line(LOG_ERR, "'" PULLER_NAME "' is what affixd starts itself; operators ask "
				  "for it by 'affix fleet pull'");
		return EXIT_FAILURE;
	}
	puller.reference = argv[2];
	puller.number = argv[3];
	puller.options.cache_path = CACHE_PATH;
	puller.options.config_path = *argv[4] ? argv[4] : NULL;
	puller.options.ca_file = *argv[5] ? argv[5] : NULL;
	r = run(&puller);
	if (r < 0)
		log_line(LOG_ERR, "'%s' could not be pulled: %s", puller.reference,
			 strerrordesc_np(-r));
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
