# SPDX-License-Identifier: Apache-2.0
"""Operations on a tree that is not running: what each starts from, what it does, what it may leave.

    with scenario.Scenario('upgrade') as story:
        story.tree                  the tree before it, another add-on among it
        story.command               the operation's command line, `{}` for the tree
        story.golden['new']         the listing (tests/fault/state) that it is to end with

The add-on is rich on purpose: versions differ in units, drop-ins, links, entries and configuration, one has file
capabilities, and a second add-on lies beside it that no operation may touch.
"""

import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / 'e2e'))

import fixture  # noqa: E402

STATE = HERE / 'state'
ID = 'probe'


def listing(tree, *options):
    return fixture.run([STATE, *options, '--print', tree]).stdout


class Trees:
    """Bundles of the add-on and trees to put them into; they go with the context."""

    def __init__(self):
        self.work = fixture.Workshop()
        self.config = self.work.path / 'config.json'
        self.config.write_text(json.dumps({'level': 1}))

    def __enter__(self):
        try:
            self.prepare()
        except BaseException:
            self.work.close()
            raise
        return self

    def __exit__(self, *_):
        self.work.close()

    def prepare(self):
        self.tree = self.bare_tree()
        self.install(self.tree, self.work.bundle(self.work.addon('neighbour', '3.0.0')))

    def bare_tree(self):
        tree = self.work.tree()
        (tree / 'etc/shadow').write_text('root:*:19000:0:99999:7:::\n')
        (tree / 'etc/gshadow').write_text('root:*::\n')
        for base in ('var/cache/affix', 'var/log/affix'):
            (tree / base).mkdir(parents=True)
        return tree

    def install(self, tree, bundle, arguments=()):
        fixture.affix(['install', bundle, '--root', tree, *arguments], check=True)

    def addon(self, version):
        """Versions share a service and differ in the unit and the file beside it."""
        minor = version.split('.')[1]
        addon = self.work.addon(ID, version)
        extra = json.loads(json.dumps(addon.service))
        extra['Unit']['Description'] = f'part {minor}'
        del extra['Install']
        addon.units[f'affix-{ID}_part{minor}.service'] = extra
        addon.service['Unit']['Description'] = f'probe {version}'
        if minor != '0':
            addon.manifest['resources'] = {'memory_max_bytes': 64 << 20}
        return addon

    def bundle(self, version, content='a'):
        data = self.work.fresh('data') / f'data-{version}.bin'
        data.parent.mkdir()
        data.write_bytes(content.encode() * 20000)
        return self.work.bundle(self.addon(version), entries=[data])

    def affix(self, *words):
        """A command line for the tree `{}`."""
        return shlex.join([str(fixture.AFFIX), *(str(word) for word in words), '--root', '{}'])

    def recover(self):
        return shlex.join([str(fixture.UPDATER), '--recover', '--root', '{}'])

    def run(self, command, tree, check=True):
        return fixture.run([word.replace('{}', str(tree)) for word in shlex.split(command)], check=check)

    def copy(self, tree):
        copy = self.work.fresh('copy')
        subprocess.run(['cp', '-a', '--', tree, copy], check=True)
        return copy


