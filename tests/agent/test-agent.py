#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""affix-agent between a server and an updater that are both ours, on loopback and in a temporary directory.

    test-agent.py [server|disk|rest|CLASS[.CASE]...]
"""

import contextlib
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import socketserver
import ssl
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import fake_updater
import fleet_server
import proxy

BUILD = pathlib.Path(os.environ.get('AFFIX_BUILD', 'build'))
AGENT = BUILD / 'src/agent/affix-agent'


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f'did not become true in {seconds} s')
        time.sleep(0.02)
    return value


class Case(unittest.TestCase):
    tls = None

    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix='affix-agent-')
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        (self.directory / 'state').mkdir()
        self.token = self.directory / 'token'
        self.token.write_text('join\n')
        self.overrides = self.directory / 'addons.local.json'
        self.server = fleet_server.Server(self.tls)
        self.server.__enter__()
        self.addCleanup(self.server.__exit__)
        self.updater = fake_updater.Updater(self.directory / 'updater.sock')
        self.updater.__enter__()
        self.addCleanup(self.updater.__exit__)
        self.process = None
        self.log = self.directory / 'log'
        self.addCleanup(self.stop)
        self.settings = {}

    def config(self, **changes):
        """agent.yaml, impatient."""
        settings = {
            'server': {'url': self.server.url(), 'token_file': str(self.token)},
            'labels': {'env': 'test', 'rack': 'r/1'},
            'intervals': {'heartbeat_seconds': 1, 'status_seconds': 1, 'drift_seconds': 1, 'reconnect_max_seconds': 1},
            'removal': {'delay_seconds': 2, 'mass_seconds': 4},
            'downloads': {'keep_free_bytes': 0},
        }
        for key, value in changes.items():
            if isinstance(value, dict):
                settings.setdefault(key, {}).update(value)
            else:
                settings[key] = value
        path = self.directory / 'agent.yaml'
        path.write_text(json.dumps(settings))
        return path

    def start(self, **changes):
        path = self.config(**changes)
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen(
                [AGENT, '--config', path, '--state', self.directory / 'state', '--overrides', self.overrides,
                 '--updater', self.updater.path], stderr=log, stdin=subprocess.DEVNULL)

    def stop(self, number=signal.SIGTERM):
        if self.process:
            self.process.send_signal(number)
            code = self.process.wait(10)
            self.process = None
            log = self.log.read_text()
            if number == signal.SIGTERM and code != 0:
                self.fail(f'the agent ended with {code}: {log}')
            self.assertNotIn('ERROR: AddressSanitizer', log)

    def restart(self, number=signal.SIGTERM, **changes):
        self.stop(number)
        self.start(**changes)

    def state(self, name):
        return self.directory / 'state' / name

    def installs(self):
        return [verb for verb, _ in self.updater.verbs()].count('install')

    def package(self, version='1.0.0', more=b'', **changes):
        return self.server.package(version, version.encode() + b'\n' + more, **changes)

    def running(self, identifier, version='1.0.0', seconds=60):
        """Waits until the server was told so; the report."""
        return self.server.wait(lambda report: report.addons.get(identifier, {}).get('version') == version
                                and report.addons[identifier]['state'] == 'running', seconds)


class Joining(Case):
    def test_a_host_joins_with_a_token_and_comes_back_with_its_own_credential(self):
        self.server.credential = 'secret-of-this-host'
        self.start()
        self.server.wait(lambda report: report.settings_status == 1 or
                         report.headers.get('authorization') == 'Bearer secret-of-this-host')
        until(lambda: self.state('credential').exists())
        self.assertEqual(self.state('credential').read_text(), 'secret-of-this-host')
        self.assertEqual(stat.S_IMODE(self.state('credential').stat().st_mode), 0o600)
        until(lambda: not self.state('credential.new').exists())
        self.assertEqual(self.server.authorizations['Bearer join'], 1)
        self.restart()
        until(lambda: self.server.authorizations['Bearer secret-of-this-host'] >= 2)
        self.assertEqual(self.server.authorizations['Bearer join'], 1)

    def test_a_credential_that_does_not_work_is_dropped_for_the_token(self):
        self.server.credential = 'nonsense'
        self.server.is_let_in = lambda authorization: authorization == 'Bearer join'
        self.start()
        until(lambda: self.server.authorizations['Bearer join'] >= 2)
        self.assertFalse(self.state('credential').exists())

    def test_a_credential_that_is_refused_on_an_open_websocket_is_dropped_for_the_one_before(self):
        self.server.is_late = True
        self.server.tokens.add('good')
        self.state('credential').write_text('good')
        self.state('credential.new').write_text('nonsense')
        self.start()
        until(lambda: self.server.authorizations['Bearer good'] >= 1, 20)
        self.assertEqual((self.server.authorizations['Bearer nonsense'], self.server.authorizations['Bearer join']), (1, 0))
        self.server.wait(lambda report: not report.parts and report.headers['authorization'] == 'Bearer good')
        self.assertFalse(self.state('credential.new').exists())
        self.assertEqual(self.state('credential').read_text(), 'good')

    def test_a_connection_that_breaks_says_nothing_of_a_new_credential(self):
        self.server.refuse = (503, None)
        self.server.tokens.add('new')
        self.state('credential').write_text('old')
        self.state('credential.new').write_text('new')
        self.start()
        until(lambda: self.server.authorizations['Bearer new'] >= 2)
        self.server.refuse = None
        until(lambda: self.state('credential').read_text() == 'new')
        self.assertEqual(self.server.authorizations['Bearer old'], 0)

    def test_a_revoked_host_does_not_come_back_with_the_token(self):
        self.state('credential').write_text('revoked')
        self.start()
        until(lambda: self.server.authorizations['Bearer revoked'] >= 3)
        self.assertEqual(self.server.authorizations['Bearer join'], 0)

    def test_it_says_who_it_is_and_keeps_its_instance(self):
        self.start()
        first = self.server.wait(lambda report: True)
        self.assertEqual(first.sequence, 1)
        self.assertEqual(first.attributes['affix.label.env'], 'test')
        self.assertEqual(first.attributes['affix.label.rack'], 'r/1')
        self.assertEqual(first.attributes['os.type'], 'linux')
        self.assertIn(first.attributes['host.arch'], ('amd64', 'arm64'))
        self.assertEqual(first.uid[6] >> 4, 7)
        count = len(self.server.reports)
        self.restart(signal.SIGKILL)
        self.assertEqual(self.server.wait(lambda report: 3 in report.parts, after=count).uid, first.uid)

    def test_only_what_changed_is_sent(self):
        self.start()
        self.server.wait(lambda report: not report.parts, 5)
        first = self.server.reports[0]
        self.assertTrue({3, 5, 7, 8, 12, 13} <= first.parts, first.parts)
        beats = [report for report in self.server.reports[1:] if not report.parts]
        self.assertLess(beats[-1].size, 64)

    def test_a_server_that_lost_track_gets_everything(self):
        self.start()
        self.server.wait(lambda report: not report.parts, 5)
        count = len(self.server.reports)
        self.server.extra = fleet_server.wire.number(6, fleet_server.FULL_STATE)
        self.server.push()
        self.server.wait(lambda report: 3 in report.parts and 5 in report.parts, after=count)
        self.server.extra = b''

    def test_it_says_goodbye(self):
        self.start()
        self.server.wait(lambda report: True)
        self.stop()
        self.server.wait(lambda report: report.is_last, 2)


class Transport(Case):
    def test_without_websocket_it_polls(self):
        self.server.websocket = False
        self.server.offer(push=False, probe=self.package())
        self.start()
        self.running('probe')
        self.assertEqual({report.transport for report in self.server.reports}, {'http'})
        numbers = [report.sequence for report in self.server.reports]
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)))

    def test_polling_can_be_demanded(self):
        self.start(server={'transport': 'http'})
        self.server.wait(lambda report: report.transport == 'http')
        self.assertEqual(self.server.connections, 0)

    def test_a_server_says_how_often_it_is_polled_and_that_is_no_heartbeat(self):
        settings = fleet_server.wire.data(2, fleet_server.wire.number(4, 1))
        self.server.extra = fleet_server.wire.data(4, fleet_server.wire.data(1, b'hash') + settings)
        self.start(server={'transport': 'http'}, intervals={'heartbeat_seconds': 300})
        self.server.wait(lambda report: report.transport == 'http')
        until(lambda: self.state('settings.json').exists())
        self.assertEqual(json.loads(self.state('settings.json').read_text()), {'poll_seconds': 1})
        # It is kept: nobody says it again.
        self.server.extra = b''
        count = len(self.server.reports)
        self.restart(server={'transport': 'http'}, intervals={'heartbeat_seconds': 300, 'status_seconds': 300, 'drift_seconds': 300})
        until(lambda: len(self.server.reports) >= count + 6)

    def test_it_comes_back_after_the_connection_broke(self):
        self.start()
        self.server.wait(lambda report: True)
        count = len(self.server.reports)
        self.server.drop()
        again = self.server.wait(lambda report: 3 in report.parts, after=count)
        self.assertEqual(again.transport, 'websocket')

    def test_retry_after_is_honoured(self):
        self.server.refuse = (503, 2)
        self.start()
        until(lambda: sum(self.server.authorizations.values()) == 1)
        began = time.monotonic()
        until(lambda: sum(self.server.authorizations.values()) == 2)
        self.assertGreater(time.monotonic() - began, 1.8)

    def test_a_server_that_answers_with_errors_is_asked_less_and_less_often(self):
        self.server.failure = 'this host was revoked'
        self.start(intervals={'reconnect_max_seconds': 300})
        time.sleep(4)
        self.assertLessEqual(self.server.connections, 5)
        self.assertGreaterEqual(self.server.connections, 2)
        self.assertEqual(self.log.read_text().count('revoked'), 1)

    def test_a_server_that_always_asks_for_everything_is_answered_at_leisure(self):
        for transport in ('websocket', 'http'):
            count = len(self.server.reports)
            self.server.extra = fleet_server.wire.number(6, fleet_server.FULL_STATE)
            self.start(server={'transport': transport})
            self.server.wait(lambda report: True, after=count)
            time.sleep(2)
            self.assertLessEqual(len(self.server.reports) - count, 13)
            self.stop()

    def test_a_server_that_always_has_another_credential_waits(self):
        numbers = iter(range(1000))
        self.server.credential = 'x'
        self.server.is_let_in = lambda _: True
        self.server.compose = lambda uid, report=None, authorization='', compose=self.server.compose: (
            setattr(self.server, 'credential', f'c{next(numbers)}'),
            self.server.tokens.add(authorization.removeprefix('Bearer ')), compose(uid, report, authorization))[2]
        self.start()
        time.sleep(5)
        self.assertLessEqual(self.server.connections, 6)

    def test_a_half_open_connection_is_noticed(self):
        self.server.is_mute = True
        self.start()
        until(lambda: self.server.connections >= 2)
        self.assertIn('pings', self.log.read_text())
        self.server.is_mute = False
        self.server.wait(lambda report: True)

    def test_nonsense_from_the_server_does_no_harm(self):
        self.updater.put('probe', '1.0.0', 'plan')
        self.start()
        self.server.wait(lambda report: not report.parts, 5)
        with self.server.lock:
            for connection in list(self.server.sockets):
                fleet_server.send_frame(connection.wfile, 2, b'\0' + b'\xff' * 1000)
                fleet_server.send_frame(connection.wfile, 1, b'text')
                fleet_server.send_frame(connection.wfile, 2, b'\0' + b'\x1a\x00' * 100000)
        count = len(self.server.reports)
        self.server.wait(lambda report: True, after=count + 1)
        with self.server.lock:
            for connection in list(self.server.sockets):
                fleet_server.send_frame(connection.wfile, 2, b'no header')
        count = len(self.server.reports)
        self.server.wait(lambda report: 3 in report.parts, after=count)
        self.assertIsNone(self.process.poll())
        self.assertEqual(self.updater.verbs(), [])

    def test_a_message_above_its_bound_ends_the_connection_and_not_the_agent(self):
        self.start()
        self.server.wait(lambda report: True)
        count = len(self.server.reports)
        with self.server.lock:
            for connection in list(self.server.sockets):
                with contextlib.suppress(ConnectionError):
                    fleet_server.send_frame(connection.wfile, 2, bytes(5 << 20))
        self.server.wait(lambda report: 3 in report.parts, after=count)


class Reload(Case):
    def reload(self, **changes):
        self.config(**changes)
        self.process.send_signal(signal.SIGHUP)

    def test_changed_labels_are_reported_on_the_same_connection(self):
        self.start()
        self.server.wait(lambda report: True)
        connections = self.server.connections
        self.reload(labels={'env': 'prod'})
        self.server.wait(lambda report: report.attributes.get('affix.label.env') == 'prod')
        self.assertEqual(self.server.connections, connections)
        self.assertNotIn('the way to the server is another', self.log.read_text())

    def test_a_bad_file_keeps_the_configuration_and_says_why_until_it_is_mended(self):
        self.start()
        self.server.wait(lambda report: report.healthy)
        (self.directory / 'agent.yaml').write_text('server: {url: "ftp://nowhere"}\n')
        self.process.send_signal(signal.SIGHUP)
        report = self.server.wait(lambda report: not report.healthy and 'agent.yaml:1:' in report.health_error)
        self.assertEqual(report.health, {})
        self.assertIn('the configuration from before is kept', self.log.read_text())
        count = len(self.server.reports)
        self.server.drop()
        again = self.server.wait(lambda report: 3 in report.parts, after=count)
        self.assertEqual(again.attributes['affix.label.env'], 'test')
        count = len(self.server.reports)
        self.reload()
        self.server.wait(lambda report: 5 in report.parts and report.healthy, after=count)

    def test_a_file_that_is_gone_changes_nothing(self):
        self.start()
        self.server.wait(lambda report: report.healthy)
        (self.directory / 'agent.yaml').unlink()
        self.process.send_signal(signal.SIGHUP)
        self.server.wait(lambda report: not report.healthy and 'cannot be read' in report.health_error)
        self.assertIsNone(self.process.poll())

    def test_another_server_is_connected_to_at_once(self):
        self.start(intervals={'reconnect_max_seconds': 300})
        self.server.wait(lambda report: True)
        other = fleet_server.Server(self.tls)
        other.__enter__()
        self.addCleanup(other.__exit__)
        self.reload(server={'url': other.url()})
        self.assertEqual(other.wait(lambda report: 3 in report.parts).attributes['affix.label.env'], 'test')

    def test_a_server_that_was_away_is_not_waited_for_after_a_reload(self):
        self.server.refuse = (503, 3600)
        self.start()
        until(lambda: sum(self.server.authorizations.values()) == 1)
        other = fleet_server.Server(self.tls)
        other.__enter__()
        self.addCleanup(other.__exit__)
        self.reload(server={'url': other.url()})
        other.wait(lambda report: 3 in report.parts)

    def test_a_credential_renewed_under_its_old_name_is_shown(self):
        self.server.tokens.add('renewed')
        self.start()
        self.server.wait(lambda report: True)
        self.token.write_text('renewed\n')
        self.process.send_signal(signal.SIGHUP)
        until(lambda: self.server.authorizations['Bearer renewed'] >= 1)


@unittest.skipUnless(os.geteuid() == 0, 'mounting needs root')
class Disk(Case):
    """The agent's directory on a small tmpfs, which the agent alone has mounted."""

    spoil = ':'  # what a shell does to the directory before the agent starts

    def start(self, **changes):
        path = self.config(**changes)
        script = f'mount -t tmpfs -o size=256k state "$1" && cd "$1" && {self.spoil} && cd / && shift && exec "$@"'
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen(
                ['unshare', '-m', 'sh', '-c', script, 'sh', self.directory / 'state', AGENT, '--config', path,
                 '--state', self.directory / 'state', '--overrides', self.overrides, '--updater', self.updater.path],
                stderr=log, stdin=subprocess.DEVNULL)

    def inside(self, name):
        return pathlib.Path(f'/proc/{self.process.pid}/root/{self.state(name)}')

    def fill(self):
        with contextlib.suppress(OSError), open(self.inside('filler'), 'wb', buffering=0) as file:
            while file.write(bytes(4096)):
                pass

    def remount(self, how):
        subprocess.run(['nsenter', '-m', '-t', str(self.process.pid), 'mount', '-o', f'remount,{how}', self.directory / 'state'],
                       check=True)

    def spent(self):
        """Seconds of processor time."""
        fields = pathlib.Path(f'/proc/{self.process.pid}/stat').read_text().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def check(self, spoil, mend, reason):
        self.server.offer(push=False, probe=self.package())
        self.start()
        self.running('probe')
        before = self.updater.verbs()
        spoil()
        self.server.offer(probe=self.package('1.1.0'))
        report = self.server.wait(lambda report: not report.healthy and reason in report.health_error)
        self.assertIn(str(self.directory / 'state'), report.health_error)
        self.assertEqual(report.health['probe'], 'running')
        spent, questions = self.spent(), self.updater.questions
        self.updater.wait(lambda: self.updater.questions >= questions + 4)
        self.assertLess(self.spent() - spent, 1)
        self.assertEqual(self.updater.verbs(), before)
        self.assertEqual(self.log.read_text().count('cannot be written'), 1)
        mend()
        self.running('probe', '1.1.0', 120)
        self.server.wait(lambda report: report.healthy and 5 in report.parts)
        self.assertIn('1.1.0', self.inside('offer.json').read_text())

    def check_first_start(self, spoil, mend, reason):
        """Without a name that it can keep, the host does not join: each start would be another host."""
        self.spoil = spoil
        self.server.credential = 'secret-of-this-host'
        self.server.offer(push=False, probe=self.package())
        self.start()
        until(lambda: reason in self.log.read_text())
        questions = self.updater.questions
        self.updater.wait(lambda: self.updater.questions >= questions + 4)
        self.assertIsNone(self.process.poll())
        self.assertEqual((self.updater.verbs(), dict(self.server.authorizations)), ([], {}))
        self.assertEqual(self.log.read_text().count('cannot be written'), 1)
        self.assertIn('nor a fleet joined', self.log.read_text())
        mend()
        report = self.running('probe')
        self.assertTrue(self.server.reports[0].healthy)
        self.assertEqual(self.inside('instance-uid').read_bytes(), report.uid)
        until(lambda: self.inside('credential').exists())

    FILL = '{ dd if=/dev/zero of=filler bs=4096 status=none || :; }'

    def test_a_first_start_on_a_full_disk_is_waited_out(self):
        self.check_first_start(self.FILL, lambda: self.inside('filler').unlink(), 'No space left on device')

    def test_a_first_start_without_inodes_is_waited_out(self):
        self.check_first_start('mount -o remount,nr_inodes=1 .', lambda: self.remount('nr_inodes=100'), 'No space left on device')

    def test_a_first_start_on_a_readonly_disk_is_waited_out(self):
        self.check_first_start('mount -o remount,ro .', lambda: self.remount('rw'), 'Read-only file system')

    def test_a_known_host_that_starts_on_a_full_disk_says_so(self):
        self.spoil = f'printf 0123456789abcdef >instance-uid && {self.FILL}'
        self.server.offer(push=False, probe=self.package())
        self.start()
        report = self.server.wait(lambda report: not report.healthy and 'No space left on device' in report.health_error)
        self.assertEqual(report.uid, b'0123456789abcdef')
        self.assertEqual((self.updater.verbs(), self.log.read_text().count('cannot be written')), ([], 1))
        self.inside('filler').unlink()
        self.running('probe')

    def test_a_full_disk_is_reported_changes_no_addon_and_is_recovered_from(self):
        self.check(self.fill, lambda: self.inside('filler').unlink(), 'No space left on device')

    def test_a_readonly_disk_is_reported_changes_no_addon_and_is_recovered_from(self):
        self.check(lambda: self.remount('ro'), lambda: self.remount('rw'), 'Read-only file system')


