# SPDX-License-Identifier: Apache-2.0
"""OpAMP as a client speaks it, written for tests: protobuf, WebSocket and HTTP from the standard library alone.

Messages are dictionaries by the names below; what is absent is not sent. Nothing here is shared with the code under
test, so that both can be wrong only in different ways.
"""

import base64
import gzip
import http.client
import os
import socket
import ssl
import struct

VARINT, FIXED64, BYTES = 0, 1, 2

# name: (number, kind); kinds: uint, bytes, text, bool, fixed, message name, [message name], {message name} for a map of it
MESSAGES = {
    'AgentToServer': {
        'instance_uid': (1, 'bytes'), 'sequence_num': (2, 'uint'), 'agent_description': (3, 'AgentDescription'),
        'capabilities': (4, 'uint'), 'health': (5, 'ComponentHealth'), 'effective_config': (6, 'EffectiveConfig'),
        'remote_config_status': (7, 'RemoteConfigStatus'), 'package_statuses': (8, 'PackageStatuses'),
        'agent_disconnect': (9, 'Empty'), 'flags': (10, 'uint'), 'custom_capabilities': (12, 'CustomCapabilities'),
        'custom_message': (13, 'CustomMessage'),
    },
    'Empty': {},
    'AgentDescription': {'identifying_attributes': (1, ['KeyValue']), 'non_identifying_attributes': (2, ['KeyValue'])},
    'KeyValue': {'key': (1, 'text'), 'value': (2, 'AnyValue')},
    'AnyValue': {'string_value': (1, 'text')},
    'ComponentHealth': {
        'healthy': (1, 'bool'), 'start_time_unix_nano': (2, 'fixed'), 'last_error': (3, 'text'), 'status': (4, 'text'),
        'status_time_unix_nano': (5, 'fixed'), 'component_health_map': (6, {'ComponentHealth'}),
    },
    'EffectiveConfig': {'config_map': (1, 'AgentConfigMap')},
    'AgentConfigMap': {'config_map': (1, {'AgentConfigFile'})},
    'AgentConfigFile': {'body': (1, 'bytes'), 'content_type': (2, 'text')},
    'RemoteConfigStatus': {'last_remote_config_hash': (1, 'bytes'), 'status': (2, 'uint'), 'error_message': (3, 'text')},
    'PackageStatuses': {
        'packages': (1, {'PackageStatus'}), 'server_provided_all_packages_hash': (2, 'bytes'), 'error_message': (3, 'text'),
    },
    'PackageStatus': {
        'name': (1, 'text'), 'agent_has_version': (2, 'text'), 'agent_has_hash': (3, 'bytes'),
        'server_offered_version': (4, 'text'), 'server_offered_hash': (5, 'bytes'), 'status': (6, 'uint'),
        'error_message': (7, 'text'),
    },
    'CustomCapabilities': {'capabilities': (1, ['text'])},
    'CustomMessage': {'capability': (1, 'text'), 'type': (2, 'text'), 'data': (3, 'bytes')},
    'ServerToAgent': {
        'instance_uid': (1, 'bytes'), 'error_response': (2, 'ServerErrorResponse'), 'remote_config': (3, 'AgentRemoteConfig'),
        'connection_settings': (4, 'ConnectionSettingsOffers'), 'packages_available': (5, 'PackagesAvailable'),
        'flags': (6, 'uint'), 'capabilities': (7, 'uint'), 'agent_identification': (8, 'AgentIdentification'),
        'command': (9, 'ServerToAgentCommand'), 'custom_capabilities': (10, 'CustomCapabilities'),
        'custom_message': (11, 'CustomMessage'),
    },
    'ServerErrorResponse': {'type': (1, 'uint'), 'error_message': (2, 'text'), 'retry_info': (3, 'RetryInfo')},
    'RetryInfo': {'retry_after_nanoseconds': (1, 'uint')},
    'AgentRemoteConfig': {'config': (1, 'AgentConfigMap'), 'config_hash': (2, 'bytes')},
    'ConnectionSettingsOffers': {'hash': (1, 'bytes'), 'opamp': (2, 'OpAMPConnectionSettings')},
    'OpAMPConnectionSettings': {
        'destination_endpoint': (1, 'text'), 'headers': (2, 'Headers'), 'heartbeat_interval_seconds': (4, 'uint'),
    },
    'Headers': {'headers': (1, ['Header'])},
    'Header': {'key': (1, 'text'), 'value': (2, 'text')},
    'PackagesAvailable': {'packages': (1, {'PackageAvailable'}), 'all_packages_hash': (2, 'bytes')},
    'PackageAvailable': {'type': (1, 'uint'), 'version': (2, 'text'), 'file': (3, 'DownloadableFile'), 'hash': (4, 'bytes')},
    'DownloadableFile': {
        'download_url': (1, 'text'), 'content_hash': (2, 'bytes'), 'signature': (3, 'bytes'), 'headers': (4, 'Headers'),
    },
    'AgentIdentification': {'new_instance_uid': (1, 'bytes')},
    'ServerToAgentCommand': {'type': (1, 'uint')},
}
WIRE = {'uint': VARINT, 'bool': VARINT, 'fixed': FIXED64}


