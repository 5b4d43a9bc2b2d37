#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""affixd with its data on a file system of its own that is full for a while: nothing is lost, nothing half done."""

import os
import pathlib
import subprocess
import sys
import unittest

from fleet import Server, Workshop, scratch, wait_for
from opamp import Closed, SocketAgent, credential_of, describe


class FullDisk(unittest.TestCase):
    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest('only root may mount a small file system')
        directory = scratch(self)
        self.data = pathlib.Path(directory) / 'data'
        self.data.mkdir()
        subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=24m,mode=700', 'affix-test', self.data], check=True)
        self.addCleanup(subprocess.run, ['umount', self.data], check=True)
        self.server = Server(directory)
        self.addCleanup(self.server.stop)
        self.server.start()

    def fill(self):
        with open(self.data / 'filler', 'wb', buffering=0) as filler:
            try:
                while filler.write(bytes(4096)):
                    pass
            except OSError:
                pass

    def free(self):
        (self.data / 'filler').unlink()

    def enrol(self):
        first = SocketAgent(self.server.address, authorization=self.server.join_token())
        credential = credential_of(first.ask(agent_description=describe({'env': 'prod'})))
        first.close()
        agent = self.connect(credential, first.uid)
        agent.credential = credential
        return agent

    def connect(self, credential, uid):
        agent = SocketAgent(self.server.address, authorization=credential, uid=uid)
        self.addCleanup(agent.close)
        agent.ask(agent_description=describe({'env': 'prod'}))
        return agent

    def say(self, agent, text):
        """Whether it was taken."""
        try:
            return 'error_response' not in agent.ask(health={'healthy': False, 'last_error': text})
        except (Closed, OSError):
            return False

    def test_host_is_sent_away_by_a_full_disk_and_is_heard_when_there_is_room(self):
        agent = self.enrol()
        self.assertTrue(self.say(agent, 'before'))
        self.fill()
        # What fits into the room that the database has already is taken.
        taken = ['before']
        for number in range(20000):
            if not self.say(agent, f'{number} ' + 'x' * 500):
                break
            taken.append(f'{number} ')
        else:
            self.fail('the disk never became full')
        self.assertEqual(self.server.request('GET', '/healthz')[0], 200)
        host = self.server.api('GET', '/hosts/1')
        self.assertTrue(host['health_error'].startswith(taken[-1]), (host['health_error'], taken[-1]))
        self.assertEqual(self.server.request('POST', '/api/v1/join-tokens', {'name': 'x', 'expires_in': 60})[0], 507)
        self.free()
        again = self.connect(agent.credential, agent.uid)
        self.assertTrue(self.say(again, 'after'))
        self.assertEqual(self.server.api('GET', '/hosts/1')['health_error'], 'after')

    def test_import_on_a_full_disk_leaves_nothing_and_works_with_room(self):
        workshop = Workshop(scratch(self))
        self.server.trust(workshop)
        bundle = workshop.bundle(size=3 << 20)
        self.fill()
        with self.assertRaises((AssertionError, OSError)):
            self.server.import_bundle(bundle)
        wait_for(lambda: not list((self.data / 'incoming').iterdir()), what='the end of the upload')
        self.assertEqual(list((self.data / 'artifacts').iterdir()), [])
        self.assertEqual(self.server.api('GET', '/packages')['items'], [])
        self.free()
        self.assertEqual(self.server.import_bundle(bundle)['version'], '1.0.0')

    def test_affixd_starts_on_a_full_disk_or_says_what_is_wrong_and_starts_with_room(self):
        self.enrol()
        self.assertEqual(self.server.stop(), 0)
        self.fill()
        try:
            self.server.start()
        except AssertionError as error:
            self.assertRegex(str(error), r'(?i)full|no space')
        self.server.stop()
        self.free()
        self.server.start()
        self.assertEqual(len(self.server.api('GET', '/hosts')['items']), 1)


if __name__ == '__main__':
    sys.exit(unittest.main(verbosity=2))
