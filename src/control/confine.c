/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A front runs as the user that owns the database, beside the process that keeps it. What divides
 * the two is not the user but this: Landlock for files, because paths are its business, and seccomp
 * for the rest. Calls that are not allowed fail; they do not kill, so that a library which only
 * tries something goes on without it.
 */

#include "control/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"

#if defined(__x86_64__)
#define CONFINE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define CONFINE_ARCH AUDIT_ARCH_AARCH64
#else
#error "the system calls of this machine are not known"
#endif

/* Every right over files that the first version of Landlock knows. */
#define FILES_ALL ((1ULL << 13) - 1)
/* Since its second and third: linux/landlock.h may be older. */
#define FILES_REFER            (1ULL << 13)
#define FILES_REFER_VERSION    2
#define FILES_TRUNCATE         (1ULL << 14)
#define FILES_TRUNCATE_VERSION 3
#define FILES_READ             (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FILES_KEEP                                                                  \
	(FILES_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | \
	 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | FILES_REFER)

static int allow_below(int ruleset, int directory, uint64_t rights)
{
	const struct landlock_path_beneath_attr rule = {.allowed_access = rights,
							.parent_fd = directory};

	return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0
		       ? -errno
		       : 0;
}

static int confine_files(int artifacts_fd, int incoming_fd, bool *ret_has_files)
{
	struct landlock_ruleset_attr rules = {.handled_access_fs = FILES_ALL};
	cleanup_fd int ruleset = -EBADF;
	long version;
	int r;

	version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	*ret_has_files = version > 0;
	if (version <= 0)
		return 0;
	if (version >= FILES_TRUNCATE_VERSION)
		rules.handled_access_fs |= FILES_TRUNCATE;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules), 0);
	if (ruleset < 0)
		return -errno;
	r = allow_below(ruleset, artifacts_fd, LANDLOCK_ACCESS_FS_READ_FILE);
	if (r == 0)
		r = allow_below(ruleset, incoming_fd,
				LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |
					LANDLOCK_ACCESS_FS_REMOVE_FILE);
	if (r < 0)
		return r;
	return syscall(SYS_landlock_restrict_self, ruleset, 0) < 0 ? -errno : 0;
}

static int allow_path(int ruleset, const char *path)
{
	cleanup_fd int fd = open(path, O_PATH | O_CLOEXEC);
	struct stat st;

	/* What is not there is not needed. */
	if (fd < 0 || fstat(fd, &st) < 0)
		return 0;
	return allow_below(ruleset, fd,
			   S_ISDIR(st.st_mode) ? FILES_READ : LANDLOCK_ACCESS_FS_READ_FILE);
}

/* What of the system TLS and the resolving of names read, links followed. Not all of /etc and /run:
 * affixd's own key is there and belongs to the same user. */
static int allow_system(int ruleset, const char *auth_file, const char *ca_file)
{
	static const char *const paths[] = {
		"/usr",
		"/lib",
		"/lib64",
		"/etc/ca-certificates",
		"/etc/crypto-policies",
		"/etc/gai.conf",
		"/etc/host.conf",
		"/etc/hosts",
		"/etc/ld.so.cache",
		"/etc/localtime",
		"/etc/nsswitch.conf",
		"/etc/pki/ca-trust",
		"/etc/pki/tls/cert.pem",
		"/etc/pki/tls/certs",
		"/etc/pki/tls/openssl.cnf",
		"/etc/protocols",
		"/etc/resolv.conf",
		"/etc/services",
		"/etc/ssl/ca-bundle.pem",
		"/etc/ssl/cert.pem",
		"/etc/ssl/certs",
		"/etc/ssl/openssl.cnf",
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(paths) && r == 0; i++)
		r = allow_path(ruleset, paths[i]);
	if (r == 0 && auth_file)
		r = allow_path(ruleset, auth_file);
	if (r == 0 && ca_file)
		r = allow_path(ruleset, ca_file);
	return r;
}

static int confine_puller_files(int cache_fd, int incoming_fd, const char *auth_file,
				const char *ca_file, bool *ret_has_files)
{
	struct landlock_ruleset_attr rules = {.handled_access_fs = FILES_ALL | FILES_REFER};
	cleanup_fd int ruleset = -EBADF;
	uint64_t keep = FILES_KEEP;
	long version;
	int r;

	version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	/* Files move from one directory to another here, which the first version knows not of. */
	*ret_has_files = version >= FILES_REFER_VERSION;
	if (!*ret_has_files)
		return 0;
	if (version >= FILES_TRUNCATE_VERSION) {
		rules.handled_access_fs |= FILES_TRUNCATE;
		keep |= FILES_TRUNCATE;
	}
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules), 0);
	if (ruleset < 0)
		return -errno;
	r = allow_below(ruleset, cache_fd, keep);
	if (r == 0)
		r = allow_below(ruleset, incoming_fd, keep);
	if (r == 0)
		r = allow_system(ruleset, auth_file, ca_file);
	if (r < 0)
		return r;
	return syscall(SYS_landlock_restrict_self, ruleset, 0) < 0 ? -errno : 0;
}

