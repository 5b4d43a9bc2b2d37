/* SPDX-License-Identifier: Apache-2.0 */

/*
 * agent.yaml. Strict: what is not understood stops the agent at its start, when somebody looks, and
 * not a fleet later. Plaintext has to be asked for, except to this very machine.
 */

#include "agent/config.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/address.h"
#include "base/fd.h"
#include "base/path.h"
#include "manifest/yaml_fields.h"

#define LABELS_MAX       64U
#define LABEL_KEY_MAX    63U
#define LABEL_VALUE_MAX  255U
#define DAY              86400ULL
#define MEBIBYTE         (1ULL << 20)
#define DOWNLOAD_BYTES   (1ULL << 30)
#define DOWNLOAD_SECONDS 3600U
#define MIN_SPEED        1024U
#define SLOW_SECONDS     60U
/* Certificates and tokens. */
#define DIGESTED_FILE_MAX MEBIBYTE

struct config *config_free(struct config *config)
{
	if (!config)
		return NULL;
	free(config->url);
	free(config->proxy);
	free(config->ca_file);
	free(config->client_certificate);
	free(config->client_key);
	free(config->token_file);
	strv_done(&config->download_origins);
	json_decref(config->labels);
	free(config);
	return NULL;
}

static bool is_plain_text(const char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text <= ' ' || (unsigned char)*text > '~')
			return false;
	}
	return true;
}

/* As curl and HTTP spell it. 0; 1: it is no address of a server; -ENOMEM. */
static int parse_server(const char *url, struct address *ret)
{
	bool is_websocket = str_starts_with(url, "wss://") || str_starts_with(url, "ws://");
	cleanup_free char *text = NULL;
	int r;

	/* libcurl finds a host also behind three slashes. */
	if (!is_plain_text(url) || strchr(url, '#') || strstr(url, ":///"))
		return 1;
	r = str_format(&text, "%s%s", is_websocket ? "http" : "", url + (is_websocket ? 2 : 0));
	return r == 0 ? address_parse(text, ret) : r;
}

/* Whose bundles may be fetched: as an address, with nothing behind the port. */
static bool is_origin(const char *url)
{
	cleanup_address struct address address = ADDRESS_INIT;

	return is_plain_text(url) && !strchr(url, '#') && address_parse(url, &address) == 0 &&
	       str_equal(address.target, "/");
}

/* The same address as curl and HTTP spell it; a lone host gets OpAMP's usual path. */
static int normalize_url(const char *url, char **ret)
{
	cleanup_address struct address address = ADDRESS_INIT;
	bool is_lone;
	int r = parse_server(url, &address);

	if (r != 0)
		return r;
	is_lone = str_equal(address.target, "/") && !str_ends_with(url, "/");
	return str_format(ret, "http%s://%s%s", address.is_tls ? "s" : "", address.authority,
			  is_lone ? "/v1/opamp" : address.target);
}

static bool is_proxy_url(const char *url)
{
	return is_plain_text(url) &&
	       (str_starts_with(url, "http://") || str_starts_with(url, "https://") ||
		str_starts_with(url, "socks5h://"));
}

static const char *const transports[] = {"auto", "websocket", "http", NULL};

#define AT(member) .offset = offsetof(struct config, member)
#define IS_FILE                              \
	.is_valid = path_is_normal_absolute, \
	.expected = "an absolute path without '.', '..' or a '/' at its end"

static const struct yaml_field server_fields[] = {
	YAML_FIELD("url", YAML_FIELD_TEXT, .is_required = true, AT(url), .normalize = normalize_url,
		   .expected = "an address such as 'wss://fleet.example:4320/v1/opamp'"),
	YAML_FIELD("transport", YAML_FIELD_CHOICE, AT(transport), .choices = transports),
	YAML_FIELD("plaintext", YAML_FIELD_BOOL, AT(plaintext)),
	YAML_FIELD("proxy", YAML_FIELD_TEXT, AT(proxy), .is_valid = is_proxy_url,
		   .expected = "an address such as 'http://proxy.example:3128'"),
	YAML_FIELD("ca_file", YAML_FIELD_TEXT, AT(ca_file), IS_FILE),
	YAML_FIELD("client_certificate", YAML_FIELD_TEXT, AT(client_certificate), IS_FILE),
	YAML_FIELD("client_key", YAML_FIELD_TEXT, AT(client_key), IS_FILE),
	YAML_FIELD("token_file", YAML_FIELD_TEXT, AT(token_file), IS_FILE),
	YAML_FIELD_END,
};

