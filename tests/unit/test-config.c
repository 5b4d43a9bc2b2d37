/* SPDX-License-Identifier: Apache-2.0 */

#include "control/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int parse(const char *text, struct config **ret, struct diagnostics *diagnostics)
{
	assert_int_equal(config_default(ret), 0);
	return config_parse(text, strlen(text), "affixd.yaml", *ret, diagnostics);
}

static void keys_replace_the_built_in_values(void **state)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_config struct config *config = NULL;

	(void)state;
	assert_int_equal(parse("data: /var/lib/x\nlisten: '[::]:4320'\nfronts: 4\n"
			       "client_certificate: optional\nmessages_per_second: 3\n",
			       &config, &diagnostics),
			 0);
	assert_string_equal(config->data, "/var/lib/x");
	assert_string_equal(config->listen, "[::]:4320");
	assert_int_equal(config->fronts, 4);
	assert_int_equal(config->client_certificate, CONFIG_CERTIFICATE_OPTIONAL);
	assert_int_equal(config->messages_per_second, 3);
	assert_int_equal(config->heartbeat_seconds, 30);
	assert_int_equal(config->poll_seconds, 10);
	assert_int_equal(config->audit_keep_days, 400);
}

static void every_problem_is_told_with_its_place(void **state)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_config struct config *config = NULL;

	(void)state;
	assert_int_equal(parse("data: relative\nfronts: 65\nlisten: nowhere\npublic_url: ftp://x\n"
			       "unknown: 1\nheartbeat_seconds: 1\n",
			       &config, &diagnostics),
			 1);
	diagnostics_sort(&diagnostics);
	assert_int_equal(diagnostics.count, 6);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(diagnostics.items[i].line, i + 1);
}

static void a_place_to_listen_is_an_address_and_a_port(void **state)
{
	static const struct {
		const char *text;
		const char *address;
		const char *port;
	} good[] = {
		{"127.0.0.1:4320", "127.0.0.1", "4320" },
		{"[::1]:0",        "::1",       "0"    },
		{"localhost:1",    "localhost", "1"    },
		{"0.0.0.0:65535",  "0.0.0.0",   "65535"},
	};

	static const char *const bad[] = {
		"",        "4320", ":4320", "host:",    "::1",    "host:65536",
		"host:1x", "[]:1", "host",  "::1:4320", "[::1:1", "host:-1"};
	char *address = NULL;
	char *port = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(config_split_listen(good[i].text, &address, &port), 0);
		assert_string_equal(address, good[i].address);
		assert_string_equal(port, good[i].port);
		free(address);
		free(port);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(config_split_listen(bad[i], &address, &port), 1);
}

static void assert_complains(const struct config *config, const char *about)
{
	char *problem = NULL;

	assert_int_equal(config_check(config, &problem), 1);
	assert_non_null(problem);
	assert_non_null(strstr(problem, about));
	free(problem);
}

static void what_does_not_fit_together_is_told(void **state)
{
	struct config config = {.listen = (char *)"127.0.0.1:4320"};
	char *problem = NULL;

	(void)state;
	assert_complains(&config, "--data DIR");
	config.data = (char *)"/nowhere";
	assert_int_equal(config_check(&config, &problem), 0);
	config.tls_key = (char *)"/etc/passwd";
	assert_complains(&config, "tls_certificate");
	config.tls_certificate = (char *)"/nowhere/cert.pem";
	assert_complains(&config, "/nowhere/cert.pem");
	config.tls_certificate = (char *)"/dev/null";
	assert_complains(&config, "is no regular file");
	config.tls_certificate = (char *)"/etc/passwd";
	assert_complains(&config, "does not begin with a certificate");
	config.certificate_is_credential = true;
	assert_complains(&config, "client_ca");
	config.client_ca = (char *)"/etc/passwd";
	config.tls_certificate = NULL;
	config.tls_key = NULL;
	assert_complains(&config, "needs TLS");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_replace_the_built_in_values),
		cmocka_unit_test(every_problem_is_told_with_its_place),
		cmocka_unit_test(a_place_to_listen_is_an_address_and_a_port),
		cmocka_unit_test(what_does_not_fit_together_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
