#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The kernel that Debian 12 comes with, in a VM: netprobe's programs load there, too, and say whose a flow is.

QEMU boots Debian's kernel with nothing but an initramfs of the built programs and the libraries that they name; without KVM this takes some
seconds. What the guest's /init prints comes out of the serial port.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))

import vm

BUILD = pathlib.Path(os.environ['AFFIX_BUILD'])
PROGRAMS = {'affix-netprobe': BUILD / 'bin/affix-netprobe', 'sockets': BUILD / 'tests/bench/sockets',
            'netprobe-senders': BUILD / 'tests/netprobe/netprobe-senders', 'netprobe-collect': BUILD / 'tests/netprobe/netprobe-collect',
            'setpriv': shutil.which('setpriv')}
SKIP = 77
HELD = 40
SENT = 60
SENT_BARE = 10
CAPABILITIES = '-all,+bpf,+perfmon,+net_admin'
INIT = f'''#!/bin/busybox sh
export PATH=/bin
busybox mount -t proc proc /proc
busybox --install -s /bin
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t cgroup2 none /sys/fs/cgroup
ip link set lo up
mkdir /run/affix
chown 65534:65534 /run/affix
probe() {{ affix-netprobe "$@" --json --socket /run/affix/ipc.sock; }}
mkfifo /run/never
exec 3<>/run/never
sockets hold {HELD} <&3 >/run/before &
until grep -q held /run/before; do usleep 50000; done
# As its unit has it. busybox has another setpriv.
/bin/setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs --inh-caps={CAPABILITIES} --ambient-caps={CAPABILITIES} \
	--bounding-set={CAPABILITIES} affix-netprobe --socket /run/affix/ipc.sock --config /config.json --metrics 127.0.0.1:9417 &
daemon=$!
until probe ping >/run/ping 2>/dev/null || ! kill -0 $daemon; do usleep 50000; done
echo "ping $(cat /run/ping)"
sockets hold {HELD} <&3 >/run/after &
until grep -q held /run/after; do usleep 50000; done
netprobe-senders {SENT} <&3 >/run/senders &
until grep -q held /run/senders || ! kill -0 $!; do usleep 50000; done
netprobe-senders six <&3 >/run/six &
until grep -q held /run/six || ! kill -0 $!; do usleep 50000; done
sockets visit 500 >/dev/null
usleep 500000
echo "kernel $(uname -r)"
echo "holders $(pidof sockets)"
sed 's/^/sender /' /run/senders
sed 's/^/six /' /run/six
probe flows | sed 's/^/flow /'
probe listeners | sed 's/^/listener /'
# Nothing is executed meanwhile: that would be something to be told of.
pause() {{ read -t "$1" -r nothing <&3; }}
switches() {{ while read -r key value; do [ "$key" = voluntary_ctxt_switches: ] && number=$value; done </proc/$daemon/status; }}
# The kernel's own processes may be something to be told of, too: it has to sleep once, not each time.
for look in 1 2 3 4 5; do
	pause 1
	switches
	before=$number
	pause 2
	switches
	[ $((number - before)) != 0 ] || break
done
echo "woken $((number - before))"
echo "ping $(probe ping)"
wget -q -O - http://127.0.0.1:9417/metrics | grep ^netprobe_sends_seen
kill $daemon
wait $daemon
ended=$?
# As on a kernel that has no functions to be hooked, either; and then as on one that has no tracepoints.
for tier in full cgroup; do
	mkfifo /run/asked_$tier
	NETPROBE_WITHOUT='ipv4_sent ipv4_received' netprobe-collect $tier </run/asked_$tier >/run/bare_$tier &
	exec 4>/run/asked_$tier
	until grep -q tier /run/bare_$tier || ! kill -0 $!; do usleep 50000; done
	netprobe-senders {SENT_BARE} <&3 >/run/senders_of_$tier &
	until grep -q held /run/senders_of_$tier; do usleep 50000; done
	usleep 500000
	echo refresh >&4
	until grep -q counts /run/bare_$tier || ! kill -0 $!; do usleep 50000; done
	sed "s/^/sender_of_$tier /" /run/senders_of_$tier
	sed "s/^/bare_$tier /" /run/bare_$tier
done
echo "ended $ended"
poweroff -f
'''


def libraries(program):
    """The files that the dynamic linker takes for it, itself among them."""
    listed = subprocess.run(['ldd', program], stdout=subprocess.PIPE, text=True, check=True).stdout
    return re.findall(r'(/\S+) \(0x', listed)


def initramfs(directory):
    tree = directory / 'tree'
    for name in ('bin', 'proc', 'sys', 'dev', 'run', 'tmp'):
        (tree / name).mkdir(parents=True)
    shutil.copy(shutil.which('busybox'), tree / 'bin/busybox')
    for name, program in PROGRAMS.items():
        shutil.copy(program, tree / 'bin' / name)
        for library in libraries(program):
            target = pathlib.Path(f'{tree}{library}')
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(os.path.realpath(library), target)
    (tree / 'config.json').write_text('{"enabled": true}')
    (tree / 'init').write_text(INIT)
    (tree / 'init').chmod(0o755)
    return vm.pack(tree, directory / 'initramfs')


