/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Validation in a child that can do nothing else. Schema and configuration come from outside, the
 * caller is root, and two parsers and a regular-expression engine stand between; so they run where
 * a bug in them is worth little: no descriptor but the socket, no privileges, and a seccomp filter
 * that leaves read, write and exit. (Strict mode was looked at: the kernel refuses it to a process
 * that has a filter, and systemd gives the updater several.) Everything that needs another system
 * call is done before: the heap is taken in one piece (malloc can neither grow it nor map more; to
 * need more is to be killed), hash tables are seeded, and qsort() has looked up the memory's size.
 *
 * All of that takes as long as the judging does, and needs neither text: who knows that there will
 * be something to judge starts the child before, and it gets ready on another processor.
 *
 * What comes back is a verdict and a sentence, untrusted: the sentence is escaped here, and a child
 * that says "valid" without reason gives away no more than the schema would have.
 *
 * The address sanitizer maps memory at will: builds with it have the limits and no filter.
 */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/reap.h"
#include "base/str.h"
#include "manifest/schema.h"

#define HEAP_SIZE    ((size_t)25 * 1024 * 1024)
#define STACK_SIZE   ((rlim_t)4 * 1024 * 1024)
#define CPU_SECONDS  2U
#define TIMEOUT_USEC (5U * CLOCK_USEC_PER_SEC)
#define ANSWER_MAX   1024U
#define NOBODY       65534U
#define ERRNO_MAX    4096
#define PRIME_ITEMS  256U
#define TOO_COMPLEX  ": could not be judged: too large or too complex for its schema"
#define SCHEMA_FILE  "schema"

#if defined(__SANITIZE_ADDRESS__)
#define HAS_FILTER false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_FILTER false
#endif
#endif
#ifndef HAS_FILTER
#define HAS_FILTER true
#endif

enum verdict {
	VERDICT_VALID = 'v',
	VERDICT_INVALID = 'i',
	VERDICT_BAD_SCHEMA = 's',
	VERDICT_BROKEN = 'b',
};

struct answer {
	enum verdict verdict;
	int error; /* of VERDICT_BROKEN */
	char text[ANSWER_MAX];
};

/* What the child is asked: this, the schema, the instance. */
struct question {
	size_t schema_size;
	size_t instance_size;
};

struct schema_judge {
	pid_t pid;
	int fd;
	uint64_t deadline; /* since it was asked */
};

static _Noreturn void leave(int code)
{
	for (;;)
		(void)syscall(SYS_exit_group, code);
}

static int compare_bytes(const void *a, const void *b)
{
	return *(const char *)a - *(const char *)b;
}

/* Everything that glibc and jansson do once and that needs system calls. */
static int prepare_memory(void)
{
	char items[PRIME_ITEMS * 8] = "";
	void *heap;

	/* NOLINTBEGIN(concurrency-mt-unsafe): a forked child has one thread */
	(void)mallopt(M_MMAP_MAX, 0);
	(void)mallopt(M_TOP_PAD, 0);
	(void)mallopt(M_TRIM_THRESHOLD, (int)(2 * HEAP_SIZE));
	/* NOLINTEND(concurrency-mt-unsafe) */
	heap = malloc(HEAP_SIZE);
	if (!heap)
		return -ENOMEM;
	/* Or the compiler drops the pair. */
	__asm__ volatile("" : : "r"(heap) : "memory");
	free(heap);
	json_object_seed(0);
	qsort(items, PRIME_ITEMS, 8, compare_bytes);
	return 0;
}

static int set_limit(__rlimit_resource_t resource, rlim_t value)
{
	const struct rlimit limit = {value, value};

	return setrlimit(resource, &limit) < 0 ? -errno : 0;
}

/* Ids may stay where the process may not change them: it had no power to lose then. */
static int drop_privileges(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (geteuid() == 0) {
		(void)syscall(SYS_setgroups, 0, NULL);
		(void)syscall(SYS_setresgid, NOBODY, NOBODY, NOBODY);
		(void)syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY);
	}
	if (syscall(SYS_capset, &header, none) < 0)
		return -errno;
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
}

/* No descriptor but *fd*, which becomes 0. */
static int drop_descriptors(int fd)
{
	if (fd != 0 && dup2(fd, 0) < 0)
		return -errno;
	return close_range(1, ~0U, 0) < 0 ? -errno : 0;
}

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

