/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The conversation with the server. A host comes with a join token once and gets a credential of
 * its own; a new credential is a candidate until a connection made with it was answered, so that a
 * server that hands out nonsense does not lock the host out. A host that has a credential never
 * goes back to the token: whom the server revoked stays outside.
 */

#include "agent/talk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agent/agent.h"
#include "agent/log.h"
#include "agent/report.h"
#include "agent/state.h"
#include "base/fd.h"
#include "base/json.h"

#define SETTINGS_NAME       "settings.json"
#define HEARTBEAT_MEMBER    "heartbeat_seconds"
#define POLL_MEMBER         "poll_seconds"
#define BEARER              "Bearer "
#define HEARTBEAT_MAX       86400U
#define RETRY_MAX_SECONDS   3600U
#define NANOSECONDS         1000000000ULL
#define STATUS_UNAUTHORIZED 401
#define STATUS_FORBIDDEN    403
#define SHOWN_MAX           200U
#define ROTATION_PAUSE_MAX  300U
#define REASONS_MAX         8U

/* The secret of a file that the administrator names; he may have ended it with a newline. */
static int load_token(const char *path, char **ret)
{
	cleanup_free char *text = NULL;
	int r = fd_read_path(path, STATE_CREDENTIAL_MAX, &text, NULL);

	*ret = NULL;
	if (r < 0)
		return r;
	text[strcspn(text, "\r\n")] = '\0';
	for (const char *c = text; *c; c++) {
		if ((unsigned char)*c <= ' ' || (unsigned char)*c > '~')
			return -EINVAL;
	}
	if (text[0] != '\0')
		*ret = TAKE_PTR(text);
	return 0;
}

static int choose_credential(struct talk *talk, char **ret)
{
	const struct config *config = talk->agent->config;
	int r;

	talk->used = TALK_CANDIDATE;
	r = state_load_secret(talk->agent->statefd, STATE_CANDIDATE, ret);
	if (r < 0 || *ret)
		return r;
	talk->used = TALK_CREDENTIAL;
	r = state_load_secret(talk->agent->statefd, STATE_CREDENTIAL, ret);
	if (r < 0 || *ret)
		return r;
	talk->used = TALK_NOTHING;
	if (!config->token_file)
		return 0;
	r = load_token(config->token_file, ret);
	if (r < 0)
		agent_log(LOG_WARNING, NULL, "'%s' cannot be used as join token: %s, ignoring",
			  config->token_file, strerrordesc_np(-r));
	else if (*ret)
		talk->used = TALK_TOKEN;
	return 0;
}

static int on_headers(void *userdata, struct strv *headers)
{
	struct talk *talk = userdata;
	cleanup_free char *secret = NULL;
	cleanup_free char *line = NULL;
	char uid[STATE_UID_TEXT_SIZE];
	int r;

	free(talk->authorization);
	talk->authorization = NULL;
	state_format_uid(opamp_client_uid(talk->agent->client), uid);
	r = str_format(&line, "OpAMP-Instance-UID: %s", uid);
	if (r == 0)
		r = strv_add(headers, line);
	if (r == 0)
		r = choose_credential(talk, &secret);
	if (r < 0 || !secret)
		return r;
	free(line);
	line = NULL;
	r = str_format(&talk->authorization, BEARER "%s", secret);
	if (r == 0)
		r = str_format(&line, "Authorization: %s", talk->authorization);
	return r < 0 ? r : strv_add(headers, line);
}

static void on_open(void *userdata)
{
	struct talk *talk = userdata;

	talk->was_heard = false;
	opamp_client_restart(talk->agent->client);
}

static int on_compose(void *userdata, size_t prefix, uint8_t **ret, size_t *ret_size)
{
	struct talk *talk = userdata;

	return opamp_client_compose(talk->agent->client, prefix, ret, ret_size);
}

/* What keeps the server away is said once, and again when it is something else; not for ever, since
 * libcurl has numbers in its sentences. */
