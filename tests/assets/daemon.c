/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A daemon that misbehaves as told: what tests put into bundles. It needs libc only. Its options,
 * one per row of `options[]`, come from three places, the later one wins:
 *
 *  1. a line behind its own executable, "affix-test-daemon VERSION [--option [VALUE]]…": one
 * binary becomes many versions, good and broken, by appending a line to copies of it;
 *  2. the credential `config` (or --config FILE): a flat JSON object of options without their
 *     dashes, {"die-after": 500, "notify": true}; keys that are no options are left alone;
 *  3. its arguments.
 *
 * Without any it runs for ever, and ends on SIGTERM.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <linux/capability.h>

#define MARK         "affix-test-daemon "
#define TEXT_MAX     4096U
#define CONFIG_MAX   (256UL * 1024)
#define WORDS_MAX    64
#define NEVER        (-1L)
#define MS_PER_SEC   1000L
#define NS_PER_MS    1000000L
#define EXIT_MISUSED 64

enum kind {
	KIND_FLAG,
	KIND_NUMBER,
	KIND_TEXT,
};

/* Times are milliseconds after the start; NEVER: not at all. */
static struct {
	bool print_version;
	char version[64];
	char config[TEXT_MAX];
	long die_after;
	long exit_code;
	long die_signal;
	long fork_away_after;
	long notify_after;
	bool fork_away;
	bool notify;
	char listen[TEXT_MAX];
	long listen_after;
	bool is_seqpacket;
	long hang_after;
	long close_after;
	long stop_delay;
	bool ignore_term;
	char write[TEXT_MAX];
	char tag[64];
	char need_file[TEXT_MAX];
	char exec[TEXT_MAX];
	bool drop_capabilities;
	long allocate_mib;
	char log[TEXT_MAX];
	long log_lines;
} options_now = {
	.version = "0",
	.die_after = NEVER,
	.die_signal = 0,
	.exit_code = 1,
	.fork_away_after = NEVER,
	.notify_after = NEVER,
	.listen_after = 0,
	.hang_after = NEVER,
	.close_after = NEVER,
	.tag = "-",
	.log_lines = 1,
};

static const struct option {
	const char *name;
	enum kind kind;
	void *place;
	size_t size; /* of a text's place */
} options[] = {
  /* Prints the version and exits 0. */
	{"version",           KIND_FLAG,   &options_now.print_version,     0                            },
	{"config",            KIND_TEXT,   options_now.config,             sizeof(options_now.config)   },
 /* Ends with --exit (1), or by --signal. */
	{"die-after",         KIND_NUMBER, &options_now.die_after,         0                            },
	{"exit",              KIND_NUMBER, &options_now.exit_code,         0                            },
	{"signal",            KIND_NUMBER, &options_now.die_signal,        0                            },
 /* A child goes on, the main process exits 0. */
	{"fork-away",         KIND_FLAG,   &options_now.fork_away,         0                            },
	{"fork-away-after",   KIND_NUMBER, &options_now.fork_away_after,   0                            },
 /* READY=1, at once or later. */
	{"notify",            KIND_FLAG,   &options_now.notify,            0                            },
	{"notify-after",      KIND_NUMBER, &options_now.notify_after,      0                            },
 /* A socket that answers every connection with the version. */
	{"listen",            KIND_TEXT,   options_now.listen,             sizeof(options_now.listen)   },
	{"listen-after",      KIND_NUMBER, &options_now.listen_after,      0                            },
	{"seqpacket",         KIND_FLAG,   &options_now.is_seqpacket,      0                            },
 /* Never accepts again, the socket stays; or closes and removes it. */
	{"hang-after",        KIND_NUMBER, &options_now.hang_after,        0                            },
	{"close-after",       KIND_NUMBER, &options_now.close_after,       0                            },
 /* Takes so long to stop on SIGTERM, or does not. */
	{"stop-delay",        KIND_NUMBER, &options_now.stop_delay,        0                            },
	{"ignore-term",       KIND_FLAG,   &options_now.ignore_term,       0                            },
 /* Appends "start|stop VERSION TAG PID" to a file. */
	{"write",             KIND_TEXT,   options_now.write,              sizeof(options_now.write)    },
	{"tag",               KIND_TEXT,   options_now.tag,                sizeof(options_now.tag)      },
 /* Ends with --exit at the start unless the file is there. */
	{"need-file",         KIND_TEXT,   options_now.need_file,          sizeof(options_now.need_file)},
 /* Becomes another program. */
	{"exec",              KIND_TEXT,   options_now.exec,               sizeof(options_now.exec)     },
	{"drop-capabilities", KIND_FLAG,   &options_now.drop_capabilities, 0                            },
	{"allocate-mib",      KIND_NUMBER, &options_now.allocate_mib,      0                            },
 /* A text on stdout, --log-lines times, the number in front. */
	{"log",               KIND_TEXT,   options_now.log,                sizeof(options_now.log)      },
	{"log-lines",         KIND_NUMBER, &options_now.log_lines,         0                            },
};

