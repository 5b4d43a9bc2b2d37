#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""affix-agent and affixd, both real, with nothing between them; only the agent's updater is made for tests."""

import hashlib
import json
import re
import shutil
import signal
import sys
import time
import unittest

from agent_host import Host
from fleet import Workshop, scratch, start, wait_for


class AgentAndServer(unittest.TestCase):
    def setUp(self):
        self.server = start(self, fronts=2, config='heartbeat_seconds: 5\n')
        self.workshop = Workshop(scratch(self))
        self.server.trust(self.workshop)
        self.versions = {}

    def publish(self, version, **options):
        bundle = self.workshop.bundle(version, **options)
        self.versions[hashlib.sha256(bundle.read_bytes()).hexdigest()] = version
        self.server.publish(bundle, version=version)

    def host(self, name, **options):
        return Host(self, self.server, name, self.versions, **options)

    def status(self):
        return {entry['addon']: entry for entry in self.server.api('GET', '/status')['items']}

    def wait_state(self, state, version, hosts=None, seconds=20):
        def there():
            entry = self.status().get('sensor')
            return entry if entry and (entry['state'], entry['running']) == (state, version) else None
        try:
            return wait_for(there, seconds, f'{state} {version}')
        except AssertionError as error:
            raise AssertionError(f'{error}: {self.status()} {[host.log()[-2000:] for host in hosts or []]}') from None

    def assign(self, version, **more):
        return self.server.api('POST', '/assignments', {'addon': 'sensor', 'version': version, 'selector': 'env=prod', **more})

    def test_assigned_upgraded_configured_and_removed(self):
        self.publish('1.0.0', size=200000)
        host = self.host('a', env='prod')
        made = self.assign('1.0.0', config={'interval': 3})
        entry = self.wait_state('running', '1.0.0', [host])
        self.assertEqual(entry['drift'], [])
        request, files = host.updater.requests[0]
        self.assertEqual((request['verb'], json.loads(files['config'])), ('install', {'interval': 3}))
        self.publish('1.1.0')
        self.server.api('PATCH', f'/assignments/{made["id"]}', {'version': '1.1.0'})
        self.wait_state('running', '1.1.0', [host])
        self.server.api('PATCH', f'/assignments/{made["id"]}', {'config': {'interval': 4}})
        wait_for(lambda: json.loads(host.updater.requests[-1][1].get('config', b'{}')) == {'interval': 4}, 20, 'the new config')
        self.server.api('DELETE', f'/assignments/{made["id"]}')
        wait_for(lambda: ('uninstall', 'sensor') in host.updater.verbs(), 30, 'the removal')
        wait_for(lambda: 'sensor' not in self.status(), 20, 'an empty status')

    def test_polling_agent_gets_there_too(self):
        self.publish('1.0.0')
        host = self.host('a', transport='http', env='prod')
        self.assign('1.0.0')
        self.wait_state('running', '1.0.0', [host], 30)

    def test_server_that_is_killed_and_an_agent_that_is_find_each_other_again(self):
        self.publish('1.0.0')
        host = self.host('a', env='prod')
        made = self.assign('1.0.0')
        self.wait_state('running', '1.0.0', [host])
        self.server.restart(signal.SIGKILL)
        self.publish('1.1.0')
        self.server.api('PATCH', f'/assignments/{made["id"]}', {'version': '1.1.0'})
        self.wait_state('running', '1.1.0', [host], 40)
        host.stop()
        self.publish('1.2.0')
        self.server.api('PATCH', f'/assignments/{made["id"]}', {'version': '1.2.0'})
        host.start()
        self.wait_state('running', '1.2.0', [host], 40)
        self.assertEqual(len(self.server.api('GET', '/hosts')['items']), 1)

    def hellos(self):
        metrics = self.server.request('GET', '/metrics')[2].decode()
        return int(re.search(r'^affixd_hellos_total (\d+)$', metrics, re.M)[1])

    def test_of_a_host_and_its_copy_one_is_connected_and_the_other_waits(self):
        host = self.host('a', env='prod')
        wait_for(lambda: (host.directory / 'state/credential').exists(), 20, 'the credential')
        copy = self.host('b', env='prod')
        copy.stop()
        shutil.copytree(host.directory / 'state', copy.directory / 'state', dirs_exist_ok=True)
        copy.start()
        wait_for(lambda: 'duplicate' in {entry['presence'] for entry in self.server.api('GET', '/hosts')['items']}, 40, 'the duplicate')
        before = self.hellos()
        time.sleep(4)
        self.assertLessEqual(self.hellos() - before, 1)
        self.assertIn('copied disks', host.log() + copy.log())
        self.assertIn('duplicate', [entry['action'] for entry in self.server.api('GET', '/audit')['items']])

    def test_what_the_updater_says_of_a_bad_version_reaches_the_operator(self):
        self.publish('1.0.0')
        host = self.host('a', env='prod')
        made = self.assign('1.0.0')
        self.wait_state('running', '1.0.0', [host])
        self.publish('2.0.0')

        def roll_back(request, files):
            addon = host.updater.addons['sensor']
            addon['quarantine'] = [{'plan': host.updater.plan_of(request, files), 'version': '2.0.0', 'since': 1,
                                    'reason': 'failed'}]
            return {'outcome': 'rolled-back', 'name': 'unhealthy', 'message': 'the service failed', 'version': '2.0.0',
                    'plan': host.updater.plan_of(request, files)}
        host.updater.answers['install'] = roll_back
        self.server.api('PATCH', f'/assignments/{made["id"]}', {'version': '2.0.0'})
        entry = wait_for(lambda: (found := self.status().get('sensor')) and found['state'] in ('rolled-back', 'quarantined')
                         and found, 30, 'the word of it')
        self.assertEqual((entry['wanted'], entry['running']), ('2.0.0', '1.0.0'))
        self.assertIn('version', entry['drift'])

    def test_revoked_host_keeps_what_it_runs_and_hears_nothing_more(self):
        self.publish('1.0.0')
        host = self.host('a', env='prod')
        self.assign('1.0.0')
        self.wait_state('running', '1.0.0', [host])
        number = self.server.api('GET', '/hosts')['items'][0]['id']
        self.server.api('POST', f'/hosts/{number}/revoke')
        wait_for(lambda: self.server.api('GET', f'/hosts/{number}')['presence'] == 'revoked', what='the revocation')
        self.assertIn('sensor', host.updater.addons)
        self.assertNotIn(('uninstall', 'sensor'), host.updater.verbs())


if __name__ == '__main__':
    sys.exit(unittest.main(verbosity=2))
