#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""affix-agent as systemd runs it on a booted host, with the real updater and real add-ons."""

import ctypes
import json
import os
import pathlib
import sys
import threading
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / 'e2e')]
import fleet_server
import live

NEW_NET = 0x40000000
SETTINGS = '''
server: {{url: '{url}', token_file: /etc/affix/join-token}}
labels: {{env: test}}
intervals: {{heartbeat_seconds: 1, status_seconds: 1, drift_seconds: 1, reconnect_max_seconds: 1}}
removal: {{delay_seconds: 2, mass_seconds: 5}}
repair: {repair}
'''


def server_in(host):
    """A server that listens in the host's network: a socket belongs to where its thread was."""
    made = []

    def make():
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = os.open(f'/proc/{host.leader}/ns/net', os.O_RDONLY)
        if libc.setns(descriptor, NEW_NET) != 0:
            raise OSError(ctypes.get_errno(), 'setns')
        os.close(descriptor)
        made.append(fleet_server.Server())
    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


class AgentOnHost(live.Case):
    def setUp(self):
        self.server = server_in(self.host)
        self.server.__enter__()
        self.addCleanup(self.server.__exit__)
        self.server.credential = 'credential-of-the-host'
        self.server.configs, self.server.packages = {}, {}

    def start(self, repair='false'):
        settings = SETTINGS.format(url=self.server.url(), repair=repair)
        self.write('/etc/affix/agent.yaml', settings)
        self.write('/etc/affix/join-token', 'join\n')
        self.addCleanup(self.host.run, ['systemctl', 'stop', 'affix-agent'])
        self.addCleanup(self.tell)
        self.host.run(['systemctl', 'restart', 'affix-agent'], check=True)

    def tell(self):
        """The agent's journal, where a test failed."""
        if any(error for _, error in self._outcome.result.errors + self._outcome.result.failures):
            print(self.host.run(['journalctl', '-q', '-o', 'cat', '-u', 'affix-agent', '-n', '40']).stdout, file=sys.stderr)

    def write(self, inside, text):
        path = self.host.path(inside)
        path.write_text(text)
        path.chmod(0o644)

    def package(self, identifier, version, options=''):
        bundle = self.work.bundle(self.addon(identifier, version, options))
        signature = pathlib.Path(f'{bundle}.minisig').read_text()
        return self.server.package(version, bundle.read_bytes(), signature)

    def state(self, identifier, word, version, seconds=30):
        def is_so(report):
            addon = report.addons.get(identifier, {})
            return (addon.get('state'), addon.get('version')) == (word, version)
        return self.server.wait(is_so, seconds, self.seen).addons[identifier]

    def offer(self, **packages):
        self.seen = len(self.server.reports)
        self.server.offer(**packages)

    def test_from_the_first_offer_to_the_last(self):
        self.start()
        self.offer(probe=self.package('probe', '1.0.0'))
        self.state('probe', 'running', '1.0.0')
        self.assertRuns('probe', '1.0.0')
        self.assertEqual(self.show('affix-agent.service', 'ActiveState'), 'active')

        self.seen = len(self.server.reports)
        self.server.configure({'probe': {'level': 3}})
        self.server.wait(lambda report: report.effective.get('probe') == {'level': 3}, 20)
        self.until(lambda: '"level": 3' in self.host.path('/etc/affix/addons/probe.json').read_text().replace('":3', '": 3'))

        self.offer(probe=self.package('probe', '1.1.0'))
        self.state('probe', 'running', '1.1.0')
        self.assertRuns('probe', '1.1.0')

        self.offer(probe=self.package('probe', '1.2.0', '--die-after 400'))
        addon = self.state('probe', 'rolled-back', '1.1.0', 60)
        self.assertEqual((addon['wanted'], addon['name']), ('1.2.0', 'unhealthy'))
        self.assertRuns('probe', '1.1.0')
        pid = self.pid('affix-probe.service')

        # What is known stands over a crash of the agent, and nothing that runs is touched.
        self.host.run(['systemctl', 'kill', '-s', 'KILL', 'affix-agent'], check=True)
        self.seen = len(self.server.reports)
        self.host.run(['systemctl', 'restart', 'affix-agent'], check=True)
        self.state('probe', 'rolled-back', '1.1.0')
        self.assertEqual(self.pid('affix-probe.service'), pid)

        self.offer(probe=self.package('probe', '1.3.0'))
        self.state('probe', 'running', '1.3.0')

        self.offer()
        self.server.wait(lambda report: 'probe' not in report.packages and 8 in report.parts, 30, self.seen)
        self.assertGone('probe')

    def test_an_unsigned_bundle_is_refused_once_and_reported(self):
        self.start()
        package = self.package('other', '1.0.0')
        package['signature'] = 'untrusted comment: nothing\n'
        self.offer(other=package)
        failed = self.server.wait(lambda report: report.packages.get('other', {}).get('status') == 3, 30)
        self.assertNotEqual(failed.packages['other']['error'], '')
        self.assertEqual(self.host.path('/opt/affix').joinpath('other').exists(), False)

    def test_what_failed_under_a_drop_in_is_tried_again_as_soon_as_that_is_gone(self):
        directory = self.host.path('/etc/systemd/system/affix-bent.service.d')
        directory.mkdir()
        (directory / 'local.conf').write_text('[Service]\nExecStartPre=/bin/false\n')
        self.start()
        self.offer(bent=self.package('bent', '1.0.0'))
        failed = self.server.wait(lambda report: 'local.conf' in report.addons.get('bent', {}).get('reason', ''), 30, self.seen)
        self.assertNotEqual(failed.addons['bent']['state'], 'running')
        self.seen = len(self.server.reports)
        (directory / 'local.conf').unlink()
        # The first pause is half a minute, and this well before its end.
        self.state('bent', 'running', '1.0.0', 15)

    def netprobe(self):
        """What the add-on says of itself to a member of its group."""
        done = self.host.run(['/opt/affix/netprobe/current/affix-netprobe', 'ping', '--json'], user='affix')
        return json.loads(done.stdout) if done.returncode == 0 else {}

    def test_an_addon_with_ipc_is_configured_watched_and_its_events_are_told(self):
        bundle = self.work.netprobe('0.1.0')
        self.start()
        self.server.configure({'netprobe': {'enabled': True}})
        self.offer(netprobe=self.server.package('0.1.0', bundle.read_bytes(), pathlib.Path(f'{bundle}.minisig').read_text()))
        self.state('netprobe', 'running', '0.1.0', 60)
        self.assertTrue(self.netprobe()['enabled'])
        # The agent's own connections are flows, too.
        self.server.wait(lambda report: sum((report.addons.get('netprobe', {}).get('events') or {}).values()) > 0, 60, self.seen)

        self.seen = len(self.server.reports)
        self.host.run(['systemctl', 'kill', '-s', 'STOP', 'affix-netprobe'], check=True)
        self.addCleanup(self.host.run, ['systemctl', 'kill', '-s', 'CONT', 'affix-netprobe'])
        # Before three pings are missed, the updater finds that it accepts nothing.
        self.assertIn('ipc.sock', self.state('netprobe', 'unhealthy', '0.1.0', 60)['reason'])
        self.seen = len(self.server.reports)
        self.host.run(['systemctl', 'kill', '-s', 'CONT', 'affix-netprobe'], check=True)
        self.state('netprobe', 'running', '0.1.0', 60)

        self.server.configure({'netprobe': {'enabled': False}})
        self.until(lambda: self.netprobe().get('enabled') is False, 30)

    def test_drift_is_found_and_mended(self):
        self.start(repair='true')
        self.offer(drifty=self.package('drifty', '1.0.0'))
        self.state('drifty', 'running', '1.0.0')
        unit = self.host.path('/etc/systemd/system/affix-drifty.service')
        good = unit.read_bytes()
        unit.write_bytes(good + b'# changed\n')
        self.server.wait(lambda report: 'units' in report.addons.get('drifty', {}).get('drift', []), 20)
        self.until(lambda: unit.read_bytes() == good, 20)
        self.server.wait(lambda report: report.addons.get('drifty', {}).get('drift') == [], 20, len(self.server.reports))


if __name__ == '__main__':
    unittest.main(verbosity=2)
