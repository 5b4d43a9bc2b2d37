#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Everything real on one booted host: affixd, affix-agent and affix-updater as systemd runs them, and an add-on. What a fleet does then is
tests/e2e/test-fleet-one-host.py's; here it is the units."""

import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(os.environ['AFFIX_SOURCE']) / 'tests' / 'e2e'))
import live  # noqa: E402

AFFIXD = '''
heartbeat_seconds: 5
trust: /etc/affix/trust.d
'''
AGENT = '''
server: {url: "http://127.0.0.1:4320/v1/opamp", token_file: /etc/affix/join-token}
labels: {env: prod}
intervals: {heartbeat_seconds: 1, status_seconds: 1, drift_seconds: 1, reconnect_max_seconds: 1}
removal: {delay_seconds: 2, mass_seconds: 5}
'''


class FleetOnHost(live.Case):
    def fleet(self, *words, code=0):
        done = self.host.run(['affix', 'fleet', *words, '--token-file', '/var/lib/affixd/admin-token'])
        self.assertEqual(done.returncode, code, (words, done.stdout, done.stderr))
        return done.stdout

    def json(self, *words):
        return json.loads(self.fleet(*words, '--json'))

    def entry(self):
        items = self.json('status')['items']
        return items[0] if items else {}

    def until_state(self, state, version):
        def there():
            entry = self.entry()
            return entry if (entry.get('state'), entry.get('running')) == (state, version) else None
        try:
            return self.until(there, 40)
        except AssertionError as error:
            log = self.host.run(['journalctl', '-u', 'affixd', '-u', 'affix-agent', '-n', '30', '--no-pager']).stdout
            raise AssertionError(f'{error}: {self.entry()}\n{log}') from None

    def write(self, inside, text):
        self.host.write(inside, text)

    def publish(self, version):
        bundle = self.work.bundle(self.addon('probe', version))
        self.fleet('import', self.send(bundle))
        self.fleet('approve', 'probe', version)

    def test_a_fleet_of_one_from_the_first_start_on(self):
        self.write('/etc/affix/affixd.yaml', AFFIXD)
        done = self.host.run(['systemctl', 'start', 'affixd'])
        log = self.host.run(['journalctl', '-u', 'affixd', '-n', '30', '--no-pager']).stdout
        self.assertEqual(done.returncode, 0, log)
        self.assertIn('serving /var/lib/affixd', log)
        self.write('/etc/affix/join-token', self.fleet('token', 'create', 'this-host', '--uses', '1'))
        self.write('/etc/affix/agent.yaml', AGENT)
        self.host.run(['systemctl', 'restart', 'affix-agent'], check=True)
        self.until(lambda: self.json('hosts')['items'], 20)
        self.publish('1.0.0')
        number = self.fleet('assign', 'probe', '1.0.0', '--selector', 'env=prod').split()[1]
        self.until_state('running', '1.0.0')
        self.assertRuns('probe', '1.0.0')
        self.assertEqual(self.entry()['drift'], [])
        self.end_the_server_by_force()
        self.leave(number)

    def end_the_server_by_force(self):
        before = self.pid('affixd.service')
        self.host.run(['systemctl', 'kill', '-s', 'KILL', 'affixd'], check=True)
        self.until(lambda: self.pid('affixd.service') not in (0, before), 20)
        self.until(lambda: self.host.run(['affix', 'fleet', 'hosts', '--json', '--token-file',
                                          '/var/lib/affixd/admin-token']).returncode == 0, 20)
        self.until(lambda: self.json('hosts')['items'][0]['presence'] == 'connected', 30)
        self.assertRuns('probe', '1.0.0')

    def leave(self, number):
        self.fleet('unassign', number)
        self.until(lambda: self.show('affix-probe.service', 'LoadState') == 'not-found', 40)
        self.host.run(['systemctl', 'stop', 'affixd'], check=True)
        self.assertEqual(self.show('affixd.service', 'Result'), 'success')


if __name__ == '__main__':
    live.main()
