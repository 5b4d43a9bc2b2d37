#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One host and affixd, from the join token to the revocation: the real agent, the real updater, real add-ons."""

import json
import stat
import time
import unittest

import fleet_hosts

BROKEN = '--die-after 200 --exit 1'


class OneHost(fleet_hosts.Case):
    labels = {'web-1': {'role': 'web', 'env': 'test'}}

    def setUp(self):
        self.host = self.hosts['web-1']

    def tearDown(self):
        if self.fleet.items('hosts'):
            super().tearDown()

    def deliver(self, identifier, version, *arguments, **addon):
        self.fleet.publish(self.addon(identifier, version, **addon))
        return self.fleet.assign(identifier, version, '--selector', 'role=web', *arguments)

    def installs(self, identifier, version):
        return self.host.log(100000).count(f'install of {identifier} {version}')

    def test_host_has_a_credential_of_its_own_and_needs_the_token_no_more(self):
        for token in self.fleet.items('token'):
            self.fleet.cli('token', 'revoke', str(token['id']))
        secrets = [path for path in self.host.path('/var/lib/affix/agent').iterdir() if path.name == 'credential']
        self.assertEqual([stat.S_IMODE(path.stat().st_mode) for path in secrets], [0o600])
        seen = self.fleet.items('hosts')[0]['last_seen']
        self.host.run(['systemctl', 'restart', 'affix-agent'], check=True)
        fleet_hosts.until(lambda: self.fleet.items('hosts', '--presence', 'connected') and
                          self.fleet.items('hosts')[0]['last_seen'] > seen, 'the host did not come back')
        self.assertEqual(len(self.fleet.items('hosts')), 1)

    def test_assigned_then_upgraded(self):
        self.deliver('probe', '1.0.0')
        item = self.wait('web-1', 'probe', state='running', running='1.0.0')
        self.assertEqual((item['wanted'], item['origin'], item['drift']), ('1.0.0', 'fleet', []))
        self.assertRuns('web-1', 'probe', '1.0.0')
        self.deliver('probe', '1.1.0')
        self.wait('web-1', 'probe', state='running', running='1.1.0')
        self.assertRuns('web-1', 'probe', '1.1.0')
        self.assertIn('1.1.0', self.fleet.cli('explain', 'web-1', 'probe'))

    def test_a_reverted_rollout_brings_the_old_version_back_and_the_next_one_goes_on(self):
        config = self.fleet.work.path / 'undo.json'
        config.write_text('{"level": 1}')
        assignment = self.deliver('undo', '1.0.0', '--config', config)
        self.wait('web-1', 'undo', state='running', running='1.0.0')
        self.fleet.publish(self.addon('undo', '1.1.0'))

        def rollout():
            number = self.fleet.json('rollout', 'start', str(assignment), '1.1.0', '--waves', '100%', '--wait', '10m', '--timeout', '20m')['id']
            self.wait('web-1', 'undo', state='running', running='1.1.0', wanted='1.1.0')
            return number
        number = rollout()
        # The version that is left is not to leave its configuration behind.
        config.write_text('{"level": 2}')
        self.fleet.cli('assign', '--id', str(assignment), '--config', config)
        fleet_hosts.until(lambda: json.loads(self.host.read('/etc/affix/addons/undo.json')) == {'level': 2}, 'the configuration does not arrive')
        self.fleet.cli('rollout', 'abort', str(number), '--revert')
        self.wait('web-1', 'undo', state='running', running='1.0.0', wanted='1.0.0', name=None)
        self.assertRuns('web-1', 'undo', '1.0.0')
        fleet_hosts.until(lambda: json.loads(self.host.read('/etc/affix/addons/undo.json')) == {'level': 2}, 'the configuration is lost')
        rollout()
        self.assertRuns('web-1', 'undo', '1.1.0')

    def test_not_offered_before_it_is_approved_nor_to_hosts_that_do_not_match(self):
        bundle = self.fleet.work.bundle(self.addon('gated', '1.0.0'))
        self.fleet.cli('import', bundle)
        self.assertNotEqual(self.fleet.try_cli('assign', 'gated', '1.0.0', '--selector', 'role=web').returncode, 0)
        self.fleet.cli('approve', 'gated', '1.0.0')
        self.fleet.assign('gated', '1.0.0', '--selector', 'role=database')
        self.cycles('web-1')
        self.assertIsNone(self.status('web-1', 'gated'))
        self.assertFalse(self.host.path('/opt/affix/gated').exists())

    def test_failing_upgrade_is_rolled_back_reported_and_not_tried_for_ever(self):
        self.deliver('shaky', '1.0.0')
        self.wait('web-1', 'shaky', state='running', running='1.0.0')
        self.deliver('shaky', '1.1.0', options=BROKEN)
        item = self.wait('web-1', 'shaky', state='rolled-back', running='1.0.0', drift='version')
        self.assertEqual((item['wanted'], item['name']), ('1.1.0', 'unhealthy'))
        self.assertNotEqual(item['reason'], '')
        self.assertRuns('web-1', 'shaky', '1.0.0')
        self.assertEqual(self.installs('shaky', '1.1.0'), 1)
        self.cycles('web-1')
        self.host.run(['systemctl', 'restart', 'affix-agent'], check=True)
        self.cycles('web-1')
        self.assertEqual(self.installs('shaky', '1.1.0'), 1)
        self.assertEqual(self.host.status('shaky')['quarantine'][0]['version'], '1.1.0')
        self.wait('web-1', 'shaky', state='rolled-back', running='1.0.0')
        self.deliver('shaky', '1.2.0')
        self.wait('web-1', 'shaky', state='running', running='1.2.0')

    def test_configuration_is_checked_by_the_schema_and_reaches_the_service(self):
        self.fleet.publish(self.addon('tuned', '1.0.0'))
        wrong, right = self.fleet.work.path / 'wrong.json', self.fleet.work.path / 'right.json'
        wrong.write_text('{"level": -1}')
        right.write_text('{"level": 7}')
        refused = self.fleet.try_cli('assign', 'tuned', '1.0.0', '--selector', 'role=web', '--config', wrong)
        self.assertEqual(refused.returncode, 1)
        self.assertIn('/level', refused.stderr)
        self.fleet.assign('tuned', '1.0.0', '--selector', 'role=web', '--config', right)
        self.wait('web-1', 'tuned', state='running', running='1.0.0')
        self.assertEqual(json.loads(self.host.read('/etc/affix/addons/tuned.json')), {'level': 7})
        right.write_text('{"level": 8}')
        self.fleet.assign('tuned', '1.0.0', '--selector', 'role=web', '--config', right)
        fleet_hosts.until(lambda: json.loads(self.host.read('/etc/affix/addons/tuned.json')) == {'level': 8},
                          lambda: f'the new configuration did not arrive:\n{self.host.log()}')
        self.wait('web-1', 'tuned', state='running', running='1.0.0')
        self.assertEqual(self.installs('tuned', '1.0.0'), 1)

    def test_unassigned_goes_after_the_removal_delay_and_not_before(self):
        assignment = self.deliver('brief', '1.0.0')
        self.wait('web-1', 'brief', state='running', running='1.0.0')
        began = time.monotonic()
        self.fleet.cli('unassign', str(assignment))
        self.wait_gone('web-1', 'brief')
        self.assertGreaterEqual(time.monotonic() - began, self.removal)
        self.assertEqual(self.host.run(['systemctl', 'show', '-P', 'LoadState', 'affix-brief.service']).stdout.strip(), 'not-found')

    def test_changed_unit_on_the_host_is_shown_as_drift(self):
        self.deliver('bent', '1.0.0')
        self.wait('web-1', 'bent', state='running', running='1.0.0')
        unit = self.host.path('/etc/systemd/system/affix-bent.service')
        good = unit.read_bytes()
        unit.write_bytes(good + b'# changed\n')
        self.wait('web-1', 'bent', drift='units')
        self.assertIn('bent', self.fleet.cli('drift', '--kind', 'units'))
        # The comparison after each test would not miss it either.
        compared = self.fleet.compare()
        self.assertEqual(compared.returncode, 1)
        self.assertIn('web-1/bent: /etc/systemd/system/affix-bent.service', compared.stdout)
        unit.write_bytes(good)
        fleet_hosts.until(lambda: self.status('web-1', 'bent')['drift'] == [], 'drift stays though it is mended')

    def test_comparison_finds_what_differs_in_store_status_and_tree(self):
        self.deliver('held', '1.0.0')
        self.wait('web-1', 'held', state='running', running='1.0.0')
        self.assertComparable()
        artifact = max((self.fleet.data / 'artifacts').iterdir(), key=lambda path: path.stat().st_mtime)
        program = self.host.path('/usr/bin/affix')
        file = self.host.path('/opt/affix/held/versions/1.0.0/addon.yaml')
        lies = '#!/bin/sh\n/usr/bin/affix.real "$@" | sed "s/\\"origin\\": *\\"fleet\\"/\\"origin\\":\\"local\\"/g"\n'

        def spoil(path, content):
            good, mode = path.read_bytes(), stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode | 0o200)
            path.write_bytes(content(good))
            return lambda: (path.write_bytes(good), path.chmod(mode))

        def lie():
            program.rename(program.with_suffix('.real'))
            program.write_text(lies)
            program.chmod(0o755)
            return lambda: program.with_suffix('.real').rename(program)
        for break_it, found in ((lambda: spoil(artifact, lambda good: good + b'x'), 'the size of an artifact: '),
                                (lie, "web-1/held: origin: rest: 'fleet', host: 'local'"),
                                (lambda: spoil(file, lambda good: good + b'# changed\n'), 'web-1/held: /opt/affix/held/versions/1.0.0/addon.yaml')):
            with self.subTest(found=found):
                mend = break_it()
                try:
                    compared = self.fleet.compare()
                finally:
                    mend()
                self.assertEqual(compared.returncode, 1, compared.stderr)
                self.assertIn(found, compared.stdout)

    def test_revoked_package_stays_where_it_runs_and_goes_nowhere_else(self):
        self.deliver('old', '1.0.0')
        self.wait('web-1', 'old', state='running', running='1.0.0')
        self.fleet.cli('revoke', 'old', '1.0.0', '--reason', 'a hole in it')
        self.wait('web-1', 'old', state='running', running='1.0.0', revoked=True)
        self.cycles('web-1')
        self.assertRuns('web-1', 'old', '1.0.0')
        self.assertIn('revoke', self.fleet.cli('audit'))


    def test_when_it_is_revoked_it_is_put_out_at_once_and_its_addons_go_on(self):
        """The last one: nobody lets the host in again."""
        self.deliver('late', '1.0.0')
        self.wait('web-1', 'late', state='running', running='1.0.0')
        for token in self.fleet.items('token'):
            if not token['revoked']:
                self.fleet.cli('token', 'revoke', str(token['id']))
        self.fleet.cli('revoke', '--host', 'web-1')
        self.assertEqual(self.fleet.items('hosts', '--presence', 'connected'), [])
        self.deliver('late', '1.1.0')
        fleet_hosts.until(lambda: 'this host was revoked' in self.host.log(500), lambda: f'the agent is not told:\n{self.host.log()}')
        self.cycles('web-1', 3)
        self.assertRuns('web-1', 'late', '1.0.0')
        self.assertEqual([item['name'] for item in self.fleet.items('hosts', '--presence', 'revoked')], ['web-1'])


