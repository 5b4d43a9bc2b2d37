/* SPDX-License-Identifier: Apache-2.0 */

/*
 * vsock: how a machine and its host talk without a network. The host is CID 2, always; programs of
 * this guest (CID 1, by vsock_loopback) and of guests of this guest have other numbers, which the
 * kernel vouches for, and are none of those who may ask. Of the host's programs, those that have
 * CAP_NET_BIND_SERVICE in its first user namespace may have a port below 1024; nobody gets one by
 * not asking for any.
 */

#include "guest/listen.h"

#include <errno.h>
#include <sys/socket.h>

#include <linux/vm_sockets.h>

#include "base/fd.h"
#include "ipc/guest.h"

#define BACKLOG 8

int listen_on_vsock(unsigned port, int *ret_fd)
{
	const struct sockaddr_vm address = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
	cleanup_fd int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int listen_accept(int listener, unsigned peer, bool *ret_is_privileged, int *ret_fd)
{
	struct sockaddr_vm address = {0};
	socklen_t size = sizeof(address);
	cleanup_fd int fd = accept4(listener, (struct sockaddr *)&address, &size, SOCK_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (size < sizeof(address) || address.svm_family != AF_VSOCK || address.svm_cid != peer)
		return LISTEN_E_STRANGER;
	*ret_is_privileged = address.svm_port < GUEST_VSOCK_PRIVILEGED_END;
	*ret_fd = TAKE_FD(fd);
	return 0;
}
