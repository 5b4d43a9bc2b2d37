/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "plan/plan.h"

/* Plans and records as JSON to start from, and a way to spoil one member of them. */

#define SAMPLE_DIGEST                                                      \
	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" \
	"fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

/* A service with everything that a plan can have. */
static const char sample_plan_text[] =
	"{\"schema\":1,\"addon\":{\"id\":\"node-exporter\",\"version\":\"1.5.0-rc.1+deb12\","
	"\"os\":\"linux\",\"arch\":\"amd64\",\"created\":\"2026-01-31T12:00:00Z\","
	"\"expires\":\"2027-01-31T12:00:00Z\",\"epoch\":3,\"bundle\":\"" SAMPLE_DIGEST
	"\",\"key\":\"0123456789ABCDEF\",\"supervision\":\"systemd-service\"},"
	"\"user\":\"affix-node-exporter\",\"capabilities\":[\"cap_dac_read_search\",\"cap_bpf\"],"
	"\"file_capabilities\":true,\"binary\":\"/opt/affix/node-exporter/current/exporter\","
	"\"limits\":{\"memory_max_bytes\":268435456,\"tasks_max\":64},"
	"\"health\":{\"window_seconds\":10,\"max_restarts\":1,"
	"\"ready_socket\":\"/run/affix/node-exporter/ready.sock\",\"run_once\":true},"
	"\"state_dirs\":[\"/var/lib/affix/node-exporter\"],\"objects\":["
	"{\"path\":\"/opt/affix\",\"type\":\"directory\",\"mode\":\"0755\",\"owner\":\"root\","
	"\"group\":\"root\",\"shared\":true},"
	"{\"path\":\"/opt/affix/node-exporter/versions/1.5.0-rc.1+deb12\",\"type\":\"directory\","
	"\"mode\":\"0755\",\"owner\":\"root\",\"group\":\"root\"},"
	"{\"path\":\"/opt/affix/node-exporter/versions/1.5.0-rc.1+deb12/exporter\","
	"\"type\":\"file\",\"mode\":\"0750\",\"owner\":\"root\",\"group\":\"affix-node-exporter\","
	"\"capabilities\":[\"cap_bpf\"],\"entry\":\"exporter\",\"size\":12345678,"
	"\"digest\":\"" SAMPLE_DIGEST "\"},"
	"{\"path\":\"/opt/affix/node-exporter/current\",\"type\":\"link\",\"mode\":\"0777\","
	"\"owner\":\"root\",\"group\":\"root\",\"target\":\"versions/1.5.0-rc.1+deb12\"},"
	"{\"path\":\"/etc/affix/addons/node-exporter.json\",\"type\":\"file\",\"mode\":\"0600\","
	"\"owner\":\"root\",\"group\":\"root\",\"content\":\"{\\\"name\\\":\\\"\xc3\xa9\\\"}\\n\"},"
	"{\"path\":\"/etc/systemd/system/affix-node-exporter.service\",\"type\":\"file\","
	"\"mode\":\"0644\",\"owner\":\"root\",\"group\":\"root\",\"content\":\"[Service]\\n\"},"
	"{\"path\":\"/etc/systemd/system/affix-node-exporter.service.d\",\"type\":\"directory\","
	"\"mode\":\"0755\",\"owner\":\"root\",\"group\":\"root\",\"shared\":true},"
	"{\"path\":\"/etc/systemd/system/affix-node-exporter.service.d/50-affix.conf\","
	"\"type\":\"file\",\"mode\":\"0644\",\"owner\":\"root\",\"group\":\"root\","
	"\"content\":\"[Service]\\n\"},"
	"{\"path\":\"/etc/systemd/system/multi-user.target.wants\",\"type\":\"directory\","
	"\"mode\":\"0755\",\"owner\":\"root\",\"group\":\"root\",\"shared\":true},"
	"{\"path\":\"/etc/systemd/system/multi-user.target.wants/affix-node-exporter.service\","
	"\"type\":\"link\",\"mode\":\"0777\",\"owner\":\"root\",\"group\":\"root\","
	"\"target\":\"/etc/systemd/system/affix-node-exporter.service\"}],"
	"\"units\":[{\"name\":\"affix-node-exporter.service\",\"type\":\"service\",\"primary\":true},"
	"{\"name\":\"affix-node-exporter_clean.timer\",\"type\":\"timer\",\"primary\":false}]}";

