/* SPDX-License-Identifier: Apache-2.0 */

/* What --root names: it must be a tree that is not running, and one that is there. */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/host.h"
#include "unit/systemd.h"

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

int host_check_root(const struct host_call *call, struct result *ret)
{
	struct stat tree;
	struct stat own;
	int r = 0;

	if (geteuid() != 0)
		return command_usage(
			call->command,
			"--root needs root or a user namespace ('unshare --map-root-user "
			"--map-auto'): owners cannot be set otherwise");
	if (stat(call->root, &tree) < 0)
		r = result_set(ret, RESULT_REFUSED, "no-tree",
			       "the tree '%s' cannot be opened: %s; nothing was changed, name a "
			       "directory with --root",
			       call->root, strerrordesc_np(errno));
	else if (!S_ISDIR(tree.st_mode))
		r = result_set(ret, RESULT_REFUSED, "no-tree",
			       "'%s' is not a directory; nothing was changed, name the directory "
			       "of a tree with --root",
			       call->root);
	else if (stat("/", &own) == 0 && is_same(&tree, &own) && systemd_is_booted())
		return command_usage(call->command,
				     "'%s' is the host that runs here: leave --root out, so that "
				     "the updater is asked",
				     call->root);
	if (r < 0)
		return command_broke(r, "the tree could not be looked at");
	return ret->message ? COMMAND_REFUSED : COMMAND_DONE;
}