class Proxy(Case):
    def test_the_way_leads_through_the_proxy(self):
        with proxy.Proxy() as between:
            self.start(server={'proxy': f'http://127.0.0.1:{between.port}'})
            self.assertEqual(self.server.wait(lambda report: True).transport, 'websocket')
            self.assertEqual(between.seen[0], ('CONNECT', f'127.0.0.1:{self.server.port}', 200))
            self.stop()


class Delivery(Case):
    NEEDS_BUNDLE = {'outcome': 'refused', 'name': 'needs-bundle', 'message': 'bytes'}

    def test_what_is_offered_is_installed_and_reported(self):
        self.server.offer(push=False, probe=self.package('1.2.0', signature='untrusted comment: x\n'))
        self.server.configs = {'probe': {'listen': 'a'}}
        self.start()
        report = self.running('probe', '1.2.0')
        request, files = self.updater.requests[0]
        self.assertEqual((request['verb'], request['id']), ('install', 'probe'))
        self.assertEqual(files['bundle'], b'1.2.0\n')
        self.assertEqual(files['signature'], b'untrusted comment: x\n')
        self.assertEqual(json.loads(files['config']), {'listen': 'a'})
        self.assertEqual(report.health['probe'], 'running')
        self.server.wait(lambda report: report.packages.get('probe', {}).get('status') == 0 and
                         report.packages['probe']['version'] == '1.2.0')
        self.assertEqual(self.installs(), 1)

    def test_another_version_and_another_configuration_follow(self):
        self.server.offer(push=False, probe=self.package('1.0.0'))
        self.start()
        self.running('probe')
        self.server.offer(probe=self.package('1.1.0'))
        self.running('probe', '1.1.0')
        self.server.configure({'probe': {'a': 1}})
        self.updater.wait(lambda: ('configure', 'probe') in self.updater.verbs())
        self.assertEqual(json.loads(self.updater.requests[-1][1]['config']), {'a': 1})
        self.server.wait(lambda report: report.effective.get('probe') == {'a': 1})
        time.sleep(1.5)
        self.assertEqual(len(self.updater.requests), 3)

    def test_capabilities_and_limits_reach_the_updater(self):
        self.server.offer(push=False, probe=self.package())
        self.server.configs = {}
        self.server.settings = {'addons': {'probe': {'capabilities': ['cap_net_raw'], 'limits': {'tasks_max': 5}}}}
        self.start()
        self.running('probe')
        request, _ = self.updater.requests[0]
        self.assertEqual((request['capabilities'], request['limits']), (['cap_net_raw'], {'tasks_max': 5}))
        # A configuration keeps them, and the updater takes none with it.
        self.server.configure({'probe': {'a': 1}}, self.server.settings)
        self.updater.wait(lambda: ('configure', 'probe') in self.updater.verbs())
        self.assertFalse({'capabilities', 'limits'} & set(self.updater.requests[1][0]))

    def test_a_restart_neither_downloads_nor_asks_again(self):
        self.server.offer(push=False, probe=self.package())
        self.start()
        self.running('probe')
        for number in (signal.SIGTERM, signal.SIGKILL):
            count = len(self.server.reports)
            self.restart(number)
            self.server.wait(lambda report: 'probe' in report.packages, after=count)
            time.sleep(0.5)
        self.assertEqual((self.installs(), len(self.server.downloads)), (1, 1))

    def test_a_status_asked_before_an_operation_ended_does_not_repeat_it(self):
        asked = threading.Event()
        installing = threading.Event()

        def late_status(*_):
            if not installing.is_set() or asked.is_set():
                return None
            before = {'data': {'addons': list(self.updater.addons.values())}}
            asked.set()
            self.updater.wait(lambda: 'probe' in self.updater.addons)
            time.sleep(0.5)  # so that the end of the operation is heard first
            return before

        def install(*_):
            installing.set()
            asked.wait(60)
        self.updater.answers.update(status=late_status, install=install)
        self.server.offer(push=False, probe=self.package())
        self.start()
        self.running('probe')
        count = self.updater.questions
        self.updater.wait(lambda: self.updater.questions >= count + 2)
        self.assertEqual(self.installs(), 1)

    def test_nothing_is_begun_before_the_host_was_looked_at_after_an_operation(self):
        released = threading.Event()
        waiting = threading.Event()

        def status(*_):
            if self.updater.addons and not released.is_set():
                waiting.set()
                released.wait(60)
        self.updater.answers['status'] = status
        self.server.offer(push=False, probe=self.package())
        self.start()
        until(waiting.is_set)
        count = len(self.server.reports)
        self.server.configure({'other': {}})  # whatever has it look at everything again
        self.server.wait(lambda report: True, after=count + 2)
        self.assertEqual(self.installs(), 1)
        released.set()
        self.running('probe')
        self.assertEqual(self.installs(), 1)

    def test_what_happens_while_the_updater_is_asked_does_not_ask_it_again(self):
        released, asked = threading.Event(), []

        def status(*_):
            asked.append(time.monotonic())
            if len(asked) == 2:
                released.wait(60)
        self.updater.answers['status'] = status
        self.start(intervals={'status_seconds': 3})
        until(lambda: len(asked) == 2)
        for number in range(3):
            count = len(self.server.reports)
            self.server.configure({f'other-{number}': {}})  # whatever has it look at everything again
            self.server.wait(lambda report: 7 in report.parts, after=count)
        answered = time.monotonic()
        released.set()
        until(lambda: len(asked) == 3)
        self.assertGreater(asked[2] - answered, 2.5)

    def test_without_a_server_everything_stays_and_is_kept(self):
        self.server.offer(push=False, probe=self.package())
        self.start()
        self.running('probe')
        self.server.refuse = (503, None)
        self.server.drop()
        self.updater.addons.clear()  # somebody removed it: it comes back without the server
        self.updater.wait(lambda: self.installs() == 2)
        self.restart(signal.SIGKILL)
        time.sleep(1)
        self.assertEqual(self.installs(), 2)

    def test_an_updater_that_is_away_is_reported_and_waited_for(self):
        self.server.offer(push=False, probe=self.package())
        os.rename(self.updater.path, self.updater.path + '.away')
        self.start()
        self.server.wait(lambda report: not report.healthy and 'updater' in report.health_error)
        os.rename(self.updater.path + '.away', self.updater.path)
        self.running('probe')

    def test_a_silent_updater_does_not_keep_the_host_from_the_fleet(self):
        released = threading.Event()
        self.updater.answers['status'] = lambda *_: released.wait(60) and None
        self.updater.put('probe', '1.0.0', 'plan')
        self.start()
        report = self.server.wait(lambda report: not report.healthy and 'not answered' in report.health_error, 20)
        self.assertNotIn(8, report.parts)
        released.set()
        self.server.wait(lambda report: report.healthy and 'probe' in report.packages)

    def test_a_failed_upgrade_is_reported_and_not_repeated(self):
        self.server.offer(push=False, probe=self.package('1.0.0'))
        self.start()
        self.running('probe')

        def roll_back(request, files):
            plan = self.updater.plan_of(request, files)
            self.updater.addons['probe']['quarantine'] = [{'plan': plan, 'version': '2.0.0', 'reason': 'died', 'since': None}]
            return {'outcome': 'rolled-back', 'name': 'unhealthy', 'message': 'it died', 'plan': plan, 'version': '2.0.0'}
        self.updater.answers['install'] = roll_back
        self.server.offer(probe=self.package('2.0.0'))
        report = self.server.wait(lambda report: report.addons.get('probe', {}).get('state') == 'rolled-back')
        self.assertEqual((report.addons['probe']['version'], report.addons['probe']['wanted']), ('1.0.0', '2.0.0'))
        self.assertIn('it died', report.addons['probe']['reason'])
        failed = self.server.wait(lambda report: report.packages.get('probe', {}).get('status') == 3)
        self.assertEqual((failed.packages['probe']['version'], failed.packages['probe']['offered']), ('1.0.0', '2.0.0'))
        time.sleep(2.5)
        self.assertEqual(len(self.updater.requests), 1 + 1)

    def test_a_refusal_is_permanent_until_the_administrator_reloads(self):
        self.updater.answers['install'] = lambda *_: {'outcome': 'refused', 'name': 'bad-signature', 'message': 'no'}
        self.server.offer(push=False, probe=self.package())
        self.start()
        self.server.wait(lambda report: report.packages.get('probe', {}).get('status') == 3)
        time.sleep(2)
        self.assertEqual(self.installs(), 1)
        del self.updater.answers['install']
        self.process.send_signal(signal.SIGHUP)
        self.running('probe')
        self.assertEqual(len(self.server.downloads), 1)

    def test_drift_is_reported_and_repaired_where_the_policy_says_so(self):
        self.server.offer(push=False, probe=self.package())
        self.start()
        self.running('probe')
        self.updater.drifted['probe'] = [{'kind': 'mode', 'path': '/opt/affix/probe/versions/1.0.0/probe'},
                                         {'kind': 'content', 'path': '/etc/systemd/system/affix-probe.service'}]
        report = self.server.wait(lambda report: report.addons.get('probe', {}).get('drift'))
        self.assertEqual(report.addons['probe']['drift'], ['bytes', 'units'])
        self.assertNotIn(('repair', 'probe'), self.updater.verbs())
        self.restart(repair=True)
        self.updater.wait(lambda: ('repair', 'probe') in self.updater.verbs())

    def test_a_repair_that_needs_the_bundle_gets_it(self):
        self.server.offer(push=False, probe=self.package())
        self.start(repair=True)
        self.running('probe')
        asked = []

        def repair(request, files):
            asked.append(sorted(files))
            return None if files else {'outcome': 'refused', 'name': 'needs-bundle', 'message': 'bytes'}
        self.updater.answers['repair'] = repair
        self.updater.drifted['probe'] = [{'kind': 'content', 'path': '/opt/affix/probe/versions/1.0.0/probe'}]
        until(lambda: len(asked) == 2)
        self.assertEqual(asked, [[], ['bundle', 'signature']])
        self.assertEqual(len(self.server.downloads), 1)


    def test_a_repair_downloads_the_bundle_that_is_not_kept_any_more(self):
        self.server.offer(push=False, probe=self.package())
        self.start(repair=True)
        self.running('probe')
        for path in self.state('bundles').iterdir():
            path.unlink()
        self.updater.answers['repair'] = lambda _, files: None if files else self.NEEDS_BUNDLE
        self.updater.drifted['probe'] = [{'kind': 'content', 'path': '/opt/affix/probe/versions/1.0.0/probe'}]
        until(lambda: self.updater.verbs()[1:] == [('repair', 'probe')] * 2)
        self.assertEqual(self.updater.requests[-1][1]['bundle'], b'1.0.0\n')
        self.assertEqual(len(self.server.downloads), 2)

    def test_what_needs_the_bundle_to_be_configured_is_repaired_first_and_once(self):
        self.server.offer(push=False, probe=self.package())
        self.start()
        self.running('probe')
        for path in self.state('bundles').iterdir():
            path.unlink()
        self.updater.answers['configure'] = lambda *_: (
            None if ('repair', 'probe') in self.updater.verbs() else self.NEEDS_BUNDLE)
        self.server.configure({'probe': {'a': 1}})
        self.server.wait(lambda report: report.config_status == 1 and report.config_hash == self.server.config_hash())
        self.assertEqual([verb for verb, _ in self.updater.verbs()], ['install', 'configure', 'repair', 'configure'])
        self.assertEqual(sorted(self.updater.requests[2][1]), ['bundle', 'signature'])
        # A repair that does not help is not repeated.
        self.updater.answers['configure'] = lambda *_: self.NEEDS_BUNDLE
        self.server.configure({'probe': {'a': 2}})
        self.server.wait(lambda report: report.addons.get('probe', {}).get('name') == 'needs-bundle')
        time.sleep(1.5)
        self.assertEqual([verb for verb, _ in self.updater.verbs()][4:], ['configure', 'repair', 'configure'])

    def test_a_bundle_that_was_damaged_while_it_was_kept_is_downloaded_again(self):
        self.updater.answers['install'] = lambda *_: {'outcome': 'refused', 'name': 'bad-signature', 'message': 'no'}
        self.server.offer(push=False, probe=self.package())
        self.start()
        self.server.wait(lambda report: report.packages.get('probe', {}).get('status') == 3)
        for path in self.state('bundles').iterdir():
            path.write_bytes(b'')
        del self.updater.answers['install']
        self.process.send_signal(signal.SIGHUP)
        self.running('probe')
        self.assertEqual((len(self.server.downloads), self.updater.requests[-1][1]['bundle']), (2, b'1.0.0\n'))
        self.assertNotIn('hash-mismatch', self.log.read_text())


