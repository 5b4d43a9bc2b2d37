#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Scratch hosts: real Debian trees that boot a real systemd, for Python and for shell tests.

A host is a directory (copied from scratch-root) that systemd-nspawn boots with a network of its own
in which there is only loopback. Python:

    with host.Host() as h:               # the tree is there, nothing runs
        h.install()                      # make install DESTDIR=<tree>
        h.boot()                         # returns when systemd says running or degraded
        h.run(['affix', 'status'], user='affix', check=True)
        h.reboot(); h.kill(); h.boot(); h.poweroff()

Shell tests source host.sh, which calls this file as a program (see `host.py --help`).

Nothing survives the test: a keeper process in a session of its own holds a pidfd of the owner (the
test) and removes processes, cgroups, mounts and the directory when the owner ends, however it ends.

Commands run by nsenter: they have the namespaces of the host, yet the caller's cgroup, no seccomp
filter, and all capabilities unless `user` drops them, but that to set the clock, which is the machine's. A test of
sandboxing asks systemd to run it.

Where PID 1 is systemd, nspawn makes a scope for the host; elsewhere the host gets a cgroup of its own,
made here, because two hosts in one cgroup would share each other's slices. Resource limits are not
enforced then (hybrid hierarchies delegate no controller).
"""

import argparse
import fcntl
import json
import os
import pathlib
import select
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import time

LIB = pathlib.Path(__file__).resolve().parent
TOP = LIB.parent.parent
PREFIX = 'affix-host-'
SKIP = 77

# What add-ons may be granted beyond nspawn's own default set.
CAPABILITIES = 'CAP_BPF,CAP_PERFMON,CAP_NET_ADMIN,CAP_NET_RAW'
SYSTEM_CALLS = 'bpf perf_event_open'
ENVIRONMENT = {
    'PATH': '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    'HOME': '/root',
    'LANG': 'C.UTF-8',
    'TERM': 'dumb',
}
# With --keep-unit, nspawn leaves a reboot to whoever started it, and says so by this exit code.
RUN = 'while "$@"; [ $? = 133 ]; do :; done'


class HostError(Exception):
    """The host did not do what the test needs; says what, with the console's last lines."""


def unavailable():
    """Why hosts cannot be booted on this machine, or None."""
    if os.getuid() != 0:
        return 'booting a scratch host needs root'
    for program in ('systemd-nspawn', 'nsenter'):
        if shutil.which(program) is None:
            return f'{program} is not installed'
    return None


def base_directory():
    return pathlib.Path(os.environ.get('AFFIX_TEST_TMP', '/var/tmp'))


def scratch_root():
    made = subprocess.run([LIB / 'scratch-root'], stdout=subprocess.PIPE, text=True)
    if made.returncode != 0:
        raise HostError('there is no scratch root (see above)')
    return pathlib.Path(made.stdout.strip())


# --- processes, cgroups, mounts -----------------------------------------------------------------


def process_field(pid, field):
    """A field of /proc/PID/stat, numbered as in proc(5), or None when the process is gone."""
    try:
        # Its name is of bytes, and cut at 15 of them.
        text = pathlib.Path(f'/proc/{pid}/stat').read_text(errors='replace')
    except OSError:
        return None
    return text[text.rindex(')') + 2 :].split()[field - 3]


def is_alive(pid, started):
    return process_field(pid, 22) == started and process_field(pid, 3) not in ('Z', 'X', None)


def children_of(pid):
    for entry in os.listdir('/proc'):
        if entry.isdigit() and process_field(entry, 4) == str(pid):
            yield int(entry)


def is_namespace_init(pid):
    try:
        status = pathlib.Path(f'/proc/{pid}/status').read_text(errors='replace')
    except OSError:
        return False
    for line in status.splitlines():
        if line.startswith('NSpid:'):
            numbers = line.split()[1:]
            return len(numbers) > 1 and numbers[-1] == '1'
    return False


