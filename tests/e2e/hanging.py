# SPDX-License-Identifier: Apache-2.0
"""A file that hangs a program which reads it: of a real FUSE file system, whose server answers everything but READ, and
FLUSH (which closing the file waits for) to all others than that program.

    with hanging.File('affix-updater', size) as file:       # .fileno()
        ...

With an owner, a user's number, the file system is for that user alone: others may not even look at the file.

With *content* the file can be read: only FLUSH is not answered, and only to children of that program.

With a process, *inside*, the file system is mounted on INSIDE among the mounts of that process, for programs there.

The server takes the questions that it does not answer, so the kernel waits for it: SIGKILL does not end a process that
reads the file. It ends when the server does, with the context.
"""

import contextlib
import ctypes
import os
import pathlib
import signal
import socket
import stat
import struct
import tempfile
import traceback

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, FLUSH, INIT, INTERRUPT, BATCH_FORGET = 1, 2, 3, 14, 15, 17, 18, 25, 26, 36, 42
SILENT = (FORGET, READ, INTERRUPT, BATCH_FORGET)
ENOSYS = 38
INSIDE = '/run/hanging'
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000


def unavailable():
    """Why there can be none on this machine, or None."""
    if os.getuid() != 0 or not os.path.exists('/dev/fuse'):
        return 'a FUSE file system needs root and /dev/fuse'
    return None


def attributes(node, size):
    mode, links = (stat.S_IFDIR | 0o755, 2) if node == 1 else (stat.S_IFREG | 0o644, 1)
    return struct.pack('=6Q10I', node, size, 0, 0, 0, 0, 0, 0, 0, mode, links, 0, 0, 0, 4096, 0)


def answer(operation, node, size):
    """What follows the header of an answer, or None where the kernel is told that there is no such operation."""
    if operation == INIT:
        return struct.pack('=4I2H2I2H8I', 7, 31, 0, 0, 0, 0, 4096, 1, 0, 0, *[0] * 8)
    if operation == LOOKUP:
        return struct.pack('=4Q2I', 2, 0, 60, 60, 0, 0) + attributes(2, size)
    if operation == GETATTR:
        return struct.pack('=Q2I', 60, 0, 0) + attributes(node, size)
    if operation == OPEN:
        return struct.pack('=Q2I', 0, 0, 0)
    if operation in (RELEASE, FLUSH):
        return b''
    return None


def name_of(pid):
    try:
        return pathlib.Path(f'/proc/{pid}/comm').read_text().strip()
    except OSError:
        return None


def parent_of(pid):
    try:
        return int(pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[1])
    except OSError:
        return 0


def serve(device, program, size, content):
    while True:
        question = os.read(device, 1 << 17)
        _, operation, unique, node, _, _, pid, _ = struct.unpack_from('=2I2Q4I', question)
        reads = operation == READ and content is not None
        if operation in SILENT and not reads:
            continue
        if operation == FLUSH and name_of(pid if content is None else parent_of(pid)) == program:
            continue
        body = content[struct.unpack_from('=2Q', question, 40)[1]:] if reads else answer(operation, node, size)
        head = struct.pack('=IiQ', 16 + len(body or b''), 0 if body is not None else -ENOSYS, unique)
        os.write(device, head + (body or b''))


def mount(place, options, inside):
    """In mounts of this process's own, or in those of *inside*."""
    libc = ctypes.CDLL(None, use_errno=True)
    if inside:
        with open(f'/proc/{inside}/ns/mnt', 'rb') as namespace:
            done = libc.setns(namespace.fileno(), CLONE_NEWNS) == 0
        os.makedirs(place, exist_ok=True)
    else:
        done = libc.unshare(CLONE_NEWNS) == 0 and libc.mount(b'none', b'/', None, MS_REC | MS_PRIVATE, None) == 0
    if not done or libc.mount(b'hanging', place.encode(), b'fuse', 0, options.encode()) < 0:
        raise OSError(ctypes.get_errno(), 'mount')


def serve_apart(channel, place, program, size, owner, inside, content):
    """In a child: the file goes through the channel."""
    device = os.open('/dev/fuse', os.O_RDWR)
    options = f'fd={device},rootmode=40000,user_id={owner or 0},group_id=0{"" if owner else ",allow_other"}'
    try:
        mount(place, options, inside)
        if os.fork() == 0:
            os.close(device)
            os.setresuid(owner or 0, owner or 0, owner or 0)
            file = os.open(f'{place}/file', os.O_RDONLY)
            socket.send_fds(channel, [b'x'], [file])
            os._exit(0)
        channel.close()
        serve(device, program, size, content)
    except BaseException:
        traceback.print_exc()
    os._exit(1)


class File:
    def __init__(self, program, size=0, owner=None, inside=None, content=None):
        here, there = socket.socketpair()
        self.place = None if inside else tempfile.mkdtemp(prefix='affix-hanging-')
        self.server = os.fork()
        if self.server == 0:
            here.close()
            os.setsid()
            serve_apart(there, self.place or INSIDE, program, len(content) if content else size, owner, inside, content)
        there.close()
        here.settimeout(10)
        _, descriptors, _, _ = socket.recv_fds(here, 1, 1)
        here.close()
        self.descriptor, = descriptors

    def fileno(self):
        return self.descriptor

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.killpg(self.server, signal.SIGKILL)
        os.waitpid(self.server, 0)
        # Its file system is gone.
        with contextlib.suppress(OSError):
            os.close(self.descriptor)
        if self.place:
            os.rmdir(self.place)
