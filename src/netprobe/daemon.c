/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The life of the daemon. Everything that can be refused is before the socket is there: who can
 * connect finds a daemon that runs. Signals are events like others, but come first, so that the end
 * is near however much there is to read.
 */

#include "netprobe/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "base/fd.h"
#include "netprobe/http.h"
#include "netprobe/log.h"
#include "netprobe/probe.h"
#include "netprobe/socket.h"

#define EXIT_USAGE 2

static void unref_event(sd_event **event)
{
	(void)sd_event_unref(*event);
}

static int load_config(const char *path, struct config **ret)
{
	char why[CONFIG_WHY_MAX] = "";
	int r = config_load(path, ret, why);

	if (r == 0)
		return 0;
	log_line(LOG_ERR, "the configuration '%s' cannot be used: %s", path,
		 r < 0 ? strerrordesc_np(-r) : why);
	return r;
}

static int add_signals(sd_event *event)
{
	static const int signals[] = {SIGTERM, SIGINT};
	sigset_t set;
	int r = 0;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		(void)sigaddset(&set, signals[i]);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread */
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(signals); i++) {
		sd_event_source *source = NULL;

		r = sd_event_add_signal(event, &source, signals[i], NULL, NULL);
		if (r >= 0)
			r = sd_event_source_set_priority(source, SD_EVENT_PRIORITY_IMPORTANT);
		if (r >= 0)
			r = sd_event_source_set_floating(source, 1);
		(void)sd_event_source_unref(source);
	}
	return r;
}

static int format_metrics(void *context, struct buffer *buffer)
{
	return probe_metrics(context, buffer);
}

/* 0, 1 after saying why it cannot, or -errno. */
static int serve(sd_event *event, struct probe *probe, const struct daemon_options *options,
		 struct config *bootstrap)
{
	cleanup_config struct config *config = bootstrap;
	cleanup_http struct http *http = NULL;
	const struct http_page page = {format_metrics, probe};
	char why[CONFIG_WHY_MAX] = "";
	int r;

	if (options->metrics) {
		r = http_new(event, options->metrics, &page, &http, why);
		if (r < 0) {
			log_line(LOG_ERR, "%s", why[0] ? why : strerrordesc_np(-r));
			return 1;
		}
		if (http_is_reached(http))
			log_line(
				LOG_WARNING,
				"--metrics: '%.60s' can be reached from other machines, and whoever asks there is answered; 127.0.0.1 is this machine's own",
				options->metrics);
	}
	if (config && probe_apply(probe, &config, why) != 0) {
		log_line(LOG_ERR, "%s", why);
		return 1;
	}
	if (!options->config)
		(void)sd_notify(0, "STATUS=not enabled: no configuration yet");
	log_line(LOG_INFO, "listening at '%s'", options->socket);
	(void)sd_notify(0, "READY=1");
	r = sd_event_loop(event);
	(void)sd_notify(0, "STOPPING=1");
	return r;
}

int daemon_run(const struct daemon_options *options)
{
	CLEANUP(unref_event) sd_event *event = NULL;
	cleanup_config struct config *config = NULL;
	cleanup_probe struct probe *probe = NULL;
	char why[SOCKET_WHY_MAX] = "";
	int fd = -EBADF;
	int r;

	log_set_json(options->json);
	if (options->config && load_config(options->config, &config) != 0)
		return EXIT_USAGE;
	r = sd_event_new(&event);
	if (r >= 0)
		r = add_signals(event);
	if (r < 0) {
		log_line(LOG_ERR, "there is no event loop: %s", strerrordesc_np(-r));
		return EXIT_FAILURE;
	}
	r = socket_listen(options->socket, &fd, why);
	if (r < 0) {
		log_line(LOG_ERR, "%s", why);
		return EXIT_FAILURE;
	}
	r = probe_new(event, fd, &probe);
	if (r == 0)
		r = serve(event, probe, options, TAKE_PTR(config));
	if (r < 0)
		log_line(LOG_ERR, "netprobe ends: %s", strerrordesc_np(-r));
	probe = probe_free(probe);
	socket_remove(options->socket, -EBADF);
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
