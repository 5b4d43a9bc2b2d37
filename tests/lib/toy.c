/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A toy installer: the smallest thing with a stage, a switch and a recovery. strace-fault and
 * powercut are tried on it, once as it should be and once with a bug that they must catch.
 *
 *   toy set TREE NAME [BUG]   make versions/NAME, let `current` name it, remove the one before
 *   toy recover TREE          keep what `current` names, remove everything else
 *   toy check TREE            print NAME when the tree holds it and nothing else; else exit 1
 *
 * Bugs: gap (`current` is removed before it is made), leftover (a temporary file that recovery
 * does not know), unchecked (write errors are overlooked), no-file-fsync, no-directory-fsync.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	BLOCKS = 64,
	BLOCK = 1024
};

static const char *bug = "";

static bool has_bug(const char *name)
{
	return strcmp(bug, name) == 0;
}

static int failed(const char *what)
{
	int error = -errno;

	fprintf(stderr, "toy: %s: %m\n", what);
	return error;
}

static void fill(char block[static BLOCK], const char *name)
{
	for (size_t i = 0, length = strlen(name); i < BLOCK; i++)
		block[i] = name[i % length];
}

static int sync_directory(int directory)
{
	if (has_bug("no-directory-fsync"))
		return 0;
	return fsync(directory) < 0 ? failed("fsync of a directory") : 0;
}

static int write_payload(int directory, const char *name)
{
	char block[BLOCK];
	int fd = openat(directory, "payload", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644),
	    error = 0;

	if (fd < 0)
		return failed("open of payload");
	fill(block, name);
	for (int i = 0; i < BLOCKS && error == 0; i++)
		if (write(fd, block, BLOCK) != BLOCK && !has_bug("unchecked"))
			error = failed("write");
	if (error == 0 && !has_bug("no-file-fsync") && fsync(fd) < 0)
		error = failed("fsync");
	close(fd);
	return error;
}

static int stage(int tree, const char *name)
{
	char temporary[NAME_MAX], final[NAME_MAX];
	int directory, parent, error;

	snprintf(temporary, sizeof(temporary), "versions/%s.tmp", name);
	snprintf(final, sizeof(final), "versions/%s", name);
	if (mkdirat(tree, temporary, 0755) < 0)
		return failed("mkdir");
	directory = openat(tree, temporary, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0)
		return failed("open");
	error = write_payload(directory, name);
	if (error == 0)
		error = sync_directory(directory);
	close(directory);
	if (error == 0 && renameat(tree, temporary, tree, final) < 0)
		error = failed("rename");
	if (error < 0)
		return error;
	parent = openat(tree, "versions", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0)
		return failed("open");
	error = sync_directory(parent);
	close(parent);
	return error;
}

static int switch_to(int tree, const char *name)
{
	const char *temporary = has_bug("leftover") ? "versions.new" : "current.tmp";
	char target[NAME_MAX];

	snprintf(target, sizeof(target), "versions/%s", name);
	if (has_bug("gap")) {
		unlinkat(tree, "current", 0);
		return symlinkat(target, tree, "current") < 0 ? failed("symlink") : 0;
	}
	if (symlinkat(target, tree, temporary) < 0)
		return failed("symlink");
	if (renameat(tree, temporary, tree, "current") < 0)
		return failed("rename");
	return sync_directory(tree);
}

static int remove_version(int tree, const char *name)
{
	char path[NAME_MAX + 32];

	snprintf(path, sizeof(path), "versions/%s/payload", name);
	if (unlinkat(tree, path, 0) < 0 && errno != ENOENT)
		return failed("unlink");
	snprintf(path, sizeof(path), "versions/%s", name);
	return unlinkat(tree, path, AT_REMOVEDIR) < 0 ? failed("rmdir") : 0;
}

/* The version that `current` names, or an empty string. */
static void read_current(int tree, char name[static NAME_MAX])
{
	char target[NAME_MAX] = "";

	if (readlinkat(tree, "current", target, sizeof(target) - 1) < 0 ||
	    strncmp(target, "versions/", 9) != 0)
		target[9] = '\0';
	snprintf(name, NAME_MAX, "%s", target + 9);
}

static int recover(int tree)
{
	char name[NAME_MAX];
	struct dirent *entry;
	int error = 0;
	DIR *versions;

	read_current(tree, name);
	if (unlinkat(tree, "current.tmp", 0) < 0 && errno != ENOENT)
		return failed("unlink");
	versions = fdopendir(openat(tree, "versions", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (!versions)
		return failed("open of versions");
	while (error == 0 && (entry = readdir(versions)))
		if (entry->d_name[0] != '.' && strcmp(entry->d_name, name) != 0)
			error = remove_version(tree, entry->d_name);
	if (error == 0)
		error = sync_directory(dirfd(versions));
	closedir(versions);
	return error;
}

static int wrong(const char *what)
{
	printf("neither: %s\n", what);
	return 1;
}

static int count_entries(int tree, const char *path)
{
	DIR *directory = fdopendir(openat(tree, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	struct dirent *entry;
	int count = 0;

	while (directory && (entry = readdir(directory)))
		count += entry->d_name[0] != '.' && strcmp(entry->d_name, "lost+found") != 0;
	if (directory)
		closedir(directory);
	return count;
}

static int check(int tree)
{
	char name[NAME_MAX], block[BLOCK], read_block[BLOCK];
	int fd;

	read_current(tree, name);
	if (name[0] == '\0')
		return wrong("no current");
	fill(block, name);
	fd = openat(tree, "current/payload", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return wrong("no payload");
	for (int i = 0; i < BLOCKS; i++)
		if (read(fd, read_block, BLOCK) != BLOCK || memcmp(block, read_block, BLOCK) != 0)
			return wrong("damaged payload");
	if (count_entries(tree, "versions") != 1 || count_entries(tree, ".") != 2)
		return wrong("leftovers");
	puts(name);
	return 0;
}

static int set(int tree, const char *name)
{
	char before[NAME_MAX];
	int error;

	read_current(tree, before);
	if (mkdirat(tree, "versions", 0755) < 0 && errno != EEXIST)
		return failed("mkdir of versions");
	error = stage(tree, name);
	if (error == 0)
		error = switch_to(tree, name);
	return error < 0 ? error : recover(tree);
}

int main(int argc, char **argv)
{
	int tree;

	if (argc < 3)
		return 2;
	if (argc > 4)
		bug = argv[4];
	tree = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (tree < 0)
		return failed("open of the tree") < 0;
	if (strcmp(argv[1], "check") == 0)
		return check(tree);
	if (strcmp(argv[1], "recover") == 0)
		return recover(tree) < 0;
	if (strcmp(argv[1], "set") == 0 && argc > 3)
		return set(tree, argv[3]) < 0;
	return 2;
}
