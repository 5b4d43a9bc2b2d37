#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""affix image build: images of layers as the kernel mounts them, against a model of the layers, and e2fsck."""

import gzip
import hashlib
import io
import os
import pathlib
import random
import resource
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest

import layers as L

AFFIX = pathlib.Path(os.environ['AFFIX_BUILD']) / 'bin' / 'affix'
SEED = int(os.environ.get('AFFIX_TEST_SEED', '1'))
ROUNDS = int(os.environ.get('AFFIX_TEST_LAYERS', '25'))
MIB = 1 << 20
UUID = '6f1e3f7c-0a5b-4c1d-9e2f-1234567890ab'

CAPABILITY = struct.pack('<IIIII', 0x02000001, 1 << 13, 0, 0, 0)  # cap_net_raw, effective
ACL = struct.pack('<I', 2) + b''.join(struct.pack('<HHI', tag, rights, number) for tag, rights, number in [
    (0x01, 6, 0xffffffff), (0x02, 4, 70001), (0x04, 4, 0xffffffff), (0x10, 4, 0xffffffff), (0x20, 0, 0xffffffff)])


def setUpModule():
    reason = L.can_mount()
    if reason:
        print(reason, file=sys.stderr)
        sys.exit(77)


class Images(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory)
        self.image = self.directory / 'root.ext4'

    def tars(self, layers):
        return [L.write_tar(self.directory / f'layer-{number}.tar', layer) for number, layer in enumerate(layers)]

    def build(self, *sources, **kwargs):
        return subprocess.run([AFFIX, 'image', 'build', *sources, '-o', self.image], text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False, **kwargs)

    def made(self, *sources):
        done = self.build(*sources)
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.check()
        with L.mounted(self.image) as root:
            return L.list_tree(root)

    def check(self):
        done = subprocess.run(['e2fsck', '-fn', self.image], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)

    def assertImage(self, layers, *options):
        found = self.made(*self.tars(layers), *options)
        self.assertEqual(L.differences(L.resolve(layers), found), [])
        return found

    def assertRefused(self, *sources, name='bad-layer', says=''):
        self.image.unlink(missing_ok=True)
        done = self.build(*sources)
        self.assertEqual((done.returncode, done.stdout), (1, ''), done.stderr)
        self.assertRegex(done.stderr, rf'\A{name}: [^\n]+\n\Z')
        self.assertIn(says, done.stderr)
        self.assertEqual([path.name for path in self.directory.iterdir() if 'root.ext4' in path.name], [])


