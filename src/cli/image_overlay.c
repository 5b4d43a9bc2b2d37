/* SPDX-License-Identifier: Apache-2.0 */

/*
 * An operator's own touches to an image. What is a file of its own is one more layer on top, a tar
 * of a few entries, so that it obeys the same rules as every other layer; root's password is a
 * field of a file that a layer has, and is changed as that file goes by.
 */

#include "cli/image_overlay.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "bundle/ustar.h"
#include "cli/command.h"

#define KEYS_SIZE_MAX (256UL * 1024)
#define HASH_SIZE_MAX 512U
#define HOSTNAME_MAX  64U

static bool is_hostname(const char *name)
{
	size_t size = strlen(name);

	for (const char *c = name; *c; c++) {
		bool is_inner = *c == '-' || *c == '.';

		if (!isalnum((unsigned char)*c) && !is_inner)
			return false;
		if (is_inner && (c == name || c[1] == '\0' || c[1] == '.'))
			return false;
	}
	return size > 0 && size <= HOSTNAME_MAX;
}

static bool is_hash(const char *hash)
{
	for (const char *c = hash; *c; c++) {
		if (!isgraph((unsigned char)*c) || *c == ':')
			return false;
	}
	/* A password in the clear would be locked out; an empty one would let everybody in. */
	return (*hash == '$' || *hash == '*' || *hash == '!') && strlen(hash) <= HASH_SIZE_MAX;
}

int image_overlay_check(const struct image_overlay *overlay)
{
	if (overlay->hostname && !is_hostname(overlay->hostname))
		return command_error("--hostname '%s' is no name of a host: expected letters, "
				     "digits, '-' and '.', at most %u",
				     overlay->hostname, HOSTNAME_MAX);
	if (overlay->password_hash && !is_hash(overlay->password_hash))
		return command_error("--root-password-hash is no hash as crypt(5) has them: "
				     "'openssl passwd -6' makes one, '*' locks the password");
	return COMMAND_DONE;
}

static int add_entry(int fd, const char *path, mode_t mode, const char *data, size_t size)
{
	static const char zeroes[TAR_BLOCK_SIZE];
	struct ustar_header header;
	int r;

	ustar_format_mode(&header, path, size, mode);
	r = fd_write_full(fd, &header, sizeof(header));
	if (r == 0)
		r = fd_write_full(fd, data, size);
	if (r == 0 && size % TAR_BLOCK_SIZE > 0)
		r = fd_write_full(fd, zeroes, TAR_BLOCK_SIZE - size % TAR_BLOCK_SIZE);
	return r;
}

static int add_hostname(int fd, const char *hostname)
{
	cleanup_free char *line = NULL;
	int r = str_format(&line, "%s\n", hostname);

	return r < 0 ? r : add_entry(fd, "etc/hostname", S_IFREG | 0644, line, strlen(line));
}

static int add_key(int fd, const char *path)
{
	cleanup_free char *keys = NULL;
	size_t size = 0;
	int r = command_read_file(path, KEYS_SIZE_MAX, &keys, &size);

	if (r == 0 && size == 0)
		r = -ENODATA;
	if (r == 0)
		r = add_entry(fd, "root/.ssh", S_IFDIR | 0700, "", 0);
	return r < 0 ? r : add_entry(fd, "root/.ssh/authorized_keys", S_IFREG | 0600, keys, size);
}

int image_overlay_open(const struct image_overlay *overlay, int *ret_fd)
{
	static const char end[2 * TAR_BLOCK_SIZE];
	cleanup_fd int fd = -EBADF;
	int r = 0;

	*ret_fd = -EBADF;
	if (!overlay->hostname && !overlay->ssh_key)
		return 0;
	fd = memfd_create("overlay", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (overlay->hostname)
		r = add_hostname(fd, overlay->hostname);
	if (r == 0 && overlay->ssh_key)
		r = add_key(fd, overlay->ssh_key);
	if (r == 0)
		r = fd_write_full(fd, end, sizeof(end));
	if (r == 0)
		*ret_fd = TAKE_FD(fd);
	return r;
}

int image_overlay_edit_shadow(void *context, const char *old, size_t old_size, char **ret,
			      size_t *ret_size, struct problem *reterr_problem)
{
	static const char name[] = "root:";
	const struct image_overlay *overlay = context;
	const char *line = old;
	const char *end = old ? old + old_size : NULL;
	const char *rest = NULL;
	struct buffer out = BUFFER_INIT;
	int r;

	(void)reterr_problem;
	while (line < end &&
	       ((size_t)(end - line) < strlen(name) || memcmp(line, name, strlen(name)) != 0)) {
		const char *newline = memchr(line, '\n', (size_t)(end - line));

		line = newline ? newline + 1 : end;
	}
	if (line < end)
		rest = memchr(line + strlen(name), ':', (size_t)(end - line) - strlen(name));
	r = buffer_add(&out, old ? old : "", old ? (size_t)((rest ? line : old) - old) : 0);
	if (r == 0)
		r = buffer_format(&out, "%s%s", name, overlay->password_hash);
	if (r == 0 && rest)
		r = buffer_add(&out, rest, (size_t)(end - rest));
	if (r == 0 && !rest)
		r = buffer_format(&out, ":::::::\n");
	/* No line, or one that is none: root's is then the first. */
	if (r == 0 && !rest && old)
		r = buffer_add(&out, old, old_size);
	if (r < 0) {
		buffer_done(&out);
		return r;
	}
	*ret = out.data;
	*ret_size = out.size;
	return 0;
}
