#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`affix doctor`: a healthy host has nothing to complain about, and each illness is found and named."""

import json
import os
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'e2e'))

import live  # noqa: E402


class Doctor(live.Case):
    def doctor(self, user=None, before=()):
        done = self.host.run([*before, 'affix', 'doctor', '--json'], user=user)
        answer = json.loads(done.stdout)
        self.assertEqual(done.returncode, 0 if answer['ok'] else 1)
        verdicts = {}
        for check in answer['checks']:
            verdicts.setdefault(check['name'], []).append((check['verdict'], check['text']))
        return verdicts

    def assertIll(self, name, verdict, part):
        found = self.doctor()[name]
        self.assertTrue(any(v == verdict and part in text for v, text in found), found)

    def assertWell(self):
        bad = [found for found in self.doctor().values() if any(verdict == 'fail' for verdict, _ in found)]
        self.assertEqual(bad, [])

    def setUp(self):
        self.addCleanup(self.assertWell)

    def test_a_healthy_host_has_every_check_and_no_failure(self):
        found = self.doctor()
        self.assertEqual(set(found), {'systemd', 'cgroups', 'directories', 'filesystem', 'policy', 'trust', 'sockets',
                                      'records'})
        self.assertEqual(found['sockets'], [('ok', 'the updater answers')])

    def test_others_than_root_learn_what_they_can_see(self):
        found = self.doctor(user='affix')
        self.assertEqual(found['sockets'][0][0], 'ok')
        self.assertEqual(found['records'][0][0], 'skipped')
        self.assertEqual(self.doctor(user='nobody')['sockets'][0][0], 'skipped')

    def test_without_libsystemd_the_rest_is_looked_at(self):
        directory = self.host.path('/opt/libraries')
        directory.mkdir()
        self.addCleanup(shutil.rmtree, directory)
        (directory / 'libsystemd.so.0').touch()
        found = self.doctor(before=('env', 'LD_LIBRARY_PATH=/opt/libraries'))
        self.assertRegex(found['systemd'][0][1], r'\Alibsystemd\.so\.0 cannot be loaded.*libsystemd0')
        self.assertEqual(found['records'][0][0], 'ok')

    def test_a_directory_that_others_may_write_to_is_a_failure(self):
        directory = self.host.path('/opt/affix')
        directory.chmod(0o777)
        self.addCleanup(directory.chmod, 0o755)
        self.assertIll('directories', 'fail', '/opt/affix')

    def test_a_missing_directory_is_a_failure(self):
        directory = self.host.path('/var/lib/affix/updater')
        directory.rename(directory.with_name('moved'))
        self.addCleanup(directory.with_name('moved').rename, directory)
        self.assertIll('directories', 'fail', 'systemd-tmpfiles')

    def test_no_key_is_a_warning_and_a_broken_one_a_failure(self):
        key = self.host.path('/etc/affix/trust.d/test.pub')
        good = key.read_bytes()
        self.addCleanup(key.write_bytes, good)
        key.write_text('no key\n')
        self.assertIll('trust', 'fail', 'test')
        key.unlink()
        self.assertIll('trust', 'warn', 'no key')

    def test_a_broken_policy_is_a_failure(self):
        policy = self.host.path('/etc/affix/updater.yaml')
        policy.write_text('nonsense: 1\n')
        self.addCleanup(policy.unlink)
        self.assertIll('policy', 'fail', 'nonsense')

    def test_a_socket_that_is_not_there_or_too_open_is_a_failure(self):
        self.host.run(['systemctl', 'stop', 'affix-updater.socket'], check=True)
        self.addCleanup(self.host.run, ['systemctl', 'start', 'affix-updater.socket'], check=True)
        self.assertIll('sockets', 'fail', 'updater.sock')
        admin = self.host.path('/run/affix/admin.sock')
        os.chmod(admin, 0o666)
        self.addCleanup(os.chmod, admin, 0o600)
        self.assertIll('sockets', 'fail', 'admin.sock')

    def test_a_file_system_on_which_nothing_runs_is_a_failure(self):
        self.host.run(['mount', '-t', 'tmpfs', '-o', 'noexec,mode=0755', 'tmpfs', '/opt/affix'], check=True)
        self.addCleanup(self.host.run, ['umount', '/opt/affix'], check=True)
        self.assertIll('filesystem', 'fail', 'noexec')

    def test_a_record_that_cannot_be_read_is_a_failure(self):
        record = self.host.path('/var/lib/affix/updater/broken.json')
        record.write_text('{}')
        record.chmod(0o600)
        self.addCleanup(record.unlink)
        self.assertIll('records', 'fail', 'broken')

    def test_records_that_others_may_write_are_a_failure_that_says_what_to_do(self):
        directory = self.host.path('/var/lib/affix/updater')
        self.addCleanup(directory.chmod, 0o700)
        directory.chmod(0o1777)
        self.assertIll('records', 'fail', 'others than root may write there; find out who did')


if __name__ == '__main__':
    live.main()
