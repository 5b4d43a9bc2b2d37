#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An image that `affix image build` made of a Debian tree boots, in a VM: systemd is content, the add-on runs, the guest agent answers
its host, the ordinary updater upgrades the add-on in the running guest, and the host has the guest shut down in order.

The guest has a service of the test's beside it, which does what a word on a second serial port says: the agent executes nothing.
"""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import images
import host
import vm
from images import fixture

SKIP = 77
ADDON = 'node-exporter'
AGENT_PORT = 'org.affix.guestd.0'
TEST_PORT = 'org.affix.test.0'
MODULES = ('virtio_console', 'virtio_net', 'vsock', 'vsock_loopback', 'vmw_vsock_virtio_transport', 'autofs4')
# What the profile's modules-load.d names: nobody else loads the first, there is no such device; the second is not among the modules.
WANTED_MODULE, MISSING_MODULE = 'vmw_vsock_virtio_transport', 'virtio_rng'
BOOT_SECONDS = 240
VERSION = fixture.affix(['--version']).stdout.split()[1]
# What is asked of the guest by the test; each answer is a line.
SERVICE = '''[Unit]
Description=what the test asks of the guest
[Service]
Type=exec
ExecStart=/bin/bash /root/test-service
[Install]
WantedBy=multi-user.target
'''
SCRIPT = r'''
shopt -s nullglob
until [ "$port" ]; do
	for name in /sys/class/virtio-ports/*/name; do
		[ "$(<"$name")" != org.affix.test.0 ] || port=/dev/$(basename "$(dirname "$name")")
	done
	[ "$port" ] || sleep 0.2
done
exec 3<>"$port"
while true; do
	read -r word <&3 || { sleep 0.2; continue; }
	case $word in
	upgrade) affix install /root/*-2.0.0-*.tar.zst --json 2>&1 | tr -d '\n' ;;
	scrape) exec 4<>/dev/tcp/127.0.0.1/9100; printf 'GET /metrics HTTP/1.0\r\n\r\n' >&4; grep -a node_uname_info\{ <&4 | tr -d '\n'; exec 4>&- ;;
	stranger) affix vm ping --timeout 2 1 2>&1 | tr '\n' ' ' ;;
	vsock)
		/usr/lib/affix/affix-guestd --vsock-port 5000 --peer 1 --port /dev/null/none & affix vm ping --json 1:5000 2>&1 | tr -d '\n'
		kill $!
		;;
	unprivileged)
		/usr/lib/affix/affix-guestd --vsock-port 5001 --peer 1 --port /dev/null/none & affix vm ping 1:5001 >/dev/null
		perl -e 'socket(S, 40, 1, 0); connect(S, pack("SSLLx4", 40, 0, 5001, 1)); syswrite(S, "{\"schema\":1,\"verb\":\"shutdown\"}\n"); print scalar <S>' 2>&1 | tr -d '\n'
		kill $!
		;;
	privileged) # One that may not end the guest in fact.
		setpriv --reuid=65534 --clear-groups /usr/lib/affix/affix-guestd --vsock-port 5002 --peer 1 --port /dev/null/none &
		affix vm shutdown --json --timeout 10 1:5002 2>/dev/null | tr -d '\n'
		kill $!
		;;
	modules) { systemctl show -P Result systemd-modules-load.service; ls /sys/module; } | tr '\n' ' ' ;;
	*) printf 'unknown %q' "$word" ;;
	esac >/run/answer
	printf '%s %s\n' "$word" "$(</run/answer)" >&3
done
'''


def unavailable():
    if os.getuid() != 0:
        return 'the tree has owners, which need root'
    return vm.unavailable()


def bundle(work, exporter, version):
    """The node exporter as a signed bundle of a version."""
    source, out = work.fresh('source'), work.fresh('out')
    shutil.copytree(fixture.TOP / 'addons' / ADDON, source)
    manifest = source / 'addon.yaml'
    manifest.write_text(manifest.read_text().replace('version: 1.5.0', f'version: {version}').replace('window_seconds: 10', 'window_seconds: 1'))
    out.mkdir()
    fixture.affix(['build', source, '--bin', f'linux/{fixture.ARCH}={exporter}', '-o', out], check=True)
    return work.sign(next(out.glob('*.tar.zst')))


def udev_layer(directory):
    """Debian's udev and kmod for a tree that has none: their files as a layer, where merged /usr has them."""
    layer = directory / 'udev'
    for name in ('udev', 'kmod'):
        shutil.copytree(vm.package(name), layer, symlinks=True, dirs_exist_ok=True)
    for name in ('lib', 'bin', 'sbin'):
        if (layer / name).is_dir():
            shutil.copytree(layer / name, layer / 'usr' / name, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(layer / name)
    return layer


def test_layer(work, directory, upgrade):
    """The service, and what it upgrades to."""
    layer = directory / 'layer'
    units = layer / 'etc/systemd/system'
    wants = units / 'multi-user.target.wants'
    for path in (wants, layer / 'root', layer / 'etc/modules-load.d'):
        path.mkdir(parents=True)
    (units / 'test.service').write_text(SERVICE)
    (wants / 'test.service').symlink_to('/etc/systemd/system/test.service')
    (layer / 'root/test-service').write_text(SCRIPT)
    (layer / 'etc/modules-load.d/test.conf').write_text('vsock_loopback\n')
    for path in (upgrade, pathlib.Path(f'{upgrade}.minisig')):
        shutil.copy(path, layer / 'root')
    return layer


class Port:
    """The test's own serial port."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.file = self.socket.makefile('r', encoding='utf-8', errors='replace')

    def ask(self, word, seconds=90):
        self.socket.settimeout(seconds)
        self.socket.sendall(f'{word}\n'.encode())
        said, _, rest = self.file.readline().rstrip('\n').partition(' ')
        assert said == word, (said, rest)
        return rest


class ABootedImage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.addClassCleanup(cls.stack.close)
        cls.directory = pathlib.Path(tempfile.mkdtemp(prefix='affix-boot-', dir=os.environ.get('AFFIX_TEST_TMP', '/var/tmp')))
        cls.stack.callback(shutil.rmtree, cls.directory, ignore_errors=True)
        work = cls.stack.enter_context(fixture.Workshop())
        exporter = vm.package('prometheus-node-exporter') / 'usr/bin/prometheus-node-exporter'
        first, second = (bundle(work, exporter, version) for version in ('1.0.0', '2.0.0'))
        trust = cls.directory / 'trust'
        trust.mkdir()
        shutil.copy(work.public, trust / 'test.pub')
        cls.image = cls.directory / 'disk.img'
        configuration = cls.directory / 'config.json'
        configuration.write_text('{}')
        built = fixture.affix(['image', 'build', host.scratch_root(), udev_layer(cls.directory), test_layer(work, cls.directory, second),
                               '--with-affix', '--profile', 'vm', '--kernel-modules', vm.modules(vm.kernel_tree(), cls.directory / 'kernel', MODULES), '--trust', trust, '--add-on', first,
                               '--config', f'{ADDON}={configuration}', '--hostname', 'guest', '--size', '+256M', '-o', cls.image])
        assert built.returncode == 0, built.stderr
        images.check(cls.image)
        began = time.monotonic()
        cls.machine = cls.stack.enter_context(vm.Machine(cls.image, cls.directory, [AGENT_PORT, TEST_PORT], append='quiet'))
        cls.agent = cls.machine.sockets[AGENT_PORT]
        cls.wait_for_boot()
        print(f'\nup after {time.monotonic() - began:.1f} s, by {cls.machine.accelerator}', file=sys.stderr)
        cls.port = Port(cls.machine.sockets[TEST_PORT])

    @classmethod
    def vm(cls, verb, *words, seconds=60):
        done = fixture.affix(['vm', verb, '--json', '--timeout', str(seconds), *words, cls.agent])
        return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr

    @staticmethod
    def add_ons(answer):
        """By id, version and state of each; affix itself and what makes a guest of the image are among them."""
        return {item['id']: (item['version'], item['state']) for item in answer['data']['addons']}

    @classmethod
    def wait_for_boot(cls):
        end = time.monotonic() + BOOT_SECONDS
        code, cls.first_answer = cls.vm('ping', seconds=BOOT_SECONDS)
        while code in (0, 4) and time.monotonic() < end:
            code, answer = cls.vm('health')
            if code != 4:
                return
            time.sleep(0.5)
        raise AssertionError(f'the guest did not come up: {cls.first_answer}\n{cls.machine.console()[-6000:]}')

    own = {'affix': (VERSION, 'running'), 'vm': (VERSION, 'running')}

    def test_1_the_guest_is_running_and_so_is_the_add_on(self):
        code, answer = self.vm('health')
        self.assertEqual((code, answer['data']['state'], answer['data']['failed_units']), (0, 'running', []), self.machine.console()[-6000:])
        self.assertEqual(self.add_ons(answer), {**self.own, ADDON: ('1.0.0', 'running')})
        self.assertLess(answer['data']['uptime_seconds'], BOOT_SECONDS)
        self.assertIn('release="6.1.', self.port.ask('scrape'))

    def test_1_modules_are_loaded_and_one_that_the_kernel_lacks_is_passed_over(self):
        result, *rest = self.port.ask('modules').split(' ')
        self.assertEqual(result, 'success')
        self.assertIn(WANTED_MODULE, rest)
        self.assertNotIn(MISSING_MODULE, rest)

    def test_2_ping_is_answered_each_time_somebody_connects(self):
        code, answer = self.vm('ping')
        self.assertEqual((code, answer['outcome']), (0, 'done'), answer)
        self.assertEqual(answer['data']['boot_id'], self.first_answer['data']['boot_id'])
        # After a while, what the host says and that there is one arrive in the guest by different ways.
        for pause in (2.5, 0, 0.3, 4, 0, 2.2):
            time.sleep(pause)
            self.assertEqual(self.vm('ping')[0], 0, pause)

    def test_3_what_somebody_left_on_the_port_is_in_nobodys_way(self):
        with socket.socket(socket.AF_UNIX) as rude:
            rude.connect(str(self.agent))
            rude.sendall(b'\xff' * 5000 + b'{"schema":1,"verb":"shutd')
        self.assertEqual(self.vm('ping')[0], 0)

    def test_4_over_vsock_the_host_alone_is_answered(self):
        self.assertIn('timeout:', self.port.ask('stranger'))
        answer = json.loads(self.port.ask('vsock'))
        self.assertEqual((answer['outcome'], answer['data']['boot_id']), ('done', self.first_answer['data']['boot_id']))

        refused = [json.loads(self.port.ask(word))['name'] for word in ('unprivileged', 'privileged')]
        self.assertEqual(refused, ['forbidden', 'no-manager'])

    def test_5_the_updater_upgrades_in_the_running_guest(self):
        answer = json.loads(self.port.ask('upgrade'))
        self.assertEqual((answer['outcome'], answer['version']), ('done', '2.0.0'), answer)
        code, health = self.vm('health')
        self.assertEqual((code, health['data']['state'], self.add_ons(health)), (0, 'running', {**self.own, ADDON: ('2.0.0', 'running')}))
        self.assertIn('release="6.1.', self.port.ask('scrape'))

    def test_6_shutdown_ends_the_machine_in_order(self):
        code, answer = self.vm('shutdown')
        self.assertEqual((code, answer['outcome']), (0, 'done'), answer)
        self.assertEqual(self.machine.wait(60), 0)
        self.assertIn('reboot: Power down', self.machine.console())
        images.check(self.image)
        status = json.loads(fixture.affix(['image', 'status', '--json', self.image], check=True).stdout)
        self.assertEqual({item['id']: item['version'] for item in status['data']['addons']}, {**{name: VERSION for name in self.own}, ADDON: '2.0.0'})
        # It has become one machine, and is a template again.
        self.assertRegex(fixture.affix(['image', 'cat', self.image, '/etc/machine-id'], check=True).stdout, r'^[0-9a-f]{32}\n$')
        self.assertIn('/etc/machine-id', json.loads(fixture.affix(['image', 'reset', '--json', self.image], check=True).stdout)['reset'])
        images.check(self.image)
        self.assertEqual(fixture.affix(['image', 'cat', self.image, '/etc/machine-id'], check=True).stdout, '')
        self.assertEqual(subprocess.run([fixture.AFFIX, 'vm', 'ping', self.agent], stderr=subprocess.DEVNULL, check=False).returncode, 4)


if __name__ == '__main__':
    why_not = unavailable()
    if why_not:
        print(f'SKIP: {why_not}')
        sys.exit(SKIP)
    unittest.main(verbosity=2)