def boot(image, accelerator, seconds):
    """What the guest said, however far it came."""
    command = ['qemu-system-x86_64', '-accel', accelerator, '-machine', 'q35', '-cpu', 'max', '-m', '512', '-smp', '2', '-nodefaults', '-no-reboot',
               '-display', 'none', '-serial', 'stdio', '-kernel', vm.vmlinuz(vm.kernel_tree()), '-initrd', image, '-append', 'console=ttyS0 quiet panic=-1']
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, check=False).stdout
    except subprocess.TimeoutExpired as late:
        return late.stdout or b''


class OnTheKernelOfDebian12(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory(prefix='affix-vm-') as name:
            image = initramfs(pathlib.Path(name))
            output = b''
            # /dev/kvm may be there and run nothing; one that works needs few seconds.
            if os.access('/dev/kvm', os.R_OK | os.W_OK):
                output = boot(image, 'kvm', 40)
            if b'ended ' not in output:
                output = boot(image, 'tcg', 350)
        cls.text = output.decode(errors='replace')
        cls.said = {}
        for line in cls.text.replace('\r', '').splitlines():
            word, _, rest = line.partition(' ')
            cls.said.setdefault(word, []).append(rest)

    def objects(self, word):
        return [json.loads(text) for text in self.said.get(word, [])]

    def test_it_is_that_kernel(self):
        self.assertTrue(self.said.get('kernel', [''])[0].startswith('6.1.'), self.text[-3000:])

    def test_all_that_it_has_loads_and_attaches(self):
        for answer in self.objects('ping'):
            self.assertEqual(answer['tier'], 'full', answer)
            # These came with 6.3. All else that a kernel could lack would be named here, too.
            self.assertEqual(answer['tier_reason'], 'fexit/inet_sendmsg stands in for tp_btf/sock_send_length. '
                             'fexit/inet_recvmsg stands in for tp_btf/sock_recv_length.')
        self.assertEqual(len(self.objects('ping')), 2, self.text[-3000:])
        self.assertEqual(self.said['netprobe_sends_seen{at="functions"}'], ['1'])

    def test_held_connections_are_their_processes_also_those_from_before(self):
        holders = {int(pid) for pid in self.said['holders'][0].split()}
        held = [flow for flow in self.objects('flow') if '127.0.0.2' in (flow['local_ip'], flow['remote_ip'])]
        self.assertEqual(len(held), 2 * 2 * HELD)
        self.assertEqual({flow['comm'] for flow in held}, {'sockets'})
        self.assertLessEqual({flow['tgid'] for flow in held}, holders)
        self.assertEqual(len({flow['tgid'] for flow in held}), 2)

    def test_who_sends_is_known_though_there_is_no_tracepoint_of_it(self):
        owners = {int(flow['socket_cookie']): flow.get('tgid', 0) for flow in self.objects('flow')}
        senders = [line.split() for line in self.said['sender'] if line != 'held']
        self.assertEqual(len(senders), 22 * SENT)
        self.assertEqual([line for line in senders if owners[int(line[0])] != int(line[2])], [])

    def test_what_is_sent_and_received_over_ipv6_is_seen_by_what_stands_in(self):
        flows = {int(flow['socket_cookie']): flow for flow in self.objects('flow')}
        senders = [line.split() for line in self.said['six'] if line != 'held']
        self.assertEqual([what for _, what, _ in senders], ['tcp', 'udp', 'raw'])
        for number, what, pid in senders:
            flow = flows[int(number)]
            self.assertEqual((flow.get('tgid'), flow['bytes_sent'], flow.get('bytes_received')), (int(pid), 12, 12), what)

    def test_without_stand_ins_nobody_is_taken_for_another(self):
        for tier in ('full', 'cgroup'):
            said = self.objects(f'bare_{tier}')
            self.assertEqual(said[0]['tier'], tier)
            if tier == 'full':
                self.assertEqual(set(re.findall(r'\w+/\w+', said[0]['why'])),
                                 {'tp_btf/sock_send_length', 'tp_btf/sock_recv_length', 'fexit/inet_sendmsg', 'fexit/inet_recvmsg'})
            owners = {flow['cookie']: flow['tgid'] for flow in said if flow['event'] == 'flow'}
            senders = [line.split() for line in self.said[f'sender_of_{tier}'] if line != 'held']
            self.assertEqual(len(senders), 22 * SENT_BARE)
            self.assertEqual([line for line in senders if owners[int(line[0])] not in (0, int(line[2]))], [])
            # Of what is submitted even the call does not tell, nor of what has to wait, nor of what leaves in setsockopt().
            self.assertEqual({what for number, what, _ in senders if owners[int(number)] == 0},
                             {'waiting', 'late', 'ring', 'ringstream', 'submitted', 'submitstream', 'let_go', 'more_let_go', 'first_let_go'}, tier)

    def test_short_connections_have_owners_and_nothing_is_lost(self):
        last = self.objects('ping')[-1]
        self.assertEqual((last['records_lost'], last['owners_unknown']), (0, 0), last)
        self.assertGreaterEqual(last['owners_known'], 2 * 500 + 2 * 2 * HELD)

    def test_it_sleeps_when_nothing_happens_any_more(self):
        self.assertEqual(self.said.get('woken'), ['0'], self.text[-3000:])

    def test_it_ends_when_it_is_asked_to(self):
        self.assertEqual(self.said.get('ended'), ['0'], self.text[-3000:])


if __name__ == '__main__':
    reason = vm.unavailable()
    if reason:
        print(reason, file=sys.stderr)
        sys.exit(SKIP)
    unittest.main(verbosity=2)
