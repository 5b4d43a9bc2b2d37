/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The store process: the loop around the deciding half. It turns frames of the fronts into calls
 * and what those say into frames, and lets nothing out before it is on disk: the fleet is flushed
 * when nothing more is waiting to be read, or after a while of reading.
 *
 * A front is believed about what it decoded, not about its size or shape: a frame that makes no
 * sense ends the front, not the store.
 */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <systemd/sd-event.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/path.h"
#include "base/str.h"
#include "bundle/bundle.h"
#include "control/api.h"
#include "control/child.h"
#include "control/fleet.h"
#include "control/link.h"
#include "control/log.h"
#include "control/serve_import.h"
#include "control/serve_incoming.h"
#include "control/serve_report.h"

#define FLUSH_USEC      (50 * CLOCK_USEC_PER_MSEC)
#define GATHER_USEC     (10 * CLOCK_USEC_PER_MSEC)
#define TICK_ACCURACY   (5 * CLOCK_USEC_PER_MSEC)
#define GATHER_ACCURACY CLOCK_USEC_PER_MSEC
#define QUEUED_MAX      67108864U /* 64 MiB wait for one front: no more is read from it */
#define AHEAD_MAX       4194304U  /* 4 MiB: it is not offered more just now */
#define NUMBER_MASK     0xffffffffffffULL
#define FRONT_SHIFT     48U
#define HTTP_CONTINUE   100U
#define UPLOAD_PATH     "/api/v1/packages"
#define RETRY_TEXT_MAX  16U

struct store;

/* One front's end of things. */
struct front_link {
	struct store *store;
	unsigned number;
	struct link *link;
	sd_event_source *source;
	bool is_paused;
};

struct store {
	sd_event *event;
	sd_event_source *tick;
	sd_event_source *idle;
	sd_event_source *gathered;
	struct fleet *fleet;
	struct serve_imports *imports;
	int incoming_fd;
	struct front_link fronts[CONFIG_FRONTS_MAX + 1]; /* by number */
	uint64_t flushed;                                /* when, usec */
	uint64_t ticked;                                 /* likewise */
};

static void front_done(struct front_link *front)
{
	if (!front->link)
		return;
	front->source = sd_event_source_unref(front->source);
	front->link = link_free(front->link);
	fleet_front_gone(front->store->fleet, front->number);
	serve_imports_front_gone(front->store->imports, front->number);
	serve_incoming_forget(front->store->incoming_fd, front->number);
}

static void store_done(struct store *store)
{
	for (unsigned i = 0; i < ARRAY_SIZE(store->fronts); i++)
		front_done(&store->fronts[i]);
	store->tick = sd_event_source_unref(store->tick);
	store->idle = sd_event_source_unref(store->idle);
	store->gathered = sd_event_source_unref(store->gathered);
	store->imports = serve_imports_free(store->imports);
	store->fleet = fleet_free(store->fleet);
	store->event = sd_event_unref(store->event);
	store->incoming_fd = fd_close(store->incoming_fd);
}

/* Sends what is queued, and stops reading from a front that does not read. */
static void front_update(struct front_link *front)
{
	bool is_paused = link_queued(front->link) > QUEUED_MAX;
	uint32_t events = is_paused ? 0 : EPOLLIN;

	if (link_queued(front->link) > 0)
		events |= EPOLLOUT;
	front->is_paused = is_paused;
	if (sd_event_source_set_io_events(front->source, events) < 0)
		front_done(front);
}

static void flush_links(struct store *store)
{
	for (unsigned i = 0; i < ARRAY_SIZE(store->fronts); i++) {
		struct front_link *front = &store->fronts[i];

		if (!front->link)
			continue;
		if (link_flush(front->link) < 0)
			front_done(front);
		else
			front_update(front);
	}
}