def varint(number):
    out = bytearray()
    while True:
        out.append((number & 0x7f) | (0x80 if number > 0x7f else 0))
        number >>= 7
        if not number:
            return bytes(out)


def field(number, data):
    return varint(number << 3 | BYTES) + varint(len(data)) + data


def encode_value(number, kind, value):
    if kind in ('uint', 'bool'):
        return varint(number << 3) + varint(int(value))
    if kind == 'fixed':
        return varint(number << 3 | FIXED64) + struct.pack('<Q', value)
    if kind == 'bytes':
        return field(number, value)
    if kind == 'text':
        return field(number, value.encode())
    if isinstance(kind, list):
        return b''.join(encode_value(number, kind[0], item) for item in value)
    if isinstance(kind, set):
        inner = next(iter(kind))
        return b''.join(field(number, field(1, key.encode()) + field(2, encode(inner, item)))
                        for key, item in value.items())
    return field(number, encode(kind, value))


def encode(name, message):
    return b''.join(encode_value(*MESSAGES[name][key], value) for key, value in message.items())


def read_varint(data, at):
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7f) << shift
        at += 1
        shift += 7
        if byte < 0x80:
            return number, at


def read_fields(data):
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        if tag & 7 == VARINT:
            value, at = read_varint(data, at)
        elif tag & 7 == FIXED64:
            value, at = struct.unpack_from('<Q', data, at)[0], at + 8
        elif tag & 7 == BYTES:
            size, at = read_varint(data, at)
            assert at + size <= len(data), 'a field reaches behind its message'
            value, at = data[at:at + size], at + size
        else:
            raise ValueError(f'wire type {tag & 7}')
        yield tag >> 3, value


def decode_value(kind, value):
    if kind == 'bool':
        return bool(value)
    if kind in ('uint', 'fixed', 'bytes'):
        return value
    if kind == 'text':
        return value.decode()
    return decode(kind, value)


def decode(name, data):
    names = {number: (key, kind) for key, (number, kind) in MESSAGES[name].items()}
    out = {}
    for number, value in read_fields(data):
        if number not in names:
            out.setdefault('unknown', []).append(number)
            continue
        key, kind = names[number]
        if isinstance(kind, list):
            out.setdefault(key, []).append(decode_value(kind[0], value))
        elif isinstance(kind, set):
            entry = dict(read_fields(value))
            out.setdefault(key, {})[entry.get(1, b'').decode()] = decode(next(iter(kind)), entry.get(2, b''))
        else:
            out[key] = decode_value(kind, value)
    return out


def attributes(pairs):
    return [{'key': key, 'value': {'string_value': value}} for key, value in pairs.items()]


class Closed(Exception):
    """The server closed the WebSocket: `code` is why, or None without a close frame."""

    def __init__(self, code):
        super().__init__(f'closed with {code}')
        self.code = code


class Refused(Exception):
    """The server answered something else than what was asked for."""

    def __init__(self, status, headers, body):
        super().__init__(f'status {status}: {body[:200]!r}')
        self.status = status
        self.headers = headers
        self.body = body


