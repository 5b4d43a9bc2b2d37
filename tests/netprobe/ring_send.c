/* SPDX-License-Identifier: Apache-2.0 */

/* An io_uring as the kernel has it: one entry goes in, one answer comes out. */

#include "ring_send.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static int send_through(int ring, const struct io_uring_params *params, uint8_t *queues,
			struct io_uring_sqe *entry, int fd, const void *data, size_t size)
{
	uint32_t *tail = (uint32_t *)(queues + params->sq_off.tail);
	uint32_t *array = (uint32_t *)(queues + params->sq_off.array);
	const struct io_uring_cqe *answer =
		(const struct io_uring_cqe *)(queues + params->cq_off.cqes);

	*entry = (struct io_uring_sqe){
		.opcode = IORING_OP_SEND,
		.fd = fd,
		.addr = (uint64_t)(uintptr_t)data,
		.len = (uint32_t)size,
	};
	array[0] = 0;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		return -errno;
	if (answer->res < 0)
		return answer->res;
	return (size_t)answer->res == size ? 0 : -EIO;
}

/* Of both queues, which are in one. */
static size_t size_of(const struct io_uring_params *params)
{
	size_t answers = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);
	size_t array = params->sq_off.array + params->sq_entries * sizeof(uint32_t);

	return answers > array ? answers : array;
}

int ring_send(int fd, const void *data, size_t size)
{
	struct io_uring_params params = {0};
	int ring = (int)syscall(SYS_io_uring_setup, 1, &params);
	void *queues;
	void *entries;
	int r;

	if (ring < 0)
		return -errno;
	queues = mmap(NULL, size_of(&params), PROT_READ | PROT_WRITE, MAP_SHARED, ring,
		      IORING_OFF_SQ_RING);
	entries = mmap(NULL, sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring,
		       IORING_OFF_SQES);
	r = queues == MAP_FAILED || entries == MAP_FAILED
		    ? -errno
		    : send_through(ring, &params, queues, entries, fd, data, size);
	if (queues != MAP_FAILED)
		(void)munmap(queues, size_of(&params));
	if (entries != MAP_FAILED)
		(void)munmap(entries, sizeof(struct io_uring_sqe));
	(void)close(ring);
	return r;
}