static void send_frame(struct store *store, unsigned number, const Link__Frame *frame)
{
	struct front_link *front =
		number < ARRAY_SIZE(store->fronts) ? &store->fronts[number] : NULL;
	int r;

	if (!front || !front->link)
		return;
	r = link_send(front->link, frame);
	if (r < 0)
		log_line(LOG_ERR, "something for front %u is lost: %s", number,
			 strerrordesc_np(-r));
}

/* From the fleet */

static void on_message(void *userdata, uint64_t connection, const void *data, size_t size,
		       bool close_after)
{
	Link__AgentMessage message = LINK__AGENT_MESSAGE__INIT;
	Link__Frame frame = LINK__FRAME__INIT;

	message.connection = connection & NUMBER_MASK;
	message.server_to_agent.data = (uint8_t *)data;
	message.server_to_agent.len = size;
	message.close_after = close_after;
	frame.body_case = LINK__FRAME__BODY_AGENT_MESSAGE;
	frame.agent_message = &message;
	send_frame(userdata, (unsigned)(connection >> FRONT_SHIFT), &frame);
}

static void on_refuse(void *userdata, uint64_t connection, unsigned status, unsigned retry_after)
{
	Link__AgentRefuse refuse = LINK__AGENT_REFUSE__INIT;
	Link__Frame frame = LINK__FRAME__INIT;

	refuse.connection = connection & NUMBER_MASK;
	refuse.status = status;
	refuse.retry_after = retry_after;
	frame.body_case = LINK__FRAME__BODY_AGENT_REFUSE;
	frame.agent_refuse = &refuse;
	send_frame(userdata, (unsigned)(connection >> FRONT_SHIFT), &frame);
}

/* From the fronts */

static int take_hello(struct front_link *front, const Link__AgentHello *from)
{
	struct fleet_hello hello = {
		.connection = FLEET_CONNECTION(front->number, from->connection),
		.authorization = from->authorization,
		.peer = from->peer,
		.transport = from->transport == LINK__TRANSPORT__HTTP ? "http" : "ws",
		.certificate_name = *from->certificate_name ? from->certificate_name : NULL,
		.base_url = *from->base_url ? from->base_url : NULL,
	};

	if (from->instance_uid.len != sizeof(hello.instance_uid))
		return -EBADMSG;
	memcpy(hello.instance_uid, from->instance_uid.data, sizeof(hello.instance_uid));
	return fleet_hello(front->store->fleet, &hello);
}

static int take_seen(struct front_link *front, const Link__AgentsSeen *from)
{
	for (size_t i = 0; i < from->n_connections; i++)
		from->connections[i] = FLEET_CONNECTION(front->number, from->connections[i]);
	return fleet_seen(front->store->fleet, from->connections, from->n_connections);
}

static void answer_http(struct front_link *front, uint64_t id, const struct api_response *answer)
{
	Link__HttpResponse response = LINK__HTTP_RESPONSE__INIT;
	Link__Header retry = LINK__HEADER__INIT;
	Link__Header *headers[] = {&retry};
	Link__Frame frame = LINK__FRAME__INIT;
	char seconds[RETRY_TEXT_MAX];

	response.id = id;
	response.status = answer->status;
	response.content_type =
		(char *)(answer->content_type ? answer->content_type : "text/plain");
	response.body.data = (uint8_t *)answer->body;
	response.body.len = answer->body_size;
	response.artifact = (char *)answer->artifact;
	response.is_proven = answer->is_proven;
	if (answer->retry_after > 0) {
		(void)snprintf(seconds, sizeof(seconds), "%u", answer->retry_after);
		retry.name = (char *)"retry-after";
		retry.value = seconds;
		response.headers = headers;
		response.n_headers = 1;
	}
	frame.body_case = LINK__FRAME__BODY_HTTP_RESPONSE;
	frame.http_response = &response;
	send_frame(front->store, front->number, &frame);
}