class WebSocket:
    """One connection, frame by frame."""

    def __init__(self, address, path='/v1/opamp', authorization=None, context=None, timeout=10, source=None, extra=()):
        self.socket = socket.create_connection(address, timeout, source_address=source)
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname=address[0])
        self.buffer = b''
        key = base64.b64encode(os.urandom(16)).decode()
        head = [f'GET {path} HTTP/1.1', f'Host: {address[0]}:{address[1]}', 'Upgrade: websocket', 'Connection: Upgrade',
                f'Sec-WebSocket-Key: {key}', 'Sec-WebSocket-Version: 13', *extra]
        if authorization:
            head.append(f'Authorization: {authorization}')
        try:
            self.socket.sendall(('\r\n'.join(head) + '\r\n\r\n').encode())
            while b'\r\n\r\n' not in self.buffer:
                self.fill()
        except (OSError, Closed):
            self.close()
            raise
        answer, self.buffer = self.buffer.split(b'\r\n\r\n', 1)
        status = int(answer.split()[1])
        if status != 101:
            self.close()
            raise Refused(status, {}, answer)

    def fill(self):
        data = self.socket.recv(65536)
        if not data:
            raise Closed(None)
        self.buffer += data

    def take(self, size):
        while len(self.buffer) < size:
            self.fill()
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def send_frame(self, opcode, payload, is_final=True):
        mask = os.urandom(4)
        head = bytes([opcode | (0x80 if is_final else 0)])
        if len(payload) < 126:
            head += bytes([0x80 | len(payload)])
        elif len(payload) < 65536:
            head += bytes([0x80 | 126]) + struct.pack('>H', len(payload))
        else:
            head += bytes([0x80 | 127]) + struct.pack('>Q', len(payload))
        repeated = (mask * (len(payload) // 4 + 1))[:len(payload)]
        masked = (int.from_bytes(payload, 'big') ^ int.from_bytes(repeated, 'big')).to_bytes(len(payload), 'big')
        self.socket.sendall(head + mask + masked)

    def receive(self):
        """The next message; pings are answered on the way."""
        message = b''
        while True:
            first, second = self.take(2)
            size = second & 0x7f
            if size == 126:
                size = struct.unpack('>H', self.take(2))[0]
            elif size == 127:
                size = struct.unpack('>Q', self.take(8))[0]
            payload = self.take(size)
            opcode = first & 0x0f
            if opcode == 8:
                raise Closed(struct.unpack('>H', payload[:2])[0] if len(payload) >= 2 else None)
            if opcode == 9:
                self.send_frame(10, payload)
                continue
            if opcode == 10:
                continue
            message += payload
            if first & 0x80:
                return message

    def close(self):
        self.socket.close()


class Agent:
    """What both transports share: who the agent is and how it counts."""

    def __init__(self, uid=None):
        self.uid = uid or os.urandom(16)
        self.sequence = 0
        self.capabilities = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x100 | 0x800 | 0x1000 | 0x2000

    def message(self, **parts):
        self.sequence += 1
        return encode('AgentToServer', {'instance_uid': self.uid, 'sequence_num': self.sequence,
                                        'capabilities': self.capabilities, **parts})


class SocketAgent(Agent):
    def __init__(self, address, authorization=None, uid=None, **options):
        super().__init__(uid)
        self.socket = WebSocket(address, authorization=authorization, **options)

    def send(self, **parts):
        self.socket.send_frame(2, b'\0' + self.message(**parts))

    def receive(self):
        data = self.socket.receive()
        assert data[0] == 0, 'the header is not 0'
        return decode('ServerToAgent', data[1:])

    def ask(self, **parts):
        self.send(**parts)
        return self.receive()

    def close(self):
        self.socket.close()


class PollAgent(Agent):
    def __init__(self, address, authorization=None, uid=None, packs=False, context=None):
        super().__init__(uid)
        self.address = address
        self.authorization = authorization
        self.packs = packs
        self.context = context
        self.connection = None

    def post(self, body, **headers):
        if self.connection is None:
            self.connection = (http.client.HTTPSConnection(*self.address, timeout=10, context=self.context)
                               if self.context else http.client.HTTPConnection(*self.address, timeout=10))
        headers = {'Content-Type': 'application/x-protobuf', **headers}
        if self.authorization:
            headers['Authorization'] = self.authorization
        if self.packs:
            body = gzip.compress(body)
            headers.update({'Content-Encoding': 'gzip', 'Accept-Encoding': 'gzip'})
        try:
            self.connection.request('POST', '/v1/opamp', body, headers)
            answer = self.connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        if answer.getheader('Content-Encoding') == 'gzip':
            data = gzip.decompress(data)
        if answer.status != 200:
            raise Refused(answer.status, dict(answer.getheaders()), data)
        return decode('ServerToAgent', data)

    def ask(self, **parts):
        return self.post(self.message(**parts))

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


def credential_of(message):
    """The value of the Authorization header that a ServerToAgent tells the agent to use from now on, or None."""
    settings = message.get('connection_settings', {}).get('opamp', {})
    for header in settings.get('headers', {}).get('headers', []):
        if header['key'].lower() == 'authorization':
            return header['value']
    return None


def describe(labels=None, **plain):
    """An AgentDescription of a Linux host."""
    facts = {'os.type': 'linux', 'host.arch': 'amd64', 'host.name': 'host.example', 'service.version': '0.1.0', **plain}
    facts.update({f'affix.label.{key}': value for key, value in (labels or {}).items()})
    return {'identifying_attributes': attributes({'service.name': 'affix-agent'}),
            'non_identifying_attributes': attributes(facts)}


def unverified_context():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
