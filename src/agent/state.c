/* SPDX-License-Identifier: Apache-2.0 */

/* The agent's directory on disk. */

#include "agent/state.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "base/str.h"

#define UID_NAME      "instance-uid"
#define JSON_SIZE_MAX (64UL << 20)

int state_open(const char *path, int *ret_dirfd)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	*ret_dirfd = TAKE_FD(fd);
	return 0;
}

int state_make_bundles(int dirfd)
{
	return mkdirat(dirfd, STATE_BUNDLES, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static int replace(int dirfd, const char *name, const void *data, size_t size)
{
	struct file_attributes attributes = {.mode = 0600, .uid = geteuid(), .gid = getegid()};
	int r = file_replace(dirfd, name, data, size, &attributes);

	return r < 0 ? r : dir_sync(dirfd);
}

/* RFC 9562: milliseconds since 1970, version, 74 random bits. */
static void make_uid(uint8_t uid[OPAMP_UID_SIZE])
{
	struct timespec now;
	uint64_t milliseconds;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	milliseconds = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	randombytes_buf(uid, OPAMP_UID_SIZE);
	for (unsigned i = 0; i < 6; i++)
		uid[i] = (uint8_t)(milliseconds >> (8U * (5U - i)));
	uid[6] = (uint8_t)((uid[6] & 0x0fU) | 0x70U);
	uid[8] = (uint8_t)((uid[8] & 0x3fU) | 0x80U);
}

int state_store_uid(int dirfd, const uint8_t uid[OPAMP_UID_SIZE])
{
	return replace(dirfd, UID_NAME, uid, OPAMP_UID_SIZE);
}

int state_load_uid(int dirfd, uint8_t ret[OPAMP_UID_SIZE], bool *ret_is_new)
{
	cleanup_free char *data = NULL;
	size_t size = 0;
	int r = fd_read_file_at(dirfd, UID_NAME, OPAMP_UID_SIZE, &data, &size);

	if (r == 0 && size == OPAMP_UID_SIZE) {
		memcpy(ret, data, OPAMP_UID_SIZE);
		*ret_is_new = false;
		return 0;
	}
	if (r < 0 && r != -ENOENT && r != -EFBIG)
		return r;
	make_uid(ret);
	*ret_is_new = true;
	return 0;
}

void state_format_uid(const uint8_t uid[OPAMP_UID_SIZE], char text[STATE_UID_TEXT_SIZE])
{
	char hex[2 * OPAMP_UID_SIZE + 1];

	(void)sodium_bin2hex(hex, sizeof(hex), uid, OPAMP_UID_SIZE);
	(void)snprintf(text, STATE_UID_TEXT_SIZE, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8,
		       hex + 12, hex + 16, hex + 20);
}

int state_load_secret(int dirfd, const char *name, char **ret)
{
	cleanup_free char *text = NULL;
	size_t size = 0;
	int r = fd_read_file_at(dirfd, name, STATE_CREDENTIAL_MAX, &text, &size);

	*ret = NULL;
	if (r == -ENOENT || r == -EFBIG)
		return 0;
	if (r < 0)
		return r;
	while (size > 0 && strchr(" \t\r\n", text[size - 1]))
		text[--size] = '\0';
	/* It becomes a header's value. */
	for (size_t i = 0; i < size; i++) {
		if ((unsigned char)text[i] < ' ' || (unsigned char)text[i] > '~')
			return 0;
	}
	if (size > 0)
		*ret = TAKE_PTR(text);
	return 0;
}

int state_store_secret(int dirfd, const char *name, const char *secret)
{
	return replace(dirfd, name, secret, strlen(secret));
}

int state_remove(int dirfd, const char *name)
{
	bool is_changed = false;
	int r = file_remove(dirfd, name, &is_changed);

	return r < 0 || !is_changed ? r : dir_sync(dirfd);
}

int state_load_json(int dirfd, const char *name, json_t **ret)
{
	cleanup_free char *text = NULL;
	size_t size = 0;
	int r = fd_read_file_at(dirfd, name, JSON_SIZE_MAX, &text, &size);

	*ret = NULL;
	if (r == -ENOENT || r == -EFBIG)
		return 0;
	if (r < 0)
		return r;
	r = json_parse_kept(text, size, ret, NULL);
	return r < 0 ? r : 0;
}

int state_store_json(int dirfd, const char *name, const json_t *json)
{
	cleanup_free char *text = json_to_canonical(json);

	return text ? replace(dirfd, name, text, strlen(text)) : -ENOMEM;
}