/* Whether whoever wants to send a bundle may. */
static void answer_upload_question(struct front_link *front, const Link__HttpRequest *from)
{
	cleanup_api_response struct api_response answer = API_RESPONSE_INIT;
	const struct api_request question = {
		.method = "POST",
		.path = UPLOAD_PATH,
		.authorization = *from->authorization ? from->authorization : NULL,
		.peer = from->peer,
		.is_question = true};

	api_handle(front->store->fleet, &question, &answer);
	answer_http(front, from->id, &answer);
}

/* *front* NULL: whoever asked is gone. An upload that is to be checked first is not answered. */
static void answer_request(struct store *store, struct front_link *front,
			   const Link__HttpRequest *from, struct package_arrival **arrival)
{
	cleanup_api_response struct api_response answer = API_RESPONSE_INIT;
	const struct api_request request = {
		.method = from->method,
		.path = from->path,
		.query = *from->query ? from->query : NULL,
		.authorization = *from->authorization ? from->authorization : NULL,
		.content_type = *from->content_type ? from->content_type : NULL,
		.body = from->body.data,
		.body_size = from->body.len,
		.spooled_name = from->spooled ? from->spooled->name : NULL,
		.arrival = arrival,
		.peer = from->peer,
	};

	api_handle(store->fleet, &request, &answer);
	if (front && answer.status != HTTP_CONTINUE)
		answer_http(front, from->id, &answer);
	/* What it changed goes out at once. */
	ignore_result(sd_event_source_set_time(store->tick, 0));
}

/* From serve_import.c */
static void on_checked(void *userdata, unsigned number, const Link__HttpRequest *request,
		       struct package_arrival *arrival)
{
	struct store *store = userdata;
	bool is_there = number > 0 && number < ARRAY_SIZE(store->fronts);

	answer_request(store, is_there ? &store->fronts[number] : NULL, request, &arrival);
}

static int take_request(struct front_link *front, const Link__HttpRequest *from)
{
	struct store *store = front->store;
	struct package_arrival *arrival = NULL;

	if (from->is_upload_question) {
		answer_upload_question(front, from);
		return 0;
	}
	if (from->spooled && !path_is_safe_name(from->spooled->name))
		return -EBADMSG;
	answer_request(store, front, from, &arrival);
	if (arrival)
		serve_imports_add(store->imports, front->number, from, arrival);
	else if (from->spooled)
		ignore_result(file_remove(store->incoming_fd, from->spooled->name, NULL));
	return 0;
}

static int on_frame(void *userdata, const Link__Frame *frame)
{
	struct front_link *front = userdata;
	struct store *store = front->store;
	int r;

	switch (frame->body_case) {
	case LINK__FRAME__BODY_AGENT_HELLO:
		r = take_hello(front, frame->agent_hello);
		break;
	case LINK__FRAME__BODY_AGENT_REPORT:
		r = serve_report(store->fleet, front->number, frame->agent_report);
		break;
	case LINK__FRAME__BODY_AGENTS_SEEN:
		r = take_seen(front, frame->agents_seen);
		break;
	case LINK__FRAME__BODY_AGENT_GONE:
		fleet_gone(store->fleet,
			   FLEET_CONNECTION(front->number, frame->agent_gone->connection));
		r = 0;
		break;
	case LINK__FRAME__BODY_HTTP_REQUEST:
		r = take_request(front, frame->http_request);
		break;
	case LINK__FRAME__BODY_HTTP_GONE:
		serve_imports_gone(store->imports, front->number, frame->http_gone->id);
		r = 0;
		break;
	default:
		r = -EBADMSG;
	}
	if (r == -EBADMSG)
		return r;
	if (r < 0)
		log_line(LOG_ERR, "what a host said could not be kept: %s", strerrordesc_np(-r));
	return 0;
}

static void flush(struct store *store)
{
	int r = fleet_flush(store->fleet);

	store->flushed = clock_monotonic_usec();
	if (r < 0)
		log_line(LOG_ERR,
			 "the database did not take what hosts said, they will repeat it: %s",
			 strerrordesc_np(-r));
	flush_links(store);
}

