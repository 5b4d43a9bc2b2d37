#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""test-build-faults [OPTION of strace-fault]...

Breaks `affix image build` at every system call that changes something: killed at each, errors at each (or each
AFFIX_TEST_FAULTS-th). The name has the image from before or the new one, both whole, and nothing lies beside it; but of who was
killed between two renames, a file that the next build of the same name removes.
"""

import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile

import layers as L

HERE = pathlib.Path(__file__).resolve().parent
AFFIX = pathlib.Path(os.environ['AFFIX_BUILD']) / 'bin' / 'affix'
# The next build, which leaves the image as it is.
NEXT = """cd "$1" && cp -p root.ext4 kept && "$2" image build layer.tar -o root.ext4 --size 8M >/dev/null && mv kept root.ext4 && e2fsck -fn root.ext4"""
# What is expected of one copy: the files that were there, and the image one of two.
STATE = '''cd "$1" && test "$(echo .* *)" = ". .. layer.tar root.ext4" || { ls -A; exit 0; }
if cmp -s root.ext4 "$2"; then echo old; elif cmp -s root.ext4 "$3"; then echo new; else echo torn; fi'''


def build(tar, image):
    subprocess.run([AFFIX, 'image', 'build', tar, '-o', image, '--size', '8M'], check=True, stdout=subprocess.DEVNULL)


def main():
    if not shutil.which('strace'):
        print('SKIP: strace makes the faults')
        return 77
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        source = work / 'source'
        source.mkdir()
        tar = L.write_tar(source / 'layer.tar', [
            L.directory('etc'), L.Entry('etc/passwd', data=b'root:x:0:0\n', xattrs={'user.note': b'v' * 3000}), L.Entry('large', data=os.urandom(3 << 20)),
            L.hard_link('etc/passwd-', 'etc/passwd'), L.link('lib', 'usr/lib'), *(L.Entry(f'many/{number:03d}', mtime=0) for number in range(200))])
        build(tar, work / 'new')
        build(L.write_tar(work / 'old.tar', [L.Entry('old', data=b'old')]), work / 'old')
        shutil.copy(work / 'old', source / 'root.ext4')
        command = [
            HERE.parent / 'lib' / 'strace-fault', '--name', 'image-build', '--tree', source, '--refused', '1',
            '--recover', shlex.join(['sh', '-c', NEXT, 'next', '{}', str(AFFIX)]), '--check', shlex.join(['sh', '-c', STATE, 'state', '{}', str(work / 'old'), str(work / 'new')]),
            '--work', work, '--every-error', os.environ.get('AFFIX_TEST_FAULTS', '1'), '--recovery-cuts', '0', *sys.argv[1:],
            '--', AFFIX, 'image', 'build', '{}/layer.tar', '-o', '{}/root.ext4', '--size', '8M',
        ]
        return subprocess.run([str(word) for word in command], check=False).returncode


sys.exit(main())
