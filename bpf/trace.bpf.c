/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */

/*
 * Tracepoints: they correct the owner where a socket went to another process (accepted by a worker,
 * inherited, passed), add up datagrams, and catch the name of a process at exec, however short it
 * lives.
 */
#include "peers.h"

/* See ring.h for why it is this one. */
char LICENSE[] SEC("license") = "GPL";

const volatile bool states_are_traced;
const volatile bool lengths_are_traced;

/* The process that runs is in a system call on *sk*. */
static __always_inline struct probe_socket *used(struct sock *sk)
{
	struct probe_socket *socket = bpf_sk_storage_get(&sockets, sk, 0, 0);
	bool tcp = sk->sk_protocol == IPPROTO_TCP;
	struct probe_record *record;

	if (socket && is_owner(&socket->owner, bpf_get_current_task_btf()))
		return socket;
	/* The kernel's own are used in the system calls of anybody: file systems, for one. */
	if (is_of_kernel(sk))
		return NULL;
	/* One that is older than we are, and that the iterator has not come to yet. */
	if (!socket)
		socket = bpf_sk_storage_get(&sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!socket)
		return NULL;
	if (!take(socket))
		return socket;
	if (socket->netns == 0)
		socket->netns = sk->__sk_common.skc_net.net->ns.inum;
	if (socket->flags & SOCKET_ENDED || (!tcp && !(socket->flags & SOCKET_ANNOUNCED)))
		return socket;
	record = record_new(socket->flags & SOCKET_ANNOUNCED ? PROBE_OWNER : PROBE_SEEN,
			    bpf_get_socket_cookie(sk), socket);
	if (!record) {
		forget_owner(socket);
		return socket;
	}
	tuple_of(sk, &record->tuple);
	socket->flags |= SOCKET_ANNOUNCED;
	submit(record, tcp ? sk->__sk_common.skc_state : 0);
	return socket;
}

/* The kernel calls this in system calls, which hold the socket, and for sockets of its own in
 * interrupts, which do not. */
SEC("tp_btf/tcp_rcv_space_adjust")

int BPF_PROG(tcp_received, struct sock *sk)
{
	if (sk->sk_lock.owned)
		used(sk);
	return 0;
}

static __always_inline void add(__u64 *bytes, __u64 *packets, int length)
{
	__sync_fetch_and_add(bytes, (__u64)length);
	__sync_fetch_and_add(packets, 1);
}

/* A datagram whose peer the hook for its address has noted a moment ago. */
static __always_inline void add_to_peer(struct sock *sk, struct probe_socket *socket,
					const struct probe_last *last, bool sent, int length)
{
	struct probe_peer peer = {
		.cookie = bpf_get_socket_cookie(sk),
		.remote = last->remote,
		.remote_port = last->port,
		.family = last->family,
		.protocol = IPPROTO_UDP,
	};
	struct probe_traffic one = {};
	struct probe_record *record;

	*(sent ? &one.bytes_sent : &one.bytes_received) = (__u64)length;
	*(sent ? &one.packets_sent : &one.packets_received) = 1;
	if (!peer_is_news(socket, &peer, &one))
		return;
	record = peer_record_new(sent ? PROBE_SEND : PROBE_RECEIVE, &peer, socket);
	if (!record)
		return;
	tuple_of(sk, &record->tuple);
	peer_record_submit(record, &peer);
}

static __always_inline void add_to_socket(struct sock *sk, struct probe_socket *socket, bool sent,
					  int length)
{
	struct probe_record *record;

	if (sent)
		add(&socket->counters.bytes_sent, &socket->counters.packets_sent, length);
	else
		add(&socket->counters.bytes_received, &socket->counters.packets_received, length);
	if (socket->flags & PROBE_CONNECTED)
		return;
	/* A datagram socket with a peer is established. ICMP whose packets nobody looks at yet has
	 * a flow without its other side. */
	if (sk->__sk_common.skc_state != TCP_ESTABLISHED &&
	    (!sent || (socket->flags & (PROBE_ICMP | SOCKET_ANNOUNCED)) != PROBE_ICMP))
		return;
	socket->flags &= ~PROBE_LISTENER;
	socket->flags |= SOCKET_ANNOUNCED | PROBE_CONNECTED;
	record = record_new(sent ? PROBE_SEND : PROBE_RECEIVE, bpf_get_socket_cookie(sk), socket);
	if (!record)
		return;
	tuple_of(sk, &record->tuple);
	submit(record, 0);
}

static __always_inline int moved(struct sock *sk, int length, bool sent)
{
	struct probe_socket *socket;
	struct probe_last *last;

	if (!is_inet(sk) || length < 0)
		return 0;
	socket = used(sk);
	if (!socket || sk->sk_protocol == IPPROTO_TCP)
		return 0;
	last = sent ? &socket->sent : &socket->received;
	if (last->pid == (__u32)bpf_get_current_task_btf()->pid) {
		last->pid = 0;
		add_to_peer(sk, socket, last, sent, length);
		return 0;
	}
	add_to_socket(sk, socket, sent, length);
	return 0;
}

SEC("tp_btf/sock_send_length")

int BPF_PROG(length_sent, struct sock *sk, int length)
{
	return moved(sk, length, true);
}

SEC("tp_btf/sock_recv_length")

int BPF_PROG(length_received, struct sock *sk, int length)
{
	return moved(sk, length, false);
}

SEC("tp_btf/inet_sock_set_state")

int BPF_PROG(state_set, struct sock *sk, int old, int new)
{
	struct probe_socket *socket;
	struct probe_record *record;

	if (sk->sk_protocol != IPPROTO_TCP)
		return 0;
	if (new != TCP_CLOSE &&new != TCP_ESTABLISHED)
		return 0;
	socket = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (!socket || !(socket->flags & SOCKET_ANNOUNCED))
		return 0;
	if (new == TCP_CLOSE) {
		closed(sk, bpf_skc_to_tcp_sock(sk), bpf_get_socket_cookie(sk), socket, (__u8)old);
		return 0;
	}
	if (socket->flags & PROBE_INBOUND)
		return 0;
	record = record_new(PROBE_STATE, bpf_get_socket_cookie(sk), socket);
	if (!record)
		return 0;
	tuple_of(sk, &record->tuple);
	submit(record, TCP_ESTABLISHED);
	return 0;
}

SEC("tp_btf/sched_process_exec")

int BPF_PROG(executed, struct task_struct *task, int old_pid, struct linux_binprm *program)
{
	struct probe_exec *exec = bpf_ringbuf_reserve(&ring, sizeof(*exec), 0);
	long length;

	if (!exec) {
		lost(PROBE_LOST_RECORD);
		return 0;
	}
	__builtin_memset(exec, 0, sizeof(*exec));
	exec->kind = PROBE_EXEC;
	exec->arguments = program->argc > 0 ? (__u32)program->argc - 1 : 0;
	if (!owner_of(task, &exec->owner)) {
		bpf_ringbuf_discard(exec, 0);
		return 0;
	}
	length = bpf_probe_read_user_str(exec->argv0, sizeof(exec->argv0),
					 (void *)task->mm->arg_start);
	/* The page may be out, or empty: the file that was asked for is the next best name. */
	if (length <= 1)
		bpf_probe_read_kernel_str(exec->argv0, sizeof(exec->argv0), program->filename);
	bpf_ringbuf_submit(exec, 0);
	return 0;
}
