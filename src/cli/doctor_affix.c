/* SPDX-License-Identifier: Apache-2.0 */

/* What `affix doctor` looks at inside affix: policy, keys, sockets, records. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/path.h"
#include "bundle/trust.h"
#include "cli/doctor.h"
#include "ipc/transport.h"
#include "manifest/host_policy.h"
#include "plan/mounts.h"
#include "store/store.h"

void doctor_check_policy(struct doctor *doctor)
{
	cleanup_host_policy struct host_policy *policy = NULL;
	struct refusal refusal = REFUSAL_INIT;
	int r = host_policy_load(doctor->rootfd, &policy, &refusal);

	if (r == -EACCES && !doctor->is_root)
		doctor_say(doctor, "policy", DOCTOR_SKIPPED, HOST_POLICY_PATH " is for root");
	else if (r != 0)
		doctor_say(doctor, "policy", DOCTOR_FAIL, "%s",
			   r > 0 ? refusal.text : strerrordesc_np(-r));
	else
		doctor_say(doctor, "policy", DOCTOR_OK,
			   "%zu capabilities may be granted, %zu add-ons are protected",
			   policy->capabilities.count, policy->protected_ids.count);
}

void doctor_check_trust(struct doctor *doctor)
{
	cleanup_trust struct trust *trust = NULL;
	cleanup_fd int fd = -EBADF;
	struct refusal refusal = REFUSAL_INIT;
	int r;

	r = path_open_in_root(doctor->rootfd, TRUST_PATH, O_RDONLY | O_DIRECTORY, 0, &fd);
	if (r == 0)
		r = trust_load(fd, true, &trust, &refusal);
	if (r == -ENOENT || (r == 0 && trust->n_keys == 0))
		doctor_say(doctor, "trust", DOCTOR_WARN,
			   "no key is trusted, so nothing can be installed: put NAME.pub into "
			   "'" TRUST_PATH "'");
	else if (r == -EACCES && !doctor->is_root)
		doctor_say(doctor, "trust", DOCTOR_SKIPPED, "the keys can be read by root only");
	else if (r != 0)
		doctor_say(doctor, "trust", DOCTOR_FAIL, "%s",
			   r > 0 ? refusal.text : strerrordesc_np(-r));
	else
		doctor_say(doctor, "trust", DOCTOR_OK, "%zu key%s", trust->n_keys,
			   trust->n_keys == 1 ? "" : "s");
}

/* Type, owner and mode; who may connect is who the administrator meant. */
static bool check_socket(struct doctor *doctor, const char *path, mode_t mode)
{
	cleanup_fd int fd = -EBADF;
	struct stat st;
	int r = path_open_in_root(doctor->rootfd, path, O_PATH | O_NOFOLLOW, 0, &fd);

	if (r < 0 || fstat(fd, &st) < 0)
		doctor_say(doctor, "sockets", DOCTOR_FAIL,
			   "'%s' cannot be opened: %s; start affix-updater.socket and "
			   "affix-updater-admin.socket",
			   path, strerrordesc_np(r < 0 ? -r : errno));
	else if (!S_ISSOCK(st.st_mode) || st.st_uid != 0 || (st.st_mode & 0777U & ~mode))
		doctor_say(doctor, "sockets", DOCTOR_FAIL,
			   "'%s' must be a socket of root with mode %04o and has mode %04o", path,
			   mode, st.st_mode & 07777U);
	else
		return true;
	return false;
}