#define OPTION_N (sizeof(options) / sizeof(options[0]))

static volatile sig_atomic_t is_terminated;

static void on_term(int signal_number)
{
	(void)signal_number;
	is_terminated = 1;
}

__attribute__((noreturn, format(printf, 1, 2))) static void misused(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vfprintf(stderr, format, arguments);
	va_end(arguments);
	(void)fputc('\n', stderr);
	exit(EXIT_MISUSED);
}

static const struct option *option_find(const char *name, size_t length)
{
	for (size_t i = 0; i < OPTION_N; i++) {
		if (strlen(options[i].name) == length &&
		    strncmp(options[i].name, name, length) == 0)
			return &options[i];
	}
	return NULL;
}

static void option_set(const struct option *option, const char *value)
{
	char *end = NULL;

	switch (option->kind) {
	case KIND_FLAG:
		*(bool *)option->place = strcmp(value, "false") != 0;
		break;
	case KIND_NUMBER:
		*(long *)option->place = strtol(value, &end, 10);
		if (end == value || *end)
			misused("--%s: '%s' is no number", option->name, value);
		break;
	case KIND_TEXT:
		if (strlen(value) >= option->size)
			misused("--%s: too long", option->name);
		(void)snprintf(option->place, option->size, "%s", value);
		break;
	}
}

static void options_from_words(int count, char *const *words)
{
	for (int i = 0; i < count; i++) {
		const struct option *option = NULL;

		if (strncmp(words[i], "--", 2) == 0)
			option = option_find(words[i] + 2, strlen(words[i] + 2));
		if (!option)
			misused("'%s' is no option", words[i]);
		if (option->kind == KIND_FLAG) {
			option_set(option, "true");
			continue;
		}
		if (++i == count)
			misused("--%s needs a value", option->name);
		option_set(option, words[i]);
	}
}

/* What a test wrote behind our ELF image. */
static void options_from_executable(void)
{
	static char tail[TEXT_MAX + 1];
	char *words[WORDS_MAX];
	char *rest = NULL;
	int count = 0;
	ssize_t n;
	int fd;

	fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)lseek(fd, -(off_t)TEXT_MAX, SEEK_END);
	n = read(fd, tail, TEXT_MAX);
	(void)close(fd);
	if (n <= 0 || tail[n - 1] != '\n')
		return;
	tail[n - 1] = '\0';
	for (char *at = tail; at; at = memmem(at, (size_t)(tail + n - at), MARK, strlen(MARK)))
		rest = at++;
	if (strncmp(rest, MARK, strlen(MARK)) != 0)
		return;
	while (rest && count < WORDS_MAX)
		words[count++] = strsep(&rest, " ");
	if (count < 2)
		return;
	(void)snprintf(options_now.version, sizeof(options_now.version), "%s", words[1]);
	options_from_words(count - 2, words + 2);
}

