#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The daemon's protocol, with a collector that sees what the test says."""

import grp
import os
import pathlib
import re
import resource
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import probe
from probe import wire

# FlowAttributionEvent
LOCAL_IP, LOCAL_PORT, REMOTE_IP, REMOTE_PORT, PROTOCOL, TGID, COMM, COMMAND, CONTAINER = 1, 2, 3, 4, 5, 7, 10, 11, 12
COOKIE, KIND, SOURCE, EXTERNAL_ID, DROPPED_ALONE = 14, 15, 18, 19, 112
# PingAck
TIER, REASON, ENABLED, FLOWS, DROPPED = 100, 101, 102, 103, 111
PAIR = {'local': '192.0.2.1', 'local_port': 40000, 'remote': '198.51.100.2', 'remote_port': 443}


def text(fields, number):
    return wire.first(fields, number, b'').decode()


def record(source, source_port, destination, destination_port, identity=5, protocol=6, start=0, end=0):
    address = lambda ip: socket.inet_pton(socket.AF_INET6 if ':' in ip else socket.AF_INET, ip)
    return (wire.number(1, identity) + wire.data(2, address(source)) + wire.data(3, address(destination))
            + wire.number(4, source_port) + wire.number(5, destination_port) + wire.number(7, protocol)
            + wire.number(8, start) + wire.number(9, end))


class Case(unittest.TestCase):
    def daemon(self, *arguments, **options):
        daemon = probe.Daemon(*arguments, **options)
        self.addCleanup(daemon.clean)
        daemon.status = daemon.wait_ready()
        return daemon

    def client(self, daemon):
        client = daemon.client()
        self.addCleanup(client.close)
        return client

    def enabled(self, more=b''):
        daemon = self.daemon()
        client = self.client(daemon)
        client.enable(more)
        return daemon, client


class Requests(Case):
    def test_a_ping_is_answered_with_its_own_time_and_sequence(self):
        client = self.client(self.daemon())
        arm, ack = client.ask(probe.PING, wire.number(1, 99), sequence=7)
        self.assertEqual(arm, probe.PING_ACK)
        self.assertEqual(ack[1], [99])
        self.assertGreater(ack[2][0], 10 ** 18)

    def test_answers_come_in_the_order_of_requests(self):
        client = self.client(self.daemon())
        sent = [client.send(probe.PING, wire.number(1, n), sequence=n) for n in range(1, 500)]
        self.assertEqual([client.receive()[0] for _ in sent], sent)

    def test_a_frame_of_no_bytes_and_a_kind_without_answer_are_unsupported(self):
        client = self.client(self.daemon())
        client.send_body(b'')
        sequence, arm, payload = client.receive()
        self.assertEqual((sequence, arm), (0, probe.ERROR))
        self.assertEqual(text(wire.parse(payload), 1), 'unsupported_frame')
        for kind in (3, 24, 26, 31, 77):
            arm, error = client.ask(kind, b'')
            self.assertEqual((arm, text(error, 1)), (probe.ERROR, 'unsupported_frame'))
        client.ping()

    def test_a_length_above_four_mebibytes_ends_the_connection_with_an_error(self):
        daemon = self.daemon()
        client = self.client(daemon)
        client.send_raw(((4 << 20) + 1).to_bytes(4, 'big'))
        _, arm, payload = client.receive()
        self.assertEqual((arm, text(wire.parse(payload), 1)), (probe.ERROR, 'frame_too_large'))
        with self.assertRaises(probe.Closed):
            client.receive()
        self.client(daemon).ping()

    def test_bytes_that_are_no_frame_end_the_connection_with_an_error(self):
        daemon = self.daemon()
        for body in (b'\x0a', b'\x12\x7f', b'\x0b', b'\x22\x01\xff' * 3, b'\xff' * 64):
            client = self.client(daemon)
            client.send_body(body)
            _, arm, payload = client.receive()
            self.assertEqual((arm, text(wire.parse(payload), 1)), (probe.ERROR, 'malformed_frame'), body)
            with self.assertRaises(probe.Closed):
                client.receive()
        self.client(daemon).ping()

    def test_a_frame_may_come_in_pieces_and_many_at_once(self):
        client = self.client(self.daemon())
        frame = wire.number(1, 3) + wire.data(probe.PING, wire.number(1, 99))
        for byte in len(frame).to_bytes(4, 'big') + frame:
            client.send_raw(bytes([byte]))
        self.assertEqual(client.answer(3)[0], probe.PING_ACK)

    def test_what_was_asked_before_the_end_is_answered(self):
        client = self.client(self.daemon())
        sequence = client.send(probe.PING, wire.number(1, 99))
        client.socket.shutdown(socket.SHUT_WR)
        self.assertEqual(client.answer(sequence)[0], probe.PING_ACK)
        with self.assertRaises(probe.Closed):
            client.receive()

    def test_who_asks_much_at_once_is_answered_in_turns_with_others(self):
        daemon = self.daemon()
        clients = [self.client(daemon) for _ in range(2)]
        ping = wire.number(1, 1) + wire.data(probe.PING, wire.number(1, 99))
        # All of both is there before the first is answered.
        daemon.process.send_signal(signal.SIGSTOP)
        for client in clients:
            client.send_raw((len(ping).to_bytes(4, 'big') + ping) * 1000)
        daemon.process.send_signal(signal.SIGCONT)
        times = [[client.answer(1)[1][2][0] for _ in range(1000)] for client in clients]
        self.assertLess(times[0][0], times[1][-1])
        self.assertLess(times[1][0], times[0][-1])

    def test_what_was_asked_before_its_client_went_is_done(self):
        daemon, client = self.enabled()
        daemon.play(pid=7, **PAIR)
        client.events(1)
        # Nothing is to be sent to who went, before the last of what it said.
        client.next_unasked(probe.SNAPSHOT)
        other = self.client(daemon)
        other.ping()
        unknown, known = (wire.data(probe.EXTERNAL, record('192.0.2.1', port, '198.51.100.2', 443)) for port in (1, 40000))
        daemon.process.send_signal(signal.SIGSTOP)
        other.send_raw(b''.join(len(body).to_bytes(4, 'big') + body for body in [unknown] * 500 + [known]))
        other.close()
        daemon.process.send_signal(signal.SIGCONT)
        self.assertEqual(client.events(1)[0][EXTERNAL_ID], [5])

    def test_one_client_more_than_may_is_told_so_and_the_others_stay(self):
        daemon = self.daemon()
        clients = [self.client(daemon) for _ in range(16)]
        for client in clients:
            client.ping()
        client = self.client(daemon)
        sequence, arm, payload = client.receive()
        self.assertEqual((sequence, arm, text(wire.parse(payload), 1)), (0, probe.ERROR, 'too_many_clients'))
        with self.assertRaises(probe.Closed):
            client.receive()
        for client in clients:
            client.ping()
        clients[0].close()
        probe.until(lambda: wire.first(clients[1].ping(), 110) == 15, 'a client is gone')
        self.client(daemon).ping()