/* The updater's answer to the simplest question: the whole way works. */
void doctor_check_sockets(struct doctor *doctor)
{
	const char *path = doctor->is_root ? REQUEST_ADMIN_SOCKET : REQUEST_FLEET_SOCKET;
	const struct request request = {.verb = REQUEST_STATUS};
	const int fds[REQUEST_FD_N] = {-EBADF, -EBADF, -EBADF};
	cleanup_result struct result result = RESULT_INIT;
	bool is_good;
	int r;

	is_good = check_socket(doctor, REQUEST_FLEET_SOCKET, 0660);
	is_good = check_socket(doctor, REQUEST_ADMIN_SOCKET, 0600) && is_good;
	if (!is_good)
		return;
	r = transport_call(path, &request, fds, &result);
	if (r == -EACCES)
		doctor_say(doctor, "sockets", DOCTOR_SKIPPED,
			   "both are there; to ask the updater takes root or the group 'affix'");
	else if (r < 0)
		doctor_say(doctor, "sockets", DOCTOR_FAIL,
			   "the updater does not answer on '%s': %s; see 'journalctl -u "
			   "affix-updater*'",
			   path, strerrordesc_np(-r));
	else if (result.outcome != RESULT_DONE)
		doctor_say(doctor, "sockets", DOCTOR_FAIL, "the updater answers %s: %s",
			   result.name, result.message ? result.message : "");
	else
		doctor_say(doctor, "sockets", DOCTOR_OK, "the updater answers");
}

/* What has to be done before an open transaction can be ended, as the beginning of a sentence. */
static void say_first(struct doctor *doctor, const struct record *record, char *text, size_t size)
{
	const struct tree tree = {.rootfd = doctor->rootfd, .is_live = true};
	cleanup_free char *mount = NULL;
	int r = mounts_find(&tree, record->current, &mount);

	if (r == 0 && !mount)
		r = mounts_find(&tree, record->transaction->to, &mount);
	text[0] = '\0';
	if (r == 0 && mount)
		(void)snprintf(text, size, "unmount '%s', which is a mount point, then ", mount);
}

/* One record; false if it was complained about. */
static bool check_record(struct doctor *doctor, const struct store *store, const char *id)
{
	cleanup_record struct record *record = NULL;
	struct refusal refusal = REFUSAL_INIT;
	bool is_locked = false;
	char first[512];
	int r;

	r = store_load(store, id, &record, &refusal);
	if (r == 0 && record->transaction)
		r = store_is_locked(store, id, &is_locked);
	if (r != 0) {
		doctor_say(doctor, "records", DOCTOR_FAIL, "'%s': %s", id,
			   r > 0 ? refusal.text : strerrordesc_np(-r));
		return false;
	}
	if (!record->transaction)
		return true;
	if (is_locked) {
		doctor_say(doctor, "records", DOCTOR_OK, "'%s' is being worked on", id);
		return false;
	}
	say_first(doctor, record, first, sizeof(first));
	doctor_say(doctor, "records", DOCTOR_WARN,
		   "'%s' was left in the middle of %s: %s'systemctl start "
		   "affix-updater-settle.service' ends it",
		   id, record_operation_to_string(record->transaction->operation), first);
	return false;
}

void doctor_check_records(struct doctor *doctor)
{
	cleanup_store struct store store = {.dirfd = -EBADF};
	cleanup_strv struct strv ids = STRV_INIT;
	struct tree tree = {.rootfd = doctor->rootfd, .is_live = true};
	size_t n_good = 0;
	int r;

	if (!doctor->is_root) {
		doctor_say(doctor, "records", DOCTOR_SKIPPED, "they can be read by root only");
		return;
	}
	r = store_open(&tree, false, &store);
	if (r == 0)
		r = store_list(&store, &ids);
	if (r == -ENOTRECOVERABLE) {
		doctor_say(doctor, "records", DOCTOR_FAIL, STORE_SHARED_TEXT);
		return;
	}
	if (r < 0 && r != -ENOENT) {
		doctor_say(doctor, "records", DOCTOR_FAIL, "they cannot be read: %s",
			   strerrordesc_np(-r));
		return;
	}
	for (size_t i = 0; i < ids.count; i++)
		n_good += check_record(doctor, &store, ids.items[i]) ? 1 : 0;
	if (n_good == ids.count)
		doctor_say(doctor, "records", DOCTOR_OK, "%zu record%s", n_good,
			   n_good == 1 ? "" : "s");
}