class Removal(Case):
    def test_an_unassigned_addon_goes_after_the_delay_and_a_second_connection(self):
        self.server.offer(push=False, probe=self.package())
        self.start()
        self.running('probe')
        connections = self.server.connections
        began = time.monotonic()
        self.server.offer()
        self.updater.wait(lambda: ('uninstall', 'probe') in self.updater.verbs(), 15)
        # Whole seconds count, and the first may have begun before.
        self.assertGreater(time.monotonic() - began, 1)
        self.assertGreater(self.server.connections, connections)
        self.server.wait(lambda report: 8 in report.parts and not report.packages and report.packages_hash)

    def test_all_but_one_waits_for_the_operator(self):
        self.server.offer(push=False, **{name: self.package(more=name.encode()) for name in ('one', 'two', 'three')})
        self.server.configure({}, {'addons': {}})
        self.start()
        for name in ('one', 'two', 'three'):
            self.running(name)
        self.server.offer(one=self.server.packages['one'])
        self.server.wait(lambda report: report.addons.get('two', {}).get('name') == 'mass-removal')
        time.sleep(6)
        self.assertEqual({verb for verb, _ in self.updater.verbs()}, {'install'})
        self.server.configure({}, {'addons': {}, 'confirm_removal': ['two', 'three']})
        self.updater.wait(lambda: ('uninstall', 'three') in self.updater.verbs(), 15)

    def test_a_server_that_says_nothing_of_packages_removes_nothing(self):
        self.updater.put('probe', '1.0.0', 'plan')
        self.start()
        self.server.wait(lambda report: 'probe' in report.packages)
        self.server.drop()
        time.sleep(4)
        self.assertEqual(self.updater.verbs(), [])

    def test_what_the_administrator_installed_stays(self):
        self.updater.put('mine', '1.0.0', 'plan', origin='local')
        self.server.offer(push=False)
        self.start()
        report = self.server.wait(lambda report: 'mine' in report.addons)
        self.assertEqual(report.addons['mine']['origin'], 'local')
        time.sleep(4)
        self.assertEqual(self.updater.verbs(), [])