#define SKIP_UNLESS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip)
#define SKIP_IF(value, skip)     BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, skip, 0)
#define LOAD(member) \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, member))

static int forbid_system_calls(void)
{
	static struct sock_filter filter[] = {
		LOAD(arch),
		SKIP_UNLESS(ARCH, 5),
		LOAD(nr),
		SKIP_IF(SYS_read, 4),
		SKIP_IF(SYS_write, 3),
		SKIP_IF(SYS_exit_group, 2),
		SKIP_IF(SYS_rt_sigreturn, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {.len = ARRAY_SIZE(filter), .filter = filter};

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0 ? -errno : 0;
}

static int enter_isolation(int fd)
{
	int r = drop_descriptors(fd);

	if (r == 0)
		r = set_limit(RLIMIT_CPU, CPU_SECONDS);
	if (r == 0)
		r = set_limit(RLIMIT_CORE, 0);
	if (r == 0)
		r = set_limit(RLIMIT_STACK, STACK_SIZE);
	if (r == 0)
		r = prepare_memory();
	if (r == 0)
		r = drop_privileges();
	/* Behind the change of ids, which would undo it. */
	if (r == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		r = -errno;
	if (r == 0 && HAS_FILTER)
		r = forbid_system_calls();
	return r;
}

static void answer_set(struct answer *answer, enum verdict verdict, const char *text)
{
	answer->verdict = verdict;
	(void)snprintf(answer->text, sizeof(answer->text), "%s", text);
}

/* What happens inside: parse both, validate. */
static int reach_verdict(const struct question *question, const char *schema_text,
			 const char *instance_text, struct answer *answer)
{
	cleanup_diagnostics struct diagnostics problems = DIAGNOSTICS_INIT;
	cleanup_schema struct schema *schema = NULL;
	cleanup_json json_t *instance = NULL;
	struct json_problem problem = {0};
	int r;

	r = schema_parse(schema_text, question->schema_size, SCHEMA_FILE, &schema, &problems);
	if (r > 0) {
		struct refusal refusal = REFUSAL_INIT;

		r = diagnostics_refuse(&problems, &refusal);
		answer_set(answer, VERDICT_BAD_SCHEMA, refusal.text);
	}
	if (r != 0)
		return r;
	r = json_parse_object(instance_text, question->instance_size, &instance, &problem);
	if (r > 0) {
		(void)snprintf(answer->text, sizeof(answer->text), ": is not JSON: %s",
			       problem.text);
		answer->verdict = VERDICT_INVALID;
	}
	if (r != 0)
		return r;
	answer->verdict = VERDICT_VALID;
	r = schema_validate(schema, instance, answer->text, sizeof(answer->text));
	if (r > 0)
		answer->verdict = VERDICT_INVALID;
	return r;
}

/* Nobody asks any more: there is nothing left to do. */
static void read_or_leave(void *data, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = read(0, (char *)data + done, size - done);

		if (n <= 0)
			leave(1);
		done += (size_t)n;
	}
}

static int hear_and_judge(struct answer *answer)
{
	cleanup_free char *schema = NULL;
	cleanup_free char *instance = NULL;
	struct question question;

	read_or_leave(&question, sizeof(question));
	schema = malloc(question.schema_size + 1);
	instance = malloc(question.instance_size + 1);
	if (!schema || !instance)
		return -ENOMEM;
	read_or_leave(schema, question.schema_size);
	read_or_leave(instance, question.instance_size);
	schema[question.schema_size] = '\0';
	instance[question.instance_size] = '\0';
	return reach_verdict(&question, schema, instance, answer);
}

static _Noreturn void child(int fd)
{
	struct answer answer = {0};
	int r = enter_isolation(fd);

	if (r == 0)
		r = hear_and_judge(&answer);
	if (r < 0) {
		answer.verdict = VERDICT_BROKEN;
		answer.error = r;
	}
	leave(write(0, &answer, sizeof(answer)) == (ssize_t)sizeof(answer) ? 0 : 1);
}

/* Waits until *fd* is ready for *events*; false once the deadline is over. */
static bool await(int fd, short events, uint64_t deadline)
{
	struct pollfd waiting = {.fd = fd, .events = events};

	for (;;) {
		uint64_t now = clock_monotonic_usec();

		if (now >= deadline)
			return false;
		if (poll(&waiting, 1, (int)((deadline - now) / CLOCK_USEC_PER_MSEC) + 1) > 0)
			return true;
	}
}

/* A child that does not listen any more has said why, or was killed. */
static void tell(int fd, const void *data, size_t size, uint64_t deadline)
{
	size_t done = 0;

	while (done < size && await(fd, POLLOUT, deadline)) {
		ssize_t n = send(fd, (const char *)data + done, size - done,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return;
		done += n > 0 ? (size_t)n : 0;
	}
}

/* Reads the answer; *ret_size* is what came before the end or the deadline. */
static int read_answer(int fd, struct answer *answer, uint64_t deadline, size_t *ret_size)
{
	size_t size = 0;

	while (size < sizeof(*answer) && await(fd, POLLIN, deadline)) {
		ssize_t n = read(fd, (char *)answer + size, sizeof(*answer) - size);

		if (n < 0 && errno != EINTR && errno != ECONNRESET)
			return -errno;
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			break;
		size += n > 0 ? (size_t)n : 0;
	}
	*ret_size = size;
	return 0;
}

static int say(const char *text, char *reterr, size_t size)
{
	cleanup_free char *shown = str_escape(text, strnlen(text, ANSWER_MAX - 1), ANSWER_MAX);

	if (!shown)
		return -ENOMEM;
	(void)snprintf(reterr, size, "%s", shown);
	return 0;
}

static int conclude(const struct answer *answer, size_t answer_size, char *reterr, size_t size)
{
	int r;

	if (answer_size != sizeof(*answer)) {
		r = say(TOO_COMPLEX, reterr, size);
		return r < 0 ? r : 1;
	}
	switch (answer->verdict) {
	case VERDICT_VALID:
		return 0;
	case VERDICT_INVALID:
		r = say(answer->text, reterr, size);
		return r < 0 ? r : 1;
	case VERDICT_BAD_SCHEMA:
		r = say(answer->text, reterr, size);
		return r < 0 ? r : 2;
	case VERDICT_BROKEN:
		return answer->error < 0 && answer->error > -ERRNO_MAX ? answer->error : -EIO;
	default:
		return -EIO;
	}
}

int schema_judge_start(struct schema_judge **ret)
{
	cleanup_free struct schema_judge *judge = malloc(sizeof(*judge));
	cleanup_fd int theirs = -EBADF;
	cleanup_fd int ours = -EBADF;
	int ends[2];
	pid_t pid;

	if (!judge)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	ours = ends[0];
	theirs = ends[1];
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		child(theirs);
	*judge = (struct schema_judge){.pid = pid, .fd = TAKE_FD(ours)};
	*ret = TAKE_PTR(judge);
	return 0;
}

void schema_judge_ask(struct schema_judge *judge, const char *schema_text, size_t schema_size,
		      const char *instance_text, size_t instance_size)
{
	const struct question question = {schema_size, instance_size};

	assert(judge);
	judge->deadline = clock_monotonic_usec() + TIMEOUT_USEC;
	tell(judge->fd, &question, sizeof(question), judge->deadline);
	tell(judge->fd, schema_text, schema_size, judge->deadline);
	tell(judge->fd, instance_text, instance_size, judge->deadline);
}

int schema_judge_hear(struct schema_judge *judge, char *reterr, size_t size)
{
	struct answer answer = {0};
	size_t answer_size = 0;
	int r = read_answer(judge->fd, &answer, judge->deadline, &answer_size);

	return r < 0 ? r : conclude(&answer, answer_size, reterr, size);
}

struct schema_judge *schema_judge_end(struct schema_judge *judge)
{
	if (!judge)
		return NULL;
	(void)fd_close(judge->fd);
	ignore_result(reap_child(judge->pid, 0, NULL));
	free(judge);
	return NULL;
}

int schema_validate_isolated(const char *schema_text, size_t schema_size, const char *instance_text,
			     size_t instance_size, char *reterr, size_t size)
{
	cleanup_schema_judge struct schema_judge *judge = NULL;
	int r = schema_judge_start(&judge);

	if (r != 0)
		return r;
	schema_judge_ask(judge, schema_text, schema_size, instance_text, instance_size);
	return schema_judge_hear(judge, reterr, size);
}
