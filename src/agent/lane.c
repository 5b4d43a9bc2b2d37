/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A lane to the updater. The thread shares nothing with the loop but the job, which is its own
 * until it writes to the eventfd, and the loop's from then on. It lives as long as one request, so
 * that an idle agent has no second stack.
 */

#include "agent/lane.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sodium.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "base/thread.h"

#define STACK_SIZE       (256UL * 1024)
#define PIECE_SIZE       (64UL * 1024)
#define END_MILLISECONDS 500

struct lane {
	sd_event *event;
	sd_event_source *io;
	const char *path;
	void (*on_answer)(void *userdata, struct lane_answer *answer);
	void *userdata;
	int eventfd;
	pthread_t thread;
	bool is_busy;
	struct lane_request request;
	struct lane_answer answer;
};

void lane_request_done(struct lane_request *request)
{
	request_done(&request->request);
	for (size_t i = 0; i < REQUEST_FD_N; i++)
		request->fds[i] = fd_close(request->fds[i]);
}

static int hash_file(int fd, char text[65])
{
	cleanup_free uint8_t *piece = malloc(PIECE_SIZE);
	uint8_t digest[crypto_hash_sha256_BYTES];
	crypto_hash_sha256_state state;
	uint64_t offset = 0;
	size_t n;

	if (!piece)
		return -ENOMEM;
	(void)crypto_hash_sha256_init(&state);
	do {
		int r = fd_pread_full(fd, piece, PIECE_SIZE, offset, &n);

		if (r < 0)
			return r;
		(void)crypto_hash_sha256_update(&state, piece, n);
		offset += n;
	} while (n > 0);
	(void)crypto_hash_sha256_final(&state, digest);
	(void)sodium_bin2hex(text, 65, digest, sizeof(digest));
	return 0;
}

/* Whether the bundle is the one that was offered. */
static int check_file(struct lane *lane)
{
	char text[65];
	int r;

	if (lane->request.content_hash[0] == '\0')
		return 0;
	r = hash_file(lane->request.fds[REQUEST_FD_BUNDLE], text);
	if (r < 0)
		return r;
	return strcmp(text, lane->request.content_hash) == 0 ? 0 : 1;
}

static void *work(void *userdata)
{
	struct lane *lane = userdata;
	uint64_t one = 1;
	int r = check_file(lane);

	if (r > 0)
		lane->answer.is_other_file = true;
	else if (r == 0)
		r = transport_call(lane->path, &lane->request.request, lane->request.fds,
				   &lane->answer.result);
	lane->answer.error = MIN(r, 0);
	ignore_result(fd_write_full(lane->eventfd, &one, sizeof(one)));
	return NULL;
}

static int on_event(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct lane *lane = userdata;
	struct lane_answer answer;
	uint64_t count;

	(void)source;
	(void)events;
	if (read(fd, &count, sizeof(count)) < 0 || !lane->is_busy)
		return 0;
	(void)pthread_join(lane->thread, NULL);
	lane->is_busy = false;
	lane_request_done(&lane->request);
	lane->request = LANE_REQUEST_INIT;
	answer = lane->answer;
	lane->answer = (struct lane_answer){0};
	lane->on_answer(lane->userdata, &answer);
	result_done(&answer.result);
	return 0;
}

int lane_new(sd_event *event, const char *path,
	     void (*on_answer)(void *userdata, struct lane_answer *answer), void *userdata,
	     struct lane **ret)
{
	cleanup_lane struct lane *lane = calloc(1, sizeof(*lane));
	int r;

	if (!lane)
		return -ENOMEM;
	lane->request = LANE_REQUEST_INIT;
	lane->event = sd_event_ref(event);
	lane->path = path;
	lane->on_answer = on_answer;
	lane->userdata = userdata;
	lane->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (lane->eventfd < 0)
		return -errno;
	r = sd_event_add_io(event, &lane->io, lane->eventfd, EPOLLIN, on_event, lane);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(lane);
	return 0;
}

/* Whether the request ends within the moment that questions take. */
static bool has_ended(const struct lane *lane)
{
	struct pollfd wait = {.fd = lane->eventfd, .events = POLLIN};

	return poll(&wait, 1, END_MILLISECONDS) == 1;
}

struct lane *lane_free(struct lane *lane)
{
	if (!lane)
		return NULL;
	(void)sd_event_source_disable_unref(lane->io);
	(void)sd_event_unref(lane->event);
	/* The updater goes on without us; the thread ends with the process, which is about to, and
	 * owns what it uses until then. */
	if (lane->is_busy && !has_ended(lane)) {
		(void)pthread_detach(lane->thread);
		return NULL;
	}
	if (lane->is_busy)
		(void)pthread_join(lane->thread, NULL);
	(void)fd_close(lane->eventfd);
	lane_request_done(&lane->request);
	result_done(&lane->answer.result);
	free(lane);
	return NULL;
}

bool lane_is_busy(const struct lane *lane)
{
	return lane->is_busy;
}

/* A thread with a small stack. */
static int start_thread(struct lane *lane)
{
	pthread_attr_t attributes;
	int r;

	r = pthread_attr_init(&attributes);
	if (r != 0)
		return -r;
	(void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
	r = thread_start(&lane->thread, &attributes, work, lane);
	(void)pthread_attr_destroy(&attributes);
	return r;
}

int lane_start(struct lane *lane, struct lane_request *request)
{
	int r;

	if (lane->is_busy) {
		lane_request_done(request);
		return -EBUSY;
	}
	lane->request = *request;
	*request = LANE_REQUEST_INIT;
	r = start_thread(lane);
	if (r < 0) {
		lane_request_done(&lane->request);
		lane->request = LANE_REQUEST_INIT;
		return r;
	}
	lane->is_busy = true;
	return 0;
}