class Configuration(Case):
    def test_nothing_is_collected_before_somebody_enables_it(self):
        daemon = self.daemon()
        client = self.client(daemon)
        ack = client.ping()
        self.assertEqual((text(ack, TIER), ENABLED in ack), ('none', False))
        self.assertIn("'enabled': true", text(ack, REASON))
        self.assertEqual(daemon.collectors(), [])
        client.enable()
        self.assertEqual(daemon.collectors(), ['open 65536 full 0'])
        ack = client.ping()
        self.assertEqual((text(ack, TIER), ack[ENABLED], text(ack, REASON)), ('full', [1], ''))

    def test_a_file_enables_it_before_the_daemon_is_ready(self):
        daemon = self.daemon(config={'enabled': True, 'tier_max': 'diag', 'flow_table_max_entries': 250000,
                                     'diag_interval_ms': 500})
        self.assertEqual(daemon.collectors(), ['open 250000 diag 500'])
        self.assertIn('enabled, tier diag', daemon.status)
        ack = self.client(daemon).ping()
        self.assertEqual((text(ack, TIER), text(ack, REASON)), ('diag', 'As asked for.'))

    def test_the_same_configuration_has_the_same_hash_from_a_file_and_a_client(self):
        daemon = self.daemon(config={'enabled': True, 'external_flow_match_window_ms': 5000, 'capture_interfaces': None})
        client = self.client(daemon)
        before = text(client.ping(), 109)
        self.assertEqual(client.enable(wire.number(42, 5000)), before)
        self.assertNotEqual(client.enable(wire.number(42, 6000)), before)
        self.assertEqual(daemon.collectors(), ['open 65536 full 0'])

    def test_disabling_closes_the_collector_and_enabling_may_bring_another_size(self):
        daemon, client = self.enabled()
        client.apply(b'')
        self.assertEqual(daemon.collectors(), ['open 65536 full 0', 'close'])
        self.assertEqual(text(client.ping(), TIER), 'none')
        client.enable(wire.number(40, 1000))
        self.assertEqual(daemon.collectors()[2:], ['open 1000 full 0'])

    def test_who_changes_the_configuration_is_logged_and_who_repeats_it_is_not(self):
        daemon, client = self.enabled()
        client.enable()
        client.apply(wire.text(48, 'x'))
        said = daemon.stderr.read_text()
        self.assertEqual(len(re.findall(rf'a client of user {os.getuid()} changed the configuration to \w{{16}}, enabled', said)), 1, said)
        self.assertIn(f"the configuration of a client of user {os.getuid()} is refused: collector_ip: 'x' is no IP address", said)

    def test_a_change_that_needs_a_restart_is_refused_by_name(self):
        daemon, client = self.enabled()
        for more, name in ((wire.number(40, 1000), 'flow_table_max_entries'), (wire.text(100, 'diag'), 'tier_max'),
                           (wire.number(101, 700), 'diag_interval_ms'), (wire.text(2, 'eth0'), 'capture_interfaces'),
                           (wire.text(2, 'eth0') + wire.text(2, 'eth1'), 'flow_table_max_entries')):
            arm, error = client.apply(wire.number(1, 1) + more)
            self.assertEqual((arm, text(error, 1)), (probe.ERROR, 'invalid_config'))
            self.assertIn(f'{name} can only be changed by a restart', text(error, 2))
        client.enable(wire.number(40, 65536))  # the default by its number is the same
        self.assertEqual(daemon.collectors(), ['open 65536 full 0'])

    def test_values_that_cannot_be_are_refused_with_the_key(self):
        client = self.client(self.daemon())
        arm, error = client.ask(probe.APPLY_CONFIG, b'')
        self.assertEqual((arm, text(error, 1), text(error, 2)), (probe.ERROR, 'invalid_config', 'visibility config is missing'))
        for config, name in [(wire.text(2, interface), 'capture_interfaces') for interface in ('any', 'eth*', '', ' ', 'a/b')] + [
                (wire.text(48, 'nowhere'), 'collector_ip'), (wire.number(42, 2 ** 31), 'external_flow_match_window_ms'),
                (wire.text(100, 'best'), 'tier_max'), (wire.data(3, wire.text(1, '1.2.3')), 'device_bindings')]:
            arm, error = client.apply(config)
            self.assertEqual((arm, text(error, 1)), (probe.ERROR, 'invalid_config'), name)
            self.assertIn(name, text(error, 2))

    def test_without_any_tier_the_daemon_serves_and_says_why(self):
        daemon = self.daemon(config={'enabled': True}, environment={'NETPROBE_SCRIPT_REFUSE': 'CAP_BPF is missing.'})
        ack = self.client(daemon).ping()
        self.assertEqual((text(ack, TIER), ack[ENABLED], text(ack, REASON)), ('none', [1], 'CAP_BPF is missing.'))
        self.assertIn('CAP_BPF is missing.', daemon.stderr.read_text())


