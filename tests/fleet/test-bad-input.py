#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What strangers and broken agents send to affixd: it says no by a name, and others do not notice."""

import gzip
import os
import pathlib
import resource
import socket
import struct
import sys
import threading
import time
import unittest

from fleet import nested, start, wait_for
from opamp import Closed, PollAgent, Refused, SocketAgent, WebSocket, credential_of, describe, field

MIB = 1 << 20


class Cleanups:
    """A class of tests, where a test is expected."""

    def __init__(self, tests):
        self.addCleanup = tests.addClassCleanup


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = start(Cleanups(cls), config='unproven_per_address: 64\n')
        cls.join = cls.server.join_token()
        cls.bystander = SocketAgent(cls.server.address, authorization=cls.join)
        cls.bystander.ask(agent_description=describe())
        cls.addClassCleanup(cls.bystander.close)

    def tearDown(self):
        """Whatever was sent: the host beside it is served at once, by the same process."""
        begin = time.monotonic()
        self.assertEqual(self.bystander.ask(), {'instance_uid': self.bystander.uid})
        self.assertLess(time.monotonic() - begin, 1)
        self.assertEqual([line for line in self.server.log if 'ended by' in line or 'exit code' in line], [])

    def connect(self, **options):
        agent = SocketAgent(self.server.address, authorization=self.join, **options)
        self.addCleanup(agent.close)
        return agent

    def closed_with(self, agent):
        try:
            while True:
                agent.socket.receive()
        except Closed as closed:
            return closed.code
        except ConnectionResetError:
            return None

    def post(self, body, **headers):
        poller = PollAgent(self.server.address, self.join)
        self.addCleanup(poller.close)
        with self.assertRaises(Refused) as caught:
            poller.post(body, **headers)
        return caught.exception.status


