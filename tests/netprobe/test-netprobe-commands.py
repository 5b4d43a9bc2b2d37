#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The commands of affix-netprobe at a daemon whose collector sees what the test says; and its metrics."""

import fcntl
import json
import os
import pathlib
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
import unicodedata
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import probe

TIME = r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z'
STARTED = 1_700_000_000_250_000_000


class Case(unittest.TestCase):
    def daemon(self, *arguments, config=None, **options):
        daemon = probe.Daemon(*arguments, config=config or {'enabled': True}, **options)
        self.addCleanup(daemon.clean)
        daemon.wait_ready()
        return daemon

    def busy(self, *arguments):
        """A daemon with five flows of two processes and a listener."""
        daemon = self.daemon(*arguments)
        for n in range(1, 6):
            daemon.play(cookie=n, pid=100 + n % 2, comm='curl' if n % 2 else 'nginx', local='192.0.2.1', local_port=40000 + n,
                        remote='198.51.100.2', remote_port=443, bytes_sent=n * 1000, retransmits=6 - n, started=STARTED,
                        inbound=n % 2 == 0, container='c0ffee' * 10 + 'beef' if n == 2 else '', cmdline='/usr/bin/it', arguments=3)
        daemon.play(cookie=9, pid=9, comm='sshd', listener=True, local='0.0.0.0', local_port=22, started=STARTED)
        probe.until(lambda: json.loads(daemon.run('ping', '--json').stdout)['flows'] == 6, 'the flows are known')
        return daemon


