# SPDX-License-Identifier: Apache-2.0
"""The agent's side of the updater's protocol, in the hands of whoever took the agent over.

    with agent.Agent(host) as mallory:
        reply = mallory.ask({'verb': 'install', 'fds': ['bundle', 'signature']}, [bundle, signature])

Messages are made here and not by affix, so that they can be anything. The peer that the updater sees is the user `affix`
of the host: the test connects as that user through the host's mount namespace.
"""

import contextlib
import json
import os
import socket

class Agent:
    def __init__(self, host, user='affix'):
        entry = host.run(['getent', 'passwd', user], check=True).stdout.split(':')
        self.uid, self.gid = int(entry[2]), int(entry[3])
        self.directory = os.open(host.path('/run/affix'), os.O_PATH | os.O_DIRECTORY)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.directory)

    @contextlib.contextmanager
    def identity(self):
        groups = os.getgroups()
        os.setgroups([])
        os.setegid(self.gid)
        os.seteuid(self.uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(groups)

    def connect(self, name='updater.sock', timeout=30):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.settimeout(timeout)
        try:
            with self.identity():
                connection.connect(f'/proc/self/fd/{self.directory}/{name}')
        except OSError:
            connection.close()
            raise
        return connection

    def send(self, connection, message, descriptors=()):
        """A message: a dictionary (completed to a header), text or bytes. Descriptors: files, numbers or paths."""
        if isinstance(message, dict):
            message = json.dumps({'schema': 1, **message})
        if isinstance(message, str):
            message = message.encode()
        with contextlib.ExitStack() as opened:
            numbers = []
            for item in descriptors:
                if isinstance(item, (str, os.PathLike)):
                    item = opened.enter_context(open(item, 'rb'))
                numbers.append(item if isinstance(item, int) else item.fileno())
            socket.send_fds(connection, [message], numbers)

    def receive(self, connection):
        """The reply, or None when the updater closed the connection without one."""
        try:
            data, descriptors, _, _ = socket.recv_fds(connection, 128 << 10, 4)
        except ConnectionResetError:
            return None
        if not data:
            return None
        reply = json.loads(data)
        if reply.get('reply') == 'memfd':
            with open(descriptors[0], 'rb') as file:
                reply = json.loads(file.read())
        return reply

    def ask(self, message, descriptors=(), timeout=30):
        with self.connect(timeout=timeout) as connection:
            try:
                self.send(connection, message, descriptors)
            except BrokenPipeError:
                return None
            return self.receive(connection)


def memfd(data=b'', size=None):
    """A file in memory, owned by the caller."""
    descriptor = os.memfd_create('agent', os.MFD_CLOEXEC)
    os.write(descriptor, data)
    if size is not None:
        os.ftruncate(descriptor, size)
    return descriptor