static const struct yaml_field interval_fields[] = {
	YAML_FIELD("heartbeat_seconds", YAML_FIELD_UINT64, AT(heartbeat_seconds), .min = 1,
		   .max = DAY),
	YAML_FIELD("status_seconds", YAML_FIELD_UINT64, AT(status_seconds), .min = 1, .max = DAY),
	YAML_FIELD("drift_seconds", YAML_FIELD_UINT64, AT(drift_seconds), .min = 1, .max = DAY),
	YAML_FIELD("reconnect_max_seconds", YAML_FIELD_UINT64, AT(reconnect_max_seconds), .min = 1,
		   .max = DAY),
	YAML_FIELD_END,
};

static const struct yaml_field removal_fields[] = {
	YAML_FIELD("delay_seconds", YAML_FIELD_UINT64, AT(policy.removal_delay), .min = 1,
		   .max = 30 * DAY),
	YAML_FIELD("ignore_confirmation", YAML_FIELD_BOOL, AT(policy.ignores_confirmation)),
	YAML_FIELD("mass_seconds", YAML_FIELD_UINT64, AT(policy.mass_removal), .min = 1,
		   .max = 365 * DAY),
	YAML_FIELD_END,
};

static const struct yaml_field download_fields[] = {
	YAML_FIELD("origins", YAML_FIELD_TEXTS, AT(download_origins), .is_valid = is_origin,
		   .expected = "an origin such as 'https://bundles.example:8443'"),
	YAML_FIELD("max_bytes", YAML_FIELD_UINT64, AT(download_max_bytes), .min = 1,
		   .max = DOWNLOAD_BYTES),
	YAML_FIELD("min_bytes_per_second", YAML_FIELD_UINT64, AT(download_min_speed), .min = 1,
		   .max = DOWNLOAD_BYTES),
	YAML_FIELD("slow_seconds", YAML_FIELD_UINT64, AT(download_slow_seconds), .min = 1,
		   .max = DAY),
	YAML_FIELD("max_seconds", YAML_FIELD_UINT64, AT(download_max_seconds), .min = 1,
		   .max = 7 * DAY),
	YAML_FIELD("keep_free_bytes", YAML_FIELD_UINT64, AT(download_keep_free), .max = 1ULL << 50),
	YAML_FIELD_END,
};

static const struct yaml_field config_fields[] = {
	YAML_FIELD("server", YAML_FIELD_MAPPING, .is_required = true, .offset = YAML_FIELD_UNUSED,
		   .fields = server_fields),
	YAML_FIELD("labels", YAML_FIELD_ANY, .offset = YAML_FIELD_UNUSED),
	YAML_FIELD("intervals", YAML_FIELD_MAPPING, .offset = YAML_FIELD_UNUSED,
		   .fields = interval_fields),
	YAML_FIELD("removal", YAML_FIELD_MAPPING, .offset = YAML_FIELD_UNUSED,
		   .fields = removal_fields),
	YAML_FIELD("downloads", YAML_FIELD_MAPPING, .offset = YAML_FIELD_UNUSED,
		   .fields = download_fields),
	YAML_FIELD("repair", YAML_FIELD_BOOL, AT(policy.repair)),
	YAML_FIELD_END,
};

/* The characters that a selector can name. */
static bool is_label(const char *text, size_t max)
{
	size_t n =
		strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/");

	return n > 0 && n <= max && text[n] == '\0';
}

static int read_labels(struct yaml_reader *reader, const struct yaml_node *labels,
		       struct config *config)
{
	if (!labels || labels->is_broken)
		return 0;
	if (labels->kind != YAML_MAPPING || labels->count > LABELS_MAX) {
		yaml_problem_value(reader, labels,
				   "must be a mapping of at most 64 keys to values");
		return 0;
	}
	for (const struct yaml_node *label = labels->first; label; label = label->next) {
		int r;

		if (!is_label(label->key, LABEL_KEY_MAX))
			yaml_problem_key(
				reader, label,
				"a label's key is 1 to 63 letters, digits, '.', '_', '-' and '/'");
		else if (label->kind != YAML_SCALAR || !label->text ||
			 !is_label(label->text, LABEL_VALUE_MAX))
			yaml_problem_value(
				reader, label,
				"must be 1 to 255 letters, digits, '.', '_', '-' and '/'");
		else if ((r = json_add_string(config->labels, label->key, label->text)) < 0)
			return r;
	}
	return 0;
}

/* Whether the server's words can be read on the way: not on this very machine. */
static bool is_exposed(const char *url)
{
	static const char *const own[] = {"localhost", "127.0.0.1", "[::1]"};
	cleanup_address struct address address = ADDRESS_INIT;

	if (address_parse(url, &address) != 0 || address.is_tls)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
		if (strcasecmp(address.host, own[i]) == 0)
			return false;
	}
	return true;
}

