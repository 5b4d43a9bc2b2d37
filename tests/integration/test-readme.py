#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The README's tour, line by line as it stands there: in a tree instead of on this host, and with an affixd of the test's own."""

import os
import pathlib
import platform
import re
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'fleet'))
from fleet import scratch, start

BIN = pathlib.Path(os.environ['AFFIX_BUILD']).resolve() / 'bin'
ARCH = {'x86_64': 'amd64', 'aarch64': 'arm64'}[platform.machine()]
README = pathlib.Path(os.environ['AFFIX_SOURCE']) / 'README.md'


def blocks():
    """The tour's pieces, by the first line of each."""
    tour = re.search(r'^## A tour\n(.*?)^## ', README.read_text(), re.MULTILINE | re.DOTALL)[1]
    return re.findall(r'^```\n(.*?)^```$', tour, re.MULTILINE | re.DOTALL)


class Tour(unittest.TestCase):
    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest('only root may give the files of a tree to others')
        self.directory = scratch(self)
        self.where = self.directory
        self.made, self.delivered, _, self.fleet = blocks()

    def do(self, lines, *changes, may_fail=()):
        """Runs each line; what it printed, by line."""
        said = {}
        for line in lines.splitlines():
            command = re.sub(r'\s+#.*', '', line)
            for pattern, to in (*changes, ('amd64', ARCH)):
                command = re.sub(pattern, to, command)
            done = subprocess.run(['bash', '-euc', command], cwd=self.where, env=self.environment(), text=True, capture_output=True,
                                  stdin=subprocess.DEVNULL, timeout=60, check=False)
            said[command] = done.stdout + done.stderr
            if command.startswith(may_fail):
                self.assertNotEqual(done.returncode, 2, (line, said[command]))
            else:
                self.assertEqual(done.returncode, 0, (line, said[command]))
            if ' && cd ' in command:
                self.where = self.where / command.rpartition(' ')[2]
        return said

    def environment(self):
        return {**os.environ, 'PATH': f'{BIN}:{os.environ["PATH"]}', **getattr(self, 'more', {})}

    def make(self):
        # Without a terminal nobody is asked for a password.
        return self.do(self.made, ('^affix keygen ', 'affix keygen -W '))

    def test_an_addon_is_made_and_delivered(self):
        self.make()
        root = self.directory / 'root'
        for name in ('etc/affix/trust.d', 'etc/systemd/system'):
            (root / name).mkdir(parents=True)
        for name, text in (('passwd', 'root:x:0:0:root:/root:/bin/sh\n'), ('group', 'root:x:0:\n'), ('shadow', ''), ('gshadow', '')):
            (root / 'etc' / name).write_text(text)
        said = self.do(self.delivered, (' /etc/', f' {root}/etc/'), ('^affix .*', rf'\g<0> --root {root}'), may_fail=('affix rollback',))
        self.assertIn('no-previous: ', said[f'affix rollback hello --root {root}'])

    def test_a_fleet_is_told(self):
        self.make()
        server = start(self)
        said = {}
        for line in self.fleet.splitlines():
            if line.startswith('export '):
                self.more = dict(re.findall(r'(\w+)=(\S+)', line.replace('/var/lib/affixd', str(server.data))))
                self.assertEqual(set(self.more), {'AFFIX_SERVER', 'AFFIX_TOKEN_FILE'})
                self.more['AFFIX_SERVER'] = server.url
            elif line.startswith('affix fleet watch'):
                with self.assertRaises(subprocess.TimeoutExpired):
                    subprocess.run([BIN / 'affix', 'fleet', 'watch'], env=self.environment(), stdout=subprocess.DEVNULL, timeout=1, check=False)
            elif not line.startswith('affixd '):
                said.update(self.do(line, ('/var/lib/affixd', str(server.data)), may_fail=('affix fleet explain',)))
        self.assertIn("not-found: there is no host 'web-7'", said['affix fleet explain web-7 hello'])
        self.assertEqual(server.api('GET', '/packages')['items'][0]['state'], 'approved')


if __name__ == '__main__':
    sys.exit(unittest.main(verbosity=2))