class Messages(Hostile):
    BAD = {
        'nothing': b'',
        'random': os.urandom(1000),
        'a field that reaches behind the end': b'\x0a\xff\xff\xff\xff\x0f',
        'a UID of 15 bytes': field(1, bytes(15)),
        'a UID of 17 bytes': field(1, bytes(17)),
        'text that is not UTF-8': field(1, bytes(16)) + field(5, field(4, b'\xff\xfe')),
        'nested 40 deep': nested(40),
        'nested 100,000 deep': nested(100000),
        'many empty messages': field(1, bytes(16)) + b'\x1a\x00' * 400000,
        'many empty attributes': field(1, bytes(16)) + field(3, b'\x0a\x00' * 400000),
    }

    def test_over_http_each_is_a_bad_request(self):
        for name, body in self.BAD.items():
            with self.subTest(name):
                self.assertEqual(self.post(body), 400)

    def test_over_websocket_each_is_told_and_closes(self):
        for name, body in self.BAD.items():
            with self.subTest(name):
                agent = self.connect()
                agent.socket.send_frame(2, b'\0' + body)
                self.assertEqual(self.closed_with(agent), 1007)

    def test_header_that_is_not_zero_is_refused(self):
        agent = self.connect()
        agent.socket.send_frame(2, b'\x01' + agent.message())
        self.assertEqual(self.closed_with(agent), 1007)

    def test_text_frames_are_refused(self):
        agent = self.connect()
        agent.socket.send_frame(1, b'hello')
        self.assertEqual(self.closed_with(agent), 1003)

    def test_one_mebibyte_is_the_limit(self):
        agent = self.connect()
        agent.socket.send_frame(2, b'\0' + agent.message(effective_config={'config_map': {'config_map': {
            'sensor': {'body': bytes(MIB - 4096)}}}}))
        self.assertTrue(credential_of(agent.receive()))
        agent = self.connect()
        agent.socket.send_frame(2, b'\0' + bytes(MIB + 1))
        self.assertEqual(self.closed_with(agent), 1009)
        self.assertEqual(self.post(bytes(MIB + 1)), 413)

    def test_endless_message_in_small_frames_is_cut_off(self):
        agent = self.connect()
        code = None
        try:
            for i in range(64):
                agent.socket.send_frame(2 if i == 0 else 0, bytes(65536), False)
        except (BrokenPipeError, ConnectionResetError):
            pass
        else:
            code = self.closed_with(agent)
        self.assertIn(code, (None, 1009))

    def test_gzip_is_bounded_after_it_too(self):
        self.assertEqual(self.post(gzip.compress(bytes(100 * MIB)), **{'Content-Encoding': 'gzip'}), 413)
        self.assertEqual(self.post(b'\x1f\x8bnot really', **{'Content-Encoding': 'gzip'}), 400)
        self.assertEqual(self.post(gzip.compress(b'x') + b'more', **{'Content-Encoding': 'gzip'}), 400)

    def test_wrong_type_method_path_and_length_are_named(self):
        request = self.server.request
        self.assertEqual(request('GET', '/v1/opamp')[0], 405)
        self.assertEqual(request('POST', '/v1/opamp', b'x', content_type='text/plain')[0], 415)
        self.assertEqual(request('GET', '/')[0], 404)
        self.assertEqual(request('GET', '/v2/opamp')[0], 404)
        with self.assertRaises(Refused) as caught:
            WebSocket(self.server.address, '/elsewhere', self.join)
        self.assertEqual(caught.exception.status, 404)
        self.assertEqual(self.raw(b'POST /v1/opamp HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'), 411)

    def test_request_with_a_body_that_did_not_wait_for_the_answer_before_it_is_not_taken(self):
        get = b'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'
        post = b'POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc'
        for sent, answers in ((get + post, 1), (post + post, 1), (post + get, 2), (get * 5, 5), (get * 2 + post, 2),
                              (get + post[:-1], 1)):
            with self.subTest(sent):
                connection = socket.create_connection(self.server.address, 5)
                self.addCleanup(connection.close)
                connection.sendall(sent)
                self.check_answers(connection, answers, ends=answers < sent.count(b'HTTP/1.1'))
        # One that waits is.
        connection = socket.create_connection(self.server.address, 5)
        self.addCleanup(connection.close)
        for one in (get, post, post, get):
            connection.sendall(one)
            self.check_answers(connection, 1)

    def check_answers(self, connection, wanted, ends=False):
        received = b''
        while ends or received.count(b'HTTP/1.1 ') < wanted or not received.rstrip().endswith(b'}'):
            data = connection.recv(65536)
            if not data:
                break
            received += data
        self.assertEqual(received.count(b'HTTP/1.1 '), wanted, received)

    def test_no_other_protocol_is_spoken(self):
        with socket.create_connection(self.server.address, 5) as connection:
            connection.sendall(b'GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n'
                               b'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n')
            self.assertNotIn(b' 101 ', connection.recv(4096))

    def test_length_that_is_no_number_ends_the_connection(self):
        for length in (b'-1', b'+3', b'0x3', b'3 3', b'3, 3', b'9' * 30, b'3\r\nContent-Length: 4'):
            with self.subTest(length):
                connection = socket.create_connection(self.server.address, 5)
                self.addCleanup(connection.close)
                connection.sendall(b'POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: ' + length + b'\r\n\r\nabc')
                self.assertEqual(connection.recv(4096), b'')

    def test_parameter_that_is_too_long_is_not_as_if_it_were_not_there(self):
        self.assertEqual(self.server.request('GET', '/api/v1/hosts?selector=' + 'a' * 5000)[0], 414)
        self.assertEqual(self.server.request('GET', '/api/v1/hosts?limit=1&selector=' + 'a' * 5000)[0], 414)
        self.assertEqual(self.server.request('GET', '/api/v1/hosts?selector=' + 'a' * 4000)[0], 400)

    def raw(self, data):
        with socket.create_connection(self.server.address, 5) as connection:
            connection.sendall(data)
            return int(connection.recv(4096).split()[1])

    def test_body_of_the_rest_api_has_a_limit(self):
        status, headers, body = self.server.request('POST', '/api/v1/assignments', bytes(MIB + 1))
        self.assertEqual(status, 413, body)
        self.assertEqual(self.server.request('POST', '/api/v1/assignments', b'{"a":' * 100000)[0], 400)


