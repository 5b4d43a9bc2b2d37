# SPDX-License-Identifier: Apache-2.0
"""Layers for tests of images, what they must come to, and what an image holds according to the kernel.

Nothing of affix is used here. `resolve` unpacks layers from the lowest up into a model, as umoci does on a file system,
while affix reads them from the uppermost down: where both agree the rules are right.
"""

import contextlib
import dataclasses
import hashlib
import io
import os
import posixpath
import stat
import subprocess
import tarfile
import tempfile

OPAQUE = '.wh..wh..opq'
TYPES = {'f': tarfile.REGTYPE, 'd': tarfile.DIRTYPE, 'l': tarfile.SYMTYPE, 'h': tarfile.LNKTYPE, 'c': tarfile.CHRTYPE, 'b': tarfile.BLKTYPE,
         'p': tarfile.FIFOTYPE}


class Refused(Exception):
    """No image can come of the layers."""


class Unsupported(Exception):
    """What affix leaves out, knowingly: something is written through a link that a layer above replaces, or that leads into a file; a hard
    link stands before another file of its target's name."""


@dataclasses.dataclass(eq=False)
class Entry:
    path: str
    type: str = 'f'
    data: bytes = b''
    target: str = ''
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 1_000_000_000_000_000_007  # nanoseconds
    device: tuple = (0, 0)
    xattrs: dict = dataclasses.field(default_factory=dict)


def directory(path, **rest):
    return Entry(path, 'd', mode=rest.pop('mode', 0o755), **rest)


def link(path, target, **rest):
    return Entry(path, 'l', target=target, mode=0o777, **rest)


def hard_link(path, target):
    return Entry(path, 'h', target=target)


def whiteout(path):
    return Entry(posixpath.join(posixpath.dirname(path), '.wh.' + posixpath.basename(path)))


def opaque(path):
    return Entry(posixpath.join(path, OPAQUE))


def tar_info(entry):
    info = tarfile.TarInfo(entry.path)
    info.type = TYPES[entry.type]
    info.mode, info.uid, info.gid, info.size = entry.mode, entry.uid, entry.gid, len(entry.data)
    info.linkname = entry.target
    info.devmajor, info.devminor = entry.device
    info.mtime = entry.mtime // 10**9
    info.pax_headers = {'SCHILY.xattr.' + name: value.decode('utf-8', 'surrogateescape') for name, value in entry.xattrs.items()}
    if entry.mtime % 10**9:
        info.pax_headers['mtime'] = f'{entry.mtime // 10**9}.{entry.mtime % 10**9:09d}'
    return info


def write_tar(path, entries):
    with tarfile.open(path, 'w', format=tarfile.PAX_FORMAT) as tar:
        for entry in entries:
            tar.addfile(tar_info(entry), io.BytesIO(entry.data))
    return path


class Node:
    def __init__(self, entry, layer):
        self.entry = entry
        self.layer = layer
        self.children = {} if entry.type == 'd' else None
        self.written_through = False


class Tree:
    def __init__(self):
        self.root = Node(Entry('', 'd', mode=0o755, mtime=0), 0)
        self.layer = 0
        self.linked = set()

    def follow(self, path, make):
        """The directory at *path*, links followed inside the tree, made where it is not there."""
        todo = [part for part in path.split('/') if part not in ('', '.')]
        trail = [self.root]
        links = 0
        while todo:
            part = todo.pop(0)
            if part in ('', '.'):
                continue
            if part == '..':
                if len(trail) > 1:
                    trail.pop()
                continue
            node = trail[-1].children.get(part)
            if node is not None and node.entry.type == 'l':
                links += 1
                if links > 40:
                    raise Refused('links')
                node.written_through = True
                todo = node.entry.target.split('/') + todo
                if node.entry.target.startswith('/'):
                    trail = [self.root]
                continue
            if node is not None and node.children is None:
                if node.layer == self.layer:
                    raise Refused('below a file')
                if links:
                    raise Unsupported
                node = None
            if node is None:
                if not make:
                    return None
                node = Node(Entry('', 'd', mode=0o755, mtime=0), self.layer)
                trail[-1].children[part] = node
            trail.append(node)
        return trail[-1]

    def forget(self, directory_, name):
        todo = [directory_.children.pop(name, None)]
        while todo:
            node = todo.pop()
            if node is None:
                continue
            if node.written_through:
                raise Unsupported
            todo += (node.children or {}).values()

    def white_out(self, entry):
        name = posixpath.basename(entry.path)
        parent = self.follow(posixpath.dirname(entry.path), False)
        if parent is None:
            return
        if name == OPAQUE:
            for child in list(parent.children):
                self.forget(parent, child)
        elif not name.startswith('.wh..wh.'):
            self.forget(parent, name[4:])

    def put(self, entry):
        path = posixpath.normpath('/' + entry.path)
        if path == '/':
            self.root.entry = entry
            return
        parent = self.follow(posixpath.dirname(path), True)
        name = posixpath.basename(path)
        old = parent.children.get(name)
        if entry.type == 'h':
            place = self.follow(posixpath.dirname(entry.target), False)
            target = place.children.get(posixpath.basename(entry.target)) if place else None
            if target is None or target.children is not None or target is old or entry.target.startswith(path[1:] + '/'):
                raise Refused('hard link')
            if target.layer < self.layer:
                self.linked.add(posixpath.normpath('/' + entry.target))
            entry = target.entry
        elif path in self.linked:
            raise Unsupported
        if old is not None and old.entry.type == 'l' and old.layer == self.layer:
            raise Unsupported
        if old is not None and old.children is not None and entry.type == 'd':
            old.entry = entry
            old.layer = self.layer
            return
        self.forget(parent, name)
        parent.children[name] = Node(entry, self.layer)

    def apply(self, layer):
        self.layer += 1
        self.linked = set()
        whiteouts = [entry for entry in layer if posixpath.basename(entry.path).startswith('.wh.')]
        for entry in whiteouts:
            self.white_out(entry)
        for entry in layer:
            if entry not in whiteouts:
                self.put(entry)

    def listing(self):
        rows = {}
        names = {}
        todo = [('/', self.root)]
        while todo:
            path, node = todo.pop()
            rows[path] = node
            if node.children is None:
                names.setdefault(id(node.entry), []).append(path)
            for name, child in (node.children or {}).items():
                todo.append((posixpath.join(path, name), child))
        return {path: describe(node, sorted(names.get(id(node.entry), []))) for path, node in rows.items()}