class Agent(Case):
    """The fleet's agent, by its own code, and the daemon."""

    def agent(self, daemon):
        agent = probe.Agent(daemon.socket)
        self.addCleanup(agent.close)
        return agent

    def test_what_the_agent_is_given_is_in_force_and_changes_while_it_runs(self):
        daemon = self.daemon()
        agent, client = self.agent(daemon), self.client(daemon)
        self.assertEqual(agent.look('one', enabled=True)['problem'], '')
        self.assertEqual(daemon.collectors(), ['open 65536 full 0'])
        before = text(client.ping(), 109)
        self.assertEqual(agent.look('two', enabled=True, external_flow_match_window_ms=5000)['problem'], '')
        self.assertNotEqual(text(client.ping(), 109), before)
        # Nothing of that began anew.
        self.assertEqual(daemon.collectors(), ['open 65536 full 0'])
        daemon.play(times=3, pid=1, **PAIR)
        client.events(3)
        self.assertEqual(agent.look('two', enabled=True, external_flow_match_window_ms=5000)['events']['flow_attribution_batch'], 1)

    def test_what_needs_a_restart_is_a_problem_with_its_name_and_the_old_stays_in_force(self):
        daemon = self.daemon()
        agent, client = self.agent(daemon), self.client(daemon)
        agent.look('one', enabled=True)
        before = text(client.ping(), 109)
        for key, config in (('flow_table_max_entries', {'flow_table_max_entries': 1000}), ('capture_interfaces', {'capture_interfaces': ['eth0']})):
            problem = agent.look(key, enabled=True, **config)['problem']
            self.assertIn(f'it refuses its configuration: invalid_config: {key} can only be changed by a restart', problem)
            self.assertEqual(text(client.ping(), 109), before)
        self.assertEqual(agent.look('one', enabled=True)['problem'], '')

    def test_a_daemon_that_was_restarted_gets_its_configuration_again(self):
        daemon = self.daemon()
        agent = self.agent(daemon)
        agent.look('one', enabled=True)
        daemon.end(signal.SIGKILL)
        self.assertNotEqual(agent.look('one', enabled=True)['problem'], '')
        again = probe.Daemon(directory=daemon.directory)
        self.addCleanup(again.end)
        again.wait_ready()
        self.assertEqual(agent.look('one', enabled=True)['problem'], '')
        self.assertTrue(self.client(again).ping()[ENABLED])