class Commands(Case):
    def test_ping_tells_the_tier_and_why_it_is_no_better_one(self):
        daemon = self.daemon(config={'enabled': True, 'tier_max': 'cgroup'})
        result = daemon.run('ping')
        self.assertEqual((result.returncode, result.stderr), (0, ''))
        self.assertRegex(result.stdout, rf'^{TIME} affix-netprobe [\d.]+ answers after \d+ us\n')
        self.assertIn('cgroup: As asked for.', result.stdout)

    def test_flows_are_rows_for_people_and_objects_for_programs(self):
        daemon = self.busy()
        lines = daemon.run('flows').stdout.splitlines()
        self.assertEqual(len(lines), 6)
        self.assertRegex(lines[2], r'^tcp +192\.0\.2\.1:40002 +<- 198\.51\.100\.2:443 +nginx\[100\] +c0ffeec0ffee +2000 +0 '
                                   r'2023-11-14T22:13:20\.250Z$')
        flows = [json.loads(line) for line in daemon.run('flows', '--json', '--filter', 'NGINX').stdout.splitlines()]
        self.assertEqual(len(flows), 2)
        self.assertEqual({key: flows[0][key] for key in ('comm', 'tgid', 'local_port', 'bytes_sent', 'started', 'socket_cookie')},
                         {'comm': 'nginx', 'tgid': 100, 'local_port': 40002, 'bytes_sent': 2000,
                          'started': '2023-11-14T22:13:20.250Z', 'socket_cookie': '2'})
        self.assertEqual(flows[0]['redacted_cmdline'], ['/usr/bin/it', '[redacted 3 arg(s)]'])

    def test_columns_stand_below_each_other_however_wide_the_characters_are(self):
        daemon = self.daemon()
        for number, comm in enumerate(('abcd', '\u65e5\u672c', 'e\u0301'), 1):
            for listener in (False, True):
                daemon.play(cookie=number + 10 * listener, pid=7, comm=comm, local='192.0.2.1', remote='192.0.2.2', remote_port=1, listener=listener)
        probe.until(lambda: json.loads(daemon.run('ping', '--json').stdout)['flows'] == 6, 'the flows are known')
        for command in ('flows', 'listeners'):
            _, *lines = daemon.run(command).stdout.splitlines()
            befores = [line[:line.index(' -  ')] for line in lines]
            columns = {sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) == 'W' else 1 for c in before) for before in befores}
            self.assertEqual((len(lines), len(columns)), (3, 1), lines)

    def test_a_filter_looks_at_ports_addresses_containers_and_ids(self):
        daemon = self.busy()
        for text, count in ((':40003', 1), ('c0ffee', 1), ('198.51', 5), ('101', 3), ('it', 5), ('udp', 0)):
            self.assertEqual(len(daemon.run('flows', '--json', '--filter', text).stdout.splitlines()), count, text)

    def test_listeners_have_no_other_end(self):
        daemon = self.busy()
        listener, = [json.loads(line) for line in daemon.run('listeners', '--json').stdout.splitlines()]
        self.assertEqual((listener['comm'], listener['local_port'], listener['listener']), ('sshd', 22, True))
        self.assertFalse({'remote_ip', 'bytes_sent'} & set(listener))
        self.assertRegex(daemon.run('listeners').stdout, r'\ntcp +\*:22 +sshd\[9\]')

    def test_a_number_beyond_those_of_json_is_its_largest_one(self):
        daemon = self.busy()
        # The script's numbers are JSON's, too; this is 2^64 - 1.
        daemon.play(cookie=7, local_port=40007, remote='198.51.100.2', remote_port=443, bytes_sent=-1)
        probe.until(lambda: json.loads(daemon.run('ping', '--json').stdout)['flows'] == 7, 'the flows are known')
        result = daemon.run('flows', '--json')
        self.assertEqual((result.returncode, result.stderr), (0, ''))
        self.assertEqual({flow['local_port']: flow['bytes_sent'] for flow in map(json.loads, result.stdout.splitlines())}[40007], 2**63 - 1)

    def test_thousands_of_listeners_with_long_words_are_read_by_every_command(self):
        daemon = self.daemon(config={'enabled': True, 'process_snapshot_interval_s': 1})
        daemon.play(times=2000, cookie=1, pid=9, uid=1, gid=1, comm='c' * 15, cmdline='/' * 255, arguments=4_000_000_000,
                    container='c' * 64, listener=True, local='2001:db8:1111:2222:3333:4444:5555:6666', local_port=10000)
        client = daemon.client()
        self.addCleanup(client.close)
        probe.until(lambda: client.next_unasked(probe.SNAPSHOT)[1].get(3), 'there is a snapshot')
        # Who connects now gets it before anything else.
        self.assertEqual(json.loads(daemon.run('ping', '--json').stdout)['flows'], 2000)
        result = daemon.run('listeners', '--json')
        self.assertEqual((result.returncode, result.stderr, len(result.stdout.splitlines())), (0, '', 2000))

    def test_watch_prints_events_as_lines_at_once(self):
        daemon = self.daemon()
        watch = subprocess.Popen([probe.SCRIPTED, '--socket', daemon.socket, 'watch', '--json'], stdout=subprocess.PIPE, text=True)
        self.addCleanup(watch.stdout.close)
        self.addCleanup(watch.wait)
        self.addCleanup(watch.kill)
        probe.until(lambda: json.loads(daemon.run('ping', '--json').stdout)['clients'] == 2, 'watch is connected')
        daemon.play(event=2, cookie=1, pid=7, comm='curl', local='2001:db8::1', remote='2001:db8::2', remote_port=80, inbound=True)
        event = json.loads(watch.stdout.readline())
        self.assertRegex(event['time'], f'^{TIME}$')
        self.assertEqual((event['event'], event['tgid'], event['remote_ip'], event['inbound']), ('accept', 7, '2001:db8::2', True))
        daemon.play(event=3, cookie=1, pid=7, local='2001:db8::1', remote='2001:db8::2', ended=STARTED)
        event = json.loads(watch.stdout.readline())
        self.assertEqual((event['event'], event['end_reason'], event['ended']), ('close', 'closed', '2023-11-14T22:13:20.250Z'))

    def test_without_a_daemon_a_command_says_so(self):
        daemon = self.daemon()
        daemon.end()
        for command in ('ping', 'flows', 'listeners', 'watch', 'top'):
            result = subprocess.run([probe.SCRIPTED, '--socket', daemon.socket, command], text=True, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, check=False)
            self.assertEqual((result.returncode, result.stdout), (1, ''))
            self.assertIn('no netprobe listens there', result.stderr)

    def test_output_that_cannot_be_written_is_said_and_a_failure(self):
        daemon = self.busy()
        for words in (('ping',), ('ping', '--json'), ('flows',), ('listeners', '--json')):
            with open('/dev/full', 'wb') as full:
                result = subprocess.run([probe.SCRIPTED, '--socket', daemon.socket, *words], stdout=full, stderr=subprocess.PIPE,
                                        text=True, check=False)
            self.assertEqual((result.returncode, result.stderr.splitlines()),
                             (1, ['affix-netprobe: standard output takes no more; is its disk full, or closed?']), words)

    def test_a_word_that_is_no_option_is_one_sentence(self):
        for words in (('--nonsense',), ('--socket',), ('ping', '--sort')):
            result = subprocess.run([probe.SCRIPTED, *words], text=True, capture_output=True, check=False)
            self.assertEqual((result.returncode, result.stderr), (
                2, f"affix-netprobe: '{words[-1]}' is no option, or one without what belongs to it; see --help\n"))

    def test_escape_sequences_of_a_process_do_not_reach_the_terminal(self):
        daemon = self.daemon()
        daemon.play(cookie=1, pid=7, comm='\x1b[2Jx', local='192.0.2.1', remote='192.0.2.2', remote_port=1)
        probe.until(lambda: json.loads(daemon.run('ping', '--json').stdout)['flows'] == 1, 'the flow is known')
        for command in (('flows',), ('top', '--count', '1')):
            output = daemon.run(*command).stdout
            self.assertIn('\\x1b[2Jx[7]', output)
            self.assertNotIn('\x1b', output)


