#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Three hosts and affixd: what an operator does on a good day, while machines, network and affixd itself do what they do on a bad one."""

import concurrent.futures
import json
import os
import random
import time
import unittest

import fleet_hosts

BROKEN = '--die-after 200 --exit 1'
WEB = ['web-1', 'web-2']
ALL = [*WEB, 'db-1']


class ThreeHosts(fleet_hosts.Case):
    labels = {'web-1': {'role': 'web', 'env': 'test'}, 'web-2': {'role': 'web', 'env': 'test'}, 'db-1': {'role': 'db', 'env': 'test'}}

    def everywhere(self, identifier, **addon):
        """1.0.0 runs on all; the assignment."""
        self.fleet.publish(self.addon(identifier, '1.0.0', **addon))
        assignment = self.fleet.assign(identifier, '1.0.0', '--selector', 'env=test')
        self.wait(ALL, identifier, state='running', running='1.0.0')
        return assignment

    def rollout(self, assignment, version, *arguments):
        return self.fleet.json('rollout', 'start', str(assignment), version, *arguments)['id']

    def wait_rollout(self, rollout, state):
        def is_so():
            return next(item for item in self.fleet.items('rollout') if item['id'] == rollout)['state'] == state
        fleet_hosts.until(is_so, lambda: f"it did not become {state}: {self.fleet.cli('rollout')}{self.fleet.cli('status')}")

    def running(self, identifier):
        return {item['host_name']: item['running'] for item in self.fleet.items('status', '--addon', identifier)}

    def test_assigned_by_label(self):
        self.fleet.publish(self.addon('label', '1.0.0'))
        self.fleet.assign('label', '1.0.0', '--selector', 'role=web,env=test')
        self.wait(WEB, 'label', state='running', running='1.0.0')
        self.assertRuns(WEB, 'label', '1.0.0')
        self.assertIsNone(self.status('db-1', 'label'))
        self.assertFalse(self.hosts['db-1'].path('/opt/affix/label').exists())

    def test_rollout_halts_at_the_first_wave_that_fails_and_spares_the_rest(self):
        assignment = self.everywhere('wave')
        self.fleet.publish(self.addon('wave', '1.1.0', options=BROKEN))
        rollout = self.rollout(assignment, '1.1.0', '--waves', '1,100%', '--wait', '1s', '--timeout', '10m', '--max-failures', '0')
        self.wait_rollout(rollout, 'halted')
        self.assertEqual([reason for _, _, outcome, reason in self.fleet.rollout_hosts(rollout) if outcome == 'failed'], ['rolled-back'])
        self.assertEqual(self.running('wave'), dict.fromkeys(ALL, '1.0.0'))
        tried = [name for name in ALL if self.hosts[name].status('wave')['quarantine']]
        self.assertEqual(len(tried), 1, self.fleet.rollout_hosts(rollout))
        self.wait(tried, 'wave', state='rolled-back')
        self.fleet.cli('rollout', 'abort', str(rollout), '--revert')
        self.wait(ALL, 'wave', state='running', running='1.0.0', wanted='1.0.0')

    def test_affixd_killed_in_the_middle_of_a_rollout(self):
        assignment = self.everywhere('killed', window=2)
        self.fleet.publish(self.addon('killed', '1.1.0', window=2))
        rollout = self.rollout(assignment, '1.1.0', '--waves', '1,2,100%', '--wait', '1s', '--timeout', '10m')
        fleet_hosts.until(lambda: '1.1.0' in self.running('killed').values(), 'the first wave does not begin')
        self.fleet.kill()
        # What runs does not depend on it.
        self.cycles('web-1')
        for name in ALL:
            self.assertIsNotNone(self.hosts[name].executable('killed'))
        self.fleet.start()
        self.wait_rollout(rollout, 'completed')
        self.wait(ALL, 'killed', state='running', running='1.1.0', wanted='1.1.0')
        self.assertRuns(ALL, 'killed', '1.1.0')

    def test_affixd_killed_while_hosts_download_and_install(self):
        self.everywhere('storm')
        for minor in (1, 2, 3):
            version = f'1.{minor}.0'
            self.fleet.publish(self.addon('storm', version))
            self.fleet.assign('storm', version, '--selector', 'env=test')
            self.fleet.kill()
            self.fleet.start()
        self.wait(ALL, 'storm', state='running', running='1.3.0', wanted='1.3.0')

    def test_hosts_rebooted_and_reset_in_the_middle_of_an_upgrade(self):
        self.everywhere('reboot')
        self.fleet.publish(self.addon('reboot', '1.1.0', window=6))
        self.fleet.assign('reboot', '1.1.0', '--selector', 'env=test')

        def interrupt(name):
            host = self.hosts[name]
            fleet_hosts.until(lambda: (host.status('reboot') or {})['transaction'], 'the upgrade does not begin')
            if name == 'web-2':
                host.reboot(timeout=fleet_hosts.LONG)
            else:
                host.kill()
                host.boot(timeout=fleet_hosts.LONG)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(interrupt, ['web-2', 'db-1']))
        self.wait(ALL, 'reboot', state='running', running='1.1.0', wanted='1.1.0')
        self.assertRuns(ALL, 'reboot', '1.1.0')

    def test_network_cut_in_the_middle(self):
        self.everywhere('cut')
        host = self.hosts['web-2']
        pid = host.run(['systemctl', 'show', '-P', 'MainPID', 'affix-cut.service']).stdout
        host.cable(False)
        self.addCleanup(host.cable, True)
        self.fleet.publish(self.addon('cut', '1.1.0'))
        self.fleet.assign('cut', '1.1.0', '--selector', 'env=test')
        self.wait(['web-1', 'db-1'], 'cut', state='running', running='1.1.0')
        self.wait('web-2', 'cut', state='stale')
        self.assertIn('web-2', self.fleet.cli('hosts', '--presence', 'stale'))
        self.assertEqual(host.run(['systemctl', 'show', '-P', 'MainPID', 'affix-cut.service']).stdout, pid)
        self.assertRuns('web-2', 'cut', '1.0.0')
        host.cable(True)
        self.wait('web-2', 'cut', state='running', running='1.1.0')

    def test_local_override_wins_and_is_shown(self):
        self.everywhere('mine')
        host = self.hosts['db-1']
        host.write('/etc/affix/addons.local.json', json.dumps({'schema': 1, 'addons': {'mine': {'enabled': False}}}))
        self.addCleanup(host.path('/etc/affix/addons.local.json').unlink, missing_ok=True)
        self.wait('db-1', 'mine', running=None, drift='local-override')
        self.wait(WEB, 'mine', state='running', running='1.0.0')
        self.assertComparable()
        host.path('/etc/affix/addons.local.json').unlink()
        self.wait('db-1', 'mine', state='running', running='1.0.0')

    def test_after_any_row_of_accidents_they_agree(self):
        seed = int(os.environ.get('AFFIX_TEST_SEED', time.time_ns() % 100000))
        chance = random.Random(seed)
        done = [f'AFFIX_TEST_SEED={seed}']
        self.everywhere('chaos')
        cut = set()

        def assign(minor, options=''):
            if self.fleet.affixd is None:
                self.fleet.start()
            version = f'1.{minor}.0'
            self.fleet.publish(self.addon('chaos', version, options))
            self.fleet.assign('chaos', version, '--selector', 'env=test')
            return version

        def pull_or_plug(name):
            cut.symmetric_difference_update({name})
            self.hosts[name].cable(name not in cut)

        accidents = {
            'upgrade': lambda name, minor: assign(minor),
            'broken upgrade': lambda name, minor: assign(minor, BROKEN),
            'affixd killed': lambda name, minor: self.fleet.affixd is None or self.fleet.kill(),
            'reset': lambda name, minor: (self.hosts[name].kill(), self.hosts[name].boot(timeout=fleet_hosts.LONG)),
            'reboot': lambda name, minor: self.hosts[name].reboot(timeout=fleet_hosts.LONG),
            'cable': lambda name, minor: pull_or_plug(name),
            'agent killed': lambda name, minor: self.hosts[name].run(['systemctl', 'kill', '-s', 'KILL', 'affix-agent']),
            'configuration by hand': lambda name, minor: self.hosts[name].write('/etc/affix/addons/chaos.json', '{}'),
        }
        steps = int(os.environ.get('AFFIX_TEST_ACCIDENTS', 8))
        try:
            for minor in range(1, steps + 1):
                what, name = chance.choice(sorted(accidents)), chance.choice(ALL)
                done.append(f'{what} ({name})')
                accidents[what](name, minor)
                time.sleep(chance.uniform(0, 2.5))
            for name in sorted(cut):
                pull_or_plug(name)
            version = assign(steps + 1)
            self.wait(ALL, 'chaos', state='running', running=version, wanted=version)
            self.assertRuns(ALL, 'chaos', version)
            self.assertComparable()
        except AssertionError as error:
            raise AssertionError(f"after {', '.join(done)}:\n{error}") from error
        finally:
            if self.fleet.affixd is None:
                self.fleet.start()
            for one in self.hosts.values():
                one.cable(True)

    def test_unassigned_is_uninstalled_everywhere(self):
        assignment = self.everywhere('leaving')
        self.fleet.cli('unassign', str(assignment))
        self.wait_gone(ALL, 'leaving')
        for name in ALL:
            self.assertEqual(self.hosts[name].run(['systemctl', 'show', '-P', 'LoadState', 'affix-leaving.service']).stdout.strip(), 'not-found')


if __name__ == '__main__':
    unittest.main(verbosity=2)