static int failure_priority(struct talk *talk, const char *reason)
{
	if (talk->reasons >= REASONS_MAX || strncmp(talk->reason, reason, TALK_REASON_MAX - 1) == 0)
		return LOG_DEBUG;
	(void)snprintf(talk->reason, sizeof(talk->reason), "%s", reason);
	talk->reasons++;
	return LOG_WARNING;
}

/* The server refuses the credential that it offered: the one from before counts again. A connection
 * that only broke says nothing of it. */
static void drop_candidate(struct talk *talk)
{
	agent_log(LOG_WARNING, NULL,
		  "the server does not know the credential that it offered, ignoring");
	ignore_result(state_remove(talk->agent->statefd, STATE_CANDIDATE));
}

static void on_close(void *userdata, long status, const char *reason)
{
	struct talk *talk = userdata;
	bool is_refused = status == STATUS_UNAUTHORIZED || status == STATUS_FORBIDDEN;
	int priority = failure_priority(talk, reason);

	talk->quiet_failures++;
	if (is_refused && talk->used == TALK_CANDIDATE) {
		drop_candidate(talk);
		return;
	}
	if (is_refused && talk->used == TALK_CREDENTIAL)
		agent_log(
			priority, NULL,
			"the server refuses this host (HTTP status %ld); it may be revoked, retrying",
			status);
	else if (is_refused)
		agent_log(
			priority, NULL,
			"the server does not let this host join (HTTP status %ld); is server.token_file in agent.yaml good? retrying",
			status);
	else if (status != 0)
		agent_log(priority, NULL, "%s (HTTP status %ld), retrying", reason, status);
	else
		agent_log(priority, NULL, "no connection to the server: %s, retrying", reason);
	opamp_client_restart(talk->agent->client);
}

static int set_settings_status(struct talk *talk,
			       const Opamp__Proto__ConnectionSettingsOffers *offers,
			       Opamp__Proto__ConnectionSettingsStatuses word, const char *problem)
{
	Opamp__Proto__ConnectionSettingsStatus status =
		OPAMP__PROTO__CONNECTION_SETTINGS_STATUS__INIT;

	status.last_connection_settings_hash = offers->hash;
	status.status = word;
	if (problem)
		status.error_message = (char *)problem;
	return opamp_client_set(talk->agent->client, OPAMP_PART_CONNECTION_SETTINGS_STATUS,
				&status);
}

static const char *offered_secret(const Opamp__Proto__OpAMPConnectionSettings *settings)
{
	const Opamp__Proto__Headers *headers = settings->headers;

	for (size_t i = 0; headers && i < headers->n_headers; i++) {
		const char *value = headers->headers[i]->value;

		if (strcasecmp(headers->headers[i]->key, "Authorization") == 0 &&
		    str_starts_with(value, BEARER) && strlen(value) < STATE_CREDENTIAL_MAX)
			return value + strlen(BEARER);
	}
	return NULL;
}

static bool is_secret(const char *text)
{
	if (*text == '\0')
		return false;
	for (; *text; text++) {
		if ((unsigned char)*text <= ' ' || (unsigned char)*text > '~')
			return false;
	}
	return true;
}

static void set_interval(struct talk *talk, const char *name, uint64_t seconds)
{
	if (str_equal(name, POLL_MEMBER))
		link_set_poll(talk->agent->link, seconds);
	else
		link_set_heartbeat(talk->agent->link, seconds);
}

/* A server wants to be polled more often than it wants heartbeats: what it says by the one way does
 * not hold for the other. */
static void keep_interval(struct talk *talk, uint64_t seconds)
{
	bool is_poll = str_equal(link_transport(talk->agent->link), "http");
	const char *name = is_poll ? POLL_MEMBER : HEARTBEAT_MEMBER;
	cleanup_json json_t *json = NULL;
	uint64_t before = 0;

	seconds = MIN(seconds, (uint64_t)HEARTBEAT_MAX);
	set_interval(talk, name, seconds);
	if (state_load_json(talk->agent->statefd, SETTINGS_NAME, &json) == 0 && json &&
	    json_member_uint(json, name, HEARTBEAT_MAX, &before) == 0 && before == seconds)
		return;
	if (!json)
		json = json_object();
	if (!json || json_add_uint(json, name, seconds) < 0 ||
	    state_store_json(talk->agent->statefd, SETTINGS_NAME, json) < 0)
		agent_log(LOG_WARNING, NULL,
			  "the heartbeat's interval could not be kept, ignoring");
}

