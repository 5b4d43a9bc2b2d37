#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""affix check, build and inspect: what they make and say, held against tar, zstd and Python."""

import gzip
import hashlib
import io
import json
import os
import pathlib
import signal
import struct
import subprocess
import tarfile
import tempfile
import time
import unittest

AFFIX = pathlib.Path(os.environ['AFFIX_BUILD']) / 'bin' / 'affix'
MEMORY_MAX = 32 << 20

MANIFEST = '''id: demo
name: Demo
version: 1.0.0
kind: native
delivery: pushed-artifact
supervision: systemd-service
capabilities: [demo]
requires:
  base_agent: ">=0.1.0"
  platforms: [linux]
exec:
  binary: demo
config_schema: config.schema.json
'''
UNIT = '''[Unit]
Description=Demo
[Service]
ExecStart=/opt/affix/demo/current/demo
User=affix-demo
[Install]
WantedBy=multi-user.target
'''
SCHEMA = '{"type": "object"}\n'
NAMES = ['addon.yaml', 'affix-demo.service', 'config.schema.json', 'demo']


def elf(machine=62):
    """The head of an ELF program for *machine*, and some more."""
    return b'\x7fELF\x02\x01\x01' + bytes(9) + struct.pack('<HHI', 3, machine, 1) + bytes(1000)