class PollingHost(fleet_hosts.Case):
    """Over TLS and HTTP, as behind a proxy that lets nothing else through."""

    labels = {'edge-1': {'role': 'edge'}}
    options = {'is_secure': True, 'transport': 'http'}
    removal = 6

    def test_losing_most_of_its_addons_at_once_waits_for_a_word(self):
        host = self.hosts['edge-1']
        self.assertNotIn('websocket', host.log(1000))
        assignments = {}
        for identifier in ('one', 'two', 'three'):
            self.fleet.publish(self.addon(identifier, '1.0.0'))
            assignments[identifier] = self.fleet.assign(identifier, '1.0.0', '--selector', 'role=edge')
        for identifier in assignments:
            self.wait('edge-1', identifier, state='running', running='1.0.0')
        self.assertComparable()
        for identifier in ('one', 'two'):
            self.fleet.cli('unassign', str(assignments[identifier]))
        item = self.wait('edge-1', 'one', name='mass-removal', drift='observed-but-unassigned')
        self.assertEqual(item['running'], '1.0.0')
        began = time.monotonic()
        while time.monotonic() < began + self.removal:
            self.cycles('edge-1', 1)
        for identifier in assignments:
            self.assertRuns('edge-1', identifier, '1.0.0')
        self.fleet.cli('confirm-removal', 'edge-1')
        self.wait_gone('edge-1', 'one')
        self.wait_gone('edge-1', 'two')
        self.assertRuns('edge-1', 'three', '1.0.0')


if __name__ == '__main__':
    unittest.main(verbosity=2)