void talk_restore(struct talk *talk)
{
	cleanup_json json_t *json = NULL;
	static const char *const names[] = {HEARTBEAT_MEMBER, POLL_MEMBER};
	uint64_t seconds = 0;

	if (state_load_json(talk->agent->statefd, SETTINGS_NAME, &json) != 0 || !json)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (json_member_uint(json, names[i], HEARTBEAT_MAX, &seconds) == 0)
			set_interval(talk, names[i], seconds);
	}
}

static int take_settings(struct talk *talk, const Opamp__Proto__ConnectionSettingsOffers *offers)
{
	const Opamp__Proto__OpAMPConnectionSettings *settings = offers->opamp;
	const char *secret = settings ? offered_secret(settings) : NULL;
	int r;

	if (!settings)
		return 0;
	if (settings->destination_endpoint[0] != '\0' || settings->certificate)
		return set_settings_status(
			talk, offers,
			OPAMP__PROTO__CONNECTION_SETTINGS_STATUSES__ConnectionSettingsStatuses_FAILED,
			"where this host connects to, and with what certificate, is its administrator's to say");
	keep_interval(talk, settings->heartbeat_interval_seconds);
	if (secret &&
	    (!talk->authorization || strcmp(talk->authorization + strlen(BEARER), secret) != 0)) {
		if (!is_secret(secret))
			return set_settings_status(
				talk, offers,
				OPAMP__PROTO__CONNECTION_SETTINGS_STATUSES__ConnectionSettingsStatuses_FAILED,
				"the offered credential has characters that no header has");
		r = state_store_secret(talk->agent->statefd, STATE_CANDIDATE, secret);
		if (r < 0)
			return r;
		/* At once the first time; a server that always has another one has to wait. */
		link_reconnect(talk->agent->link, MIN(talk->rotations, ROTATION_PAUSE_MAX));
		talk->rotations++;
		return set_settings_status(
			talk, offers,
			OPAMP__PROTO__CONNECTION_SETTINGS_STATUSES__ConnectionSettingsStatuses_APPLYING,
			NULL);
	}
	return set_settings_status(
		talk, offers,
		OPAMP__PROTO__CONNECTION_SETTINGS_STATUSES__ConnectionSettingsStatuses_APPLIED,
		NULL);
}

/* The candidate was answered: it is the credential from now on. */
static void promote(struct talk *talk)
{
	const char *secret = talk->authorization + strlen(BEARER);
	int r = state_store_secret(talk->agent->statefd, STATE_CREDENTIAL, secret);

	if (r == 0)
		r = state_remove(talk->agent->statefd, STATE_CANDIDATE);
	if (r < 0) {
		agent_log(LOG_ERR, NULL, "the host's credential could not be kept: %s, retrying",
			  strerrordesc_np(-r));
		return;
	}
	talk->used = TALK_CREDENTIAL;
	agent_log(LOG_NOTICE, NULL, "this host has joined the fleet");
}

/* An answer that is not an error: this server and this credential are good. */
static void heard(struct talk *talk)
{
	link_confirm(talk->agent->link);
	if (talk->was_heard)
		return;
	talk->was_heard = true;
	talk->quiet_failures = 0;
	talk->reasons = 0;
	talk->reason[0] = '\0';
	agent_log(LOG_INFO, NULL, "connected to the server by %s",
		  link_transport(talk->agent->link));
	if (talk->used == TALK_CANDIDATE)
		promote(talk);
}

