#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What is shipped of netprobe besides its program agrees with it and with each other: the add-on, the manual, the protocol."""

import json
import os
import pathlib
import platform
import re
import subprocess
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ['AFFIX_SOURCE'])
BUILD = pathlib.Path(os.environ['AFFIX_BUILD'])
ADDON = SOURCE / 'addons/netprobe'
AFFIX = BUILD / 'bin/affix'
# What the agent calls Config has the name of the prior art here.
RENAMED = {'Frame': 'NetprobeFrame', 'Config': 'VisibilityAgentConfig', 'Fingerprint': 'FingerprintConfig', 'Dpi': 'DpiConfig'}


def run(*command):
    return subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def messages(name):
    """{message: {field: number}} of a description."""
    text = re.sub(r'//[^\n]*', '', (SOURCE / 'proto' / name).read_text())
    found = {}
    for message, body in re.findall(r'^message (\w+) \{(.*?)^\}', text, re.DOTALL | re.MULTILINE):
        found[message] = {field: int(number) for field, number in re.findall(r'[\w>] (\w+) = (\d+)', body)}
    return found


class Addon(unittest.TestCase):
    def test_it_passes_the_check_and_becomes_a_bundle(self):
        result = run(AFFIX, 'check', ADDON)
        self.assertEqual((result.returncode, result.stdout), (0, ''))
        machine = {'x86_64': 'amd64', 'aarch64': 'arm64'}[platform.machine()]
        with tempfile.TemporaryDirectory(prefix='affix-netprobe.') as directory:
            result = run(AFFIX, 'build', ADDON, '--bin', f'linux/{machine}={BUILD}/src/netprobe/affix-netprobe', '-o', directory)
            self.assertEqual(result.returncode, 0, result.stdout)
            bundle, = pathlib.Path(directory).iterdir()
            self.assertRegex(bundle.name, rf'^netprobe-[\d.]+-linux-{machine}\.tar\.zst$')

    def test_the_program_needs_no_library_that_a_host_with_systemd_may_lack(self):
        dynamic = run('objdump', '-p', BUILD / 'src/netprobe/affix-netprobe').stdout
        needed = re.findall(r'^ +NEEDED +(\S+)$', dynamic, re.MULTILINE)
        self.assertIn('libc.so.6', needed)
        self.assertEqual(set(needed) - {'libc.so.6', 'libsystemd.so.0', 'libm.so.6'} - {n for n in needed if n.startswith('ld-')}, set())

    def test_the_unit_starts_the_staged_program_unprivileged_with_its_configuration(self):
        unit = (ADDON / 'affix-netprobe.service').read_text()
        setting = lambda key: re.findall(rf'^{key}=(.*)$', unit, re.MULTILINE)
        self.assertEqual(setting('ExecStart'),
                         ['/opt/affix/netprobe/current/affix-netprobe --config %d/config --metrics 127.0.0.1:9417'])
        self.assertEqual((setting('User'), setting('Type')), (['affix-netprobe'], ['notify']))
        for key in ('AmbientCapabilities', 'CapabilityBoundingSet'):
            self.assertEqual(setting(key), ['CAP_BPF CAP_PERFMON CAP_NET_ADMIN'])
        manifest = (ADDON / 'addon.yaml').read_text()
        self.assertIn('os_capabilities: [cap_bpf, cap_perfmon, cap_net_admin]\n', manifest)
        self.assertIn('\nipc: netprobe-frame/1\n', manifest)

    def test_every_key_is_described_in_the_schema_and_in_the_manual(self):
        properties = json.loads((ADDON / 'config.schema.json').read_text())['properties']
        source = (SOURCE / 'src/netprobe/config_json.c').read_text()
        known = re.search(r'static void read_all.*?known\[\] = \{(.*?)NULL\}', source, re.DOTALL).group(1)
        self.assertEqual(set(re.findall(r'"(\w+)"', known)), set(properties))
        manual = (SOURCE / 'man/affix-netprobe.8.scd').read_text()
        rows = {name: row for row in re.findall(r'^\|  ((?:[\w, ]+)\n:  \w+\n)', manual, re.MULTILINE)
                for name in row.split('\n')[0].split(', ')}
        self.assertEqual(set(rows), set(properties))
        for name, value in properties.items():
            self.assertTrue('description' in value or '$ref' in value, name)
            self.assertEqual('Needs a restart' in value.get('description', ''), '\n:  restart\n' in rows[name], name)

    def test_the_agent_speaks_the_same_protocol(self):
        whole = messages('netprobe.proto')
        for message, fields in messages('addon_frame.proto').items():
            ours = whole[RENAMED.get(message, message)]
            for field, number in fields.items():
                self.assertEqual(ours.get(field), number, f'{message}.{field}')
        self.assertEqual(set(messages('addon_frame.proto')['Config']), set(whole['VisibilityAgentConfig']))


if __name__ == '__main__':
    unittest.main(verbosity=2)
