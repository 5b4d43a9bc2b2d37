/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */

/*
 * Tracepoints: they correct the owner where a socket went to another process (accepted by a worker,
 * inherited, passed), add up datagrams, and catch the name of a process at exec, however short it
 * lives.
 */
#include "closed.h"
#include "tell.h"
#include "unseen.h"

/* See ring.h for why it is this one. */
char LICENSE[] SEC("license") = "GPL";

const volatile bool states_are_traced;
const volatile bool sends_are_traced;
const volatile bool receives_are_traced;
const volatile bool calls_are_known;
const volatile __u32 first_idle_ticks;
__u32 doubts;

static __always_inline void note_use(struct sock *sk, struct probe_socket *socket)
{
	struct tcp_sock *tcp = sends_are_traced ? NULL : bpf_skc_to_tcp_sock(sk);

	if (tcp)
		note_written(socket, tcp);
}

/* What nearly all uses are, of which there is nothing to note: of the owner, who was seen to use
 * the socket before. The rest is apart in each program, because of the stack and registers that it
 * needs. */
static __always_inline bool is_used_again(const struct probe_socket *socket)
{
	return sends_are_traced && socket && socket->flags & SOCKET_USED &&
	       is_owner(&socket->owner, bpf_get_current_task_btf());
}

/* The process that runs is in a system call on *sk*. */
static __always_inline struct probe_socket *used(struct sock *sk)
{
	struct probe_socket *socket = bpf_sk_storage_get(&sockets, sk, 0, 0);
	bool tcp = sk->sk_protocol == IPPROTO_TCP;
	struct probe_record *record;
	__u32 version;

	if (socket && is_owner(&socket->owner, bpf_get_current_task_btf())) {
		set_flags(socket, SOCKET_USED);
		note_use(sk, socket);
		return socket;
	}
	/* The kernel's own are used in the system calls of anybody: file systems, for one. */
	if (is_of_kernel(sk))
		return NULL;
	/* One that is older than we are, and that the iterator has not come to yet. */
	if (!socket)
		socket = socket_of(sk);
	if (!socket)
		return NULL;
	version = take(socket);
	if (version == 0)
		return socket;
	note_use(sk, socket);
	if (socket->netns == 0)
		socket->netns = sk->__sk_common.skc_net.net->ns.inum;
	if (socket->flags & SOCKET_ENDED || (!tcp && !(socket->flags & SOCKET_ANNOUNCED)))
		return socket;
	/* That flow is only of who talks with the peer, which is told when somebody does. */
	if (!tcp && socket->flags & PROBE_CONNECTED)
		return socket;
	record = record_new(socket->flags & SOCKET_ANNOUNCED ? PROBE_OWNER : PROBE_SEEN,
			    bpf_get_socket_cookie(sk), socket, OF_CURRENT);
	if (!record) {
		forget_owner(socket);
		return socket;
	}
	record->owner.version = version;
	tuple_of(sk, &record->tuple);
	set_flags(socket, SOCKET_ANNOUNCED);
	submit(record, tcp ? sk->__sk_common.skc_state : 0);
	return socket;
}

/* The kernel calls this in system calls, which hold the socket, and for sockets of its own in
 * interrupts, which do not. */
static __noinline int taken_in(struct sock *sk)
{
	if (sk->sk_lock.owned && is_inet(sk))
		used(sk);
	return 0;
}

SEC("tp_btf/tcp_rcv_space_adjust")

int BPF_PROG(tcp_received, struct sock *sk)
{
	return is_used_again(bpf_sk_storage_get(&sockets, sk, 0, 0)) ? 0 : taken_in(sk);
}

/* Turns of who has a socket of MPTCP come after those of who connects what it is made of, which are
 * counted apart, and are few. */
#define BEHIND_CONNECTING (1U << 30)

/* The process that runs is in a system call on a socket of MPTCP: so the first connection of TCP
 * that it is made of is its own, of which nobody has a descriptor. Only the record says so. */
