/* SPDX-License-Identifier: Apache-2.0 */

/*
 * libwebsockets 4.1 reads more than one request at once, if they are there, and keeps what it has
 * no use for yet. A request with a body that comes from there is taken for its own body, and
 * the loop that does so never ends: one connection of a stranger's would hold up a front for ever.
 * What it keeps cannot be asked. But it reads nothing from the socket as long as it has something
 * left: a request that it found there began and ended without any byte that was read, as the kernel
 * counts them. Clients do not send a request with a body before they know what became of the one
 * before it, since it might be done twice.
 */

#include "control/front_reuse.h"

#include "base/fd.h"
#include "control/front.h"

/* Less is no head of a request. The kernel counts an end of the stream as a byte. */
#define HEAD_MIN 16U

void reuse_note(struct lws *wsi)
{
	struct front_peer *peer = lws_get_opaque_user_data(wsi);

	if (!peer)
		return;
	peer->is_used = true;
	if (fd_count_read(lws_get_socket_fd(wsi), &peer->read) < 0)
		peer->read = UINT64_MAX;
}

bool reuse_is_early(struct lws *wsi)
{
	const struct front_peer *peer = lws_get_opaque_user_data(wsi);
	uint64_t now = 0;

	if (!peer || !peer->is_used)
		return false;
	return fd_count_read(lws_get_socket_fd(wsi), &now) < 0 || now < HEAD_MIN ||
	       now - HEAD_MIN < peer->read;
}
