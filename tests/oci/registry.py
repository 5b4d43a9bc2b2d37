# SPDX-License-Identifier: Apache-2.0
"""Debian's docker-registry on loopback, a link to it that can be slow and be cut, and images to put into it."""

import base64
import gzip
import hashlib
import io
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parents[1]
BIN = pathlib.Path(os.environ['AFFIX_BUILD']) / 'bin'
AFFIX = BIN / 'affix'
# "secret" by bcrypt, which is what docker-registry reads.
PASSWORD = '$2b$04$EYlinSvmcftO5TnQ1wnfcuHpVgeEV6pBXAyB.pmMOvygM8.rz7bF6'

INDEX = 'application/vnd.oci.image.index.v1+json'
MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
LAYER = 'application/vnd.oci.image.layer.v1.tar'


def program():
    """Debian's registry, unpacked and not installed: as a package it would begin to serve this machine's port 5000."""
    if not shutil.which('apt-get'):
        return None
    found = subprocess.run([SOURCE / 'tests/setup', 'deb', 'docker-registry'], text=True, capture_output=True, check=False)
    path = pathlib.Path(found.stdout.strip() or '/nowhere') / 'usr/bin/docker-registry'
    return path if path.exists() else None


def free_port():
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        return one.getsockname()[1]


class Registry:
    """A registry with a directory of its own; *auth*: a file of htpasswd; *tls*: (certificate, key); *more*: lines."""

    def __init__(self, directory, auth=None, tls=None, more=()):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(exist_ok=True)
        self.port = free_port()
        self.process = None
        lines = [
            'version: 0.1', 'log: {level: error, accesslog: {disabled: true}}',
            f'storage: {{filesystem: {{rootdirectory: {self.directory}/data}}, delete: {{enabled: true}}}}',
            'http:', f'  addr: 127.0.0.1:{self.port}', '  relativeurls: true', '  secret: for tests',
        ]
        if tls:
            lines += [f'  tls: {{certificate: {tls[0]}, key: {tls[1]}}}']
        if auth:
            lines += ['auth:', f'  htpasswd: {{realm: test, path: {auth}}}']
        lines += more
        (self.directory / 'config.yml').write_text('\n'.join(lines) + '\n')

    def start(self):
        with open(self.directory / 'log', 'a', encoding='ascii') as log:
            self.process = subprocess.Popen([program(), 'serve', self.directory / 'config.yml'], stdout=log, stderr=log)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                socket.create_connection(('127.0.0.1', self.port), timeout=1).close()
                return self
            except OSError:
                time.sleep(0.02)
        raise AssertionError('docker-registry did not start: ' + (self.directory / 'log').read_text())

    def stop(self, number=signal.SIGKILL):
        if self.process:
            self.process.send_signal(number)
            self.process.wait(20)
            self.process = None

    def ref(self, name):
        return f'127.0.0.1:{self.port}/{name}'

    def blob(self, digest):
        """The file in which the registry keeps a blob."""
        value = digest.removeprefix('sha256:')
        return self.directory / 'data/docker/registry/v2/blobs/sha256' / value[:2] / value / 'data'


class Link:
    """A port that leads to another, at most *rate* bytes a second from there; it counts, and keeps what is asked."""

    def __init__(self, port, rate=None):
        self.target = port
        self.rate = rate
        self.moved = 0
        self.requests = b''
        self.cut_after = None
        self.sent = 0
        self.cut_up_after = None
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return
            try:
                far = socket.create_connection(('127.0.0.1', self.target), timeout=5)
            except OSError:
                near.close()
                continue
            threading.Thread(target=self.up, args=(near, far), daemon=True).start()
            threading.Thread(target=self.down, args=(far, near), daemon=True).start()

    def up(self, near, far):
        try:
            while data := near.recv(65536):
                self.requests += data[:4096]
                self.sent += len(data)
                if self.cut_up_after is not None and self.sent > self.cut_up_after:
                    self.cut_up_after = None
                    break
                far.sendall(data)
        except OSError:
            pass
        self.end(near, far)

    @staticmethod
    def end(*both):
        for one in both:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()

    def down(self, far, near):
        try:
            while data := far.recv(65536):
                if self.cut_after is not None and self.moved + len(data) > self.cut_after:
                    self.cut_after = None
                    break
                near.sendall(data)
                self.moved += len(data)
                if self.rate:
                    time.sleep(len(data) / self.rate)
        except OSError:
            pass
        self.end(near, far)

    def close(self):
        self.listener.close()


def digest_of(data):
    return 'sha256:' + hashlib.sha256(data).hexdigest()


def tar_of(files):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode='w') as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()


