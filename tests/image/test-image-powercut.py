#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""test-image-powercut [OPTION of powercut]...

Cuts the power of a User-Mode Linux guest while `affix image` works on an image that lies on its disk: inject, upgrade, remove,
in any order. What is found after `affix image status` is one of the trees between which the operation was, all of it, and
e2fsck is content. AFFIX_TEST_CUTS says how many cuts (20), AFFIX_TEST_SEED which.
"""

import os
import pathlib
import shlex
import shutil
import subprocess
import sys

import images
import scenario
from images import fixture

HERE = pathlib.Path(__file__).resolve().parent
# The state of the image $1, whose tree is unpacked into the directory $2, by the words behind them.
CHECK = '''image=$1 place=$2; shift 2
e2fsck -fn "$image" >/dev/null 2>&1 || { echo damaged; exit 0; }
rm -rf "$place" && mkdir "$place" && debugfs -R "rdump / $place" "$image" >/dev/null 2>&1
rmdir "$place/lost+found" && exec "$@" "$place"'''


class Life(scenario.Trees):
    """The states that the image can be in, and the operations between them."""

    def prepare(self):
        super().prepare()
        self.source = self.work.fresh('source')
        self.source.mkdir()
        image = images.make(self.tree, self.source / 'disk.img', ['-t', 'ext4', '-b', '1024', '-J', 'size=1'], '6M')
        inject = [fixture.AFFIX, 'image', 'inject', '--allow-downgrade', '--trust', self.tree / 'etc/affix/trust.d', '{}/disk.img']
        one, two = (shlex.join(map(str, [*inject, self.bundle(version)])) for version in ('1.0.0', '1.1.0'))
        remove = shlex.join(map(str, [fixture.AFFIX, 'image', 'rm-add-on', '{}/disk.img', scenario.ID]))
        self.operations = [('install', 'none', 'one', one), ('upgrade', 'one', 'two', two),
                           ('remove-one', 'one', 'none', remove), ('remove-two', 'two', 'none', remove)]
        self.golden = {}
        copy = self.work.fresh('copy')
        copy.mkdir()
        shutil.copy(image, copy)
        # Of what was never there, the record stays, with the floor: that is where a life begins.
        for name, command in (('', one), ('none', remove), ('one', one), ('two', two)):
            self.run(command, copy)
            if name:
                self.keep(name, copy / 'disk.img')
            if name == 'none':
                shutil.copy(copy / 'disk.img', image)

    def check(self, image, place, *words):
        return shlex.join(map(str, ['sh', '-c', CHECK, 'check', image, place, scenario.STATE, '--brief', *words]))

    def keep(self, name, image):
        path = self.work.path / f'{name}.list'
        path.write_text(self.run(self.check(image, self.work.path / 'unpacked', '--print'), '').stdout)
        self.golden[name] = path


def main():
    if os.getuid() != 0:
        print('SKIP: owners of files in a tree need root')
        return 77
    with Life() as life:
        operations = [f'--op={name}:{start}:{end}:{command}' for name, start, end, command in life.operations]
        states = [f'{name}={path}' for name, path in life.golden.items()]
        command = [
            HERE.parent / 'lib' / 'powercut', '--name', 'image-power-cuts', '--tree', life.source, '--state', 'none', *operations,
            '--recover', shlex.join([str(fixture.AFFIX), 'image', 'status', '{}/disk.img']),
            '--check', life.check('{}/disk.img', '/run/unpacked', *states), '--work', life.work.path, '--images', '/dev/shm',
            '--cuts', os.environ.get('AFFIX_TEST_CUTS', '20'), *sys.argv[1:],
        ]
        return subprocess.run([str(word) for word in command], check=False).returncode


sys.exit(main())
