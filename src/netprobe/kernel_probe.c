/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Which programs a kernel takes cannot be told from its version: each is tried, by loading and
 * attaching it. All are tried together first, which is what happens nearly always; if that fails,
 * each alone, and then together without those that failed. Two programs do less work where others
 * are there, so what is attached is always what was loaded together.
 */

#include "netprobe/kernel_probe.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/judging.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <netprobe.skel.h>

#include "base/fd.h"
#include "netprobe/cgroup_root.h"
#include "netprobe/kernel_hooks.h"

#define BTF_PATH "/sys/kernel/btf/vmlinux"

struct kernel_probe {
	struct netprobe_bpf *programs;
	struct bpf_link *links[HOOKS];
	struct ring_buffer *ring;
	int cgroup;
	int cpus;
	bool is_seeded;
	bool calls_are_known; /* the kernel tells of a process's registers */
	/* Of one kernel_probe_drain(). */
	const struct kernel_probe_calls *calls;
	void *context;
	unsigned left;
};

static int be_silent(enum libbpf_print_level level, const char *format, va_list arguments)
{
	(void)level;
	(void)format;
	(void)arguments;
	return 0;
}

static struct bpf_program *program_of(const struct kernel_probe *probe, size_t hook)
{
	assert(probe->programs);
	return bpf_object__find_program_by_name(probe->programs->obj, hooks[hook].name);
}

static void detach(struct kernel_probe *probe)
{
	for (size_t i = 0; i < HOOKS; i++) {
		(void)bpf_link__destroy(probe->links[i]);
		probe->links[i] = NULL;
	}
	ring_buffer__free(probe->ring);
	probe->ring = NULL;
	netprobe_bpf__destroy(probe->programs);
	probe->programs = NULL;
}

struct kernel_probe *kernel_probe_free(struct kernel_probe *probe)
{
	if (!probe)
		return NULL;
	detach(probe);
	probe->cgroup = fd_close(probe->cgroup);
	free(probe);
	return NULL;
}

/* Rather one too few: what the collector has given up is to be told of again. */
static uint32_t idle_ticks(uint32_t idle_ms)
{
	uint64_t ticks = idle_ms * 1000000ULL >> PROBE_TICK_SHIFT;

	return ticks > 1 ? (uint32_t)ticks - 1 : 1;
}

/* Loads the wanted programs. */
static int load(struct kernel_probe *probe, const struct trial *trial,
		const struct kernel_probe_options *options)
{
	int r;

	probe->programs = netprobe_bpf__open();
	if (!probe->programs)
		return -errno;
	for (size_t i = 0; i < HOOKS; i++)
		(void)bpf_program__set_autoload(program_of(probe, i), trial_uses(trial, i));
	probe->programs->rodata->states_are_traced = trial_has(trial, hook_find("state_set"));
	probe->programs->rodata->sends_are_traced = trial_traces(trial, "length_sent");
	probe->programs->rodata->receives_are_traced = trial_traces(trial, "length_received");
	probe->programs->rodata->calls_are_known = probe->calls_are_known;
	probe->programs->rodata->first_idle_ticks = idle_ticks(options->peer_idle_ms);
	(void)bpf_map__set_max_entries(probe->programs->maps.peers, options->peers_max);
	(void)bpf_map__set_max_entries(probe->programs->maps.ended, options->peers_max);
	r = netprobe_bpf__load(probe->programs);
	if (r < 0)
		detach(probe);
	return r;
}

/* Which of the programs fail alone. 1: at least one; 0; */
static int load_each(struct kernel_probe *probe, struct trial *trial)
{
	const struct kernel_probe_options smallest = {.peers_max = 1};
	struct trial alone;
	int found = 0;

	for (size_t i = 0; i < HOOKS; i++) {
		if (!trial_has(trial, i))
			continue;
		for (size_t k = 0; k < HOOKS; k++)
			alone.error[k] = k == i ? 0 : ECANCELED;
		trial->error[i] = -load(probe, &alone, &smallest);
		if (trial->error[i] != 0)
			found = 1;
		detach(probe);
	}
	return found;
}

static int attach_one(struct kernel_probe *probe, size_t hook)
{
	struct bpf_program *program = program_of(probe, hook);

	probe->links[hook] = hooks[hook].kind == HOOK_CGROUP
				     ? bpf_program__attach_cgroup(program, probe->cgroup)
				     : bpf_program__attach(program);
	return probe->links[hook] ? 0 : -errno;
}

/* 1: some could not be attached, and all are to be loaded again without them. */
static int attach(struct kernel_probe *probe, struct trial *trial)
{
	int failed = 0;

	for (size_t i = 0; i < HOOKS; i++) {
		if (!trial_uses(trial, i))
			continue;
		trial->error[i] = -attach_one(probe, i);
		if (trial->error[i] != 0)
			failed = 1;
	}
	return failed;
}

