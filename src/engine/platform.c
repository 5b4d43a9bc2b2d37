/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Which machine a tree is for. A tree that is not running may be another architecture's: its own
 * programs tell.
 */

#include "engine/platform.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "base/path.h"

/* The architecture of a program of the tree, or NULL where none says. */
static const char *tree_arch(const struct tree *tree)
{
	static const char *const programs[] = {"/usr/lib/systemd/systemd", "/lib/systemd/systemd",
					       "/bin/sh"};

	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		cleanup_fd int fd = -EBADF;
		Elf64_Ehdr header;
		size_t n = 0;

		if (path_open_in_root(tree->rootfd, programs[i], O_RDONLY | O_NONBLOCK | O_NOCTTY,
				      0, &fd) < 0 ||
		    fd_read_full(fd, &header, sizeof(header), &n) < 0 || n < sizeof(header) ||
		    memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
			continue;
		if (le16toh(header.e_machine) == EM_X86_64)
			return "amd64";
		if (le16toh(header.e_machine) == EM_AARCH64)
			return "arm64";
	}
	return NULL;
}

int platform_check(const struct tree *tree, const struct identity *identity,
		   struct refusal *reterr_refusal)
{
	const char *arch = tree->is_live ? manifest_native_arch() : tree_arch(tree);

	if (!arch)
		arch = manifest_native_arch();
	if (strcmp(identity->os, "linux") == 0 && strcmp(identity->arch, arch) == 0)
		return 0;
	return refuse(reterr_refusal, REFUSAL_WRONG_PLATFORM,
		      "'%s' %s is built for %s/%s, this %s is linux/%s; use the bundle for that",
		      identity->id, identity->version, identity->os, identity->arch,
		      tree_noun(tree), arch);
}
