/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Processes by number and start. A process stays as long as flows are its own, and the last few
 * thousand without flows stay too: most of what execs soon opens sockets, or never does. So its end
 * needs no event, and a number that is used again is another process by its start.
 */

#include "netprobe/process_table.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/netprobe.h>

#include "base/str.h"
#include "netprobe/command_line.h"
#include "netprobe/container_cache.h"
#include "netprobe/hash.h"
#include "netprobe/procfs.h"

#define PLACES   4096U
#define IDLE_MAX 8192U

struct process_table {
	struct container_cache *containers;
	struct hash_key key;
	struct process *places[PLACES];
	struct process *oldest, *newest; /* of those without flows */
	uint32_t idle, size;
};

static struct process **place_of(struct process_table *table, uint32_t tgid, uint64_t start_ns)
{
	const uint64_t words[] = {start_ns, tgid};

	return &table->places[hash_of(&table->key, words, sizeof(words)) % PLACES];
}

static struct process *process_free(struct process *process)
{
	if (!process)
		return NULL;
	free(process->word);
	free(process->container_id);
	free(process);
	return NULL;
}

struct process_table *process_table_new(struct container_cache *containers)
{
	struct process_table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->containers = containers;
	table->key = hash_key_new();
	return table;
}

struct process_table *process_table_free(struct process_table *table)
{
	struct process *following;

	if (!table)
		return NULL;
	for (uint32_t i = 0; i < PLACES; i++) {
		for (struct process *process = table->places[i]; process; process = following) {
			following = process->next;
			(void)process_free(process);
		}
	}
	free(table);
	return NULL;
}

uint32_t process_table_size(const struct process_table *table)
{
	return table->size;
}

static void idle_add(struct process_table *table, struct process *process)
{
	process->before = table->newest;
	process->after = NULL;
	if (table->newest)
		table->newest->after = process;
	else
		table->oldest = process;
	table->newest = process;
	table->idle++;
}

static void idle_remove(struct process_table *table, struct process *process)
{
	if (process->before)
		process->before->after = process->after;
	else
		table->oldest = process->after;
	if (process->after)
		process->after->before = process->before;
	else
		table->newest = process->before;
	table->idle--;
}

static void forget_oldest(struct process_table *table)
{
	struct process *process = table->oldest;
	struct process **place = place_of(table, process->tgid, process->start_ns);

	while (*place != process)
		place = &(*place)->next;
	*place = process->next;
	idle_remove(table, process);
	table->size--;
	(void)process_free(process);
}

static struct process *look_up(struct process_table *table, uint32_t tgid, uint64_t start_ns)
{
	struct process *process = *place_of(table, tgid, start_ns);

	while (process && (process->tgid != tgid || process->start_ns != start_ns))
		process = process->next;
	return process;
}

/* The one of *owner*, made idle where it is new. NULL: no memory. */
static struct process *find(struct process_table *table, const struct probe_owner *owner)
{
	struct process **place = place_of(table, owner->tgid, owner->start_ns);
	struct process *process = look_up(table, owner->tgid, owner->start_ns);

	if (process)
		return process;
	process = calloc(1, sizeof(*process));
	if (!process)
		return NULL;
	process->tgid = owner->tgid;
	process->start_ns = owner->start_ns;
	process->next = *place;
	*place = process;
	table->size++;
	idle_add(table, process);
	if (table->idle > IDLE_MAX)
		forget_oldest(table);
	return process;
}

static void update(struct process *process, const struct probe_owner *owner)
{
	process->uid = owner->uid;
	process->gid = owner->gid;
	process->cgroup = owner->cgroup;
	memcpy(process->comm, owner->comm, sizeof(process->comm));
	process->comm[sizeof(process->comm) - 1] = '\0';
}

/* No memory: it has no name then, which is allowed. */
static void set_text(char **text, const char *value)
{
	free(*text);
	*text = str_is_empty(value) ? NULL : strdup(value);
}

/* False: that life of the number is over. */
static bool read_procfs(struct process_table *table, struct process *process)
{
	struct procfs_process now;

	if (procfs_read_process(process->tgid, &now) < 0)
		return false;
	if (now.start_ns / PROCFS_TICK_NS != process->start_ns / PROCFS_TICK_NS)
		return false;
	set_text(&process->container_id, now.container_id);
	if (table->containers && process->cgroup != 0 && now.is_unified)
		container_cache_add(table->containers, process->cgroup, now.container_id);
	if (process->word)
		return true;
	set_text(&process->word, now.command_line.word);
	process->arguments = now.command_line.arguments;
	return true;
}

/* A process that was forked, did not exec since and is gone is what its parent is. One that did
 * exec before anybody looked has another name by now. */
static void inherit(struct process_table *table, struct process *process,
		    const struct probe_owner *owner)
{
	struct process *parent = look_up(table, owner->parent, owner->parent_start_ns);
	struct procfs_process now;

	if (parent && parent->word) {
		if (strcmp(parent->comm, process->comm) != 0)
			return;
		set_text(&process->word, parent->word);
		process->arguments = parent->arguments;
		return;
	}
	if (procfs_read_process(owner->parent, &now) < 0 ||
	    now.start_ns / PROCFS_TICK_NS != owner->parent_start_ns / PROCFS_TICK_NS ||
	    strcmp(now.comm, process->comm) != 0)
		return;
	set_text(&process->word, now.command_line.word);
	process->arguments = now.command_line.arguments;
}

static void learn(struct process_table *table, struct process *process,
		  const struct probe_owner *owner)
{
	process->is_known = true;
	if (!read_procfs(table, process) && table->containers)
		set_text(&process->container_id,
			 container_cache_find(table->containers, process->cgroup));
	/* One that nobody has waited for yet still stands in /proc, without a command line. */
	if (!process->word && owner->parent != 0)
		inherit(table, process, owner);
}

struct process *process_table_take(struct process_table *table, const struct probe_owner *owner)
{
	struct process *process = find(table, owner);

	if (!process)
		return NULL;
	update(process, owner);
	if (process->flows++ == 0)
		idle_remove(table, process);
	if (!process->is_known)
		learn(table, process, owner);
	return process;
}

struct process *process_table_drop(struct process_table *table, struct process *process)
{
	if (!process || --process->flows > 0)
		return NULL;
	idle_add(table, process);
	if (table->idle > IDLE_MAX)
		forget_oldest(table);
	return NULL;
}

void process_table_exec(struct process_table *table, const struct probe_exec *exec)
{
	struct process *process = find(table, &exec->owner);
	struct command_line line;

	if (!process)
		return;
	update(process, &exec->owner);
	command_line_parse(exec->argv0, strnlen(exec->argv0, sizeof(exec->argv0)), &line);
	set_text(&process->word, line.word);
	process->arguments = exec->arguments;
}

void process_to_owner(const struct process *process, uint32_t thread, struct flow_owner *ret)
{
	*ret = (struct flow_owner){
		.pid = thread,
		.tgid = process->tgid,
		.uid = process->uid,
		.gid = process->gid,
		.started_ns = process->start_ns,
		.arguments = process->arguments,
	};
	memcpy(ret->comm, process->comm, sizeof(ret->comm));
	if (process->word)
		(void)memccpy(ret->cmdline, process->word, 0, sizeof(ret->cmdline) - 1);
	if (process->container_id)
		(void)memccpy(ret->container_id, process->container_id, 0,
			      sizeof(ret->container_id) - 1);
}