class Floods(Hostile):
    def test_flood_of_messages_ends_its_connection_only(self):
        agent = self.connect()
        agent.ask(agent_description=describe())
        code = None
        try:
            for _ in range(500):
                agent.send()
        except (BrokenPipeError, ConnectionResetError):
            pass
        else:
            code = self.closed_with(agent)
        self.assertIn(code, (None, 1008))

    def test_flood_of_polls_is_told_to_wait(self):
        poller = PollAgent(self.server.address, self.join)
        self.addCleanup(poller.close)
        with self.assertRaises(Refused) as caught:
            for _ in range(100):
                poller.ask()
        self.assertEqual(caught.exception.status, 429)
        self.assertGreater(int(caught.exception.headers['retry-after']), 0)

    def test_connections_that_say_nothing_are_few_and_do_not_last(self):
        idle = []
        for _ in range(100):
            connection = socket.create_connection(self.server.address, 5)
            self.addCleanup(connection.close)
            idle.append(connection)
        time.sleep(0.3)
        closed = 0
        for connection in idle:
            connection.setblocking(False)
            try:
                closed += connection.recv(1) == b''
            except BlockingIOError:
                pass
            except ConnectionResetError:
                closed += 1
        self.assertGreaterEqual(closed, 100 - 64)
        # The rest holds a place for the time of a request's head, not longer.
        wait_for(lambda: self.can_connect(), 25, 'a free place')

    def ask_and_stay(self, path, token):
        """How many of a hundred connections are answered, all of which stay open."""
        answered = 0
        for _ in range(100):
            connection = socket.create_connection(self.server.address, 5)
            self.addCleanup(connection.close)
            try:
                connection.sendall(f'GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n'.encode())
                answered += connection.recv(4096).startswith(b'HTTP/1.1 200')
            except (ConnectionResetError, BrokenPipeError):
                pass
        return answered

    def test_only_who_shows_a_credential_that_is_good_counts_as_known(self):
        self.assertEqual(self.ask_and_stay('/api/v1/hosts', self.server.token()), 100)
        self.assertLessEqual(self.ask_and_stay('/healthz', 'whatever'), 64)
        wait_for(lambda: self.can_connect(), 25, 'a free place')

    def test_front_without_descriptors_waits_for_some_and_does_not_spin(self):
        server = start(self)
        front = server.children()[-1]
        # Not while it is still being set up.
        self.assertEqual(server.request('GET', '/healthz', token='')[0], 200)
        room = len(os.listdir(f'/proc/{front}/fd')) + 8
        resource.prlimit(front, resource.RLIMIT_NOFILE, (room, room))
        connections = [socket.create_connection(server.address, 10) for _ in range(20)]
        for connection in connections:
            self.addCleanup(connection.close)
        wait_for(lambda: len(os.listdir(f'/proc/{front}/fd')) >= room - 2, what='a front without descriptors')

        def spent():
            fields = pathlib.Path(f'/proc/{front}/stat').read_text().rsplit(')', 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
        before = spent()
        time.sleep(2)
        self.assertLess(spent() - before, 0.5)
        for connection in connections[:-1]:
            connection.close()
        connections[-1].sendall(b'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')
        self.assertTrue(connections[-1].recv(100).startswith(b'HTTP/1.1 200'))
        self.assertEqual(server.request('GET', '/healthz', token='')[0], 200)

    def can_connect(self):
        try:
            self.connect()
        except (Closed, OSError):
            return False
        return True

    def test_slow_head_is_cut_off(self):
        with socket.create_connection(self.server.address, 30) as connection:
            begin = time.monotonic()
            try:
                for byte in b'GET /healthz HTTP/1.1\r\n' + b'x' * 100:
                    connection.sendall(bytes([byte]))
                    time.sleep(0.5)
                    if time.monotonic() - begin > 30:
                        break
                ended = connection.recv(1) == b''
            except (BrokenPipeError, ConnectionResetError):
                ended = True
            self.assertTrue(ended)
            self.assertLess(time.monotonic() - begin, 30)

    def test_socket_without_a_first_message_is_closed(self):
        agent = self.connect()
        agent.socket.socket.settimeout(40)
        self.assertEqual(self.closed_with(agent), 1008)

    def trickle(self, connection, data):
        """A byte a second until the server has had enough: what it answered, and after how long."""
        begin = time.monotonic()
        connection.settimeout(1)
        answer = b''
        while time.monotonic() - begin < 60:
            try:
                connection.sendall(data)
                piece = connection.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                break
            if not piece:
                break
            answer += piece
        return answer, time.monotonic() - begin

    def test_body_that_trickles_is_cut_off(self):
        token = self.server.token()
        results = {}

        def send(name, head):
            with socket.create_connection(self.server.address, 10) as connection:
                connection.sendall(head.encode())
                results[name] = self.trickle(connection, b'x')

        def fragments():
            agent = self.connect()
            agent.ask(agent_description=describe())
            agent.socket.send_frame(2, b'\0', is_final=False)
            mask = b'\x00' + b'\x81' + bytes(4) + b'x'
            results['message'] = self.trickle(agent.socket.socket, mask)

        threads = [threading.Thread(target=send, args=(name, f'{line} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n'
                                                             f'Authorization: {authorization}\r\nContent-Type: {kind}\r\n\r\n'))
                   for name, line, authorization, kind in (
                       ('poll', 'POST /v1/opamp', self.join, 'application/x-protobuf'),
                       ('request', 'POST /api/v1/assignments', f'Bearer {token}', 'application/json'),
                       ('upload', 'POST /api/v1/packages?signature=x', f'Bearer {token}', 'application/octet-stream'),
                       ('refused', 'POST /nowhere', f'Bearer {token}', 'application/json'))]
        threads.append(threading.Thread(target=fragments))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(90)
        for name, (answer, seconds) in results.items():
            with self.subTest(name):
                self.assertLess(seconds, 55)
                if name in ('poll', 'request', 'upload'):
                    self.assertIn(b' 408 ', answer.split(b'\r\n')[0])
        self.assertEqual(len(results), len(threads))
        self.assertIn(b'did not come in time', results['message'][0])
        wait_for(lambda: not list((self.server.data / 'incoming').iterdir()), 20, 'an empty directory of uploads')

    def test_reader_that_does_not_read_loses_its_connection_not_our_memory(self):
        agent = self.connect()
        agent.socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        agent.ask(agent_description=describe())
        # Each report after a gap is answered; nobody takes the answers.
        for _ in range(40):
            agent.sequence += 1
            agent.send()
        self.assertEqual(self.bystander.ask(), {'instance_uid': self.bystander.uid})


class Frames(Hostile):
    """WebSocket frames that are against RFC 6455."""

    def send_raw(self, data):
        agent = self.connect()
        agent.socket.socket.sendall(data)
        return self.closed_with(agent)

    def test_frames_that_break_the_rules_end_the_connection(self):
        mask = b'\x01\x02\x03\x04'
        for name, data in {
            'not masked': b'\x82\x01x',
            'reserved bits': b'\xf2\x81' + mask + b'x',
            'unknown opcode': b'\x83\x81' + mask + b'x',
            'long ping': b'\x89\xfe\x00\x7e' + mask + bytes(126),
            'ping in pieces': b'\x09\x81' + mask + b'x',
            'continuation of nothing': b'\x80\x81' + mask + b'x',
            'enormous length': b'\x82\xff' + struct.pack('>Q', 1 << 62) + mask + bytes(100),
        }.items():
            with self.subTest(name):
                self.assertIn(self.send_raw(data), (None, 1002, 1003, 1007, 1008, 1009))

    def test_ping_is_answered(self):
        agent = self.connect()
        agent.socket.send_frame(9, b'hello')
        head = agent.socket.take(2)
        self.assertEqual((head[0] & 0x0f, agent.socket.take(head[1])), (10, b'hello'))

    def test_order_and_numbers_do_not_confuse(self):
        agent = self.connect()
        agent.ask(agent_description=describe())
        for sequence in (0, 2 ** 64 - 1, 5, 5, 4):
            agent.sequence = sequence - 1
            self.assertEqual(agent.ask()['flags'], 1, sequence)

    def test_another_uid_on_a_connection_has_to_begin_anew(self):
        agent = self.connect()
        agent.ask(agent_description=describe())
        before = len(self.server.api('GET', '/hosts')['items'])
        agent.uid = os.urandom(16)
        agent.send(agent_description=describe())
        self.assertEqual(self.closed_with(agent), 1001)
        self.assertEqual(len(self.server.api('GET', '/hosts')['items']), before)


if __name__ == '__main__':
    sys.exit(unittest.main(verbosity=2))
