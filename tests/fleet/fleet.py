# SPDX-License-Identifier: Apache-2.0
"""A real affixd on loopback in a directory of its own, an operator's hand on its REST API, and bundles to import."""

import http.client
import json
import os
import pathlib
import re
import signal
import struct
import subprocess
import tempfile
import threading
import time
import urllib.parse

BIN = pathlib.Path(os.environ['AFFIX_BUILD']) / 'bin'
AFFIX = BIN / 'affix'
AFFIXD = BIN / 'affixd'

MANIFEST = '''id: {id}
name: Sensor
version: {version}
kind: native
delivery: pushed-artifact
supervision: systemd-service
language: c
capabilities: [flows]
requires:
  base_agent: ">=0.1.0"
  platforms: [linux]
  os_capabilities: [cap_net_raw]
  run_as: affix-{id}
exec:
  binary: {id}
config_schema: config.schema.json
'''
UNIT = '''[Unit]
Description=Sensor
[Service]
ExecStart=/opt/affix/{id}/current/{id}
User=affix-{id}
AmbientCapabilities=CAP_NET_RAW
CapabilityBoundingSet=CAP_NET_RAW
[Install]
WantedBy=multi-user.target
'''
SCHEMA = {
    '$schema': 'https://json-schema.org/draft/2020-12/schema', 'type': 'object', 'additionalProperties': False,
    'properties': {'interval': {'type': 'integer', 'minimum': 1}},
}


def elf(machine=62, size=491):
    """The head of an ELF file, enough to be known as one for *machine*."""
    return b'\x7fELF\x02\x01\x01' + bytes(9) + b'\x02\x00' + bytes([machine, 0]) + b'\x01' + bytes(size)


