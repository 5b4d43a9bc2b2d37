/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Frames over a stream socket. Writing is split in two, so that all that one turn of an event loop
 * has to say goes out in one system call. Nobody here waits: whoever produces faster than the peer
 * reads looks at link_queued() and stops producing.
 */

#include "control/link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

#define SIZE_BYTES  4U
#define READ_CHUNK  65536U
#define READS_MAX   64U
#define KEPT_MEMORY 262144U /* 256 KiB: a burst's memory is given back */

/* Bytes that go in at the end and out at *start*. */
struct queue {
	uint8_t *data;
	size_t start;
	size_t end;
	size_t capacity;
};

struct link {
	int fd;
	struct queue in;
	struct queue out;
};

static size_t queue_size(const struct queue *queue)
{
	return queue->end - queue->start;
}

/* Makes room for *more* bytes at the end. */
static int queue_reserve(struct queue *queue, size_t more)
{
	size_t capacity = queue->capacity > 0 ? queue->capacity : READ_CHUNK;
	uint8_t *data;

	if (queue->capacity - queue->end >= more)
		return 0;
	if (queue->start > 0) {
		memmove(queue->data, queue->data + queue->start, queue_size(queue));
		queue->end = queue_size(queue);
		queue->start = 0;
	}
	while (capacity - queue->end < more) {
		if (__builtin_mul_overflow(capacity, 2U, &capacity))
			return -ENOMEM;
	}
	if (capacity == queue->capacity)
		return 0;
	data = realloc(queue->data, capacity);
	if (!data)
		return -ENOMEM;
	queue->data = data;
	queue->capacity = capacity;
	return 0;
}

static void queue_take(struct queue *queue, size_t size)
{
	queue->start += size;
	if (queue->start < queue->end)
		return;
	queue->start = 0;
	queue->end = 0;
	if (queue->capacity <= KEPT_MEMORY)
		return;
	free(queue->data);
	queue->data = NULL;
	queue->capacity = 0;
}

struct link *link_free(struct link *link)
{
	if (!link)
		return NULL;
	link->fd = fd_close(link->fd);
	free(link->in.data);
	free(link->out.data);
	free(link);
	return NULL;
}

int link_new(int fd, struct link **ret)
{
	cleanup_fd int owned = fd;
	cleanup_link struct link *link = calloc(1, sizeof(*link));
	int flags;

	if (!link)
		return -ENOMEM;
	link->fd = TAKE_FD(owned);
	flags = fcntl(link->fd, F_GETFL);
	if (flags < 0 || fcntl(link->fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	*ret = TAKE_PTR(link);
	return 0;
}

int link_fd(const struct link *link)
{
	return link->fd;
}

size_t link_queued(const struct link *link)
{
	return queue_size(&link->out);
}

static void put_size(uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < SIZE_BYTES; i++)
		bytes[i] = (uint8_t)(size >> (8 * i));
}

static size_t get_size(const uint8_t *bytes)
{
	size_t size = 0;

	for (size_t i = 0; i < SIZE_BYTES; i++)
		size |= (size_t)bytes[i] << (8 * i);
	return size;
}

int link_send(struct link *link, const Link__Frame *frame)
{
	size_t size = link__frame__get_packed_size(frame);
	int r;

	if (size > LINK_FRAME_MAX)
		return -EMSGSIZE;
	r = queue_reserve(&link->out, SIZE_BYTES + size);
	if (r < 0)
		return r;
	put_size(link->out.data + link->out.end, size);
	(void)link__frame__pack(frame, link->out.data + link->out.end + SIZE_BYTES);
	link->out.end += SIZE_BYTES + size;
	return 0;
}

int link_flush(struct link *link)
{
	while (queue_size(&link->out) > 0) {
		ssize_t n = send(link->fd, link->out.data + link->out.start, queue_size(&link->out),
				 MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		queue_take(&link->out, (size_t)n);
	}
	return 0;
}

/* Hands over each whole frame that was read. */
static int dispatch(struct link *link, int (*handler)(void *userdata, const Link__Frame *frame),
		    void *userdata)
{
	while (queue_size(&link->in) >= SIZE_BYTES) {
		const uint8_t *start = link->in.data + link->in.start;
		size_t size = get_size(start);
		Link__Frame *frame;
		int r;

		if (size > LINK_FRAME_MAX)
			return -EBADMSG;
		if (queue_size(&link->in) - SIZE_BYTES < size)
			return 0;
		frame = link__frame__unpack(NULL, size, start + SIZE_BYTES);
		if (!frame)
			return -EBADMSG;
		queue_take(&link->in, SIZE_BYTES + size);
		r = handler(userdata, frame);
		link__frame__free_unpacked(frame, NULL);
		if (r != 0)
			return r;
	}
	return 0;
}

int link_receive(struct link *link, int (*handler)(void *userdata, const Link__Frame *frame),
		 void *userdata)
{
	for (unsigned i = 0; i < READS_MAX; i++) {
		ssize_t n;
		int r = queue_reserve(&link->in, READ_CHUNK);

		if (r < 0)
			return r;
		n = recv(link->fd, link->in.data + link->in.end, READ_CHUNK, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (n == 0)
			return -ECONNRESET;
		link->in.end += (size_t)n;
		r = dispatch(link, handler, userdata);
		if (r != 0)
			return r;
	}
	return 0;
}
