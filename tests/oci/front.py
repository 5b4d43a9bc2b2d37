# SPDX-License-Identifier: Apache-2.0
"""What may stand before a registry: a server that hands requests on, answers some of them itself, and remembers who
said what; and a token service."""

import base64
import http.client
import http.server
import json
import subprocess
import threading
import time
import urllib.parse


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def answer(self, status, body=b'', **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace('_', '-'), str(value))
        if 'Content_Length' not in headers:
            self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def forward(self):
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        there = http.client.HTTPConnection('127.0.0.1', self.server.target, timeout=30)
        there.request(self.command, self.path, body or None, {k: v for k, v in self.headers.items() if k != 'Expect'})
        came = there.getresponse()
        data = came.read()
        self.send_response(came.status)
        for name, value in came.getheaders():
            if name.lower() not in ('transfer-encoding', 'connection', 'date', 'server'):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        there.close()

    def do_any(self):
        self.server.seen.append((self.command, self.path, dict(self.headers)))
        if not self.server.act(self):
            self.forward()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_any

    def log_message(self, *words):
        pass


class Front(http.server.ThreadingHTTPServer):
    """Hands on to *target* what *act* (handler → whether it has answered) leaves."""

    daemon_threads = True

    def __init__(self, target=None, act=lambda handler: False):
        super().__init__(('127.0.0.1', 0), Handler)
        self.target = target
        self.act = act
        self.seen = []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def port(self):
        return self.server_address[1]

    def handle_error(self, request, client_address):
        """Who asks may go away at any time."""

    def close(self):
        self.shutdown()
        self.server_close()


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode()


class TokenService(Front):
    """Gives tokens that docker-registry takes; to *users* for anything, to others for reading."""

    def __init__(self, directory, users):
        super().__init__(act=self.give)
        self.key, self.certificate = directory / 'token.key', directory / 'token.pem'
        self.users = users
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=tokens',
                        '-keyout', self.key, '-out', self.certificate], check=True, capture_output=True, timeout=60)

    def config(self):
        """Lines for docker-registry's configuration."""
        return [f'auth: {{token: {{realm: "http://127.0.0.1:{self.port}/token", service: tests, issuer: tests, '
                f'rootcertbundle: {self.certificate}}}}}']

    def sign(self, claims):
        der = subprocess.run(['openssl', 'x509', '-in', self.certificate, '-outform', 'DER'], check=True, capture_output=True)
        header = {'typ': 'JWT', 'alg': 'RS256', 'x5c': [base64.b64encode(der.stdout).decode()]}
        text = '.'.join(encode(json.dumps(part).encode()) for part in (header, claims))
        made = subprocess.run(['openssl', 'dgst', '-sha256', '-sign', self.key], input=text.encode(), check=True,
                              capture_output=True)
        return f'{text}.{encode(made.stdout)}'

    def give(self, handler):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(handler.path).query)
        said = handler.headers.get('Authorization')
        user = base64.b64decode(said.removeprefix('Basic ')).decode() if said else None
        if user is not None and user not in self.users:
            handler.answer(401, b'{}')
            return True
        kind, name, actions = query['scope'][0].split(':')
        allowed = [action for action in actions.split(',') if user or action == 'pull']
        now = int(time.time())
        token = self.sign({'iss': 'tests', 'sub': user or '', 'aud': query['service'][0], 'exp': now + 300, 'nbf': now - 10,
                           'iat': now, 'jti': str(time.monotonic_ns()),
                           'access': [{'type': kind, 'name': name, 'actions': allowed}]})
        handler.answer(200, json.dumps({'token': token}).encode(), Content_Type='application/json')
        return True