def cgroups_of(name):
    """The host's own cgroups: one per hierarchy that systemd looks at. None where systemd is PID 1."""
    if os.path.isdir('/run/systemd/system'):
        return []
    mounts = []
    for line in pathlib.Path('/proc/self/mounts').read_text().splitlines():
        _, where, kind, options = line.split()[:4]
        if kind == 'cgroup2' or (kind == 'cgroup' and 'name=systemd' in options.split(',')):
            mounts.append(where)
    return [pathlib.Path(where) / name for where in mounts]


def remove_cgroup(path, deadline):
    for inner, _, _ in os.walk(path, topdown=False):
        while True:
            try:
                os.rmdir(inner)
            except FileNotFoundError:
                pass
            except OSError:
                # Its processes are dying; the directory goes when the last has been reaped.
                if time.monotonic() < deadline:
                    time.sleep(0.01)
                    continue
            break


def unmount_below(path):
    found = []
    for line in pathlib.Path('/proc/self/mountinfo').read_text().splitlines():
        where = line.split()[4].encode().decode('unicode_escape')
        if where.startswith(f'{path}/'):
            found.append(where)
    for where in reversed(found):
        subprocess.run(['umount', '--lazy', where], check=False)


def destroy(directory):
    """Everything a host has, wherever its life was cut. Used by close() and by the keeper."""
    directory = pathlib.Path(directory)
    deadline = time.monotonic() + 10
    running = Host.attach(directory)
    running.kill()
    for cgroup in cgroups_of(directory.name):
        remove_cgroup(cgroup, deadline)
    unmount_below(directory)
    shutil.rmtree(directory, ignore_errors=True)


def destroy_abandoned():
    """Hosts whose keeper was killed too: nobody holds their lock."""
    for directory in base_directory().glob(PREFIX + '*'):
        try:
            if time.time() - directory.stat().st_mtime < 60:
                continue
            with open(directory / 'keeper', 'a') as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        destroy(directory)


def keep(directory, owner_fd):
    """The keeper's whole life: wait for the owner's end, then clean up."""
    lock = open(os.path.join(directory, 'keeper'), 'w')
    fcntl.flock(lock, fcntl.LOCK_EX)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    while os.path.isdir(directory):
        if select.select([owner_fd], [], [], 1.0)[0]:
            break
    if os.path.isdir(directory):
        destroy(directory)


