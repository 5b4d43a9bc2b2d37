#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`affix fleet` against a real affixd, as an operator and a script use it; and the command line of affixd."""

import http.client
import json
import os
import re
import subprocess
import sys
import time
import unittest

from fleet import AFFIX, AFFIXD, Workshop, scratch, start, wait_for
from opamp import SocketAgent, credential_of, describe


class Command(unittest.TestCase):
    def setUp(self):
        self.server = start(self)
        self.directory = scratch(self)
        self.environment = {**os.environ, 'HOME': str(self.directory), 'AFFIX_SERVER': self.server.url,
                            'AFFIX_TOKEN_FILE': str(self.server.data / 'admin-token')}
        self.environment.pop('XDG_CONFIG_HOME', None)

    def fleet(self, *words, code=0, **environment):
        done = subprocess.run([AFFIX, 'fleet', *map(str, words)], text=True, capture_output=True, timeout=60,
                              env={**self.environment, **environment})
        self.assertEqual(done.returncode, code, (words, done.stdout, done.stderr))
        if code:
            self.assertRegex(done.stderr, r'\A[a-z-]+: [^\n]+\n\Z')
            self.assertEqual(done.stdout, '')
            return done.stderr
        self.assertEqual(done.stderr, '')
        return done.stdout

    def json(self, *words):
        answer = json.loads(self.fleet(*words, '--json'))
        self.assertEqual(answer['schema'], 1)
        return answer

    def rows(self, *words):
        lines = self.fleet(*words).splitlines()
        return [re.split(r'  +', line) for line in lines[1:]]

    def enrol(self, name, **labels):
        token = self.fleet('token', 'create', f'for-{time.monotonic_ns()}', '--uses', '1', '--expires', '1h').strip()
        self.assertRegex(token, r'\Aaffix-join-\S{43}\Z')
        facts = describe(labels, **{'host.name': name})
        first = SocketAgent(self.server.address, authorization=f'Bearer {token}')
        credential = credential_of(first.ask(agent_description=facts))
        first.close()
        agent = SocketAgent(self.server.address, authorization=credential, uid=first.uid)
        self.addCleanup(agent.close)
        agent.ask(agent_description=facts)
        return agent

    def test_from_a_bundle_to_hosts_and_back(self):
        workshop = Workshop(scratch(self))
        self.server.trust(workshop)
        bundle = workshop.bundle('1.0.0')
        self.enrol('web-1', env='prod')
        self.enrol('web-2', env='test')
        self.assertEqual(self.fleet('packages'), 'no package is imported\n')
        self.assertEqual(self.fleet('import', bundle), 'sensor 1.0.0: imported\n')
        self.assertIn('not-approved: ', self.fleet('assign', 'sensor', '1.0.0', '--selector', 'env=prod', code=1))
        shown = dict(line.split(None, 1) for line in self.fleet('packages', 'sensor', '1.0.0').split('\n\n')[0].splitlines())
        seen = ('--capabilities', 'cap_net_raw', '--revision', shown['revision'])
        self.assertEqual(self.fleet('approve', 'sensor', '1.0.0', *seen), 'approved: linux/amd64\n')
        self.assertEqual(self.rows('packages')[0][:3], ['sensor', '1.0.0', 'approved'])
        other = workshop.bundle(arch='arm64')
        self.assertIn("waits for 'affix fleet approve'", self.fleet('import', other))
        self.assertIn('package-changed: ', self.fleet('approve', 'sensor', '1.0.0', *seen, code=1))
        self.assertEqual(self.fleet('approve', 'sensor', '1.0.0', '--capabilities', 'cap_net_raw'), 'approved: linux/amd64, linux/arm64\n')
        self.assertEqual(self.fleet('import', other), 'sensor 1.0.0: approved\n')
        config = self.directory / 'config.json'
        config.write_text('{"interval": 0}')
        said = self.fleet('assign', 'sensor', '1.0.0', '--selector', 'env=prod', '--config', config, code=1)
        self.assertIn('/config/interval', said)
        config.write_text('{"interval": 5}')
        made = self.fleet('assign', 'sensor', '1.0.0', '--selector', 'env=prod', '--config', config, '--priority', '3')
        number = re.fullmatch(r'assignment (\d+)\n', made)[1]
        self.assertEqual(self.json('assignments')['items'][0]['priority'], 3)
        self.assertEqual([row[:2] for row in self.rows('status')], [['web-1', 'sensor']])
        self.assertIn('assigned-not-installed', self.fleet('drift'))
        self.assertIn('offered', self.fleet('explain', 'web-1', 'sensor'))
        self.assertIn('not-assigned', self.fleet('explain', 'web-2', 'sensor'))
        self.assertIn('env=prod', self.fleet('hosts', 'web-1'))
        self.assertEqual([row[1] for row in self.rows('hosts', '--selector', 'env=test')], ['web-2'])
        self.assertIn('unassigned', self.fleet('unassign', number))
        self.assertEqual(self.fleet('assignments'), 'nothing is assigned\n')
        self.fleet('revoke', 'sensor', '1.0.0', '--reason', 'too old')
        self.assertEqual(self.json('packages', 'sensor', '1.0.0')['reason'], 'too old')
        self.fleet('revoke', '--host', 'web-2')
        self.assertEqual([row[1] for row in self.rows('hosts')], ['web-1'])
        actions = {entry['action'] for entry in self.json('audit')['items']}
        self.assertLessEqual({'enrol', 'import', 'approve', 'create', 'revoke'}, actions)

    def test_assignment_changes_only_in_what_is_named(self):
        workshop = Workshop(scratch(self))
        self.server.trust(workshop)
        for version in ('1.0.0', '1.1.0'):
            self.fleet('import', workshop.bundle(version))
            self.fleet('approve', 'sensor', version)
        self.enrol('web-1', env='prod')
        config = self.directory / 'config.json'
        config.write_text('{"interval": 5}')
        number = self.fleet('assign', 'sensor', '1.0.0', '--selector', 'env=prod', '--config', config, '--priority', '3',
                            '--disabled').split()[1]

        def shown():
            return self.json('assignments')['items'][0]

        before = shown()
        self.assertFalse(before['enabled'])
        self.assertEqual(self.fleet('assign', '--id', number, '1.1.0', '--enabled'), 'changed\n')
        after = shown()
        self.assertEqual((after['version'], after['enabled']), ('1.1.0', True))
        same = ('id', 'addon', 'selector', 'host', 'config', 'capabilities', 'limits', 'priority', 'created')
        self.assertEqual({key: after[key] for key in same}, {key: before[key] for key in same})
        entry = self.json('audit')['items'][0]
        self.assertEqual((entry['action'], entry['object']), ('change', f'assignment {number}'))
        self.assertEqual((entry['before'], entry['after']), (before, after))
        self.assertEqual(self.json('assign', '--id', number, '--host', 'web-1')['selector'], None)
        self.assertEqual(shown()['host'], self.json('hosts', 'web-1')['id'])

        config.write_text('{"interval": 0}')
        kept = shown()
        for words, said in ((('--config', config), '/config/interval'), (('9.9.9',), 'not-approved: '),
                            (('--selector', 'env=('), 'bad-selector: '), (('--limit', 'none=1'), '/limits/none')):
            with self.subTest(words):
                self.assertIn(said, self.fleet('assign', '--id', number, *words, code=1))
                self.assertEqual(shown(), kept)
        self.assertIn('not-found: ', self.fleet('assign', '--id', '4711', '--priority', '1', code=1))
        for words in ((), ('--host', 'web-1', '--selector', ''), ('--enabled', '--disabled'), ('sensor', '1.0.0')):
            with self.subTest(words):
                self.assertIn('usage: ', self.fleet('assign', '--id', number, *words, code=2))
        self.assertIn('usage: ', self.fleet('assign', '--id', 'x', '1.0.0', code=2))

    def test_rollout_is_started_paused_resumed_and_aborted(self):
        workshop = Workshop(scratch(self))
        self.server.trust(workshop)
        for version in ('1.0.0', '1.1.0'):
            self.fleet('import', workshop.bundle(version))
            self.fleet('approve', 'sensor', version)
        for i in range(4):
            self.enrol(f'web-{i}', env='prod')
        number = self.fleet('assign', 'sensor', '1.0.0', '--selector', 'env=prod').split()[1]
        made = self.fleet('rollout', 'start', number, '1.1.0', '--waves', '1,50%,100%', '--wait', '5m', '--timeout', '1h',
                          '--max-failures', '1', '--revert')
        rollout = re.fullmatch(r'rollout (\d+)\n', made)[1]
        shown = self.json('rollout')['items'][0]
        self.assertEqual((shown['wait_seconds'], shown['timeout_seconds'], shown['revert']), (300, 3600, True))
        self.assertEqual(shown['waves'], [1, '50%', '100%'])
        for verb, state in (('pause', 'paused'), ('resume', 'running'), ('abort', 'aborted')):
            self.fleet('rollout', verb, rollout)
            self.assertEqual(self.json('rollout')['items'][0]['state'], state)
        self.assertIn(': ', self.fleet('rollout', 'pause', rollout, code=1))

    def test_rollout_is_shown_with_its_hosts(self):
        workshop = Workshop(scratch(self))
        self.server.trust(workshop)
        for version in ('1.0.0', '1.1.0'):
            self.fleet('import', workshop.bundle(version))
            self.fleet('approve', 'sensor', version)
        names = [f'web-{i}' for i in range(3)]
        for name in names:
            self.enrol(name, env='prod')
        number = self.fleet('assign', 'sensor', '1.0.0', '--selector', 'env=prod').split()[1]
        rollout = self.fleet('rollout', 'start', number, '1.1.0', '--waves', '1,3', '--timeout', '1h').split()[1]
        shown = self.json('rollout', 'show', rollout)
        self.assertEqual((shown['rollout']['state'], shown['rollout']['to_version']), ('running', '1.1.0'))
        self.assertEqual(sorted(host['host_name'] for host in shown['items']), names)
        self.assertEqual(sorted(host['wave'] for host in shown['items']), [1, 2, 2])
        for host in shown['items']:
            self.assertEqual((host['outcome'], host['running']), ('waiting', None))
            self.assertEqual(host['since'], shown['rollout']['wave_started'] if host['wave'] == 1 else None)
        text = self.fleet('rollout', 'show', rollout)
        self.assertIn('1.1.0', text)
        for name in names:
            self.assertRegex(text, rf'(?m)^{name} +[12] +waiting ')
        self.assertEqual(self.json('rollout', 'show', rollout, '--state', 'failed')['items'], [])
        self.assertIn('not-found: ', self.fleet('rollout', 'show', '4711', code=1))
        self.assertIn('usage: ', self.fleet('rollout', 'show', code=2))

    def test_roles_bound_what_a_token_can(self):
        for role in ('viewer', 'operator'):
            path = self.directory / role
            path.write_text(self.fleet('token', 'create', f'a-{role}', '--role', role))
        self.fleet('hosts', '--token-file', self.directory / 'viewer')
        self.assertIn('forbidden: ', self.fleet('revoke', 'sensor', '1.0.0', '--token-file', self.directory / 'viewer', code=1))
        self.assertIn('forbidden: ', self.fleet('token', '--token-file', self.directory / 'operator', code=1))
        self.assertEqual(self.upload_begun_by('viewer'), 403)
        number = next(row[0] for row in self.rows('token', 'list', '--role', 'any') if row[1] == 'a-viewer')
        self.fleet('token', 'revoke', number, '--role', 'viewer')
        self.assertIn('unauthorized: ', self.fleet('hosts', '--token-file', self.directory / 'viewer', code=1))

    def upload_begun_by(self, role):
        """The answer to the head of an upload, of which nothing is sent."""
        connection = http.client.HTTPConnection(*self.server.address, timeout=10)
        self.addCleanup(connection.close)
        connection.putrequest('POST', '/api/v1/packages?signature=x')
        connection.putheader('Authorization', f'Bearer {(self.directory / role).read_text().split()[-1]}')
        connection.putheader('Content-Type', 'application/octet-stream')
        connection.putheader('Content-Length', '1000000')
        connection.endheaders()
        return connection.getresponse().status

    def test_watch_tells_what_changes(self):
        workshop = Workshop(scratch(self))
        self.server.trust(workshop)
        self.server.publish(workshop.bundle())
        self.enrol('web-1', env='prod')
        watch = subprocess.Popen([AFFIX, 'fleet', 'watch', '--interval', '1', '--json'], env=self.environment, text=True,
                                 stdout=subprocess.PIPE)
        self.addCleanup(watch.wait)
        self.addCleanup(watch.kill)
        self.addCleanup(watch.stdout.close)
        time.sleep(0.5)
        number = self.fleet('assign', 'sensor', '1.0.0', '--selector', 'env=prod').split()[1]
        line = json.loads(watch.stdout.readline())
        self.assertEqual((line['host_name'], line['addon'], line['wanted']), ('web-1', 'sensor', '1.0.0'))
        self.fleet('unassign', number)
        self.assertEqual(json.loads(watch.stdout.readline())['state'], 'gone')

    def test_configuration_file_stands_behind_environment_and_options(self):
        directory = self.directory / '.config' / 'affix'
        directory.mkdir(parents=True)
        config = directory / 'fleet.yaml'
        config.write_text(f'server: {self.server.url}/\ntoken_file: {self.server.data}/admin-token\n')
        plain = {'AFFIX_SERVER': '', 'AFFIX_TOKEN_FILE': ''}
        self.assertEqual(self.fleet('hosts', **plain), 'no host is enrolled\n')
        self.assertIn('unreachable: ', self.fleet('hosts', AFFIX_SERVER='http://127.0.0.1:1', code=4))
        self.assertEqual(self.fleet('hosts', '--server', self.server.url, AFFIX_SERVER='http://127.0.0.1:1'),
                         'no host is enrolled\n')
        config.write_text('sever: x\n')
        self.assertRegex(self.fleet('hosts', code=1), r'fleet\.yaml:1:1: ')

    def test_wrong_use_is_said_before_anything_is_asked(self):
        nowhere = {'AFFIX_SERVER': 'http://127.0.0.1:1'}
        for words in ((), ('frobnicate',), ('hosts', 'a', 'b'), ('hosts', '--waves', '1'), ('assign', 'sensor'),
                      ('explain', 'web-1')):
            with self.subTest(words):
                self.assertIn('usage: ', self.fleet(*words, code=2, **nowhere))
        for words in (('assign', 'sensor', '1.0.0'), ('revoke',), ('revoke', 'a'), ('rollout', 'start', 'x', '1'),
                      ('token', 'create'), ('token', 'frobnicate'), ('packages', 'sensor'),
                      ('token', 'create', 'x', '--expires', '5 years'), ('watch', '--interval', 'often')):
            with self.subTest(words):
                self.assertIn('usage: ', self.fleet(*words, code=2))

    def test_what_hosts_say_is_printed_safely(self):
        self.enrol('web-1', env='prod')
        agent = self.enrol('web\x1b[2J\n2', env='prod')
        agent.ask(health={'healthy': False, 'last_error': 'a\x1b]0;title\x07b'})
        shown = wait_for(lambda: (text := self.fleet('hosts', '2')) and 'title' in text and text, what='the error')
        self.assertNotIn('\x1b', shown + self.fleet('hosts'))


