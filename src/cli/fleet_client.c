/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Requests to affixd, one after another over one connection. What the server refuses is said in
 * its own words, behind the name it gave; that it cannot be reached is something to try again.
 */

#include "cli/fleet_client.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/curl.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "cli/command.h"
#include "manifest/yaml_fields.h"

#define SERVER_DEFAULT  "http://127.0.0.1:4320"
#define TOKEN_SIZE_MAX  4096U
#define CONFIG_SIZE_MAX 65536U
#define ANSWER_MAX      67108864U /* 64 MiB */
#define CONNECT_SECONDS 10L
#define CALL_SECONDS    60L
#define UPLOAD_SECONDS  3600L

#define HTTP_OK_END      300
#define HTTP_TIMEOUT     408
#define HTTP_TOO_MANY    429
#define HTTP_UNAVAILABLE 502 /* to 504 */
#define HTTP_LAST_AGAIN  504

/* fleet.yaml */
struct fleet_config {
	char *server;
	char *token_file;
	char *ca_file;
};

static void config_done(struct fleet_config *config)
{
	free(config->server);
	free(config->token_file);
	free(config->ca_file);
}

#define AT(member) .offset = offsetof(struct fleet_config, member)

static const struct yaml_field config_fields[] = {
	YAML_FIELD("server", YAML_FIELD_TEXT, AT(server)),
	YAML_FIELD("token_file", YAML_FIELD_TEXT, AT(token_file)),
	YAML_FIELD("ca_file", YAML_FIELD_TEXT, AT(ca_file)),
	YAML_FIELD_END,
};

static int config_path(char **ret)
{
	/* NOLINTBEGIN(concurrency-mt-unsafe): the program has one thread */
	const char *directory = getenv("XDG_CONFIG_HOME");
	const char *home = getenv("HOME");
	/* NOLINTEND(concurrency-mt-unsafe) */

	if (!str_is_empty(directory))
		return str_format(ret, "%s/affix/fleet.yaml", directory);
	return str_format(ret, "%s/.config/affix/fleet.yaml", home ? home : "");
}

static int read_config(struct fleet_config *config)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_yaml_document struct yaml_document *document = NULL;
	struct yaml_reader reader = {.code = REFUSAL_BAD_REQUEST, .diagnostics = &diagnostics};
	cleanup_free char *path = NULL;
	cleanup_free char *text = NULL;
	size_t size = 0;
	int r;

	if (config_path(&path) < 0)
		return command_broke(-ENOMEM, "fleet.yaml could not be found");
	r = command_read_file(path, CONFIG_SIZE_MAX, &text, &size);
	if (r == -ENOENT || r == -ENOTDIR)
		return COMMAND_DONE;
	if (r < 0)
		return command_broke(r, "'%s' could not be read", path);
	reader.file = path;
	r = yaml_parse(text, size, &reader, &document);
	if (r == 0)
		yaml_fields_read(&reader, document->root, config_fields, config);
	if (r < 0 || reader.error < 0)
		return command_broke(r < 0 ? r : reader.error, "'%s' could not be read", path);
	if (diagnostics.count == 0)
		return COMMAND_DONE;
	return command_error("%s:%u:%u: %s", path, diagnostics.items[0].line,
			     diagnostics.items[0].column, diagnostics.items[0].message);
}

/* Command line, environment, file: the first that there is. */
static const char *choose(const char *option, const char *variable, const char *configured)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the program has one thread */
	const char *environment = variable ? getenv(variable) : NULL;

	if (option)
		return option;
	return str_is_empty(environment) ? configured : environment;
}

static int read_token(const char *path, char **ret)
{
	cleanup_free char *text = NULL;
	size_t size = 0;
	int r;

	if (!path)
		return command_error("no token: give --token-file FILE, set AFFIX_TOKEN_FILE, or "
				     "write 'token_file: FILE' into fleet.yaml");
	r = command_read_file(path, TOKEN_SIZE_MAX, &text, &size);
	if (r < 0)
		return command_broke(r, "the token in '%s' could not be read", path);
	while (size > 0 && isspace((unsigned char)text[size - 1]))
		text[--size] = '\0';
	if (size == 0 || strlen(text) != size || strpbrk(text, " \t\r\n"))
		return command_error("'%s' does not hold one token and nothing else", path);
	*ret = TAKE_PTR(text);
	return COMMAND_DONE;
}

