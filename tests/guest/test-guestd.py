#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""affix-guestd as its host has it, without a VM: on a pseudo terminal in place of the serial port, and on a socket; with a host that
sends garbage, half lines and floods, and does not read. And `affix vm`, with guests that the test plays, who are no better.
"""

import contextlib
import json
import os
import pathlib
import pty
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tty
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'e2e'))

import hanging  # noqa: E402

BUILD = pathlib.Path(os.environ['AFFIX_BUILD'])
GUESTD = BUILD / 'bin/affix-guestd'
AFFIX = BUILD / 'bin/affix'
UNUSED_PORT = 40963  # of vsock: nobody is to come
LINE_MAX = 1024
# In a namespace whose PID 1 is this shell, which is what a guest's systemd is to the program: it is there, and takes a signal.
AS_INIT = '''mount -t tmpfs none /run && mkdir -p /run/systemd/system
mount --bind "$2" "$(realpath /usr/bin/systemctl)" || exit 1
trap 'echo powered-off >&2; exit 7' RTMIN+4
"$1" --stdio <&0 & wait $!
sleep 2 & wait $!
'''


def request(verb, identifier=None, **more):
    members = {'schema': 1, 'verb': verb, **more}
    if identifier is not None:
        members['request_id'] = identifier
    return json.dumps(members).encode() + b'\n'


class Peer:
    """The other side of a conversation, by descriptors."""

    def __init__(self, read, write):
        self.read, self.write, self.pending = read, write, b''

    def send(self, data):
        while data:
            data = data[os.write(self.write, data):]

    def line(self, seconds=10):
        """The next line that is not empty; None at the end, or when nothing comes."""
        end = time.monotonic() + seconds
        while True:
            line, found, rest = self.pending.partition(b'\n')
            if found:
                self.pending = rest
                if line.strip():
                    return line
                continue
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.read], [], [], left)[0]:
                return None
            try:
                data = os.read(self.read, 65536)
            except OSError:
                return None
            if not data:
                return None
            self.pending += data

    def answer(self, seconds=10):
        line = self.line(seconds)
        return json.loads(line) if line else None

    def ask(self, verb, identifier=None, **more):
        self.send(request(verb, identifier, **more))
        return self.answer()


class Conversation(unittest.TestCase):
    """Of the same kind whatever is between."""

    def assertRefused(self, answer, name):
        self.assertEqual((answer['outcome'], answer['name']), ('refused', name), answer)

    def assertAnswers(self, peer):
        answer = peer.ask('ping', 'still-there')
        self.assertIsNotNone(answer)
        self.assertEqual((answer['outcome'], answer['verb'], answer['request_id']), ('done', 'ping', 'still-there'))


class OnASocket(Conversation):
    def setUp(self):
        ours, theirs = socket.socketpair()
        self.socket = ours
        self.program = subprocess.Popen([GUESTD, '--stdio'], stdin=theirs, stdout=theirs)
        theirs.close()
        self.peer = Peer(ours.fileno(), ours.fileno())
        self.addCleanup(self.end)

    def end(self):
        self.socket.close()
        self.program.kill()
        self.program.wait()

    def test_a_ping_says_version_and_boot(self):
        answer = self.peer.ask('ping', 'x')
        self.assertEqual(answer['data']['boot_id'], pathlib.Path('/proc/sys/kernel/random/boot_id').read_text().strip())
        self.assertIn(answer['data']['version'], subprocess.run([GUESTD, '--version'], capture_output=True, text=True, check=True).stdout)

    def test_what_is_no_request_is_refused_and_the_next_is_answered(self):
        for bad in (b'garbage\n', b'[]\n', b'\x00\xff\xfe\n', b'[' * 900 + b'\n', b'{"schema":1,"verb":"ping","verb":"ping"}\n', request('ping', more=1),
                    request('ping', 'a b')):
            self.peer.send(bad)
            self.assertRefused(self.peer.answer(), 'bad-request')
            self.assertAnswers(self.peer)

    def test_what_it_does_not_do_it_says_by_name(self):
        for verb in ('exec', 'copy', 'reboot', ''):
            answer = self.peer.ask(verb, 'id-1')
            self.assertRefused(answer, 'unknown-verb')
            self.assertEqual(answer['request_id'], 'id-1')

    def test_the_longest_line_is_taken_and_a_longer_one_refused_once(self):
        whole = request('ping', 'x').rstrip(b'\n')
        self.peer.send(whole + b' ' * (LINE_MAX - len(whole)) + b'\n')
        self.assertEqual(self.peer.answer()['outcome'], 'done')
        self.peer.send(whole + b' ' * (LINE_MAX + 1 - len(whole)) + b'\n')
        self.assertRefused(self.peer.answer(), 'bad-request')
        self.peer.send(b'x' * 3_000_000 + b'\n')
        self.assertRefused(self.peer.answer(), 'bad-request')
        self.assertAnswers(self.peer)

    def test_requests_are_answered_in_their_order(self):
        self.peer.send(b''.join(request('ping', f'n{number}') for number in range(200)))
        for number in range(200):
            self.assertEqual(self.peer.answer()['request_id'], f'n{number}')

    def test_bytes_that_come_one_by_one_are_the_same(self):
        for byte in request('ping', 'slow'):
            self.peer.send(bytes([byte]))
        self.assertEqual(self.peer.answer()['request_id'], 'slow')

    def test_who_does_not_read_is_let_go(self):
        # The answers fill what the kernel keeps; then nothing is taken any more.
        self.socket.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            while sent < 64_000_000:
                sent += self.socket.send(request('ping') * 100)
        began = time.monotonic()
        self.assertEqual(self.program.wait(20), 0)
        self.assertGreater(time.monotonic() - began, 3)
        self.assertLess(sent, 8_000_000)

    def test_it_ends_with_the_connection(self):
        self.assertAnswers(self.peer)
        self.peer.send(b'{"schema":1,"ver')
        self.socket.shutdown(socket.SHUT_WR)
        self.assertEqual(self.program.wait(5), 0)

    def test_its_memory_does_not_grow_with_what_it_is_sent(self):
        self.assertAnswers(self.peer)
        status = pathlib.Path(f'/proc/{self.program.pid}/status')
        for _ in range(20):
            self.peer.send(b'y' * 100_000 + b'\n')
            self.assertRefused(self.peer.answer(), 'bad-request')
        peak = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith('VmHWM'))
        self.assertLess(peak, 4096 if GUESTD.stat().st_size < 20_000_000 else 1 << 30)


class OnASerialPort(Conversation):
    """A pseudo terminal that behaves like a port: bytes, no connections, no echo."""

    def setUp(self):
        self.master, slave = pty.openpty()
        tty.setraw(slave)
        name = os.ttyname(slave)
        self.log = tempfile.TemporaryFile()
        self.program = subprocess.Popen([GUESTD, '--port', name, '--vsock-port', str(UNUSED_PORT)], stdin=subprocess.DEVNULL, stderr=self.log)
        self.peer = Peer(self.master, self.master)
        # It stays open here too: a terminal is gone when nobody has it.
        self.addCleanup(os.close, slave)
        self.addCleanup(self.end)

    def end(self):
        self.program.kill()
        self.program.wait()
        os.close(self.master)
        self.log.close()

    def test_a_port_is_asked_for_ever(self):
        for _ in range(3):
            self.assertAnswers(self.peer)

    def test_an_empty_line_ends_what_somebody_else_began(self):
        self.peer.send(request('ping')[:-9])
        self.peer.send(b'\n' + request('ping', 'mine'))
        self.assertRefused(self.peer.answer(), 'bad-request')
        self.assertEqual(self.peer.answer()['request_id'], 'mine')

    def test_a_flood_of_garbage_is_survived(self):
        noise = os.urandom(200_000).replace(b'\n', b'')
        sender = threading.Thread(target=self.peer.send, args=(noise + b'\n' + request('ping', 'behind'),))
        sender.start()
        self.assertRefused(self.peer.answer(20), 'bad-request')
        self.assertEqual(self.peer.answer(20)['request_id'], 'behind')
        sender.join()

    def test_answers_that_nobody_takes_are_dropped_and_the_next_stands_alone(self):
        # 6 s of silence; what did not fit is cut, and what comes then begins a line.
        os.set_blocking(self.master, False)
        with contextlib.suppress(BlockingIOError):
            for number in range(400):
                self.peer.send(request('ping', f'lost{number}'))
        os.set_blocking(self.master, True)
        time.sleep(6)
        sender = threading.Thread(target=self.peer.send, args=(b'\n' + request('ping', 'found'),))
        sender.start()
        answers = []
        while 'found' not in answers:
            line = self.peer.line(20)
            self.assertIsNotNone(line, answers[-3:])
            with contextlib.suppress(ValueError):
                answers.append(json.loads(line)['request_id'])
        sender.join()

    def test_the_server_of_the_port_is_replaced_when_it_dies(self):
        self.assertAnswers(self.peer)
        children = pathlib.Path(f'/proc/{self.program.pid}/task/{self.program.pid}/children').read_text().split()
        self.assertEqual(len(children), 1)
        os.kill(int(children[0]), 9)
        self.assertAnswers(self.peer)

    def test_nothing_of_it_outlives_it(self):
        self.assertAnswers(self.peer)
        child = int(pathlib.Path(f'/proc/{self.program.pid}/task/{self.program.pid}/children').read_text())
        self.program.kill()
        self.program.wait()
        for _ in range(100):
            state = pathlib.Path(f'/proc/{child}/stat')
            if not state.exists() or state.read_text().rpartition(')')[2].split()[0] == 'Z':
                return
            time.sleep(0.05)
        self.fail('its child is still there')


class WhatIsNoPort(unittest.TestCase):
    def test_a_file_is_not_written_to(self):
        with tempfile.NamedTemporaryFile() as file:
            file.write(request('ping'))
            file.flush()
            program = subprocess.Popen([GUESTD, '--port', file.name, '--vsock-port', str(UNUSED_PORT)], stderr=subprocess.DEVNULL)
            time.sleep(0.5)
            program.kill()
            program.wait()
            self.assertEqual(pathlib.Path(file.name).read_bytes(), request('ping'))

    def test_one_that_may_not_be_opened_ends_it_after_a_while_and_is_said_once(self):
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        name = os.ttyname(slave)
        os.chmod(name, 0)
        # As in its unit: root without the capability to open whatever is there.
        powerless = ['setpriv', '--bounding-set=-all', '--inh-caps=-all'] if os.getuid() == 0 else []
        began = time.monotonic()
        done = subprocess.run([*powerless, GUESTD, '--port', name, '--vsock-port', str(UNUSED_PORT)], stderr=subprocess.PIPE, text=True, timeout=30, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(done.stderr.count(f"'{name}' may not be opened: Permission denied"), 1, done.stderr)
        self.assertGreater(time.monotonic() - began, 3)

    def test_one_that_is_not_there_is_waited_for(self):
        program = subprocess.Popen([GUESTD, '--port', '/dev/null/none', '--vsock-port', str(UNUSED_PORT)], stderr=subprocess.DEVNULL)
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        with self.assertRaises(subprocess.TimeoutExpired):
            program.wait(7)

    def test_a_wrong_command_line_is_refused(self):
        for words in (['--nothing'], ['word'], ['--vsock-port', 'x'], ['--vsock-port', '-1'], ['--peer', '99999999999']):
            self.assertEqual(subprocess.run([GUESTD, *words], stderr=subprocess.DEVNULL, check=False).returncode, 2, words)


class InANamespace(Conversation):
    """With a systemctl of the test's own, and a PID 1 that is not this machine's."""

    def setUp(self):
        probe = subprocess.run(['unshare', '--mount', '--pid', '--fork', 'true'], stderr=subprocess.DEVNULL, check=False)
        if probe.returncode != 0 or not os.path.exists('/usr/bin/systemctl'):
            self.skipTest('namespaces need root, and there must be a systemctl')
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)

    def begin(self, systemctl, pass_fds=()):
        script = pathlib.Path(self.directory.name, 'systemctl')
        script.write_text(f'#!/bin/sh\n{systemctl}\n')
        script.chmod(0o755)
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.program = subprocess.Popen(['unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', 'bash', '-c', AS_INIT, 'init', GUESTD, script], stdin=theirs,
                                        stdout=theirs, stderr=subprocess.PIPE, text=True, pass_fds=pass_fds)
        theirs.close()
        self.addCleanup(self.end)
        return Peer(ours.fileno(), ours.fileno())

    def end(self):
        self.program.kill()
        self.program.communicate()

    def test_health_is_what_systemd_says(self):
        peer = self.begin('case "$1" in show) echo degraded;; list-units) echo "a.service loaded failed failed A b"; printf "b\\\\x2d1.mount x\\n";; esac')
        data = peer.ask('health')['data']
        self.assertEqual((data['state'], data['failed_units'], data['addons']), ('degraded', ['a.service', 'b\\x2d1.mount'], None), data)
        self.assertGreater(data['uptime_seconds'], 0)

    def test_a_manager_that_says_nothing_is_unknown(self):
        data = self.begin('exit 1').ask('health')['data']
        self.assertEqual((data['state'], data['failed_units']), ('unknown', None))

    def test_a_manager_that_floods_is_cut_off(self):
        data = self.begin('case "$1" in show) echo running;; *) exec yes failed.service;; esac').ask('health')['data']
        self.assertEqual((data['state'], data['failed_units']), ('running', None))

    def test_many_failed_units_are_the_first_of_them(self):
        peer = self.begin('case "$1" in show) echo degraded;; *) seq -f "unit-%g.service x" 3000;; esac')
        self.assertEqual(len(peer.ask('health')['data']['failed_units']), 64)
        self.assertAnswers(peer)

    def test_a_manager_that_hangs_is_waited_for_no_longer_than_is_said(self):
        peer = self.begin('sleep 1000')
        began = time.monotonic()
        peer.send(request('health', 'h'))
        answer = peer.answer(20)
        self.assertEqual(answer['data']['state'], 'unknown')
        self.assertLess(time.monotonic() - began, 12)
        self.assertAnswers(peer)

    @unittest.skipIf(hanging.unavailable(), 'a FUSE file system needs root and /dev/fuse')
    def test_a_manager_that_cannot_be_killed_is_waited_for_a_second_more(self):
        with hanging.File('nobody', 4096) as file:
            peer = self.begin(f'exec cat <&{file.fileno()}', [file.fileno()])
            began = time.monotonic()
            peer.send(request('health', 'h'))
            answer = peer.answer(20)
            self.assertIsNotNone(answer)
            self.assertEqual(answer['data']['state'], 'unknown')
            self.assertLess(time.monotonic() - began, 13)
            self.assertAnswers(peer)

    def test_shutdown_is_answered_and_then_told_to_pid_1(self):
        peer = self.begin('exit 1')
        answer = peer.ask('shutdown', 'last')
        self.assertEqual((answer['outcome'], answer['request_id']), ('done', 'last'))
        _, said = self.program.communicate(timeout=10)
        self.assertEqual((self.program.returncode, said.strip()), (7, 'powered-off'))

    def test_where_pid_1_is_not_systemd_it_is_refused(self):
        script = AS_INIT.replace('/run/systemd/system', '/run/nothing')
        ours, theirs = socket.socketpair()
        with ours:
            program = subprocess.Popen(['unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', 'bash', '-c', script, 'init', GUESTD, '/bin/true'],
                                       stdin=theirs, stdout=theirs)
            theirs.close()
            try:
                self.assertRefused(Peer(ours.fileno(), ours.fileno()).ask('shutdown'), 'no-manager')
            finally:
                program.kill()
                program.wait()


class Guest:
    """A socket as QEMU makes it, and what *play* does with each who connects."""

    def __init__(self, directory, play):
        self.path = pathlib.Path(directory, 'guest.sock')
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen()
        self.play = play
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                self.play(connection)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)


def result(identifier, verb='ping', **more):
    members = {'schema': 1, 'outcome': 'done', 'name': None, 'message': 'it answers', 'request_id': identifier, 'verb': verb, 'id': None, 'version': None,
               'plan': None, 'time': 1, 'log': None, 'data': {}}
    return json.dumps({**members, **more}).encode() + b'\n'


class TheHostsSide(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)

    def guest(self, play):
        guest = Guest(self.directory.name, play)
        self.addCleanup(guest.close)
        return guest.path

    def vm(self, *words):
        return subprocess.run([AFFIX, 'vm', *words], capture_output=True, text=True, timeout=60, check=False)

    def heard(self, connection):
        """The request that comes, behind an empty line."""
        data = b''
        while data.count(b'\n') < 2:
            data += connection.recv(4096)
        self.assertEqual(data[:1], b'\n')
        return json.loads(data)

    def served(self, connection):
        """By the program itself."""
        subprocess.run([GUESTD, '--stdio'], stdin=connection, stdout=connection, check=False)

    def test_the_two_sides_understand_each_other(self):
        path = self.guest(self.served)
        done = self.vm('ping', path)
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.assertRegex(done.stdout, r'^affix-guestd \S+ answers\n$')
        done = self.vm('health', '--json', path)
        answer = json.loads(done.stdout)
        self.assertEqual((answer['schema'], answer['verb']), (1, 'health'))
        self.assertEqual(done.returncode, {'running': 0, 'starting': 4}.get(answer['data']['state'], 3))

    def test_what_is_no_answer_to_this_request_is_passed_over(self):
        def play(connection):
            identifier = self.heard(connection)['request_id']
            connection.sendall(b'half a line of old"}\n\n\xff\xfe\n' + b'z' * 200_000 + b'\n{"schema":1}\n' + result('another', message='not this one') +
                               result(None) + result(identifier, message='this one'))

        self.assertEqual(self.vm('ping', self.guest(play)).stdout, 'this one\n')

    def test_health_says_by_its_exit_code_how_the_guest_is(self):
        states = iter(['running', 'starting', 'degraded', 'unknown'])

        def play(connection):
            identifier = self.heard(connection)['request_id']
            connection.sendall(result(identifier, verb='health', data={
                'state': next(states), 'version': '0.1.0', 'boot_id': 'b', 'uptime_seconds': 12, 'failed_units': ['bad\x1b[31m.service'],
                'addons': [{'id': 'probe', 'version': '1.0.0', 'state': 'running'}]}))

        path = self.guest(play)
        done = self.vm('health', path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn('add-on        probe 1.0.0 running\n', done.stdout)
        self.assertIn('bad\\x1b[31m.service\n', done.stdout)
        self.assertEqual([self.vm('health', path).returncode for _ in range(3)], [4, 3, 3])

    def test_a_refusal_of_the_guest_is_one_of_ours(self):
        def play(connection):
            identifier = self.heard(connection)['request_id']
            connection.sendall(result(identifier, outcome='refused', name='no-manager', message='there is\nno systemd'))

        done = self.vm('shutdown', self.guest(play))
        self.assertEqual((done.returncode, done.stdout), (4, ''))
        self.assertEqual(done.stderr, 'no-manager: there is\\x0ano systemd\n')

    def test_a_name_that_is_none_of_ours_is_an_error(self):
        def play(connection):
            connection.sendall(result(self.heard(connection)['request_id'], outcome='refused', name='\x1b]0;owned\x07'))

        done = self.vm('shutdown', self.guest(play))
        self.assertEqual((done.returncode, done.stdout, done.stderr), (1, '', 'error: it answers\n'))

    def test_a_guest_that_says_nothing_is_not_waited_for_longer_than_was_asked(self):
        for play in (lambda connection: connection.recv(1) and time.sleep(3), lambda connection: None,
                     lambda connection: [connection.sendall(b'noise\n' * 1000) for _ in range(1_000_000)]):
            with self.subTest():
                path = self.guest(play)
                began = time.monotonic()
                done = self.vm('ping', '--timeout', '1', path)
                self.assertEqual((done.returncode, done.stderr.partition(':')[0]), (4, 'timeout'), done)
                self.assertLess(time.monotonic() - began, 2.5)
                path.unlink()

    def test_a_guest_that_comes_late_is_waited_for(self):
        later = time.monotonic() + 1

        def play(connection):
            if time.monotonic() > later:
                self.served(connection)

        self.assertEqual(self.vm('ping', '--timeout', '10', self.guest(play)).returncode, 0)

    def test_firecracker_is_told_the_port_first(self):
        def play(connection):
            data = b''
            while not data.endswith(b'\n'):
                data += connection.recv(1)
            if data == b'CONNECT 4323\n':
                connection.sendall(b'OK 1073741824\n')
                self.served(connection)

        path = self.guest(play)
        self.assertEqual(self.vm('ping', '--firecracker', path).returncode, 0)
        path.unlink()
        done = self.vm('ping', '--firecracker', self.guest(lambda connection: connection.sendall(b'y' * 1000)))
        self.assertEqual((done.returncode, done.stderr.partition(':')[0]), (1, 'error'))

    def test_a_shutdown_over_vsock_is_not_asked_for_by_who_is_not_root(self):
        try:
            socket.socket(socket.AF_VSOCK).close()
        except OSError:
            self.skipTest('this kernel has no vsock')
        powerless = ['setpriv', '--bounding-set=-all', '--inh-caps=-all'] if os.getuid() == 0 else []
        began = time.monotonic()
        done = subprocess.run([*powerless, AFFIX, 'vm', 'shutdown', '1'], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr.partition(':')[0]), (1, '', 'forbidden'), done)
        self.assertIn("run it as root, or use the socket of the VM's serial port", done.stderr)
        self.assertLess(time.monotonic() - began, 2)

    def test_who_is_not_there_is_said_at_once(self):
        path = pathlib.Path(self.directory.name, 'nobody.sock')
        began = time.monotonic()
        for _ in range(2):
            done = self.vm('ping', path)
            self.assertEqual((done.returncode, done.stderr.partition(':')[0]), (4, 'no-guest'))
            with socket.socket(socket.AF_UNIX) as left:
                if not path.exists():
                    left.bind(str(path))
        self.assertLess(time.monotonic() - began, 2)

    def test_a_wrong_command_line_is_refused(self):
        for words in ([], ['nothing'], ['ping'], ['ping', 'a', 'b'], ['ping', '1:2:3'], ['ping', ':5'], ['ping', '99999999999'], ['ping', '--firecracker', '3'],
                      ['ping', '--timeout', '0', 'a'], ['ping', '--timeout', 'x', 'a']):
            self.assertEqual(self.vm(*words).returncode, 2, words)


if __name__ == '__main__':
    if not shutil.which('unshare'):
        print('unshare is not installed', file=sys.stderr)
        sys.exit(77)
    unittest.main(verbosity=2)