def tar_of(files, tar_format=tarfile.USTAR_FORMAT, change=None):
    """A tar archive of (name, bytes) pairs; *change* gets each TarInfo."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w', format=tar_format) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if change:
                change(info)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


class BuildTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix='affix-test-')
        self.addCleanup(temporary.cleanup)
        self.dir = pathlib.Path(temporary.name)
        self.source = self.dir / 'demo'
        self.out = self.dir / 'out'
        self.source.mkdir()
        self.write_source(['addon.yaml', 'affix-demo.service', 'config.schema.json'])
        (self.dir / 'amd64').write_bytes(elf())
        (self.dir / 'arm64').write_bytes(elf(183))

    def write_source(self, names):
        texts = {'addon.yaml': MANIFEST, 'affix-demo.service': UNIT, 'config.schema.json': SCHEMA}
        for name in names:
            (self.source / name).unlink(missing_ok=True)
            (self.source / name).write_text(texts[name])

    def affix(self, *args, code=0, **kwargs):
        result = subprocess.run([AFFIX, *args], capture_output=True, text=True, cwd=self.dir,
                                timeout=120, **kwargs)
        self.assertEqual(result.returncode, code, result)
        return result

    def build(self, *args, code=0, **kwargs):
        return self.affix('build', 'demo', *args, '-o', 'out', code=code, **kwargs)

    def demo_files(self, extra=()):
        return [('addon.yaml', MANIFEST.encode()), ('affix-demo.service', UNIT.encode()),
                ('config.schema.json', SCHEMA.encode()), ('demo', elf()), *extra]

    def inspect_tar(self, data, code=0):
        path = self.dir / 'made.tar.gz'
        path.write_bytes(gzip.compress(data, 1))
        return self.affix('inspect', 'made.tar.gz', code=code)

    def test_bundles_hold_what_stock_tools_see(self):
        (self.dir / 'rules.bin').write_bytes(b'rules')
        result = self.build('--bin', 'linux/amd64=amd64', '--bin', 'linux/arm64=arm64', '--entry', 'rules.bin')
        self.assertEqual(result.stdout.split(), ['out/demo-1.0.0-linux-amd64.tar.zst',
                                                 'out/demo-1.0.0-linux-arm64.tar.zst'])
        for path in result.stdout.split():
            data = subprocess.run(['zstd', '-dc', path], cwd=self.dir, check=True, capture_output=True).stdout
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                members = tar.getmembers()
            self.assertEqual([m.name for m in members], NAMES + ['rules.bin'])
            for member in members:
                self.assertTrue(member.isreg())
                self.assertEqual((member.mtime, member.uid, member.gid, member.uname, member.gname), (0, 0, 0, '', ''))
                self.assertEqual(member.mode, 0o755 if member.name == 'demo' else 0o644)
                self.assertEqual(member.pax_headers, {})

    def test_bytes_do_not_depend_on_umask_zone_locale_or_directory_order(self):
        digests = set()
        for umask, zone, locale, names in [(0o022, 'UTC', 'C', ['addon.yaml', 'affix-demo.service', 'config.schema.json']),
                                           (0o077, 'Asia/Kathmandu', 'C.UTF-8',
                                            ['config.schema.json', 'affix-demo.service', 'addon.yaml'])]:
            self.write_source(names)
            os.utime(self.source / 'addon.yaml', (len(digests), len(digests)))
            environment = {'TZ': zone, 'LC_ALL': locale, 'PATH': '/usr/bin:/bin'}
            self.build('--bin', 'linux/amd64=amd64', env=environment, umask=umask)
            path = self.out / 'demo-1.0.0-linux-amd64.tar.zst'
            self.assertEqual(path.stat().st_mode & 0o7777, 0o644)
            digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
        self.assertEqual(len(digests), 1)

    def test_program_for_another_machine_leaves_no_output(self):
        result = self.build('--bin', 'linux/amd64=arm64', code=1)
        self.assertIn('machine 62, got 183', result.stderr)
        self.assertTrue(result.stderr.startswith('wrong-elf: arm64:1:1: '), result.stderr)
        (self.dir / 'mach-o').write_bytes(b'\xcf\xfa\xed\xfe' + bytes(100))
        result = self.build('--bin', 'linux/arm64=arm64', '--bin', 'linux/amd64=mach-o', code=1)
        self.assertIn('linux/amd64', result.stderr)
        self.assertEqual(result.stdout, '')
        self.assertFalse(self.out.exists())

    def test_killed_build_leaves_nothing(self):
        with open(self.dir / 'large', 'wb') as large:
            large.write(elf())
            large.write(os.urandom(48 << 20))
        self.out.mkdir()
        for delay in (0.02, 0.1, 0.3):
            process = subprocess.Popen([AFFIX, 'build', 'demo', '--bin', 'linux/amd64=large', '-o', 'out'],
                                       cwd=self.dir, stdout=subprocess.DEVNULL)
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
            if process.wait() == -signal.SIGKILL:
                self.assertEqual(os.listdir(self.out), [])

    def test_every_problem_is_told_with_its_place(self):
        (self.source / 'addon.yaml').write_text(MANIFEST + 'surprise: 1\n')
        (self.source / 'affix-demo.service').write_text(UNIT.replace('User=affix-demo', 'User=root'))
        (self.source / 'config.schema.json').write_text('{"type": "wrong"}')
        result = self.affix('check', 'demo', code=1)
        for place in ('demo/addon.yaml:14:1: ', 'demo/affix-demo.service:5:', 'demo/config.schema.json:1:'):
            self.assertIn(place, result.stdout)
        self.assertRegex(result.stderr, r"^bad-manifest: 'demo' has 3 problems\n$")
        answer = json.loads(self.affix('check', 'demo', '--json', code=1).stdout)
        self.assertEqual(answer['schema'], 1)
        self.assertEqual(answer['path'], 'demo')
        self.assertEqual([p['name'] for p in answer['problems']], ['bad-manifest', 'unit-user', 'bad-schema'])
        self.assertEqual(set(answer['problems'][0]), {'file', 'line', 'column', 'name', 'message'})
        result = self.build('--bin', 'linux/amd64=amd64', code=1)
        self.assertEqual([line.split(':')[0] for line in result.stderr.splitlines()],
                         ['bad-manifest', 'unit-user', 'bad-schema'])
        self.assertFalse(self.out.exists())

    def test_good_source_is_silent(self):
        result = self.affix('check', 'demo')
        self.assertEqual((result.stdout, result.stderr), ('', ''))
        self.assertEqual(json.loads(self.affix('check', 'demo', '--json').stdout)['problems'], [])
        (self.source / 'config.schema.json').unlink()
        self.affix('check', 'demo/addon.yaml')
        self.assertIn('demo/config.schema.json', self.affix('check', 'demo', code=1).stdout)

    def test_wrong_usage_is_exit_code_two(self):
        for args in (['build', 'demo', '-o', 'out'], ['build', 'demo', '--bin', 'linux/amd64=amd64'],
                     ['build', '--bin', 'linux/amd64=amd64', '-o', 'out'], ['check'], ['inspect'],
                     ['build', 'demo', '--bin', 'linux=amd64', '-o', 'out'],
                     ['build', 'demo', '--bin', 'linux/amd64=', '-o', 'out'], ['inspect', 'a', 'b']):
            self.affix(*args, code=2)
        self.affix('check', 'nowhere', code=1)
        self.affix('inspect', 'nowhere', code=1)

    def test_inspect_says_that_nothing_was_verified(self):
        self.build('--bin', 'linux/amd64=amd64')
        path = 'out/demo-1.0.0-linux-amd64.tar.zst'
        text = self.affix('inspect', path).stdout
        self.assertTrue(text.startswith('UNVERIFIED'), text)
        self.assertIn('none beside the bundle', text)
        self.affix('keygen', '-W', '-p', 'k.pub', '-s', 'k.sec')
        self.affix('sign', '-s', 'k.sec', path)
        text = self.affix('inspect', path).stdout
        self.assertRegex(text, r'comment +UNVERIFIED, affix:1 id=demo version=1\.0\.0 os=linux arch=amd64 created=')
        answer = json.loads(self.affix('inspect', path, '--json').stdout)
        self.assertEqual((answer['schema'], answer['verified'], answer['signature']['verified']), (1, False, False))
        self.assertEqual([e['name'] for e in answer['entries']], NAMES)
        data = (self.dir / path).read_bytes()
        self.assertEqual(answer['digest'], hashlib.blake2b(data).hexdigest())
        self.assertEqual(answer['entries'][3], {'name': 'demo', 'mode': '0755', 'size': len(elf()),
                                                'digest': hashlib.blake2b(elf()).hexdigest()})

    def test_table_of_digests_stands_at_the_end_and_must_be_true(self):
        self.build('--bin', 'linux/amd64=amd64')
        path = self.dir / 'out/demo-1.0.0-linux-amd64.tar.zst'
        data = path.read_bytes()
        entries = json.loads(self.affix('inspect', path, '--json').stdout)['entries']
        digests = b''.join(bytes.fromhex(entry['digest']) for entry in entries)
        self.assertEqual(data[-4 - len(digests):], digests + len(entries).to_bytes(4, 'little'))
        self.affix('keygen', '-W', '-p', 'k.pub', '-s', 'k.sec')
        program = [entry['name'] for entry in entries].index('demo')
        at = len(data) - 4 - 64 * (len(entries) - program)
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
        for command in (['inspect', path], ['sign', '-s', 'k.sec', path]):
            result = self.affix(*command, code=1)
            self.assertRegex(result.stderr, "^malformed-bundle: the bundle's table has another digest for 'demo' ")

    def test_archives_of_other_tools_are_read_if_they_are_plain(self):
        self.inspect_tar(tar_of(self.demo_files()))
        self.inspect_tar(tar_of(self.demo_files(), tarfile.GNU_FORMAT))
        result = self.inspect_tar(tar_of(self.demo_files([('e' * 101, b'x')]), tarfile.GNU_FORMAT), code=1)
        self.assertTrue(result.stderr.startswith('bad-entry-type: '), result.stderr)

        def add_time(info):
            info.mtime = 0.5

        result = self.inspect_tar(tar_of(self.demo_files(), tarfile.PAX_FORMAT, add_time), code=1)
        self.assertTrue(result.stderr.startswith('bad-entry-type: '), result.stderr)

    def test_hostile_archives_are_refused_by_name(self):
        def typed(kind):
            def change(info):
                if info.name == 'x':
                    info.type, info.linkname, info.size = kind, 'demo', 0
            return change

        for kind in (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE,
                     tarfile.DIRTYPE):
            data = tar_of(self.demo_files([('x', b'')]), change=typed(kind))
            self.assertTrue(self.inspect_tar(data, code=1).stderr.startswith('bad-entry-type: '))
        for name in ('../x', '/x', 'x/y', '.serviceradar-addon.json', 'demo.affix-new', 'x\ny', 'x y'):
            result = self.inspect_tar(tar_of(self.demo_files([(name, b'x')])), code=1)
            self.assertTrue(result.stderr.startswith('bad-entry-name: '), result.stderr)
            self.assertEqual(result.stderr.count('\n'), 1)
        result = self.inspect_tar(tar_of(self.demo_files([('demo', b'x')])), code=1)
        self.assertTrue(result.stderr.startswith('duplicate-entry: '), result.stderr)

    def test_largest_program_is_read_in_little_memory(self):
        tar = self.dir / 'large.tar'
        with tarfile.open(tar, 'w', format=tarfile.USTAR_FORMAT) as out:
            for name, data in self.demo_files()[:3]:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                out.addfile(info, io.BytesIO(data))
            program = self.dir / 'large'
            with open(program, 'wb') as file:
                file.write(elf())
                file.truncate(512 << 20)
            info = tarfile.TarInfo('demo')
            info.size = 512 << 20
            with open(program, 'rb') as file:
                out.addfile(info, file)
        subprocess.run(['zstd', '-q', '-1', '--rm', tar], check=True)
        result = subprocess.run(['/usr/bin/python3', '-c', 'import resource, subprocess, sys\n'
                                 'subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n'
                                 'print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)',
                                 AFFIX, 'inspect', 'large.tar.zst'], cwd=self.dir, check=True, capture_output=True)
        self.assertLess(int(result.stdout) * 1024, MEMORY_MAX)


if __name__ == '__main__':
    unittest.main(verbosity=2)