class Top(Case):
    def test_into_a_pipe_it_is_plain_and_sorted_with_rates(self):
        daemon = self.busy()
        top = subprocess.Popen([probe.SCRIPTED, '--socket', daemon.socket, 'top', '--count', '2', '--interval', '1'],
                               stdout=subprocess.PIPE, text=True)
        sent = 1000
        while top.poll() is None:
            sent += 10 ** 6
            daemon.play(event=32, cookie=1, pid=101, comm='curl', local='192.0.2.1', local_port=40001, remote='198.51.100.2',
                        remote_port=443, bytes_sent=sent, started=STARTED)
            time.sleep(0.02)
        output = top.communicate()[0]
        self.assertEqual(top.returncode, 0)
        self.assertNotIn('\x1b', output)
        for look in output.split('\n\n'):
            lines = look.splitlines()
            self.assertRegex(lines[0], rf'^{TIME}  5 flows  tier full  by rate$')
            # The one that moves is the first.
            self.assertRegex(lines[2], r'192\.0\.2\.1:40001 -> .* \d+\.\d[KMG] +\d+\.\d[MG] ')
            self.assertEqual(len(lines), 7)

    def test_sorts_as_it_is_told_and_groups_by_process(self):
        daemon = self.busy()
        rows = lambda *arguments: daemon.run('top', '--count', '1', *arguments).stdout.splitlines()[2:]
        ports = lambda lines: [int(re.search(r':4000(\d)', line).group(1)) for line in lines]
        self.assertEqual(ports(rows('--sort', 'bytes')), [5, 4, 3, 2, 1])
        self.assertEqual(ports(rows('--sort', 'retransmits')), [1, 2, 3, 4, 5])
        self.assertEqual(ports(rows('--sort', 'process', '--filter', 'curl')), [5, 3, 1])
        tree = rows('--tree', '--sort', 'bytes')
        self.assertRegex(tree[0], r'^curl\[101\] +- +3 flows +0 +9\.0K +9$')
        self.assertEqual(ports(tree[1:4]), [5, 3, 1])
        self.assertRegex(tree[4], r'^nginx\[100\] +(-|c0ffeec0ffee) +2 flows +0 +6\.0K +6$')
        self.assertTrue(all(line.startswith('  ') for line in tree[1:4] + tree[5:]))


