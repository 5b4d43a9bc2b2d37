#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""test-powercut [--control] [OPTION of powercut]...

Cuts the power of a User-Mode Linux guest while affix works on a tree of its disk: install, upgrade, rollback, going
forth again and uninstall, in any order that the states allow. With --control they run with a sync that does nothing,
and that has to be noticed. AFFIX_TEST_CUTS says how many cuts, AFFIX_TEST_SEED which.
"""

import os
import shlex
import subprocess
import sys

import scenario


class Life(scenario.Trees):
    """The states that an add-on can be in, and the operations between them."""

    def prepare(self):
        super().prepare()
        one, two = self.bundle('1.0.0'), self.bundle('1.1.0')
        # The floor stays after an uninstall.
        install = self.affix('install', one, '--allow-downgrade')
        upgrade = self.affix('install', two, '--config', self.config)
        uninstall = self.affix('uninstall', scenario.ID)
        self.operations = [
            ('install', 'none', 'one', install),
            ('upgrade', 'one', 'two', upgrade),
            ('rollback', 'two', 'back', self.affix('rollback', scenario.ID)),
            ('forth', 'back', 'two', upgrade),
            ('uninstall-one', 'one', 'none', uninstall),
            ('uninstall-two', 'two', 'none', uninstall),
            ('uninstall-back', 'back', 'none', uninstall),
        ]
        self.golden = {}
        self.walk('none', self.tree)

    def walk(self, state, tree):
        """Lists each state once; a state come to by two ways must be the same."""
        path = self.work.path / f'{state}.list'
        found = scenario.listing(tree, '--brief')
        if state in self.golden:
            if path.read_text() != found:
                raise AssertionError(f"'{state}' differs between two ways to it")
            return
        path.write_text(found)
        self.golden[state] = path
        for _, start, end, command in self.operations:
            if start == state:
                copy = self.copy(tree)
                self.run(command, copy)
                self.walk(end, copy)

    def check(self):
        pairs = [f'{name}={path}' for name, path in self.golden.items()]
        return shlex.join([str(scenario.STATE), '--brief', *pairs, '{}'])


def main():
    with Life() as life:
        operations = [f'--op={name}:{start}:{end}:{command}' for name, start, end, command in life.operations]
        command = [
            scenario.HERE.parent / 'lib' / 'powercut', '--name', 'powercut', '--tree', life.tree, '--state', 'none',
            *operations, '--recover', life.recover(), '--check', life.check(), '--work', life.work.path,
            '--images', '/dev/shm', '--jitter-file', 'lost+found/jitter', *sys.argv[1:],
        ]
        return subprocess.run([str(word) for word in command], check=False).returncode


if os.getuid() != 0:
    print('SKIP: owners of files in a tree need root')
    sys.exit(77)
sys.exit(main())
