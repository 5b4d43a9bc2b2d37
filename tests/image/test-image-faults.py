#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""test-image-faults OPERATION [OPTION of strace-fault]...

Breaks an operation on an image at every system call that changes something: killed at each, errors at each sixth (or
each AFFIX_TEST_FAULTS-th). After one more command on the image, it is byte for byte what it was, or holds the new tree.
"""

import os
import pathlib
import shlex
import shutil
import sys

import images
import scenario
from images import fixture

HERE = pathlib.Path(__file__).resolve().parent


def command_of(story):
    words = shlex.split(story.command)
    bundle = next((word for word in words if word.endswith('.tar.zst')), None)
    if bundle is None:
        return [fixture.AFFIX, 'image', 'rm-add-on', '{}/disk.img', scenario.ID]
    config = ['--config', f'{scenario.ID}={story.config}'] if '--config' in words else []
    return [fixture.AFFIX, 'image', 'inject', '--trust', story.tree / 'etc/affix/trust.d', *config, '{}/disk.img', bundle]


def main():
    operation, *options = sys.argv[1:]
    if os.getuid() != 0 or not shutil.which('strace'):
        print('SKIP: owners of files in a tree need root, and the faults strace')
        return 77
    with scenario.Scenario(operation) as story:
        source = story.work.fresh('source')
        source.mkdir()
        image = images.make(story.tree, source / 'disk.img', ['-t', 'ext4', '-b', '1024', '-J', 'size=1'], '4M')
        checker = shlex.join(map(str, [HERE / 'state', shutil.copy(image, story.work.path / 'old.img'), story.golden['new']]))
        command = [
            HERE.parent / 'lib' / 'strace-fault', '--name', f'image-{operation}', '--tree', source,
            '--recover', shlex.join([str(fixture.AFFIX), 'image', 'status', '{}/disk.img']), '--refused', 1,
            '--checker', checker, '--work', story.work.path, '--every-error', os.environ.get('AFFIX_TEST_FAULTS', '6'),
            '--recovery-cuts', '0', '--every', '16', '--focus', r'/disk\.img|/source|/tree', *options, '--', *command_of(story),
        ]
        # What killed processes worked on stays there: the next image is another file.
        place = story.work.fresh('tmp')
        place.mkdir()
        return fixture.subprocess.run([str(word) for word in command], check=False,
                                      env={**os.environ, 'TMPDIR': str(place)}).returncode


sys.exit(main())
