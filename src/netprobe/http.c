/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Just enough HTTP for a scraper: one GET a connection, whose head is bounded in size and time, one
 * answer with its length, and the end. A peer that is slow costs one of few connections, for a few
 * seconds.
 */

#include "netprobe/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "base/fd.h"
#include "netprobe/accept.h"

#define CONNECTIONS_MAX 16U
#define HEAD_MAX        4096U
#define TIMEOUT_USEC    5000000U
#define BACKLOG         16

struct connection {
	struct http *http;
	struct connection *next;
	int fd;
	sd_event_source *io;
	sd_event_source *timer;
	size_t head_size;
	char head[HEAD_MAX + 1];
	struct buffer answer;
	size_t written;
};

struct http {
	sd_event *event;
	int fd;
	bool is_reached; /* by other machines */
	int spare;
	sd_event_source *io;
	struct http_page page;
	struct connection *connections;
	unsigned count;
};

static struct connection *connection_free(struct connection *connection)
{
	(void)sd_event_source_disable_unref(connection->io);
	(void)sd_event_source_disable_unref(connection->timer);
	(void)fd_close(connection->fd);
	buffer_done(&connection->answer);
	free(connection);
	return NULL;
}

static void end_connection(struct connection *connection)
{
	struct connection **at = &connection->http->connections;

	while (*at != connection)
		at = &(*at)->next;
	*at = connection->next;
	connection->http->count--;
	(void)connection_free(connection);
}

static int add_answer(struct connection *connection, const char *status, const char *text,
		      size_t size)
{
	int r = buffer_format(&connection->answer,
			      "HTTP/1.1 %s\r\n"
			      "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
			      "Content-Length: %zu\r\n"
			      "Connection: close\r\n"
			      "\r\n",
			      status, size);

	return r < 0 || size == 0 ? r : buffer_add(&connection->answer, text, size);
}

static int add_refusal(struct connection *connection, const char *status)
{
	char text[80];

	(void)snprintf(text, sizeof(text), "%s\n", status);
	return add_answer(connection, status, text, strlen(text));
}

/* The head is whole. */
static int answer(struct connection *connection)
{
	cleanup_buffer struct buffer page = BUFFER_INIT;
	const struct http_page *from = &connection->http->page;
	const char *path = connection->head + strlen("GET ");
	size_t length;

	if (!str_starts_with(connection->head, "GET "))
		return add_refusal(connection, "405 Method Not Allowed");
	length = strcspn(path, " ?\r\n");
	if (!(length == 1 && path[0] == '/') &&
	    !(length == strlen("/metrics") && str_starts_with(path, "/metrics")))
		return add_refusal(connection, "404 Not Found");
	if (from->format(from->context, &page) < 0)
		return add_refusal(connection, "500 Internal Server Error");
	return add_answer(connection, "200 OK", page.data, page.size);
}

