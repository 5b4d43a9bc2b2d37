/* SPDX-License-Identifier: Apache-2.0 */

/* What tests of the fleet do again and again. */

#include "control_fixture.h"

#include <sodium.h>

#include "base/clock.h"
#include "base/file.h"
#include "control_openapi.h"
#include "own_directory.h"

uint64_t control_time = 1800000000;

uint64_t control_clock(void)
{
	return control_time;
}

static void control_on_message(void *userdata, uint64_t connection, const void *data, size_t size,
			       bool close_after)
{
	struct control *c = userdata;
	struct control_said *said = &c->said[c->n_said++];

	(void)close_after;
	assert_true(c->n_said <= CONTROL_SAID_MAX);
	*said = (struct control_said){.connection = connection, .size = size};
	said->data = malloc(size + 1);
	assert_non_null(said->data);
	memcpy(said->data, data, size);
}

static void control_on_refuse(void *userdata, uint64_t connection, unsigned status,
			      unsigned retry_after)
{
	struct control *c = userdata;

	assert_true(c->n_said < CONTROL_SAID_MAX);
	c->said[c->n_said++] = (struct control_said){
		.connection = connection, .status = status, .retry_after = retry_after};
}

void control_forget(struct control *c)
{
	for (size_t i = 0; i < c->n_said; i++)
		free(c->said[i].data);
	c->n_said = 0;
}

int control_try_open(struct control *c, char *problem)
{
	const struct fleet_options options = {
		.data_dirfd = c->dir,
		.trust_dirfd = -EBADF,
		.public_url = "https://fleet.example:4320",
		.clock = control_clock,
		.trust_certificates = c->trust_certificates,
		.audit_keep_days = c->audit_keep_days,
		.poll_seconds = CONTROL_POLL_SECONDS,
	};
	const struct fleet_output output = {c, control_on_message, control_on_refuse};

	return fleet_open(&options, &output, &c->fleet, problem);
}

void control_open(struct control *c)
{
	char problem[FLEET_PROBLEM_MAX] = "";

	if (control_try_open(c, problem) != 0)
		fail_msg("%s", problem);
}

void control_reopen(struct control *c)
{
	c->fleet = fleet_free(c->fleet);
	control_forget(c);
	control_open(c);
}