/* Skips the next statement unless the number in the accumulator is *call*. */
#define REFUSE(call)                                                 \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)(call), 0, 1), \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)

#define LOAD(member) \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, member))

#define REFUSE_AS_UNKNOWN(call)                                      \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)(call), 0, 1), \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS)

/* Allows *call* where the first argument, of 32 bits, is *value* (BPF_JEQ) or has the bits of it
 * (BPF_JSET), refuses it otherwise, and goes on with any other call. */
#define ALLOW_WITH(call, comparison, value)                                      \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)(call), 0, 4), LOAD(args), \
		BPF_JUMP(BPF_JMP | (comparison) | BPF_K, value, 0, 1),           \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),                    \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "LOAD() of an argument takes its first half"
#endif

/* Of this machine, and what neither of the two has a use for. abort() signals itself. */
#define FILTER_COMMON(own)                                                                        \
	LOAD(arch), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CONFINE_ARCH, 1, 0),                      \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS), LOAD(nr),                    \
		FILTER_MACHINE REFUSE(SYS_execve), REFUSE(SYS_execveat), REFUSE(SYS_ptrace),      \
		REFUSE(SYS_process_vm_readv), REFUSE(SYS_process_vm_writev),                      \
		REFUSE(SYS_pidfd_open), REFUSE(SYS_pidfd_getfd), REFUSE(SYS_pidfd_send_signal),   \
		REFUSE(SYS_kill), REFUSE(SYS_tkill), REFUSE(SYS_rt_sigqueueinfo),                 \
		REFUSE(SYS_rt_tgsigqueueinfo), ALLOW_WITH(SYS_tgkill, BPF_JEQ, own),              \
		ALLOW_WITH(SYS_prlimit64, BPF_JEQ, 0), REFUSE(SYS_bpf),                           \
		REFUSE(SYS_perf_event_open), REFUSE(SYS_userfaultfd), REFUSE(SYS_io_uring_setup), \
		REFUSE(SYS_keyctl), REFUSE(SYS_add_key), REFUSE(SYS_request_key),                 \
		REFUSE(SYS_unshare), REFUSE(SYS_setns), REFUSE(SYS_mount),                        \
		REFUSE(SYS_open_by_handle_at), REFUSE(SYS_shmget), REFUSE(SYS_msgget)

#if defined(__x86_64__)
/* The other numbering of the same machine. */
#define FILTER_MACHINE                                                                  \
	BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000U, 0, 1),                         \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM), REFUSE(SYS_fork), \
		REFUSE(SYS_vfork),
#else
#define FILTER_MACHINE
#endif

static int confine_calls(const struct sock_filter *statements, size_t count)
{
	const struct sock_fprog program = {(unsigned short)count, (struct sock_filter *)statements};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0)
		return -errno;
	return 0;
}

static int confine_front_calls(void)
{
	const struct sock_filter statements[] = {
		FILTER_COMMON((unsigned)getpid()),
		REFUSE(SYS_clone),
		REFUSE(SYS_clone3),
		REFUSE(SYS_socket),
		REFUSE(SYS_socketpair),
		REFUSE(SYS_connect),
		REFUSE(SYS_bind),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	return confine_calls(statements, ARRAY_SIZE(statements));
}

/* Threads it may make, but no process, which would outlive what ends this one. clone3() hides its
 * flags behind a pointer; without it glibc takes clone(). */
static int confine_puller_calls(void)
{
	const struct sock_filter statements[] = {
		FILTER_COMMON((unsigned)getpid()),
		ALLOW_WITH(SYS_clone, BPF_JSET, CLONE_THREAD),
		REFUSE_AS_UNKNOWN(SYS_clone3),
		REFUSE(SYS_listen),
		REFUSE(SYS_accept),
		REFUSE(SYS_accept4),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	return confine_calls(statements, ARRAY_SIZE(statements));
}

int confine(int artifacts_fd, int incoming_fd, bool *ret_has_files)
{
	int r;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	r = confine_files(artifacts_fd, incoming_fd, ret_has_files);
	return r == 0 ? confine_front_calls() : r;
}

int confine_puller(int cache_fd, int incoming_fd, const char *auth_file, const char *ca_file,
		   bool *ret_has_files)
{
	int r;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	r = confine_puller_files(cache_fd, incoming_fd, auth_file, ca_file, ret_has_files);
	return r == 0 ? confine_puller_calls() : r;
}
