#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""test-walks [SEED...]

A tree goes through a long life of operations in any order, builds of two versions among them, and many of them are
broken at a call by chance. After each, recovery finds the tree as it was before or as the same operation leaves a copy
of it. What the other suites do at every call, this does from states that nobody has thought of.
"""

import difflib
import os
import random
import shlex
import shutil
import subprocess
import sys

import scenario

STEPS = 60
CALLS = """
    openat renameat renameat2 linkat unlinkat write fsync syncfs mkdirat fchmod fchown symlinkat ftruncate fdatasync
""".split()


class Walk(scenario.Trees):
    def __init__(self, seed):
        super().__init__()
        self.dice = random.Random(seed)
        self.history = []

    def prepare(self):
        super().prepare()
        installs = []
        for version in ('1.0.0', '1.1.0'):
            for content in 'ab':
                command = self.affix('install', self.bundle(version, content), '--allow-downgrade')
                installs += [command, f'{command} --config {self.config}']
        others = [
            *[self.affix('rollback', scenario.ID)] * 4,
            self.affix('uninstall', scenario.ID),
            self.affix('uninstall', scenario.ID, '--purge'),
            self.affix('configure', scenario.ID, self.config),
            self.affix('repair', scenario.ID),
            self.affix('prune', scenario.ID),
        ]
        self.operations = installs + others + others

    def broken(self, fault):
        """The beginning of a command line that breaks the rest; the fault may come too late to strike."""
        call = self.dice.choice(CALLS)
        what = 'signal=KILL' if fault == 'KILL' else f'error={fault}'
        moment = f'{call}:{what}:when={self.dice.randrange(1, 16)}'
        self.history.append(f'  broken by {moment}')
        return ['strace', '-f', '-qq', '-o', '/dev/null', '-e', f'trace={call}', '-e', f'inject={moment}']

    def step(self):
        command = self.dice.choice(self.operations)
        self.history.append(command)
        before = scenario.listing(self.tree, '--brief')
        twin = self.copy(self.tree)
        succeeds = self.run(command, twin, check=False).returncode == 0
        after = scenario.listing(twin, '--brief')
        shutil.rmtree(twin)
        fault = self.dice.choice(['', 'KILL', 'KILL', 'KILL', 'ENOSPC', 'EIO']) if succeeds else ''
        words = [word.replace('{}', str(self.tree)) for word in shlex.split(command)]
        done = subprocess.run([*(self.broken(fault) if fault else []), *words], capture_output=True, check=False)
        self.run(self.recover(), self.tree)
        found = scenario.listing(self.tree, '--brief')
        if fault and (fault == 'KILL' or done.returncode != 0):
            self.compare(found, before, after)
        else:
            self.compare(found, after)

    def compare(self, found, *wanted):
        if found in wanted:
            return
        steps = '\n'.join(self.history[-20:])
        difference = '\n'.join(difflib.unified_diff(wanted[-1].splitlines(), found.splitlines(), n=0, lineterm=''))
        raise AssertionError(f'neither as before nor as after:\n{difference}\nThe last steps:\n{steps}')


def main():
    for seed in sys.argv[1:] or [os.environ.get('AFFIX_TEST_SEED', '1')]:
        with Walk(seed) as walk:
            for _ in range(STEPS):
                walk.step()
            print(f'walks: seed {seed}: {len(walk.history)} lines of history, each state as before or as after')
    return 0


if os.getuid() != 0:
    print('SKIP: owners of files in a tree need root')
    sys.exit(77)
sys.exit(main())