static int open_tier(struct kernel_probe *probe, struct trial *trial,
		     const struct kernel_probe_options *options, enum collector_tier *ret_tier)
{
	/* Each turn has at least one program less. */
	for (size_t turn = 0; turn < HOOKS; turn++) {
		enum collector_tier tier = trial_tier(trial);
		int r;

		trial_settle(trial);
		if (tier < COLLECTOR_CGROUP)
			return -EOPNOTSUPP;
		/* Half of the tracepoints would be work for nothing. */
		for (size_t i = 0; i < HOOKS && tier < COLLECTOR_FULL; i++) {
			if (hooks[i].kind != HOOK_CGROUP && trial_has(trial, i))
				trial->error[i] = ECANCELED;
		}
		r = load(probe, trial, options);
		if (r < 0) {
			if (load_each(probe, trial) == 0)
				return r;
			continue;
		}
		if (attach(probe, trial) == 0) {
			*ret_tier = tier;
			return 0;
		}
		detach(probe);
	}
	return -EOPNOTSUPP;
}

static int on_sample(void *context, void *data, size_t size)
{
	struct kernel_probe *probe = context;
	uint32_t kind;

	memcpy(&kind, data, sizeof(kind));
	if (kind == PROBE_EXEC && size >= sizeof(struct probe_exec))
		probe->calls->exec(probe->context, data);
	else if (size >= sizeof(struct probe_record))
		probe->calls->record(probe->context, data);
	/* The sample is taken; a number below 0 ends the turn. */
	return --probe->left == 0 ? -ECANCELED : 0;
}

/* To try what is not there would cost the start more than to look it up. */
static bool has_function(const char *name)
{
	struct btf *types = btf__load_vmlinux_btf();
	bool found = types && btf__find_by_name_kind(types, name, BTF_KIND_FUNC) > 0;

	btf__free(types);
	return found;
}

static bool has_btf(void)
{
	cleanup_fd int fd = open(BTF_PATH, O_RDONLY | O_CLOEXEC);

	return fd >= 0;
}

int kernel_probe_open(const struct kernel_probe_options *options, char *why, size_t size,
		      enum collector_tier *ret_tier, struct kernel_probe **ret)
{
	cleanup_kernel_probe struct kernel_probe *probe = calloc(1, sizeof(*probe));
	struct trial trial = {0};
	int r;

	if (!probe)
		return -ENOMEM;
	(void)libbpf_set_print(be_silent);
	probe->cpus = libbpf_num_possible_cpus();
	probe->cgroup = -EBADF;
	probe->calls_are_known =
		libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SKB, BPF_FUNC_task_pt_regs, NULL) == 1;
	r = cgroup_root_open(&probe->cgroup);
	if (r < 0) {
		(void)snprintf(why, size, "There is no cgroup2 hierarchy in /proc/self/mountinfo.");
		return -EOPNOTSUPP;
	}
	if (!has_btf()) {
		(void)snprintf(why, size, "There is no BTF in /sys/kernel/btf.");
		return -EOPNOTSUPP;
	}
	if (!has_function("inet_sendpage"))
		trial.error[hook_find("page_sent")] = ECANCELED;
	for (size_t i = 0; i < HOOKS && options->tier_max < COLLECTOR_FULL; i++) {
		if (hooks[i].kind != HOOK_CGROUP)
			trial.error[i] = ECANCELED;
	}
	r = open_tier(probe, &trial, options, ret_tier);
	trial_explain(&trial, why, size);
	if (r < 0)
		return r;
	probe->ring =
		ring_buffer__new(bpf_map__fd(probe->programs->maps.ring), on_sample, probe, NULL);
	if (!probe->ring)
		return -errno;
	*ret = TAKE_PTR(probe);
	return 0;
}

enum collector_sends kernel_probe_sends(const struct kernel_probe *probe)
{
	if (!probe->programs->rodata->sends_are_traced)
		return COLLECTOR_SENDS_AT_PACKETS;
	return probe->links[hook_find("length_sent")] ? COLLECTOR_SENDS_AT_TRACEPOINTS
						      : COLLECTOR_SENDS_AT_FUNCTIONS;
}

int kernel_probe_fd(const struct kernel_probe *probe)
{
	return ring_buffer__epoll_fd(probe->ring);
}

int kernel_probe_drain(struct kernel_probe *probe, unsigned max,
		       const struct kernel_probe_calls *calls, void *context, unsigned *ret_taken)
{
	int r;

	probe->calls = calls;
	probe->context = context;
	probe->left = max;
	r = ring_buffer__consume(probe->ring);
	*ret_taken = max - probe->left;
	if (probe->left == 0)
		return 1;
	return r < 0 ? r : 0;
}