class Layout:
    """An OCI layout made by hand."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        (self.directory / 'blobs/sha256').mkdir(parents=True)
        (self.directory / 'oci-layout').write_text('{"imageLayoutVersion": "1.0.0"}')
        self.manifests = []

    def add(self, data, media_type, **more):
        digest = digest_of(data)
        (self.directory / 'blobs/sha256' / digest[7:]).write_bytes(data)
        return {'mediaType': media_type, 'digest': digest, 'size': len(data), **more}

    def add_json(self, value, media_type, **more):
        return self.add(json.dumps(value).encode(), media_type, **more)

    def image(self, layers, arch='amd64', compress=True, **more):
        """A descriptor of an image of these tars."""
        config = self.add_json({
            'architecture': arch, 'os': 'linux', 'config': {},
            'rootfs': {'type': 'layers', 'diff_ids': [digest_of(layer) for layer in layers]},
        }, 'application/vnd.oci.image.config.v1+json')
        described = [self.add(gzip.compress(layer, 1, mtime=0), LAYER + '+gzip') if compress else self.add(layer, LAYER)
                     for layer in layers]
        manifest = {'schemaVersion': 2, 'mediaType': MANIFEST, 'config': config, 'layers': described}
        return self.add_json(manifest, MANIFEST, platform={'os': 'linux', 'architecture': arch}, **more)

    def index(self, manifests):
        return self.add_json({'schemaVersion': 2, 'mediaType': INDEX, 'manifests': manifests}, INDEX)

    def name(self, tag, descriptor):
        self.manifests.append({**descriptor, 'annotations': {'org.opencontainers.image.ref.name': tag}})
        self.write()

    def write(self):
        (self.directory / 'index.json').write_text(json.dumps({'schemaVersion': 2, 'manifests': self.manifests}))


def skopeo(*words, check=True):
    # Its policy is the machine's, and this one may have none.
    return subprocess.run(['skopeo', '--insecure-policy', *map(str, words)], text=True, capture_output=True, timeout=120,
                          check=check)


def scratch(test):
    path = pathlib.Path(tempfile.mkdtemp(prefix='affix-oci-'))
    test.addCleanup(shutil.rmtree, path)
    return path


class Case(unittest.TestCase):
    """A user with a home of his own, and what he asks affix for."""

    def setUp(self):
        self.directory = scratch(self)
        self.environment = {**os.environ, 'HOME': str(self.directory), 'XDG_CACHE_HOME': str(self.directory / 'cache')}
        self.environment.pop('DOCKER_CONFIG', None)
        self.cache = self.directory / 'cache/affix/oci'

    def serve(self, name='registry', **options):
        made = Registry(self.directory / name, **options).start()
        self.addCleanup(made.stop)
        return made

    def affix(self, *words, code=0, **environment):
        done = subprocess.run([AFFIX, *map(str, words)], text=True, capture_output=True, timeout=120,
                              env={**self.environment, **environment}, check=False)
        self.assertEqual(done.returncode, code, (words, done.stdout, done.stderr))
        return done

    def refused(self, name, *words, code=1, **environment):
        said = self.affix(*words, '--quiet', code=code, **environment).stderr
        self.assertRegex(said, rf'\A{name}: [^\n]+\n\Z')
        return said

    def json(self, *words):
        answer = json.loads(self.affix(*words, '--json').stdout)
        self.assertEqual(answer['schema'], 1)
        return answer

    def cached(self):
        return sorted('sha256:' + path.name for path in (self.cache / 'blobs/sha256').iterdir())

    def check_cache(self):
        """Whatever has its final name is what the name says."""
        for digest in self.cached():
            data = (self.cache / 'blobs/sha256' / digest[7:]).read_bytes()
            self.assertEqual(digest_of(data), digest)

    def image(self, *layers, name='image', **options):
        """A layout with an image called v1."""
        layout = Layout(self.directory / name)
        layout.name('v1', layout.image(layers, **options))
        return layout

    def put(self, made, layout, name='image:v1', tag='v1'):
        skopeo('copy', '--dest-tls-verify=false', f'oci:{layout.directory}:{tag}', f'docker://{made.ref(name)}')

    def log_in(self, port, user='ann', password='secret', **more):
        config = self.directory / '.docker/config.json'
        config.parent.mkdir(exist_ok=True)
        auth = base64.b64encode(f'{user}:{password}'.encode()).decode()
        config.write_text(json.dumps({'auths': {f'127.0.0.1:{port}': {'auth': auth}}, **more}))
        return config


def run():
    """The tests of the caller, or why they cannot be run."""
    if not program():
        print("Debian's docker-registry cannot be had (apt-get)")
        sys.exit(77)
    if not shutil.which('skopeo'):
        print('skopeo is not installed')
        sys.exit(77)
    unittest.main(module='__main__', verbosity=2)