static __always_inline void mptcp_used(struct sock *sk)
{
	struct mptcp_sock *mptcp = (struct mptcp_sock *)sk;
	struct probe_socket *socket;
	struct probe_record *record;
	struct sock *first;
	__u64 cookie;
	__u32 version;

	if (!bpf_core_field_exists(mptcp->first) || is_of_kernel(sk))
		return;
	socket = socket_of(sk);
	version = socket ? take(socket) : 0;
	if (!socket || version == 0)
		return;
	first = BPF_CORE_READ(mptcp, first);
	cookie = first ? (__u64)BPF_CORE_READ(first, __sk_common.skc_cookie.counter) : 0;
	record = cookie != 0 ? record_new(PROBE_OWNER, cookie, socket, OF_CURRENT) : NULL;
	if (!record) {
		forget_owner(socket);
		return;
	}
	record->owner.version = version + BEHIND_CONNECTING;
	record->tuple.protocol = IPPROTO_TCP;
	submit(record, TCP_ESTABLISHED);
}

static __always_inline void fill_peer(struct sock *sk, const struct probe_last *last,
				      struct probe_peer *peer)
{
	peer->cookie = bpf_get_socket_cookie(sk);
	peer->remote = last->remote;
	peer->remote_port = last->port;
	peer->family = last->family;
	peer->protocol = sk->sk_protocol == IPPROTO_UDP ? IPPROTO_UDP
			 : last->family == AF_INET      ? IPPROTO_ICMP
							: IPPROTO_ICMPV6;
}

/* Who sent the packet that was seen a moment ago is the owner now, and what was held back is told.
 */
static __always_inline void settle(struct sock *sk, struct probe_socket *socket)
{
	struct probe_last last = {};
	struct probe_peer peer = {};
	struct probe_tuple local = {};
	struct probe_traffic *traffic;

	if (!take_note(&socket->sent, &last))
		return;
	__sync_fetch_and_add(&doubts, -1);
	fill_peer(sk, &last, &peer);
	if (last.place != PEER_OF_MANY && !is_first_news(socket, true))
		return;
	if (last.place == PEER_OF_MANY) {
		traffic = bpf_map_lookup_elem(&peers, &peer);
		if (!traffic || !is_news(traffic, true))
			return;
	}
	tuple_of(sk, &local);
	tell_peer(PROBE_SEND, socket, &peer, last.place, &local, OF_CURRENT);
}

/* What is sent waits for more, and may leave in no send at all: when the socket lets it go. */
static __always_inline bool is_corked(struct sock *sk)
{
	return sk->sk_write_queue.qlen != 0;
}

static __noinline int sent_by_whom(struct sock *sk)
{
	struct probe_socket *socket;

	if (sk->sk_protocol == IPPROTO_MPTCP)
		mptcp_used(sk);
	if (!is_inet(sk))
		return 0;
	socket = used(sk);
	if (socket && sk->sk_protocol != IPPROTO_TCP)
		settle(sk, socket);
	return 0;
}

/* Whether the end of a send over TCP says nothing. */
static __always_inline bool is_tcp_sent_again(struct sock *sk)
{
	struct probe_socket *socket = bpf_sk_storage_get(&sockets, sk, 0, 0);

	/* Also if it failed. */
	if (socket)
		forget_waiter(socket);
	return is_used_again(socket);
}

/* A send ends. Packets say all of what is sent, but for who did it if that is another process than
 * before. */
static __always_inline int send_ended(struct sock *sk, long length)
{
	__u16 protocol = sk->sk_protocol;
	bool is_said = protocol == IPPROTO_TCP
			       ? is_tcp_sent_again(sk)
			       : protocol != IPPROTO_MPTCP && doubts == 0 && !is_corked(sk);

	return is_said || length < 0 ? 0 : sent_by_whom(sk);
}

SEC("tp_btf/sock_send_length")

int BPF_PROG(length_sent, struct sock *sk, int length)
{
	return send_ended(sk, length);
}

/* Before Linux 6.3: the same where the functions end that the system calls come to. */
SEC("fexit/inet_sendmsg")

