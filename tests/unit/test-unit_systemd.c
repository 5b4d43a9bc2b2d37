/* SPDX-License-Identifier: Apache-2.0 */

/* systemd itself as the judge: what the policy accepts, it loads without a word; what the parser
 * reads, it reads the same. */

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit_accepted.h"
#include "unit_fixture.h"

#include "base/fd.h"
#include "unit/unit_words.h"

#define OUTPUT_MAX (1U << 20)
#define UNITS      "etc/systemd/system"

extern char **environ;

/* A root directory with units of its own and a binary for them to run. */
struct host {
	char path[32];
	struct strv names;
};

static void write_file(const struct host *host, const char *path, const char *text, mode_t mode)
{
	cleanup_free char *whole = NULL;
	cleanup_fd int fd = -EBADF;

	assert_int_equal(str_format(&whole, "%s/%s", host->path, path), 0);
	fd = open(whole, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_full(fd, text, strlen(text)), 0);
}

static void make_directories(const struct host *host, const char *path)
{
	char whole[256];

	for (const char *slash = strchr(path, '/');; slash = strchr(slash + 1, '/')) {
		int length = slash ? (int)(slash - path) : (int)strlen(path);

		(void)snprintf(whole, sizeof(whole), "%s/%.*s", host->path, length, path);
		(void)mkdir(whole, 0755);
		if (!slash)
			return;
	}
}

static void host_make(struct host *host)
{
	*host = (struct host){.path = "/tmp/affix-units-XXXXXX"};
	assert_non_null(mkdtemp(host->path));
	make_directories(host, UNITS);
	make_directories(host, "opt/affix/probe/current");
	make_directories(host, "bin");
	write_file(host, "opt/affix/probe/current/probed", "#!/bin/true\n", 0755);
	write_file(host, "bin/kill", "#!/bin/true\n", 0755);
}

static void host_done(struct host *host)
{
	char *argv[] = {(char[]){"rm"}, (char[]){"-rf"}, (char[]){"--"}, host->path, NULL};
	pid_t pid = 0;

	strv_done(&host->names);
	if (posix_spawn(&pid, "/bin/rm", NULL, NULL, argv, environ) == 0)
		(void)waitpid(pid, NULL, 0);
}

static void add_unit(struct host *host, const char *name, const char *text)
{
	cleanup_free char *path = NULL;

	assert_int_equal(str_format(&path, UNITS "/%s", name), 0);
	write_file(host, path, text, 0644);
	assert_int_equal(strv_add(&host->names, name), 0);
}

/* What `systemd-analyze OPTIONS… --root=HOST UNIT…` prints; its exit status in *ret_status*. */
static char *analyze(const struct host *host, const char *const *options, int *ret_status)
{
	cleanup_strv struct strv argv = STRV_INIT;
	cleanup_free char *root = NULL;
	cleanup_fd int reader = -EBADF;
	posix_spawn_file_actions_t actions;
	char *output = NULL;
	size_t size = 0;
	int fds[2];
	pid_t pid = 0;

	assert_int_equal(str_format(&root, "--root=%s", host->path), 0);
	assert_int_equal(strv_add(&argv, "systemd-analyze"), 0);
	for (; *options; options++)
		assert_int_equal(strv_add(&argv, *options), 0);
	assert_int_equal(strv_add(&argv, root), 0);
	for (size_t i = 0; i < host->names.count; i++)
		assert_int_equal(strv_add(&argv, host->names.items[i]), 0);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	reader = fds[0];
	assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO), 0);
	assert_int_equal(posix_spawn_file_actions_adddup2(&actions, fds[1], STDERR_FILENO), 0);
	assert_int_equal(posix_spawnp(&pid, argv.items[0], &actions, NULL, argv.items, environ), 0);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)fd_close(fds[1]);
	assert_int_equal(fd_read_all(reader, OUTPUT_MAX, &output, &size), 0);
	assert_int_equal(waitpid(pid, ret_status, 0), pid);
	return output;
}

static char *verify(const struct host *host, int *ret_status)
{
	static const char *const options[] = {"verify", "--man=no", "--recursive-errors=no", NULL};

	return analyze(host, options, ret_status);
}

/* A unit per line of *lines*, each with what every unit of its type has. */
static void add_lines(struct host *host, const char *base, const char *section,
		      const char *const *lines, const char *suffix)
{
	for (; *lines; lines++) {
		cleanup_free char *name = NULL;
		cleanup_free char *text = NULL;

		assert_int_equal(
			str_format(&name, "affix-probe_u%zu.%s", host->names.count, suffix), 0);
		assert_int_equal(str_format(&text, "%s[%s]\n%s\n", base, section, *lines), 0);
		add_unit(host, name, text);
	}
}

static void systemd_loads_what_the_policy_accepts_without_a_word(void **state)
{
	CLEANUP(host_done) struct host host = {0};
	cleanup_free char *output = NULL;
	int status = 0;

	(void)state;
	host_make(&host);
	write_file(&host, UNITS "/affix-probe_scan.service", FIXTURE_SERVICE, 0644);
	add_lines(&host, FIXTURE_SERVICE, "Service", accepted_service_lines, "service");
	add_lines(&host, FIXTURE_SERVICE, "Unit", accepted_unit_lines, "service");
	add_lines(&host, FIXTURE_SERVICE, "Install", accepted_install_lines, "service");
	add_lines(&host, FIXTURE_TIMER "[Timer]\nUnit=affix-probe_scan.service\n", "Timer",
		  (const char *const[]){"Persistent=yes", NULL}, "timer");
	for (const char *const *line = accepted_timer_lines; *line; line++) {
		if (!strstr(*line, "Unit="))
			add_lines(&host, "[Timer]\nUnit=affix-probe_scan.service\n", "Timer",
				  (const char *const[]){*line, NULL}, "timer");
	}
	output = verify(&host, &status);
	assert_string_equal(output, "");
	assert_int_equal(status, 0);
}

