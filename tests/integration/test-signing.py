#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""affix keygen, sign and verify, against stock minisign in both directions."""

import json
import os
import pathlib
import pty
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import termios
import time
import unittest

AFFIX = pathlib.Path(os.environ['AFFIX_BUILD']) / 'bin' / 'affix'
PASSWORD = 'päss word'
COMMENT = 'affix:1 id=sensor version=1.2.3 os=linux arch=amd64 created=2026-01-31T12:00:00Z'

MANIFEST = '''id: sensor
name: Sensor
version: 1.2.3
kind: native
delivery: pushed-artifact
supervision: systemd-service
language: c
capabilities: [flows]
requires:
  base_agent: ">=1.0.0"
  platforms: [linux]
  os_capabilities: [cap_net_raw]
  run_as: affix-sensor
exec:
  binary: sensor
config_schema: config.schema.json
'''
UNIT = '''[Unit]
Description=Sensor
[Service]
ExecStart=/opt/affix/sensor/current/sensor
User=affix-sensor
AmbientCapabilities=CAP_NET_RAW
CapabilityBoundingSet=CAP_NET_RAW
[Install]
WantedBy=multi-user.target
'''


def elf(machine):
    """The head of an ELF file, enough to be known as one for *machine*."""
    return b'\x7fELF\x02\x01\x01' + bytes(9) + b'\x02\x00' + bytes([machine, 0]) + b'\x01' + bytes(491)


def echoes(fd):
    return bool(termios.tcgetattr(fd)[3] & termios.ECHO)


def on_terminal(command, answers, **kwargs):
    """Runs *command* on a terminal and answers each password prompt, None with an interrupt.

    (exit code, what it showed, whether the terminal echoes at the end)"""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(kwargs['cwd'])
        os.execv(command[0], command)
    shown, answers = b'', list(answers)
    while True:
        try:
            data = os.read(fd, 4096)
        except OSError:
            break
        if not data:
            break
        shown += data
        if re.search(rb'(password|again)[^\n]*: ?$', shown, re.IGNORECASE) and answers:
            answer = answers.pop(0)
            for _ in range(200):
                if not echoes(fd):
                    break
                time.sleep(0.01)
            if answer is None:
                os.kill(pid, signal.SIGINT)
            else:
                os.write(fd, answer.encode() + b'\n')
            shown += b'\n'
    echoing = echoes(fd)
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode(), echoing


