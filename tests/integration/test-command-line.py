#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The command line's frame: help, usage errors, where lines go, what exit codes say, and the manual page."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

AFFIX = pathlib.Path(os.environ['AFFIX_BUILD']) / 'bin' / 'affix'
MANUAL = pathlib.Path(os.environ['AFFIX_SOURCE']) / 'man' / 'affix.1.scd'


def affix(*words, **kwargs):
    kwargs = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'stdin': subprocess.DEVNULL, **kwargs}
    return subprocess.run([AFFIX, *words], text=True, **kwargs)


def help_words(*command):
    return re.findall(r'^  ([a-z-]\S*)', affix(*command, '--help').stdout, re.MULTILINE)


COMMANDS = help_words()


class Frame(unittest.TestCase):
    def assertUsage(self, done, *parts):
        self.assertEqual((done.returncode, done.stdout), (2, ''))
        self.assertRegex(done.stderr, r"\Ausage: [^\n]+; see 'affix( [a-z-]+)? --help'\n\Z")
        for part in parts:
            self.assertIn(part, done.stderr)

    def test_no_command_unknown_command_and_unknown_option_are_usage_errors(self):
        self.assertUsage(affix())
        self.assertUsage(affix('frobnicate'), "'frobnicate'")
        self.assertUsage(affix('help', 'frobnicate'), "'frobnicate'")
        self.assertUsage(affix('--frobnicate'), "'--frobnicate'")

    def test_every_command_refuses_an_option_it_does_not_know_and_points_to_its_help(self):
        for command in COMMANDS:
            if command == 'help':
                continue
            with self.subTest(command):
                self.assertUsage(affix(command, '--frobnicate'), "'--frobnicate'", f"'affix {command} --help'")
                self.assertUsage(affix(command, 'operand', '--frobnicate'), "'--frobnicate'")

    def test_letter_inside_a_word_is_named_alone(self):
        self.assertUsage(affix('keygen', '-WZf'), "'-Z'")
        self.assertUsage(affix('keygen', '-W', 'operand', '-Zf'), "'-Z'")
        self.assertUsage(affix('keygen', '-Ws'), "'-Ws' needs a value")

    def test_every_option_with_a_value_says_so_when_it_has_none(self):
        for command in COMMANDS:
            for option, value in re.findall(r'^  (-\S+) (\S+)  ', affix(command, '--help').stdout, re.MULTILINE):
                with self.subTest(f'{command} {option} {value}'):
                    self.assertUsage(affix(command, option), f"'{option}' needs a value")

    def test_help_is_on_stdout_for_all_and_for_each(self):
        self.assertEqual(affix('--help').stdout, affix('help').stdout)
        for command in COMMANDS:
            with self.subTest(command):
                done = affix(command, '--help')
                self.assertEqual((done.returncode, done.stderr), (0, ''))
                self.assertTrue(done.stdout.startswith(f'usage: affix {command}'))
                self.assertEqual(done.stdout, affix('help', command).stdout)

    def test_help_behind_two_dashes_is_an_operand(self):
        self.assertNotEqual(affix('verify' if 'verify' in COMMANDS else 'keygen', '--', '--help').returncode, 0)

    def test_version_is_one_line(self):
        self.assertRegex(affix('--version').stdout, r'\Aaffix \d+\.\d+\.\d+\n\Z')

    def test_a_start_loads_nothing_for_formats_and_servers_it_does_not_meet(self):
        for program, others in ('affix', ('libsystemd', 'libext2fs', 'libblkid')), ('affix-updater', ()):
            with self.subTest(program):
                loaded = subprocess.run(['ldd', AFFIX.parent / program], check=True, text=True, stdout=subprocess.PIPE).stdout
                self.assertIn('libc.so', loaded)
                for library in 'libarchive', 'libxml2', 'libicu', 'libcurl', 'libssl', *others:
                    self.assertNotIn(library, loaded)

    def test_without_libcurl_only_the_fleet_cannot_be_asked(self):
        with tempfile.TemporaryDirectory(prefix='affix-test-') as directory:
            token = pathlib.Path(directory) / 'token'
            token.write_text('token\n')
            (pathlib.Path(directory) / 'libcurl.so.4').touch()
            environment = {**os.environ, 'LD_LIBRARY_PATH': directory}
            self.assertEqual(affix('--version', env=environment).returncode, 0)
            done = affix('fleet', 'hosts', '--token-file', token, env=environment)
        self.assertEqual((done.returncode, done.stdout), (1, ''))
        self.assertRegex(done.stderr, r'\Aerror: libcurl is wanted [^\n]+libcurl4\)\n\Z')

    def test_full_or_closed_stdout_is_an_error_and_said(self):
        with open('/dev/full', 'w') as full:
            done = affix('--help', stdout=full)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r'\Aerror: [^\n]+\n\Z')
        done = affix('--help', preexec_fn=lambda: os.close(1), stdout=None)
        self.assertEqual(done.returncode, 1)
        read, write = os.pipe()
        os.close(read)
        self.assertEqual(affix('--help', stdout=write).returncode, 1)
        os.close(write)

    def test_what_is_done_is_done_though_the_answer_is_lost(self):
        with tempfile.TemporaryDirectory(prefix='affix-test-') as directory, open('/dev/full', 'w') as full:
            for words in (['new', 'demo'], ['keygen', '-W', '-p', 'key.pub', '-s', 'key.sec'],
                          ['build', 'demo', '--bin', 'linux/amd64=/bin/true', '-o', '.'],
                          ['sign', '-s', 'key.sec', 'demo-0.1.0-linux-amd64.tar.zst']):
                with self.subTest(words):
                    done = affix(*words, stdout=full, cwd=directory)
                    self.assertEqual(done.returncode, 0)
                    self.assertRegex(done.stderr, r'\Awarning: it is done, but [^\n]+: No space left on device\n\Z')
            self.assertEqual(affix('check', 'demo', stdout=full, cwd=directory).returncode, 0)
            done = affix('check', '--json', 'demo', stdout=full, cwd=directory)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, r'\Aerror: [^\n]+: No space left on device\n\Z')

    def test_closed_stdout_is_no_file_that_the_command_opens(self):
        with tempfile.TemporaryDirectory(prefix='affix-test-') as directory:
            words = ['keygen', '-W', '-p', 'key.pub', '-s', 'key.sec']
            done = affix(*words, preexec_fn=lambda: os.closerange(0, 3), stdout=None, stderr=None, stdin=None, cwd=directory)
            self.assertEqual(done.returncode, 0)
            for name in 'key.pub', 'key.sec':
                self.assertEqual(len((pathlib.Path(directory) / name).read_text().splitlines()), 2)

    def test_closed_stdout_does_not_hide_a_usage_error(self):
        done = affix('frobnicate', preexec_fn=lambda: os.close(1), stdout=None)
        self.assertEqual(done.returncode, 2)

    def test_control_bytes_of_the_command_line_are_escaped(self):
        done = affix('a\x1b[2J\nb')
        self.assertUsage(done, r'a\x1b[2J\x0ab')


class Manual(unittest.TestCase):
    def test_every_command_and_option_of_the_help_is_in_the_manual(self):
        text = MANUAL.read_text()
        common = text[text.index('# COMMANDS FOR HOSTS'):].split('\n*affix ', 1)[0]
        for command in COMMANDS:
            with self.subTest(command):
                self.assertIn(f'\n*affix {command}*', text)
                part = text[text.index(f'\n*affix {command}*') + 1:]
                part = re.split(r'\n(?=\*affix |# )', part)[0]
                own = MANUAL.with_name(f'affix-{command}.1.scd')
                if own.exists():
                    self.assertIn(f'*affix-{command}*(1)', part)
                    part = own.read_text()
                for option in help_words(command):
                    self.assertRegex(part + common, r'\*' + re.escape(option) + r'\b[^\n]*\*')

    def test_every_command_of_the_manual_is_there(self):
        self.assertEqual(set(re.findall(r'^\*affix ([a-z-]+)\*', MANUAL.read_text(), re.MULTILINE)), set(COMMANDS))


if __name__ == '__main__':
    sys.exit(unittest.main(verbosity=2))