static int copy_server(struct fleet_client *client, const char *server)
{
	size_t length = strlen(server);

	while (length > 0 && server[length - 1] == '/')
		length--;
	if (!str_starts_with(server, "http://") && !str_starts_with(server, "https://"))
		return command_error("'%s' is no server: http://HOST:PORT or https://HOST:PORT is "
				     "wanted",
				     server);
	client->server = strndup(server, length);
	return client->server ? COMMAND_DONE : command_broke(-ENOMEM, "the server's name");
}

static int open_curl(struct fleet_client *client)
{
	const char *reason = NULL;

	if (curl_load(&client->curl, &reason) < 0)
		return command_error("libcurl is wanted to talk to a server: %s; install it "
				     "(Debian: libcurl4)",
				     reason ? reason : "it cannot be loaded");
	if (client->curl->global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return command_error("libcurl does not work here");
	client->handle = client->curl->easy_init();
	return client->handle ? COMMAND_DONE : command_broke(-ENOMEM, "libcurl");
}

int fleet_client_open(struct fleet_client *client, const char *server, const char *token_file,
		      const char *ca_file)
{
	CLEANUP(config_done) struct fleet_config config = {0};
	const char *chosen_ca;
	int code;

	code = read_config(&config);
	if (code != COMMAND_DONE)
		return code;
	server = choose(server, "AFFIX_SERVER", config.server);
	code = copy_server(client, server ? server : SERVER_DEFAULT);
	if (code == COMMAND_DONE)
		code = read_token(choose(token_file, "AFFIX_TOKEN_FILE", config.token_file),
				  &client->token);
	if (code != COMMAND_DONE)
		return code;
	chosen_ca = choose(ca_file, NULL, config.ca_file);
	client->ca_file = chosen_ca ? strdup(chosen_ca) : NULL;
	return open_curl(client);
}

void fleet_client_done(struct fleet_client *client)
{
	if (client->handle)
		client->curl->easy_cleanup(client->handle);
	free(client->server);
	free(client->token);
	free(client->ca_file);
	*client = (struct fleet_client){0};
}

static size_t keep_answer(char *data, size_t one, size_t size, void *userdata)
{
	struct buffer *answer = userdata;

	(void)one;
	if (answer->size + size > ANSWER_MAX || buffer_add(answer, data, size) < 0)
		return 0;
	return size;
}

/* The server's own sentence, or what can be said without one. */
static int explain(long status, const struct buffer *answer)
{
	cleanup_json json_t *json = NULL;
	const json_t *error = NULL;
	const char *name;
	const char *path;
	cleanup_free char *sentence = NULL;

	if (answer->size > 0 && json_parse_object(answer->data, answer->size, &json, NULL) == 0)
		error = json_object_get(json, "error");
	name = json_string_value(json_object_get(error, "name"));
	path = json_string_value(json_object_get(error, "path"));
	if (!name)
		(void)command_error("the server answered with status %ld", status);
	else if (str_format(&sentence, "%s%s%s",
			    json_string_value(json_object_get(error, "message")),
			    str_is_empty(path) ? "" : ", at ", path ? path : "") == 0)
		command_complain(name, sentence);
	return status == HTTP_TIMEOUT || status == HTTP_TOO_MANY ||
			       (status >= HTTP_UNAVAILABLE && status <= HTTP_LAST_AGAIN)
		       ? COMMAND_TRY_AGAIN
		       : COMMAND_REFUSED;
}

static int explain_transfer(const struct fleet_client *client, CURLcode code)
{
	cleanup_free char *sentence = NULL;
	bool is_trust = code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE;

	if (str_format(&sentence, "%s: %s", client->server, client->curl->easy_strerror(code)) < 0)
		return command_broke(-ENOMEM, "the server could not be reached");
	command_complain(is_trust ? "untrusted-server" : "unreachable", sentence);
	return is_trust ? COMMAND_REFUSED : COMMAND_TRY_AGAIN;
}

static int perform(struct fleet_client *client, const char *path, struct curl_slist *headers,
		   json_t **ret)
{
	cleanup_buffer struct buffer answer = BUFFER_INIT;
	cleanup_free char *url = NULL;
	struct json_problem problem;
	const struct curl *curl = client->curl;
	CURL *handle = client->handle;
	long status = 0;
	CURLcode code;

	if (str_format(&url, "%s%s", client->server, path) < 0)
		return command_broke(-ENOMEM, "the request could not be made");
	(void)curl->easy_setopt(handle, CURLOPT_URL, url);
	(void)curl->easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
	(void)curl->easy_setopt(handle, CURLOPT_USERAGENT, "affix/" AFFIX_VERSION);
	(void)curl->easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
	(void)curl->easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
	(void)curl->easy_setopt(handle, CURLOPT_ACCEPT_ENCODING, "");
	(void)curl->easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
	(void)curl->easy_setopt(handle, CURLOPT_WRITEFUNCTION, keep_answer);
	(void)curl->easy_setopt(handle, CURLOPT_WRITEDATA, &answer);
	if (client->ca_file)
		(void)curl->easy_setopt(handle, CURLOPT_CAINFO, client->ca_file);
	code = curl->easy_perform(handle);
	if (code != CURLE_OK)
		return explain_transfer(client, code);
	(void)curl->easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
	if (status >= HTTP_OK_END)
		return explain(status, &answer);
	if (answer.size == 0) {
		*ret = json_object();
		return *ret ? COMMAND_DONE : command_broke(-ENOMEM, "the answer could not be kept");
	}
	if (json_parse_object(answer.data, answer.size, ret, &problem) != 0)
		return command_error("the server's answer is not JSON: %s", problem.text);
	return COMMAND_DONE;
}

/* Takes *list*; NULL: no memory. */
static struct curl_slist *add_header(const struct curl *curl, struct curl_slist *list,
				     const char *name, const char *value)
{
	cleanup_free char *header = NULL;
	struct curl_slist *longer = NULL;

	if (str_format(&header, "%s: %s", name, value) == 0)
		longer = curl->slist_append(list, header);
	if (!longer)
		curl->slist_free_all(list);
	return longer;
}

static struct curl_slist *make_headers(const struct fleet_client *client, const char *type)
{
	cleanup_free char *bearer = NULL;
	struct curl_slist *headers = NULL;

	if (str_format(&bearer, "Bearer %s", client->token) < 0)
		return NULL;
	headers = add_header(client->curl, NULL, "Authorization", bearer);
	return headers ? add_header(client->curl, headers, "Content-Type", type) : NULL;
}

int fleet_client_call(struct fleet_client *client, const char *method, const char *path,
		      const json_t *body, json_t **ret)
{
	struct curl_slist *headers = make_headers(client, "application/json");
	cleanup_free char *text = body ? json_to_canonical(body) : strdup("");
	const struct curl *curl = client->curl;
	CURL *handle = client->handle;
	int code;

	if (!headers || !text) {
		curl->slist_free_all(headers);
		return command_broke(-ENOMEM, "the request could not be made");
	}
	curl->easy_reset(handle);
	(void)curl->easy_setopt(handle, CURLOPT_TIMEOUT,
				client->is_patient ? UPLOAD_SECONDS : CALL_SECONDS);
	if (strcmp(method, "GET") != 0) {
		(void)curl->easy_setopt(handle, CURLOPT_POST, 1L);
		(void)curl->easy_setopt(handle, CURLOPT_POSTFIELDS, text);
		(void)curl->easy_setopt(handle, CURLOPT_POSTFIELDSIZE, (long)strlen(text));
		(void)curl->easy_setopt(handle, CURLOPT_CUSTOMREQUEST, method);
	}
	code = perform(client, path, headers, ret);
	if (code == COMMAND_DONE && strcmp(method, "GET") != 0)
		command_note_change();
	curl->slist_free_all(headers);
	return code;
}

static size_t read_file(char *data, size_t one, size_t size, void *userdata)
{
	size_t n = 0;

	(void)one;
	return fd_read_full(*(const int *)userdata, data, size, &n) < 0 ? CURL_READFUNC_ABORT : n;
}

int fleet_client_upload(struct fleet_client *client, const char *path, int fd, uint64_t size,
			json_t **ret)
{
	struct curl_slist *headers = make_headers(client, "application/octet-stream");
	const struct curl *curl = client->curl;
	CURL *handle = client->handle;
	int code;

	if (!headers)
		return command_broke(-ENOMEM, "the request could not be made");
	curl->easy_reset(handle);
	(void)curl->easy_setopt(handle, CURLOPT_TIMEOUT, UPLOAD_SECONDS);
	(void)curl->easy_setopt(handle, CURLOPT_POST, 1L);
	(void)curl->easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
	(void)curl->easy_setopt(handle, CURLOPT_READFUNCTION, read_file);
	(void)curl->easy_setopt(handle, CURLOPT_READDATA, &fd);
	/* Whether the server wants it at all is known before it is sent. */
	headers = add_header(curl, headers, "Expect", "100-continue");
	code = headers ? perform(client, path, headers, ret)
		       : command_broke(-ENOMEM, "the request could not be made");
	if (code == COMMAND_DONE)
		command_note_change();
	curl->slist_free_all(headers);
	return code;
}
