/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Whether a user is one of its own. The kernel knows numbers only: an account that was made by
 * hand, or taken over from another machine, may have a name of ours and the number of somebody
 * else, and then two add-ons, or an add-on and a person, are one to it. The files are read entry by
 * entry, since NSS tells one name per number; on a running system it is asked besides, for accounts
 * that are in no file.
 */

#include "plan/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan/accounts.h"
#include "plan/tree_users.h"

#define NSS_BUFFER_MAX (1U << 20)
#define NAME_SIZE      256U

struct accounts {
	const struct tree *tree;
	const char *name; /* whose numbers are looked at */
	char *passwd;
	char *group;
	char other[NAME_SIZE]; /* who else has the number that was asked for last */
};

static void accounts_done(struct accounts *accounts)
{
	free(accounts->passwd);
	free(accounts->group);
}

/* The name that NSS has for a number; what it cannot tell it does not know. */
static void ask_nss(bool is_group, uint32_t id, char *buffer, size_t size, const char **ret)
{
	struct passwd passwd;
	struct passwd *user = NULL;
	struct group entry;
	struct group *group = NULL;

	if (is_group && getgrgid_r(id, &entry, buffer, size, &group) == 0 && group)
		*ret = group->gr_name;
	else if (!is_group && getpwuid_r(id, &passwd, buffer, size, &user) == 0 && user)
		*ret = user->pw_name;
}

static int find_in_nss(struct accounts *accounts, bool is_group, uint32_t id, bool *ret)
{
	cleanup_free char *buffer = NULL;
	const char *name = NULL;

	if (!accounts->tree->is_live)
		return 0;
	buffer = malloc(NSS_BUFFER_MAX);
	if (!buffer)
		return -ENOMEM;
	ask_nss(is_group, id, buffer, NSS_BUFFER_MAX, &name);
	if (!name || strcmp(name, accounts->name) == 0)
		return 0;
	(void)snprintf(accounts->other, sizeof(accounts->other), "%s", name);
	*ret = true;
	return 0;
}

/* Root has its numbers without any file. */
static bool is_roots(struct accounts *accounts, uint32_t id)
{
	if (id == 0)
		(void)snprintf(accounts->other, sizeof(accounts->other), "root");
	return id == 0;
}

/* Whether a user's number is another's, too. */
static int is_user_shared(struct accounts *accounts, uint32_t uid, bool *ret)
{
	*ret = is_roots(accounts, uid) ||
	       accounts_find_other(accounts->passwd, accounts->name, ACCOUNTS_ID, uid,
				   accounts->other, sizeof(accounts->other));
	return *ret ? 0 : find_in_nss(accounts, false, uid, ret);
}

static int is_group_shared(struct accounts *accounts, uint32_t gid, bool *ret)
{
	*ret = is_roots(accounts, gid) ||
	       accounts_find_other(accounts->group, accounts->name, ACCOUNTS_ID, gid,
				   accounts->other, sizeof(accounts->other)) ||
	       accounts_find_other(accounts->passwd, accounts->name, ACCOUNTS_GROUP, gid,
				   accounts->other, sizeof(accounts->other));
	return *ret ? 0 : find_in_nss(accounts, true, gid, ret);
}

static int refuse_shared(const struct accounts *accounts, const char *kind, uint32_t id,
			 struct refusal *reterr_refusal)
{
	cleanup_free char *other = str_escape(accounts->other, strlen(accounts->other), NAME_SIZE);

	if (!other)
		return -ENOMEM;
	return refuse(
		reterr_refusal, REFUSAL_SHARED_USER,
		"the account '%s' of this %s has %s %u, which is also that of '%s'; an add-on needs numbers of its own, give one of the two another or remove it",
		accounts->name, tree_noun(accounts->tree), kind, id, other);
}

static int check_groups(struct accounts *accounts, struct refusal *reterr_refusal)
{
	bool shared = false;
	uint32_t gid = 0;
	int r;

	r = tree_own_group(accounts->tree, accounts->name, &gid);
	if (r == 0)
		r = is_group_shared(accounts, gid, &shared);
	if (r == -ESRCH)
		r = 0;
	/* The group that the account itself names may be yet another. */
	if (r == 0 && !shared &&
	    accounts_find_number(accounts->passwd, accounts->name, ACCOUNTS_GROUP, &gid))
		r = is_group_shared(accounts, gid, &shared);
	return r < 0 || !shared ? r : refuse_shared(accounts, "gid", gid, reterr_refusal);
}

int tree_check_user(const struct tree *tree, const char *name, struct refusal *reterr_refusal)
{
	CLEANUP(accounts_done) struct accounts accounts = {.tree = tree, .name = name};
	bool shared = false;
	uint32_t uid = 0;
	int r;

	r = tree_read_accounts(tree, "/etc/passwd", &accounts.passwd);
	if (r == 0)
		r = tree_read_accounts(tree, "/etc/group", &accounts.group);
	if (r < 0)
		return r;
	r = tree_own_user(tree, name, &uid);
	if (r == 0)
		r = is_user_shared(&accounts, uid, &shared);
	if (r == 0 && shared)
		return refuse_shared(&accounts, "uid", uid, reterr_refusal);
	return r < 0 && r != -ESRCH ? r : check_groups(&accounts, reterr_refusal);
}
