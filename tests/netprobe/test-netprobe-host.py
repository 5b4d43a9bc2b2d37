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
# One connection, on which a byte goes there and back ten times a second; the number of rounds is in /run/keeper.
KEEPER = '''
use IO::Socket::INET;
my $server = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1", LocalPort => 7777) or die;
if (fork) { my $peer = $server->accept; while (sysread($peer, my $byte, 1)) { syswrite($peer, $byte) } exit }
my $peer = IO::Socket::INET->new(PeerAddr => "127.0.0.1:7777") or die;
for (my $round = 1; ; $round++) {
    syswrite($peer, "x") and sysread($peer, my $byte, 1) or die;
    open(my $file, ">", "/run/keeper"); print $file $round; close $file;
    select(undef, undef, undef, 0.1);
}'''
# CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF
CAPABILITIES = 1 << 12 | 1 << 38 | 1 << 39


class Delivered(live.Case):
    def bundle(self, version):
        return self.work.netprobe(version)

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
        programs = self.programs(user)
        if self.ping()['tier'] in ('full', 'cgroup'):
            self.assertNotEqual(programs, [])
        self.keep_a_connection()
        first = self.pid(UNIT)
        self.assertDone(self.install(self.bundle('0.1.1'), '--config', self.config(enabled=True)))
        self.assertNotEqual(self.pid(UNIT), first)
        self.assertTrue(self.ping()['enabled'])
        self.check_connection()
        self.check_configuration()
        self.assertDone(self.affix('uninstall', 'netprobe'))
        self.assertGone('netprobe')
        self.until(lambda: self.programs(user) == [], 60)
        self.assertFalse(self.host.path('/run/affix/netprobe/ipc.sock').exists())

    def programs(self, user):
        """The BPF programs that the add-on's user loaded. Only this host has one of that name; its number is the same outside."""
        tool = shutil.which('bpftool', path='/usr/sbin:/usr/bin:/sbin:/bin')
        found = json.loads(fixture.run([tool, 'prog', 'list', '-j']).stdout) if tool else []
        return [program['id'] for program in found if program.get('uid') == int(user)]

    def rounds(self):
        return int((self.lines('/run/keeper') or ['0'])[0] or 0)

    def keep_a_connection(self):
        keeper = self.host.popen(['perl', '-e', KEEPER])
        self.addCleanup(keeper.wait)
        self.addCleanup(keeper.kill)
        self.until(lambda: self.rounds() > 3, 60)

    def kept(self):
        """The flow of the keeper's connection as netprobe knows it, from the side that began it."""
        lines = self.host.run([PROGRAM, 'flows', '--json', '--filter', ':7777'], check=True).stdout.splitlines()
        return next((flow for flow in map(json.loads, lines) if flow['remote_port'] == 7777), None)

    def check_connection(self):
        """The connection is the one that was there before the upgrade, it goes on, and is known with its process."""
        before = self.rounds()
        flow = self.until(lambda: (self.kept() or {}).get('comm') and self.kept(), 60)
        self.assertEqual(flow['comm'], 'perl')
        self.until(lambda: self.rounds() > before + 3, 60)

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