class Daemon(unittest.TestCase):
    def affixd(self, *words):
        return subprocess.run([AFFIXD, *map(str, words)], text=True, capture_output=True, timeout=20)

    def test_help_and_version(self):
        self.assertEqual(self.affixd('--help').returncode, 0)
        self.assertIn('--data DIR', self.affixd('serve', '--help').stdout)
        self.assertRegex(self.affixd('--version').stdout, r'\Aaffixd \d')

    def test_wrong_use(self):
        for words in ((), ('frobnicate',), ('serve', '--frobnicate'), ('serve', '--data'), ('serve', 'operand'),
                      ('serve', '--data', '/x', '--fronts', '0')):
            with self.subTest(words):
                done = self.affixd(*words)
                self.assertEqual((done.returncode, done.stdout), (2, ''))
                self.assertRegex(done.stderr, r'\Ausage: ')

    def test_check_config_says_all_that_is_wrong(self):
        directory = scratch(self)
        config = directory / 'affixd.yaml'
        config.write_text('fronts: many\nunknown: 1\n')
        done = self.affixd('serve', '--check-config', '--config', config, '--data', directory)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f'{config}:1:', done.stderr)
        self.assertIn(f'{config}:2:', done.stderr)
        config.write_text('audit_keep_days: -1\n')
        done = self.affixd('serve', '--check-config', '--config', config, '--data', directory)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r'affixd\.yaml:1:\d+: .*audit_keep_days')
        config.write_text('heartbeat_seconds: 20\nstale_seconds: 20\n')
        done = self.affixd('serve', '--check-config', '--config', config, '--data', directory)
        self.assertEqual(done.returncode, 1)
        self.assertIn('stale_seconds', done.stderr)
        os.mkfifo(directory / 'pipe')
        config.write_text(f'tls_certificate: {directory}/pipe\ntls_key: {directory}/pipe\n')
        done = self.affixd('serve', '--check-config', '--config', config, '--data', directory)
        self.assertEqual(done.returncode, 1)
        self.assertIn('is no regular file', done.stderr)
        config.write_text('listen: "127.0.0.1:0"\naudit_keep_days: 30\n')
        self.assertEqual(self.affixd('serve', '--check-config', '--config', config, '--data', directory).returncode, 0)
        self.assertFalse((directory / 'affixd.db').exists())
        done = self.affixd('serve', '--check-config', '--config', directory / 'none', '--data', directory)
        self.assertEqual(done.returncode, 1)
        self.assertIn('none', done.stderr)

    def test_what_keeps_it_from_starting_is_said(self):
        directory = scratch(self)
        for words, said in ((('--listen', '192.0.2.1:1'), '192.0.2.1:1'), (('--listen', 'nowhere'), 'nowhere'),
                            (('--data', '/proc/1/nothing'), '/proc/1/nothing'), (('--trust', '/nowhere'), '/nowhere')):
            with self.subTest(words):
                done = self.affixd('serve', '--data', directory, '--listen', '127.0.0.1:0', *words)
                self.assertEqual(done.returncode, 1)
                self.assertIn(said, done.stderr)

    def test_damaged_database_is_said_and_left_alone(self):
        directory = scratch(self)
        (directory / 'affixd.db').write_bytes(b'SQLite format 3\0' + os.urandom(8192))
        before = (directory / 'affixd.db').read_bytes()
        done = self.affixd('serve', '--data', directory, '--listen', '127.0.0.1:0')
        self.assertEqual(done.returncode, 1)
        self.assertIn('affixd store: ', done.stderr)
        self.assertEqual((directory / 'affixd.db').read_bytes(), before)


if __name__ == '__main__':
    sys.exit(unittest.main(verbosity=2))