/* What the keys have to do with each other. */
static void check_whole(struct yaml_reader *reader, const struct yaml_node *root,
			const struct config *config)
{
	const struct yaml_node *server = yaml_member(root, "server");

	if (!config->client_certificate != !config->client_key)
		yaml_problem(reader, server,
			     "client_certificate and client_key belong together; name both");
	if (config->url && !config->plaintext && is_exposed(config->url))
		yaml_problem(
			reader, yaml_member(server, "url"),
			"the address is not encrypted; use wss:// or https://, or say 'plaintext: true'");
}

static int parse(const char *text, size_t size, struct yaml_reader *reader, struct config *config)
{
	cleanup_yaml_document struct yaml_document *document = NULL;
	int r;

	if (size > CONFIG_SIZE_MAX) {
		yaml_problem_at(reader, 1, 1, "the file is larger than 64 KiB");
		return reader->error;
	}
	r = yaml_parse(text, size, reader, &document);
	if (r != 0)
		return r < 0 ? r : 0;
	yaml_fields_read(reader, document->root, config_fields, config);
	r = read_labels(reader, yaml_member(document->root, "labels"), config);
	if (r < 0)
		return r;
	check_whole(reader, document->root, config);
	return reader->error;
}

static struct config *make_default(void)
{
	struct config *config = malloc(sizeof(*config));

	if (!config)
		return NULL;
	*config = (struct config){
		.labels = json_object(),
		.heartbeat_seconds = 30,
		.status_seconds = 60,
		.drift_seconds = 900,
		.reconnect_max_seconds = 300,
		.policy = {.removal_delay = 900, .mass_removal = DAY},
		.download_max_bytes = DOWNLOAD_BYTES,
		.download_min_speed = MIN_SPEED,
		.download_slow_seconds = SLOW_SECONDS,
		.download_max_seconds = DOWNLOAD_SECONDS,
		.download_keep_free = 64 * MEBIBYTE,
	};
	return config->labels ? config : config_free(config);
}

int config_parse(const char *text, size_t size, const char *file, struct config **ret,
		 struct diagnostics *diagnostics)
{
	struct yaml_reader reader = {
		.file = file, .code = REFUSAL_BAD_CONFIG, .diagnostics = diagnostics};
	cleanup_config struct config *config = make_default();
	int r;

	if (!config)
		return -ENOMEM;
	r = parse(text, size, &reader, config);
	if (r < 0)
		return r;
	if (reader.problems > 0)
		return 1;
	*ret = TAKE_PTR(config);
	return 0;
}

int config_load(const char *path, struct config **ret, struct diagnostics *diagnostics)
{
	cleanup_free char *text = NULL;
	size_t size = 0;
	int r = fd_read_path(path, CONFIG_SIZE_MAX + 1UL, &text, &size);

	if (r == -EFBIG)
		size = CONFIG_SIZE_MAX + 1UL;
	else if (r < 0)
		return r;
	return config_parse(text ? text : "", size, path, ret, diagnostics);
}

/* A file that is missing, unreadable or too large counts as an empty one. */
static void digest_file(crypto_hash_sha256_state *state, const char *path)
{
	cleanup_fd int fd =
		path ? open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC) : -EBADF;
	cleanup_free char *text = NULL;
	size_t size = 0;

	if (fd >= 0 && fd_read_all(fd, DIGESTED_FILE_MAX, &text, &size) < 0)
		size = 0;
	(void)crypto_hash_sha256_update(state, (const uint8_t *)&size, sizeof(size));
	if (size > 0)
		(void)crypto_hash_sha256_update(state, (const uint8_t *)text, size);
}

void config_digest_server(const struct config *config, uint8_t ret[CONFIG_DIGEST_SIZE])
{
	const uint8_t how[] = {(uint8_t)config->transport, config->plaintext};
	const char *texts[] = {config->url,        config->proxy,
			       config->ca_file,    config->client_certificate,
			       config->client_key, config->token_file};
	crypto_hash_sha256_state state;

	static_assert(CONFIG_DIGEST_SIZE == crypto_hash_sha256_BYTES, "it is a SHA-256");
	(void)crypto_hash_sha256_init(&state);
	(void)crypto_hash_sha256_update(&state, how, sizeof(how));
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		const char *text = texts[i] ? texts[i] : "";

		(void)crypto_hash_sha256_update(&state, (const uint8_t *)text, strlen(text) + 1);
		if (i >= 2)
			digest_file(&state, texts[i]);
	}
	(void)crypto_hash_sha256_final(&state, ret);
}