class Overrides(Case):
    def test_the_administrator_switches_off_and_patches(self):
        if os.getuid() != 0:
            self.skipTest('the file has to be root\'s')
        self.overrides.write_text(json.dumps({'schema': 1, 'addons': {'probe': {'config': {'b': 2}}}}))
        self.server.offer(push=False, probe=self.package())
        self.server.configs = {'probe': {'a': 1}}
        self.start()
        report = self.running('probe')
        self.assertEqual(json.loads(self.updater.requests[0][1]['config']), {'a': 1, 'b': 2})
        self.assertEqual(report.addons['probe']['drift'], ['local-override'])
        self.overrides.write_text(json.dumps({'schema': 1, 'addons': {'probe': {'enabled': False}}}))
        self.process.send_signal(signal.SIGHUP)
        self.updater.wait(lambda: ('uninstall', 'probe') in self.updater.verbs(), 5)
        self.server.wait(lambda report: report.effective == {} and 6 in report.parts)

    def test_a_file_that_others_may_write_or_that_is_broken_is_ignored_and_reported(self):
        self.overrides.write_text('{"schema":1,"addons":{"probe":{"enabled":false}}}')
        self.overrides.chmod(0o666)
        self.server.offer(push=False, probe=self.package())
        self.start()
        self.running('probe')
        self.server.wait(lambda report: not report.healthy and 'root' in report.health_error)
        self.overrides.write_text('{"schema":1,')
        self.overrides.chmod(0o644)
        self.server.wait(lambda report: 'JSON' in report.health_error, 5)
        self.assertNotIn(('uninstall', 'probe'), self.updater.verbs())


