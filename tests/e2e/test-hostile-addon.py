#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An add-on's user against the updater, in the directories that the add-on owns: links, swaps, races, depth.

Whatever it does there, nothing of others is touched, no operation hangs, and the administrator gets rid of it.
"""

import os
import time

import agent
import live


class HostileAddon(live.Case):
    def hostile(self, identifier, version='1.0.0', options='', **manifest):
        addon = self.addon(identifier, version, options)
        addon.manifest['state_dirs'] = [f'/var/lib/affix/{identifier}']
        addon.manifest.update(manifest)
        return addon

    def as_addon(self, identifier, script):
        return self.host.run(['/bin/sh', '-euc', script], user=f'affix-{identifier}', check=True)

    def victim(self, name):
        """A directory of root's, and what it is like."""
        self.host.shell(f'mkdir -p /srv/{name}/inner && echo precious >/srv/{name}/inner/file && chmod -R go+rX /srv/{name}',
                        check=True)
        return lambda: self.host.run(['find', f'/srv/{name}', '-printf', '%p %y %m %u %g\n']).stdout

    def test_state_directory_that_became_a_link_stops_neither_upgrade_nor_removal(self):
        look = self.victim('taken')
        before = look()
        directories = ['/var/lib/affix/sly', '/var/lib/affix/sly/sub']
        self.assertDone(self.install(self.hostile('sly', state_dirs=directories)))
        self.as_addon('sly', 'cd /var/lib/affix/sly && rmdir sub && ln -s /srv/taken sub')
        result = self.install(self.hostile('sly', '1.1.0', state_dirs=directories))
        status = self.status('sly')
        self.assertIsNone(status['transaction'], result)
        self.assertEqual(status['state'], 'running', result)
        self.assertRuns('sly', status['version'])
        self.assertEqual(look(), before)
        self.assertDone(self.affix('uninstall', 'sly', '--purge'))
        self.assertEqual(look(), before)
        self.assertFalse(self.host.path('/var/lib/affix/sly').exists())

    def test_purge_follows_no_link(self):
        look = self.victim('linked')
        before = look()
        self.assertDone(self.install(self.hostile('linker')))
        self.as_addon('linker', 'cd /var/lib/affix/linker && ln -s /srv/linked a && ln -s /srv/linked/inner/file b'
                      ' && mkdir -p c/d && ln -s ../../../../../../srv/linked c/d/e && mkfifo f && chmod 0 c')
        self.assertDone(self.affix('uninstall', 'linker', '--purge'))
        self.assertFalse(self.host.path('/var/lib/affix/linker').exists())
        self.assertEqual(look(), before)

    def test_purge_in_a_race_with_its_owner_touches_nothing_of_others(self):
        look = self.victim('raced')
        before = look()
        self.assertDone(self.install(self.hostile('racer')))
        racer = self.host.popen(['/bin/sh', '-c', '''cd /var/lib/affix/racer || exit
            while [ -d . ]; do
                mkdir -p a/b/c a/b/d 2>/dev/null; mv a/b x 2>/dev/null; ln -s /srv/raced a/b 2>/dev/null
                rm -f a/b 2>/dev/null; mv x a/b 2>/dev/null || exit
            done'''], user='affix-racer')
        began = time.monotonic()
        result = self.affix('uninstall', 'racer', '--purge')
        self.assertLess(time.monotonic() - began, 30)
        racer.kill()
        racer.wait()
        self.assertDone(result)
        self.assertEqual(look(), before)
        self.assertDone(self.install(self.hostile('racer', '1.1.0')))

    def test_depth_of_a_state_directory_bars_nothing(self):
        self.assertDone(self.install(self.hostile('deep')))
        self.as_addon('deep', 'cd /var/lib/affix/deep; i=0; while [ $i -lt 300 ]; do mkdir d; cd d; i=$((i + 1)); done')
        self.assertDone(self.affix('uninstall', 'deep', '--purge'))
        self.assertFalse(self.host.path('/var/lib/affix/deep').exists())
        self.assertDone(self.install(self.hostile('deep', '1.1.0')))

    def test_state_that_cannot_be_removed_is_said_and_bars_nothing(self):
        self.assertDone(self.install(self.hostile('mounted')))
        self.host.shell('mkdir /var/lib/affix/mounted/m && mount -t tmpfs none /var/lib/affix/mounted/m', check=True)
        try:
            result = self.affix('uninstall', 'mounted', '--purge')
            self.assertDone(result)
            self.assertIn('could not be removed', result['message'])
            self.assertDone(self.install(self.hostile('mounted', '1.1.0')))
        finally:
            self.host.run(['umount', '/var/lib/affix/mounted/m'], check=True)

    def test_ready_socket_that_is_a_link_is_not_followed(self):
        def addon(version, options):
            made = self.addon('sock', version, options=options)
            made.manifest.update({'ipc': 'sock/1'})
            made.manifest['health'].update({'ready_socket': '/run/affix/sock/s', 'window_seconds': 1})
            return made
        self.assertDone(self.install(addon('1.0.0', '--listen /run/affix/sock/s')))
        self.as_addon('sock', 'cd /run/affix/sock && rm s && ln -s /run/systemd/private s')
        result = self.install(addon('1.1.0', ''))
        self.assertRolledBack(result)
        self.assertIn('/run/affix/sock/s', result['message'])
        self.assertRuns('sock', '1.0.0')

    def test_name_of_what_runs_instead_silences_neither_the_way_back_nor_status(self):
        # What is said of a program's name ends behind 200 bytes: in the middle of a character of this one.
        path = f'/var/lib/affix/alias/somebody-else-xx{"é" * 100}'
        self.assertDone(self.install(self.hostile('alias')))
        self.as_addon('alias', f"cp /bin/sleep '{path}'")
        other = self.hostile('alias', '1.1.0', options=f'--exec {path}')
        # The signals that the daemon has blocked stay so.
        other.service['Service']['KillSignal'] = 'SIGKILL'
        result = self.install(other)
        self.assertRolledBack(result)
        self.assertIn('/var/lib/affix/alias/', result['message'])
        self.assertIsNone(self.status('alias')['transaction'])
        self.assertRuns('alias', '1.0.0')

    def test_log_lines_reach_the_fleet_only_where_the_host_says_so(self):
        bad = '--die-after 0 --log last-words'
        policy = self.host.path('/etc/affix/updater.yaml')
        self.addCleanup(policy.unlink, missing_ok=True)
        with agent.Agent(self.host) as fleet:
            for version, carried in (('1.0.0', False), ('1.1.0', True)):
                if carried:
                    self.host.write('/etc/affix/updater.yaml', 'results_carry_logs: true\n')
                bundle = self.work.bundle(self.addon('words', version, options=f'{bad}-{version}'))
                reply = fleet.ask({'verb': 'install', 'id': 'words', 'request_id': version, 'fds': ['bundle', 'signature']},
                                  [bundle, f'{bundle}.minisig'])
                self.assertEqual(reply['outcome'], 'rolled-back', reply)
                again = fleet.ask({'verb': 'install', 'id': 'words', 'request_id': version, 'fds': ['bundle', 'signature']},
                                  [bundle, f'{bundle}.minisig'])
                last = fleet.ask({'verb': 'status', 'id': 'words'})['data']['addons'][0]['last_result']
                for found in (reply, again, last):
                    self.assertEqual('last-words' in str(found.get('log')), carried, found)
                own = self.affix('status', 'words')['data']['addons'][0]['last_result']
                self.assertIn('last-words', str(own['log']))


if __name__ == '__main__':
    live.main()