class Events(Case):
    def test_every_client_gets_every_event_in_order(self):
        daemon, first = self.enabled()
        second = self.client(daemon)
        second.ping()
        for n in range(1, 4):
            daemon.play(cookie=n, pid=100 + n, comm='curl', cmdline='/usr/bin/curl', arguments=2, container='ab' * 32, **PAIR)
        for client in (first, second):
            events = client.events(3)
            self.assertEqual([event[TGID][0] for event in events], [101, 102, 103])
            event = events[0]
            self.assertEqual([text(event, n) for n in (LOCAL_IP, REMOTE_IP, PROTOCOL, COMM, CONTAINER, SOURCE)],
                             ['192.0.2.1', '198.51.100.2', 'tcp', 'curl', 'ab' * 32, 'full'])
            self.assertEqual((event[LOCAL_PORT], event[REMOTE_PORT], event[COOKIE], event[KIND]), ([40000], [443], [1], [1]))
            self.assertEqual(event[COMMAND], [b'/usr/bin/curl', b'[redacted 2 arg(s)]'])

    def test_three_events_are_one_batch_that_ends_after_it_began(self):
        daemon, client = self.enabled(wire.number(43, 1))
        daemon.play(times=3, pid=1, **PAIR)
        arm, batch = client.next_unasked(probe.EVENT, probe.BATCH)
        self.assertEqual((arm, len(batch[1])), (probe.BATCH, 3))
        self.assertLessEqual(batch[2][0], batch[3][0])
        self.assertNotIn(4, batch)

    def test_a_batch_has_256_events_at_most(self):
        daemon, client = self.enabled()
        daemon.play(times=600, pid=1, **PAIR)
        sizes = [len(client.next_unasked(probe.BATCH)[1][1]) for _ in range(3)]
        self.assertEqual(sizes, [256, 256, 88])

    def test_without_batches_each_event_is_a_frame_of_sequence_0(self):
        daemon, client = self.enabled(wire.number(43, 0))
        daemon.play(times=3, pid=1, **PAIR)
        arms = [client.next_unasked(probe.EVENT, probe.BATCH)[0] for _ in range(3)]
        self.assertEqual(arms, [probe.EVENT] * 3)

    def test_raw_events_can_be_switched_off_while_it_runs(self):
        daemon, client = self.enabled()
        client.enable(wire.number(44, 0))
        daemon.play(cookie=1, pid=1, **PAIR)
        probe.until(lambda: wire.first(client.ping(), 104) == 1, 'the collector saw it')
        client.enable()
        daemon.play(cookie=2, pid=2, **PAIR)
        self.assertEqual(client.events(1)[0][TGID], [2])

    def test_who_was_not_known_when_collecting_ended_is_counted(self):
        daemon, client = self.enabled()
        daemon.play(**PAIR)
        daemon.play(cookie=2, pid=1, **PAIR)
        client.events(2)
        client.apply(b'')
        answer = client.ping()
        self.assertEqual((wire.first(answer, 106), wire.first(answer, 107, 0)), (1, 1))

    def test_an_owner_that_is_not_known_is_nobody(self):
        daemon, client = self.enabled()
        daemon.play(comm='ghost', uid=7, **PAIR)
        event = client.events(1)[0]
        self.assertFalse({6, TGID, 8, 9, COMM, COMMAND, CONTAINER} & set(event), event)

    def test_names_that_are_not_utf8_do_not_spoil_a_frame(self):
        daemon, client = self.enabled()
        daemon.play(pid=1, comm='a^^b', **PAIR)
        self.assertEqual(text(client.events(1)[0], COMM), 'a??b')

    def test_a_slow_client_loses_its_own_events_and_is_told_how_many(self):
        daemon, quick = self.enabled()
        slow = self.client(daemon)
        slow.ping()
        # The quick one reads on a thread of its own, so that nobody is slow by the test's doing.
        got = []
        reader = threading.Thread(target=lambda: [got.append(len(quick.next_unasked(probe.BATCH)[1][1]))
                                                  for _ in iter(lambda: sum(got) < 150000, False)])
        reader.start()
        for n in range(15):
            daemon.play(times=10000, pid=1, comm='storm', **PAIR)
            # Not faster than it is read: it is the slow one's turn to lose.
            probe.until(lambda: sum(got) >= (n + 1) * 10000 - 256, 'the quick client has them')
        reader.join()
        self.assertEqual(sum(got), 150000)
        self.assertEqual(wire.first(quick.ping(), DROPPED, 0), 0)
        kept, told = 0, 0
        daemon.play(times=1, pid=2, **PAIR)
        sequence = slow.send(probe.PING, wire.number(1, 99))
        dropped = None
        while dropped is None or kept + told < 150001:
            got_sequence, arm, payload = slow.receive()
            fields = wire.parse(payload)
            if got_sequence == sequence:
                dropped = wire.first(fields, DROPPED, 0)
                daemon.play(times=1, pid=3, **PAIR)
            elif arm == probe.BATCH:
                kept += len(fields[1])
                told += wire.first(fields, 4, 0)
        self.assertGreater(dropped, 0)
        self.assertEqual(told, dropped)
        self.assertGreater(kept, 60000 if dropped else 0)

    def test_events_without_a_client_are_counted_and_nothing_waits(self):
        daemon, client = self.enabled()
        client.close()
        watcher = self.client(daemon)
        probe.until(lambda: wire.first(watcher.ping(), 110) == 1, 'the first client is gone')
        watcher.close()
        time.sleep(0.1)
        daemon.play(times=5, pid=1, **PAIR)
        late = self.client(daemon)
        probe.until(lambda: wire.first(late.ping(), 104) == 5, 'the collector saw them')


