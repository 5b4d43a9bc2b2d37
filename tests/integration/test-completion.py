#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Completion offers what the program's help says, in bash and in zsh, sourced as shells source it."""

import os
import pathlib
import pty
import re
import select
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

BUILD = pathlib.Path(os.environ['AFFIX_BUILD'])
COMPLETION = pathlib.Path(os.environ['AFFIX_SOURCE']) / 'completion'
AFFIX = BUILD / 'bin' / 'affix'


def help_words(*command):
    """The words that start the lines of a help text, with the name of the value they take."""
    text = subprocess.run([AFFIX, *command, '--help'], capture_output=True, text=True, check=True).stdout
    return dict(re.findall(r'^  ([a-z-]\S*)(?: (\S+))?(?=  | )', text, re.MULTILINE))


class Scratch(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.addCleanup(self.scratch.cleanup)
        self.directory = pathlib.Path(self.scratch.name)
        for addon in ('sensor', 'sentry', 'other'):
            (self.directory / 'root/opt/affix' / addon / 'versions').mkdir(parents=True)
        (self.directory / 'some-file').write_text('')


class Bash(Scratch):
    def complete(self, *words):
        """What bash offers for the last of *words*, split as bash splits them."""
        function = '_' + words[0].replace('-', '_')
        script = (f'source {shlex.quote(str(COMPLETION / f"{words[0]}.bash"))}\n'
                  f'COMP_WORDS=({" ".join(map(shlex.quote, words))})\n'
                  f'COMP_CWORD={len(words) - 1}\n'
                  f'{function}\n'
                  'printf "%s\\n" "${COMPREPLY[@]}"\n')
        done = subprocess.run(['bash', '--norc', '-c', script], cwd=self.directory, text=True,
                              capture_output=True, check=True,
                              env={**os.environ, 'PATH': f'{AFFIX.parent}:{os.environ["PATH"]}'})
        self.assertEqual(done.stderr, '')
        return set(done.stdout.split())

    def test_first_word_is_any_command_of_the_help(self):
        self.assertEqual(self.complete('affix', ''), set(help_words()) | {'--help', '--version'})

    def test_first_word_is_narrowed_by_what_is_typed(self):
        self.assertEqual(self.complete('affix', 'keyg'), {'keygen'})

    def test_options_of_every_command_are_those_of_its_help(self):
        for command in help_words():
            with self.subTest(command):
                options = {word for word in help_words(command) if word.startswith('-')}
                self.assertEqual(self.complete('affix', command, '-'), options | {'--help'})

    def test_value_that_is_a_file_is_completed_as_file(self):
        self.assertEqual(self.complete('affix', 'keygen', '-p', 'some'), {'some-file'})

    def test_help_completes_commands(self):
        self.assertEqual(self.complete('affix', 'help', 'keyg'), {'keygen'})

    def test_verbs_of_the_fleet_and_then_files_are_offered(self):
        verbs = {word for word in help_words('fleet') if not word.startswith('-')}
        self.assertEqual(self.complete('affix', 'fleet', ''), verbs)
        self.assertEqual(self.complete('affix', 'fleet', 'ex'), {'explain'})
        self.assertEqual(self.complete('affix', 'fleet', 'import', 'some'), {'some-file'})

    def test_verbs_of_images_have_options_and_files(self):
        self.assertEqual(self.complete('affix', 'image', 'inj'), {'inject'})
        options = {word for word in help_words('image', 'inject') if word.startswith('-')}
        self.assertIn('--trust', options)
        self.assertEqual(self.complete('affix', 'image', 'inject', '-'), options | {'--help'})
        self.assertEqual(self.complete('affix', 'image', 'inject', 'some'), {'some-file'})
        self.assertEqual(self.complete('affix', 'image', 'inject', '--trust', 'ro'), {'root'})

    def test_every_verb_of_images_has_its_options_and_operands(self):
        verbs = {word for word in help_words('image') if not word.startswith('-')}
        self.assertIn('build', verbs)
        for verb in verbs:
            with self.subTest(verb):
                options = {word for word in help_words('image', verb) if word.startswith('-')}
                self.assertEqual(self.complete('affix', 'image', verb, '-'), options | {'--help'})
        self.assertEqual(self.complete('affix', 'image', 'build', ''), {'root', 'some-file'})
        self.assertEqual(self.complete('affix', 'image', 'build', 'some-file', '-o', 'some'), {'some-file'})
        self.assertEqual(self.complete('affix', 'image', 'build', '--platform', ''), {'linux/amd64', 'linux/arm64'})
        self.assertEqual(self.complete('affix', 'image', 'cache', ''), {'ls', 'prune'})
        self.assertEqual(self.complete('affix', 'image', 'cache', 'p'), {'prune'})

    def test_netprobe_s_commands_options_and_values_are_those_of_its_help(self):
        text = subprocess.run([BUILD / 'bin/affix-netprobe', '--help'], capture_output=True, text=True, check=True).stdout
        self.assertEqual(self.complete('affix-netprobe', ''), set(re.findall(r'^  ([a-z]+) ', text, re.MULTILINE)))
        self.assertEqual(self.complete('affix-netprobe', 'to'), {'top'})
        self.assertEqual(self.complete('affix-netprobe', 'top', '-'), set(re.findall(r'--[a-z-]+', text.partition('\n\n')[2])))
        columns = re.search(r'--sort COLUMN +(.*)', text).group(1)
        self.assertEqual(self.complete('affix-netprobe', 'top', '--sort', ''), set(columns.split(', ')))
        self.assertEqual(self.complete('affix-netprobe', '--log-format', ''), {'text', 'json'})
        self.assertEqual(self.complete('affix-netprobe', '--config', 'some'), {'some-file'})
        self.assertEqual(self.complete('affix-netprobe', 'top', '--count', ''), set())

    def test_installed_addons_of_the_root_are_offered_as_ids(self):
        for command in ('rollback', 'uninstall'):
            if command not in help_words():
                self.skipTest(f'no command {command} yet')
            self.assertEqual(self.complete('affix', command, '--root', 'root', 'sen'), {'sensor', 'sentry'})


@unittest.skipUnless(shutil.which('zsh'), 'zsh is not installed')
class Zsh(Scratch):
    def start(self):
        pid, fd = pty.fork()
        if pid == 0:
            os.chdir(self.directory)
            os.environ.update(PATH=f'{AFFIX.parent}:{os.environ["PATH"]}', TERM='dumb', COLUMNS='200')
            os.execvp('zsh', ['zsh', '-f', '-i'])
        self.addCleanup(os.waitpid, pid, 0)
        self.addCleanup(os.close, fd)
        self.fd = fd
        self.send('PS1="READY> "; unsetopt zle_bracketed_paste; '
                  f'fpath=({shlex.quote(str(COMPLETION))} $fpath); '
                  'autoload -U compinit && compinit -u -D; bindkey "^I" list-choices; '
                  'zstyle ":completion:*" list-separator "--"; print LOA""DED\n')
        self.wait('LOADED')

    def send(self, text):
        os.write(self.fd, text.encode())

    def wait(self, wanted, seconds=20):
        """Reads until *wanted* was seen and then nothing more comes for a moment."""
        output = ''
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.fd], [], [], 0.3)[0]:
                output += os.read(self.fd, 65536).decode(errors='replace')
            elif wanted in output:
                return output
        self.fail(f'{wanted!r} did not come; this came: {output!r}')

    def complete(self, line, wanted):
        self.send('\x15' + line + '\t')
        return self.wait(wanted)

    def test_commands_options_and_files_are_offered_with_their_descriptions(self):
        self.start()
        listing = self.complete('affix ', 'keygen')
        for command in help_words():
            self.assertIn(command, listing)
        self.assertIn('make a key pair', listing)
        listing = self.complete('affix keygen -', '-W')
        for option in help_words('keygen'):
            self.assertIn(option, listing)
        self.assertIn('do not encrypt', listing)
        self.complete('affix keygen -p s', 'some-file')
        self.assertIn('--config', self.complete('affix image inject --', '--trust'))
        self.complete('affix image ls s', 'some-file')
        self.complete('affix image build s', 'some-file')
        self.assertIn('arm64', self.complete('affix image build --platform linux/', 'linux/amd64'))
        # One candidate is shown by being there.
        self.complete('affix image cache ', 'prune')

    def test_netprobe_s_commands_and_options_are_offered_with_their_descriptions(self):
        self.start()
        listing = self.complete('affix-netprobe ', 'listeners')
        self.assertIn('what happens, until it is interrupted', listing)
        listing = self.complete('affix-netprobe top --', '--interval')
        self.assertIn('seconds between two looks', listing)
        text = subprocess.run([BUILD / 'bin/affix-netprobe', '--help'], capture_output=True, text=True, check=True).stdout
        for option in re.findall(r'^  (--[a-z-]+)', text, re.MULTILINE):
            self.assertIn(option, listing)

    def test_installed_addons_of_the_root_are_offered_as_ids(self):
        if 'rollback' not in help_words():
            self.skipTest('no command rollback yet')
        self.start()
        listing = self.complete('affix rollback --root root sen', 'sentry')
        self.assertIn('sensor', listing)
        self.assertNotIn('other', listing)


if __name__ == '__main__':
    sys.exit(unittest.main(verbosity=2))
