/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Requests to the REST API by somebody who may do everything: `METHOD PATH[?QUERY]`, a newline, the
 * body. Whatever is asked, there is an answer that says how it ended, and it is never that
 * something broke.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/json.h"
#include "control/api.h"
#include "control/store.h"
#include "scratch.h"

#define RUNS_PER_FLEET 500U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fleet *fleet;
static int root_fd = -EBADF;
static char token[128];

static uint64_t fixed_clock(void)
{
	return 1800000000;
}

static void ignore_message(void *userdata, uint64_t connection, const void *data, size_t size,
			   bool close_after)
{
	(void)userdata;
	(void)connection;
	(void)data;
	(void)size;
	(void)close_after;
}

static void ignore_refusal(void *userdata, uint64_t connection, unsigned status,
			   unsigned retry_after)
{
	(void)userdata;
	(void)connection;
	(void)status;
	(void)retry_after;
}

/* A host and two packages, so that there is something to ask for. */
static void fill_store(void)
{
	static const char *const versions[] = {"1.0.0", "2.0.0"};
	static const char facts[] =
		"{\"name\":\"Demo\",\"base_agent\":\">=0.1.0\",\"platforms\":[\"linux\"],"
		"\"os_capabilities\":[\"cap_net_raw\"],\"agent_capabilities\":[],"
		"\"limits\":{\"cpu_max_percent\":0,\"memory_high_bytes\":0,"
		"\"memory_max_bytes\":1000,\"tasks_max\":10}}";
	static const char schema[] = "{\"type\":\"object\",\"properties\":{\"level\":"
				     "{\"type\":\"integer\"}},\"additionalProperties\":false}";
	cleanup_store struct store *store = NULL;
	char problem[STORE_PROBLEM_MAX];

	must(store_open(root_fd, "affixd.db", &store, problem) == 0 && store_begin(store) == 0);
	must(store_run(store, "INSERT INTO host (name, uid, enrolled, last_seen, os, arch, "
			      "agent_version) VALUES ('web1', X'00', 1, 1, 'linux', 'amd64', "
			      "'0.2.0')") == 0);
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++)
		must(store_run(store,
			       "INSERT INTO package (addon, version, state, imported, manifest, "
			       "schema) VALUES ('demo', $1, 'approved', 1, $2, $3)",
			       STORE_TEXT(versions[i]), STORE_TEXT(facts),
			       STORE_TEXT(schema)) == 0);
	must(store_commit(store) == 0);
}

static void close_fleet(void)
{
	fleet = fleet_free(fleet);
	root_fd = fd_close(root_fd);
}

static void open_fleet(void)
{
	const struct fleet_output output = {NULL, ignore_message, ignore_refusal};
	const struct fleet_options options = {
		.data_dirfd = root_fd, .trust_dirfd = -EBADF, .clock = fixed_clock};
	char problem[FLEET_PROBLEM_MAX];

	must(fleet_open(&options, &output, &fleet, problem) == 0);
}

static void make_fleet(void)
{
	cleanup_free char *text = NULL;
	size_t size = 0;

	root_fd = scratch_make();
	must(atexit(close_fleet) == 0);
	open_fleet();
	fleet = fleet_free(fleet);
	fill_store();
	open_fleet();
	must(fd_read_file_at(root_fd, "admin-token", 100, &text, &size) == 0);
	text[strcspn(text, "\n")] = '\0';
	(void)snprintf(token, sizeof(token), "Bearer %s", text);
}

/* So that what one input leaves behind does not pile up for ever. */
static void renew_fleet(void)
{
	static unsigned runs;

	if (root_fd < 0)
		make_fleet();
	if (++runs % RUNS_PER_FLEET != 0)
		return;
	fleet = fleet_free(fleet);
	must(tree_remove(root_fd, "affixd.db") == 0);
	must(tree_remove(root_fd, "affixd.db-wal") == 0);
	must(tree_remove(root_fd, "affixd.db-shm") == 0);
	fill_store();
	open_fleet();
	{
		cleanup_free char *text = NULL;
		size_t size = 0;

		must(fd_read_file_at(root_fd, "admin-token", 100, &text, &size) == 0);
		text[strcspn(text, "\n")] = '\0';
		(void)snprintf(token, sizeof(token), "Bearer %s", text);
	}
}

static void check_answer(const struct api_response *response)
{
	cleanup_json json_t *json = NULL;
	const json_t *error;

	must(response->status >= 200 && response->status < 500);
	if (!response->content_type || strcmp(response->content_type, "application/json") != 0)
		return;
	json = json_loadb(response->body, response->body_size, 0, NULL);
	error = json_object_get(json, "error");
	must(json_integer_value(json_object_get(json, "schema")) == 1);
	must((response->status >= 400) == (error != NULL));
	must(!error || json_string_length(json_object_get(error, "message")) > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup_api_response struct api_response response = API_RESPONSE_INIT;
	const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;
	cleanup_free char *line = end ? strndup((const char *)data, (size_t)(end - data)) : NULL;
	struct api_request request = {.authorization = token, .peer = "192.0.2.1"};
	char *path;
	char *query;

	path = line ? strchr(line, ' ') : NULL;
	if (!path)
		return 0;
	*path++ = '\0';
	query = strchr(path, '?');
	if (query)
		*query++ = '\0';
	renew_fleet();
	request.method = line;
	request.path = path;
	request.query = query;
	request.body = end + 1;
	request.body_size = size - (size_t)(end + 1 - data);
	api_handle(fleet, &request, &response);
	check_answer(&response);
	return 0;
}
