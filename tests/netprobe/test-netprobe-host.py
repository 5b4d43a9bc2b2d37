#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""addons/netprobe as it is delivered: a signed bundle, installed on a booted host, started by its systemd, asked, upgraded, removed."""

import json
import pathlib
import shutil
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(SOURCE / 'tests/e2e'), str(SOURCE / 'tests/lib')]
import fixture
import live

PROGRAM = '/opt/affix/netprobe/current/affix-netprobe'
UNIT = 'affix-netprobe.service'
# CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF
CAPABILITIES = 1 << 12 | 1 << 38 | 1 << 39


class Delivered(live.Case):
    def bundle(self, version):
        """The add-on as it is in the tree, but for its version and how long it is watched."""
        directory = self.work.fresh(version)
        shutil.copytree(SOURCE / 'addons/netprobe', directory)
        manifest = directory / 'addon.yaml'
        text = manifest.read_text().replace('\nversion: 0.1.0\n', f'\nversion: {version}\n')
        manifest.write_text(text.replace('window_seconds: 10', 'window_seconds: 2'))
        output = self.work.fresh('bundle')
        output.mkdir()
        binary = fixture.BUILD / 'src/netprobe/affix-netprobe'
        fixture.affix(['build', directory, '--bin', f'linux/{fixture.ARCH}={binary}', '-o', output], check=True)
        made, = output.iterdir()
        fixture.affix(['sign', '-s', self.work.secret, made], check=True)
        return made

    def config(self, **values):
        self.host.write('/root/netprobe.json', json.dumps(values))
        return '/root/netprobe.json'

    def ping(self, user='affix'):
        done = self.host.run([PROGRAM, 'ping', '--json'], user=user)
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr

    def process(self, key):
        lines = self.host.run(['cat', f'/proc/{self.pid(UNIT)}/status'], check=True).stdout.splitlines()
        return next(line.split(':', 1)[1].split() for line in lines if line.startswith(f'{key}:'))

    def test_it_runs_unprivileged_answers_its_group_is_upgraded_configured_and_removed(self):
        self.assertDone(self.install(self.bundle('0.1.0'), '--config', self.config(enabled=True)))
        self.assertEqual(self.show(UNIT, 'ActiveState'), 'active')
        self.assertIn('enabled, tier', self.show(UNIT, 'StatusText'))
        user = self.host.run(['id', '-u', 'affix-netprobe'], check=True).stdout.strip()
        self.assertEqual(set(self.process('Uid')), {user})
        for kind in ('CapAmb', 'CapBnd', 'CapEff'):
            self.assertEqual(int(self.process(kind)[0], 16), CAPABILITIES, kind)
        self.check_socket()
        first = self.pid(UNIT)
        self.assertDone(self.install(self.bundle('0.1.1'), '--config', self.config(enabled=True)))
        self.assertNotEqual(self.pid(UNIT), first)
        self.assertTrue(self.ping()['enabled'])
        self.check_configuration()
        self.assertDone(self.affix('uninstall', 'netprobe'))
        self.assertGone('netprobe')
        self.assertFalse(self.host.path('/run/affix/netprobe/ipc.sock').exists())

    def check_socket(self):
        answer = self.ping()
        self.assertTrue(answer['enabled'], answer)
        self.assertFalse(answer['running_as_root'])
        # Who is not in the group is not let in.
        self.assertIn('Permission denied', self.ping(user='nobody'))
        found = self.host.run(['stat', '-c', '%a %U %G', '/run/affix/netprobe/ipc.sock'], check=True).stdout.split()
        self.assertEqual(found, ['660', 'affix-netprobe', 'affix'])
        get = 'exec 3<>/dev/tcp/127.0.0.1/9417; printf "GET / HTTP/1.0\\r\\n\\r\\n" >&3; cat <&3'
        metrics = self.host.run(['bash', '-c', get], check=True).stdout
        self.assertIn('\nnetprobe_enabled 1\n', metrics)

    def check_configuration(self):
        refused = self.affix('configure', 'netprobe', self.config(enabled=True, capture_interfaces=['any']))
        self.assertRefused(refused, 'bad-config')
        self.assertTrue(self.ping()['enabled'])
        self.assertDone(self.affix('configure', 'netprobe', self.config(enabled=False)))
        self.assertFalse(self.ping()['enabled'])
        self.assertIn('not enabled', self.show(UNIT, 'StatusText'))


if __name__ == '__main__':
    live.main()
