/* SPDX-License-Identifier: Apache-2.0 */

/* updater.yaml: the administrator's, but a typing error must be told and not obeyed. */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "manifest/host_policy.h"
#include "scratch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming): the sanitizer's name */
const char *__lsan_default_suppressions(void);

/* libfyaml 0.7.12 loses a kilobyte of its own when a quoted text ends in nonsense. */
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml";
}

/* NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming) */

/* A root without an updater.yaml, made once. */
static int make_root(void)
{
	cleanup_host_policy struct host_policy *policy = NULL;
	int fd = scratch_make();

	must(mkdirat(fd, "etc", 0755) == 0 && mkdirat(fd, "etc/affix", 0755) == 0);
	must(host_policy_load(fd, &policy, NULL) == 0 && policy != NULL);
	must(!host_policy_allows_user(policy, "probe", "root"));
	must(host_policy_allows_user(policy, "probe", "affix-probe"));
	return fd;
}

/* The file is judged like the text, and its mode before its text. */
static void check_file(const uint8_t *data, size_t size, bool is_accepted)
{
	static int fd = -EBADF;
	cleanup_host_policy struct host_policy *policy = NULL;
	struct refusal refusal = REFUSAL_INIT;
	cleanup_fd int file = -EBADF;
	int r;

	if (fd < 0)
		fd = make_root();
	file = openat(fd, &HOST_POLICY_PATH[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	must(file >= 0 && fd_write_full(file, data, size) == 0);
	must(fchmod(file, 0666) == 0);
	must(host_policy_load(fd, &policy, &refusal) == REFUSAL_BAD_HOST_POLICY);
	must(fchmod(file, 0644) == 0);
	r = host_policy_load(fd, &policy, &refusal);
	must((r == 0) == is_accepted && (r == 0) == (policy != NULL));
	must(r == 0 || (r == REFUSAL_BAD_HOST_POLICY && refusal.text[0] != '\0'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_host_policy struct host_policy *policy = NULL;
	int r;

	r = host_policy_parse((const char *)data, size, "updater.yaml", &policy, &diagnostics);
	must((r == 0) == (policy != NULL) && (r == 0) == (diagnostics.count == 0));
	for (size_t i = 0; policy && i < policy->n_users; i++)
		must(host_policy_allows_user(policy, policy->users[i].id, policy->users[i].user));
	check_file(data, size, r == 0);
	return 0;
}
