/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Validation in a child that can do nothing else. Schema and configuration come from outside, the
 * caller is root, and two parsers and a regular-expression engine stand between; so they run where
 * a bug in them is worth little: no descriptor but the pipe, no privileges, and a seccomp filter
 * that leaves write and exit. (Strict mode was looked at: the kernel refuses it to a process that
 * has a filter, and systemd gives the updater several.) Everything that needs another system call
 * is done before: the heap is taken in one piece (malloc can neither grow it nor map more; to need
 * more is to be killed), hash tables are seeded, and qsort() has looked up the memory's size.
 *
 * What comes back is a verdict and a sentence, untrusted: the sentence is escaped here, and a child
 * that says "valid" without reason gives away no more than the schema would have.
 *
 * The address sanitizer maps memory at will: builds with it have the limits and no filter.
 */

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
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "manifest/schema.h"

#define HEAP_SIZE    ((size_t)24 * 1024 * 1024)
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

struct texts {
	const char *schema;
	size_t schema_size;
	const char *instance;
	size_t instance_size;
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
		SKIP_UNLESS(ARCH, 4),
		LOAD(nr),
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
static int judge(const struct texts *texts, struct answer *answer)
{
	cleanup_diagnostics struct diagnostics problems = DIAGNOSTICS_INIT;
	cleanup_schema struct schema *schema = NULL;
	cleanup_json json_t *instance = NULL;
	struct json_problem problem = {0};
	int r;

	r = schema_parse(texts->schema, texts->schema_size, SCHEMA_FILE, &schema, &problems);
	if (r > 0) {
		struct refusal refusal = REFUSAL_INIT;

		r = diagnostics_refuse(&problems, &refusal);
		answer_set(answer, VERDICT_BAD_SCHEMA, refusal.text);
	}
	if (r != 0)
		return r;
	r = json_parse_object(texts->instance, texts->instance_size, &instance, &problem);
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

static _Noreturn void child(int fd, const struct texts *texts)
{
	struct answer answer = {0};
	int r = enter_isolation(fd);

	if (r == 0)
		r = judge(texts, &answer);
	if (r < 0) {
		answer.verdict = VERDICT_BROKEN;
		answer.error = r;
	}
	leave(write(0, &answer, sizeof(answer)) == (ssize_t)sizeof(answer) ? 0 : 1);
}

/* Reads the answer; *ret_size* is what came before the end or the deadline. */
static int read_answer(int fd, struct answer *answer, size_t *ret_size)
{
	uint64_t deadline = clock_monotonic_usec() + TIMEOUT_USEC;
	size_t size = 0;

	while (size < sizeof(*answer)) {
		struct pollfd waiting = {.fd = fd, .events = POLLIN};
		uint64_t now = clock_monotonic_usec();
		ssize_t n;

		if (now >= deadline)
			break;
		if (poll(&waiting, 1, (int)((deadline - now) / CLOCK_USEC_PER_MSEC) + 1) <= 0)
			continue;
		n = read(fd, (char *)answer + size, sizeof(*answer) - size);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
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

static void end_child(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

int schema_validate_isolated(const char *schema_text, size_t schema_size, const char *instance_text,
			     size_t instance_size, char *reterr, size_t size)
{
	const struct texts texts = {schema_text, schema_size, instance_text, instance_size};
	struct answer answer = {0};
	cleanup_fd int reading = -EBADF;
	cleanup_fd int writing = -EBADF;
	size_t answer_size = 0;
	int ends[2];
	pid_t pid;
	int r;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	reading = ends[0];
	writing = ends[1];
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		child(writing, &texts);
	/* NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores): its cleanup reads it */
	writing = fd_close(writing);
	r = read_answer(reading, &answer, &answer_size);
	end_child(pid);
	return r < 0 ? r : conclude(&answer, answer_size, reterr, size);
}