class Case(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.directory = pathlib.Path(scratch.name)

    def path(self, name):
        return self.directory / name

    def run_here(self, *command, input='', env=None, wanted=None):
        done = subprocess.run([str(word) for word in command], cwd=self.directory, text=True, input=input,
                              capture_output=True, env={**os.environ, **(env or {})})
        if wanted is not None:
            self.assertEqual(done.returncode, wanted, done)
        return done

    def affix(self, *words, wanted=0, **kwargs):
        return self.run_here(AFFIX, *words, wanted=wanted, **kwargs)

    def assertRefused(self, done, name):
        self.assertRegex(done.stderr, rf'\A{name}: [^\n]+\n\Z')

    def make_bundle(self, name='bundle.tar.zst', machine=62, manifest=MANIFEST):
        """A bundle made by tar and zstd, so that signing is tested apart from building."""
        source = self.path(name + '.d')
        source.mkdir()
        (source / 'addon.yaml').write_text(manifest)
        (source / 'config.schema.json').write_text('{"type": "object"}\n')
        (source / 'sensor').write_bytes(elf(machine))
        (source / 'affix-sensor.service').write_text(UNIT)
        os.chmod(source / 'sensor', 0o755)
        names = ['addon.yaml', *sorted(p.name for p in source.iterdir() if p.name != 'addon.yaml')]
        subprocess.run(['tar', '--format=ustar', '--owner=0', '--group=0', '--mtime=@0', '--blocking-factor=1',
                        '-C', source, '-cf', self.path(name + '.tar'), *names], check=True)
        subprocess.run(['zstd', '-q', '-f', self.path(name + '.tar'), '-o', self.path(name)], check=True)
        return name

    def keygen(self, name='key'):
        self.affix('keygen', '-W', '-p', f'{name}.pub', '-s', f'{name}.key')
        return f'{name}.pub', f'{name}.key'


class Keygen(Case):
    def test_secret_key_is_for_its_owner_only_whatever_the_umask(self):
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        self.keygen()
        self.assertEqual(stat.S_IMODE(self.path('key.key').stat().st_mode), 0o600)

    def test_key_that_is_there_stays_without_f(self):
        self.keygen()
        before = self.path('key.key').read_bytes(), self.path('key.pub').read_bytes()
        done = self.affix('keygen', '-W', '-p', 'key.pub', '-s', 'other.key', wanted=1)
        self.assertRefused(done, 'error')
        self.assertFalse(self.path('other.key').exists())
        self.affix('keygen', '-W', '-p', 'other.pub', '-s', 'key.key', wanted=1)
        self.assertEqual(before, (self.path('key.key').read_bytes(), self.path('key.pub').read_bytes()))
        self.affix('keygen', '-f', '-W', '-p', 'key.pub', '-s', 'key.key')
        self.assertNotEqual(before[0], self.path('key.key').read_bytes())

    def test_link_in_the_way_is_not_followed(self):
        self.path('key.key').symlink_to('elsewhere')
        self.affix('keygen', '-W', '-p', 'key.pub', '-s', 'key.key', wanted=1)
        self.affix('keygen', '-f', '-W', '-p', 'key.pub', '-s', 'key.key')
        self.assertFalse(self.path('elsewhere').exists())
        self.assertFalse(self.path('key.key').is_symlink())

    def test_nothing_is_left_when_the_public_key_cannot_be_written(self):
        self.affix('keygen', '-W', '-p', 'nowhere/key.pub', '-s', 'key.key', wanted=1)
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_empty_password_is_refused_and_absent_one_too(self):
        self.affix('keygen', '-p', 'key.pub', '-s', 'key.key', input='\n', wanted=2)
        self.affix('keygen', '-p', 'key.pub', '-s', 'key.key', input='', wanted=1)
        self.affix('keygen', '-p', 'key.pub', '-s', 'key.key', input='x' * 1024 + '\n', wanted=1)
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_passwords_that_differ_make_no_key(self):
        code, shown, _ = on_terminal([str(AFFIX), 'keygen', '-p', 'key.pub', '-s', 'key.key'],
                                  ['one', 'two'], cwd=self.directory)
        self.assertEqual(code, 1)
        self.assertIn('differ', shown)
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_interrupt_at_the_prompt_makes_no_key_and_echoes_again(self):
        code, shown, echoing = on_terminal([str(AFFIX), 'keygen', '-p', 'key.pub', '-s', 'key.key'],
                                  [None], cwd=self.directory)
        self.assertEqual(code, 1)
        self.assertIn('a signal came', shown)
        self.assertTrue(echoing)
        self.assertEqual(list(self.directory.iterdir()), [])


@unittest.skipUnless(shutil.which('minisign'), 'minisign is not installed')
class Stock(Case):
    def minisign_sign(self, key, file, *options):
        self.run_here('minisign', '-S', '-s', key, '-m', file, '-t', COMMENT, *options, wanted=0)

    def test_stock_verifies_what_we_sign_and_sees_our_comment(self):
        bundle = self.make_bundle()
        public, secret = self.keygen()
        self.affix('sign', '-s', secret, bundle, env={'SOURCE_DATE_EPOCH': '1769860800'})
        done = self.run_here('minisign', '-Q', '-V', '-p', public, '-m', bundle, wanted=0)
        self.assertEqual(done.stdout, COMMENT + '\n')

    def test_we_verify_what_stock_signs_with_its_own_key(self):
        bundle = self.make_bundle()
        self.run_here('minisign', '-G', '-W', '-p', 'stock.pub', '-s', 'stock.key', wanted=0)
        self.minisign_sign('stock.key', bundle)
        done = self.affix('verify', '-p', 'stock.pub', bundle)
        self.assertIn('sensor 1.2.3 for linux/amd64, signed 2026-01-31T12:00:00Z', done.stdout)

    def test_both_make_the_same_signature_with_the_same_key(self):
        bundle = self.make_bundle()
        self.run_here('minisign', '-G', '-W', '-p', 'stock.pub', '-s', 'stock.key', wanted=0)
        self.minisign_sign('stock.key', bundle, '-x', 'stock.minisig')
        self.affix('sign', '-s', 'stock.key', bundle, env={'SOURCE_DATE_EPOCH': '1769860800'})
        ours, theirs = (self.path(name).read_text().split('\n')[1:] for name in (f'{bundle}.minisig', 'stock.minisig'))
        self.assertEqual(ours, theirs)

    def test_key_with_password_made_by_us_signs_in_stock(self):
        bundle = self.make_bundle()
        code, shown, _ = on_terminal([str(AFFIX), 'keygen', '-p', 'key.pub', '-s', 'key.key'],
                                  [PASSWORD, PASSWORD], cwd=self.directory)
        self.assertEqual(code, 0, shown)
        self.assertNotIn(PASSWORD, shown)
        code, shown, _ = on_terminal([shutil.which('minisign'), '-S', '-s', 'key.key', '-m', bundle, '-t', COMMENT],
                                  [PASSWORD], cwd=self.directory)
        self.assertEqual(code, 0, shown)
        self.affix('verify', '-p', 'key.pub', bundle)

    def test_key_with_password_made_by_stock_signs_here_from_terminal_and_stdin(self):
        bundle = self.make_bundle()
        code, shown, _ = on_terminal([shutil.which('minisign'), '-G', '-p', 'key.pub', '-s', 'key.key'],
                                  [PASSWORD, PASSWORD], cwd=self.directory)
        self.assertEqual(code, 0, shown)
        code, shown, _ = on_terminal([str(AFFIX), 'sign', '-s', 'key.key', bundle], [PASSWORD], cwd=self.directory)
        self.assertEqual(code, 0, shown)
        self.assertNotIn(PASSWORD, shown)
        self.run_here('minisign', '-V', '-p', 'key.pub', '-m', bundle, wanted=0)
        self.path(f'{bundle}.minisig').unlink()
        self.assertRefused(self.affix('sign', '-s', 'key.key', bundle, input='wrong\n', wanted=1), 'error')
        self.assertFalse(self.path(f'{bundle}.minisig').exists())
        self.affix('sign', '-s', 'key.key', bundle, input=f'{PASSWORD}\nand more\n')
        self.affix('verify', '-p', 'key.pub', bundle)

    def test_legacy_signature_is_refused_and_said_so(self):
        bundle = self.make_bundle()
        public, secret = self.keygen()
        self.minisign_sign(secret, bundle, '-l')
        done = self.affix('verify', '-p', public, bundle, wanted=1)
        self.assertRefused(done, 'malformed-signature')
        self.assertIn('legacy', done.stderr)


class Sign(Case):
    def test_comment_says_what_the_manifest_and_the_binary_say(self):
        bundle = self.make_bundle(machine=183)
        public, secret = self.keygen()
        self.affix('sign', '-s', secret, '--epoch', '7', '--expires', '90d', bundle,
                   env={'SOURCE_DATE_EPOCH': '1769860800'})
        self.assertEqual(self.path(f'{bundle}.minisig').read_text().split('\n')[2],
                         'trusted comment: affix:1 id=sensor version=1.2.3 os=linux arch=arm64 '
                         'created=2026-01-31T12:00:00Z expires=2026-05-01T12:00:00Z epoch=7')

    def test_time_of_expiry_is_a_date_or_a_number_of_hours_days_or_weeks(self):
        bundle = self.make_bundle()
        _, secret = self.keygen()
        for text, wanted in {'2h': '2026-01-31T14:00:00Z', '1w': '2026-02-07T12:00:00Z',
                             '2030-01-01T00:00:00Z': '2030-01-01T00:00:00Z'}.items():
            self.affix('sign', '-s', secret, '--expires', text, bundle, env={'SOURCE_DATE_EPOCH': '1769860800'})
            self.assertIn(f' expires={wanted}\n', self.path(f'{bundle}.minisig').read_text())
        for text in ('', '0d', '90', '90m', '-1d', 'd', '9999999999999d', '2026-01-31T12:00:00Z', '2030-01-01', '1d '):
            done = self.affix('sign', '-s', secret, '--expires', text, bundle, wanted=2,
                              env={'SOURCE_DATE_EPOCH': '1769860800'})
            self.assertRefused(done, 'usage')

    def test_numbers_that_are_none_are_usage_errors(self):
        bundle = self.make_bundle()
        _, secret = self.keygen()
        for epoch in ('', '-1', '1x', '9007199254740992'):
            self.affix('sign', '-s', secret, '--epoch', epoch, bundle, wanted=2)
        self.affix('sign', '-s', secret, bundle, wanted=2, env={'SOURCE_DATE_EPOCH': 'yesterday'})

    def test_no_signature_is_written_when_one_of_several_bundles_is_refused(self):
        good = self.make_bundle('good.tar.zst')
        bad = self.make_bundle('bad.tar.zst', manifest=MANIFEST.replace('1.2.3', '1.2'))
        _, secret = self.keygen()
        self.assertRefused(self.affix('sign', '-s', secret, good, bad, wanted=1), 'bad-manifest')
        self.assertEqual(list(self.directory.glob('*.minisig')), [])

    def test_signature_replaces_an_old_one_and_leaves_no_other_file(self):
        bundle = self.make_bundle()
        _, secret = self.keygen()
        self.affix('sign', '-s', secret, bundle, env={'SOURCE_DATE_EPOCH': '1769860800'})
        first = self.path(f'{bundle}.minisig').read_bytes()
        names = set(os.listdir(self.directory))
        self.affix('sign', '-s', secret, bundle, env={'SOURCE_DATE_EPOCH': '1769860801'})
        self.assertNotEqual(self.path(f'{bundle}.minisig').read_bytes(), first)
        self.assertEqual(set(os.listdir(self.directory)), names)

    def test_public_key_or_nonsense_as_secret_key_is_an_error(self):
        bundle = self.make_bundle()
        public, _ = self.keygen()
        self.assertRefused(self.affix('sign', '-s', public, bundle, wanted=1), 'error')
        self.assertRefused(self.affix('sign', '-s', bundle, bundle, wanted=1), 'error')
        self.assertRefused(self.affix('sign', '-s', 'nowhere', bundle, wanted=1), 'error')


class Verify(Case):
    def setUp(self):
        super().setUp()
        self.bundle = self.make_bundle()
        self.public, self.secret = self.keygen()
        self.affix('sign', '-s', self.secret, self.bundle, env={'SOURCE_DATE_EPOCH': '1769860800'})
        self.path('trust').mkdir()

    def test_answer_as_json_is_complete(self):
        answer = json.loads(self.affix('verify', '-p', self.public, '--json', self.bundle).stdout)
        digest = self.run_here('b2sum', self.bundle, wanted=0).stdout.split()[0]
        self.assertEqual(answer, {
            'schema': 1, 'outcome': 'done', 'id': 'sensor', 'version': '1.2.3', 'os': 'linux', 'arch': 'amd64',
            'created': '2026-01-31T12:00:00Z', 'expires': None, 'epoch': 0, 'digest': digest,
            'key_id': answer['key_id'], 'key_name': 'key.pub'})
        self.assertIn(answer['key_id'], self.path('key.pub').read_text())

    def test_refusal_as_json_has_name_and_message(self):
        done = self.affix('verify', '--trust', 'trust', '--json', self.bundle, wanted=1)
        answer = json.loads(done.stdout)
        self.assertEqual((answer['schema'], answer['outcome'], answer['name']), (1, 'refused', 'no-trusted-key'))
        self.assertEqual(done.stderr, f'{answer["name"]}: {answer["message"]}\n')

    def test_key_of_the_directory_is_trusted_until_removed(self):
        self.assertRefused(self.affix('verify', '--trust', 'trust', self.bundle, wanted=1), 'no-trusted-key')
        self.keygen('trust/other')
        self.assertRefused(self.affix('verify', '--trust', 'trust', self.bundle, wanted=1), 'untrusted-key')
        shutil.copy(self.path(self.public), self.path('trust/vendor.pub'))
        self.assertIn("'vendor'", self.affix('verify', '--trust', 'trust', self.bundle).stdout)
        self.path('trust/vendor.pub').unlink()
        self.assertRefused(self.affix('verify', '--trust', 'trust', self.bundle, wanted=1), 'untrusted-key')

    def test_policy_of_the_key_narrows_ids_capabilities_and_models(self):
        shutil.copy(self.path(self.public), self.path('trust/vendor.pub'))
        policy = self.path('trust/vendor.policy.yaml')
        for text, name in {'ids: [other]': 'key-policy', 'capabilities: []': 'key-policy',
                           'supervision: [systemd-timer]': 'key-policy', 'ids: sensor': 'bad-trust'}.items():
            policy.write_text(text + '\n')
            self.assertRefused(self.affix('verify', '--trust', 'trust', self.bundle, wanted=1), name)
        policy.write_text('ids: [sensor]\ncapabilities: [cap_net_raw]\nsupervision: [systemd-service]\n')
        self.affix('verify', '--trust', 'trust', self.bundle)

    def test_any_changed_byte_is_a_bad_signature(self):
        data = self.path(self.bundle).read_bytes()
        for at in (0, len(data) // 2, len(data) - 1):
            self.path(self.bundle).write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
            self.assertRefused(self.affix('verify', '-p', self.public, self.bundle, wanted=1), 'bad-signature')
        self.path(self.bundle).write_bytes(data[:-1])
        self.assertRefused(self.affix('verify', '-p', self.public, self.bundle, wanted=1), 'bad-signature')
        self.path(self.bundle).write_bytes(data + b'\0')
        self.assertRefused(self.affix('verify', '-p', self.public, self.bundle, wanted=1), 'bad-signature')

    def test_signature_is_checked_before_the_content(self):
        self.path(self.bundle).write_bytes(b'no bundle')
        self.assertRefused(self.affix('verify', '-p', self.public, self.bundle, wanted=1), 'bad-signature')

    def test_comment_for_another_addon_version_or_machine_is_refused(self):
        for old, new, name in (('id=sensor', 'id=other', 'identity-mismatch'),
                               ('version=1.2.3', 'version=1.2.4', 'identity-mismatch'),
                               ('arch=amd64', 'arch=arm64', 'wrong-elf'),
                               ('affix:1', 'hello', 'bad-comment')):
            self.run_here('minisign', '-S', '-s', self.secret, '-m', self.bundle, '-t', COMMENT.replace(old, new),
                          wanted=0)
            done = self.affix('verify', '-p', self.public, self.bundle, wanted=1)
            self.assertRefused(done, name)

    def test_expired_signature_is_refused(self):
        self.affix('sign', '-s', self.secret, '--expires', '1h', self.bundle, env={'SOURCE_DATE_EPOCH': '1000000000'})
        self.assertRefused(self.affix('verify', '-p', self.public, self.bundle, wanted=1), 'expired')

    def test_signature_elsewhere_is_found_where_it_is_said_to_be(self):
        self.path(f'{self.bundle}.minisig').rename(self.path('elsewhere'))
        self.assertRefused(self.affix('verify', '-p', self.public, self.bundle, wanted=1), 'bad-signature')
        self.affix('verify', '-p', self.public, '--signature', 'elsewhere', self.bundle)
        self.path('elsewhere').write_bytes(b'x' * 5000)
        self.assertRefused(self.affix('verify', '-p', self.public, '--signature', 'elsewhere', self.bundle, wanted=1),
                           'malformed-signature')

    def test_names_with_control_bytes_are_shown_escaped(self):
        done = self.affix('verify', '-p', self.public, 'a\x1b[2J\n', wanted=1)
        self.assertRefused(done, 'error')
        self.assertIn(r'\x1b[2J\x0a', done.stderr)

    def test_fifo_or_directory_as_bundle_is_an_error_and_not_waited_for(self):
        os.mkfifo(self.path('fifo'))
        shutil.copy(self.path(f'{self.bundle}.minisig'), self.path('fifo.minisig'))
        shutil.copy(self.path(f'{self.bundle}.minisig'), self.path('trust.minisig'))
        for name in ('fifo', 'trust'):
            self.assertRefused(self.affix('verify', '-p', self.public, name, wanted=1), 'error')


if __name__ == '__main__':
    sys.exit(unittest.main(verbosity=2))
