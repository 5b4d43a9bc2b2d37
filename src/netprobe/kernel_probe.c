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
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <netprobe.skel.h>

#include "base/fd.h"
#include "netprobe/cgroup_root.h"

#define BTF_PATH "/sys/kernel/btf/vmlinux"

/* How a program is attached. */
enum hook_kind {
	HOOK_CGROUP,
	HOOK_TRACE,
};

/* What a program is for. */
struct hook {
	const char *name;
	const char *what;           /* as people call it */
	enum collector_tier needed; /* the tier that there is not without it; NONE: a detail */
	enum hook_kind kind;
	const char *unless; /* a better one, with which it is not needed */
};

static const struct hook hooks[] = {
	{"socket_created",  "cgroup/sock_create",          COLLECTOR_CGROUP, HOOK_CGROUP, NULL         },
	{"socket_released", "cgroup/sock_release",         COLLECTOR_CGROUP, HOOK_CGROUP, NULL         },
	{"bound_ipv4",      "cgroup/post_bind4",           COLLECTOR_NONE,   HOOK_CGROUP, NULL         },
	{"bound_ipv6",      "cgroup/post_bind6",           COLLECTOR_NONE,   HOOK_CGROUP, NULL         },
	{"connects_ipv4",   "cgroup/connect4",             COLLECTOR_CGROUP, HOOK_CGROUP, NULL         },
	{"connects_ipv6",   "cgroup/connect6",             COLLECTOR_NONE,   HOOK_CGROUP, NULL         },
	{"sends_ipv4",      "cgroup/sendmsg4",             COLLECTOR_NONE,   HOOK_CGROUP, "length_sent"},
	{"sends_ipv6",      "cgroup/sendmsg6",             COLLECTOR_NONE,   HOOK_CGROUP, "length_sent"},
	{"receives_ipv4",   "cgroup/recvmsg4",             COLLECTOR_NONE,   HOOK_CGROUP, NULL         },
	{"receives_ipv6",   "cgroup/recvmsg6",             COLLECTOR_NONE,   HOOK_CGROUP, NULL         },
	{"named_ipv4",      "cgroup/getpeername4",         COLLECTOR_NONE,   HOOK_CGROUP, NULL         },
	{"named_ipv6",      "cgroup/getpeername6",         COLLECTOR_NONE,   HOOK_CGROUP, NULL         },
	{"packet_sent",     "cgroup_skb/egress",           COLLECTOR_CGROUP, HOOK_CGROUP, NULL         },
	{"tcp_lives",       "sockops",                     COLLECTOR_CGROUP, HOOK_CGROUP, "state_set"  },
	{"tcp_received",    "tp_btf/tcp_rcv_space_adjust", COLLECTOR_FULL,   HOOK_TRACE,  NULL         },
	{"state_set",       "tp_btf/inet_sock_set_state",  COLLECTOR_FULL,   HOOK_TRACE,  NULL         },
	{"executed",        "tp_btf/sched_process_exec",   COLLECTOR_FULL,   HOOK_TRACE,  NULL         },
	{"length_sent",     "tp_btf/sock_send_length",     COLLECTOR_NONE,   HOOK_TRACE,  NULL         },
	{"length_received", "tp_btf/sock_recv_length",     COLLECTOR_NONE,   HOOK_TRACE,  NULL         },
	{"holders",         "iter/task_file",              COLLECTOR_FULL,   HOOK_TRACE,  NULL         },
};

enum {
	HOOKS = ARRAY_SIZE(hooks)
};

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

/* Why a hook is not there: 0 it is (or may be), else an errno. */
struct trial {
	int error[HOOKS];
};

static int be_silent(enum libbpf_print_level level, const char *format, va_list arguments)
{
	(void)level;
	(void)format;
	(void)arguments;
	return 0;
}

static bool is_wanted(const struct trial *trial, size_t hook)
{
	return trial->error[hook] == 0;
}

static size_t hook_find(const char *name)
{
	for (size_t i = 0; i < HOOKS; i++) {
		if (strcmp(hooks[i].name, name) == 0)
			return i;
	}
	return HOOKS;
}

/* Whether it is loaded; what is not because of a better one is not missing. */
static bool is_used(const struct trial *trial, size_t hook)
{
	return is_wanted(trial, hook) &&
	       !(hooks[hook].unless && is_wanted(trial, hook_find(hooks[hook].unless)));
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
		(void)bpf_program__set_autoload(program_of(probe, i), is_used(trial, i));
	probe->programs->rodata->states_are_traced = is_wanted(trial, hook_find("state_set"));
	probe->programs->rodata->sends_are_traced = is_wanted(trial, hook_find("length_sent"));
	probe->programs->rodata->receives_are_traced =
		is_wanted(trial, hook_find("length_received"));
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
		if (!is_wanted(trial, i))
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

	probe->links[hook] = hooks[hook].kind != HOOK_TRACE
				     ? bpf_program__attach_cgroup(program, probe->cgroup)
				     : bpf_program__attach(program);
	return probe->links[hook] ? 0 : -errno;
}