/* Reads the iterator to its end, which is a pass over all descriptors. */
static int iterate(struct kernel_probe *probe, const struct kernel_probe_calls *calls,
		   void *context)
{
	size_t hook = hook_find("holders");
	cleanup_fd int fd = bpf_iter_create(bpf_link__fd(probe->links[hook]));
	struct probe_record records[64];
	size_t have = 0;
	ssize_t got;

	if (fd < 0)
		return -errno;
	for (;;) {
		size_t whole;

		got = read(fd, (char *)records + have, sizeof(records) - have);
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got <= 0)
			return got < 0 ? -errno : 0;
		have += (size_t)got;
		whole = have / sizeof(records[0]);
		for (size_t i = 0; i < whole; i++)
			calls->record(context, &records[i]);
		have -= whole * sizeof(records[0]);
		memmove(records, &records[whole], have);
	}
}

/* The same, and finds out whose connections are that somebody wrote to unseen, of those that one
 * more look before has found. */
static int judge(struct kernel_probe *probe, const struct kernel_probe_calls *calls, void *context)
{
	int r;

	probe->programs->bss->judging = JUDGES_OTHERS;
	r = iterate(probe, calls, context);
	if (r == 0) {
		probe->programs->bss->judging = JUDGES_OWNERS;
		r = iterate(probe, calls, context);
	}
	probe->programs->bss->judging = JUDGES_NOT;
	return r;
}

int kernel_probe_dump(struct kernel_probe *probe, const struct kernel_probe_calls *first,
		      const struct kernel_probe_calls *calls, void *context)
{
	int r;

	if (!probe->links[hook_find("holders")])
		return -EOPNOTSUPP;
	/* Only when all processes were seen is it known who shares a socket. */
	probe->programs->bss->seeding = !probe->is_seeded;
	probe->programs->bss->judging = JUDGES_DOUBTS;
	r = iterate(probe, first, context);
	probe->programs->bss->judging = JUDGES_NOT;
	probe->programs->bss->seeding = 0;
	if (r < 0)
		return r;
	probe->is_seeded = true;
	return probe->programs->rodata->sends_are_traced ? iterate(probe, calls, context)
							 : judge(probe, calls, context);
}

bool kernel_probe_peer(const struct kernel_probe *probe, const struct probe_peer *peer, bool forget,
		       struct probe_traffic *ret)
{
	int map = bpf_map__fd(probe->programs->maps.peers);
	bool found = bpf_map_lookup_elem(map, peer, ret) == 0;

	if (found && forget)
		(void)bpf_map_delete_elem(map, peer);
	return found;
}

int kernel_probe_ended(const struct kernel_probe *probe, struct kernel_probe_end **ret,
		       size_t *ret_n)
{
	int map = bpf_map__fd(probe->programs->maps.ended);
	cleanup_free struct kernel_probe_end *ends = NULL;
	size_t max = bpf_map__max_entries(probe->programs->maps.ended);
	size_t room = 0;
	size_t n = 0;
	uint64_t cookie;

	/* One that is removed meanwhile, because its socket is used anew, begins the walk anew. */
	while (n < max &&
	       bpf_map_get_next_key(map, n > 0 ? &ends[n - 1].cookie : NULL, &cookie) == 0) {
		if (n == room) {
			struct kernel_probe_end *larger;

			room = room * 2 + 256;
			larger = reallocarray(ends, room, sizeof(*ends));
			if (!larger)
				return -ENOMEM;
			ends = larger;
		}
		ends[n++] = (struct kernel_probe_end){.cookie = cookie};
	}
	for (size_t i = 0; i < n; i++) {
		(void)bpf_map_lookup_elem(map, &ends[i].cookie, &ends[i].flags);
		(void)bpf_map_delete_elem(map, &ends[i].cookie);
	}
	*ret = TAKE_PTR(ends);
	*ret_n = n;
	return 0;
}

void kernel_probe_sweep_peers(const struct kernel_probe *probe,
			      bool (*keeps)(void *context, const struct probe_peer *peer,
					    const struct probe_traffic *traffic),
			      void *context)
{
	int map = bpf_map__fd(probe->programs->maps.peers);
	struct probe_peer peer;
	struct probe_peer next;
	bool has_more = bpf_map_get_next_key(map, NULL, &next) == 0;

	while (has_more) {
		struct probe_traffic traffic;

		peer = next;
		/* Before it is removed, or the walk would begin anew. */
		has_more = bpf_map_get_next_key(map, &peer, &next) == 0;
		if (bpf_map_lookup_elem(map, &peer, &traffic) == 0 &&
		    !keeps(context, &peer, &traffic))
			(void)bpf_map_delete_elem(map, &peer);
	}
}

uint64_t kernel_probe_lost(const struct kernel_probe *probe, enum probe_loss what)
{
	cleanup_free uint64_t *values = NULL;
	uint32_t key = what;
	uint64_t sum = 0;

	if (probe->cpus <= 0)
		return 0;
	values = calloc((size_t)probe->cpus, sizeof(*values));
	if (!values ||
	    bpf_map_lookup_elem(bpf_map__fd(probe->programs->maps.losses), &key, values) != 0)
		return 0;
	for (int i = 0; i < probe->cpus; i++)
		sum += values[i];
	return sum;
}
