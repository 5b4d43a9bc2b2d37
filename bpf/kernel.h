/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#pragma once

/*
 * The kernel's structs, only the fields that are read. The loader finds each field by its name in
 * the running kernel's BTF (CO-RE), so sizes, order and offsets here mean nothing, and the object
 * builds on machines without BTF and serves every architecture.
 */
#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct in6_addr {
	__u8 s6_addr[16];
};

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

struct probe_net_pointer {
	struct net *net;
};

struct probe_atomic {
	__s64 counter;
};

struct sock_common {
	__be32 skc_daddr, skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	unsigned char skc_state;
	unsigned long skc_flags;
	struct probe_atomic skc_cookie;
	struct probe_net_pointer skc_net;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
};

struct probe_socket_lock {
	int owned;
};

struct sk_buff_head {
	__u32 qlen;
};

struct sock {
	struct sock_common __sk_common;
	struct sk_buff_head sk_write_queue;
	struct probe_socket_lock sk_lock;
	__u16 sk_type, sk_protocol;
	int sk_err, sk_write_pending;
	unsigned int sk_kern_sock : 1;
	struct socket *sk_socket;
};

struct inet_sock {
	struct sock sk;
	__be16 inet_sport;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u64 bytes_received, bytes_sent, bytes_retrans, bytes_acked;
	__u32 snd_una, snd_nxt, write_seq, copied_seq, rcv_nxt;
	__u32 segs_in, segs_out, total_retrans;
	unsigned int is_mptcp : 1;
};

struct mptcp_sock {
	struct sock *first;
};

enum sock_flags {
	SOCK_MEMALLOC = 14 /* the number of a bit of skc_flags */
};

struct probe_file_ref {
	struct probe_atomic refcnt; /* 0: one */
};

struct file {
	void *private_data;
	struct probe_atomic f_count; /* since Linux 6.13: */
	struct probe_file_ref f_ref;
};

struct socket {
	struct sock *sk;
	struct file *file;
};

struct probe_id {
	__u32 val;
};

struct cred {
	struct probe_id uid, gid;
};

struct kernfs_node {
	__u64 id;
};

struct cgroup {
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct mm_struct {
	unsigned long arg_start;
};

struct nsproxy {
	struct net *net_ns;
};

struct task_struct {
	unsigned int flags;
	int pid, tgid;
	__u64 start_boottime;
	char comm[16];
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	struct mm_struct *mm;
	struct nsproxy *nsproxy;
	struct files_struct *files;
	struct css_set *cgroups;
	const struct cred *cred;
};

struct linux_binprm {
	int argc;
	const char *filename;
};

#pragma clang attribute pop
