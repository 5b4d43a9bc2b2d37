/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A front: the process that strangers talk to. It accepts, counts, decodes and passes on, and what
 * it holds can be said again: connections, and a few answers on their way. The store's end is its
 * end.
 *
 * libwebsockets brings HTTP, TLS and WebSockets. Accepting is done here and not by it, so that an
 * address that has too much open costs no more than the call to accept. Times that concern all
 * connections are looked at in one sweep a second instead of in a timer for each: its timers are
 * a sorted list.
 */

#include "control/front.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "control/child.h"
#include "control/confine.h"
#include "control/front_agent.h"
#include "control/front_http.h"
#include "control/front_rest.h"
#include "control/log.h"

#define HOST_MAX          261U      /* a name, ':' and a port */
#define ACCEPTS_MAX       64U       /* in a row */
#define CONGESTED_BYTES   16777216U /* 16 MiB wait for the store */
#define TICK_MSEC         250U
#define STOP_SECONDS      3U
#define STOP_MSEC         1000
#define KEEPALIVE_SECONDS 75
#define HEAD_SECONDS      10
#define HEAD_BYTES        8192U
/* Above any number of connections: a request that waits for the store keeps its head, and no other
 * has to wait for that. They are made when they are needed. */
#define HEADS_MAX     1048576U
#define SERVICE_BYTES 16384U
#define SOCKET_BYTES  512U /* what each WebSocket keeps to read into */
#define SPARE_FDS     64U

uint64_t front_msec(void)
{
	return clock_monotonic_usec() / CLOCK_USEC_PER_MSEC;
}

int front_send(struct front *front, const Link__Frame *frame)
{
	return link_send(front->link, frame);
}

bool front_is_congested(const struct front *front)
{
	return link_queued(front->link) > CONGESTED_BYTES;
}

char *front_header(struct lws *wsi, enum lws_token_indexes token)
{
	int length = lws_hdr_total_length(wsi, token);
	char *value;

	if (length <= 0)
		return NULL;
	value = malloc((size_t)length + 1);
	if (value && lws_hdr_copy(wsi, value, length + 1, token) < 0) {
		free(value);
		return NULL;
	}
	return value;
}

/* Whether something before us, which ends TLS, says that it was asked by https. */
static bool is_forwarded_from_tls(struct lws *wsi)
{
	static const char name[] = "x-forwarded-proto:";
	char value[8] = "";

	return lws_hdr_custom_copy(wsi, value, sizeof(value), name, (int)strlen(name)) > 0 &&
	       strcasecmp(value, "https") == 0;
}

char *front_base_url(struct front *front, struct lws *wsi)
{
	cleanup_free char *host = front_header(wsi, WSI_TOKEN_HOST);
	bool is_tls = front->config->tls_certificate || is_forwarded_from_tls(wsi);
	char *url = NULL;

	/* A name or an address, and a port: nothing that would say something else in a URL. */
	if (!host || strlen(host) > HOST_MAX ||
	    host[strspn(host,
			"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]")])
		return NULL;
	ignore_result(str_format(&url, "%s://%s", is_tls ? "https" : "http", host));
	return url;
}

/* Who ends TLS before us may also have asked for us by a name that hosts do not know. */
void front_warn_of_guess(struct front *front, const char *url)
{
	if (front->has_warned || !front->config->is_url_guessed || front->config->tls_certificate ||
	    !url || !str_starts_with(url, "https://"))
		return;
	front->has_warned = true;
	log_line(
		LOG_WARNING,
		"hosts come by something that ends TLS (X-Forwarded-Proto: https), and are offered "
		"bundles at '%s'; if they cannot fetch them there, set public_url in affixd.yaml",
		url);
}

void front_prove(struct front *front, struct lws *wsi)
{
	struct front_peer *peer = lws_get_opaque_user_data(wsi);

	(void)front;
	if (!peer || peer->is_proven)
		return;
	peer->is_proven = true;
	limit_prove(peer->address);
}

bool front_is_proven(struct lws *wsi)
{
	const struct front_peer *peer = lws_get_opaque_user_data(wsi);

	return peer && peer->is_proven;
}

/* What libwebsockets tells us */

static void forget_peer(struct front *front, struct lws *wsi)
{
	struct front_peer *peer = lws_get_opaque_user_data(wsi);

	if (!peer)
		return;
	lws_set_opaque_user_data(wsi, NULL);
	limit_release(&front->limits, peer->address, peer->is_proven);
	free(peer);
}