class Downloads(Case):
    def bundles(self):
        return {path.name for path in self.state('bundles').iterdir()}

    @staticmethod
    def digests(*versions):
        """Names of what package() made."""
        return {hashlib.sha256(version.encode() + b'\n').hexdigest() for version in versions}

    def test_a_broken_download_is_resumed(self):
        body = b'1.0.0\n' + os.urandom(300000)

        def cut(handler, whole):
            handler.wfile.write(f'HTTP/1.1 200 OK\r\nContent-Length: {len(whole)}\r\n\r\n'.encode() + whole[:200000])
            return False
        self.server.artifact_answers = [cut]
        self.server.offer(push=False, probe=self.server.package('1.0.0', body))
        self.start()
        until(lambda: list((self.state('bundles')).glob('*.part')) and
              next(self.state('bundles').glob('*.part')).stat().st_size == 200000)
        until(lambda: 'download-failed' in self.log.read_text())
        self.process.send_signal(signal.SIGHUP)  # now, and not in half a minute
        self.running('probe')
        self.assertEqual([range_ for _, range_, _ in self.server.downloads], [None, 'bytes=200000-'])

    def test_a_part_of_something_else_is_thrown_away(self):
        package = self.package(more=bytes(100))

        def cut(handler, whole):
            handler.wfile.write(f'HTTP/1.1 200 OK\r\nContent-Length: {len(whole)}\r\n\r\n'.encode() + b'other')
            return False
        self.server.artifact_answers = [cut]
        self.server.offer(push=False, probe=package)
        self.start()
        until(lambda: 'download-failed' in self.log.read_text())
        self.process.send_signal(signal.SIGHUP)
        until(lambda: 'hash-mismatch' in self.log.read_text())
        self.assertEqual(self.updater.verbs(), [])
        self.process.send_signal(signal.SIGHUP)
        self.running('probe')
        self.assertEqual([range_ for _, range_, _ in self.server.downloads], [None, 'bytes=5-', None])

    def test_other_bytes_than_offered_never_reach_the_updater(self):
        package = self.package()
        self.server.artifacts[package['url']] = b'1.0.0\nevil'
        self.server.offer(push=False, probe=package)
        self.start()
        report = self.server.wait(lambda report: report.packages.get('probe', {}).get('status') == 3)
        self.assertIn('SHA-256', report.packages['probe']['error'])
        time.sleep(1.5)
        self.assertEqual((self.updater.verbs(), len(self.server.downloads)), ([], 1))
        self.assertEqual(list(self.state('bundles').iterdir()), [])

    def test_a_file_above_the_bound_is_not_taken(self):
        def endless(handler, _):
            handler.wfile.write(b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n')
            try:
                while True:
                    handler.wfile.write(bytes(65536))
            except OSError:
                return False
        self.server.artifact_answers = [endless]
        self.server.offer(push=False, probe=self.package())
        self.start(downloads={'max_bytes': 1 << 20, 'keep_free_bytes': 0})
        until(lambda: 'too-large' in self.log.read_text())
        self.assertLessEqual(sum(p.stat().st_size for p in self.state('bundles').iterdir()), 1 << 20)

    def test_a_trickle_ends(self):
        def trickle(handler, whole):
            handler.wfile.write(f'HTTP/1.1 200 OK\r\nContent-Length: {len(whole)}\r\n\r\n'.encode())
            with contextlib.suppress(OSError):
                for i in range(len(whole)):
                    handler.wfile.write(whole[i:i + 1])
                    time.sleep(0.2)
            return False
        self.server.artifact_answers = [trickle]
        self.server.offer(push=False, probe=self.package(more=bytes(1000)))
        self.start(downloads={'max_seconds': 2})
        until(lambda: 'download-failed' in self.log.read_text())
        self.assertIn('imeout', self.log.read_text().replace('timed out', 'timeout'))

    def test_a_download_that_becomes_too_slow_is_given_up_and_goes_on_later(self):
        def slow(handler, whole):
            handler.wfile.write(f'HTTP/1.1 200 OK\r\nContent-Length: {len(whole)}\r\n\r\n'.encode() + whole[:50000])
            with contextlib.suppress(OSError):
                for i in range(50000, len(whole)):
                    handler.wfile.write(whole[i:i + 1])
                    time.sleep(0.05)
            return False
        self.server.artifact_answers = [slow]
        self.server.offer(push=False, probe=self.package(more=os.urandom(100000)))
        self.start(downloads={'min_bytes_per_second': 1000, 'slow_seconds': 2})
        until(lambda: 'download-failed' in self.log.read_text())
        self.assertRegex(self.log.read_text(), 'download-failed: .*(too slow|1000 bytes)')
        self.process.send_signal(signal.SIGHUP)
        self.running('probe')
        offset = int(self.server.downloads[1][1].removeprefix('bytes=').removesuffix('-'))
        self.assertGreater(offset, 50000)

    def test_a_redirect_leads_to_http_only(self):
        elsewhere = self.package()
        self.server.artifacts['/artifacts/there'] = self.server.artifacts[elsewhere['url']]

        def redirect(location):
            return lambda handler, _: fleet_server.answer(handler, 302, headers={'Location': location}) or True
        self.server.artifact_answers = [redirect('file:///etc/passwd'), redirect('/artifacts/there')]
        self.server.offer(push=False, probe=elsewhere)
        self.start()
        until(lambda: 'other-origin' in self.log.read_text())
        self.assertEqual(self.updater.verbs(), [])
        self.process.send_signal(signal.SIGHUP)
        self.running('probe')

    def elsewhere(self):
        """Another server, with what the first one's package is."""
        other = fleet_server.Server(self.tls, '127.0.0.2')
        other.__enter__()
        self.addCleanup(other.__exit__)
        package = self.package(headers={'X-Ticket': 'seven'})
        other.artifacts.update(self.server.artifacts)
        return other, package, other.url('http').removesuffix('/v1/opamp')

    def test_another_server_than_its_own_is_asked_for_a_bundle_only_where_the_administrator_says_so(self):
        other, package, origin = self.elsewhere()
        self.server.offer(push=False, probe={**package, 'url': origin + package['url']})
        self.start()
        self.server.wait(lambda report: report.addons.get('probe', {}).get('name') == 'other-origin')
        self.assertIn('downloads.origins', self.log.read_text())
        self.assertEqual((other.downloads, self.server.downloads), ([], []))
        self.config(downloads={'origins': [origin]})
        self.process.send_signal(signal.SIGHUP)
        self.running('probe')
        self.assertEqual(other.downloads[0][2]['x-ticket'], 'seven')

    def test_the_servers_own_machine_is_asked_at_any_port(self):
        other = fleet_server.Server(self.tls)
        other.__enter__()
        self.addCleanup(other.__exit__)
        package = self.package()
        other.artifacts.update(self.server.artifacts)
        self.server.offer(push=False, probe={**package, 'url': other.url('http').removesuffix('/v1/opamp') + package['url']})
        self.start()
        self.running('probe')
        self.assertEqual((len(other.downloads), self.server.downloads), (1, []))

    def test_a_redirect_leads_elsewhere_only_where_the_administrator_says_so_and_takes_no_headers_along(self):
        other, package, origin = self.elsewhere()

        def redirect(handler, _):
            return fleet_server.answer(handler, 302, b'over there' * 10, headers={'Location': origin + package['url']}) or True
        self.server.artifact_answers = [redirect, redirect]
        self.server.offer(push=False, probe=package)
        self.start()
        self.server.wait(lambda report: report.addons.get('probe', {}).get('name') == 'other-origin')
        self.assertEqual((other.downloads, len(self.server.downloads)), ([], 1))
        self.restart(downloads={'origins': [origin]})
        self.running('probe')
        self.assertNotIn('x-ticket', other.downloads[0][2])

    def test_redirects_in_a_circle_end(self):
        package = self.package()
        self.server.artifact_answers = [lambda handler, _: fleet_server.answer(
            handler, 307, headers={'Location': package['url']}) or True] * 9
        self.server.offer(push=False, probe=package)
        self.start()
        until(lambda: 'redirected 4 times' in self.log.read_text())
        self.assertEqual(len(self.server.downloads), 4)

    def test_space_is_looked_at_before_anything_is_written(self):
        self.server.offer(push=False, probe=self.package(more=bytes(100000)))
        self.start(downloads={'keep_free_bytes': 1 << 49})
        until(lambda: 'no-space' in self.log.read_text())
        self.assertEqual(sum(p.stat().st_size for p in self.state('bundles').iterdir()), 0)

    def test_an_expired_url_asks_for_a_fresh_offer(self):
        package = self.package()
        self.server.artifact_answers = [lambda handler, _: fleet_server.answer(handler, 403) or True]
        self.server.offer(push=False, probe=package)
        self.start()
        until(lambda: 'download-refused' in self.log.read_text())
        body = self.server.artifacts.pop(package['url'])
        package['url'] = '/artifacts/fresh'
        self.server.artifacts['/artifacts/fresh'] = body
        # The agent asks after its pause, and says so by a hash that it leaves out.
        self.server.wait(lambda report: 8 in report.parts and not report.packages_hash and 'probe' in report.packages, 60)
        self.running('probe')

    def test_headers_of_the_offer_are_sent_and_the_credential_is_not(self):
        self.server.offer(push=False, probe=self.package(headers={'X-Ticket': 'seven'}))
        self.start()
        self.running('probe')
        headers = self.server.downloads[0][2]
        self.assertEqual(headers['x-ticket'], 'seven')
        self.assertNotIn('authorization', headers)

    @unittest.skipUnless(shutil.which('strace'), 'strace is not installed')
    def test_a_bundle_is_on_disk_before_it_has_its_name(self):
        self.start()
        self.server.wait(lambda report: not report.parts)
        trace = self.directory / 'trace'
        tracer = subprocess.Popen(['strace', '-f', '-y', '-e', 'trace=fsync,fdatasync,rename,renameat,renameat2', '-o', trace,
                                   '-p', str(self.process.pid)], stderr=subprocess.PIPE)
        self.addCleanup(tracer.stderr.close)
        self.assertIn(b'attached', tracer.stderr.readline())
        self.server.offer(probe=self.package())
        self.running('probe')
        self.stop()
        tracer.wait(10)
        calls = [line.split(None, 1)[1] for line in trace.read_text().splitlines() if '/bundles' in line]
        self.assertEqual([call.split('(')[0] for call in calls], ['fsync', 'renameat', 'fsync'], calls)
        self.assertIn('.part>', calls[0])

    def test_bundles_that_nobody_needs_are_removed(self):
        self.server.offer(push=False, probe=self.package('1.0.0'))
        self.start()
        for version in ('1.0.0', '1.1.0', '1.2.0', '1.3.0'):
            self.server.offer(probe=self.package(version))
            self.running('probe', version)
        self.assertEqual(self.bundles(), self.digests('1.2.0', '1.3.0'))
        self.state('bundles').joinpath('0' * 64).write_text('left behind')
        self.restart()
        until(lambda: self.bundles() == self.digests('1.2.0', '1.3.0'))

    def test_a_bundle_that_was_refused_takes_no_space_from_the_next(self):
        there = []

        def look(handler, body):
            there.append(self.bundles())
            fleet_server.answer(handler, 200, body)
            return True
        self.updater.answers['install'] = lambda *_: {'outcome': 'refused', 'name': 'bad-signature', 'message': 'no'}
        self.server.offer(push=False, probe=self.package('1.0.0'))
        self.start()
        self.server.wait(lambda report: report.packages.get('probe', {}).get('status') == 3)
        self.assertEqual(self.bundles(), self.digests('1.0.0'))
        del self.updater.answers['install']
        self.server.artifact_answers = [look]
        self.server.offer(probe=self.package('1.1.0'))
        self.running('probe', '1.1.0')
        self.assertEqual([name for name in there[0] if not name.endswith('.part')], [])


class Bad(Case):
    def test_offers_that_cannot_be_used_are_reported_and_remove_nothing(self):
        self.updater.put('probe', '1.0.0', 'plan')
        bad = self.package()
        bad['version'] = 'latest'
        self.server.offer(push=False, **{'probe': bad, 'Not An Id': self.package()})
        self.start()
        report = self.server.wait(lambda report: report.packages.get('probe', {}).get('status') == 3)
        self.assertIn('semantic version', report.packages['probe']['error'])
        self.assertIn('id of an add-on', report.packages_error)
        time.sleep(3)
        self.assertEqual(self.updater.verbs(), [])

    def test_a_broken_configuration_leaves_the_one_before(self):
        self.server.offer(push=False, probe=self.package())
        self.server.configs = {'probe': {'a': 1}}
        self.start()
        self.running('probe')
        self.server.configure({'probe': b'{"a":'})
        report = self.server.wait(lambda report: report.config_status == 3)
        self.assertIn('probe', report.config_error)
        time.sleep(1.5)
        self.assertEqual(len(self.updater.requests), 1)

    def test_a_configuration_that_the_schema_refuses_is_reported_as_failed(self):
        self.server.offer(push=False, probe=self.package())
        self.start()
        self.running('probe')
        self.updater.answers['configure'] = lambda *_: {
            'outcome': 'refused', 'name': 'bad-config', 'message': "the configuration of 'probe' does not fit: /level"}
        self.server.configure({'probe': {'level': 'x'}})
        report = self.server.wait(lambda report: report.config_status == 3)
        self.assertIn('/level', report.config_error)
        self.assertEqual(report.config_hash, self.server.config_hash())
        del self.updater.answers['configure']
        self.server.configure({'probe': {'level': 1}})
        self.server.wait(lambda report: report.config_status == 1 and report.config_hash == self.server.config_hash())

    def test_damaged_state_is_no_reason_to_stop(self):
        self.state('offer.json').write_text('{"schema":1,"packages":[]}')
        self.state('memory.json').write_text('garbage')
        self.state('instance-uid').write_text('short')
        self.server.offer(push=False, probe=self.package())
        self.start()
        self.running('probe')

    def test_killed_at_any_moment_it_comes_to_the_same(self):
        self.server.offer(push=False, **{name: self.package(more=name.encode() * 1000) for name in ('one', 'two', 'three')})
        self.server.credential = 'secret'
        chance = random.Random(7)
        for _ in range(15):
            self.start()
            time.sleep(chance.random() * 0.4)
            self.stop(signal.SIGKILL)
            for path in (self.state('offer.json'), self.state('memory.json'), self.state('settings.json')):
                if path.exists():
                    json.loads(path.read_text())
        self.start()
        for name in ('one', 'two', 'three'):
            self.running(name)
        time.sleep(1)
        self.assertEqual(sorted(set(self.updater.verbs())), [('install', name) for name in ('one', 'three', 'two')])
        self.assertEqual(len({report.uid for report in self.server.reports}), 1)

    def test_a_wrong_configuration_file_is_explained(self):
        path = self.config(server={'url': 'ftp://x', 'client_key': 'relative'}, labels={'a b': 'c'}, nonsense=True)
        done = subprocess.run([AGENT, '--config', path, '--check-config'], capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        for word in ('wss://', 'client_key', 'absolute path', "label's key", 'nonsense'):
            self.assertIn(word, done.stderr)
        path = self.config(server={'url': 'ws://fleet.example/v1/opamp'})
        done = subprocess.run([AGENT, '--config', path, '--check-config'], capture_output=True, text=True)
        self.assertIn('not encrypted', done.stderr)


class Tls(Case):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory(prefix='affix-agent-tls-')
        cls.addClassCleanup(directory.cleanup)
        cls.files = pathlib.Path(directory.name)
        for name in ('ca', 'other'):
            cls.openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj',
                        f'/CN={name}', '-keyout', f'{name}.key', '-out', f'{name}.pem')
        for name in ('server', 'host'):
            (cls.files / 'extensions').write_text('subjectAltName=IP:127.0.0.1,IP:127.0.0.2')
            cls.openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', f'/CN={name}',
                        '-keyout', f'{name}.key', '-out', f'{name}.csr')
            cls.openssl('x509', '-req', '-in', f'{name}.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-days', '2', '-extfile',
                        'extensions', '-out', f'{name}.pem')
        cls.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        cls.tls.load_cert_chain(cls.files / 'server.pem', cls.files / 'server.key')

    @classmethod
    def openssl(cls, *words):
        subprocess.run(['openssl', *words], cwd=cls.files, check=True, capture_output=True)

    def start(self, ca='ca', **changes):
        server = changes.pop('server', {})
        super().start(server={'ca_file': str(self.files / f'{ca}.pem'), **server}, **changes)

    def test_everything_goes_over_tls(self):
        self.server.offer(push=False, probe=self.package(more=os.urandom(100000)))
        self.start()
        self.assertEqual(self.running('probe').transport, 'websocket')
        count = len(self.server.reports)
        self.restart(server={'transport': 'http'})
        self.server.wait(lambda report: report.transport == 'http', after=count)

    def test_a_server_that_is_not_vouched_for_hears_nothing(self):
        self.start(ca='other')
        until(lambda: 'certificate' in self.log.read_text())
        self.assertEqual((self.server.reports, dict(self.server.authorizations)), ([], {}))

    def at_another_time(self, start, end):
        """The server's certificate is another, valid from *start* to *end* (YYYYMMDDHHMMSSZ)."""
        (self.files / 'ca.conf').write_text(
            '[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n'
            'unique_subject=no\n[p]\ncommonName=supplied\n')
        (self.files / 'index').write_text('')
        (self.files / 'serial').write_text('01\n')
        (self.files / 'extensions').write_text('subjectAltName=IP:127.0.0.1,IP:127.0.0.2')
        self.openssl('ca', '-batch', '-notext', '-config', 'ca.conf', '-cert', 'ca.pem', '-keyfile', 'ca.key', '-in', 'server.csr',
                     '-extfile', 'extensions', '-startdate', start, '-enddate', end, '-out', 'other-time.pem')
        self.tls.load_cert_chain(self.files / 'other-time.pem', self.files / 'server.key')
        self.addCleanup(self.tls.load_cert_chain, self.files / 'server.pem', self.files / 'server.key')

    def test_a_certificate_that_is_not_valid_yet_asks_for_the_clock(self):
        self.at_another_time('20480101000000Z', '20490101000000Z')
        self.start()
        until(lambda: "the server's certificate is not valid yet" in self.log.read_text())
        self.assertIn('clock', self.log.read_text())
        self.assertEqual((self.server.reports, dict(self.server.authorizations)), ([], {}))

    def test_a_certificate_that_has_expired_says_so(self):
        self.at_another_time('20200101000000Z', '20210101000000Z')
        self.start()
        until(lambda: "the server's certificate has expired" in self.log.read_text())
        self.assertEqual((self.server.reports, dict(self.server.authorizations)), ([], {}))

    def test_a_client_certificate_is_shown(self):
        self.tls.verify_mode = ssl.CERT_REQUIRED
        self.tls.load_verify_locations(self.files / 'ca.pem')
        self.addCleanup(setattr, self.tls, 'verify_mode', ssl.CERT_NONE)
        self.start(server={'client_certificate': str(self.files / 'host.pem'), 'client_key': str(self.files / 'host.key')})
        self.server.wait(lambda report: True)

    def test_an_idle_agent_is_small_and_still(self):
        self.server.offer(push=False, probe=self.package())
        self.start(intervals={'heartbeat_seconds': 30, 'status_seconds': 60, 'drift_seconds': 900})
        self.running('probe')
        time.sleep(3)
        process = pathlib.Path('/proc') / str(self.process.pid)
        if b'libasan' in (process / 'maps').read_bytes():
            self.skipTest('a sanitizer has memory of its own')
        private = sum(int(line.split()[1]) for line in (process / 'smaps_rollup').read_text().splitlines()
                      if line.startswith(('Private_Clean', 'Private_Dirty')))

        def switches():
            return sum(int(line.split()[1]) for line in (process / 'status').read_text().splitlines() if 'ctxt_switches' in line)
        before = switches()
        time.sleep(5)
        self.assertLessEqual(switches() - before, 2)
        print(f'private memory: {private} KiB', file=sys.stderr)
        self.assertLessEqual(private, 6 * 1024)


# What runs beside each other: each group is a test of its own, `rest` whatever no other has.
GROUPS = {'server': [Joining, Transport, Reload, Proxy, Tls], 'disk': [Disk, Removal, Overrides]}


def group(name):
    others = [case for cases in GROUPS.values() for case in cases]
    cases = GROUPS.get(name) or [case for case in Case.__subclasses__() if case not in others]
    return [case.__name__ for case in cases]


if __name__ == '__main__':
    if sys.argv[1:] and sys.argv[1] in (*GROUPS, 'rest'):
        sys.argv[1:2] = group(sys.argv[1])
    unittest.main(verbosity=2)