class Workshop:
    """A key, and bundles signed with it."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.public = self.directory / 'key.pub'
        self.run('keygen', '-W', '-p', self.public, '-s', self.directory / 'key.sec')

    def run(self, *words):
        subprocess.run([AFFIX, *words], check=True, stdout=subprocess.DEVNULL, timeout=60)

    def bundle(self, version='1.0.0', name='sensor', arch='amd64', size=491):
        source = self.directory / f'{name}-{version}-{arch}'
        source.mkdir()
        (source / 'addon.yaml').write_text(MANIFEST.format(id=name, version=version))
        (source / f'affix-{name}.service').write_text(UNIT.format(id=name))
        (source / 'config.schema.json').write_text(json.dumps(SCHEMA))
        program = source.with_suffix('.elf')
        program.write_bytes(elf({'amd64': 62, 'arm64': 183}[arch]) + os.urandom(size))
        self.run('build', source, '--bin', f'linux/{arch}={program}', '-o', self.directory)
        made = self.directory / f'{name}-{version}-linux-{arch}.tar.zst'
        self.run('sign', '-s', self.directory / 'key.sec', made)
        return made


class Server:
    """affixd, started and stopped by the test."""

    def __init__(self, directory, *options, fronts=1, config=None):
        self.data = pathlib.Path(directory) / 'data'
        self.options = [*options, '--fronts', str(fronts)]
        self.log = []
        self.process = None
        self.is_serving = False
        self.port = 0
        self.scheme = 'http'
        self.context = None
        self.config = pathlib.Path(directory) / 'affixd.yaml'
        self.config.write_text(config or '{}\n')

    def start(self):
        self.is_serving = False
        self.process = subprocess.Popen(
            [AFFIXD, 'serve', '--config', self.config, '--data', self.data, '--listen', f'127.0.0.1:{self.port}',
             *self.options], stderr=subprocess.PIPE, text=True)
        ready = threading.Event()
        threading.Thread(target=self.read_log, args=(self.process, ready), daemon=True).start()
        if not ready.wait(20) or not self.is_serving:
            raise AssertionError('affixd did not start: ' + ' / '.join(self.log))
        return self

    def read_log(self, process, ready):
        for line in process.stderr:
            self.log.append(line.rstrip())
            found = re.search(r'serving .* reach it at (https?)://[^:]+:(\d+)', line)
            if found:
                self.scheme, self.port = found[1], int(found[2])
                self.is_serving = True
                ready.set()
        process.stderr.close()
        ready.set()

    @property
    def address(self):
        return '127.0.0.1', self.port

    @property
    def url(self):
        return f'{self.scheme}://127.0.0.1:{self.port}'

    def stop(self, number=signal.SIGTERM, timeout=30):
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout)
        self.process = None
        return code

    def restart(self, number=signal.SIGTERM):
        self.stop(number)
        return self.start()

    def children(self):
        """Process ids: the store first, then the fronts in the order in which they were started."""
        text = pathlib.Path(f'/proc/{self.process.pid}/task/{self.process.pid}/children').read_text()
        return [int(word) for word in text.split()]

    def token(self):
        return (self.data / 'admin-token').read_text().strip()

    def request(self, method, path, body=None, token=None, headers=None, content_type='application/json'):
        """Status, headers and body of one request of an operator (token '' is none)."""
        connection = (http.client.HTTPSConnection(*self.address, timeout=30, context=self.context)
                      if self.scheme == 'https' else http.client.HTTPConnection(*self.address, timeout=30))
        headers = dict(headers or {})
        token = self.token() if token is None else token
        if token:
            headers['Authorization'] = f'Bearer {token}'
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        if body is not None:
            headers['Content-Type'] = content_type
        elif method != 'GET':
            headers['Content-Length'] = '0'
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, dict((key.lower(), value) for key, value in answer.getheaders()), answer.read()
        finally:
            connection.close()

    def api(self, method, path, body=None, status=(200, 201, 204), **options):
        """The JSON that is answered; any other status is an error of the test."""
        got, _, data = self.request(method, '/api/v1' + path, body, **options)
        wanted = (status,) if isinstance(status, int) else status
        if got not in wanted:
            raise AssertionError(f'{method} {path}: {got} {data!r}')
        return json.loads(data) if data else None

    def join_token(self, name=None, **options):
        return 'Bearer ' + self.api('POST', '/join-tokens', {'name': name or f't{time.monotonic_ns()}', **options})['token']

    def trust(self, workshop):
        directory = self.data / 'trust.d'
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / 'key.pub').write_bytes(workshop.public.read_bytes())

    def import_bundle(self, bundle, status=(200, 201)):
        import base64
        signature = base64.urlsafe_b64encode(pathlib.Path(f'{bundle}.minisig').read_bytes()).decode().rstrip('=')
        return self.api('POST', f'/packages?signature={urllib.parse.quote(signature)}', bundle.read_bytes(), status,
                        content_type='application/octet-stream')

    def publish(self, bundle, name='sensor', version='1.0.0'):
        package = self.import_bundle(bundle)
        self.api('POST', f'/packages/{name}/{version}/approve', {})
        return package


def scratch(case):
    """A directory that goes when the test does."""
    directory = tempfile.TemporaryDirectory(prefix='affix-fleet-')
    case.addCleanup(directory.cleanup)
    return pathlib.Path(directory.name)


def start(case, *options, **more):
    server = Server(scratch(case), *options, **more)
    case.addCleanup(lambda: server.stop(signal.SIGKILL))
    return server.start()


def wait_for(condition, seconds=10, what='what was waited for'):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f'{what} did not come in {seconds} s')


def nested(depth):
    """An AgentToServer whose health is that deep."""
    health = b''
    lengths = []
    size = 0
    # From the inside out, sizes first: joining a hundred thousand growing strings would take minutes.
    for _ in range(depth):
        lengths.append(size)
        size += len(varint(size)) + 1
        size += len(varint(size)) + 1
    out = bytearray()
    for size in reversed(lengths):
        inner = len(varint(size)) + 1 + size
        out += b'\x32' + varint(inner) + b'\x12' + varint(size)
    health = bytes(out)
    return b'\x0a\x10' + bytes(16) + b'\x2a' + varint(len(health)) + health


def varint(number):
    out = b''
    while number > 0x7f:
        out += struct.pack('B', number & 0x7f | 0x80)
        number >>= 7
    return out + struct.pack('B', number)