class Rules(Images):
    def test_every_kind_of_file_keeps_all_that_it_has(self):
        long = '/'.join(['n' * 200] * 10)
        self.assertImage([[
            L.directory('./', mode=0o755),
            L.directory('etc', mode=0o1777, uid=70000, gid=4_000_000_000),
            L.Entry('etc/passwd', data=b'root:x:0:0\n', mtime=1_700_000_000_123_456_789),
            L.Entry('bin/ping', data=os.urandom(20000), mode=0o4755, xattrs={'security.capability': CAPABILITY, 'user.note': b'\x00\xff'}),
            L.Entry('shared', mode=0o664, xattrs={'system.posix_acl_access': ACL, 'user.large': b'v' * 3000}),
            L.directory('drop', mode=0o2770, xattrs={'system.posix_acl_default': ACL}),
            L.Entry('old', mtime=-1_000_000_000_000_000_000), L.Entry('far', mtime=9_000_000_000_000_000_001),
            L.Entry('dev/null', 'c', device=(1, 3), mode=0o666), L.Entry('dev/nvme', 'b', device=(259, 70000)),
            L.Entry('run/fifo', 'p', mode=0o600),
            L.link('short', 'a' * 59), L.link('long', 'b' * 60), L.link('longest', 'c' * 4000),
            L.hard_link('etc/passwd-', 'etc/passwd'), L.hard_link('short-too', 'short'),
            L.Entry(long, data=b'deep'), L.Entry('grüße\n\t', data=b'name'),
        ]])

    def test_layers_hide_replace_and_bring_back(self):
        base = [L.directory('usr'), L.directory('usr/lib', mtime=5), L.link('lib', 'usr/lib'), L.directory('var'), L.directory('var/log'),
                *(L.Entry(f'var/log/{name}', data=name.encode()) for name in 'abc'), L.Entry('usr/lib/x', data=b'old'),
                L.directory('opt'), L.Entry('opt/file', data=b'file'), L.Entry('gone', data=b'gone'), L.directory('turn'), L.Entry('turn/in', data=b'in')]
        middle = [L.Entry('lib/through', data=b'written through a link'), L.whiteout('gone'), L.opaque('var/log'), L.Entry('var/log/d', data=b'd'),
                  L.whiteout('turn'), L.Entry('turn', data=b'now a file'), L.whiteout('opt'), L.directory('opt', mode=0o700), L.Entry('opt/new')]
        top = [L.Entry('gone', data=b'back'), L.whiteout('usr/lib/x'), L.whiteout('turn'), L.directory('turn', mode=0o711), L.link('var/log/d', 'a')]
        found = self.assertImage([base, middle, top])
        self.assertEqual(found['/usr/lib/through']['type'], 'f')
        self.assertNotIn('/turn/in', found)

    def test_hard_links_reach_over_layers(self):
        base = [L.Entry('a', data=b'content of a' * 1000), L.hard_link('b', 'a'), L.hard_link('c', 'a'), L.Entry('e', data=b'e')]
        # One name is replaced by a layer above: the others keep the content, which was passed over at first.
        self.assertImage([base, [L.Entry('a', data=b'new')]])
        # A link to what only a layer below has, and whose name a layer above takes.
        self.assertImage([base, [L.hard_link('d', 'e'), L.hard_link('f', 'b')], [L.Entry('e', data=b'other')]])
        self.assertRefused(*self.tars([base, [L.hard_link('x', 'nowhere')]]), says="'x' is a hard link")
        # A link to a link, whose own target a layer between them hides.
        self.assertImage([[L.Entry('c', data=b'c')], [L.hard_link('b', 'c')], [L.whiteout('c')], [L.hard_link('a', 'b')]])
        # A link whose directory turns out to be one to another, which has the name too.
        self.assertImage([[L.directory('usr'), L.directory('usr/lib'), L.Entry('usr/lib/x', data=b'old'), L.link('lib', 'usr/lib'), L.Entry('z', data=b'z')],
                          [L.hard_link('lib/x', 'z')]])

    def test_random_layers_are_what_a_model_makes_of_them(self):
        looked = 0
        for seed in range(SEED * 10000, SEED * 10000 + ROUNDS * 8):
            rng = random.Random(seed)
            layers = random_layers(rng)
            try:
                expected = L.resolve(layers)
            except (L.Refused, L.Unsupported):
                continue
            done = self.build(*self.tars(layers))
            if done.returncode == 1 and 'symbolic link' in done.stderr:
                continue  # links in a circle may be refused before they are followed
            with self.subTest(seed=seed):
                self.assertEqual(done.returncode, 0, done.stderr)
                self.check()
                with L.mounted(self.image) as root:
                    self.assertEqual(L.differences(expected, L.list_tree(root)), [], [[(e.type, e.path, e.target) for e in layer] for layer in layers])
            looked += 1
            if looked == ROUNDS:
                break
        self.assertGreater(looked, ROUNDS // 2)

    def test_the_comparison_finds_one_changed_thing(self):
        layers = [[L.Entry('a', data=b'a', xattrs={'user.x': b'1'}), L.hard_link('b', 'a'), L.Entry('c', data=b'a')]]
        found = self.made(*self.tars(layers))
        for change in ({'xattrs': {'user.x': b'2'}}, {'mtime': layers[0][0].mtime + 1}, {'uid': 1}, {'data': b'b'}, {'mode': 0o600}):
            altered = [[L.dataclasses.replace(layers[0][0], **change), *layers[0][1:]]]
            with self.subTest(change):
                self.assertNotEqual(L.differences(L.resolve(altered), found), [])
        self.assertNotEqual(L.differences(L.resolve([[layers[0][0], L.Entry('b', data=b'a', xattrs={'user.x': b'1'}), layers[0][2]]]), found), [])


def random_layers(rng):
    """Few names, so that layers get in each other's way."""
    layers = []
    files = ['a']
    with_links = rng.random() < 0.5
    for _ in range(rng.randint(1, 4)):
        layer = []
        for _ in range(rng.randint(1, 14)):
            path = '/'.join(rng.choice('abcd') for _ in range(rng.choice([1, 1, 2, 2, 3])))
            kind = rng.choices('fdlhwoc', [30, 25, 12 * with_links, 8, 13, 4, 3])[0]
            if kind == 'f':
                if any(entry.path == path for entry in layer):
                    continue
                entry = L.Entry(path, data=rng.randbytes(rng.choice([0, 10, 5000])), uid=rng.choice([0, 1000, 70000]))
                files.append(path)
            elif kind == 'd':
                entry = L.directory(path, mode=rng.choice([0o755, 0o1777, 0o700]))
            elif kind == 'l':
                entry = L.link(path, rng.choice(['a', 'b', '/c', '../d', 'a/b', '/a/b/c', 'x/../b']))
            elif kind == 'h':
                entry = L.hard_link(path, rng.choice(files))
            elif kind == 'c':
                entry = L.Entry(path, 'c', device=(rng.randrange(300), rng.randrange(300)))
            else:
                entry = L.whiteout(path) if kind == 'w' else L.opaque(path)
            entry.mtime = rng.randrange(10**18)
            layer.append(entry)
        layers.append(layer)
    return layers


class Bytes(Images):
    def test_the_same_input_gives_the_same_bytes_however_it_is_compressed(self):
        layers = [[L.directory('d'), *(L.Entry(f'd/{number}', data=bytes([number]) * number * 50) for number in range(200))], [L.whiteout('d/7'), L.link('l', 'd')]]
        plain = self.tars(layers)
        digests = set()
        for suffix, command in (('', None), ('.gz', ['gzip', '-kn']), ('.zst', ['zstd', '-qk'])):
            if command:
                subprocess.run([*command, *plain], check=True)
            self.made(*(f'{path}{suffix}' for path in plain), '--uuid', UUID)
            digests.add(hashlib.sha256(self.image.read_bytes()).hexdigest())
            environment = {**os.environ, 'TZ': 'Asia/Tokyo', 'LC_ALL': 'C', 'AFFIX_X': suffix}
            self.assertEqual(self.build(*(f'{path}{suffix}' for path in plain), '--uuid', UUID, env=environment, preexec_fn=lambda: os.umask(0o077)).returncode, 0)
            digests.add(hashlib.sha256(self.image.read_bytes()).hexdigest())
        self.assertEqual(len(digests), 1)
        uuid = subprocess.run(['dumpe2fs', '-h', self.image], text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
        self.assertIn(UUID, uuid)

    def test_many_members_and_frames_are_one_layer(self):
        data = L.write_tar(self.directory / 'l.tar', [L.Entry('a', data=os.urandom(300000)), L.Entry('b', data=b'b')]).read_bytes()
        expected = self.made(self.directory / 'l.tar')
        pieces = [data[:1000], data[1000:200000], b'', data[200000:]]
        (self.directory / 'l.gz').write_bytes(b''.join(gzip.compress(piece) for piece in pieces))
        self.assertEqual(self.made(self.directory / 'l.gz'), expected)
        frames = [subprocess.run(['zstd', '-qc'], input=piece, stdout=subprocess.PIPE, check=True).stdout for piece in pieces]
        skipped = struct.pack('<II', 0x184D2A53, 5) + b'12345'
        (self.directory / 'l.zst').write_bytes(skipped + skipped.join(frames) + skipped)
        self.assertEqual(self.made(self.directory / 'l.zst'), expected)

    def test_a_directory_is_a_layer_too(self):
        tree = self.directory / 'tree'
        (tree / 'usr' / 'bin').mkdir(parents=True)
        (tree / 'usr' / 'bin' / 'tool').write_bytes(os.urandom(9000))
        os.link(tree / 'usr' / 'bin' / 'tool', tree / 'usr' / 'tool-too')
        os.symlink('usr/bin', tree / 'bin')
        os.setxattr(tree / 'usr' / 'bin' / 'tool', 'user.note', b'x')
        os.chown(tree / 'usr', 70000, 1)
        expected = L.list_tree(str(tree))
        found = self.made(tree)
        self.assertEqual(L.differences(expected, {path: {**row, **({'links': row['links'] - 1} if path == '/' else {})} for path, row in found.items()}), [])

    def test_sparse_files_take_no_space_and_are_read_back(self):
        with open(self.directory / 'sparse', 'wb') as file:
            file.truncate(5 << 30)
            for offset in (0, (2 << 30) - 3, 4 << 30, (5 << 30) - 1):
                file.seek(offset)
                file.write(b'x' if offset > 4 << 30 else b'here' * 1000)
        expected = L.digest_of(self.directory / 'sparse')
        tar = self.directory / 's.tar'
        for tar_format in ('gnu', 'posix'):
            subprocess.run(['tar', '--format', tar_format, '-C', self.directory, '-S', '-cf', tar, 'sparse'], check=True)
            found = self.made(tar)
            self.assertEqual((found['/sparse']['size'], found['/sparse']['sha256']), (5 << 30, expected))
            self.assertLess(self.image.stat().st_blocks * 512, 20 * MIB)

    def test_a_large_directory_is_indexed_and_built_in_seconds(self):
        entries = [L.directory('many'), *(L.Entry(f'many/{number:08d}-{"n" * (number % 40)}', mtime=0) for number in range(60000))]
        tar = L.write_tar(self.directory / 'many.tar', entries)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = self.made(tar)
        self.assertLess(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before.ru_utime, 20)
        self.assertEqual(len(found), 60003)
        shown = subprocess.run(['debugfs', '-R', 'htree_dump /many', self.image], text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
        self.assertIn('Indirect levels: 1', shown)
        with L.mounted(self.image) as root:
            self.assertTrue(all(os.path.exists(f'{root}/{entry.path}') for entry in entries[::100]))


    def test_the_kernel_goes_on_with_an_image(self):
        names = [f'{number:06d}' + 'x' * 60 for number in range(20000)]
        self.made(L.write_tar(self.directory / 'many.tar', [L.Entry(f'many/{name}', mtime=0) for name in names]), '--size', '+64M')
        with L.mounted(self.image, 'rw') as root:
            for number in range(3000):
                pathlib.Path(root, 'many', f'new-{number}').write_text('new')
            for name in names[::3]:
                os.unlink(f'{root}/many/{name}')
        self.check()


class Large(Images):
    def made_of(self, tar, *options):
        """Builds an image, and says how much memory that took, in MiB."""
        # time(1) starts it: what a process was forked from counts as its memory, too.
        done = subprocess.run(['/usr/bin/time', '-f', '%M', AFFIX, 'image', 'build', tar, '-o', self.image, *options], text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.check()
        return int(done.stderr.split()[-1]) / 1024

    def test_two_hundred_thousand_files_cost_some_memory_each(self):
        tar = self.directory / 'many.tar'
        expected = []
        with open(tar, 'wb') as out:
            for number in range(500):
                out.write(header(f'd{number:03d}', kind=tarfile.DIRTYPE))
            for number in range(200000):
                name, data = f'd{number % 500:03d}/f{number:06d}', b'%d\n' % number
                out.write(small_header(name, len(data)) + data.ljust(512, b'\0'))
                expected.append(f'{name} {len(data)} 644 1\n')
            out.write(bytes(1024))
        memory = self.made_of(tar)
        print(f'{memory:.0f} MiB', file=sys.stderr)
        self.assertLess(memory, 100)
        with L.mounted(self.image) as root:
            done = subprocess.run(['find', root, '-type', 'f', '-printf', '%P %s %m %n\\n'], text=True, stdout=subprocess.PIPE, check=True)
            self.assertEqual(sorted(done.stdout.splitlines(True)), sorted(expected))
            for number in range(0, 200000, 997):
                self.assertEqual(pathlib.Path(root, f'd{number % 500:03d}/f{number:06d}').read_bytes(), b'%d\n' % number)

    def test_sizes_at_the_borders_of_31_and_32_bits_are_kept(self):
        files = {'least': (1 << 31, 'pax'), 'below': ((1 << 32) - 1, 'octal'), 'above': ((1 << 32) + 1, 'gnu')}
        zeros = zstd(bytes(MIB))
        tar = self.directory / 'large.tar.zst'
        with open(tar, 'wb') as out:
            for name, (size, how) in files.items():
                out.write(zstd(header(name, size, how)))
                # Bytes on both sides of 2 GiB, and the last ones: all else is zero.
                out.write(zeros * 2047 + zstd(b'before'.rjust(MIB, b'\0')))
                if size > 1 << 31:
                    out.write(zstd(b'after'.ljust(MIB, b'\0')) + zeros * 2046 + zstd(b'x'.rjust(MIB - (size < 1 << 32), b'\0')))
                if size > 1 << 32:
                    out.write(zstd(b'y'))
                out.write(zstd(bytes(-size % 512)))
            out.write(zstd(bytes(1024)))
        self.assertLess(self.made_of(tar), 64)
        self.assertLess(self.image.stat().st_blocks * 512, 20 * MIB)
        with L.mounted(self.image) as root:
            for name, (size, _) in files.items():
                with open(f'{root}/{name}', 'rb') as file, self.subTest(name):
                    self.assertEqual(os.fstat(file.fileno()).st_size, size)
                    self.assertLess(os.fstat(file.fileno()).st_blocks * 512, MIB)
                    self.assertEqual(os.pread(file.fileno(), 8, (1 << 31) - 6), b'before' + (b'af' if size > 1 << 31 else b''))
                    last = {'least': b'e', 'below': b'x', 'above': b'y'}[name]
                    self.assertEqual(os.pread(file.fileno(), 8, size - 1), last)
                    if name == 'above':
                        self.assertEqual(os.pread(file.fileno(), 8, size - 3), b'\0xy')


def header(name, size=0, how='octal', kind=tarfile.REGTYPE):
    """The header of an entry: its size in octal, in GNU's binary form, or in a header of pax."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.mode = size, kind, 0o755 if kind == tarfile.DIRTYPE else 0o644
    if how == 'pax':
        info.pax_headers = {'size': str(size)}
        info.size = 0
        return info.tobuf(tarfile.PAX_FORMAT)
    data = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    if how == 'gnu':
        data[124:136] = b'\x80' + size.to_bytes(11, 'big')
        data[148:156] = b' ' * 8
        data[148:156] = b'%06o\0 ' % sum(data)
    return bytes(data)


SMALL = header('', 0)


def small_header(name, size):
    """The same, made a hundred thousand times in a second."""
    head = name.encode().ljust(100, b'\0') + SMALL[100:124] + b'%011o\0' % size + SMALL[136:148] + b' ' * 8 + SMALL[156:]
    return head[:148] + b'%06o\0 ' % sum(head) + head[156:]


def zstd(data):
    """A frame of its own."""
    return subprocess.run(['zstd', '-q', '-c'], input=data, stdout=subprocess.PIPE, check=True).stdout if data else b''


class Options(Images):
    def test_size_is_what_was_asked_for_or_what_is_needed(self):
        tar, = self.tars([[L.Entry('data', data=os.urandom(8 * MIB))]])
        self.made(tar, '--size', '100M')
        self.assertEqual(self.image.stat().st_size, 100 * MIB)
        self.made(tar, '--size', 'fit')
        self.assertLess(self.image.stat().st_size, 20 * MIB)
        self.made(tar, '--size', '+64M')
        self.assertIn(self.image.stat().st_size // MIB, range(72, 100))
        self.image.unlink()
        self.assertRefused(tar, '--size', '8M', name='image-too-small', says='give a larger --size')
        many, = self.tars([[L.Entry(f'{number}') for number in range(5000)]])
        self.assertRefused(many, '--size', '8M', name='image-too-small', says='inodes')

    def test_a_grown_image_is_still_one(self):
        tar, = self.tars([[L.Entry('data', data=os.urandom(MIB))]])
        self.made(tar)
        with open(self.image, 'r+b') as file:
            file.truncate(2 << 30)
        subprocess.run(['resize2fs', self.image], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.check()

    def test_the_operators_own_files_come_on_top(self):
        key = self.directory / 'key.pub'
        key.write_text('ssh-ed25519 AAAA me\n')
        modules = self.directory / '6.1.0-test'
        (modules / 'kernel').mkdir(parents=True)
        (modules / 'modules.dep').write_text('')
        (modules / 'kernel' / 'm.ko').write_bytes(b'module')
        os.chown(modules / 'kernel' / 'm.ko', 1000, 1000)
        tar, = self.tars([[L.link('lib', 'usr/lib'), L.directory('usr/lib'), L.Entry('etc/hostname', data=b'old\n'), L.directory('root', mode=0o700),
                           L.Entry('etc/shadow', data=b'daemon:*:1::::::\nroot:!:19000:0:99999:7:::\n', mode=0o640, gid=42)]])
        self.made(tar, '--hostname', 'web-1', '--ssh-key', key, '--root-password-hash', '$6$salt$hash', '--kernel-modules', modules)
        with L.mounted(self.image) as root:
            found = L.list_tree(root)
            self.assertEqual(pathlib.Path(root, 'etc/hostname').read_text(), 'web-1\n')
            self.assertEqual(pathlib.Path(root, 'etc/shadow').read_text(), 'daemon:*:1::::::\nroot:$6$salt$hash:19000:0:99999:7:::\n')
            self.assertEqual(pathlib.Path(root, 'root/.ssh/authorized_keys').read_bytes(), key.read_bytes())
        self.assertEqual([found[path]['mode'] for path in ('/root', '/root/.ssh', '/root/.ssh/authorized_keys', '/etc/shadow')], [0o700, 0o700, 0o600, 0o640])
        self.assertEqual((found['/lib']['type'], found['/usr/lib/modules/6.1.0-test/kernel/m.ko']['uid']), ('l', 0))

    def test_a_password_goes_to_the_file_that_is_read_for_it_or_nowhere(self):
        password = ['--root-password-hash', '$6$salt$hash']
        shadow = L.Entry('etc/shadow', data=b'root:!:19000::::::\n')
        for layers in ([[L.Entry('etc/s', data=b'root:!::::::\n'), L.hard_link('etc/shadow', 'etc/s')]], [[L.Entry('s'), L.link('etc/shadow', '/s')]],
                       [[L.directory('usr/etc'), L.Entry('usr/etc/shadow'), L.link('etc', 'usr/etc')]], [[shadow], [L.whiteout('etc/shadow')]],
                       [[L.Entry('etc')]], [[shadow], [L.hard_link('etc/s', 'etc/shadow'), L.link('etc/shadow', 's')]],
                       [[L.directory('usr/etc'), L.link('etc', 'usr/etc')]]):
            with self.subTest([[entry.path for entry in layer] for layer in layers]):
                self.assertRefused(*self.tars(layers), *password, says="'/etc/shadow' is to be changed" if layers[0][0].path != 'etc' else 'etc')
        for layers in ([[L.Entry('a')]], [[shadow, shadow]], [[shadow], [shadow]],
                       [[shadow, L.hard_link('etc/shadow-', 'etc/shadow')]]):
            with self.subTest([[entry.path for entry in layer] for layer in layers]):
                self.made(*self.tars(layers), *password)
                with L.mounted(self.image) as root:
                    self.assertTrue(pathlib.Path(root, 'etc/shadow').read_text().startswith('root:$6$salt$hash:'))

    def test_an_image_is_its_makers_alone(self):
        tar, = self.tars([[L.Entry('a')]])
        self.image.write_text('')
        self.image.chmod(0o666)
        self.assertEqual(self.build(tar, preexec_fn=lambda: os.umask(0)).returncode, 0)
        self.assertEqual(self.image.stat().st_mode & 0o777, 0o600)

    def test_a_change_of_the_image_before_is_not_left_for_the_new_one(self):
        tar, = self.tars([[L.Entry('a')]])
        self.made(tar)
        redo = self.directory / 'root.ext4.affix-redo'
        redo.write_bytes(b'affix-redo 2\n')
        self.made(tar)
        self.assertEqual(sorted(path.name for path in self.directory.iterdir()), ['layer-0.tar', 'root.ext4'])

    def test_values_that_are_none_are_usage_errors_and_make_nothing(self):
        tar, = self.tars([[L.Entry('a')]])
        for options in (['--size', '2X'], ['--size', '0'], ['--size', '99999999T'], ['--uuid', '1234']):
            with self.subTest(options):
                self.assertEqual(self.build(tar, *options).returncode, 2)
        for options in (['--hostname', 'a b'], ['--root-password-hash', 'clear'], ['--kernel-modules', self.directory], ['--ssh-key', '/nowhere']):
            with self.subTest(options):
                self.assertEqual(self.build(tar, *options).returncode, 1)
        self.assertFalse(self.image.exists())


class Hostile(Images):
    def raw(self, *entries):
        path = self.directory / 'hostile.tar'
        return L.write_tar(path, entries)

    def test_names_that_lead_out_are_refused(self):
        for path in ('../evil', 'a/../../evil', 'a/..', 'n' * 256, '/'.join(['n' * 100] * 50)):
            with self.subTest(path):
                self.assertRefused(self.raw(L.Entry(path)), says='inside the image')
        self.assertRefused(self.raw(L.Entry('a'), L.hard_link('b', '../../etc/passwd')), says='inside the image')
        found = self.made(self.raw(L.link('out', '../../../..'), L.Entry('out/etc/shadow', data=b'inside'), L.Entry('/abs', data=b'x')))
        self.assertEqual((found['/etc/shadow']['size'], found['/abs']['size']), (6, 1))

    def test_loops_and_contradictions_are_refused(self):
        self.assertRefused(self.raw(L.link('a', 'b'), L.link('b', 'a'), L.Entry('a/x')), says='loops')
        self.assertRefused(self.raw(L.Entry('a'), L.Entry('a/x')), says='no directory')
        self.assertRefused(self.raw(L.directory('a'), L.hard_link('b', 'a')), says='hard link')
        self.assertRefused(self.raw(L.hard_link('a', 'a')), says='hard link')
        self.assertRefused(self.raw(L.Entry('.wh.')), says='whiteout')
        self.assertRefused(*self.tars([[L.link('a', 'a/b')], [L.Entry('a/x')]]), says='loops')

    def test_attributes_that_ext4_cannot_hold_are_refused(self):
        self.assertRefused(self.raw(L.Entry('a', xattrs={'user.big': b'v' * 5000})), says='user.big')
        self.assertRefused(self.raw(L.Entry('a', xattrs={f'user.{n}': b'v' * 1000 for n in range(5)})), says='4 KiB')
        self.assertRefused(self.raw(L.Entry('a', xattrs={'system.other': b'v'})), says='system.other')
        self.assertRefused(self.raw(L.Entry('a', xattrs={'user.' + 'n' * 251: b'v'})), says='255 bytes')
        self.assertRefused(self.raw(L.Entry('a', xattrs={'user.' + 'n' * 200 + str(n): b'' for n in range(30)})), says='4 KiB')
        self.made(self.raw(L.Entry('a', xattrs={'user.' + 'n' * 250: b'v'})))
        for name, value in (('user.' + 'n' * 251, b'v'), ('user.', b'v'), ('system.posix_acl_accessory', ACL), ('system.posix_acl_access', ACL[:-3])):
            self.assertRefused(self.raw(L.Entry('a', xattrs={name: value})), says=name[:20])
        self.assertRefused(self.raw(L.Entry('a', xattrs={'system.posix_acl_access': ACL[:4] + bytes(24)})), says='valid')
        self.assertRefused(self.raw(L.Entry('a', uid=2**32 - 1)), says='numbers below')

    def sparse(self, size, offset=None):
        """A tar with a file that says it is so long, with 4 KiB of data at *offset*."""
        rows = '0\n' if offset is None else f'1\n{offset}\n4096\n'
        info = tarfile.TarInfo('sparse')
        info.pax_headers = {'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.name': 'sparse', 'GNU.sparse.realsize': str(size)}
        data = rows.encode().ljust(512, b'\0') + (b'' if offset is None else b'x' * 4096)
        info.size = len(data)
        with tarfile.open(self.directory / 'sparse.tar', 'w', format=tarfile.PAX_FORMAT) as tar:
            tar.addfile(info, io.BytesIO(data))
        return self.directory / 'sparse.tar'

    def test_files_larger_than_any_of_ext4_are_refused(self):
        most = (2**32 - 1) * 4096
        for size, offset in ((2**50, None), (most + 1, None), (2**62, 2**61), (2**44, 2**44 - 4096)):
            with self.subTest(size=size):
                self.assertRefused(self.sparse(size, offset), says='out of range')
        for offset in (None, most - 4096):
            self.assertEqual(self.build(self.sparse(most, offset)).returncode, 0)
            self.check()

    def test_streams_that_are_cut_off_or_damaged_are_refused(self):
        tar = self.raw(L.Entry('a', data=os.urandom(100000)), L.Entry('b', data=b'b' * 1000))
        data = tar.read_bytes()
        cut = self.directory / 'cut'
        for size in (0, 100, 511, 512, 50000, 100864, len(data) - 10240 + 512):
            cut.write_bytes(data[:size] if size != len(data) - 10240 + 512 else data[:102400 + 512])
            with self.subTest(size=size):
                if size == 0 or self.build(cut).returncode == 0:
                    self.image.unlink(missing_ok=True)
                    self.assertIn(size, (0, len(data) - 10240 + 512))
                else:
                    self.assertRefused(cut)
        for command in (['gzip', '-c'], ['zstd', '-qc']):
            packed = subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout
            for size in (20, len(packed) // 2, len(packed) - 1):
                cut.write_bytes(packed[:size])
                self.assertRefused(cut, says='cut off')
            for at in (30, len(packed) // 2, len(packed) - 3):
                cut.write_bytes(packed[:at] + bytes([packed[at] ^ 0x55]) + packed[at + 1:])
                done = self.build(cut)
                self.image.unlink(missing_ok=True)
                self.assertTrue(done.returncode == 1 or command[0] == 'zstd', (command, at))

    def test_a_bomb_ends_where_the_image_does(self):
        bomb = self.directory / 'bomb.gz'
        head = L.write_tar(self.directory / 'head.tar', [L.Entry('x', mtime=0)]).read_bytes()[:512]
        head = bytearray(head)
        head[124:136] = b'%011o\0' % (1 << 30)
        head[148:156] = b'        '
        head[148:156] = b'%06o\0 ' % sum(head)
        with gzip.open(bomb, 'wb', compresslevel=1) as file:
            file.write(head)
            for _ in range(1 << 6):
                file.write(b'\x01' * MIB)
        self.assertRefused(bomb, '--size', '32M', name='image-too-small')

    def test_a_full_disk_leaves_nothing(self):
        tar, = self.tars([[L.Entry('data', data=os.urandom(16 * MIB))]])
        limit = 4 * MIB
        done = self.build(tar, '--size', '64M', preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual([path.name for path in self.directory.iterdir()], ['layer-0.tar'])

    def test_a_kill_leaves_nothing(self):
        tar, = self.tars([[L.Entry(f'{number}', data=os.urandom(MIB)) for number in range(64)]])
        for delay in (0.005, 0.02, 0.05, 0.1):
            process = subprocess.Popen([AFFIX, 'image', 'build', tar, '-o', self.image], stdout=subprocess.DEVNULL)
            time.sleep(delay)
            process.kill()
            if process.wait() == 0:
                self.image.unlink()
            self.assertEqual([path.name for path in self.directory.iterdir()], ['layer-0.tar'])

    def test_what_had_the_name_stays_until_the_image_is_complete(self):
        self.image.write_text('precious')
        good, = self.tars([[L.Entry('a')]])
        self.assertEqual(self.build(good, self.image).returncode, 1)
        self.assertEqual(self.image.read_text(), 'precious')
        self.made(good)


if __name__ == '__main__':
    unittest.main(verbosity=2)