class Lists(Case):
    def test_flows_and_listeners_come_in_chunks_of_their_request(self):
        daemon, client = self.enabled()
        daemon.play(times=600, pid=1, **PAIR)
        daemon.play(cookie=5000, pid=9, comm='nginx', listener=True, local='0.0.0.0', local_port=80)
        client.events(601)
        sequence = client.send(probe.LIST, b'')
        chunks = [client.answer(sequence)[1] for _ in range(3)]
        self.assertEqual([len(chunk[1]) for chunk in chunks], [256, 256, 88])
        self.assertEqual([wire.first(chunk, 4, 0) for chunk in chunks], [0, 1, 2])
        self.assertEqual([wire.first(chunk, 3, 0) for chunk in chunks], [0, 0, 1])
        self.assertEqual([wire.first(chunk, 5, 0) for chunk in chunks], [0, 0, 3])
        arm, listed = client.ask(probe.LIST, wire.number(1, 1))
        flow = wire.parse(listed[1][0])
        self.assertEqual((arm, len(listed[1]), listed[3]), (probe.LISTED, 1, [1]))
        self.assertEqual((text(flow, COMM), flow[LOCAL_PORT], REMOTE_IP in flow), ('nginx', [80], False))

    def test_an_answer_longer_than_the_sockets_room_comes_whole_to_who_asks_no_more(self):
        daemon, client = self.enabled(wire.number(44, 0))
        daemon.play(times=4096, pid=1, comm='many', **PAIR)
        probe.until(lambda: wire.first(client.ping(), FLOWS) == 4096, 'the flows are known')
        sequence = client.send(probe.LIST, b'')
        client.socket.shutdown(socket.SHUT_WR)
        # Until the daemon has seen that, nothing is read.
        other = self.client(daemon)
        for _ in range(20):
            other.ping()
        chunks = [client.answer(sequence)[1] for _ in range(16)]
        self.assertEqual(sum(len(chunk[1]) for chunk in chunks), 4096)
        self.assertEqual(wire.first(chunks[-1], 3), 1)
        with self.assertRaises(probe.Closed):
            client.receive()

    def test_a_list_that_is_not_read_is_not_made(self):
        daemon, client = self.enabled(wire.number(44, 0))
        for n in range(4):
            daemon.play(cookie=1 + 4096 * n, times=4096, pid=1, comm='many', cmdline='c' * 200, **PAIR)
        probe.until(lambda: wire.first(client.ping(), FLOWS) == 4 * 4096, 'the flows are known')
        # Another list waits behind each.
        lazy = [self.client(daemon) for _ in range(8)]
        before = daemon.memory()
        sequences = [[one.send(probe.LIST, b'') for _ in range(3)] for one in lazy]
        for _ in range(50):
            client.ping()
        self.assertLess(daemon.memory() - before, 8 * 1024)
        for one, asked in zip(lazy[:2], sequences):
            for sequence in asked[:2]:
                cookies, complete = set(), 0
                while not complete:
                    chunk = one.answer(sequence)[1]
                    complete = wire.first(chunk, 3, 0)
                    cookies |= {wire.parse(flow)[14][0] for flow in chunk.get(1, [])}
                self.assertEqual(len(cookies), 4 * 4096)

    def test_a_list_whose_collector_is_closed_or_another_one_is_not_called_complete(self):
        daemon, other = self.enabled(wire.number(44, 0))
        for again in (False, True):
            for n in range(2):
                daemon.play(cookie=1 + 4096 * n, times=4096, pid=1, comm='many', cmdline='c' * 200, **PAIR)
            probe.until(lambda: wire.first(other.ping(), FLOWS) == 2 * 4096, 'the flows are known')
            client = self.client(daemon)
            sequence = client.send(probe.LIST, b'')
            arm, chunk = client.answer(sequence)
            other.apply(b'')
            if again:
                other.enable(wire.number(44, 0))
            while arm == probe.LISTED:
                self.assertNotIn(3, chunk)
                arm, chunk = client.answer(sequence)
            self.assertEqual((arm, text(chunk, 1)), (probe.ERROR, 'list_interrupted'))
            # The connection stays.
            self.assertEqual(client.ask(probe.LIST, b'')[1][3], [1])
            if not again:
                other.enable(wire.number(44, 0))

    def test_who_asks_often_does_not_have_all_counted_each_time(self):
        daemon, client = self.enabled()
        start = time.monotonic()
        for _ in range(200):
            client.ask(probe.LIST, b'')
        passed = time.monotonic() - start
        self.assertIn(daemon.logged().count('refresh'), range(1, 2 + int(passed / 0.25)))
        time.sleep(0.25)
        before = daemon.logged().count('refresh')
        client.ask(probe.LIST, b'')
        self.assertEqual(daemon.logged().count('refresh'), before + 1)

    def test_nothing_is_one_empty_chunk(self):
        arm, listed = self.client(self.daemon()).ask(probe.LIST, b'')
        self.assertEqual((arm, listed[3], listed[5], 1 in listed), (probe.LISTED, [1], [1], False))

    def test_listeners_make_a_snapshot_which_who_connects_later_gets_too(self):
        daemon, client = self.enabled()
        for n, name in ((1, 'sshd'), (2, 'nginx')):
            daemon.play(cookie=n, pid=n, comm=name, listener=True, local='0.0.0.0', local_port=20 + n)
        snapshot = {}
        while len(snapshot.get(3, [])) < 2:
            snapshot = client.next_unasked(probe.SNAPSHOT)[1]
        self.assertEqual([text(wire.parse(entry), 8) for entry in snapshot[3]], ['sshd', 'nginx'])
        late = self.client(daemon)
        self.assertEqual(late.next_unasked(probe.SNAPSHOT)[1], snapshot)


