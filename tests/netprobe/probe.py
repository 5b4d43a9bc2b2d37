# SPDX-License-Identifier: Apache-2.0
"""netprobe's daemon as a test runs it, with a collector that does what the test says, and its protocol by field numbers."""

import json
import os
import pathlib
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'agent'))
import wire  # noqa: E402  pylint: disable=wrong-import-position

BUILD = pathlib.Path(os.environ['AFFIX_BUILD'])
SCRIPTED = BUILD / 'tests/netprobe/netprobe-scripted'
AGENT = BUILD / 'tests/netprobe/netprobe-agent'
DEADLINE = 60  # seconds; nothing here takes one, but a machine may

APPLY_CONFIG, CONFIG_ACK, PING, PING_ACK, ERROR = 2, 3, 4, 5, 7
EVENT, SNAPSHOT, EXTERNAL, EXTERNAL_ACK, BATCH, LIST, LISTED = 21, 22, 23, 28, 29, 100, 101


class Closed(Exception):
    """The daemon closed the connection."""


def until(condition, what):
    end = time.monotonic() + DEADLINE
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < end, f'{what}: not within {DEADLINE} s'
        time.sleep(0.01)


class Client:
    """One connection. What is not asked for is kept in *events* until somebody takes it."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(DEADLINE)
        self.socket.connect(str(path))
        self.sequence = 0
        self.unasked = []

    def close(self):
        self.socket.close()

    def send_raw(self, data):
        self.socket.sendall(data)

    def send_body(self, body):
        self.send_raw(struct.pack('>I', len(body)) + body)

    def send(self, arm, payload, sequence=None):
        if sequence is None:
            self.sequence += 1
            sequence = self.sequence
        self.send_body((wire.number(1, sequence) if sequence else b'') + wire.data(arm, payload))
        return sequence

    def read(self, size):
        data = b''
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise Closed()
            data += piece
        return data

    def receive(self):
        """The next frame: (sequence, arm, payload)."""
        size, = struct.unpack('>I', self.read(4))
        assert size <= 4 << 20
        fields = wire.parse(self.read(size))
        sequence = wire.first(fields, 1, 0)
        arms = [field for field in fields if field != 1]
        assert len(arms) == 1, fields
        return sequence, arms[0], fields[arms[0]][0]

    def answer(self, sequence):
        while True:
            got, arm, payload = self.receive()
            if got == sequence:
                return arm, wire.parse(payload)
            assert got == 0, f'an answer to {got}, which was not asked'
            self.unasked.append((arm, payload))

    def ask(self, arm, payload, sequence=None):
        return self.answer(self.send(arm, payload, sequence))

    def next_unasked(self, *arms):
        """The next frame of one of *arms* that nobody asked for."""
        while True:
            for i, (arm, payload) in enumerate(self.unasked):
                if arm in arms:
                    del self.unasked[i]
                    return arm, wire.parse(payload)
            sequence, arm, payload = self.receive()
            assert sequence == 0, f'an answer to {sequence}'
            self.unasked.append((arm, payload))

    def events(self, n):
        """So many events, parsed, however they come."""
        found = []
        while len(found) < n:
            arm, fields = self.next_unasked(EVENT, BATCH)
            found += [fields] if arm == EVENT else [wire.parse(event) for event in fields.get(1, [])]
        assert len(found) == n, found
        return found

    def ping(self):
        arm, ack = self.ask(PING, wire.number(1, 99))
        assert arm == PING_ACK and ack[1] == [99], (arm, ack)
        return ack

    def apply(self, config):
        """*config*: the encoded VisibilityAgentConfig."""
        return self.ask(APPLY_CONFIG, wire.data(1, config))

    def enable(self, more=b''):
        arm, ack = self.apply(wire.number(1, 1) + more)
        assert arm == CONFIG_ACK, (arm, ack)
        return ack[1][0].decode()


class Daemon:
    """A daemon in a directory of its own."""

    def __init__(self, *arguments, config=None, environment=None, directory=None):
        self.directory = pathlib.Path(directory or tempfile.mkdtemp(prefix='affix-netprobe.'))
        self.socket = self.directory / 'ipc.sock'
        self.script = self.directory / 'script'
        self.log = self.directory / 'collector.log'
        self.stderr = self.directory / 'stderr'
        command = [SCRIPTED, '--socket', self.socket, *arguments]
        if config is not None:
            (self.directory / 'config.json').write_text(config if isinstance(config, str) else json.dumps(config))
            command += ['--config', self.directory / 'config.json']
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        (self.directory / 'notify').unlink(missing_ok=True)
        self.notify.bind(str(self.directory / 'notify'))
        self.notify.settimeout(DEADLINE)
        variables = {key: value for key, value in os.environ.items() if key != 'JOURNAL_STREAM'}
        variables.update({'NETPROBE_SCRIPT': str(self.script), 'NETPROBE_SCRIPT_LOG': str(self.log),
                          'NOTIFY_SOCKET': str(self.directory / 'notify')}, **(environment or {}))
        with open(self.stderr, 'ab') as stderr:
            self.process = subprocess.Popen(command, env=variables, stderr=stderr, stdout=subprocess.PIPE)

    def wait_ready(self):
        """Until READY=1; returns the last STATUS= before it."""
        status = ''
        end = time.monotonic() + DEADLINE
        while True:
            # One that ended will not say it.
            while not select.select([self.notify], [], [], 0.1)[0]:
                assert self.process.poll() is None, f'it ended: {self.stderr.read_text()}'
                assert time.monotonic() < end, f'not ready within {DEADLINE} s'
            lines = self.notify.recv(4096).decode().split('\n')
            status = next((line[7:] for line in lines if line.startswith('STATUS=')), status)
            if 'READY=1' in lines:
                return status

    def client(self):
        return Client(self.socket)

    def play(self, event=1, times=1, lost=0, **flow):
        self.say({'event': event, 'times': times, 'lost': lost, 'flow': flow})

    def say(self, line):
        """A line of the collector's script."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as script:
            script.settimeout(DEADLINE)
            script.sendto(json.dumps(line).encode(), str(self.script))

    def memory(self):
        """KiB."""
        status = pathlib.Path(f'/proc/{self.process.pid}/status').read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith('VmRSS:'))

    def collectors(self):
        return [line for line in self.logged() if line != 'refresh']

    def logged(self):
        return self.log.read_text().splitlines() if self.log.exists() else []

    def run(self, *arguments, **options):
        """A command of the program, at this daemon."""
        return subprocess.run([SCRIPTED, '--socket', self.socket, *arguments], text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=DEADLINE, check=False, **options)

    def end(self, number=signal.SIGTERM):
        """Ends it; returns the seconds that it took."""
        start = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(DEADLINE)
        self.process.stdout.close()
        self.notify.close()
        return time.monotonic() - start

    def clean(self):
        self.end(signal.SIGKILL)
        subprocess.run(['rm', '-rf', '--', self.directory], check=True)


class Agent:
    """The agent's own client of the daemon's socket."""

    def __init__(self, path):
        self.process = subprocess.Popen([AGENT, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def look(self, key, **config):
        """Gives the configuration, and what the agent then thinks of the add-on."""
        self.process.stdin.write(f'{key} {json.dumps(config)}\n')
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(DEADLINE)