static void systemd_complains_about_a_line_it_would_ignore(void **state)
{
	CLEANUP(host_done) struct host host = {0};
	cleanup_free char *output = NULL;
	int status = 0;

	(void)state;
	host_make(&host);
	add_unit(&host, "affix-probe.service", FIXTURE_SERVICE "[Service]\nTimeoutSec=soon\n");
	output = verify(&host, &status);
	assert_non_null(strstr(output, "Failed to parse"));
}

/* What the parser makes of a program's path, in a unit that is nothing else. */
static char *program_of(const char *text)
{
	cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
	cleanup_unit_file struct unit_file *unit = NULL;
	const char *value;
	char *word = NULL;

	assert_int_equal(unit_file_parse(text, strlen(text), "u", &unit, &diagnostics), 0);
	value = unit_file_get(unit, "Service", "ExecStart");
	assert_non_null(value);
	assert_int_equal(unit_word_next(&value, &word), 1);
	return word;
}

/* systemd names the program that is not there: a window on what it read. */
static void systemd_reads_the_same_program(void **state)
{
	static const char *const texts[] = {
		"[Service]\nExecStart=/none/a b\n",
		"[Service]\nExecStart = \t/none/b\t\n",
		"[Service]\nExecStart=/bin/kill\n[Unit]\n[Service]\nExecStart=\nExecStart=/none/c\n",
		"[Service]\nExecStart=\\\n/none/d\n",
		"[Service]\nExecStart=\\\n# ExecStart=/none/x\n  ; y\n/none/e\n",
		"[Service]\nDescription=\\\\\nExecStart=/none/f\n",
		"[Service]\nDescription=\\\\\\\nExecStart=/none/x\nExecStart=/none/g\n",
		"[Service]\nDescription=a\\\n\nExecStart=/none/h\n",
		"[Service]\n# comment \\\nExecStart=/none/i\n",
		"[Service]\nDescription=\\\n[Unit]\nExecStart=/none/j\n",
		"[Service]\nExecStart=\"/none/k l\"\n",
		"[Service]\nExecStart='/none/l'm\"n o\"\n",
		"[Service]\nExecStart=/none/\\x6d\\156\\u006f\n",
		"[Service]\nExecStart=/none/n#o;p\n",
		"[Service]\n[Unit]\nExecStart=/none/x\n[Service]\nExecStart=/none/o\n",
		"[Service]\nexecstart=/none/x\nExecStart =/none/p=q\n",
		"[Service]\nExecStart=/none/q\\\nr\n",
		" [Service] \n  ExecStart=/none/r\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		CLEANUP(host_done) struct host host = {0};
		cleanup_free char *program = program_of(texts[i]);
		cleanup_free char *expected = NULL;
		cleanup_free char *output = NULL;
		int status = 0;

		host_make(&host);
		add_unit(&host, "affix-probe.service", texts[i]);
		assert_int_equal(str_format(&expected, "Command %s is not executable", program), 0);
		output = verify(&host, &status);
		if (!strstr(output, expected))
			fail_msg("'%s' is '%s' here, but systemd says: %s", texts[i], program,
				 output);
	}
}

/* `systemd-analyze security` knows whether a service would run as root. */
static void systemd_reads_the_same_user(void **state)
{
	static const char *const options[] = {"security", "--offline=true", "--no-pager", NULL};

	static const struct {
		const char *lines;
		bool is_root;
	} cases[] = {
		{"User=affix-probe\n",                    false},
		{"User=root\nUser=affix-probe\n",         false},
		{"User=affix-probe\nUser=\n",             true },
		{"User=affix-probe\nUser=root\n",         true },
		{"Description=\\\nUser=affix-probe\n",    true },
		{"Description=\\\\\nUser=affix-probe\n",  false},
		{"# \\\nUser=affix-probe\n",              false},
		{"[Unit]\nUser=affix-probe\n",            true },
		{"user=affix-probe\n",                    true },
		{"[Unit]\n[Service]\nUser=affix-probe\n", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(host_done) struct host host = {0};
		cleanup_diagnostics struct diagnostics diagnostics = DIAGNOSTICS_INIT;
		cleanup_unit_file struct unit_file *unit = NULL;
		cleanup_free char *text = NULL;
		cleanup_free char *output = NULL;
		const char *user;
		int status = 0;

		host_make(&host);
		assert_int_equal(
			str_format(&text,
				   "[Service]\nExecStart=/opt/affix/probe/current/probed\n%s",
				   cases[i].lines),
			0);
		assert_int_equal(unit_file_parse(text, strlen(text), "u", &unit, &diagnostics), 0);
		user = unit_file_get(unit, "Service", "User");
		assert_int_equal(str_is_empty(user) || strcmp(user, "root") == 0, cases[i].is_root);
		add_unit(&host, "affix-probe.service", text);
		output = analyze(&host, options, &status);
		if (!!strstr(output, "Service runs as root user") != cases[i].is_root)
			fail_msg("'%s': systemd says: %s", cases[i].lines, output);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(systemd_loads_what_the_policy_accepts_without_a_word),
		cmocka_unit_test(systemd_complains_about_a_line_it_would_ignore),
		cmocka_unit_test(systemd_reads_the_same_program),
		cmocka_unit_test(systemd_reads_the_same_user),
	};

	if (access("/usr/bin/systemd-analyze", X_OK) != 0) {
		(void)fprintf(stderr, "skipped: systemd-analyze is not installed\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