static int on_link(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct front_link *front = userdata;
	struct store *store = front->store;
	int r = 0;

	(void)source;
	(void)fd;
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
		r = link_receive(front->link, on_frame, front);
	if (r == -EBADMSG)
		log_line(LOG_ERR, "front %u sends what is no frame; it is let go", front->number);
	if (r < 0) {
		front_done(front);
		return 0;
	}
	if ((events & EPOLLOUT) != 0)
		flush_links(store);
	if (clock_monotonic_usec() - store->flushed > FLUSH_USEC)
		flush(store);
	return 0;
}

/* Soon after one commit the next one waits for what else comes: else each host of a crowd that
 * enrols would have a sync of its own. */
static int flush_in_time(struct store *store)
{
	uint64_t due = store->flushed + GATHER_USEC;
	int r;

	if (!fleet_has_news(store->fleet))
		return 0;
	if (clock_monotonic_usec() >= due) {
		flush(store);
		return 0;
	}
	r = sd_event_source_set_time(store->gathered, due);
	return r < 0 ? r : sd_event_source_set_enabled(store->gathered, SD_EVENT_ONESHOT);
}

static int on_gathered(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	return flush_in_time(userdata);
}

/* Nothing more is waiting to be read. */
static int on_idle(sd_event_source *source, void *userdata)
{
	struct store *store = userdata;
	int r = flush_in_time(store);

	(void)source;
	flush_links(store);
	return r;
}

/* The fleet counts in whole seconds: what a second brings is seen when it begins, not up to another
 * later. */
static uint64_t next_second_usec(sd_event *event)
{
	uint64_t now = 0;

	(void)sd_event_now(event, CLOCK_REALTIME, &now);
	return CLOCK_USEC_PER_SEC - now % CLOCK_USEC_PER_SEC;
}

/* Offers are made faster than fronts hand them out. One that does not read at all holds up no more
 * than what comes of time more often than once a second. */
static bool is_ahead(const struct store *store)
{
	if (clock_monotonic_usec() - store->ticked >= CLOCK_USEC_PER_SEC)
		return false;
	for (unsigned i = 0; i < ARRAY_SIZE(store->fronts); i++) {
		if (store->fronts[i].link && link_queued(store->fronts[i].link) > AHEAD_MAX)
			return true;
	}
	return false;
}

static int tick_after(sd_event_source *source, uint64_t wait)
{
	int r = sd_event_source_set_time_relative(source, wait);

	return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct store *store = userdata;
	unsigned wait_ms = 0;
	int r;

	(void)usec;
	if (is_ahead(store))
		return tick_after(source, GATHER_USEC);
	store->ticked = clock_monotonic_usec();
	r = fleet_tick(store->fleet, &wait_ms);
	if (r < 0)
		log_line(LOG_ERR, "the database is not usable now: %s, retrying",
			 strerrordesc_np(-r));
	return tick_after(source, r < 0 || wait_ms > 0 ? next_second_usec(store->event) : 0);
}

static void send_secret(struct front_link *front)
{
	Link__Secret secret = LINK__SECRET__INIT;
	Link__Frame frame = LINK__FRAME__INIT;

	secret.download_key.data = (uint8_t *)fleet_url_key(front->store->fleet);
	secret.download_key.len = FLEET_KEY_SIZE;
	frame.body_case = LINK__FRAME__BODY_SECRET;
	frame.secret = &secret;
	send_frame(front->store, front->number, &frame);
}

