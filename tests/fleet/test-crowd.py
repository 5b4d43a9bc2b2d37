#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Many hosts at once, and what those that are known notice of it. A store that is stopped is one that has too much to do."""

import os
import re
import signal
import sys
import threading
import time
import unittest

from fleet import start, wait_for
from opamp import PollAgent, Refused, SocketAgent, credential_of, describe

AT_ONCE = 128
UNAVAILABLE = 2


class Enrolments(unittest.TestCase):
    def setUp(self):
        self.server = start(self)
        self.join = self.server.join_token()
        self.known = self.agent()
        self.known.ask(agent_description=describe())
        self.store = self.server.children()[0]

    def agent(self):
        agent = SocketAgent(self.server.address, authorization=self.join)
        self.addCleanup(agent.close)
        return agent

    def stop_store(self):
        os.kill(self.store, signal.SIGSTOP)
        self.addCleanup(os.kill, self.store, signal.SIGCONT)

    def known_is_answered(self):
        begin = time.monotonic()
        self.assertEqual(self.known.ask(), {'instance_uid': self.known.uid})
        self.assertLess(time.monotonic() - begin, 5)

    def crowd(self, spare):
        """As many as may enrol at once have said all they have to say; *spare* are connected and have said nothing."""
        agents = [self.agent() for _ in range(AT_ONCE + spare)]
        self.stop_store()
        for agent in agents[:AT_ONCE]:
            agent.send(agent_description=describe())
        # The front reads connections in any order, and this one's answer says that it got there.
        wait_for(self.is_full, 20, 'a front that takes no more')
        return agents[:AT_ONCE], agents[AT_ONCE:]

    def is_full(self):
        try:
            self.agent()
        except Refused:
            return True
        return False

    def test_more_than_a_few_at_once_are_told_when_to_come_back_while_known_hosts_are_heard(self):
        admitted, (early,) = self.crowd(1)
        self.known_is_answered()
        with self.assertRaises(Refused) as caught:
            self.agent()
        self.assertEqual(caught.exception.status, 503)
        self.assertGreater(int(re.search(rb'(?i)retry-after: (\d+)', caught.exception.body)[1]), 0)
        poller = PollAgent(self.server.address, self.join)
        self.addCleanup(poller.close)
        with self.assertRaises(Refused) as caught:
            poller.ask(agent_description=describe())
        self.assertEqual(caught.exception.status, 503)
        self.assertGreater(int(caught.exception.headers['retry-after']), 0)
        # Who was connected before is told in OpAMP's words.
        said = early.ask(agent_description=describe())['error_response']
        self.assertEqual(said['type'], UNAVAILABLE)
        self.assertGreater(said['retry_info']['retry_after_nanoseconds'], 0)
        self.known_is_answered()
        os.kill(self.store, signal.SIGCONT)
        for agent in admitted:
            self.assertIsNotNone(credential_of(agent.receive()))
        # There is room again, for those that were sent away, too.
        self.assertIsNotNone(credential_of(poller.ask(agent_description=describe())))
        self.assertIsNotNone(credential_of(self.agent().ask(agent_description=describe())))

    def test_the_longer_the_queue_the_later_they_are_to_come_back(self):
        self.crowd(0)
        poller = PollAgent(self.server.address, self.join)
        self.addCleanup(poller.close)

        def told():
            with self.assertRaises(Refused) as caught:
                poller.ask(agent_description=describe())
            return int(caught.exception.headers['retry-after'])

        self.assertEqual(told(), 1)
        # A second is promised to no more hosts than the store was seen to enrol in one, and now it enrols none.
        wait_for(lambda: told() > 3, 60, 'a longer time')

    def test_places_of_those_that_left_are_free(self):
        admitted, _ = self.crowd(0)
        for agent in admitted:
            agent.close()
        wait_for(lambda: not self.is_full(), 20, 'a free place')

    def test_a_host_with_a_credential_needs_no_place(self):
        first = self.agent()
        credential = credential_of(first.ask(agent_description=describe()))
        first.close()
        self.crowd(0)
        back = SocketAgent(self.server.address, authorization=credential, uid=first.uid)
        self.addCleanup(back.close)
        back.send(agent_description=describe())
        os.kill(self.store, signal.SIGCONT)
        self.assertIn('instance_uid', back.receive())


class HalfOpen(unittest.TestCase):
    def test_host_that_answers_no_ping_is_gone_and_one_that_does_stays(self):
        server = start(self, config='heartbeat_seconds: 5\nstale_seconds: 600\n')
        agents = [SocketAgent(server.address, authorization=server.join_token(), uid=bytes([number] * 16)) for number in (1, 2)]
        for agent in agents:
            self.addCleanup(agent.close)
            agent.ask(agent_description=describe())
        # One reads, and answers pings with that; the other is as a host whose cable was pulled.
        stop = threading.Event()

        def read():
            agents[0].socket.socket.settimeout(0.5)
            while not stop.is_set():
                try:
                    agents[0].socket.receive()
                except TimeoutError:
                    continue

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        self.addCleanup(stop.set)
        wait_for(lambda: [host['presence'] for host in server.api('GET', '/hosts')['items']] == ['connected', 'away'], 60,
                 'the end of the silent one')
        time.sleep(6)
        self.assertEqual(server.api('GET', '/hosts')['items'][0]['presence'], 'connected')
        self.assertTrue(reader.is_alive())


if __name__ == '__main__':
    sys.exit(unittest.main(verbosity=2))
