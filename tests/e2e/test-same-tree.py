#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One plan, two places: a booted host and a directory hold the same tree after the same installs.

Both are copies of one scratch root. Listed are they by tests/lib/tree-list, which uses find, getfattr and sha256sum; it
leaves out what may differ (owners are compared by name) and nothing else. That the comparison sees anything is shown by
changes made on purpose. At the end the directory is booted, and what was put there offline runs.
"""

import json
import os
import pathlib
import subprocess
import unittest

import fixture
import live

# Where plans put things, besides which only the first and the last comparison look.
PLACES = ('/etc', '/opt', '/var/lib/affix', '/var/cache', '/var/log')


class SameTree(live.Case):
    """A host that was booted before the installs, and one that is a directory until its last test."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # The users of add-ons are the applier's.
        cls.other = cls.make_directory()
        (cls.other.root / 'etc/affix/addons.d').mkdir(mode=0o700)
        for inside in (cls.host, cls.other):
            inside.write('/etc/affix/addons.d/full.json', '{"secret": "of the administrator"}', mode=0o600)
        # Where installs put things: the booted host's tmpfiles.d has made these, in the directory the installs will.
        made = {f'- {path}\td\t0755\troot\troot\t-\t-' for path in ('/etc/affix/addons', '/etc/sysusers.d', '/opt/affix')}
        before = cls.difference()
        if set(before.splitlines()) != made:
            raise AssertionError(f'the trees differ before anything is installed:\n{before}')

    # listings

    @classmethod
    def difference(cls, only=()):
        """Lines that only one of the trees has: '-' the booted host's, '+' the directory's."""
        live_lines, offline_lines = set(cls.listing(cls.host.root, only)), set(cls.listing(cls.other.root, only))
        lines = [f'- {line}' for line in live_lines - offline_lines] + [f'+ {line}' for line in offline_lines - live_lines]
        return '\n'.join(sorted(lines, key=lambda line: line[2:]))

    def assertSame(self, only=PLACES):
        self.assertEqual(self.difference(only), '')

    # add-ons

    def service_with_everything(self, version='1.0.0'):
        """State directories, configuration, limits, IPC, a second unit."""
        addon = self.addon('full', version, options='--listen /run/affix/full/s')
        addon.manifest.update({
            'ipc': 'full-frame/1',
            'state_dirs': ['/var/lib/affix/full', '/var/cache/affix/full', '/var/log/affix/full'],
            'resources': {'tasks_max': 40, 'memory_max_bytes': 64 << 20, 'cpu_max_percent': 50},
        })
        addon.manifest['health']['ready_socket'] = '/run/affix/full/s'
        addon.service['Service']['StateDirectory'] = 'affix/full/deeper'
        addon.extra['more.conf'] = 'bytes of its own\n'
        return addon

    def service_with_file_capabilities(self, version='1.0.0'):
        addon = self.addon('fcap', version)
        addon.manifest['requires']['os_capabilities'] = ['cap_net_raw']
        addon.manifest['exec']['file_capabilities'] = True
        return addon

    def timers(self, version='1.0.0'):
        """A timer with its service, and a second service that nothing starts."""
        addon = self.addon('tick', version, options='--die-after 0 --exit 0', supervision='systemd-timer',
                           timer={'OnCalendar': 'hourly'})
        addon.units['affix-tick_extra.service'] = json.loads(json.dumps(addon.service))
        return addon

    def install_twice(self, addon, *arguments):
        """On the host and into the directory; the bundle is the same file."""
        bundle = self.work.bundle(addon)
        self.assertDone(self.install(bundle, *arguments))
        self.offline('install', bundle, *arguments)

    def offline(self, *arguments):
        return fixture.affix([*arguments, '--root', self.other.root], check=True)

    def both(self, *arguments):
        self.assertDone(self.affix(*arguments))
        self.offline(*arguments)

    # stories, in this order

    def test_1_same_tree_after_installs(self):
        self.host.write('/root/config.json', '{"level": 3}')
        config = self.work.path / 'config.json'
        config.write_text('{"level": 3}')
        bundle = self.work.bundle(self.service_with_everything())
        self.assertDone(self.install(bundle, '--config', '/root/config.json', '--limit', 'tasks_max=30'))
        self.offline('install', bundle, '--config', config, '--limit', 'tasks_max=30')
        self.assertSame()
        self.install_twice(self.service_with_file_capabilities())
        self.install_twice(self.timers())
        self.assertSame()
        # What was compared is there at all.
        listing = '\n'.join(self.listing(self.other.root))
        for expected in ('/opt/affix/full/versions/1.0.0/full\t', '/etc/affix/addons/full.json\t',
                         '/etc/systemd/system/timers.target.wants/affix-tick.timer\tl',
                         '/etc/systemd/system/affix-full.service.d/50-affix.conf\t', '/etc/tmpfiles.d/affix-full.conf\t',
                         '/opt/affix/fcap/versions/1.0.0/fcap\tf\t0750\troot\taffix-fcap'):
            self.assertIn(expected, listing)
        self.assertIn('security.capability=0x', listing)

    def test_2_same_tree_after_upgrades_and_a_rollback(self):
        self.install_twice(self.service_with_everything('1.1.0'))
        # An upgrade that drops a unit.
        self.install_twice(self.addon('tick', '1.1.0', options='--die-after 0 --exit 0', supervision='systemd-timer',
                                      timer={'OnCalendar': 'hourly'}))
        self.install_twice(self.service_with_file_capabilities('1.1.0'))
        self.assertSame()
        self.both('rollback', 'fcap')
        self.assertSame()

    def test_3_same_tree_after_configuration_repair_and_uninstall(self):
        for tree, path in ((self.host, '/root/config.json'), (self.other, None)):
            config = pathlib.Path(self.work.path / 'config.json') if path is None else tree.path(path)
            config.write_text('{"level": 7}')
        self.assertDone(self.affix('configure', 'full', '/root/config.json'))
        self.offline('configure', 'full', self.work.path / 'config.json')
        self.assertSame()
        for root in (self.host.root, self.other.root):
            (root / 'etc/systemd/system/affix-full.service').write_text('# broken\n')
        self.both('repair', 'full')
        self.assertSame()
        self.install_twice(self.addon('gone', '1.0.0'))
        self.both('uninstall', 'gone')
        self.assertSame()

    def test_4_wrong_things_made_on_purpose_are_found(self):
        binary = self.other.root / 'opt/affix/fcap/versions/1.0.0/fcap'
        unit = self.other.root / 'etc/systemd/system/affix-full.service'
        link = self.other.root / 'opt/affix/full/current'
        target = os.readlink(link)
        capability = os.getxattr(binary, 'security.capability')

        def relink(path):
            link.unlink()
            link.symlink_to(path)

        changes = (
            ('mode', lambda: unit.chmod(0o664), lambda: unit.chmod(0o644), unit),
            ('owner', lambda: os.chown(unit, 1, 0), lambda: os.chown(unit, 0, 0), unit),
            ('xattr', lambda: os.setxattr(binary, 'security.capability', bytes([*capability[:4], 1, *capability[5:]])),
             lambda: os.setxattr(binary, 'security.capability', capability), binary),
            ('missing xattr', lambda: os.removexattr(binary, 'security.capability'),
             lambda: os.setxattr(binary, 'security.capability', capability), binary),
            ('foreign xattr', lambda: os.setxattr(unit, 'user.other', b'1'), lambda: os.removexattr(unit, 'user.other'), unit),
            ('link', lambda: relink('versions/1.0.0'), lambda: relink(target), link),
            ('content', lambda: unit.write_bytes(unit.read_bytes() + b'\n'), lambda: unit.write_bytes(unit.read_bytes()[:-1]),
             unit),
            ('directory', lambda: (self.other.root / 'opt/affix/more').mkdir(),
             lambda: (self.other.root / 'opt/affix/more').rmdir(), self.other.root / 'opt/affix/more'),
        )
        for name, spoil, mend, path in changes:
            with self.subTest(change=name):
                spoil()
                inside = f'/{path.relative_to(self.other.root)}'
                lines = self.difference(PLACES).splitlines()
                mend()
                self.assertTrue(lines)
                self.assertTrue(all(line.split('\t')[0].endswith(inside) for line in lines), lines)
        self.assertSame(())

    def test_5_what_was_installed_offline_runs_when_it_is_booted(self):
        # As on an image in which nothing makes users at the first boot.
        for name in ('etc/.updated', 'var/.updated'):
            (self.other.root / name).write_text('# fresh\n')
            subprocess.run(['touch', '-r', self.other.root / 'usr', self.other.root / name], check=True)
        (self.other.root / 'etc/machine-id').write_text('0123456789abcdef0123456789abcdef\n')
        self.other.boot()
        booted = type(self)('test_5_what_was_installed_offline_runs_when_it_is_booted')
        booted.host = self.other
        self.assertEqual(booted.show('systemd-sysusers.service', 'ConditionResult'), 'no')
        for identifier, version in (('full', '1.1.0'), ('fcap', '1.0.0')):
            booted.until(lambda: booted.status(identifier)['state'] == 'running')
            booted.assertRuns(identifier, version)
            self.assertEqual(booted.show(f'affix-{identifier}.service', 'UnitFileState'), 'enabled')
            owner = self.other.run(['stat', '-c', '%U', f'/proc/{booted.pid(f"affix-{identifier}.service")}']).stdout.strip()
            self.assertEqual(owner, f'affix-{identifier}')
        self.assertEqual(booted.show('affix-tick.timer', 'ActiveState'), 'active')
        self.assertFalse(any(addon['drifted'] for addon in booted.affix('drift')['data']['addons']))
        self.assertEqual(self.other.run(['stat', '-c', '%a %U %G', '/run/affix/full']).stdout.split(),
                         ['2750', 'affix-full', 'affix'])
        # And the updater of the booted host goes on with what was recorded offline.
        booted.assertDone(booted.install(self.service_with_everything('1.2.0')))
        booted.assertRuns('full', '1.2.0')
        booted.assertDone(booted.affix('rollback', 'full'))
        booted.assertRuns('full', '1.1.0')


if __name__ == '__main__':
    live.main()
