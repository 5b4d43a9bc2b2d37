/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <bpf/netprobe.h>

#include "base/cleanup.h"
#include "netprobe/collector.h"

/*
 * The programs of bpf/ in the kernel, and what they say. Everything hangs on descriptors of this
 * process (links, no pins): however it ends, nothing of it stays.
 */
struct kernel_probe;

struct kernel_probe_options {
	enum collector_tier tier_max;
	uint32_t peers_max;    /* datagram peers that are counted */
	uint32_t peer_idle_ms; /* a peer that was silent for that long is another flow */
};

struct kernel_probe_calls {
	void (*record)(void *context, const struct probe_record *record);
	void (*exec)(void *context, const struct probe_exec *exec);
};

/*
 * Loads and attaches as much as the kernel takes, up to *tier_max*. *ret_tier* is COLLECTOR_FULL or
 * COLLECTOR_CGROUP; *why* (*size* bytes) says what keeps the tiers above away, and what of a tier
 * is missing. 0; -EOPNOTSUPP: it is not enough for any tier; -errno.
 */
must_check int kernel_probe_open(const struct kernel_probe_options *options, char *why, size_t size,
				 enum collector_tier *ret_tier, struct kernel_probe **ret);
struct kernel_probe *kernel_probe_free(struct kernel_probe *probe);
DEFINE_CLEANUP(struct kernel_probe *, kernel_probe, kernel_probe_free)
#define cleanup_kernel_probe CLEANUP(cleanup_kernel_probe)

struct kernel_probe_end {
	uint64_t cookie;
	uint32_t flags; /* PROBE_NOBODY: who used it last is not known */
};

enum collector_sends kernel_probe_sends(const struct kernel_probe *probe);
/* Readable when the ring has something. */
int kernel_probe_fd(const struct kernel_probe *probe);
/* Takes at most *max* records, and says how many. 1: that many came, and there may be more; 0;
 * -errno. */
must_check int kernel_probe_drain(struct kernel_probe *probe, unsigned max,
				  const struct kernel_probe_calls *calls, void *context,
				  unsigned *ret_taken);
/* Every socket that a process holds, twice: the first time of the first call gives owners to those
 * that are older than the probe, so *first* gets them unfinished. 0; -EOPNOTSUPP; -errno. */
must_check int kernel_probe_dump(struct kernel_probe *probe, const struct kernel_probe_calls *first,
				 const struct kernel_probe_calls *calls, void *context);
/* The counters of one peer; false: there are none. *forget* removes them. */
bool kernel_probe_peer(const struct kernel_probe *probe, const struct probe_peer *peer, bool forget,
		       struct probe_traffic *ret);
/* Takes the sockets whose end found no room in the ring. 0 or -ENOMEM. */
must_check int kernel_probe_ended(const struct kernel_probe *probe, struct kernel_probe_end **ret,
				  size_t *ret_n);
/* Every peer that is counted; what *keeps* says false of is forgotten. */
void kernel_probe_sweep_peers(const struct kernel_probe *probe,
			      bool (*keeps)(void *context, const struct probe_peer *peer,
					    const struct probe_traffic *traffic),
			      void *context);
uint64_t kernel_probe_lost(const struct kernel_probe *probe, enum probe_loss what);
