/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "engine/health.h"
#include "on-host.h"

/* A plan by hand and its units, watched in a scratch host. */
#define HOME    "/opt/affix/h"
#define BINARY  HOME "/current/daemon"
#define SERVICE "affix-h.service"
#define TIMER   "affix-h.timer"
#define OTHER   "affix-h_other.service"
#define SOCKET  "/run/affix/h/ready"
#define UNITS   "/etc/systemd/system/"

/* What a sandbox of no capabilities and the add-on's user looks like. */
#define SANDBOX "[Service]\nUser=affix-h\nCapabilityBoundingSet=\n"

struct names {
	char service[sizeof(SERVICE)];
	char timer[sizeof(TIMER)];
	char other[sizeof(OTHER)];
	char socket[sizeof(SOCKET)];
	char binary[sizeof(BINARY)];
	char user[sizeof("affix-h")];
	char root[sizeof("root")];
};

struct fixture {
	struct names names;
	struct manager *manager;
	struct tree tree;
	struct plan plan;
	struct plan_unit units[2];
	struct health health;
	uint64_t took; /* from the call that starts the unit to the verdict */
};

static inline int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	assert_int_equal(manager_open(&fixture->manager), 0);
	assert_int_equal(tree_open("/", true, &fixture->tree), 0);
	fixture->names = (struct names){SERVICE, TIMER, OTHER, SOCKET, BINARY, "affix-h", "root"};
	fixture->units[0] = (struct plan_unit){.name = fixture->names.service, .is_primary = true};
	fixture->plan = (struct plan){
		.user = fixture->names.user,
		.binary = fixture->names.binary,
		.health = {.window_seconds = 1},
		.units = fixture->units,
		.n_units = 1,
	};
	*state = fixture;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *fixture = *state;

	for (size_t i = fixture->plan.n_units; i > 0; i--) {
		assert_int_equal(manager_kill(fixture->manager, fixture->units[i - 1].name), 0);
		assert_int_equal(manager_reset_failed(fixture->manager, fixture->units[i - 1].name),
				 0);
	}
	on_host_shell("cd " UNITS
		      "; rm -rf affix-h* multi-user.target.wants/affix-h* /run/affix/h/*");
	(void)manager_close(fixture->manager);
	tree_done(&fixture->tree);
	free(fixture);
	return 0;
}

/* *lines* of a unit file, then the daemon with *arguments*. */
static inline void write_unit(struct fixture *fixture, const char *name, const char *lines,
			      const char *arguments)
{
	cleanup_free char *path = NULL, *text = NULL, *link = NULL;

	assert_int_equal(str_format(&path, UNITS "%s", name), 0);
	assert_int_equal(str_format(&text, "%s%s%s\n", lines,
				    arguments ? "\nExecStart=" BINARY " " : "",
				    arguments ? arguments : ""),
			 0);
	on_host_write(path, text);
	/* As enabled units are: systemd remembers how they ended. */
	assert_int_equal(str_format(&link, "ln -sf %s " UNITS "multi-user.target.wants", path), 0);
	on_host_shell(link);
	assert_int_equal(manager_reload(fixture->manager, 30 * SECOND), 0);
}

static inline void start(struct fixture *fixture, const char *name)
{
	int r;

	assert_int_equal(manager_reset_failed(fixture->manager, name), 0);
	r = manager_start(fixture->manager, name, SECOND / 10, NULL);
	assert_true(r == 0 || r == -ETIMEDOUT || r == -ENOEXEC);
}

/* Starts the service and watches it. */
static inline enum health_state watch(struct fixture *fixture, const char *lines,
				      const char *arguments)
{
	uint64_t begin;

	write_unit(fixture, SERVICE, lines, arguments);
	begin = clock_monotonic_usec();
	start(fixture, SERVICE);
	assert_int_equal(
		health_watch(fixture->manager, &fixture->plan, &fixture->tree, 0, &fixture->health),
		0);
	fixture->took = clock_monotonic_usec() - begin;
	return fixture->health.state;
}

static inline void assert_reason(const struct fixture *fixture, const char *part)
{
	if (!strstr(fixture->health.reason, part))
		fail_msg("'%s' lacks '%s'", fixture->health.reason, part);
}

#define assert_good(fixture, ...)                                           \
	do {                                                                \
		if (watch((fixture), __VA_ARGS__) != HEALTH_GOOD)           \
			fail_msg("not good: %s", (fixture)->health.reason); \
	} while (false)

#define assert_bad(fixture, part, ...)                                       \
	do {                                                                 \
		assert_int_equal(watch((fixture), __VA_ARGS__), HEALTH_BAD); \
		assert_reason((fixture), (part));                            \
		assert_string_equal((fixture)->health.unit, SERVICE);        \
	} while (false)

static inline void prepare_host(void)
{
	on_host_require();
	on_host_shell("systemd-sysusers --inline 'u affix-h -'; mkdir -p " HOME
		      "/versions/1 /run/affix/h; chown affix-h /run/affix/h");
	on_host_shell("ln -s versions/1 " HOME "/current; cp " ON_HOST_DAEMON " " BINARY);
	/* Tests of failure start units more often than systemd likes by default. */
	on_host_shell("mkdir -p /etc/systemd/system.conf.d; printf "
		      "'[Manager]\\nDefaultStartLimitIntervalSec=0\\n' "
		      ">/etc/systemd/system.conf.d/x.conf; systemctl daemon-reload");
}

#define HEALTH_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
