/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

#include "base/cleanup.h"
#include "base/str.h"

/*
 * Adds *json* as a message of *type* to *buffer*: each field is the member of its name. Members
 * that are no field, or of a type that the field cannot hold, are left out: the add-on's own schema
 * has judged them. Numbers, truth values, texts, objects and arrays of the latter two. 0 or
 * -ENOMEM.
 */
must_check int frame_config_encode(const ProtobufCMessageDescriptor *type, const json_t *json,
				   struct buffer *buffer);
