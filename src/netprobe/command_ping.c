/* SPDX-License-Identifier: Apache-2.0 */

/* `ping`: how the daemon is. Also what all commands say where they do not get through. */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "netprobe/commands.h"
#include "netprobe/wall.h"

int command_connect(struct client *client, const struct command_options *options)
{
	char why[CLIENT_WHY_MAX] = "";
	int r = client_open(client, options->socket, why);

	if (r < 0)
		(void)fprintf(stderr, "affix-netprobe: %s\n", why[0] ? why : strerrordesc_np(-r));
	return r;
}

int command_lost(int r)
{
	const char *what = "the daemon closed the connection";

	/* main() says that. */
	if (ferror(stdout))
		return EXIT_FAILURE;
	if (r == CLIENT_E_LATE)
		what = "the daemon does not answer";
	else if (r < 0)
		what = strerrordesc_np(-r);
	(void)fprintf(stderr, "affix-netprobe: %s\n", what);
	return EXIT_FAILURE;
}

int command_refused(const Netprobe__NetprobeFrame *frame)
{
	const Netprobe__ErrorFrame *error = frame->error;
	cleanup_free char *code = NULL;
	cleanup_free char *text = NULL;

	if (frame->payload_case != NETPROBE__NETPROBE_FRAME__PAYLOAD_ERROR) {
		(void)fprintf(stderr, "affix-netprobe: the daemon answers something else\n");
		return EXIT_FAILURE;
	}
	code = str_escape(error->code, strlen(error->code), 64);
	text = str_escape(error->message, strlen(error->message), 320);
	(void)fprintf(stderr, "affix-netprobe: the daemon refuses: %s: %s\n", code ? code : "",
		      text ? text : "");
	return EXIT_FAILURE;
}

static int print_json(const Netprobe__PingAck *ack, int64_t took)
{
	cleanup_json json_t *json =
		json_pack("{s:s,s:b,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:b,s:s,s:I}", "version",
			  ack->version, "enabled", ack->enabled, "tier", ack->tier, "tier_reason",
			  ack->tier_reason, "flows", (json_int_t)ack->flows, "records",
			  (json_int_t)ack->records, "records_lost", (json_int_t)ack->records_lost,
			  "owners_known", (json_int_t)ack->owners_known, "owners_unknown",
			  (json_int_t)ack->owners_unknown, "clients", (json_int_t)ack->clients,
			  "events_dropped", (json_int_t)ack->events_dropped, "running_as_root",
			  ack->running_as_root, "config_hash", ack->config_hash, "round_trip_ns",
			  (json_int_t)took);
	cleanup_free char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	return text && puts(text) >= 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void print(const Netprobe__PingAck *ack, int64_t took)
{
	cleanup_free char *reason = str_escape(ack->tier_reason, strlen(ack->tier_reason), 320);
	char when[WALL_TEXT_SIZE];

	wall_format(ack->acked_at_unix_nano, when);
	(void)printf("%s affix-netprobe %s answers after %" PRId64 " us\n", when, ack->version,
		     took / 1000);
	(void)printf("tier      %s%s%s\n", ack->tier, reason && *reason ? ": " : "",
		     reason ? reason : "");
	(void)printf("flows     %u\n", ack->flows);
	(void)printf("records   %" PRIu64 ", %" PRIu64 " lost\n", ack->records, ack->records_lost);
	(void)printf("owners    %" PRIu64 " known, %" PRIu64 " unknown\n", ack->owners_known,
		     ack->owners_unknown);
	(void)printf("clients   %u\n", ack->clients);
}

int command_ping(const struct command_options *options)
{
	cleanup_client struct client client = CLIENT_INIT;
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	const Netprobe__NetprobeFrame *frame = NULL;
	Netprobe__Ping ping = NETPROBE__PING__INIT;
	int64_t took;
	int r;

	if (command_connect(&client, options) < 0)
		return EXIT_FAILURE;
	ping.sent_at_unix_nano = wall_ns();
	r = client_send(&client, NETPROBE__NETPROBE_FRAME__PAYLOAD_PING, &ping);
	if (r == 0)
		r = client_answer(&client, &arena, &frame);
	if (r != 0)
		return command_lost(r);
	took = wall_ns() - ping.sent_at_unix_nano;
	if (frame->payload_case != NETPROBE__NETPROBE_FRAME__PAYLOAD_PING_ACK ||
	    frame->ping_ack->sent_at_unix_nano != ping.sent_at_unix_nano)
		return command_refused(frame);
	if (options->json)
		return print_json(frame->ping_ack, took);
	print(frame->ping_ack, took);
	return EXIT_SUCCESS;
}