class Terminal(Case):
    def setUp(self):
        self.ours, theirs = os.openpty()
        self.addCleanup(os.close, self.ours)
        self.resize(100, 30)
        self.seen = b''
        daemon = self.busy()
        self.before = termios.tcgetattr(theirs)
        self.top = subprocess.Popen([probe.SCRIPTED, '--socket', daemon.socket, 'top', '--sort', 'bytes'], stdin=theirs,
                                    stdout=theirs, stderr=theirs, start_new_session=True)
        self.addCleanup(self.top.wait)
        self.addCleanup(self.top.kill)
        self.theirs = theirs
        self.addCleanup(os.close, theirs)

    def resize(self, width, height):
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack('HHHH', height, width, 0, 0))

    def pictures(self):
        """All whole pictures so far, as lists of lines."""
        while select.select([self.ours], [], [], 0.02)[0]:
            self.seen += os.read(self.ours, 65536)
        found = re.findall(rb'\x1b\[H(.*?)\x1b\[J', self.seen, re.DOTALL)
        return [[line.replace('\x1b[K', '') for line in picture.decode().replace('\r', '').split('\n')] for picture in found]

    def picture(self, condition, what):
        """The next picture that *condition* is true of."""
        seen = len(self.pictures())
        return probe.until(lambda: next(filter(condition, self.pictures()[seen - 1 if seen else 0:]), None), what)

    def press(self, keys):
        os.write(self.ours, keys)

    def test_the_table_has_the_size_of_the_terminal_also_when_that_changes(self):
        picture = self.picture(lambda lines: len(lines) == 7, 'two lines of head and five flows')
        self.assertTrue(all(len(line) <= 100 for line in picture))
        self.resize(40, 4)
        self.top.send_signal(signal.SIGWINCH)
        picture = self.picture(lambda lines: max(map(len, lines)) <= 40, 'a narrow one')
        self.assertEqual(len(picture), 4)
        self.resize(200, 50)
        self.top.send_signal(signal.SIGWINCH)
        picture = self.picture(lambda lines: max(map(len, lines)) > 110, 'a wide one')
        self.assertIn('192.0.2.1:40005 -> 198.51.100.2:443', picture[2])

    def test_keys_sort_filter_pause_group_and_scroll(self):
        self.picture(lambda lines: len(lines) == 7 and 'by bytes' in lines[0], 'the first')
        self.press(b's')
        self.picture(lambda lines: 'by retransmits' in lines[0] and '40001' in lines[2] or '192.0.2.1' not in lines[2], 'sorted')
        self.press(b'/ngi')
        self.picture(lambda lines: '/ngi_' in lines[0] and len(lines) == 4, 'a filter')
        self.press(b'\r')
        self.picture(lambda lines: '/ngi' in lines[0] and '/ngi_' not in lines[0], 'the filter stays')
        self.press(b'\x1b')
        self.picture(lambda lines: len(lines) == 7 and '/' not in lines[0].split('by')[1], 'no filter')
        self.press(b't')
        self.picture(lambda lines: len(lines) == 9 and 'tree' in lines[0], 'a tree')
        self.press(b'p')
        self.picture(lambda lines: 'PAUSED' in lines[0], 'a pause')
        looks = len(self.pictures())
        time.sleep(1.2)
        self.assertEqual(len(self.pictures()), looks, 'it went on')
        self.resize(100, 5)
        self.top.send_signal(signal.SIGWINCH)
        first = self.picture(lambda lines: len(lines) == 5, 'a low one')
        self.press(b'\x1b[B')
        self.picture(lambda lines: len(lines) == 5 and lines[2] == first[3], 'scrolled')

    def check_restored(self):
        self.assertEqual(self.top.wait(probe.DEADLINE), 0)
        self.pictures()
        self.assertTrue(self.seen.endswith(b'\x1b[?25h\x1b[?1049l'), self.seen[-40:])
        self.assertEqual(termios.tcgetattr(self.theirs), self.before)

    def test_q_ends_it_and_the_terminal_is_as_before(self):
        self.picture(lambda lines: len(lines) == 7, 'the first')
        self.press(b'q')
        self.check_restored()

    def test_so_does_sigterm(self):
        self.picture(lambda lines: len(lines) == 7, 'the first')
        self.top.terminate()
        self.check_restored()