static inline json_t *sample_json(const char *text)
{
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);

	if (!json)
		abort();
	return json;
}

/* The plan above as a value. */
static inline struct plan *sample_plan(void)
{
	cleanup_json json_t *json = sample_json(sample_plan_text);
	struct json_problem problem = {0};
	struct plan *plan = NULL;

	if (plan_from_json(json, &plan, &problem) != 0) {
		(void)fprintf(stderr, "%s\n", problem.text);
		abort();
	}
	return plan;
}

/* Follows "a/3/b" to the container of the last name, which is left in *ret_name*. */
static inline json_t *sample_walk(json_t *json, const char *pointer, char ret_name[64])
{
	const char *slash;

	while ((slash = strchr(pointer, '/'))) {
		(void)snprintf(ret_name, 64, "%.*s", (int)(slash - pointer), pointer);
		json = json_is_array(json) ? json_array_get(json, strtoul(ret_name, NULL, 10))
					   : json_object_get(json, ret_name);
		pointer = slash + 1;
	}
	(void)snprintf(ret_name, 64, "%s", pointer);
	return json;
}

/* Sets the member at *pointer* to the JSON in *value*; NULL takes it out. */
static inline void sample_set(json_t *json, const char *pointer, const char *value)
{
	char name[64];
	json_t *at = sample_walk(json, pointer, name);
	size_t index = strtoul(name, NULL, 10);
	int r;

	if (json_is_array(at) && index == json_array_size(at) && value)
		r = json_array_append_new(at, sample_json(value));
	else if (json_is_array(at))
		r = value ? json_array_set_new(at, index, sample_json(value))
			  : json_array_remove(at, index);
	else
		r = value ? json_object_set_new(at, name, sample_json(value))
			  : json_object_del(at, name);
	if (r < 0)
		abort();
}

/* The record of that add-on in the middle of an upgrade. */
static inline json_t *sample_record_json(void)
{
	static const char text[] =
		"{\"schema\":1,\"id\":\"node-exporter\",\"origin\":\"fleet\","
		"\"key\":\"0123456789ABCDEF\",\"newest_created\":1769860800,"
		"\"floor\":{\"epoch\":3,\"version\":\"1.4.0\",\"created\":1769860800},"
		"\"held\":true,\"stopped\":false,\"hold_reason\":\"until monday\","
		"\"purging\":false,\"transaction\":{\"operation\":\"install\","
		"\"phase\":\"watching\",\"to\":null,\"created\":[\"/opt/affix/node-exporter\"],"
		"\"request_id\":\"r-1\",\"boot_id\":\"b\",\"origin\":\"local\","
		"\"purge\":false,\"config\":{\"a\":1},\"evidence\":null},\"current\":null,"
		"\"previous\":null,\"older\":[],\"config\":{\"a\":0},"
		"\"created\":[\"/opt/affix\"],\"quarantine\":[{\"plan\":\"" SAMPLE_DIGEST
		"\",\"version\":\"1.4.1\",\"since\":1769860800,\"reason\":\"did not start\"}],"
		"\"results\":[{\"outcome\":\"done\"}]}";
	json_t *json = sample_json(text);

	sample_set(json, "transaction/to", sample_plan_text);
	sample_set(json, "current", sample_plan_text);
	sample_set(json, "previous", sample_plan_text);
	sample_set(json, "older/0", sample_plan_text);
	sample_set(json, "older/1", sample_plan_text);
	return json;
}
