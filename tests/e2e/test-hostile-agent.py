#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The agent in hostile hands: whatever it says to the updater, it gets no more than docs/THREATS.md grants it, breaks
nothing, and does not keep the administrator waiting."""

import contextlib
import json
import os
import signal
import socket
import threading
import time

import agent
import hanging
import live

INSTALL = {'verb': 'install', 'fds': ['bundle', 'signature']}
# How long an administrator's question may take while the agent misbehaves, on a busy machine.
PATIENCE = 10


class Hostile(live.Case):
    def setUp(self):
        self.agent = agent.Agent(self.host)
        self.addCleanup(os.close, self.agent.directory)

    def assertAnswered(self):
        """The administrator gets an answer, soon."""
        before = time.monotonic()
        self.assertDone(self.affix('status'))
        self.assertLess(time.monotonic() - before, PATIENCE)

    def assertNamed(self, reply, *names):
        self.assertIsNotNone(reply, 'no answer')
        self.assertEqual(reply['outcome'], 'refused', reply)
        self.assertIn(reply['name'], names, reply)

    def files(self, bundle):
        return [bundle, f'{bundle}.minisig']

    def push(self, addon, header=None):
        """An install as the agent asks for one."""
        bundle = self.work.bundle(addon)
        return self.agent.ask({**INSTALL, **(header or {})}, self.files(bundle))

    def snapshot(self):
        """Everything that the updater keeps and makes, as find and sha256sum see it."""
        return self.host.shell(
            'cd / && find opt/affix etc/affix etc/systemd/system etc/sysusers.d etc/tmpfiles.d var/lib/affix/updater '
            '-printf "%p %y %m %U %G %l\\n" | sort; find opt/affix etc/affix var/lib/affix/updater -type f '
            '-exec sha256sum {} + | sort').stdout


class Doors(Hostile):
    def test_the_administrators_socket_is_closed_to_the_agent(self):
        with self.assertRaises(PermissionError):
            self.agent.connect('admin.sock')

    def test_both_sockets_are_closed_to_other_users(self):
        nobody = agent.Agent(self.host, 'nobody')
        self.addCleanup(os.close, nobody.directory)
        for name in ('updater.sock', 'admin.sock'):
            with self.assertRaises(PermissionError):
                nobody.connect(name)

    def test_the_agent_can_neither_read_nor_write_what_the_updater_keeps(self):
        for command in ('ls /var/lib/affix/updater', 'touch /opt/affix/x', 'touch /run/affix/x', 'touch /etc/affix/x',
                        'touch /etc/systemd/system/x.service', 'rm /run/affix/updater.sock'):
            with self.subTest(command):
                self.assertNotEqual(self.host.run(['sh', '-c', command], user='affix').returncode, 0)

    def test_every_verb_and_member_of_the_administrator_is_denied(self):
        self.assertDone(self.install(self.addon('deny', '1.0.0')))
        self.assertDone(self.affix('hold', 'deny', '--reason', 'mine'))
        before = self.snapshot()
        bundle = self.work.bundle(self.addon('deny', '1.1.0'))
        for header in (
            {'verb': 'prune', 'id': 'deny'},
            {'verb': 'clear-quarantine', 'id': 'deny'},
            {'verb': 'hold', 'id': 'deny'},
            {'verb': 'hold', 'id': 'deny', 'release': True},
            {'verb': 'hold', 'id': 'deny', 'stop': True},
            {'verb': 'rollback', 'id': 'deny', 'version': '1.0.0'},
            {'verb': 'uninstall', 'id': 'deny', 'purge': True},
        ):
            with self.subTest(header):
                self.assertNamed(self.agent.ask(header), 'forbidden')
        self.assertNamed(self.agent.ask({**INSTALL, 'allow_downgrade': True}, self.files(bundle)), 'forbidden')
        for verb in ('exec', 'release', 'Install', 'install ', '', 'recover', 'settle', 'admin'):
            with self.subTest(verb):
                self.assertNamed(self.agent.ask({'verb': verb}), 'unknown-verb')
        self.assertEqual(self.snapshot(), before)

    def test_what_the_administrator_holds_protects_or_installed_stays(self):
        self.assertDone(self.install(self.addon('mine', '1.0.0')))
        self.assertNamed(self.agent.ask({'verb': 'uninstall', 'id': 'mine'}), 'forbidden')
        self.assertEqual(self.push(self.addon('theirs', '1.0.0'))['outcome'], 'done')
        self.assertDone(self.affix('hold', 'theirs', '--reason', 'look at it'))
        for header in ({'verb': 'uninstall', 'id': 'theirs'}, {'verb': 'rollback', 'id': 'theirs'},
                       {'verb': 'configure', 'id': 'theirs', 'use_running': True}, {'verb': 'repair', 'id': 'theirs'}):
            with self.subTest(header):
                self.assertNamed(self.agent.ask(header), 'held')
        self.assertNamed(self.push(self.addon('theirs', '1.1.0')), 'held')
        self.assertDone(self.affix('hold', 'theirs', '--release'))
        policy = self.host.path('/etc/affix/updater.yaml')
        policy.write_text('protected: [theirs]\n')
        self.addCleanup(policy.unlink)
        config = agent.memfd(b'{}')
        self.addCleanup(os.close, config)
        self.assertNamed(self.agent.ask({'verb': 'uninstall', 'id': 'theirs'}), 'protected')
        self.assertNamed(self.agent.ask({'verb': 'configure', 'id': 'theirs', 'fds': ['config']}, [config]), 'protected')
        # Nor by an install of what is there, with another configuration, or of another version with one.
        other = agent.memfd(b'{"level": 5}')
        self.addCleanup(os.close, other)
        for version in ('1.0.0', '1.1.0'):
            files = self.files(self.work.bundle(self.addon('theirs', version)))
            header = {'verb': 'install', 'fds': ['bundle', 'signature', 'config']}
            self.assertNamed(self.agent.ask(header, [*files, other]), 'protected')
        self.assertNamed(self.agent.ask({**INSTALL, 'limits': {'tasks_max': 5}},
                                        self.files(self.work.bundle(self.addon('theirs', '1.0.0')))), 'protected')
        self.assertRuns('theirs', '1.0.0')
        self.assertEqual(self.agent.ask(header, [*files, config])['outcome'], 'done')
        self.assertRuns('theirs', '1.1.0')
        self.assertRuns('mine', '1.0.0')


    def test_what_the_administrator_masked_stays_off(self):
        for version in ('1.0.0', '1.1.0'):
            self.assertEqual(self.push(self.addon('masked', version))['outcome'], 'done')
        self.host.shell('ln -sf /dev/null /etc/systemd/system/affix-masked.service && systemctl daemon-reload'
                        ' && systemctl stop affix-masked.service', check=True)
        config = agent.memfd(b'{"level": 4}')
        self.addCleanup(os.close, config)
        for header in ({'verb': 'repair'}, {'verb': 'rollback'}, {'verb': 'configure', 'fds': ['config']}):
            with self.subTest(header):
                self.assertNamed(self.agent.ask({**header, 'id': 'masked'}, [config] if 'fds' in header else []), 'held')
        self.assertNamed(self.push(self.addon('masked', '1.2.0')), 'held')
        self.assertEqual(self.show('affix-masked.service', 'ActiveState'), 'inactive')
        self.assertEqual(self.show('affix-masked.service', 'LoadState'), 'masked')
        self.assertDone(self.affix('repair', 'masked'))
        self.assertRuns('masked', '1.1.0')
        self.host.shell('ln -sf ../../../dev/null /etc/systemd/system/affix-masked.service && systemctl daemon-reload'
                        ' && systemctl stop affix-masked.service', check=True)
        self.assertEqual(self.agent.ask({'verb': 'uninstall', 'id': 'masked'})['outcome'], 'done')
        self.assertNamed(self.push(self.addon('masked', '1.2.0')), 'foreign-file')
        self.assertEqual(self.show('affix-masked.service', 'LoadState'), 'masked')


class Messages(Hostile):
    def test_malformed_headers_are_refused_by_name(self):
        deep = '{"schema":1,"verb":"status","request_id":' + '[' * 5000 + ']' * 5000 + '}'
        for text in ('GET / HTTP/1.1\r\n\r\n', '[]', '{', '{"schema":1,"verb":"status"}{}', deep, '\x00' * 100,
                     '{"schema":1,"verb":"status","verb":"prune"}', '{"schema":2,"verb":"status"}',
                     '{"schema":1,"verb":"status","path":"/etc/shadow"}', '{"schema":1,"verb":"status","id":"../x"}',
                     '{"schema":1,"verb":"status","id":"a\\u0000b"}', b'{"schema":1,"verb":"status","id":"\xff"}',
                     '{"schema":1,"verb":"status"}' + ' ' * 20000, ' ' * 100000):
            with self.subTest(text[:40]):
                self.assertNamed(self.agent.ask(text), 'bad-request')
        self.assertAnswered()

    def test_descriptors_that_are_no_files_are_refused_by_name(self):
        read, write = os.pipe()
        sender, receiver = socket.socketpair()
        sparse = agent.memfd(size=(1 << 30) + 1)
        writable = agent.memfd(b'x')
        write_only = os.open(f'/proc/self/fd/{writable}', os.O_WRONLY)
        bad = [os.open('/', os.O_RDONLY), os.open('/etc/passwd', os.O_PATH), os.open('/dev/zero', os.O_RDONLY),
               os.open('/dev/full', os.O_RDWR), os.eventfd(0), read, write, sender.detach(), receiver.detach(), sparse,
               write_only, os.open('/proc/self/mem', os.O_RDONLY)]
        signature = agent.memfd(b'untrusted comment: x\n')
        for descriptor in bad[:-1]:
            with self.subTest(os.readlink(f'/proc/self/fd/{descriptor}')):
                self.assertNamed(self.agent.ask(INSTALL, [descriptor, signature]), 'bad-descriptor')
        # A file of /proc calls itself regular; it is no bundle either.
        reply = self.agent.ask(INSTALL, [bad[-1], signature])
        self.assertIn(reply['outcome'], ('refused', 'failed'), reply)
        for count in (0, 1, 3, 4, 16, 250):
            with self.subTest(f'{count} descriptors'):
                self.assertNamed(self.agent.ask(INSTALL, [signature] * count), 'bad-descriptor')
        for descriptor in [*bad, signature, writable]:
            os.close(descriptor)
        self.assertAnswered()

    def test_a_signature_or_configuration_of_another_size_than_any_is_refused(self):
        bundle = self.work.bundle(self.addon('sizes', '1.0.0'))
        signature, config = agent.memfd(size=4097), agent.memfd(size=(256 << 10) + 1)
        self.assertNamed(self.agent.ask(INSTALL, [bundle, signature]), 'bad-descriptor')
        self.assertNamed(self.agent.ask({'verb': 'install', 'fds': ['bundle', 'signature', 'config']},
                                        [*self.files(bundle), config]), 'bad-descriptor')
        os.close(signature)
        os.close(config)

    def test_bytes_that_change_while_they_are_verified_are_never_installed(self):
        addon = self.addon('shift', '1.0.0')
        binary = self.work.binary(addon)
        bundle = self.work.bundle(addon, binary=binary)
        good = bundle.read_bytes()
        shifting = agent.memfd(good)
        stop = threading.Event()

        def flip():
            at = len(good) // 2
            while not stop.is_set():
                os.pwrite(shifting, bytes([good[at] ^ 1]), at)
                os.pwrite(shifting, good[at:at + 1], at)

        thread = threading.Thread(target=flip)
        thread.start()
        try:
            for _ in range(6):
                reply = self.agent.ask(INSTALL, [shifting, f'{bundle}.minisig'])
                if reply['outcome'] == 'refused':
                    self.assertNamed(reply, 'bad-signature')
                else:
                    self.assertEqual(reply['outcome'], 'done')
                    installed = self.host.path('/opt/affix/shift/versions/1.0.0/shift').read_bytes()
                    self.assertEqual(installed, binary.read_bytes())
        finally:
            stop.set()
            thread.join()
            os.close(shifting)

    def test_a_descriptor_that_another_process_moves_is_read_from_its_beginning(self):
        bundle = self.work.bundle(self.addon('moved', '1.0.0'))
        with open(bundle, 'rb') as file:
            file.seek(0, os.SEEK_END)
            self.assertEqual(self.agent.ask(INSTALL, [file, f'{bundle}.minisig'])['outcome'], 'done')


class Floods(Hostile):
    def setUp(self):
        super().setUp()
        self.until(self.idle, 30)

    def idle(self):
        return self.show('affix-updater.socket', 'NConnections') == '0'

    def test_silent_connections_are_given_up_and_do_not_keep_the_administrator_waiting(self):
        with contextlib.ExitStack() as held:
            before = time.monotonic()
            silent = [held.enter_context(self.agent.connect()) for _ in range(16)]
            # One more than there may be is closed without an answer.
            self.assertIsNone(self.agent.ask({'verb': 'status'}))
            self.assertAnswered()
            for connection in silent:
                self.assertNamed(self.agent.receive(connection), 'timeout')
            self.assertLess(time.monotonic() - before, 5 + PATIENCE)
        self.until(lambda: self.agent.ask({'verb': 'status'}))

    def test_a_flood_of_connections_switches_nothing_off(self):
        for _ in range(400):
            self.agent.connect().close()
        self.assertAnswered()
        self.assertEqual(self.show('affix-updater.socket', 'ActiveState'), 'active')
        self.assertEqual(self.until(lambda: self.agent.ask({'verb': 'status'}))['outcome'], 'done')
        self.assertTrue(self.until(self.idle, 30))
        units = self.host.run(['systemctl', 'list-units', '--all', '--plain', '--no-legend', 'affix-updater@*']).stdout
        self.assertEqual(units, '')

    def test_message_bombs_leave_the_updater_small_and_the_administrator_served(self):
        sparse = agent.memfd(size=1 << 30)
        signature = agent.memfd(b'\n' * 4096)
        with contextlib.ExitStack() as held:
            for _ in range(8):
                connection = held.enter_context(self.agent.connect())
                self.agent.send(connection, INSTALL, [sparse, signature])
            self.assertAnswered()
        os.close(sparse)
        os.close(signature)

    def test_files_that_hang_whoever_reads_them_keep_no_place_for_ever(self):
        if hanging.unavailable():
            self.skipTest(hanging.unavailable())
        self.assertIn('WatchdogSec=90\n', self.host.run(['systemctl', 'cat', 'affix-updater@x.service']).stdout)
        soon = '/run/systemd/system/affix-updater@.service.d/soon.conf'

        def watch(seconds):
            self.host.write(soon, f'[Service]\nWatchdogSec={seconds}\nTimeoutStopSec=1\n')
            self.host.run(['systemctl', 'daemon-reload'], check=True)

        watch(2)
        self.addCleanup(self.host.shell, f'rm {soon} && systemctl daemon-reload')
        bundle = self.work.bundle(self.addon('hangs', '1.0.0'))
        config = agent.memfd(b'{}')
        self.addCleanup(os.close, config)
        header = {'verb': 'install', 'fds': ['bundle', 'signature', 'config']}
        with contextlib.ExitStack() as held:
            file = held.enter_context(hanging.File('affix-updater', 200))
            for place in (2, 1, 0):
                descriptors = [*self.files(bundle), config]
                descriptors[place] = file
                self.agent.send(held.enter_context(self.agent.connect()), header, descriptors)
            time.sleep(1)
            self.assertEqual(self.show('affix-updater.socket', 'NConnections'), '3')
            self.assertAnswered()
            self.until(self.idle, 30)
            watch(8)
            # What the kernel does not let die has taken its room once, and keeps nobody but the agent from more.
            self.assertNamed(self.agent.ask(INSTALL, self.files(bundle)), 'busy')
            self.assertDone(self.install(self.addon('beside-it', '1.0.0')))
        self.assertIsNone(self.status('hangs'))
        with hanging.File('nobody', 200, owner=65534) as file:
            self.assertNamed(self.agent.ask(header, [file, *self.files(bundle)[1:], config]), 'bad-descriptor')
        watch(2)
        # What has all that was sent takes as long as it takes, also over a reload.
        addon = self.addon('hangs', '1.0.0')
        addon.manifest['health']['window_seconds'] = 4
        self.assertEqual(self.push(addon)['outcome'], 'done')

    def test_a_file_that_hangs_children_of_the_updater_keeps_nothing_locked(self):
        if hanging.unavailable():
            self.skipTest(hanging.unavailable())
        header = {'verb': 'install', 'fds': ['bundle', 'signature', 'config']}
        with hanging.File('affix-updater', content=b'{}') as file:
            files = [*self.files(self.work.bundle(self.addon('flushed', '1.0.0'))), file]
            self.assertEqual(self.agent.ask(header, files)['outcome'], 'done')
            self.assertDone(self.affix('hold', 'flushed', '--reason', 'its lock is free'))
        self.assertRuns('flushed', '1.0.0')

    def test_a_peer_that_never_reads_its_answer_is_left_behind(self):
        with contextlib.ExitStack() as held:
            for _ in range(16):
                connection = held.enter_context(self.agent.connect())
                self.agent.send(connection, {'verb': 'drift'})
            self.until(self.idle, 30)
        self.assertAnswered()


class Operations(Hostile):
    def slow(self, identifier, version, seconds):
        addon = self.addon(identifier, version)
        addon.manifest['health']['window_seconds'] = seconds
        return addon

    def test_a_peer_that_goes_away_changes_nothing_and_its_result_can_be_asked_for(self):
        bundle = self.work.bundle(self.slow('gone', '1.0.0', 2))
        with self.agent.connect() as connection:
            self.agent.send(connection, {**INSTALL, 'id': 'gone', 'request_id': 'r-1'}, self.files(bundle))
        last = self.until(lambda: (self.status('gone') or {}).get('last_result'), 20)
        self.assertEqual((last['outcome'], last['request_id'], last['version']), ('done', 'r-1', '1.0.0'))
        self.assertRuns('gone', '1.0.0')
        pid = self.pid('affix-gone.service')
        again = self.agent.ask({**INSTALL, 'id': 'gone', 'request_id': 'r-1'}, self.files(bundle))
        self.assertEqual((again['outcome'], again['time']), ('done', last['time']), again)
        self.assertEqual(self.pid('affix-gone.service'), pid)

    def test_while_one_add_on_is_worked_on_the_others_and_the_administrator_are_not_blocked(self):
        bundle = self.work.bundle(self.slow('slow', '1.0.0', 15))
        beside = self.work.bundle(self.addon('beside', '1.0.0'))
        with self.agent.connect() as connection:
            self.agent.send(connection, INSTALL, self.files(bundle))
            self.until(lambda: (self.status('slow') or {}).get('state') == 'changing')
            self.assertNamed(self.agent.ask({'verb': 'uninstall', 'id': 'slow'}), 'busy')
            self.assertAnswered()
            self.assertDone(self.install(beside))
            self.assertEqual(self.status('slow')['state'], 'changing')
            # The administrator waits for this one, and gets the next turn.
            self.assertDone(self.affix('hold', 'slow'))
            self.assertEqual(self.agent.receive(connection)['outcome'], 'done')

    def test_a_stream_of_requests_does_not_starve_the_administrator(self):
        self.assertEqual(self.push(self.addon('stream', '1.0.0'))['outcome'], 'done')
        # Another process, since the agent's identity is the whole process's.
        child = os.fork()
        if child == 0:
            try:
                while True:
                    with contextlib.suppress(OSError):
                        self.agent.ask({'verb': 'repair', 'id': 'stream'})
            finally:
                os._exit(0)
        try:
            time.sleep(1)
            self.assertDone(self.affix('hold', 'stream'))
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        self.assertTrue(self.status('stream')['held'])

    def test_old_versions_cannot_be_had_back_one_by_one(self):
        bundles = {}
        for version in ('1.0.0', '1.1.0', '1.2.0'):
            bundles[version] = self.work.bundle(self.addon('old', version))
            self.assertEqual(self.agent.ask(INSTALL, self.files(bundles[version]))['outcome'], 'done')
        self.assertNamed(self.agent.ask(INSTALL, self.files(bundles['1.0.0'])), 'downgrade')
        self.assertEqual(self.agent.ask({'verb': 'rollback', 'id': 'old'})['outcome'], 'done')
        for _ in range(2):
            self.assertNamed(self.agent.ask({'verb': 'rollback', 'id': 'old'}), 'forbidden')
        self.assertRuns('old', '1.1.0')
        self.assertDone(self.affix('rollback', 'old'))
        self.assertRuns('old', '1.0.0')

    def test_a_rollback_brings_nothing_back_that_the_administrator_forbade_since(self):
        def addon(version, *capabilities):
            made = self.addon('rights', version)
            made.manifest['requires']['os_capabilities'] = list(capabilities)
            return made
        own = self.host.path('/etc/affix/addons.d/rights.json')
        own.write_text('{"secret": "old"}')
        self.assertEqual(self.push(addon('1.0.0', 'cap_net_raw'))['outcome'], 'done')
        self.assertEqual(self.push(addon('1.1.0'))['outcome'], 'done')
        policy = self.host.path('/etc/affix/updater.yaml')
        policy.write_text('capabilities: [cap_bpf]\n')
        self.addCleanup(policy.unlink, missing_ok=True)
        self.assertNamed(self.agent.ask({'verb': 'rollback', 'id': 'rights'}), 'capability-not-allowed')
        policy.unlink()
        own.write_text('{"secret": "new"}')
        self.assertEqual(self.agent.ask({'verb': 'rollback', 'id': 'rights'})['outcome'], 'done')
        self.assertRuns('rights', '1.0.0')
        self.assertEqual(json.loads(self.host.path('/etc/affix/addons/rights.json').read_text()), {'secret': 'new'})

    def test_a_rollback_brings_no_target_back_that_the_host_does_not_list_any_more(self):
        old = self.addon('wanted', '1.0.0')
        old.service['Unit']['After'] = 'network-online.target'
        self.assertEqual(self.push(old)['outcome'], 'done')
        self.assertEqual(self.push(self.addon('wanted', '1.1.0'))['outcome'], 'done')
        policy = self.host.path('/etc/affix/updater.yaml')
        policy.write_text('targets: [multi-user.target]\n')
        self.addCleanup(policy.unlink)
        self.assertNamed(self.agent.ask({'verb': 'rollback', 'id': 'wanted'}), 'unit-foreign')
        self.assertRuns('wanted', '1.1.0')
        self.assertDone(self.affix('rollback', 'wanted'))
        self.assertRuns('wanted', '1.0.0')

    def test_what_failed_stays_quarantined_whatever_the_agent_says(self):
        bundle = self.work.bundle(self.addon('bad', '1.0.0', options='--die-after 1 --exit 1'))
        self.assertEqual(self.agent.ask(INSTALL, self.files(bundle))['outcome'], 'rolled-back')
        self.assertNamed(self.agent.ask({'verb': 'clear-quarantine', 'id': 'bad'}), 'forbidden')
        self.assertNamed(self.agent.ask(INSTALL, self.files(bundle)), 'quarantined', 'version-barred')

    def test_log_lines_are_for_the_administrator_unless_the_host_says_otherwise(self):
        bundle = self.work.bundle(self.addon('logs', '1.0.0', options='--die-after 1 --exit 1'))
        self.assertIsNone(self.agent.ask(INSTALL, self.files(bundle))['log'])
        self.assertNotIn('log', self.agent.ask({'verb': 'status', 'id': 'logs'})['data']['addons'][0]['last_result'])
        self.assertTrue(self.status('logs')['last_result']['log'])
        policy = self.host.path('/etc/affix/updater.yaml')
        policy.write_text('results_carry_logs: true\n')
        self.addCleanup(policy.unlink)
        self.assertTrue(self.agent.ask({'verb': 'status', 'id': 'logs'})['data']['addons'][0]['last_result']['log'])


class Narrowing(Hostile):
    def test_limits_and_capabilities_can_only_be_lowered(self):
        addon = self.addon('limits', '1.0.0')
        addon.manifest['resources'] = {'memory_max_bytes': 64 << 20, 'tasks_max': 8}
        bundle = self.work.bundle(addon)
        for limits in ({'memory_max_bytes': 128 << 20}, {'tasks_max': 9}):
            with self.subTest(limits):
                self.assertNamed(self.agent.ask({**INSTALL, 'limits': limits}, self.files(bundle)), 'bad-limits')
        for limits in ({'tasks_max': -1}, {'tasks_max': 1.5}, {'tasks_max': '1'}, {'nice': 1}, {'tasks_max': 1 << 70}):
            with self.subTest(limits):
                self.assertNamed(self.agent.ask({**INSTALL, 'limits': limits}, self.files(bundle)), 'bad-request')
        for capability in ('cap_sys_admin', 'cap_net_raw', 'all', 'cap_net_raw+eip'):
            with self.subTest(capability):
                reply = self.agent.ask({**INSTALL, 'capabilities': [capability]}, self.files(bundle))
                self.assertEqual(reply['outcome'], 'refused', reply)
        self.assertEqual(self.agent.ask({**INSTALL, 'limits': {'tasks_max': 4}}, self.files(bundle))['outcome'], 'done')
        self.assertEqual(self.show('affix-limits.service', 'TasksMax'), '4')

    def test_keys_of_the_administrator_are_dropped_from_what_the_agent_sends(self):
        self.assertEqual(self.push(self.addon('owned', '1.0.0'))['outcome'], 'done')
        own = self.host.path('/etc/affix/addons.d/owned.json')
        own.write_text('{"secret": "mine"}')
        config = agent.memfd(b'{"secret": "theirs", "level": 3}')
        self.addCleanup(os.close, config)
        reply = self.agent.ask({'verb': 'configure', 'id': 'owned', 'fds': ['config']}, [config])
        self.assertEqual(reply['outcome'], 'done', reply)
        self.assertEqual(reply['data']['dropped_keys'], ['secret'])
        merged = json.loads(self.host.path('/etc/affix/addons/owned.json').read_text())
        self.assertEqual(merged, {'secret': 'mine', 'level': 3})

    def test_a_plan_does_not_tell_the_agent_the_administrators_keys(self):
        bundle = self.work.bundle(self.addon('told', '1.0.0'))
        self.host.path('/etc/affix/addons.d/told.json').write_text('{"secret": "whispered"}')
        reply = self.agent.ask({'verb': 'plan', 'fds': ['bundle', 'signature']}, self.files(bundle))
        self.assertEqual(reply['outcome'], 'done', reply)
        self.assertNotIn('whispered', json.dumps(reply))
        texts = {object['path']: object.get('content') for object in reply['data']['plan']['objects']}
        self.assertIsNone(texts['/etc/affix/addons/told.json'])
        self.assertIn('[Service]', texts['/etc/systemd/system/affix-told.service'])
        self.assertIn('whispered', json.dumps(self.affix('plan', self.send(bundle))))

    def test_configuration_that_does_not_fit_or_is_a_bomb_is_refused_by_name(self):
        self.assertEqual(self.push(self.addon('config', '1.0.0'))['outcome'], 'done')
        for text in (b'', b'[]', b'{"level": -1}', b'{"level": "x"}', b'{"level":1,"level":2}', b'{"a":"\xff"}',
                     b'{"a":' + b'[' * 100_000 + b']' * 100_000 + b'}', b'{"level":1}x'):
            with self.subTest(text[:24]):
                config = agent.memfd(text)
                reply = self.agent.ask({'verb': 'configure', 'id': 'config', 'fds': ['config']}, [config])
                os.close(config)
                self.assertNamed(reply, 'bad-config')
        self.assertRuns('config', '1.0.0')


if __name__ == '__main__':
    live.main()