/* 1: some could not be attached, and all are to be loaded again without them. */
static int attach(struct kernel_probe *probe, struct trial *trial)
{
	int failed = 0;

	for (size_t i = 0; i < HOOKS; i++) {
		if (!is_used(trial, i))
			continue;
		trial->error[i] = -attach_one(probe, i);
		if (trial->error[i] != 0)
			failed = 1;
	}
	return failed;
}

static enum collector_tier tier_of(const struct trial *trial)
{
	enum collector_tier tier = COLLECTOR_FULL;

	for (size_t i = 0; i < HOOKS; i++) {
		if (is_wanted(trial, i) || hooks[i].needed == COLLECTOR_NONE)
			continue;
		if (hooks[i].needed <= tier)
			tier = hooks[i].needed - 1;
	}
	return tier;
}

/* The one reason for which all of them fail; 0: there is none. */
static int common_error(const struct trial *trial)
{
	int common = 0;

	for (size_t i = 0; i < HOOKS; i++) {
		if (is_wanted(trial, i) ||
		    (common != 0 && trial->error[i] != common && trial->error[i] != ECANCELED))
			return 0;
		if (trial->error[i] != ECANCELED)
			common = trial->error[i];
	}
	return common;
}

static const char *error_text(int error)
{
	const char *text = strerrordesc_np(error);

	return text ? text : "unknown error";
}

/* "The kernel does not take tp_btf/… (No such file or directory), …." */
static void explain(const struct trial *trial, char *why, size_t size)
{
	const char *before = "The kernel does not take ";
	size_t used = 0;

	if (common_error(trial) != 0) {
		(void)snprintf(why, size, "The kernel takes no program of ours (%s).",
			       error_text(common_error(trial)));
		return;
	}
	for (size_t i = 0; i < HOOKS; i++) {
		int length;

		if (is_wanted(trial, i) || trial->error[i] == ECANCELED)
			continue;
		length = snprintf(why + used, size - used, "%s%s (%s)", before, hooks[i].what,
				  error_text(trial->error[i]));
		/* The full stop has to fit, too. */
		if (length < 0 || (size_t)length + 1 >= size - used)
			break;
		used += (size_t)length;
		before = ", ";
	}
	if (used > 0)
		(void)snprintf(why + used, size - used, ".");
	else
		why[0] = '\0';
}

static int open_tier(struct kernel_probe *probe, struct trial *trial,
		     const struct kernel_probe_options *options, enum collector_tier *ret_tier)
{
	/* Each turn has at least one program less. */
	for (size_t turn = 0; turn < HOOKS; turn++) {
		enum collector_tier tier = tier_of(trial);
		int r;

		if (tier < COLLECTOR_CGROUP)
			return -EOPNOTSUPP;
		/* Half of the tracepoints would be work for nothing. */
		for (size_t i = 0; i < HOOKS && tier < COLLECTOR_FULL; i++) {
			if (hooks[i].kind == HOOK_TRACE && is_wanted(trial, i))
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
	for (size_t i = 0; i < HOOKS && options->tier_max < COLLECTOR_FULL; i++) {
		if (hooks[i].kind == HOOK_TRACE)
			trial.error[i] = ECANCELED;
	}
	r = open_tier(probe, &trial, options, ret_tier);
	explain(&trial, why, size);
	if (r < 0)
		return r;
	probe->ring =
		ring_buffer__new(bpf_map__fd(probe->programs->maps.ring), on_sample, probe, NULL);
	if (!probe->ring)
		return -errno;
	*ret = TAKE_PTR(probe);
	return 0;
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

int kernel_probe_dump(struct kernel_probe *probe, const struct kernel_probe_calls *first,
		      const struct kernel_probe_calls *calls, void *context)
{
	int r;

	if (!probe->links[hook_find("holders")])
		return -EOPNOTSUPP;
	/* Only when all processes were seen is it known who shares a socket. */
	probe->programs->bss->seeding = !probe->is_seeded;
	r = iterate(probe, first, context);
	probe->programs->bss->seeding = 0;
	if (r < 0)
		return r;
	probe->is_seeded = true;
	return iterate(probe, calls, context);
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