static int on_http(struct front *front, struct lws *wsi, enum lws_callback_reasons reason,
		   struct front_session *session, const void *in, size_t size)
{
	switch (reason) {
	case LWS_CALLBACK_HTTP:
		return exchange_begin(front, wsi, session, in) == 0 ? 0 : -1;
	case LWS_CALLBACK_HTTP_BODY:
		return session->exchange ? exchange_body(session->exchange, in, size) : -1;
	case LWS_CALLBACK_HTTP_BODY_COMPLETION:
		return session->exchange ? exchange_complete(session->exchange) : 0;
	case LWS_CALLBACK_HTTP_WRITEABLE:
		return exchange_write(session);
	case LWS_CALLBACK_CLOSED_HTTP:
		if (session)
			session->exchange = exchange_free(session->exchange);
		return 0;
	default:
		return 0;
	}
}

static int on_socket(struct front *front, struct lws *wsi, enum lws_callback_reasons reason,
		     struct front_session *session, const void *in, size_t size)
{
	switch (reason) {
	case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
		return agent_filter(front, wsi);
	case LWS_CALLBACK_ESTABLISHED:
		return agent_open(front, wsi, session);
	case LWS_CALLBACK_RECEIVE:
		return session->agent ? agent_receive(session->agent, in, size) : -1;
	case LWS_CALLBACK_RECEIVE_PONG:
		if (session->agent)
			agent_alive(session->agent);
		return 0;
	case LWS_CALLBACK_SERVER_WRITEABLE:
		return session->agent ? agent_write(session->agent) : -1;
	case LWS_CALLBACK_CLOSED:
		agent_closed(session);
		return 0;
	default:
		return 0;
	}
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
		    size_t size)
{
	struct front *front = lws_context_user(lws_get_context(wsi));

	switch (reason) {
	case LWS_CALLBACK_OPENSSL_PERFORM_CLIENT_CERT_VERIFICATION:
		/* The library takes any certificate unless it is told so; *size* is OpenSSL's
		 * finding. */
		return size == 1 ? 0 : -1;
	case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
		/* Not to HTTP/2, which nothing here is made for. */
		return strcasecmp(in, "websocket") == 0 ? 0 : -1;
	case LWS_CALLBACK_HTTP:
	case LWS_CALLBACK_HTTP_BODY:
	case LWS_CALLBACK_HTTP_BODY_COMPLETION:
	case LWS_CALLBACK_HTTP_WRITEABLE:
	case LWS_CALLBACK_CLOSED_HTTP:
		return on_http(front, wsi, reason, user, in, size);
	case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
	case LWS_CALLBACK_ESTABLISHED:
	case LWS_CALLBACK_RECEIVE:
	case LWS_CALLBACK_RECEIVE_PONG:
	case LWS_CALLBACK_SERVER_WRITEABLE:
	case LWS_CALLBACK_CLOSED:
		return on_socket(front, wsi, reason, user, in, size);
	case LWS_CALLBACK_WSI_DESTROY:
		forget_peer(front, wsi);
		return 0;
	case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS:
		/* Idle connections keep no buffers for records. */
		(void)SSL_CTX_set_mode(user, SSL_MODE_RELEASE_BUFFERS);
		(void)SSL_CTX_set_min_proto_version(user, TLS1_2_VERSION);
		return 0;
	default:
		return 0;
	}
}

/* Accepting */

static void adopt(struct front *front, int fd, struct limit_address *address)
{
	struct front_peer *peer = calloc(1, sizeof(*peer));
	struct lws *wsi;

	if (!peer) {
		limit_release(&front->limits, address, false);
		(void)fd_close(fd);
		return;
	}
	/* Closes the descriptor if it fails. */
	wsi = lws_adopt_socket_vhost(front->vhost, fd);
	if (!wsi) {
		limit_release(&front->limits, address, false);
		free(peer);
		return;
	}
	peer->address = address;
	lws_set_opaque_user_data(wsi, peer);
}

static void set_listening(struct front *front, bool on);

static void on_listen(uv_poll_t *handle, int status, int events)
{
	struct front *front = handle->data;

	(void)events;
	for (unsigned i = 0; status == 0 && i < ACCEPTS_MAX; i++) {
		struct sockaddr_storage peer = {0};
		socklen_t size = sizeof(peer);
		struct limit_address *address = NULL;
		const int on = 1;
		int fd;

		if (front_is_congested(front)) {
			set_listening(front, false);
			return;
		}
		fd = accept4(FRONT_FD_LISTEN, (struct sockaddr *)&peer, &size,
			     SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
			/* Until the next tick: something may have been closed by then. */
			set_listening(front, false);
			return;
		}
		if (fd < 0)
			return;
		if (limit_take(&front->limits, &peer, &address) != 0) {
			(void)fd_close(fd);
			continue;
		}
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		adopt(front, fd, address);
	}
}

