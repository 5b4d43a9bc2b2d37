# SPDX-License-Identifier: Apache-2.0
"""A booted host that trusts a workshop's key, and what tests ask of it.

    class Case(live.Case):                 # one host per class, booted once
        def test_…(self):
            result = self.install(self.addon('probe', '1.0.0'))
            self.assertEqual(result['outcome'], 'done')
"""

import json
import pathlib
import sys
import time
import unittest

import fixture
import host


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        reason = host.unavailable()
        if reason:
            print(reason, file=sys.stderr)
            raise SystemExit(host.SKIP)
        cls.work = fixture.Workshop()
        cls.addClassCleanup(cls.work.close)
        cls.host = host.Host()
        cls.addClassCleanup(cls.host.close)
        cls.host.install()
        cls.host.put(cls.work.public, '/etc/affix/trust.d/test.pub', mode=0o644)
        cls.host.boot()

    @classmethod
    def make_directory(cls):
        """A host like the booted one that is not booted: affix's own user and group are there, as its package makes them."""
        directory = host.Host()
        cls.addClassCleanup(directory.close)
        directory.install()
        fixture.run(['systemd-sysusers', f'--root={directory.root}', 'affix.conf'])
        directory.put(cls.work.public, '/etc/affix/trust.d/test.pub', mode=0o644)
        return directory

    @staticmethod
    def listing(tree, only=()):
        """What tests/lib/tree-list says of a tree, but for what may differ between a host that was booted and one that was not."""
        return fixture.run([pathlib.Path(host.LIB) / 'tree-list', '--affix', '--booted', *(f'--only={path}' for path in only), tree]).stdout.splitlines()

    def addon(self, identifier, version, options='', **arguments):
        return self.work.addon(identifier, version, options, **arguments)

    def send(self, bundle):
        """The bundle and its signature, inside; the path there."""
        for path in (bundle, pathlib.Path(f'{bundle}.minisig')):
            if path.exists():
                self.host.put(path, f'/root/{path.name}')
        return f'/root/{bundle.name}'

    def affix(self, *arguments, user=None):
        """`affix … --json` inside: its result, with the exit code as `exit`."""
        done = self.host.run(['affix', *arguments, '--json'], user=user)
        try:
            result = json.loads(done.stdout)
        except ValueError as error:
            raise AssertionError(f'affix {arguments} printed no JSON: {done.stdout}{done.stderr}') from error
        return {**result, 'exit': done.returncode, 'stderr': done.stderr}

    def install(self, addon_or_bundle, *arguments):
        bundle = addon_or_bundle
        if isinstance(bundle, fixture.Addon):
            bundle = self.work.bundle(bundle)
        return self.affix('install', self.send(bundle), *arguments)

    def status(self, identifier):
        result = self.affix('status', identifier)
        return result['data']['addons'][0] if result['outcome'] == 'done' else None

    def show(self, unit, name):
        return self.host.run(['systemctl', 'show', '-P', name, unit]).stdout.strip()

    def pid(self, unit):
        return int(self.show(unit, 'MainPID') or 0)

    def lines(self, inside):
        path = self.host.path(inside)
        return path.read_text().splitlines() if path.exists() else []

    def assertDone(self, result):
        self.assertEqual((result['outcome'], result['exit']), ('done', 0), result)

    def assertRefused(self, result, name):
        self.assertEqual((result['outcome'], result['name']), ('refused', name), result)

    def assertRolledBack(self, result):
        self.assertEqual((result['outcome'], result['name'], result['exit']), ('rolled-back', 'unhealthy', 3), result)

    def assertRuns(self, identifier, version):
        """The version runs: its unit is active, its process is the version's binary."""
        unit = f'affix-{identifier}.service'
        self.assertEqual(self.show(unit, 'ActiveState'), 'active')
        pid = self.pid(unit)
        target = self.host.run(['readlink', f'/proc/{pid}/exe']).stdout.strip()
        self.assertEqual(target, f'/opt/affix/{identifier}/versions/{version}/{identifier}')

    def assertGone(self, identifier):
        """Nothing is left but the user: no unit, no link, no bytes, nothing loaded."""
        root = self.host.path('/')
        left = [path for pattern in (
            f'etc/systemd/system/affix-{identifier}*', f'etc/systemd/system/*.wants/affix-{identifier}*',
            f'opt/affix/{identifier}', f'etc/affix/addons/{identifier}.json', f'etc/sysusers.d/affix-{identifier}*',
            f'etc/tmpfiles.d/affix-{identifier}*') for path in root.glob(pattern)]
        self.assertEqual(left, [])
        self.assertEqual(self.show(f'affix-{identifier}.service', 'LoadState'), 'not-found')
        self.assertIn(f'affix-{identifier}:', (root / 'etc/passwd').read_text())

    def until(self, condition, seconds=10):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            time.sleep(0.05)
        self.fail(f'did not become true in {seconds} s')


def main():
    unittest.main(module='__main__', verbosity=2)