/* One value of a flat object; *ret_after* is behind it. */
static bool json_value(const char *at, char value[TEXT_MAX], const char **ret_after)
{
	size_t length = 0;

	if (*at == '{' || *at == '[')
		return false;
	if (*at == '"') {
		for (at++; *at && *at != '"' && length < TEXT_MAX - 1; at++) {
			if (*at == '\\' && at[1])
				at++;
			value[length++] = *at;
		}
		at += *at == '"';
	} else {
		length = strcspn(at, ",} \t\r\n");
		if (length >= TEXT_MAX)
			return false;
		(void)memcpy(value, at, length);
		at += length;
	}
	value[length] = '\0';
	*ret_after = at;
	return true;
}

/* Reads until the first thing that is not flat: options are for tests, not for the world. */
static void options_from_json(const char *text)
{
	static const char blank[] = " \t\r\n,{";
	char value[TEXT_MAX];

	for (const char *at = text + strspn(text, blank); *at == '"'; at += strspn(at, blank)) {
		const char *name = at + 1;
		size_t length = strcspn(name, "\"");
		const struct option *option = option_find(name, length);

		at = name + length;
		at += *at == '"';
		at += strspn(at, " \t\r\n:");
		if (!json_value(at, value, &at))
			return;
		if (option)
			option_set(option, value);
	}
}

static void options_from_config(void)
{
	const char *directory = getenv("CREDENTIALS_DIRECTORY");
	static char text[CONFIG_MAX + 1];
	size_t size;
	FILE *file;

	if (!options_now.config[0] && directory)
		(void)snprintf(options_now.config, sizeof(options_now.config), "%s/config",
			       directory);
	if (!options_now.config[0])
		return;
	file = fopen(options_now.config, "re");
	if (!file)
		return;
	size = fread(text, 1, CONFIG_MAX, file);
	(void)fclose(file);
	text[size] = '\0';
	(void)printf("config: %s\n", text);
	options_from_json(text);
}

static long now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * MS_PER_SEC + ts.tv_nsec / NS_PER_MS;
}

static void sleep_ms(long ms)
{
	struct timespec ts = {.tv_sec = ms / MS_PER_SEC, .tv_nsec = ms % MS_PER_SEC * NS_PER_MS};

	while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
		;
}

static void trace(const char *what)
{
	char line[256];
	int length;
	int fd;

	if (!options_now.write[0])
		return;
	length = snprintf(line, sizeof(line), "%s %s %s %d\n", what, options_now.version,
			  options_now.tag, (int)getpid());
	fd = open(options_now.write, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, line, (size_t)length) != length)
		misused("%s: %s", options_now.write, strerror(errno));
	(void)close(fd);
}

static void notify_ready(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t length;
	int fd;

	if (!path || strlen(path) >= sizeof(address.sun_path))
		return;
	(void)memcpy(address.sun_path, path, strlen(path));
	if (address.sun_path[0] == '@')
		address.sun_path[0] = '\0';
	length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 &&
	    sendto(fd, "READY=1", 7, MSG_NOSIGNAL, (struct sockaddr *)&address, length) < 0)
		perror("READY=1");
	if (fd >= 0)
		(void)close(fd);
}

static int listen_start(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int type = options_now.is_seqpacket ? SOCK_SEQPACKET : SOCK_STREAM;
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (strlen(options_now.listen) >= sizeof(address.sun_path))
		misused("--listen: too long");
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%.107s", options_now.listen);
	(void)unlink(options_now.listen);
	(void)umask(0007);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 16) < 0)
		misused("%s: %s", options_now.listen, strerror(errno));
	return fd;
}

static void answer(int listen_fd)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	(void)send(fd, options_now.version, strlen(options_now.version), MSG_NOSIGNAL);
	(void)close(fd);
}

static void fork_away(void)
{
	pid_t child = fork();

	if (child < 0)
		misused("fork: %s", strerror(errno));
	if (child > 0)
		_exit(0);
}

static void drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}};

	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &header, data) < 0)
		misused("capset: %s", strerror(errno));
}

static void allocate(long mib)
{
	size_t size = (size_t)mib << 20;
	char *data = malloc(size);

	if (!data)
		misused("--allocate-mib: no memory");
	for (size_t i = 0; i < size; i += 4096)
		((volatile char *)data)[i] = 1;
}