static void set_listening(struct front *front, bool on)
{
	if (front->is_listening == on)
		return;
	front->is_listening = on;
	if (on)
		(void)uv_poll_start(&front->listen_poll, UV_READABLE, on_listen);
	else
		(void)uv_poll_stop(&front->listen_poll);
}

/* The link */

static int on_frame(void *userdata, const Link__Frame *frame)
{
	struct front *front = userdata;

	switch (frame->body_case) {
	case LINK__FRAME__BODY_AGENT_MESSAGE:
		agent_on_message(front, frame->agent_message);
		return 0;
	case LINK__FRAME__BODY_AGENT_REFUSE:
		agent_on_refuse(front, frame->agent_refuse);
		return 0;
	case LINK__FRAME__BODY_REVOKED:
		agent_on_revoked(front, frame->revoked);
		return 0;
	case LINK__FRAME__BODY_HTTP_RESPONSE:
		rest_on_response(front, frame->http_response);
		return 0;
	case LINK__FRAME__BODY_SECRET:
		if (frame->secret->download_key.len != sizeof(front->key))
			return -EBADMSG;
		memcpy(front->key, frame->secret->download_key.data, sizeof(front->key));
		front->has_key = true;
		return 0;
	default:
		return -EBADMSG;
	}
}

static void on_link(uv_poll_t *handle, int status, int events)
{
	struct front *front = handle->data;
	int r = status < 0 ? status : 0;

	if (r == 0 && (events & UV_READABLE) != 0)
		r = link_receive(front->link, on_frame, front);
	if (r == 0)
		return;
	if (!front->is_stopping)
		log_line(LOG_ERR, "the store cannot be reached: %s", strerrordesc_np(-r));
	front->is_broken = true;
	uv_stop(&front->loop);
}

/* All that this turn of the loop has to say. */
static void on_before_sleep(uv_prepare_t *handle)
{
	struct front *front = handle->data;
	bool is_full;

	agent_close_decided(front);
	if (link_flush(front->link) < 0) {
		on_link(&front->link_poll, -EPIPE, 0);
		return;
	}
	is_full = link_queued(front->link) > 0;
	if (is_full == front->is_link_full)
		return;
	front->is_link_full = is_full;
	(void)uv_poll_start(&front->link_poll, UV_READABLE | (is_full ? UV_WRITABLE : 0), on_link);
}

/* Time */

static void expire_requests(struct front *front)
{
	uint64_t now = front_msec();

	for (uint32_t i = 0; i < front->requests.count; i++) {
		struct exchange *exchange = slots_at(&front->requests, i);

		if (exchange && exchange->deadline != 0 && exchange->deadline <= now)
			exchange_expire(exchange);
	}
}

/* Nobody waits for an answer or is to be told goodbye. */
static bool is_idle(const struct front *front)
{
	return front->agents.used == 0 && front->requests.used == 0;
}

static void on_tick(uv_timer_t *handle)
{
	struct front *front = handle->data;
	uint64_t now = front_msec() / 1000U;

	expire_requests(front);
	if (now != front->now) {
		front->now = now;
		agent_sweep(front);
	}
	if (!front->is_stopping && !front_is_congested(front))
		set_listening(front, true);
	if (front->is_stopping && (is_idle(front) || now >= front->stop_due))
		uv_stop(&front->loop);
}

static void on_stop(uv_signal_t *handle, int signal_number)
{
	struct front *front = handle->data;

	(void)signal_number;
	if (front->is_stopping)
		return;
	front->is_stopping = true;
	front->stop_due = front->now + STOP_SECONDS;
	front->return_seconds = admission_return(front->agents.used);
	set_listening(front, false);
	agent_close_all(front);
}

/* Setting up */

static void emit_library_log(int level, const char *line)
{
	size_t length = strcspn(line, "\n");

	log_line(level == LLL_ERR ? LOG_WARNING : LOG_DEBUG, "libwebsockets: %.*s", (int)length,
		 line);
}