static void take_failure(struct talk *talk, const Opamp__Proto__ServerErrorResponse *failure)
{
	cleanup_free char *shown =
		str_escape(failure->error_message, strlen(failure->error_message), SHOWN_MAX);
	uint64_t seconds = 0;

	agent_log(talk->quiet_failures == 0 ? LOG_WARNING : LOG_DEBUG, NULL,
		  "the server answers with an error: '%s'", shown ? shown : "");
	if (failure->type !=
	    OPAMP__PROTO__SERVER_ERROR_RESPONSE_TYPE__ServerErrorResponseType_Unavailable) {
		/* A WebSocket is let in before the server has looked at who comes. */
		if (talk->used == TALK_CANDIDATE && !talk->was_heard)
			drop_candidate(talk);
		return;
	}
	if (failure->details_case == OPAMP__PROTO__SERVER_ERROR_RESPONSE__DETAILS_RETRY_INFO &&
	    failure->retry_info)
		seconds = failure->retry_info->retry_after_nanoseconds / NANOSECONDS +
			  (failure->retry_info->retry_after_nanoseconds % NANOSECONDS > 0);
	link_reconnect(talk->agent->link,
		       MIN(MAX(seconds, (uint64_t)1), (uint64_t)RETRY_MAX_SECONDS));
}

static int take_offers(struct talk *talk, const Opamp__Proto__ServerToAgent *message)
{
	struct agent *agent = talk->agent;
	int r = 0;

	if (message->remote_config)
		r = offer_set_config(&agent->offer, message->remote_config);
	if (r == 0 && message->packages_available) {
		r = offer_set_packages(&agent->offer, message->packages_available);
		agent->offer_problem[0] = '\0';
		if (r > 0)
			(void)snprintf(agent->offer_problem, sizeof(agent->offer_problem),
				       "more than %u add-ons are offered; the offer is ignored",
				       OFFER_ADDONS_MAX);
		else
			agent->packages_connection = link_connection(agent->link);
	}
	if (r < 0)
		return r;
	if (message->remote_config || message->packages_available)
		agent_keep_offer(agent);
	return 0;
}

static int take_message(struct talk *talk, const Opamp__Proto__ServerToAgent *message)
{
	bool is_new_uid = false;
	int r = opamp_client_handle(talk->agent->client, message, &is_new_uid);

	if (r > 0) {
		agent_log(LOG_WARNING, NULL,
			  "the server sent a message for another instance, ignoring");
		return 0;
	}
	if (message->error_response)
		take_failure(talk, message->error_response);
	else
		heard(talk);
	if (is_new_uid) {
		r = state_store_uid(talk->agent->statefd, opamp_client_uid(talk->agent->client));
		if (r == 0)
			r = report_describe(talk->agent->client, talk->agent->config);
	}
	if (r == 0 && message->connection_settings)
		r = take_settings(talk, message->connection_settings);
	return r < 0 ? r : take_offers(talk, message);
}

static void on_message(void *userdata, const void *data, size_t size)
{
	struct talk *talk = userdata;
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	Opamp__Proto__ServerToAgent *message = NULL;
	int r = opamp_decode_to_agent(data, size, &arena, &message);

	if (r > 0) {
		agent_log(LOG_WARNING, NULL, "%s, ignoring", opamp_error_to_string(r));
		return;
	}
	if (r == 0)
		r = take_message(talk, message);
	if (r < 0)
		agent_log(LOG_ERR, NULL, "the server's message could not be heeded: %s, ignoring",
			  strerrordesc_np(-r));
	if (opamp_client_has_news(talk->agent->client))
		link_send(talk->agent->link);
}

void talk_init(struct talk *talk, struct agent *agent)
{
	*talk = (struct talk){
		.agent = agent,
		.handler = {.userdata = talk,
			    .headers = on_headers,
			    .on_open = on_open,
			    .compose = on_compose,
			    .on_message = on_message,
			    .on_close = on_close},
	};
}

void talk_done(struct talk *talk)
{
	free(talk->authorization);
	talk->authorization = NULL;
}