def describe(node, names):
    entry = node.entry
    row = {'type': entry.type, 'mode': entry.mode, 'uid': entry.uid, 'gid': entry.gid, 'mtime': entry.mtime, 'names': names,
           'xattrs': {name: value.hex() for name, value in entry.xattrs.items()}}
    if entry.type == 'f':
        row['size'] = len(entry.data)
        row['sha256'] = hashlib.sha256(entry.data).hexdigest()
    elif entry.type == 'l':
        row['target'] = entry.target
    elif entry.type in 'bc':
        row['device'] = entry.device
    elif entry.type == 'd':
        row['links'] = 2 + sum(child.entry.type == 'd' for child in node.children.values())
    return row


def resolve(layers):
    """What the layers, lowest first, come to: a row per path."""
    tree = Tree()
    for layer in layers:
        tree.apply(layer)
    return tree.listing()


LETTERS = {stat.S_IFREG: 'f', stat.S_IFDIR: 'd', stat.S_IFLNK: 'l', stat.S_IFBLK: 'b', stat.S_IFCHR: 'c', stat.S_IFIFO: 'p', stat.S_IFSOCK: 's'}


def digest_of(path):
    with open(path, 'rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest() if hasattr(hashlib, 'file_digest') else hashlib.sha256(file.read()).hexdigest()


def look_at(path):
    st = os.lstat(path)
    kind = LETTERS[stat.S_IFMT(st.st_mode)]
    row = {'type': kind, 'mode': stat.S_IMODE(st.st_mode), 'uid': st.st_uid, 'gid': st.st_gid, 'mtime': st.st_mtime_ns, 'names': [],
           'xattrs': {name: os.getxattr(path, name, follow_symlinks=False).hex() for name in os.listxattr(path, follow_symlinks=False)}}
    if kind == 'f':
        row['size'] = st.st_size
        row['sha256'] = digest_of(path)
    elif kind == 'l':
        row['target'] = os.readlink(path)
    elif kind in 'bc':
        row['device'] = (os.major(st.st_rdev), os.minor(st.st_rdev))
    elif kind == 'd':
        row['links'] = st.st_nlink
    return row, (st.st_ino, st.st_nlink)


def list_tree(root):
    """A row per path of a directory: of a mounted image, or of what another tool unpacked."""
    rows = {}
    names = {}
    todo = ['/']
    while todo:
        path = todo.pop()
        real = root if path == '/' else root + path
        rows[path], (inode, links) = look_at(real)
        if rows[path]['type'] == 'd':
            todo += [posixpath.join(path, name) for name in os.listdir(real)]
        else:
            names.setdefault(inode, (links, []))[1].append(path)
    for links, paths in names.values():
        assert links == len(paths), f'{paths} have {links} links'
        for path in paths:
            rows[path]['names'] = sorted(paths)
    return rows


@contextlib.contextmanager
def mounted(image, how='ro'):
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(['mount', '-o', f'loop,{how}', image, place], check=True)
        try:
            yield place
        finally:
            subprocess.run(['umount', place], check=True)


def can_mount():
    """Whether this machine mounts an image: None, or why not."""
    if os.getuid() != 0:
        return 'only root mounts images'
    with tempfile.TemporaryDirectory() as directory_:
        image = os.path.join(directory_, 'image')
        with open(image, 'wb') as file:
            file.truncate(1 << 20)
        subprocess.run(['mke2fs', '-q', '-t', 'ext4', image], check=True)
        with contextlib.suppress(subprocess.CalledProcessError):
            with mounted(image):
                return None
    return 'there are no loop devices'


def differences(expected, found):
    """Lines, of at most 20 paths; lost+found is the file system's."""
    lines = []
    for path in sorted(expected.keys() | found.keys()):
        if path == '/lost+found' and path not in expected:
            continue
        wanted, got = expected.get(path), found.get(path)
        if wanted is None or got is None:
            lines.append(f'{path}: {"is not expected" if wanted is None else "is missing"}')
            continue
        for key in sorted(wanted.keys() | got.keys()):
            # The root of every ext4 file system has lost+found in it.
            is_root_links = path == '/' and key == 'links' and '/lost+found' not in expected
            if wanted.get(key) != got.get(key) and not (is_root_links and wanted[key] + 1 == got[key]):
                lines.append(f'{path}: {key} is {got.get(key)}: expected {wanted.get(key)}')
    return lines[:20]
