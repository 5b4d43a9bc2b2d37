/* SPDX-License-Identifier: Apache-2.0 */

#include "agent/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct config *good(const char *text)
{
	struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	struct config *config = NULL;

	if (config_parse(text, strlen(text), "agent.yaml", &config, &diagnostics) != 0)
		fail_msg("%s: %s", text,
			 diagnostics.count ? diagnostics.items[0].message : "no reason");
	diagnostics_done(&diagnostics);
	return config;
}

/* The text is refused, and *part* stands in one of the sentences. */
static void bad(const char *text, const char *part)
{
	struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	struct config *config = NULL;
	size_t found = 0;

	assert_int_equal(config_parse(text, strlen(text), "agent.yaml", &config, &diagnostics), 1);
	assert_null(config);
	for (size_t i = 0; i < diagnostics.count; i++)
		found += strstr(diagnostics.items[i].message, part) != NULL;
	if (found == 0)
		fail_msg("%s: expected '%s', got '%s'", text, part, diagnostics.items[0].message);
	diagnostics_done(&diagnostics);
}

static void an_address_is_enough(void **state)
{
	cleanup_config struct config *config = good("server: {url: 'wss://fleet.example:4320'}");
	cleanup_config struct config *path = good("server: {url: 'ws://127.1/'}");
	cleanup_config struct config *query = good("server: {url: 'wss://fleet.example?a/b'}");
	cleanup_config struct config *v6 = good("server: {url: 'wss://[2001:db8::1]:65535'}");
	cleanup_config struct config *zone = good("server: {url: 'wss://[fe80::1%25v0]:4320'}");

	(void)state;
	assert_string_equal(v6->url, "https://[2001:db8::1]:65535/v1/opamp");
	assert_string_equal(zone->url, "https://[fe80::1%25v0]:4320/v1/opamp");
	assert_string_equal(config->url, "https://fleet.example:4320/v1/opamp");
	assert_string_equal(path->url, "http://127.0.0.1/");
	assert_string_equal(query->url, "https://fleet.example/?a/b");
	assert_int_equal(config->transport, CONFIG_TRANSPORT_AUTO);
	assert_int_equal(config->heartbeat_seconds, 30);
	assert_int_equal(config->policy.removal_delay, 900);
	assert_int_equal(config->policy.mass_removal, 86400);
	assert_false(config->policy.repair);
	assert_int_equal(json_object_size(config->labels), 0);
}

static void every_key_is_read(void **state)
{
	cleanup_config struct config *config =
		good("server:\n"
		     "  url: http://fleet.example/x\n"
		     "  transport: http\n"
		     "  plaintext: true\n"
		     "  proxy: http://proxy:3128\n"
		     "  ca_file: /etc/affix/ca.pem\n"
		     "  client_certificate: /etc/affix/host.pem\n"
		     "  client_key: /etc/affix/host.key\n"
		     "  token_file: /etc/affix/join-token\n"
		     "labels: {env: prod, number: 7}\n"
		     "intervals: {heartbeat_seconds: 1, status_seconds: 2, drift_seconds: 3,\n"
		     "  reconnect_max_seconds: 4}\n"
		     "removal: {delay_seconds: 5, mass_seconds: 6, ignore_confirmation: true}\n"
		     "downloads: {max_bytes: 7, min_bytes_per_second: 8, max_seconds: 9,\n"
		     "  slow_seconds: 10, keep_free_bytes: 0, origins: ['https://cdn:8443']}\n"
		     "repair: true\n"
		     "x-mine: anything\n");

	(void)state;
	assert_string_equal(config->url, "http://fleet.example/x");
	assert_int_equal(config->transport, CONFIG_TRANSPORT_HTTP);
	assert_string_equal(config->proxy, "http://proxy:3128");
	assert_string_equal(config->client_key, "/etc/affix/host.key");
	assert_string_equal(json_string_value(json_object_get(config->labels, "number")), "7");
	assert_int_equal(config->reconnect_max_seconds, 4);
	assert_int_equal(config->policy.mass_removal, 6);
	assert_true(config->policy.ignores_confirmation);
	assert_int_equal(config->download_max_seconds, 9);
	assert_int_equal(config->download_slow_seconds, 10);
	assert_int_equal(config->download_keep_free, 0);
	assert_string_equal(config->download_origins.items[0], "https://cdn:8443");
	assert_true(config->policy.repair);
}

static void what_is_wrong_is_said(void **state)
{
	(void)state;
	bad("", "empty");
	bad("labels: {}", "server");
	bad("server: {}", "url");
	bad("server: {url: 'ftp://x'}", "wss://");
	bad("server: {url: 'wss://'}", "wss://");
	bad("server: {url: 'wss://user:password@host'}", "wss://");
	bad("server: {url: 'wss://a b'}", "wss://");
	bad("server: {url: 'wss://a:0/x'}", "wss://");
	bad("server: {url: 'wss://a:65536'}", "wss://");
	bad("server: {url: 'wss://[::1]:99999/x'}", "wss://");
	bad("server: {url: 'wss://[::1/x'}", "wss://");
	bad("server: {url: 'wss://a:80x/'}", "wss://");
	bad("server: {url: 'wss:///v1/opamp'}", "wss://");
	bad("server: {url: 'wss://a/x#y'}", "wss://");
	bad("server: {url: 'wss://a', transport: pigeon}", "transport");
	bad("server: {url: 'wss://a', ca_file: ca.pem}", "absolute path");
	bad("server: {url: 'wss://a', client_key: /k}", "belong together");
	bad("server: {url: 'wss://a', nonsense: 1}", "nonsense");
	bad("server: {url: 'wss://a'}\nlabels: [a]", "mapping");
	bad("server: {url: 'wss://a'}\nlabels: {'a b': c}", "label");
	bad("server: {url: 'wss://a'}\nlabels: {a: 'b c'}", "255");
	bad("server: {url: 'wss://a'}\nlabels: {a: ''}", "255");
	bad("server: {url: 'wss://a'}\nintervals: {heartbeat_seconds: 0}", "heartbeat_seconds");
	bad("server: {url: 'wss://a'}\nremoval: {delay_seconds: 0}", "delay_seconds");
	bad("server: {url: 'wss://a'}\ndownloads: {max_bytes: 2000000000}", "max_bytes");
	bad("server: {url: 'wss://a'}\ndownloads: {origins: ['https://cdn/x']}", "an origin");
	bad("server: {url: 'wss://a'}\ndownloads: {origins: ['ftp://cdn']}", "an origin");
	bad("server: {url: 'wss://a'}\ndownloads: {origins: ['https://a@cdn']}", "an origin");
	bad("server: {url: 'wss://a'}\nrepair: maybe", "repair");
	bad("server: [", "");
}

static void plaintext_has_to_be_asked_for(void **state)
{
	static const char *const near[] = {
		"server: {url: 'ws://localhost:4320'}",
		"server: {url: 'http://127.0.0.1/v1/opamp'}",
		"server: {url: 'ws://[::1]:4320/'}",
		"server: {url: 'ws://fleet.example', plaintext: true}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(near); i++)
		ignore_result(config_free(good(near[i])));
	bad("server: {url: 'ws://fleet.example'}", "not encrypted");
	bad("server: {url: 'http://localhost.example/'}", "not encrypted");
	bad("server: {url: 'http://127.0.0.1.example/'}", "not encrypted");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_is_enough),
		cmocka_unit_test(every_key_is_read),
		cmocka_unit_test(what_is_wrong_is_said),
		cmocka_unit_test(plaintext_has_to_be_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
