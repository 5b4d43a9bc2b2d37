/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */

/* TCP's life, from sockops, where no tracepoint tells it. */
#include "closed.h"
#include "unseen.h"

/* See ring.h for why it is this one. */
char LICENSE[] SEC("license") = "GPL";

static __always_inline void lives(struct bpf_sock_ops *context, __u32 kind, __u8 state)
{
	struct bpf_sock *sk = context->sk;
	struct probe_socket *socket;
	struct probe_record *record;
	struct tcp_sock *tcp;

	if (!sk)
		return;
	tcp = bpf_skc_to_tcp_sock(sk);
	socket = socket_of(sk);
	if (!tcp || !socket)
		return;
	bpf_sock_ops_cb_flags_set(context,
				  context->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
	if (kind != PROBE_ACCEPT && is_of_current((struct sock *)tcp))
		take(socket);
	if (kind == PROBE_ACCEPT)
		note_begin(tcp, socket);
	socket->netns = ((struct sock *)tcp)->__sk_common.skc_net.net->ns.inum;
	if (socket->flags & SOCKET_ENDED)
		begin_again(socket, bpf_get_socket_cookie(context));
	set_flags(socket, SOCKET_ANNOUNCED | (kind == PROBE_LISTEN ? PROBE_LISTENER : 0) |
				  (kind == PROBE_ACCEPT ? PROBE_INBOUND : 0));
	record = record_new(kind, bpf_get_socket_cookie(context), socket, OF_OWNER);
	if (!record) {
		clear_flags(socket, SOCKET_ANNOUNCED);
		return;
	}
	tuple_of((struct sock *)tcp, &record->tuple);
	submit(record, state);
}

static __always_inline void state_changed(struct bpf_sock_ops *context)
{
	struct bpf_sock *sk = context->sk;
	struct probe_socket *socket;
	struct probe_record *record;
	struct tcp_sock *tcp;

	if (!sk)
		return;
	tcp = bpf_skc_to_tcp_sock(sk);
	socket = bpf_sk_storage_get(&sockets, sk, 0, 0);
	if (!tcp || !socket || socket->flags & SOCKET_ENDED)
		return;
	if (context->args[0] == TCP_ESTABLISHED || context->args[0] == TCP_CLOSE_WAIT)
		closed_unseen(tcp, socket, bpf_get_socket_cookie(context));
	if (context->args[1] == TCP_CLOSE)
		return closed((struct sock *)tcp, tcp, bpf_get_socket_cookie(context), socket,
			      (__u8)context->args[0]);
	if (context->args[1] != TCP_ESTABLISHED || socket->flags & PROBE_INBOUND)
		return;
	note_begin(tcp, socket);
	leave_to_who_is_seen(tcp, socket);
	record = record_new(PROBE_STATE, bpf_get_socket_cookie(context), socket, OF_OWNER);
	if (!record)
		return;
	tuple_of((struct sock *)tcp, &record->tuple);
	submit(record, TCP_ESTABLISHED);
}

/* reply is left as it is: another program may have set it. */
SEC("sockops")

int tcp_lives(struct bpf_sock_ops *context)
{
	switch (context->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		lives(context, PROBE_CONNECT, 2);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		lives(context, PROBE_ACCEPT, TCP_ESTABLISHED);
		break;
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		lives(context, PROBE_LISTEN, TCP_LISTEN);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		state_changed(context);
		break;
	default:
		break;
	}
	return 1;
}
