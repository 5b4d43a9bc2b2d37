# SPDX-License-Identifier: Apache-2.0
"""Bundles that `affix build` would never make, signed by stock minisign as a careless or malicious key holder would.

    files = hostile.files(addon)                 # what a bundle of the add-on holds, by name, as bytes
    data = hostile.zstd(hostile.tar(files))      # a good bundle
    bundle = hostile.Signer(workshop).write(addon, data)

Nothing of affix is used here. Headers are made by hand, because tarfile would not make most of them.
"""

import datetime
import gzip
import hashlib
import json
import os
import shutil
import struct
import subprocess

import fixture

MACHINES = {'amd64': 62, 'arm64': 183}
OTHER_ARCH = {'amd64': 'arm64', 'arm64': 'amd64'}
BLOCK = 512
END = bytes(2 * BLOCK)


def elf(arch=fixture.ARCH, machine=None, elf_class=2, order=1, abi=0, kind=3, size=4096):
    """As much of a program as an ELF header says."""
    head = b'\x7fELF' + bytes([elf_class, order, 1, abi]) + bytes(8)
    head += struct.pack('<HHIQQQIHHHHHH', kind, MACHINES[arch] if machine is None else machine, 1, 0, 64, 0, 0, 64, 56, 0, 64, 0, 0)
    return head + bytes(max(0, size - len(head)))


def files(addon, binary=None):
    """The files of a bundle of the add-on. The manifest, first, may be text; so may units."""
    manifest = addon.manifest
    found = {'config.schema.json': addon.schema, addon.id: elf() if binary is None else binary, **addon.units, **addon.extra}
    for name, content in found.items():
        if isinstance(content, dict):
            content = json.dumps(content) if name.endswith('.json') else fixture.unit_text(content)
        found[name] = content.encode() if isinstance(content, str) else content
    manifest = manifest if isinstance(manifest, (bytes, str)) else json.dumps(manifest)
    manifest = manifest.encode() if isinstance(manifest, str) else manifest
    return {'addon.yaml': manifest, **dict(sorted(found.items()))}


def octal(value, width):
    return f'{value:0{width - 1}o}'.encode() + b'\0'


def base256(value, width=12):
    """GNU's binary numbers, for what octal digits cannot say."""
    data = value.to_bytes(width, 'big', signed=True)
    return bytes([data[0] | 0x80]) + data[1:]


def header(name, size=0, kind=b'0', mode=0o644, uid=0, link=b'', magic=b'ustar\x0000', prefix=b'', checksum=None, device=(0, 0)):
    """One block. SIZE is a number, or the field's 12 bytes."""
    name = name.encode() if isinstance(name, str) else name
    field = size if isinstance(size, bytes) else octal(size, 12)
    head = name.ljust(100, b'\0')[:100] + octal(mode, 8) + octal(uid, 8) + octal(0, 8) + field + octal(0, 12)
    tail = kind + link.ljust(100, b'\0') + magic + bytes(64) + octal(device[0], 8) + octal(device[1], 8)
    tail += prefix.ljust(155, b'\0') + bytes(12)
    total = sum(head) + 8 * ord(' ') + sum(tail)
    block = head + (f'{total:06o}\0 '.encode() if checksum is None else checksum) + tail
    assert len(block) == BLOCK, len(block)
    return block


def padded(data):
    return data + bytes(-len(data) % BLOCK)


def entry(name, data=b'', **fields):
    """A header and its data; `size` may say something else than there is."""
    return header(name, **{'size': len(data), **fields}) + padded(data)


def tar(found, end=END):
    """An archive of {name: data}, or of a list of (name, data) and of whole blocks."""
    parts = found.items() if isinstance(found, dict) else found
    return b''.join(part if isinstance(part, bytes) else entry(*part) for part in parts) + end


def pax(records, kind=b'x'):
    """An extended header, which speaks of the entry behind it."""
    data = b''
    for key, value in records.items():
        value = value.encode() if isinstance(value, str) else value
        body = b' ' + key.encode() + b'=' + value + b'\n'
        length = len(body) + len(str(len(body) + len(str(len(body)))))
        data += str(length).encode() + body
    return entry('PaxHeader', data, kind=kind)


def zstd(data, arguments=()):
    return subprocess.run(['zstd', '-q', '-c', *arguments], input=data, stdout=subprocess.PIPE, check=True).stdout


def frames(data, size=512 << 10):
    """A row of frames that say how much they hold, as affix writes them."""
    parts = [data[at:at + size] for at in range(0, len(data), size)]
    return b''.join(zstd(part, [f'--stream-size={len(part)}']) for part in parts)


def table(digests, tag=b'affix:b2', number=None):
    """What stands behind such a row: the digests of the entries."""
    body = tag + b''.join(digests) + struct.pack('<I', len(digests) if number is None else number)
    return struct.pack('<II', 0x184d2a5a, len(body)) + body


def digests(files, **others):
    """Those of the entries; of some (by name, with _ for . and -) others."""
    plain = {name.replace('.', '_').replace('-', '_'): name for name in files}
    told = {plain[name]: data for name, data in others.items()}
    return [hashlib.blake2b(told.get(name, data)).digest() for name, data in files.items()]


def gz(data):
    return gzip.compress(data, mtime=0)


def zstd_file(path, parts):
    """A compressed file of pieces: bytes, or how many zeroes. What does not fit into memory does fit here."""
    chunk = bytes(1 << 20)
    with open(path, 'wb') as out, subprocess.Popen(['zstd', '-q', '-c', '-1'], stdin=subprocess.PIPE, stdout=out) as child:
        for part in parts:
            if isinstance(part, bytes):
                child.stdin.write(part)
                continue
            while part > 0:
                child.stdin.write(chunk[: min(part, len(chunk))])
                part -= min(part, len(chunk))
    assert child.returncode == 0
    return path


def moment(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime('%Y-%m-%dT%H:%M:%SZ')


class Signer:
    """Writes bundles and has minisign sign them."""

    def __init__(self, workshop):
        self.work = workshop

    def comment(self, addon, **changes):
        """The trusted comment of a bundle of the add-on. A change to None leaves the key out."""
        self.work.created += 60
        words = {'id': addon.id, 'version': addon.version, 'os': 'linux', 'arch': fixture.ARCH,
                 'created': moment(self.work.created), **changes}
        return ' '.join(['affix:1', *(f'{key}={value}' for key, value in words.items() if value is not None)])

    def write(self, addon, data=None, **how):
        """A signed bundle; DATA is its bytes (default: what a good one has) or a file to be taken over."""
        path = self.work.fresh(f'{addon.id}.tar.zst')
        if isinstance(data, os.PathLike):
            shutil.move(data, path)
        else:
            path.write_bytes(zstd(tar(files(addon))) if data is None else data)
        return self.sign(path, addon, **how)

    def sign(self, path, addon, comment=None, secret=None, arguments=(), **changes):
        comment = self.comment(addon, **changes) if comment is None else comment
        fixture.run(['minisign', '-S', '-W', *arguments, '-s', secret or self.work.secret, '-m', path, '-x',
                     f'{path}.minisig', '-t', comment], stdin=subprocess.DEVNULL)
        return path
