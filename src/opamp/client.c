/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The client. Each part is kept as the bytes that go on the wire, so "changed" is a comparison of
 * bytes, and a message is the numbers in front with the changed parts' bytes behind: protobuf does
 * not care for the order of fields. Loss is not tracked message by message; whoever loses one
 * begins anew with everything, as a server that misses a number asks for everything too.
 */

#include "opamp/client.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "opamp/varint.h"

#define HEADER_MAX 16U

/* Numbers of the parts' fields in AgentToServer. */
static const uint8_t part_fields[OPAMP_PART_N] = {
	[OPAMP_PART_DESCRIPTION] = 3,      [OPAMP_PART_HEALTH] = 5,
	[OPAMP_PART_EFFECTIVE_CONFIG] = 6, [OPAMP_PART_REMOTE_CONFIG_STATUS] = 7,
	[OPAMP_PART_PACKAGE_STATUSES] = 8, [OPAMP_PART_CUSTOM_CAPABILITIES] = 12,
	[OPAMP_PART_CUSTOM_MESSAGE] = 13,  [OPAMP_PART_CONNECTION_SETTINGS_STATUS] = 15,
};

struct part {
	uint8_t *data;
	size_t size;
	bool is_set;
	bool is_news;
};

struct opamp_client {
	uint8_t uid[OPAMP_UID_SIZE];
	uint64_t capabilities;
	uint64_t sequence;
	struct part parts[OPAMP_PART_N];
};

struct opamp_client *opamp_client_new(const uint8_t uid[OPAMP_UID_SIZE], uint64_t capabilities)
{
	struct opamp_client *client = calloc(1, sizeof(*client));

	if (!client)
		return NULL;
	memcpy(client->uid, uid, OPAMP_UID_SIZE);
	client->capabilities = capabilities;
	return client;
}

struct opamp_client *opamp_client_free(struct opamp_client *client)
{
	if (!client)
		return NULL;
	for (size_t i = 0; i < OPAMP_PART_N; i++)
		free(client->parts[i].data);
	free(client);
	return NULL;
}

int opamp_client_set(struct opamp_client *client, enum opamp_part part, const void *message)
{
	struct part *kept = &client->parts[part];
	cleanup_free uint8_t *data = NULL;
	size_t size;
	int r;

	r = opamp_encode(message, 0, &data, &size);
	if (r < 0)
		return r;
	if (kept->is_set && kept->size == size && memcmp(kept->data, data, size) == 0)
		return 0;
	free(kept->data);
	*kept = (struct part){
		.data = TAKE_PTR(data), .size = size, .is_set = true, .is_news = true};
	return 0;
}

bool opamp_client_has_news(const struct opamp_client *client)
{
	for (size_t i = 0; i < OPAMP_PART_N; i++) {
		if (client->parts[i].is_news)
			return true;
	}
	return false;
}

static int add_part(struct buffer *buffer, unsigned field, const struct part *part)
{
	uint8_t header[HEADER_MAX];
	size_t n;
	int r;

	n = varint_put_key(field, VARINT_BYTES, header);
	n += varint_put(part->size, header + n);
	r = buffer_add(buffer, header, n);
	return r < 0 || part->size == 0 ? r : buffer_add(buffer, part->data, part->size);
}

/* Prefix and the fields that every message has. */
static int begin(struct opamp_client *client, size_t prefix, bool is_last, struct buffer *buffer)
{
	Opamp__Proto__AgentToServer message = OPAMP__PROTO__AGENT_TO_SERVER__INIT;
	Opamp__Proto__AgentDisconnect disconnect = OPAMP__PROTO__AGENT_DISCONNECT__INIT;
	cleanup_free uint8_t *data = NULL;
	size_t size;
	int r;

	message.instance_uid = (ProtobufCBinaryData){.len = OPAMP_UID_SIZE, .data = client->uid};
	message.sequence_num = client->sequence + 1;
	message.capabilities = client->capabilities;
	if (is_last)
		message.agent_disconnect = &disconnect;
	r = opamp_encode(&message, prefix, &data, &size);
	return r < 0 ? r : buffer_add(buffer, data, size);
}

int opamp_client_compose(struct opamp_client *client, size_t prefix, uint8_t **ret,
			 size_t *ret_size)
{
	cleanup_buffer struct buffer buffer = BUFFER_INIT;
	int r;

	r = begin(client, prefix, false, &buffer);
	for (size_t i = 0; r == 0 && i < OPAMP_PART_N; i++) {
		if (client->parts[i].is_news)
			r = add_part(&buffer, part_fields[i], &client->parts[i]);
	}
	if (r < 0)
		return r;
	for (size_t i = 0; i < OPAMP_PART_N; i++)
		client->parts[i].is_news = false;
	client->sequence++;
	*ret_size = buffer.size;
	*ret = (uint8_t *)TAKE_PTR(buffer.data);
	return 0;
}

int opamp_client_compose_disconnect(struct opamp_client *client, size_t prefix, uint8_t **ret,
				    size_t *ret_size)
{
	cleanup_buffer struct buffer buffer = BUFFER_INIT;
	int r;

	r = begin(client, prefix, true, &buffer);
	if (r < 0)
		return r;
	client->sequence++;
	*ret_size = buffer.size;
	*ret = (uint8_t *)TAKE_PTR(buffer.data);
	return 0;
}

void opamp_client_restart(struct opamp_client *client)
{
	for (size_t i = 0; i < OPAMP_PART_N; i++)
		client->parts[i].is_news = client->parts[i].is_set;
}

int opamp_client_handle(struct opamp_client *client, const Opamp__Proto__ServerToAgent *message,
			bool *ret_uid_changed)
{
	const Opamp__Proto__AgentIdentification *identification = message->agent_identification;

	*ret_uid_changed = false;
	if (message->instance_uid.len > 0 &&
	    (message->instance_uid.len != OPAMP_UID_SIZE ||
	     memcmp(message->instance_uid.data, client->uid, OPAMP_UID_SIZE) != 0))
		return 1;
	if (identification && identification->new_instance_uid.len > 0) {
		if (identification->new_instance_uid.len != OPAMP_UID_SIZE)
			return 1;
		*ret_uid_changed = memcmp(client->uid, identification->new_instance_uid.data,
					  OPAMP_UID_SIZE) != 0;
		memcpy(client->uid, identification->new_instance_uid.data, OPAMP_UID_SIZE);
	}
	if ((message->flags &
	     OPAMP__PROTO__SERVER_TO_AGENT_FLAGS__ServerToAgentFlags_ReportFullState) != 0)
		opamp_client_restart(client);
	return 0;
}

const uint8_t *opamp_client_uid(const struct opamp_client *client)
{
	return client->uid;
}