__attribute__((noreturn)) static void die(void)
{
	trace("die");
	if (options_now.die_signal > 0) {
		(void)signal((int)options_now.die_signal, SIG_DFL);
		(void)raise((int)options_now.die_signal);
	}
	_exit((int)options_now.exit_code);
}

static void setup(void)
{
	struct sigaction action = {.sa_handler = on_term};
	sigset_t term;

	if (options_now.ignore_term)
		action.sa_handler = SIG_IGN;
	(void)sigaction(SIGTERM, &action, NULL);
	/* It comes through in ppoll() only, so that none is missed before it. */
	(void)sigemptyset(&term);
	(void)sigaddset(&term, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &term, NULL);
	trace("start");
	for (long i = 0; options_now.log[0] && i < options_now.log_lines; i++)
		(void)printf("%ld %s\n", i, options_now.log);
	(void)fflush(stdout);
	if (options_now.need_file[0] && faccessat(AT_FDCWD, options_now.need_file, F_OK, 0) < 0) {
		(void)fprintf(stderr, "'%s' is not there\n", options_now.need_file);
		die();
	}
	if (options_now.drop_capabilities)
		drop_capabilities();
	if (options_now.allocate_mib > 0)
		allocate(options_now.allocate_mib);
	if (options_now.exec[0]) {
		(void)execl(options_now.exec, options_now.exec, "infinity", (char *)NULL);
		misused("%s: %s", options_now.exec, strerror(errno));
	}
	if (options_now.fork_away)
		options_now.fork_away_after = 0;
	if (options_now.notify)
		options_now.notify_after = 0;
	if (!options_now.listen[0])
		options_now.listen_after = NEVER;
}

/* Whether its time has come; then it is forgotten. */
static bool is_due(long *when, long passed)
{
	if (*when == NEVER || passed < *when)
		return false;
	*when = NEVER;
	return true;
}

static struct timespec *next_wait(long passed, struct timespec *place)
{
	const long times[] = {options_now.die_after,    options_now.fork_away_after,
			      options_now.notify_after, options_now.listen_after,
			      options_now.hang_after,   options_now.close_after};
	long next = NEVER;

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		if (times[i] != NEVER && (next == NEVER || times[i] < next))
			next = times[i];
	}
	if (next == NEVER)
		return NULL;
	next = next > passed ? next - passed : 0;
	*place = (struct timespec){next / MS_PER_SEC, next % MS_PER_SEC * NS_PER_MS};
	return place;
}

static void serve(void)
{
	struct pollfd poll_fd = {.fd = -1, .events = POLLIN};
	struct timespec wait;
	long start = now_ms();
	sigset_t none;

	(void)sigemptyset(&none);
	while (!is_terminated) {
		long passed = now_ms() - start;

		/* In the order in which a daemon starts: what is due together happens so. */
		if (is_due(&options_now.listen_after, passed))
			poll_fd.fd = listen_start();
		if (is_due(&options_now.notify_after, passed))
			notify_ready();
		if (is_due(&options_now.fork_away_after, passed))
			fork_away();
		if (is_due(&options_now.hang_after, passed))
			poll_fd.fd = -1;
		if (is_due(&options_now.close_after, passed)) {
			(void)close(poll_fd.fd);
			(void)unlink(options_now.listen);
			poll_fd.fd = -1;
		}
		if (is_due(&options_now.die_after, passed))
			die();
		if (ppoll(&poll_fd, 1, next_wait(now_ms() - start, &wait), &none) > 0)
			answer(poll_fd.fd);
	}
}

int main(int argc, char **argv)
{
	options_from_executable();
	for (int i = 1; i + 1 < argc; i++) {
		if (strcmp(argv[i], "--config") == 0)
			option_set(option_find("config", strlen("config")), argv[i + 1]);
	}
	options_from_config();
	options_from_words(argc - 1, argv + 1);
	if (options_now.print_version) {
		(void)printf("affix-test-daemon %s\n", options_now.version);
		return 0;
	}
	setup();
	serve();
	sleep_ms(options_now.stop_delay);
	trace("stop");
	return 0;
}