class Scenario(Trees):
    """One operation."""

    def __init__(self, operation):
        super().__init__()
        self.operation = operation
        # Whose /etc is the add-on's, the first or the second install's, differs there.
        self.precision = ['--brief'] if operation == 'install-empty' else []
        self.also = []

    def prepare(self):
        super().prepare()
        self.bare = listing(self.tree, '--brief')
        self.command = getattr(self, 'prepare_' + self.operation.replace('-', '_'))(self.tree)
        self.golden = self.make_golden()

    # What each operation starts from; each returns its command.

    def prepare_install(self, _tree):
        return self.affix('install', self.bundle('1.0.0'), '--config', self.config)

    def prepare_install_empty(self, tree):
        """Into a tree that has no /etc yet. It may stay where the install does not: the lock of its accounts is in it."""
        trust = self.work.fresh('trust')
        shutil.copytree(tree / 'etc/affix/trust.d', trust)
        shutil.rmtree(tree / 'etc')
        (tree / 'etc').mkdir()
        begun = self.work.path / 'begun.list'
        begun.write_text(listing(tree, *self.precision))
        self.also.append(f'old={begun}')
        (tree / 'etc').rmdir()
        return self.affix('install', self.bundle('1.0.0'), '--config', self.config, '--trust', trust)

    def prepare_upgrade(self, tree):
        self.install(tree, self.bundle('1.0.0'))
        return self.affix('install', self.bundle('1.1.0'), '--config', self.config)

    def prepare_rebuild(self, tree):
        self.install(tree, self.bundle('1.0.0', 'a'))
        return self.affix('install', self.bundle('1.0.0', 'b'))

    def prepare_rollback(self, tree):
        self.install(tree, self.bundle('1.0.0'))
        self.install(tree, self.bundle('1.1.0'))
        return self.affix('rollback', ID)

    def prepare_forth(self, tree):
        """To the version that was gone back from, whose bytes still lie there."""
        self.run(self.prepare_rollback(tree), tree)
        return self.affix('install', self.bundle('1.1.0'))

    def prepare_rollback_rebuild(self, tree):
        self.install(tree, self.bundle('1.0.0', 'a'))
        self.install(tree, self.bundle('1.0.0', 'b'))
        return self.affix('rollback', ID)

    def prepare_configure(self, tree):
        self.install(tree, self.bundle('1.0.0'))
        return self.affix('configure', ID, self.config)

    def prepare_uninstall(self, tree):
        self.install(tree, self.bundle('1.0.0'))
        self.install(tree, self.bundle('1.1.0'))
        self.write_state(tree)
        return self.affix('uninstall', ID)

    def prepare_purge(self, tree):
        return self.prepare_uninstall(tree) + ' --purge'

    def prepare_hold(self, tree):
        self.install(tree, self.bundle('1.0.0'))
        return self.affix('hold', ID, '--stop', '--reason', 'for now')

    def prepare_release(self, tree):
        self.run(self.prepare_hold(tree), tree)
        return self.affix('hold', ID, '--release')

    def write_state(self, tree):
        """What the service would have written, had it run."""
        for base in ('lib', 'cache', 'log'):
            directory = tree / 'var' / base / 'affix' / ID
            (directory / 'deep').mkdir(parents=True, exist_ok=True)
            (directory / 'deep' / 'file').write_text('kept\n')

    # The ends.

    def make_golden(self):
        golden = {'old': self.work.path / 'old.list', 'new': self.work.path / 'new.list'}
        golden['old'].write_text(listing(self.tree, *self.precision))
        after = self.copy(self.tree)
        self.run(self.command, after)
        self.check_sense(after)
        golden['new'].write_text(listing(after, *self.precision))
        shutil.rmtree(after)
        if golden['old'].read_text() == golden['new'].read_text():
            raise AssertionError(f'{self.operation} changes nothing')
        return golden

    def check_sense(self, after):
        """The golden listings are what affix makes of the tree: see that it makes what it should."""
        current = after / 'opt/affix' / ID / 'current'
        version = {'upgrade': '1.1.0', 'forth': '1.1.0', 'uninstall': None, 'purge': None}.get(self.operation, '1.0.0')
        found = os.readlink(current).split('/')[-1] if os.path.lexists(current) else None
        if found != version:
            raise AssertionError(f'after {self.operation}: {found}, wanted {version}')
        if version is None:
            # The tree as if the add-on had never been, but for what it wrote, if that is to be kept.
            lines = listing(after, '--brief').splitlines()
            state = [line for line in lines if f'/affix/{ID}' in line and line.startswith('/var/')]
            left = set(lines) ^ set(state) ^ set(self.bare.splitlines())
            if left:
                raise AssertionError(f'after {self.operation} these differ: {sorted(left)}')
            if bool(state) != (self.operation == 'uninstall'):
                raise AssertionError(f'after {self.operation} there are {state}')

    def check(self, tree='{}'):
        pairs = [f'{name}={path}' for name, path in self.golden.items()]
        return shlex.join([str(STATE), *self.precision, *pairs, *self.also, tree])

    def checker(self):
        """The same, for many trees."""
        return self.check('-')