/* 1: not all of it yet. */
static int read_head(struct connection *connection)
{
	ssize_t n = recv(connection->fd, connection->head + connection->head_size,
			 HEAD_MAX - connection->head_size, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 1;
	if (n <= 0)
		return n < 0 ? -errno : -ECONNRESET;
	connection->head_size += (size_t)n;
	connection->head[connection->head_size] = '\0';
	if (memmem(connection->head, connection->head_size, "\r\n\r\n", 4) ||
	    memmem(connection->head, connection->head_size, "\n\n", 2))
		return answer(connection);
	if (connection->head_size == HEAD_MAX)
		return add_refusal(connection, "431 Request Header Fields Too Large");
	return 1;
}

/* 1: there is more. */
static int write_answer(struct connection *connection)
{
	while (connection->written < connection->answer.size) {
		ssize_t n = send(connection->fd, connection->answer.data + connection->written,
				 connection->answer.size - connection->written,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return 1;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			connection->written += (size_t)n;
	}
	return 0;
}

static int on_connection(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct connection *connection = userdata;
	int r = 0;

	(void)source;
	(void)fd;
	(void)events;
	if (connection->answer.size == 0)
		r = read_head(connection);
	if (r == 0) {
		r = write_answer(connection);
		if (r > 0)
			(void)sd_event_source_set_io_events(connection->io, EPOLLOUT);
	}
	if (r <= 0)
		end_connection(connection);
	return 0;
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	end_connection(userdata);
	return 0;
}

static int on_accept(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct http *http = userdata;
	cleanup_fd int accepted = -EBADF;
	struct connection *connection;
	int r;

	(void)source;
	(void)events;
	if (accept_one(fd, &http->spare, &accepted) < 0 || http->count >= CONNECTIONS_MAX)
		return 0;
	connection = calloc(1, sizeof(*connection));
	if (!connection)
		return 0;
	connection->http = http;
	connection->fd = TAKE_FD(accepted);
	connection->next = http->connections;
	http->connections = connection;
	http->count++;
	r = sd_event_add_io(http->event, &connection->io, connection->fd, EPOLLIN, on_connection,
			    connection);
	if (r >= 0)
		r = sd_event_add_time_relative(http->event, &connection->timer, CLOCK_MONOTONIC,
					       TIMEOUT_USEC, 0, on_timeout, connection);
	if (r < 0)
		end_connection(connection);
	return 0;
}

/* ADDRESS:PORT as numbers; a name would have to be looked up. */
static int parse_address(const char *text, struct sockaddr_storage *ret, socklen_t *ret_size)
{
	const char *colon = strrchr(text, ':');
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	cleanup_free char *address = colon ? strndup(text, (size_t)(colon - text)) : NULL;
	char *end = NULL;
	unsigned long port;
	size_t length;

	if (!address || colon[1] < '0' || colon[1] > '9')
		return -EINVAL;
	port = strtoul(colon + 1, &end, 10);
	if (*end != '\0' || port > UINT16_MAX)
		return -EINVAL;
	*ret = (struct sockaddr_storage){0};
	length = strlen(address);
	if (address[0] == '[' && address[length - 1] == ']') {
		address[length - 1] = '\0';
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		*ret_size = sizeof(*v6);
		return inet_pton(AF_INET6, address + 1, &v6->sin6_addr) == 1 ? 0 : -EINVAL;
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons((uint16_t)port);
	*ret_size = sizeof(*v4);
	return inet_pton(AF_INET, address, &v4->sin_addr) == 1 ? 0 : -EINVAL;
}

static bool is_reached(const struct sockaddr_storage *address)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;

	if (address->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		return v6->sin6_addr.s6_addr[12] != IN_LOOPBACKNET;
	if (address->ss_family == AF_INET6)
		return !IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
	return ntohl(v4->sin_addr.s_addr) >> IN_CLASSA_NSHIFT != IN_LOOPBACKNET;
}

static int open_socket(const char *text, struct http *http, char why[HTTP_WHY_MAX])
{
	struct sockaddr_storage address;
	socklen_t size = 0;
	cleanup_fd int fd = -EBADF;
	const int on = 1;
	int r = parse_address(text, &address, &size);

	if (r < 0) {
		(void)snprintf(why, HTTP_WHY_MAX,
			       "--metrics: '%.60s' is no address and port such as 127.0.0.1:9417",
			       text);
		return r;
	}
	fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (const struct sockaddr *)&address, size) < 0 || listen(fd, BACKLOG) < 0) {
		r = -errno;
		(void)snprintf(why, HTTP_WHY_MAX,
			       "--metrics: '%.60s' cannot be listened at: %s; name another one",
			       text, strerrordesc_np(-r));
		return r;
	}
	http->fd = TAKE_FD(fd);
	http->is_reached = is_reached(&address);
	return 0;
}

int http_new(sd_event *event, const char *address, const struct http_page *page, struct http **ret,
	     char why[HTTP_WHY_MAX])
{
	cleanup_http struct http *http = calloc(1, sizeof(*http));
	int r;

	if (!http)
		return -ENOMEM;
	http->fd = -EBADF;
	http->spare = accept_spare();
	http->event = sd_event_ref(event);
	http->page = *page;
	r = open_socket(address, http, why);
	if (r == 0)
		r = sd_event_add_io(event, &http->io, http->fd, EPOLLIN, on_accept, http);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(http);
	return 0;
}

bool http_is_reached(const struct http *http)
{
	return http->is_reached;
}

struct http *http_free(struct http *http)
{
	if (!http)
		return NULL;
	while (http->connections) {
		struct connection *connection = http->connections;

		http->connections = connection->next;
		(void)connection_free(connection);
	}
	(void)sd_event_source_disable_unref(http->io);
	(void)fd_close(http->fd);
	(void)fd_close(http->spare);
	(void)sd_event_unref(http->event);
	free(http);
	return NULL;
}
