/* SPDX-License-Identifier: Apache-2.0 */

/* Configuration from JSON to protobuf along the message's descriptor, so that a field that is added
 * to the description is sent without a line here. */

#include "agent/frame_config.h"

#include <errno.h>
#include <stdint.h>

#include "opamp/varint.h"

static int add_varint(struct buffer *buffer, uint64_t value)
{
	uint8_t bytes[VARINT_SIZE_MAX];

	return buffer_add(buffer, bytes, varint_put(value, bytes));
}

static int add_bytes(struct buffer *buffer, uint32_t field, const void *data, size_t size)
{
	int r = add_varint(buffer, (uint64_t)field << 3U | VARINT_BYTES);

	if (r == 0)
		r = add_varint(buffer, size);
	return r < 0 || size == 0 ? r : buffer_add(buffer, data, size);
}

static int add_number(struct buffer *buffer, uint32_t field, uint64_t value)
{
	int r = add_varint(buffer, (uint64_t)field << 3U | VARINT_NUMBER);

	return r < 0 ? r : add_varint(buffer, value);
}

static int add_value(const ProtobufCFieldDescriptor *field, const json_t *value,
		     struct buffer *buffer)
{
	CLEANUP(buffer_done) struct buffer inner = BUFFER_INIT;
	int r;

	switch (field->type) {
	case PROTOBUF_C_TYPE_BOOL:
		return json_is_boolean(value) ? add_number(buffer, field->id, json_is_true(value))
					      : 0;
	case PROTOBUF_C_TYPE_UINT32:
		return json_is_integer(value) && json_integer_value(value) >= 0 &&
				       json_integer_value(value) <= UINT32_MAX
			       ? add_number(buffer, field->id, (uint64_t)json_integer_value(value))
			       : 0;
	case PROTOBUF_C_TYPE_STRING:
		return json_is_string(value)
			       ? add_bytes(buffer, field->id, json_string_value(value),
					   json_string_length(value))
			       : 0;
	case PROTOBUF_C_TYPE_MESSAGE:
		if (!json_is_object(value))
			return 0;
		r = frame_config_encode(field->descriptor, value, &inner);
		return r < 0 ? r : add_bytes(buffer, field->id, inner.data, inner.size);
	default:
		return 0;
	}
}

int frame_config_encode(const ProtobufCMessageDescriptor *type, const json_t *json,
			struct buffer *buffer)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];
		const json_t *value = json_object_get(json, field->name);
		const json_t *item;
		size_t k;

		if (field->label != PROTOBUF_C_LABEL_REPEATED) {
			r = value ? add_value(field, value, buffer) : 0;
			continue;
		}
		json_array_foreach(value, k, item)
		{
			if (r == 0)
				r = add_value(field, item, buffer);
		}
	}
	return r;
}
