# SPDX-License-Identifier: Apache-2.0
"""A small OpAMP server for tests: HTTP and WebSocket on loopback, artifacts with ranges.

    with fleet_server.Server() as server:
        server.offer(probe=server.package('1.0.0', b'bundle', 'signature'))
        report = server.wait(lambda report: 'probe' in report.packages)

What it does wrong, a test tells it to: `server.refuse`, `server.artifact_answers`, `server.websocket`.
"""

import base64
import collections
import gzip
import hashlib
import json
import socket
import socketserver
import ssl
import struct
import threading
import time

import wire

GUID = b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
FULL_STATE = 1
CAPABILITIES = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20


class Report:
    """An AgentToServer, decoded."""

    def __init__(self, raw, headers, transport):
        fields = wire.parse(raw)
        self.raw = fields
        self.size = len(raw)
        self.headers = headers
        self.transport = transport
        self.uid = wire.first(fields, 1)
        self.sequence = wire.first(fields, 2)
        self.capabilities = wire.first(fields, 4)
        self.parts = set(fields) - {1, 2, 4}
        self.attributes = {}
        for description in fields.get(3, []):
            parsed = wire.parse(description)
            for item in parsed.get(1, []) + parsed.get(2, []):
                pair = wire.parse(item)
                self.attributes[pair[1][0].decode()] = wire.first(wire.parse(pair[2][0]), 1, b'').decode()
        statuses = wire.parse(wire.first(fields, 8, b''))
        self.packages_hash = wire.first(statuses, 2, b'')
        self.packages_error = wire.first(statuses, 3, b'').decode()
        self.packages = {name: {'version': wire.first(item, 2, b'').decode(), 'hash': wire.first(item, 3, b''),
                                'offered': wire.first(item, 4, b'').decode(), 'status': wire.first(item, 6, 0),
                                'error': wire.first(item, 7, b'').decode()}
                         for name, item in wire.mapping(statuses, 1).items()}
        health = wire.parse(wire.first(fields, 5, b''))
        self.healthy = bool(wire.first(health, 1, 0))
        self.health_error = wire.first(health, 3, b'').decode()
        self.health = {name: wire.first(item, 4, b'').decode() for name, item in wire.mapping(health, 6).items()}
        config = wire.parse(wire.first(fields, 7, b''))
        self.config_hash, self.config_status = wire.first(config, 1, b''), wire.first(config, 2, 0)
        self.config_error = wire.first(config, 3, b'').decode()
        self.effective = {}
        for item in fields.get(6, []):
            files = wire.parse(wire.first(wire.parse(item), 1, b''))
            self.effective = {name: json.loads(wire.first(file, 1)) for name, file in wire.mapping(files, 1).items()}
        self.addons = {}
        for item in fields.get(13, []):
            message = wire.parse(item)
            if message[1][0] == b'io.affix.status':
                self.addons = {addon['id']: addon for addon in json.loads(message[3][0])['addons']}
        self.settings_status = wire.first(wire.parse(wire.first(fields, 15, b'')), 2, 0)
        self.is_last = 9 in fields