/* A file of that name in a directory of the data. */
static void control_put(const struct control *c, const char *directory, const char *name,
			const void *data, size_t size)
{
	cleanup_fd int dir = openat(c->dir, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct file_attributes attributes = {0600, (uid_t)-1, (gid_t)-1};

	assert_int_equal(file_replace(dir, name, data, size, &attributes), 0);
}

static void control_trust(struct control *c)
{
	cleanup_free char *text = NULL;
	struct minisign_public_key public;

	minisign_keygen(&c->secret, &public);
	assert_int_equal(minisign_public_key_format(&public, &text), 0);
	assert_int_equal(mkdirat(c->dir, "trust.d", 0700), 0);
	control_put(c, "trust.d", "maker.pub", text, strlen(text));
}

int control_setup(void **state)
{
	struct control *c = calloc(1, sizeof(*c));
	cleanup_free char *token = NULL;
	size_t size = 0;

	assert_non_null(c);
	assert_true(sodium_init() >= 0);
	control_time = 1800000000;
	own_directory_make(c->path);
	c->dir = open(c->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(c->dir >= 0);
	control_trust(c);
	control_open(c);
	assert_int_equal(fd_read_file_at(c->dir, "admin-token", 100, &token, &size), 0);
	token[strcspn(token, "\n")] = '\0';
	(void)snprintf(c->admin, sizeof(c->admin), "Bearer %s", token);
	*state = c;
	return 0;
}

int control_teardown(void **state)
{
	struct control *c = *state;

	c->fleet = fleet_free(c->fleet);
	control_forget(c);
	own_directory_remove(c->path);
	(void)fd_close(c->dir);
	free(c);
	return 0;
}

json_t *control_ask_as(struct control *c, const char *authorization, const char *method,
		       const char *target, const char *body, unsigned *ret_status)
{
	cleanup_api_response struct api_response response = API_RESPONSE_INIT;
	cleanup_free char *path = strdup(target);
	char *query = strchr(path, '?');
	struct api_request request = {
		.method = method,
		.path = path,
		.authorization = authorization,
		.content_type = body ? "application/json" : NULL,
		.body = body,
		.body_size = body ? strlen(body) : 0,
		.peer = "192.0.2.1",
	};
	json_t *json = NULL;

	if (query) {
		*query = '\0';
		request.query = query + 1;
	}
	api_handle(c->fleet, &request, &response);
	*ret_status = response.status;
	if (response.body) {
		json = json_loadb(response.body, response.body_size, 0, NULL);
		if (!json)
			json = json_stringn(response.body, response.body_size);
	}
	openapi_check(method, path, response.status, json);
	return json;
}

json_t *control_ask(struct control *c, unsigned wanted, const char *method, const char *target,
		    const char *body)
{
	unsigned status = 0;
	json_t *json = control_ask_as(c, c->admin, method, target, body, &status);

	if (status != wanted) {
		cleanup_free char *text = json ? json_dumps(json, JSON_ENCODE_ANY) : NULL;

		fail_msg("%s %s: %u, not %u: %s", method, target, status, wanted, text ? text : "");
	}
	return json;
}

void control_do(struct control *c, unsigned wanted, const char *method, const char *target,
		const char *body)
{
	json_decref(control_ask(c, wanted, method, target, body));
}

void control_refused(struct control *c, unsigned wanted, const char *name, const char *method,
		     const char *target, const char *body)
{
	cleanup_json json_t *json = control_ask(c, wanted, method, target, body);
	const json_t *error = json_object_get(json, "error");

	assert_string_equal(json_string_value(json_object_get(error, "name")), name);
	assert_true(strlen(json_string_value(json_object_get(error, "message"))) > 10);
}

const char *control_text(const json_t *json, const char *key)
{
	const char *text = json_string_value(json_object_get(json, key));

	return text ? text : "";
}

int64_t control_number(const json_t *json, const char *key)
{
	return json_integer_value(json_object_get(json, key));
}

const json_t *control_item(const json_t *json, size_t index)
{
	return json_array_get(json_object_get(json, "items"), index);
}

size_t control_count(const json_t *json)
{
	return json_array_size(json_object_get(json, "items"));
}

char *control_spool(struct control *c, const struct bundle_maker *maker, const char *version,
		    const char *arch)
{
	cleanup_free char *comment = NULL;
	cleanup_free char *data = NULL;
	cleanup_fd int fd = bundle_maker_file(maker);
	char *signature = NULL;
	struct digest digest;
	size_t size = 0;

	assert_int_equal(str_format(&comment,
				    "affix:1 id=demo version=%s os=linux arch=%s "
				    "created=2026-01-31T12:00:00Z",
				    version, arch),
			 0);
	assert_int_equal(digest_of_fd(fd, &digest, NULL), 0);
	assert_int_equal(minisign_sign(&c->secret, &digest, comment, &signature), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(fd_read_all(fd, 1 << 20, &data, &size), 0);
	control_put(c, "incoming", "upload", data, size);
	return signature;
}

json_t *control_upload(struct control *c, unsigned wanted, const struct bundle_maker *maker,
		       const char *version, const char *arch)
{
	cleanup_free char *signature = control_spool(c, maker, version, arch);
	char encoded[4096];
	char target[5000];
	struct api_request request = {.method = "POST",
				      .path = "/api/v1/packages",
				      .authorization = c->admin,
				      .spooled_name = "upload",
				      .peer = "192.0.2.1"};
	cleanup_api_response struct api_response response = API_RESPONSE_INIT;
	json_t *json;

	(void)sodium_bin2base64(encoded, sizeof(encoded), (unsigned char *)signature,
				strlen(signature), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	(void)snprintf(target, sizeof(target), "signature=%s", encoded);
	request.query = target;
	api_handle(c->fleet, &request, &response);
	if (response.status != wanted)
		fail_msg("upload: %u, not %u: %s", response.status, wanted, response.body);
	json = json_loadb(response.body, response.body_size, 0, NULL);
	openapi_check(request.method, request.path, response.status, json);
	return json;
}

void control_manifest(char *text, size_t size, const char *version, const char *requires_lines)
{
	(void)snprintf(text, size,
		       "id: demo\nname: Demo\nversion: %s\nkind: native\n"
		       "delivery: pushed-artifact\nsupervision: systemd-service\n"
		       "capabilities: [demo]\nrequires:\n  base_agent: '>=0.1.0'\n"
		       "  platforms: [linux]\n%sexec:\n  binary: demo\n"
		       "config_schema: config.schema.json\n",
		       version, requires_lines);
}

void control_package(struct control *c, const char *version)
{
	struct bundle_maker maker;
	char manifest[512];
	char target[128];

	bundle_maker_init(&maker);
	control_manifest(manifest, sizeof(manifest), version, "");
	bundle_maker_set_text(&maker, "addon.yaml", manifest);
	bundle_maker_set_text(&maker, "config.schema.json",
			      "{\"type\": \"object\", \"additionalProperties\": false, "
			      "\"properties\": {\"level\": {\"type\": \"integer\", \"minimum\": 1},"
			      " \"secret\": {\"type\": \"string\", \"x-affix-local\": true}}, "
			      "\"required\": [\"secret\"]}");
	json_decref(control_upload(c, 201, &maker, version, "amd64"));
	(void)snprintf(target, sizeof(target), "/api/v1/packages/demo/%s/approve", version);
	control_do(c, 200, "POST", target, "{}");
}

void control_join_token(struct control *c, const char *body, char *ret, size_t size)
{
	cleanup_json json_t *json = control_ask(c, 201, "POST", "/api/v1/join-tokens", body);

	(void)snprintf(ret, size, "Bearer %s", control_text(json, "token"));
}

void control_hello(struct control *c, struct control_agent *agent)
{
	const struct fleet_hello hello = {
		.connection = FLEET_CONNECTION(1, ++c->next_connection),
		.authorization = agent->authorization[0] != '\0' ? agent->authorization : NULL,
		.peer = "192.0.2.7",
		.transport = agent->is_polling ? "http" : "ws",
		.certificate_name = agent->certificate,
	};
	struct fleet_hello copy = hello;

	memcpy(copy.instance_uid, agent->uid, 16);
	agent->connection = hello.connection;
	agent->sequence = 0;
	assert_int_equal(fleet_hello(c->fleet, &copy), 0);
}

const struct control_said *control_last(const struct control *c, const struct control_agent *agent)
{
	for (size_t i = c->n_said; i-- > 0;) {
		if (c->said[i].connection == agent->connection)
			return &c->said[i];
	}
	return NULL;
}

Opamp__Proto__ServerToAgent *control_decode(const struct control_said *said,
					    struct opamp_arena **ret_arena)
{
	Opamp__Proto__ServerToAgent *message = NULL;

	assert_non_null(said);
	assert_int_equal(said->status, 0);
	assert_int_equal(opamp_decode_to_agent(said->data, said->size, ret_arena, &message), 0);
	return message;
}

void control_report(struct control *c, struct control_agent *agent, struct fleet_report *report)
{
	report->connection = agent->connection;
	report->sequence = ++agent->sequence;
	if (report->capabilities == 0)
		report->capabilities = CONTROL_AGENT;
	control_forget(c);
	assert_int_equal(fleet_report(c->fleet, report), 0);
	assert_int_equal(fleet_flush(c->fleet), 0);
}

void control_describe(struct control *c, struct control_agent *agent)
{
	const struct fleet_attribute attributes[] = {
		{"service.name",       "affix-agent",                       true },
		{"service.version",    "0.2.0",                             true },
		{"os.type",            "linux",                             false},
		{"host.arch",          agent->arch ? agent->arch : "amd64", false},
		{"host.name",          agent->name,                         false},
		{"affix.capabilities", "ipc journal",                       false},
		{"affix.label.env",    agent->env ? agent->env : "prod",    false},
	};
	struct fleet_report report = {
		.has_description = true,
		.attributes = attributes,
		.n_attributes = ARRAY_SIZE(attributes),
	};

	control_report(c, agent, &report);
}

void control_enrol(struct control *c, struct control_agent *agent, const char *name)
{
	cleanup_opamp_arena struct opamp_arena *arena = NULL;
	Opamp__Proto__ServerToAgent *message;
	cleanup_json json_t *hosts = NULL;
	char target[128];

	agent->name = name;
	randombytes_buf(agent->uid, sizeof(agent->uid));
	control_join_token(c, "{\"name\": \"tests\"}", agent->authorization,
			   sizeof(agent->authorization));
	control_hello(c, agent);
	control_describe(c, agent);
	message = control_decode(control_last(c, agent), &arena);
	assert_non_null(message->connection_settings);
	(void)snprintf(agent->authorization, sizeof(agent->authorization), "%s",
		       message->connection_settings->opamp->headers->headers[0]->value);
	control_hello(c, agent);
	control_describe(c, agent);
	(void)snprintf(target, sizeof(target), "/api/v1/hosts?host=%s", name);
	hosts = control_ask(c, 200, "GET", target, NULL);
	agent->host = control_number(control_item(hosts, 0), "id");
	assert_true(agent->host > 0);
}

void control_say(struct control *c, struct control_agent *agent, const char *addon)
{
	char text[512];
	struct fleet_report report = {
		.has_custom_message = true,
		.custom_capability = "io.affix.status",
		.custom_type = "status",
	};

	(void)snprintf(text, sizeof(text), "{\"schema\":1,\"addons\":[%s]}", addon);
	report.custom_data = (struct fleet_bytes){text, strlen(text)};
	control_report(c, agent, &report);
}

void control_say_status(struct control *c, struct control_agent *agent, const char *version,
			const char *state)
{
	char addon[256];

	(void)snprintf(addon, sizeof(addon),
		       "{\"id\":\"demo\",\"version\":\"%s\",\"state\":\"%s\","
		       "\"reason\":\"because\",\"origin\":\"fleet\",\"restarts\":0,\"drift\":[]}",
		       version, state);
	control_say(c, agent, addon);
}

void control_tick(struct control *c)
{
	unsigned wait = 0;

	do
		assert_int_equal(fleet_tick(c->fleet, &wait), 0);
	while (wait == 0);
}
