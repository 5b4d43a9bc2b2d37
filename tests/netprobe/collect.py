# SPDX-License-Identifier: Apache-2.0
"""The collector as a process, and what it says; processes whose deeds a test knows by construction."""

import ctypes
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

BUILD = pathlib.Path(os.environ['AFFIX_BUILD'])
COLLECT = BUILD / 'tests/netprobe/netprobe-collect'
STORM = BUILD / 'tests/netprobe/netprobe-storm'
SENDERS = BUILD / 'tests/netprobe/netprobe-senders'
# Longer than the kernel keeps a connection whose other side does not close: tcp_fin_timeout, 60.
DEADLINE = 90
SO_COOKIE = 57
NETNS = os.stat('/proc/self/ns/net').st_ino
SKIP = 77
# Programs that see the end of a system call: at tracepoints that came with Linux 6.3, and at the functions that stand in for them.
ENDS_OF_CALLS = 'length_sent length_received ipv4_sent ipv4_received'


def skip(why):
    print(why)
    sys.exit(SKIP)


def in_own_network():
    """Starts this script again with a network of its own, in which only loopback is. Skips where that cannot be."""
    if os.environ.get('NETPROBE_NETWORK'):
        return
    if os.getuid() != 0:
        skip('programs in the kernel need root')
    os.environ['NETPROBE_NETWORK'] = 'own'
    script = 'ip link set lo up && exec "$@"'
    os.execvp('unshare', ['unshare', '--net', 'sh', '-c', script, 'sh', sys.executable, *sys.argv])


def cookie(sock):
    return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8), sys.byteorder)


def cgroup_root():
    for line in pathlib.Path('/proc/self/mountinfo').read_text().splitlines():
        fields = line.split()
        if ' - cgroup2 ' in line and fields[3] == '/':
            return pathlib.Path(fields[4])
    return skip('there is no cgroup2 hierarchy')


class Collector:
    def __init__(self, tier='full', flows=262144, *more, without=''):
        # All of the machine's flows have room, whatever else runs on it.
        self.process = subprocess.Popen([COLLECT, tier, str(flows), *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env={**os.environ, 'NETPROBE_WITHOUT': without})
        head = self.process.stdout.readline()
        if not head:
            if self.process.wait() == SKIP:
                skip('the kernel takes no program and has no INET_DIAG')
            raise AssertionError('netprobe-collect ended')
        head = json.loads(head)
        self.tier, self.why = head['tier'], head['why']
        self.events, self.flows, self.answers = [], [], []
        self.news = threading.Condition()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        # From here on nothing is told as older than the collector.
        self.ask('sync')

    def read(self):
        flows = []
        for line in self.process.stdout:
            said = json.loads(line)
            with self.news:
                if said['event'] == 'flow':
                    flows.append(said)
                elif said['event'] == 'counts':
                    self.answers.append((flows, said))
                    flows = []
                elif said['netns'] in (NETNS, 0):
                    self.events.append(said)
                self.news.notify_all()

    def ask(self, question='refresh'):
        """The flows of this network and the counts, when all that happened before has been told."""
        with self.news:
            before = len(self.answers)
            self.process.stdin.write(question.encode() + b'\n')
            self.process.stdin.flush()
            if not self.news.wait_for(lambda: len(self.answers) > before, DEADLINE):
                raise AssertionError('netprobe-collect does not answer')
            flows, counts = self.answers[-1]
        return [flow for flow in flows if flow['netns'] in (NETNS, 0)], counts

    def of(self, number, *kinds):
        return [e for e in list(self.events) if e['cookie'] == number and (not kinds or e['event'] in kinds)]

    def wait(self, condition, what, question='sync'):
        """*condition*() until it is true: some of what the kernel says comes a moment later."""
        end = time.monotonic() + DEADLINE
        while True:
            self.ask(question)
            found = condition()
            if found:
                return found
            if time.monotonic() > end:
                raise AssertionError(f'{what}: {self.events[-20:]}')
            time.sleep(0.02)

    def wait_event(self, number, *kinds):
        return self.wait(lambda: self.of(number, *kinds), f'no {kinds} of {number}')[-1]

    def close(self):
        # A test that failed may have stopped it.
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        code = self.process.wait(DEADLINE)
        self.reader.join()
        self.process.stdout.close()
        return code

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()
        self.process.stdin.close()


class Worker:
    """A child that does what it is told: function(channel, *arguments). A line each way over *channel*."""

    def __init__(self, function, *arguments):
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                self.channel.close()
                function(theirs, *arguments)
                code = 0
            finally:
                os._exit(code)
        theirs.close()

    def say(self, text='go'):
        self.channel.sendall(text.encode() + b'\n')

    def hear(self):
        data = b''
        while not data.endswith(b'\n'):
            more = self.channel.recv(1)
            if not more:
                raise AssertionError('the worker ended')
            data += more
        return data.decode().strip()

    def end(self):
        self.channel.close()
        return os.waitpid(self.pid, 0)[1]


def tell(channel, text):
    channel.sendall(str(text).encode() + b'\n')


def wait_line(channel):
    data = b''
    while not data.endswith(b'\n'):
        more = channel.recv(1)
        if not more:
            os._exit(0)
        data += more
    return data.decode().strip()


def fork_as(pid):
    """fork() with this number for the child: clone3 with set_tid. None: the kernel does not let us.

    For a process with one thread: nobody else may have a lock when the child is made.
    """
    class Arguments(ctypes.Structure):
        _fields_ = [(name, ctypes.c_uint64) for name in (
            'flags', 'pidfd', 'child_tid', 'parent_tid', 'exit_signal', 'stack', 'stack_size', 'tls', 'set_tid',
            'set_tid_size', 'cgroup')]
    wanted = ctypes.c_int(pid)
    arguments = Arguments(exit_signal=signal.SIGCHLD, set_tid=ctypes.addressof(wanted), set_tid_size=1)
    got = ctypes.PyDLL(None).syscall(435, ctypes.byref(arguments), ctypes.sizeof(arguments))
    return None if got < 0 else got


BPF_NEXT = {'program': 11, 'map': 12, 'link': 31}


def kernel_objects():
    """The numbers of all BPF programs, maps and links that there are."""
    libc = ctypes.CDLL(None, use_errno=True)
    found = {}
    for kind, command in BPF_NEXT.items():
        found[kind] = set()
        attributes = (ctypes.c_uint32 * 32)()
        while libc.syscall(321 if os.uname().machine == 'x86_64' else 280, command, ctypes.byref(attributes), 12) == 0:
            found[kind].add(attributes[1])
            attributes[0] = attributes[1]
    return found


def peers_kept(maps, number):
    """How many peers of the socket are counted in the kernel, in any of these maps."""
    def bpftool(*words):
        return json.loads(subprocess.run(['bpftool', '-j', *words], stdout=subprocess.PIPE, check=True,
                                         env={**os.environ, 'PATH': os.environ['PATH'] + ':/usr/sbin'}).stdout)

    ours = [each['id'] for each in bpftool('map', 'show') if each['id'] in maps and each.get('name') == 'peers']
    return sum(entry['formatted']['key']['cookie'] == number for each in ours for entry in bpftool('map', 'dump', 'id', str(each)))