/* A front was started, perhaps in the place of one that died. */
static int on_control(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct store *store = userdata;
	struct front_link *front;
	unsigned number = 0;
	int link_end = -EBADF;
	int r;

	(void)source;
	(void)events;
	r = child_receive_front(fd, &number, &link_end);
	if (r == -EAGAIN)
		return 0;
	if (r < 0)
		return sd_event_exit(store->event, r);
	if (number == 0 || number > CONFIG_FRONTS_MAX) {
		(void)fd_close(link_end);
		return -EBADMSG;
	}
	front = &store->fronts[number];
	front_done(front);
	*front = (struct front_link){.store = store, .number = number};
	r = link_new(link_end, &front->link);
	if (r < 0)
		return r;
	r = sd_event_add_io(store->event, &front->source, link_fd(front->link), EPOLLIN, on_link,
			    front);
	if (r < 0)
		return r;
	send_secret(front);
	flush_links(store);
	return 0;
}

static int open_fleet(struct store *store, const struct config *config)
{
	const struct fleet_options options = {
		.data_dirfd = STORE_FD_DATA,
		.trust_dirfd = config->trust ? STORE_FD_TRUST : -EBADF,
		.public_url = config->is_url_guessed ? NULL : config->public_url,
		.trust_certificates = config->certificate_is_credential,
		.heartbeat_seconds = config->heartbeat_seconds,
		.poll_seconds = config->poll_seconds,
		.stale_seconds = config->stale_seconds,
		.registries = &config->registries,
		.registry_auth = config->registry_auth,
		.registry_ca = config->registry_ca,
		.audit_keep_days = config->audit_keep_days,
	};
	const struct fleet_output output = {store, on_message, on_refuse};
	char problem[FLEET_PROBLEM_MAX] = "";
	int r = fleet_open(&options, &output, &store->fleet, problem);

	if (r > 0)
		log_line(LOG_ERR, "%s", problem);
	else if (r < 0)
		log_line(LOG_ERR, "the database in '%s' could not be opened: %s", config->data,
			 strerrordesc_np(-r));
	return r > 0 ? -EINVAL : r;
}

static int add_sources(struct store *store)
{
	const struct serve_imports_output output = {store, on_checked};
	sigset_t stop;
	int r;

	(void)sigemptyset(&stop);
	(void)sigaddset(&stop, SIGTERM);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet */
	if (sigprocmask(SIG_BLOCK, &stop, NULL) < 0)
		return -errno;
	r = sd_event_new(&store->event);
	if (r >= 0)
		r = sd_event_add_signal(store->event, NULL, SIGTERM, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_io(store->event, NULL, STORE_FD_CONTROL, EPOLLIN, on_control,
				    store);
	if (r >= 0)
		r = sd_event_add_time(store->event, &store->tick, CLOCK_MONOTONIC, 0, TICK_ACCURACY,
				      on_tick, store);
	if (r >= 0)
		r = sd_event_add_time(store->event, &store->gathered, CLOCK_MONOTONIC, 0,
				      GATHER_ACCURACY, on_gathered, store);
	if (r >= 0)
		r = serve_imports_new(store->event, &output, &store->imports);
	if (r >= 0)
		r = sd_event_add_post(store->event, &store->idle, on_idle, store);
	/* After all that can be read: what comes together is one commit. */
	return r < 0 ? r : sd_event_source_set_priority(store->idle, SD_EVENT_PRIORITY_IDLE);
}

static int run(struct store *store, const struct config *config)
{
	const char ready = 1;
	int r;

	r = open_fleet(store, config);
	if (r < 0)
		return r;
	if (path_open_beneath(STORE_FD_DATA, "incoming", O_RDONLY | O_DIRECTORY, 0,
			      &store->incoming_fd) < 0)
		return -ENOENT;
	r = serve_incoming_empty(store->incoming_fd);
	if (r < 0)
		return r;
	r = add_sources(store);
	if (r < 0)
		return r;
	if (write(STORE_FD_CONTROL, &ready, sizeof(ready)) < 0)
		return -errno;
	r = sd_event_loop(store->event);
	/* Every front is gone by now: what they said last is kept. */
	flush(store);
	return r;
}

int store_run(const struct config *config)
{
	CLEANUP(store_done) struct store store = {.incoming_fd = -EBADF};
	int r;

	log_set_name("store");
	r = run(&store, config);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