int BPF_PROG(ipv4_sent, struct socket *socket, void *message, unsigned long size, int length)
{
	return send_ended(socket->sk, length);
}

SEC("fexit/inet6_sendmsg")

int BPF_PROG(ipv6_sent, struct socket *socket, void *message, unsigned long size, int length)
{
	return send_ended(socket->sk, length);
}

SEC("fexit/inet_sendpage")

int BPF_PROG(page_sent, struct socket *socket, void *page, int offset, unsigned long size,
	     int flags, long length)
{
	return send_ended(socket->sk, length);
}

/* From a peer whose address was not asked for: of a socket that is connected, or of nobody. */
static __always_inline void received_from_somebody(struct sock *sk, struct probe_socket *socket,
						   const struct probe_traffic *one)
{
	struct probe_peer peer = {.cookie = bpf_get_socket_cookie(sk)};
	struct probe_tuple tuple;
	bool connected = sk->__sk_common.skc_state == TCP_ESTABLISHED;

	if (sk->sk_protocol != IPPROTO_UDP && !connected) {
		/* The kernel gives such a socket the answers to what it asked; a raw one those of
		 * everybody. */
		if (sk->sk_type == SOCK_DGRAM && socket->first_family != 0 &&
		    !(socket->flags & SOCKET_SEVERAL))
			add(&socket->counters, one);
		return;
	}
	if (!count_connected(socket, peer.cookie, one, true) || !connected)
		return;
	tuple_of(sk, &tuple);
	peer.remote = tuple.remote;
	peer.remote_port = tuple.remote_port;
	peer.family = tuple.family;
	peer.protocol = tuple.protocol;
	tell_peer(PROBE_RECEIVE, socket, &peer, PEER_CONNECTED, &tuple, OF_CURRENT);
}

static __always_inline void received_from(struct sock *sk, struct probe_socket *socket,
					  const struct probe_last *last, struct probe_traffic *one)
{
	struct probe_peer peer = {};
	struct probe_tuple tuple;

	if (last->place == PEER_FIRST && !count_first(socket, one, true))
		return;
	fill_peer(sk, last, &peer);
	if (last->place == PEER_OF_MANY && !count_of_many(&peer, one, true))
		return;
	tuple_of(sk, &tuple);
	tell_peer(PROBE_RECEIVE, socket, &peer, last->place, &tuple, OF_CURRENT);
}

static __noinline int received_by_whom(struct sock *sk, int length, int flags)
{
	struct probe_traffic one = {.packets_received = 1, .bytes_received = (__u64)length};
	struct probe_socket *socket;
	struct probe_last last = {};
	bool is_noted;

	if (sk->sk_protocol == IPPROTO_MPTCP)
		mptcp_used(sk);
	if (!is_inet(sk))
		return 0;
	socket = used(sk);
	if (!socket || sk->sk_protocol == IPPROTO_TCP)
		return 0;
	is_noted = take_note(&socket->received, &last);
	/* What stays in the queue will be received yet; in the errors' is what was sent. */
	if (flags & (MSG_PEEK | MSG_ERRQUEUE))
		return 0;
	one.last_ns = bpf_ktime_get_ns();
	if (is_noted)
		received_from(sk, socket, &last, &one);
	else
		received_from_somebody(sk, socket, &one);
	return 0;
}

static __always_inline int receive_ended(struct sock *sk, int length, int flags)
{
	if (length < 0 || (sk->sk_protocol == IPPROTO_TCP &&
			   is_used_again(bpf_sk_storage_get(&sockets, sk, 0, 0))))
		return 0;
	return received_by_whom(sk, length, flags);
}

SEC("tp_btf/sock_recv_length")

int BPF_PROG(length_received, struct sock *sk, int length, int flags)
{
	return receive_ended(sk, length, flags);
}

SEC("fexit/inet_recvmsg")

int BPF_PROG(ipv4_received, struct socket *socket, void *message, unsigned long size, int flags,
	     int length)
{
	return receive_ended(socket->sk, length, flags);
}

SEC("fexit/inet6_recvmsg")

