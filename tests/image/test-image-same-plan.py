#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One plan, three places: a booted host, a directory, and an ext4 image hold the same tree after the same installs.

All three are of one scratch root. They are listed by tests/lib/tree-list, by getcap, and with sizes by find; what may differ is
tests/lib/machine-local and nothing else. That a difference in the image is found is shown by those made on purpose.
"""

import re
import unittest

import images
from images import fixture

import live

# debugfs takes away the set-user-id bits of the distribution's programs: of /usr, what is not among them.
PLACES = ('/etc', '/opt', '/usr/bin/affix', '/usr/bin/strace', '/usr/lib/affix', '/usr/lib/systemd', '/usr/lib/sysusers.d',
          '/usr/lib/tmpfiles.d', '/var/lib/affix', '/var/cache', '/var/log')


class SamePlan(live.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.directory = cls.make_directory()
        # What booting makes of affix's own tmpfiles.d.
        fixture.run(['systemd-tmpfiles', f'--root={cls.directory.root}', '--create', '--prefix=/etc', '--prefix=/opt', 'affix.conf'])
        # A capability that the tree had before.
        for tree in (cls.host.root, cls.directory.root):
            fixture.run(['setcap', 'cap_net_raw+ep', tree / 'usr/bin/strace'])
        cls.image = cls.work.path / 'same.img'
        fixture.affix(['image', 'build', cls.directory.root, '-o', cls.image, '--size', '+64M'], check=True)

    def bundles(self):
        """Several files, directories, a user, configuration, drop-ins of all kinds, a second unit; file capabilities; a timer."""
        full = self.addon('full', '1.0.0', options='--listen /run/affix/full/s')
        full.manifest.update({'ipc': 'full-frame/1', 'state_dirs': ['/var/lib/affix/full', '/var/log/affix/full'],
                              'resources': {'tasks_max': 40, 'memory_max_bytes': 64 << 20}})
        full.manifest['requires']['os_capabilities'] = ['cap_net_raw']
        full.manifest['exec']['file_capabilities'] = True
        full.manifest['health']['ready_socket'] = '/run/affix/full/s'
        more = self.work.path / 'more.conf'
        more.write_text('bytes of its own\n')
        tick = self.addon('tick', '1.0.0', options='--die-after 0 --exit 0', supervision='systemd-timer',
                          timer={'OnCalendar': 'hourly'})
        return [self.work.bundle(full, entries=[more]), self.work.bundle(tick)]

    @classmethod
    def listed(cls, tree):
        """What each of the tools says of a tree, sorted."""
        lines = cls.listing(tree, PLACES)
        files = {line.split('\t')[0] for line in lines}
        sizes = fixture.run(['find', tree, '-type', 'f', '-printf', '/%P size %s\n']).stdout.splitlines()
        capabilities = fixture.run(['getcap', '-r', tree / 'opt', tree / 'usr']).stdout.replace(str(tree), '').splitlines()
        return set(lines) | {line for line in sizes if line.split(' ')[0] in files} | set(capabilities)

    def assertSame(self, image, wanted, name):
        images.check(image)
        with images.unpacked(image, self.work.path) as tree:
            found = self.listed(tree)
        self.assertEqual(sorted(found ^ wanted), [], f'{name} and the image')

    def test_the_same_bundles_make_the_same_tree_in_all_three(self):
        self.host.write('/root/config.json', '{"level": 3}')
        config = self.work.path / 'config.json'
        config.write_text('{"level": 3}')
        full, tick = self.bundles()
        self.assertDone(self.install(full, '--config', '/root/config.json'))
        self.assertDone(self.install(tick))
        fixture.affix(['install', full, '--config', config, '--root', self.directory.root], check=True)
        fixture.affix(['install', tick, '--root', self.directory.root], check=True)
        fixture.affix(['image', 'inject', '--trust', self.directory.root / 'etc/affix/trust.d', '--config', f'full={config}', self.image,
                       full, tick], check=True)
        wanted = self.listed(self.host.root)
        self.assertEqual(sorted(self.listed(self.directory.root) ^ wanted), [], 'the host and the directory')
        self.assertSame(self.image, wanted, 'the host')
        # What was compared is there at all.
        text = '\n'.join(sorted(wanted))
        for expected in (r'^/opt/affix/full/versions/1\.0\.0/full\tf\t0750\troot\taffix-full\t.*security\.capability=0x',
                         r'^/opt/affix/full/versions/1\.0\.0/full cap_net_raw=ep$', r'^/usr/bin/strace cap_net_raw=ep$',
                         r'^/etc/systemd/system/timers\.target\.wants/affix-tick\.timer\tl', r'^/etc/affix/addons/full\.json size ',
                         r'^/etc/systemd/system/affix-full\.service\.d/50-affix\.conf\t', r'^/etc/sysusers\.d/affix-full\.conf\t'):
            self.assertTrue(re.search(expected, text, re.MULTILINE), expected)
        self.look_for_differences(wanted)

    def look_for_differences(self, wanted):
        program = '/opt/affix/full/versions/1.0.0/full'
        changes = {
            program: f'ea_rm {program} security.capability',
            '/opt/affix/full/versions/1.0.0/more.conf': 'set_inode_field /opt/affix/full/versions/1.0.0/more.conf gid 1',
            '/etc/affix/addons/full.json': 'set_inode_field /etc/affix/addons/full.json mode 0100644',
            '/etc/tmpfiles.d/affix-full.conf': 'rm /etc/tmpfiles.d/affix-full.conf',
            '/opt/affix/more': 'mkdir /opt/affix/more',
            '/opt/affix/tick/current': 'rm /opt/affix/tick/current',
        }
        images.debugfs(self.image, changes.values(), write=True)
        with images.unpacked(self.image, self.work.path) as tree:
            found = {re.split('[\t ]', line)[0] for line in self.listed(tree) ^ wanted}
        self.assertEqual(found, set(changes))


if __name__ == '__main__':
    live.main()