def install_into(directory):
    """`make install` into a directory, which may be a host's tree or is copied into several."""
    command = os.environ.get('AFFIX_TEST_INSTALL', 'make -s install')
    done = subprocess.run(
        [*command.split(), f'DESTDIR={directory}'],
        cwd=TOP,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise HostError(f'{command} failed:\n{done.stdout}')


# --- the host -------------------------------------------------------------------------------------


class Host:
    def __init__(self, owner=None, tree=None):
        """Copy TREE (default: the cached scratch root). The host ends with the process OWNER."""
        reason = unavailable()
        if reason:
            raise HostError(reason)
        tree = tree or scratch_root()
        destroy_abandoned()
        # The name is the machine's too, so mkdtemp's alphabet will not do.
        self.directory = base_directory() / (PREFIX + secrets.token_hex(4))
        self.directory.mkdir(mode=0o755)
        self.root = self.directory / 'root'
        self.child = None
        self.keeper = None
        self.owned = True
        self._start_keeper(owner or os.getpid())
        subprocess.run(
            ['cp', '-a', '--reflink=auto', '--', str(tree), str(self.root)], check=True
        )

    @classmethod
    def attach(cls, directory):
        """A host that another process made; it is not this one's to close."""
        self = cls.__new__(cls)
        self.directory = pathlib.Path(directory)
        self.root = self.directory / 'root'
        self.child = None
        self.keeper = None
        self.owned = False
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _start_keeper(self, owner):
        owner_fd = os.pidfd_open(owner)
        try:
            self.keeper = subprocess.Popen(
                [sys.executable, '-I', str(LIB / 'host.py'), 'keep', str(self.directory), str(owner_fd)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[owner_fd],
                start_new_session=True,
            )
        finally:
            os.close(owner_fd)

    # state

    def _state(self):
        try:
            state = json.loads((self.directory / 'nspawn').read_text())
        except (OSError, ValueError):
            return None
        return state if is_alive(state['pid'], state['started']) else None

    @property
    def is_running(self):
        return self._state() is not None

    @property
    def leader(self):
        """PID 1 of the host as seen from outside, or None."""
        state = self._state()
        if state is None:
            return None
        for nspawn in children_of(state['pid']):
            for pid in children_of(nspawn):
                if is_namespace_init(pid):
                    return pid
        return None

    def console(self):
        try:
            return (self.directory / 'console').read_text(errors='replace')
        except OSError:
            return ''

    def path(self, inside):
        """Where a path of the host is for this process; sees /run and other mounts while it runs."""
        leader = self.leader
        base = f'/proc/{leader}/root' if leader else str(self.root)
        return pathlib.Path(base + '/' + str(inside).lstrip('/'))

    # life

    def install(self):
        """affix into the tree, as every package and image gets it."""
        install_into(self.root)

    def boot(self, wait='running', timeout=30, arguments=(), network=None):
        """Boot; WAIT is 'running' (or degraded), 'manager' (PID 1 answers) or 'none'.

        NETWORK is the path of a network namespace that stays over reboots; without it the host has one of its own.
        """
        if self.is_running:
            raise HostError(f'{self.directory.name} runs already')
        command = [
            'systemd-nspawn', '--quiet', '--register=no', '--boot', '--console=pipe',
            f'--network-namespace-path={network}' if network else '--private-network',
            '--resolv-conf=off', '--timezone=off', '--link-journal=no',
            f'--machine={self.directory.name}', f'--directory={self.root}',
            f'--capability={CAPABILITIES}', f'--system-call-filter={SYSTEM_CALLS}',
        ]  # fmt: skip
        cgroups = cgroups_of(self.directory.name)
        if cgroups:
            command.append('--keep-unit')
        for cgroup in cgroups:
            cgroup.mkdir(exist_ok=True)
        enter = ''.join(f'echo $$ >{cgroup}/cgroup.procs && ' for cgroup in cgroups)
        # nspawn will not clear its runtime directory, which a reboot needs, on a /run that is on disk.
        enter += 'mkdir -p /run/systemd/nspawn && mount -t tmpfs tmpfs /run/systemd/nspawn && '
        with open(self.directory / 'console', 'ab') as console:
            self.child = subprocess.Popen(
                ['unshare', '--mount', '/bin/sh', '-c', enter + RUN, 'sh', *command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                env={'PATH': ENVIRONMENT['PATH'], 'LANG': 'C.UTF-8'},
            )
        state = {'pid': self.child.pid, 'started': process_field(self.child.pid, 22)}
        (self.directory / 'nspawn').write_text(json.dumps(state))
        self._wait_booted(wait, time.monotonic() + timeout)

    def _wait_booted(self, wait, deadline, not_leader=None):
        while wait != 'none':
            if not self.is_running:
                raise HostError(f'the host ended while booting:\n{self.console()[-4000:]}')
            if time.monotonic() > deadline:
                raise HostError(f'the host did not boot in time:\n{self.console()[-4000:]}')
            leader = self.leader
            if leader not in (None, not_leader) and self._answers(leader, wait, deadline):
                return
            time.sleep(0.02)

    def _answers(self, leader, wait, deadline):
        try:
            if not stat.S_ISSOCK(os.stat(f'/proc/{leader}/root/run/systemd/private').st_mode):
                return False
        except OSError:
            return False
        if wait == 'manager':
            return True
        try:
            state = self.run(
                ['systemctl', 'is-system-running', '--wait'],
                timeout=max(0.1, deadline - time.monotonic()),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            ).stdout.strip()
        except subprocess.TimeoutExpired:
            return False
        return state in ('running', 'degraded')

    def _wait_ended(self, timeout):
        deadline = time.monotonic() + timeout
        while self.is_running:
            if time.monotonic() > deadline:
                raise HostError(f'the host did not end in {timeout} s:\n{self.console()[-4000:]}')
            time.sleep(0.01)
        self._reap()

    def _reap(self):
        if self.child is not None:
            self.child.wait()
            self.child = None

    def reboot(self, wait='running', timeout=60):
        """A real reboot by systemd: units are stopped, the tree stays."""
        before = self.leader
        self.run(['systemctl', '--no-block', 'reboot'], check=True)
        self._wait_booted(wait, time.monotonic() + timeout, not_leader=before)

    def poweroff(self, timeout=60):
        self.run(['systemctl', '--no-block', 'poweroff'], check=True)
        self._wait_ended(timeout)

    def kill(self):
        """Every process gone at once, as if the machine were reset (the tree keeps all it was given)."""
        state = self._state()
        if state is None:
            return
        leader = self.leader
        # From the outside in, or the outer ones would act on the end of the inner.
        for pid in (state['pid'], *children_of(state['pid']), leader):
            try:
                if pid:
                    os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        # An init is dead, or a zombie, only after the kernel has killed the rest of its namespace.
        deadline = time.monotonic() + 10
        for pid in filter(None, (state['pid'], leader)):
            while process_field(pid, 3) not in ('Z', 'X', None) and time.monotonic() < deadline:
                time.sleep(0.005)
        self._reap()

    def close(self):
        if not self.owned:
            return
        destroy(self.directory)
        self._reap()
        if self.keeper is not None:
            self.keeper.terminate()
            self.keeper.wait()
            self.keeper = None

    # work inside

    def command(self, command, user=None):
        """The argument list that runs COMMAND inside, e.g. for a Popen of the caller's."""
        leader = self.leader
        if leader is None:
            raise HostError(f'{self.directory.name} does not run')
        prefix = ['nsenter', '--target', str(leader), '--all', '--', 'setpriv', '--bounding-set=-sys_time']
        if user is not None:
            prefix += [f'--reuid={user}', f'--regid={self.group_of(user)}', '--init-groups']
        prefix.append('--')
        return prefix + [str(word) for word in command]

    def popen(self, command, user=None, environment=None, **arguments):
        arguments.setdefault('stdin', subprocess.DEVNULL)
        arguments.setdefault('text', True)
        return subprocess.Popen(
            self.command(command, user),
            env={**ENVIRONMENT, **(environment or {})},
            start_new_session=True,
            **arguments,
        )

    def run(self, command, user=None, check=False, input=None, timeout=120, environment=None, **arguments):
        """Like subprocess.run(), inside; the exit code is the command's. Captures unless told."""
        if input is not None:
            arguments['stdin'] = subprocess.PIPE
            arguments.setdefault('text', isinstance(input, str))
        arguments.setdefault('stdout', subprocess.PIPE)
        arguments.setdefault('stderr', subprocess.PIPE)
        process = self.popen(command, user, environment, **arguments)
        try:
            out, err = process.communicate(input, timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        if check and process.returncode != 0:
            raise HostError(f'{command} ended with {process.returncode}:\n{out or ""}{err or ""}')
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def shell(self, script, **arguments):
        return self.run(['/bin/bash', '-euc', script], **arguments)

    def group_of(self, user):
        return self._account('passwd', user)[3] if not str(user).isdigit() else str(user)

    def _account(self, database, name):
        for line in (self.root / 'etc' / database).read_text().splitlines():
            fields = line.split(':')
            if fields[0] == name:
                return fields
        raise HostError(f"there is no '{name}' in the host's {database}")

    def put(self, source, inside, mode=None, owner=None, group=None):
        """Copy a file in; OWNER and GROUP are names of the host's."""
        target = self.path(inside)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        os.chmod(target, stat.S_IMODE(os.stat(source).st_mode) if mode is None else mode)
        os.chown(
            target,
            int(self._account('passwd', owner)[2]) if owner else 0,
            int(self._account('group', group)[2]) if group else 0,
        )

    def write(self, inside, text, mode=0o644):
        target = self.path(inside)
        target.parent.mkdir(parents=True, exist_ok=True)
        data = text if isinstance(text, bytes) else text.encode()
        target.write_bytes(data)
        os.chmod(target, mode)

    def get(self, inside, target):
        shutil.copyfile(self.path(inside), target)

    def read(self, inside):
        return self.path(inside).read_text()


# --- for shell tests ------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(prog='host.py', description='Scratch hosts, for shell tests.')
    verbs = parser.add_subparsers(dest='verb', required=True)
    verbs.add_parser('available', help='exit 77 and say why where hosts cannot be booted')
    verb = verbs.add_parser('create', help='print the directory of a new host')
    verb.add_argument('--owner', type=int, required=True, help='the host ends with this process')
    for name, text in (
        ('install', 'make install into the host'),
        ('boot', 'boot it and wait'),
        ('reboot', 'reboot it and wait'),
        ('poweroff', 'shut it down and wait'),
        ('kill', 'SIGKILL the whole host'),
        ('destroy', 'remove it'),
        ('leader', "print its PID 1's number outside"),
        ('console', 'print what it wrote on the console'),
        ('run', 'run a command inside'),
        ('put', 'copy a file in'),
        ('get', 'copy a file out'),
        ('keep', argparse.SUPPRESS),
    ):
        verb = verbs.add_parser(name, help=text)
        verb.add_argument('host', help='what create printed')
        if name in ('boot', 'reboot'):
            verb.add_argument('--wait', choices=('running', 'manager', 'none'), default='running')
        elif name == 'run':
            verb.add_argument('--user')
            verb.add_argument('command', nargs='+')
        elif name in ('put', 'get'):
            verb.add_argument('source')
            verb.add_argument('target')
            if name == 'put':
                verb.add_argument('--mode', type=lambda text: int(text, 8))
                verb.add_argument('--owner')
                verb.add_argument('--group')
        elif name == 'keep':
            verb.add_argument('owner_fd', type=int)
    arguments = parser.parse_args()
    try:
        return act(arguments)
    except HostError as error:
        print(f'host.py: {error}', file=sys.stderr)
        return 1


def act(arguments):
    verb = arguments.verb
    if verb in ('available', 'create'):
        reason = unavailable()
        if reason:
            print(f'SKIP: {reason}', file=sys.stderr)
            return SKIP
    if verb == 'available':
        return 0
    if verb == 'create':
        print(Host(owner=arguments.owner).directory)
        return 0
    if verb == 'keep':
        keep(arguments.host, arguments.owner_fd)
        return 0
    if verb == 'destroy':
        destroy(arguments.host)
        return 0
    host = Host.attach(arguments.host)
    if verb == 'run':
        # Replaces this process, so that streams, signals and the exit code are the command's own.
        words = host.command(arguments.command, arguments.user)
        os.execvpe(words[0], words, ENVIRONMENT)
    if verb in ('boot', 'reboot'):
        getattr(host, verb)(wait=arguments.wait)
    elif verb == 'put':
        host.put(
            arguments.source, arguments.target, arguments.mode, arguments.owner, arguments.group
        )
    elif verb == 'get':
        host.get(arguments.source, arguments.target)
    elif verb == 'leader':
        print(host.leader or '')
    elif verb == 'console':
        print(host.console(), end='')
    else:
        getattr(host, verb)()
    return 0


if __name__ == '__main__':
    sys.exit(main())