class External(Case):
    def test_a_record_of_a_known_flow_is_matched_in_either_direction(self):
        daemon, client = self.enabled()
        daemon.play(cookie=1, pid=77, comm='curl', **PAIR)
        client.events(1)
        for source, destination in ((('192.0.2.1', 40000), ('198.51.100.2', 443)), (('198.51.100.2', 443), ('192.0.2.1', 40000))):
            arm, ack = client.ask(probe.EXTERNAL, record(*source, *destination), sequence=9)
            self.assertEqual((arm, ack), (probe.EXTERNAL_ACK, {1: [1], 2: [1]}))
            event = client.events(1)[0]
            self.assertEqual((text(event, SOURCE), event[EXTERNAL_ID], event[TGID]), ('external_netflow', [5], [77]))

    def test_a_record_of_an_unknown_flow_is_unmatched_and_an_empty_one_invalid(self):
        _, client = self.enabled()
        self.assertEqual(client.ask(probe.EXTERNAL, record('192.0.2.1', 1, '192.0.2.2', 2), sequence=99)[1], {1: [1], 3: [1]})
        self.assertEqual(client.ask(probe.EXTERNAL, b'')[1], {4: [1]})
        self.assertEqual(client.ask(probe.EXTERNAL, record('192.0.2.1', 1, '2001:db8::1', 2))[1], {4: [1]})

    def test_a_record_of_what_is_in_two_networks_is_ambiguous_unless_it_names_one(self):
        daemon, client = self.enabled()
        for number in (1, 2):
            daemon.play(cookie=number, pid=70 + number, netns=100 + number, **PAIR)
        client.events(2)
        asked = record('192.0.2.1', 40000, '198.51.100.2', 443)
        self.assertEqual(client.ask(probe.EXTERNAL, asked)[1], {1: [1], 3: [1], 100: [1]})
        for number in (1, 2):
            self.assertEqual(client.ask(probe.EXTERNAL, asked + wire.number(100, 100 + number))[1], {1: [1], 2: [1]})
            self.assertEqual(client.events(1)[0][TGID], [70 + number])

    def test_a_record_of_sequence_0_is_not_answered(self):
        daemon, client = self.enabled()
        daemon.play(cookie=1, pid=77, **PAIR)
        client.events(1)
        client.send(probe.EXTERNAL, record('192.0.2.1', 40000, '198.51.100.2', 443), sequence=0)
        client.ping()
        self.assertEqual(text(client.events(1)[0], SOURCE), 'external_netflow')

    def test_an_ended_flow_is_found_within_the_window_and_not_beyond(self):
        daemon, client = self.enabled(wire.number(42, 1))
        second = 10 ** 9
        now = time.time_ns()
        daemon.play(event=3, cookie=1, pid=77, started=now - second, last=now, ended=now, **PAIR)
        client.events(1)
        near = record('192.0.2.1', 40000, '198.51.100.2', 443, start=now - second, end=now - second // 2)
        far = record('192.0.2.1', 40000, '198.51.100.2', 443, start=now + second // 100, end=now + second // 50)
        self.assertEqual(client.ask(probe.EXTERNAL, far)[1], {1: [1], 3: [1]})
        self.assertEqual(client.ask(probe.EXTERNAL, near)[1], {1: [1], 2: [1]})

    def test_icmp_is_matched_without_ports_and_mapped_addresses_are_ipv4(self):
        daemon, client = self.enabled()
        daemon.play(cookie=1, pid=77, protocol=1, local='192.0.2.1', remote='198.51.100.2')
        daemon.play(cookie=2, pid=78, protocol=17, **PAIR)
        client.events(2)
        self.assertEqual(client.ask(probe.EXTERNAL, record('198.51.100.2', 0, '192.0.2.1', 0, protocol=1))[1], {1: [1], 2: [1]})
        self.assertEqual(client.ask(probe.EXTERNAL, record('::ffff:192.0.2.1', 40000, '::ffff:198.51.100.2', 443, protocol=17))[1],
                         {1: [1], 2: [1]})


class Stranger(Case):
    """Who can connect and means harm: others are served as before, and the daemon stays as small as it was."""

    def size(self, daemon):
        """Its descriptors, and MiB."""
        process = pathlib.Path(f'/proc/{daemon.process.pid}')
        lines = (process / 'status').read_text().splitlines()
        return len(os.listdir(process / 'fd')), next(int(line.split()[1]) for line in lines if line.startswith('VmRSS:')) / 1024

    def seconds_of_cpu(self, daemon):
        fields = pathlib.Path(f'/proc/{daemon.process.pid}/stat').read_text().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def test_a_thousand_clients_at_once_are_refused_and_the_first_is_served(self):
        daemon, client = self.enabled()
        before = self.size(daemon)
        crowd, refused = [], 0
        for _ in range(1000):
            crowd.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            # Before it has a time limit, which would be none at all if many wait.
            crowd[-1].connect(str(daemon.socket))
            crowd[-1].settimeout(probe.DEADLINE)
        client.ping()
        daemon.play(times=3, pid=7, **PAIR)
        self.assertEqual(len(client.events(3)), 3)
        descriptors, _ = self.size(daemon)
        self.assertLessEqual(descriptors, before[0] + 16)
        for each in crowd[15:]:
            refused += b'too_many_clients' in each.recv(4096)
        self.assertEqual(refused, 985)
        for each in crowd:
            each.close()
        probe.until(lambda: wire.first(client.ping(), 110) == 1, 'they are gone')
        after = self.size(daemon)
        self.assertEqual(after[0], before[0])
        self.assertLess(after[1], before[1] + 16)
        self.client(daemon).ping()

    def test_a_frame_that_is_not_ended_is_not_waited_for_and_a_quiet_client_is(self):
        daemon, client = self.enabled()
        quiet = self.client(daemon)
        quiet.ping()
        slow = [self.client(daemon) for _ in range(14)]
        for number, each in enumerate(slow):
            # From a part of the length to nearly all of the longest.
            each.send_raw(b'\0' if number == 0 else (4 << 20).to_bytes(4, 'big') + bytes((number - 1) << 18))
        _, _, payload = self.client(daemon).receive()
        self.assertEqual(text(wire.parse(payload), 1), 'too_many_clients')
        started = time.monotonic()
        while time.monotonic() < started + 4:
            # Who sends a little every now and then gets no more time.
            slow[1].send_raw(b'x')
            client.ping()
            time.sleep(0.5)
        for each in slow:
            self.assertEqual(text(each.next_unasked(probe.ERROR)[1], 1), 'frame_too_slow')
            with self.assertRaises((probe.Closed, ConnectionResetError)):
                each.receive()
        self.client(daemon).ping()
        quiet.ping()

    def test_who_asks_and_never_reads_makes_nobody_wait_and_the_daemon_not_larger(self):
        daemon, client = self.enabled()
        daemon.play(times=3000, pid=1, comm='x' * 15, cmdline='/y' * 100, **PAIR)
        client.events(3000)
        _, before = self.size(daemon)
        asked = wire.number(1, 1) + wire.data(probe.LIST, b'')
        for _ in range(10):
            greedy = self.client(daemon)
            greedy.socket.settimeout(0.2)
            try:
                for _ in range(1000):
                    greedy.send_body(asked)
            except TimeoutError:
                pass
        client.ping()
        _, after = self.size(daemon)
        # Each may leave 8 MiB unread, and one answer more.
        self.assertLess(after, before + 10 * 10)

    def test_without_a_descriptor_left_it_neither_spins_nor_forgets_who_is_there(self):
        daemon, client = self.enabled()
        descriptors, _ = self.size(daemon)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (descriptors, descriptors))
        used = self.seconds_of_cpu(daemon)
        for _ in range(20):
            with self.assertRaises((probe.Closed, ConnectionError)):
                self.client(daemon).ping()
        time.sleep(1)
        self.assertLess(self.seconds_of_cpu(daemon) - used, 0.5)
        client.ping()
        daemon.play(pid=7, **PAIR)
        self.assertEqual(client.events(1)[0][TGID], [7])

    def test_a_daemon_that_is_killed_in_a_storm_is_followed_by_one_that_serves(self):
        daemon, _ = self.enabled()
        stop = threading.Event()

        def load():
            while not stop.is_set():
                try:
                    daemon.play(times=5000, pid=1, **PAIR)
                except OSError:
                    return

        thread = threading.Thread(target=load)
        thread.start()
        daemon.end(signal.SIGKILL)
        stop.set()
        thread.join()
        again = probe.Daemon(directory=daemon.directory)
        self.addCleanup(again.end)
        again.wait_ready()
        self.client(again).enable()


class Life(Case):
    def test_the_socket_is_of_its_directorys_group_and_mode_0660_whatever_the_umask(self):
        directory = tempfile.mkdtemp(prefix='affix-netprobe.')
        group = grp.getgrall()[-1].gr_gid
        os.chown(directory, -1, group)
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        for mask in (0, 0o777):
            os.umask(mask)
            daemon = probe.Daemon(directory=directory)
            self.addCleanup(daemon.end)
            daemon.wait_ready()
            status = os.stat(daemon.socket)
            self.assertEqual((stat.S_IMODE(status.st_mode), status.st_gid), (0o660, group))
            os.umask(before)
            daemon.end()
            self.assertFalse(daemon.socket.exists())
        daemon.clean()

    def test_a_stale_socket_is_replaced_a_live_one_and_a_file_are_not(self):
        daemon = self.daemon()
        daemon.process.kill()
        daemon.process.wait()
        self.assertTrue(daemon.socket.exists())
        again = probe.Daemon(directory=daemon.directory)
        self.addCleanup(again.end)
        again.wait_ready()
        self.client(again).ping()
        refused = daemon.run()
        self.assertEqual(refused.returncode, 1)
        self.assertIn(f"'{daemon.socket}': another netprobe listens there", refused.stderr)
        self.client(again).ping()
        file = daemon.directory / 'file'
        file.write_text('mine')
        refused = daemon.run('--socket', file)
        self.assertEqual((refused.returncode, file.read_text()), (1, 'mine'))
        self.assertIn('is something else than a socket', refused.stderr)
        refused = daemon.run('--socket', '/nonexistent/ipc.sock')
        self.assertEqual(refused.returncode, 1)
        self.assertIn("'/nonexistent/ipc.sock': its directory cannot be used", refused.stderr)

    def test_sigterm_ends_it_within_two_seconds_under_full_load(self):
        daemon, client = self.enabled()
        stop = threading.Event()

        def load():
            while not stop.is_set():
                try:
                    daemon.play(times=20000, pid=1, **PAIR)
                except OSError:
                    return

        threads = [threading.Thread(target=load) for _ in range(3)]
        for thread in threads:
            thread.start()
        client.next_unasked(probe.BATCH)
        seconds = daemon.end()
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(daemon.process.returncode, 0)
        self.assertLess(seconds, 2)
        self.assertEqual(daemon.collectors()[-1], 'close')

    def test_a_collector_that_breaks_ends_the_daemon_and_not_in_a_loop(self):
        daemon, _ = self.enabled()
        daemon.say({'fail': 5})
        self.assertEqual(daemon.process.wait(probe.DEADLINE), 1)
        said = daemon.stderr.read_text()
        self.assertEqual(said.count('records of the kernel cannot be read: Input/output error'), 1, said)
        self.assertEqual(daemon.collectors()[-1], 'close')

    def test_an_idle_daemon_sleeps(self):
        daemon, client = self.enabled()
        client.ping()
        time.sleep(1)  # what the start left to do

        def switches():
            lines = pathlib.Path(f'/proc/{daemon.process.pid}/status').read_text().splitlines()
            return sum(int(line.split()[1]) for line in lines if 'ctxt_switches' in line)

        before = switches()
        time.sleep(1)
        self.assertLessEqual(switches() - before, 1)

    def test_wrong_command_lines_are_one_sentence_and_exit_2(self):
        daemon = self.daemon()
        for arguments, sentence in ((['nothing'], "'nothing' is no command"), (['ping', 'pong'], "'pong' is superfluous"),
                                    (['--log-format', 'xml'], "--log-format: 'xml' is not 'text' or 'json'"),
                                    (['top', '--sort', 'x'], "--sort: 'x' is not"), (['--json'], 'belongs to a command'),
                                    (['top', '--count', '0'], "--count: '0' is not a number"),
                                    (['ping', '--config', 'x'], 'takes no --config'), (['--unknown'], '--unknown')):
            result = daemon.run(*arguments)
            self.assertEqual(result.returncode, 2, arguments)
            self.assertIn(sentence, result.stderr)
            self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        self.assertIn('Usage', daemon.run('--help').stdout)
        self.assertRegex(daemon.run('--version').stdout, r'^affix-netprobe \d')

    def test_a_configuration_that_cannot_be_used_stops_the_start_with_the_key(self):
        for config, sentence in (('{', 'line 1'), ('{"enabld": true}', "'enabld' is no key"), ('[]', ''),
                                 ('{"enabled": 1}', 'enabled: expected true or false'),
                                 ('{"capture_interfaces": ["any"]}', "capture_interfaces: 'any'"),
                                 ('{"dpi": {"x": 1}}', "dpi: 'x' is no key"), ('{"device_bindings": [{}]}', "an 'ip' in each")):
            daemon = probe.Daemon(config=config)
            daemon.process.wait(probe.DEADLINE)
            said = daemon.stderr.read_text()
            daemon.clean()
            self.assertEqual(daemon.process.returncode, 2, config)
            self.assertIn(sentence, said)
            self.assertEqual(len(said.splitlines()), 1, said)


if __name__ == '__main__':
    unittest.main(verbosity=2)