int BPF_PROG(ipv6_received, struct socket *socket, void *message, unsigned long size, int flags,
	     int length)
{
	return receive_ended(socket->sk, length, flags);
}

/* Of raw sockets of IPv6. */
SEC("fexit/sock_common_recvmsg")

int BPF_PROG(raw_received, struct socket *socket, void *message, unsigned long size, int flags,
	     int length)
{
	return receive_ended(socket->sk, length, flags);
}

static __always_inline bool tell_tcp(__u32 kind, struct sock *sk, struct probe_socket *socket,
				     __u8 state)
{
	struct probe_record *record = record_new(kind, bpf_get_socket_cookie(sk), socket, OF_OWNER);

	if (!record)
		return false;
	tuple_of(sk, &record->tuple);
	submit(record, state);
	return true;
}

/* In the system call: connect() and listen(). What connects is told of by its first packet, because
 * it has no port of its own yet. */
static __always_inline void begins(struct sock *sk, int state)
{
	struct probe_socket *socket = socket_of(sk);

	if (!socket)
		return;
	if (is_of_current(sk))
		take(socket);
	socket->netns = sk->__sk_common.skc_net.net->ns.inum;
	if (socket->flags & SOCKET_ENDED)
		begin_again(socket, bpf_get_socket_cookie(sk));
	if (state != TCP_LISTEN)
		return;
	set_flags(socket, SOCKET_ANNOUNCED | PROBE_LISTENER);
	if (!tell_tcp(PROBE_LISTEN, sk, socket, TCP_LISTEN))
		clear_flags(socket, SOCKET_ANNOUNCED);
}

/* In an interrupt: whose a connection is that came in is said by its first use. */
static __always_inline void established(struct sock *sk, int old)
{
	struct probe_socket *socket = bpf_sk_storage_get(&sockets, sk, 0, 0);

	if (socket && socket->flags & SOCKET_ANNOUNCED) {
		note_begin(sk, socket);
		leave_to_who_is_seen(sk, socket);
		if (!(socket->flags & PROBE_INBOUND))
			(void)tell_tcp(PROBE_STATE, sk, socket, TCP_ESTABLISHED);
		return;
	}
	if (!socket)
		socket = socket_of(sk);
	if (!socket)
		return;
	socket->netns = sk->__sk_common.skc_net.net->ns.inum;
	/* Nobody has it yet, or who connects has its lock. */
	socket->flags |= SOCKET_ANNOUNCED | (old == TCP_SYN_RECV ? PROBE_INBOUND : 0);
	note_begin(sk, socket);
	leave_to_who_is_seen(sk, socket);
	if (!tell_tcp(old == TCP_SYN_RECV ? PROBE_ACCEPT : PROBE_CONNECT, sk, socket,
		      TCP_ESTABLISHED))
		clear_flags(socket, SOCKET_ANNOUNCED);
}

SEC("tp_btf/inet_sock_set_state")

int BPF_PROG(state_set, struct sock *sk, int old, int new)
{
	struct probe_socket *socket;
	struct tcp_sock *tcp;

	if (sk->sk_protocol != IPPROTO_TCP)
		return 0;
	if (new == TCP_SYN_SENT || new == TCP_LISTEN)
		begins(sk, new);
	if (new == TCP_ESTABLISHED)
		established(sk, old);
	if (old == TCP_CLOSE || (new != TCP_CLOSE &&new != TCP_FIN_WAIT1 &&new != TCP_LAST_ACK))
		return 0;
	socket = bpf_sk_storage_get(&sockets, sk, 0, 0);
	tcp = bpf_skc_to_tcp_sock(sk);
	if (!socket || !tcp || socket->flags & SOCKET_ENDED)
		return 0;
	if (old == TCP_ESTABLISHED || old == TCP_CLOSE_WAIT)
		closed_unseen(tcp, socket, bpf_get_socket_cookie(sk));
	if (new == TCP_CLOSE)
		closed(sk, tcp, bpf_get_socket_cookie(sk), socket, (__u8)old);
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
