# SPDX-License-Identifier: Apache-2.0
"""What stands between a host and its server, on loopback.

    with proxy.Proxy(credentials='name:password') as between: …    # CONNECT; `seen` has (method, target, status) of each request
    with proxy.Middlebox(port, status=None) as between: …          # HTTP only: a WebSocket's upgrade is stripped, or refused with a status
"""

import base64
import contextlib
import socket
import socketserver
import threading


def pump(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


class Between:
    """Attributes may be changed while it runs."""

    def __init__(self):
        self.seen = []
        self.port = 0
        self.listener = None

    def start(self):
        """On the port from before, if there was one."""
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                with contextlib.suppress(OSError, ValueError):
                    outer.handle(self)

        class Listener(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            block_on_close = False

        self.listener = Listener(('127.0.0.1', self.port), Handler)
        self.port = self.listener.server_address[1]
        threading.Thread(target=self.listener.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True).start()

    def stop(self):
        if self.listener:
            self.listener.shutdown()
            self.listener.server_close()
            self.listener = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    @staticmethod
    def read_head(handler):
        lines = []
        while (line := handler.rfile.readline(8192).decode('latin-1').strip()):
            lines.append(line)
        return lines[0], {key.lower(): value.strip() for key, _, value in (line.partition(':') for line in lines[1:])}


class Proxy(Between):
    def __init__(self, credentials=None):
        super().__init__()
        self.credentials = credentials
        self.hangs = threading.Event()   # set: requests are taken, and never answered
        self.ended = threading.Event()   # ends what hangs
        self.tunnels = set()

    def stop(self):
        self.ended.set()
        super().stop()
        for connection in list(self.tunnels):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def start(self):
        self.ended.clear()
        super().start()

    def handle(self, handler):
        line, headers = self.read_head(handler)
        method, target, _ = line.split()
        if self.hangs.is_set():
            self.seen.append((method, target, None))
            self.ended.wait()
            return
        wanted = self.credentials and 'Basic ' + base64.b64encode(self.credentials.encode()).decode()
        if wanted and headers.get('proxy-authorization') != wanted:
            self.seen.append((method, target, 407))
            handler.wfile.write(b'HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic realm="proxy"\r\nContent-Length: 0\r\n\r\n')
            return
        self.seen.append((method, target, 200))
        host, port = target.split(':')
        with socket.create_connection((host, int(port))) as far:
            self.tunnels.update((far, handler.connection))
            handler.wfile.write(b'HTTP/1.1 200 OK\r\n\r\n')
            threading.Thread(target=pump, args=(far, handler.connection), daemon=True).start()
            pump(handler.connection, far)
            self.tunnels -= {far, handler.connection}


class Middlebox(Between):
    """In front of one server, as a load balancer that knows HTTP alone. One request per connection."""

    def __init__(self, server_port, status=None):
        super().__init__()
        self.server_port = server_port
        self.status = status

    def handle(self, handler):
        line, headers = self.read_head(handler)
        body = handler.rfile.read(int(headers.get('content-length', 0)))
        is_upgrade = 'upgrade' in headers
        self.seen.append((*line.split()[:2], is_upgrade))
        if is_upgrade and self.status:
            handler.wfile.write(f'HTTP/1.1 {self.status} No\r\nContent-Length: 0\r\n\r\n'.encode())
            return
        headers = {key: value for key, value in headers.items() if key not in ('upgrade', 'connection')} | {'connection': 'close'}
        with socket.create_connection(('127.0.0.1', self.server_port)) as far:
            far.sendall('\r\n'.join([line, *(f'{key}: {value}' for key, value in headers.items())]).encode() + b'\r\n\r\n' + body)
            while data := far.recv(65536):
                handler.wfile.write(data)