class Metrics(Case):
    def setUp(self):
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            self.port = free.getsockname()[1]

    def request(self, data):
        with socket.create_connection(('127.0.0.1', self.port), probe.DEADLINE) as connection:
            connection.sendall(data)
            answer = b''
            while piece := connection.recv(65536):
                answer += piece
        head, _, body = answer.partition(b'\r\n\r\n')
        return head.decode(), body.decode()

    def scrape(self):
        head, body = self.request(b'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n')
        self.assertTrue(head.startswith('HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4'), head)
        self.assertIn(f'Content-Length: {len(body.encode())}\r\n', head + '\r\n')
        return dict(line.rsplit(' ', 1) for line in body.splitlines() if not line.startswith('#')), body

    def test_every_number_has_help_and_type_once_and_counters_never_fall(self):
        daemon = self.busy('--metrics', f'127.0.0.1:{self.port}')
        numbers, text = self.scrape()
        names = {name.split('{')[0] for name in numbers}
        for word in ('HELP', 'TYPE'):
            told = re.findall(rf'^# {word} (\S+) \S', text, re.MULTILINE)
            self.assertEqual(sorted(told), sorted(names))
        self.assertTrue(all(f'# TYPE {name} counter\n' in text for name in names if name.endswith('_total')))
        self.assertEqual((numbers['netprobe_tier{tier="full"}'], numbers['netprobe_tier{tier="none"}']), ('1', '0'))
        self.assertEqual((numbers['netprobe_flows'], numbers['netprobe_flows_started_total']), ('6', '6'))
        # Nobody was connected when the events came, but for what the pings saw.
        self.assertGreater(int(numbers['netprobe_events_dropped_total{stream="flow_attribution",reason="no_receiver"}'])
                           + int(numbers['netprobe_events_emitted_total{stream="flow_attribution"}']), 0)
        client = daemon.client()
        client.apply(b'')
        client.enable()
        client.close()
        after, _ = self.scrape()
        self.assertEqual((after['netprobe_flows'], after['netprobe_flows_started_total']), ('0', '6'))
        self.assertEqual(after['netprobe_configs_total{outcome="applied"}'], '2')
        self.assertNotIn('198.51', text)

    def test_events_without_a_client_are_counted_and_nothing_waits(self):
        daemon = self.daemon('--metrics', f'127.0.0.1:{self.port}')
        daemon.play(times=5, pid=1, local='192.0.2.1', remote='192.0.2.2')
        name = 'netprobe_events_dropped_total{stream="flow_attribution",reason="no_receiver"}'
        probe.until(lambda: self.scrape()[0][name] == '5', 'they are counted')
        client = daemon.client()
        daemon.play(event=3, cookie=1, pid=2, local='192.0.2.1', remote='192.0.2.2', ended=STARTED)
        self.assertEqual(client.events(1)[0][7], [2])
        client.close()

    def test_what_is_no_get_of_it_is_refused_and_slow_peers_hold_nobody_up(self):
        self.daemon('--metrics', f'127.0.0.1:{self.port}')
        slow = [socket.create_connection(('127.0.0.1', self.port)) for _ in range(8)]
        for connection in slow:
            self.addCleanup(connection.close)
            connection.sendall(b'GET ')
        for data, status in ((b'POST /metrics HTTP/1.1\r\n\r\n', '405'), (b'GET /other HTTP/1.1\r\n\r\n', '404'),
                             (b'GET /metricsx HTTP/1.1\r\n\r\n', '404'), (b'GET / HTTP/1.0\r\n\r\n', '200'),
                             (b'\xff\0\n\n', '405'), (b'GET /metrics?x=y HTTP/1.1\n\n', '200'), (b'x' * 4096, '431')):
            self.assertIn(f' {status} ', self.request(data)[0].splitlines()[0], data[:40])

    def test_an_address_that_other_machines_reach_is_warned_of(self):
        for address, reached in (('127.0.0.1', False), ('127.9.9.9', False), ('[::1]', False), ('[::ffff:127.0.0.1]', False), ('0.0.0.0', True), ('[::]', True)):
            daemon = self.daemon('--metrics', f'{address}:{self.port}')
            self.assertEqual(f"'{address}:{self.port}' can be reached from other machines" in daemon.stderr.read_text(), reached, address)
            daemon.end()

    def test_an_address_that_cannot_be_had_stops_the_start(self):
        with socket.socket() as taken:
            taken.bind(('127.0.0.1', 0))
            taken.listen()
            port = taken.getsockname()[1]
            for address, sentence in ((f'127.0.0.1:{port}', 'cannot be listened at: Address already in use'),
                                      ('localhost:1', 'is no address and port'), ('127.0.0.1', 'is no address and port'),
                                      ('127.0.0.1:99999', 'is no address and port'), ('[::1:80', 'is no address and port')):
                daemon = probe.Daemon('--metrics', address)
                daemon.process.wait(probe.DEADLINE)
                said = daemon.stderr.read_text()
                self.assertFalse(daemon.socket.exists())
                daemon.clean()
                self.assertNotEqual(daemon.process.returncode, 0)
                self.assertIn(sentence, said)
                self.assertEqual(len(said.splitlines()), 1, said)


class Log(Case):
    def test_json_is_an_object_a_line(self):
        daemon = self.daemon('--log-format', 'json')
        line, *_ = [json.loads(line) for line in daemon.stderr.read_text().splitlines()]
        self.assertEqual(set(line), {'timestamp_unix_nano', 'level', 'target', 'message'})
        self.assertEqual((line['level'], line['target']), ('info', 'netprobe'))


if __name__ == '__main__':
    unittest.main(verbosity=2)