class Server:
    """See the module. Attributes may be changed while it runs."""

    def __init__(self, tls=None, address='127.0.0.1'):
        self.address = address
        self.tls = tls
        self.websocket = True        # False: upgrades are answered with 404
        self.refuse = None           # (status, Retry-After or None) for every report
        self.tokens = {'join'}       # what lets in
        self.credential = None       # offered to whoever comes with a token
        self.heartbeat = 0
        self.packages = None         # None: the field is absent
        self.settings = None
        self.configs = None
        self.is_mute = False         # WebSockets stay open and answer nothing
        self.is_late = False         # a WebSocket is let in, and told afterwards that its credential is not known
        self.failure = None          # an error that every report is answered with, and the connection's end
        self.extra = b''             # fields added to every answer
        self.artifacts = {}          # path: bytes
        self.artifact_answers = []   # functions (handler, body) that answer the next downloads instead
        self.downloads = []          # (path, Range)
        self.reports = []
        self.connections = 0
        self.authorizations = collections.Counter()
        self.lock = threading.Condition()
        self.sockets = set()
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                try:
                    outer.handle(self)
                except (ConnectionError, ValueError, IndexError, OSError, ssl.SSLError):
                    pass

        class Listener(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

            def get_request(self):
                connection, address = super().get_request()
                if outer.tls:
                    connection = outer.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                return connection, address

            def handle_error(self, request, client_address):
                pass

        self.listener = Listener((address, 0), Handler)
        self.port = self.listener.server_address[1]

    def __enter__(self):
        threading.Thread(target=self.listener.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown()
        self.drop()
        self.listener.server_close()

    def url(self, scheme=None):
        return f"{scheme or ('wss' if self.tls else 'ws')}://{self.address}:{self.port}/v1/opamp"

    def drop(self):
        """Ends all WebSockets, as a network does."""
        with self.lock:
            for connection in list(self.sockets):
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    # What is offered.

    def package(self, version, bundle, signature='signed', **changes):
        digest = hashlib.sha256(bundle).digest()
        path = changes.pop('path', f'/artifacts/{digest.hex()[:16]}')
        self.artifacts[path] = bundle
        return {'version': version, 'url': path, 'content_hash': digest, 'signature': signature,
                'hash': hashlib.sha256(digest + version.encode()).digest(), **changes}

    def offer(self, push=True, **packages):
        with self.lock:
            self.packages = packages
        if push:
            self.push()

    def configure(self, configs=None, settings=None):
        with self.lock:
            self.configs, self.settings = configs or {}, settings
        self.push()

    def packages_message(self):
        message = b''
        for name, item in sorted(self.packages.items()):
            file = wire.text(1, item['url']) + wire.data(2, item['content_hash']) + wire.text(3, item['signature'])
            for key, value in item.get('headers', {}).items():
                file += wire.data(4, wire.data(1, wire.text(1, key) + wire.text(2, value)))
            package = wire.number(1, item.get('type', 1)) + wire.text(2, item['version'])
            package += wire.data(3, file) + wire.data(4, item['hash'])
            message += wire.entry(1, name, package)
        return message + wire.data(2, self.packages_hash())

    def packages_hash(self):
        items = repr(sorted((name, item['hash']) for name, item in self.packages.items()))
        return hashlib.sha256(items.encode()).digest()

    def config_message(self):
        files = b''
        entries = dict(self.configs)
        if self.settings is not None:
            entries['affix'] = {'schema': 1, **self.settings}
        for name, body in sorted(entries.items()):
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            files += wire.entry(1, name, wire.data(1, raw) + wire.text(2, 'application/json'))
        return wire.data(1, files) + wire.data(2, hashlib.sha256(files).digest())

    def config_hash(self):
        return wire.first(wire.parse(self.config_message()), 2)

    def compose(self, uid, report=None, authorization=''):
        message = wire.data(1, uid) + wire.number(7, CAPABILITIES)
        if self.packages is not None and (report is None or 8 in report.parts and
                                          report.packages_hash != self.packages_hash()):
            message += wire.data(5, self.packages_message())
        if self.configs is not None and (report is None or 7 in report.parts and
                                         report.config_hash != self.config_hash()):
            message += wire.data(3, self.config_message())
        if self.credential and authorization.removeprefix('Bearer ') in self.tokens:
            header = wire.data(1, wire.text(1, 'Authorization') + wire.text(2, f'Bearer {self.credential}'))
            message += wire.data(4, wire.data(1, b'hash') + wire.data(2, wire.data(2, header) +
                                                                     wire.number(4, self.heartbeat or 30)))
        return message + self.extra

    # What comes in.

    def is_let_in(self, authorization):
        return authorization.removeprefix('Bearer ') in self.tokens | {self.credential}

    def take(self, raw, headers, transport):
        report = Report(raw, headers, transport)
        with self.lock:
            self.reports.append(report)
            self.lock.notify_all()
            return report, self.compose(report.uid, report, headers.get('authorization', ''))

    def wait(self, condition, seconds=60, after=0):
        """The first report from the *after*th on for which the condition holds."""
        end = time.monotonic() + seconds
        with self.lock:
            at = after
            while True:
                while at < len(self.reports):
                    if condition(self.reports[at]):
                        return self.reports[at]
                    at += 1
                left = end - time.monotonic()
                if left <= 0:
                    seen = [(r.transport, sorted(r.parts), r.packages, r.addons, r.health_error) for r in self.reports[-5:]]
                    raise AssertionError(f'no such report in {seconds} s; the last were {seen}')
                self.lock.wait(left)

    def push(self):
        """Tells all connected WebSockets what is offered now."""
        with self.lock:
            for connection in list(self.sockets):
                if connection.uid:
                    try:
                        send_frame(connection.wfile, 2, b'\0' + self.compose(connection.uid))
                    except OSError:
                        pass

    def handle(self, handler):
        while True:
            line = handler.rfile.readline(8192).decode('latin-1')
            if not line:
                return
            method, target, _ = line.split()
            headers = {}
            while (line := handler.rfile.readline(8192).decode('latin-1').strip()):
                key, value = line.split(':', 1)
                headers[key.lower()] = value.strip()
            body = handler.rfile.read(int(headers.get('content-length', 0)))
            if target.startswith('/artifacts/'):
                if not self.download(handler, target, headers):
                    return
            elif headers.get('upgrade') == 'websocket':
                self.upgrade(handler, headers)
                return
            elif method == 'POST':
                self.poll(handler, headers, body)
            else:
                answer(handler, 404)

    def is_refused(self, handler, headers, is_late=False):
        authorization = headers.get('authorization', '')
        with self.lock:
            self.authorizations[authorization] += 1
        if self.refuse:
            status, retry = self.refuse
            answer(handler, status, headers={'Retry-After': str(retry)} if retry else {})
            return True
        if not is_late and not self.is_let_in(authorization):
            answer(handler, 401)
            return True
        return False

    def poll(self, handler, headers, body):
        if self.is_refused(handler, headers):
            return
        if headers.get('content-encoding') == 'gzip':
            body = gzip.decompress(body)
        _, reply = self.take(body, headers, 'http')
        if 'gzip' in headers.get('accept-encoding', ''):
            answer(handler, 200, gzip.compress(reply), {'Content-Encoding': 'gzip'})
        else:
            answer(handler, 200, reply)

    def upgrade(self, handler, headers):
        if not self.websocket:
            answer(handler, 404)
            return
        if self.is_refused(handler, headers, self.is_late):
            return
        accept = base64.b64encode(hashlib.sha1(headers['sec-websocket-key'].encode() + GUID).digest()).decode()
        handler.wfile.write((f'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
                             f'Sec-WebSocket-Accept: {accept}\r\n\r\n').encode())
        handler.uid = None
        handler.shutdown = handler.connection.shutdown
        with self.lock:
            self.connections += 1
            self.sockets.add(handler)
        try:
            self.talk(handler, headers)
        finally:
            with self.lock:
                self.sockets.discard(handler)

    def talk(self, handler, headers):
        while True:
            opcode, payload = read_frame(handler.rfile)
            if self.is_mute:
                continue
            if opcode == 8:
                with self.lock:
                    send_frame(handler.wfile, 8, payload)
                return
            if opcode == 9:
                with self.lock:
                    send_frame(handler.wfile, 10, payload)
                continue
            if opcode != 2:
                continue
            assert payload[0] == 0
            report, reply = self.take(payload[1:], headers, 'websocket')
            with self.lock:
                handler.uid = report.uid
                failure = self.failure
                if self.is_late and not self.is_let_in(headers.get('authorization', '')):
                    failure = 'this token is not known'
                if failure:
                    reply = wire.data(1, report.uid) + wire.data(2, wire.number(1, 1) + wire.text(2, failure))
                send_frame(handler.wfile, 2, b'\0' + reply)
            if failure:
                return

    def download(self, handler, path, headers):
        with self.lock:
            self.downloads.append((path, headers.get('range'), headers))
            special = self.artifact_answers.pop(0) if self.artifact_answers else None
        body = self.artifacts.get(path)
        if special:
            return special(handler, body)
        if body is None:
            answer(handler, 404)
            return True
        wanted = headers.get('range', '')
        if wanted.startswith('bytes=') and wanted.endswith('-'):
            start = int(wanted[6:-1])
            if start >= len(body):
                answer(handler, 416)
            else:
                answer(handler, 206, body[start:], {'Content-Range': f'bytes {start}-{len(body) - 1}/{len(body)}'})
        else:
            answer(handler, 200, body)
        return True


def answer(handler, status, body=b'', headers=None):
    lines = [f'HTTP/1.1 {status} Because', f'Content-Length: {len(body)}']
    lines += [f'{key}: {value}' for key, value in (headers or {}).items()]
    handler.wfile.write('\r\n'.join(lines).encode() + b'\r\n\r\n' + body)


def read_frame(file):
    head = read_exactly(file, 2)
    size = head[1] & 0x7f
    if size == 126:
        size = struct.unpack('>H', read_exactly(file, 2))[0]
    elif size == 127:
        size = struct.unpack('>Q', read_exactly(file, 8))[0]
    if not head[1] & 0x80:
        raise ValueError('a client masks its frames')
    mask = read_exactly(file, 4)
    payload = read_exactly(file, size)
    return head[0] & 0xf, bytes(byte ^ mask[i & 3] for i, byte in enumerate(payload))


def read_exactly(file, size):
    data = file.read(size)
    if len(data) != size:
        raise ConnectionError('the agent is gone')
    return data


def send_frame(file, opcode, payload):
    head = bytes([0x80 | opcode])
    if len(payload) < 126:
        head += bytes([len(payload)])
    elif len(payload) < 65536:
        head += b'\x7e' + struct.pack('>H', len(payload))
    else:
        head += b'\x7f' + struct.pack('>Q', len(payload))
    file.write(head + payload)