static int open_context(struct front *front)
{
	static const struct lws_protocols protocols[] = {
		{"http",                        on_event, sizeof(struct front_session), SOCKET_BYTES, 0, NULL, 0},
		{0},
	};
	const struct config *config = front->config;
	/* Who is still there is looked at by agent_sweep(). The library would keep a timer of five
	 * minutes for each connection, behind those of all others in its list. */
	static const lws_retry_bo_t no_timers = {0};
	void *loops[] = {&front->loop};
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN_SERVER,
		.protocols = protocols,
		.user = front,
		.foreign_loops = loops,
		.options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
			   LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS,
		.server_string = "affixd",
		.vhost_name = "default",
		.keepalive_timeout = KEEPALIVE_SECONDS,
		.timeout_secs_ah_idle = HEAD_SECONDS,
		.timeout_secs = HEAD_SECONDS,
		.max_http_header_data2 = HEAD_BYTES,
		.max_http_header_pool2 = HEADS_MAX,
		.pt_serv_buf_size = SERVICE_BYTES,
		.alpn = "http/1.1",
		.retry_and_idle_policy = &no_timers,
	};

	lws_set_log_level(LLL_ERR, emit_library_log);
	if (config->tls_certificate) {
		info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
		info.ssl_cert_filepath = config->tls_certificate;
		info.ssl_private_key_filepath = config->tls_key;
	}
	if (config->client_ca) {
		info.ssl_ca_filepath = config->client_ca;
		info.options |= LWS_SERVER_OPTION_REQUIRE_VALID_OPENSSL_CLIENT_CERT;
		if (config->client_certificate == CONFIG_CERTIFICATE_OPTIONAL)
			info.options |= LWS_SERVER_OPTION_PEER_CERT_NOT_REQUIRED;
	}
	front->context = lws_create_context(&info);
	if (!front->context)
		return -EINVAL;
	front->vhost = lws_create_vhost(front->context, &info);
	return front->vhost ? 0 : -EINVAL;
}

static int open_loop(struct front *front)
{
	int r = uv_loop_init(&front->loop);

	if (r == 0)
		r = uv_poll_init(&front->loop, &front->link_poll, FRONT_FD_LINK);
	if (r == 0)
		r = uv_poll_init(&front->loop, &front->listen_poll, FRONT_FD_LISTEN);
	if (r == 0)
		r = uv_prepare_init(&front->loop, &front->before_sleep);
	if (r == 0)
		r = uv_timer_init(&front->loop, &front->timer);
	if (r == 0)
		r = uv_signal_init(&front->loop, &front->stop_signal);
	front->link_poll.data = front;
	front->listen_poll.data = front;
	front->before_sleep.data = front;
	front->timer.data = front;
	front->stop_signal.data = front;
	return r;
}

static int start_handles(struct front *front)
{
	int r = uv_poll_start(&front->link_poll, UV_READABLE, on_link);

	if (r == 0)
		r = uv_prepare_start(&front->before_sleep, on_before_sleep);
	if (r == 0)
		r = uv_timer_start(&front->timer, on_tick, TICK_MSEC, TICK_MSEC);
	if (r == 0)
		r = uv_signal_start(&front->stop_signal, on_stop, SIGTERM);
	return r;
}

static int set_up(struct front *front)
{
	struct rlimit limit;
	int r;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	front->limits.connections_max =
		(unsigned)MIN((rlim_t)front->config->connections_per_address,
			      limit.rlim_cur > SPARE_FDS ? limit.rlim_cur - SPARE_FDS : 1);
	front->limits.unproven_max = front->config->unproven_per_address;
	front->now = front_msec() / 1000U;
	r = link_new(FRONT_FD_LINK, &front->link);
	if (r == 0)
		r = open_loop(front);
	if (r == 0)
		r = open_context(front);
	return r == 0 ? start_handles(front) : r;
}

int front_run(const struct config *config, unsigned number)
{
	static struct front front; /* in zeroed pages; the loop is in it */
	bool has_files = false;
	char name[32];
	int r;

	(void)snprintf(name, sizeof(name), "front %u", number);
	log_set_name(name);
	front.config = config;
	front.number = number;
	r = set_up(&front);
	if (r < 0) {
		log_line(LOG_ERR, "could not be started: %s", strerrordesc_np(-r));
		return EXIT_FAILURE;
	}
	/* With TLS keys read and everything opened. */
	r = confine(FRONT_FD_ARTIFACTS, FRONT_FD_INCOMING, &has_files);
	if (r < 0) {
		log_line(LOG_ERR, "could not be confined: %s", strerrordesc_np(-r));
		return EXIT_FAILURE;
	}
	if (!has_files)
		log_line(LOG_WARNING,
			 "the kernel has no Landlock, so that files are open to a front that "
			 "was taken over, ignoring");
	set_listening(&front, true);
	(void)uv_run(&front.loop, UV_RUN_DEFAULT);
	/* What agents said last still goes out; all else the kernel frees. */
	while (!front.is_broken && link_queued(front.link) > 0) {
		struct pollfd wanted = {.fd = FRONT_FD_LINK, .events = POLLOUT};

		if (poll(&wanted, 1, STOP_MSEC) <= 0 || link_flush(front.link) < 0)
			break;
	}
	return front.is_broken ? EXIT_FAILURE : EXIT_SUCCESS;
}
