#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""test-faults OPERATION [OPTION of strace-fault]...

Breaks one operation on a tree at every system call that changes something, and sees that it leaves old or new. It is
killed at every one; errors are injected at every one, too, or at each AFFIX_TEST_FAULTS-th. AFFIX_TEST_SEED
chooses which.
"""

import os
import shlex
import shutil
import sys

import scenario
from scenario import fixture


def skip_reason():
    if os.getuid() != 0:
        return 'owners of files in a tree need root'
    return None if shutil.which('strace') else 'strace is not installed'


def main():
    operation, *options = sys.argv[1:]
    reason = skip_reason()
    if reason:
        print(f'SKIP: {reason}')
        return 77
    with scenario.Scenario(operation) as story:
        # The next request changes nothing in the tree, but where nothing is known of the add-on it can only be to install.
        implicit = story.command if operation.startswith('install') else story.affix('clear-quarantine', scenario.ID)
        command = [
            scenario.HERE.parent / 'lib' / 'strace-fault', '--name', operation, '--tree', story.tree,
            '--recover', story.recover(), '--recover', implicit, '--refused', 1, '--checker', story.checker(),
            '--work', story.work.path, '--every-error', os.environ.get('AFFIX_TEST_FAULTS', '1'),
            '--recovery-cuts', '6', '--recovery-points', '3', *options, '--', *shlex.split(story.command),
        ]
        return fixture.subprocess.run([str(word) for word in command], check=False).returncode


sys.exit(main())
