#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Imports that hang halfway: strace holds the thread that reads the bundle for as long as the test wants."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import unittest

from fleet import Workshop, scratch, start, wait_for
from opamp import SocketAgent, credential_of, describe

FOREVER = '3600s'


class Hanging(unittest.TestCase):
    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest('only root may trace affixd')
        self.server = start(self)
        self.workshop = Workshop(scratch(self))
        self.server.trust(self.workshop)
        self.bundle = self.workshop.bundle(size=3 << 20)

    def hold(self):
        """No second piece of the first upload is read before release()."""
        self.tracer = subprocess.Popen(
            ['strace', '-f', '-o', '/dev/null', '-p', str(self.server.children()[0]), '-P', self.upload, '-e', 'trace=pread64',
             '-e', f'inject=pread64:delay_enter={FOREVER}:when=2+'], stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.release)
        self.assertIn('attached', self.tracer.stderr.readline())

    def release(self):
        if self.tracer.poll() is None:
            self.tracer.send_signal(signal.SIGTERM)
        self.tracer.wait(20)
        self.tracer.stderr.close()

    @property
    def upload(self):
        return self.server.data / 'incoming' / 'import-1'

    def begin_import(self):
        """A list that holds the answer once there is one."""
        answers = []

        def run():
            try:
                answers.append(self.server.import_bundle(self.bundle))
            except (OSError, AssertionError) as error:
                answers.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        self.addCleanup(thread.join, 60)
        tasks = pathlib.Path(f'/proc/{self.server.children()[0]}/task')
        wait_for(lambda: self.upload.exists() and len(list(tasks.iterdir())) > 1, 60, 'the import')
        return answers

    def enrol(self):
        first = SocketAgent(self.server.address, authorization=self.server.join_token())
        credential = credential_of(first.ask(agent_description=describe({'env': 'prod'})))
        first.close()
        agent = SocketAgent(self.server.address, authorization=credential, uid=first.uid)
        self.addCleanup(agent.close)
        agent.ask(agent_description=describe({'env': 'prod'}))
        return agent

    def packages(self):
        return [package['version'] for package in self.server.api('GET', '/packages')['items']]

    def test_hosts_and_operators_are_heard_while_an_import_hangs(self):
        before = self.enrol()
        self.hold()
        answers = self.begin_import()
        self.assertIn('instance_uid', before.ask())
        before.ask(health={'healthy': False, 'last_error': 'said meanwhile'})
        self.assertEqual(self.server.api('GET', '/hosts/1')['health_error'], 'said meanwhile')
        self.assertIn('instance_uid', self.enrol().ask())
        self.assertEqual([host['presence'] for host in self.server.api('GET', '/hosts')['items']], ['connected'] * 2)
        self.assertEqual(self.packages(), [])
        self.assertEqual(answers, [])
        self.release()
        wait_for(lambda: answers, 60, 'the answer')
        self.assertEqual(answers[0]['version'], '1.0.0')
        self.assertEqual(self.packages(), ['1.0.0'])
        self.assertEqual(list((self.server.data / 'incoming').iterdir()), [])

    def test_an_import_of_a_front_that_died_is_finished_and_another_is_not_in_its_way(self):
        self.hold()
        answers = self.begin_import()
        front = self.server.children()[1]
        os.kill(front, signal.SIGKILL)
        wait_for(lambda: answers, 60, 'the end of the connection')
        self.assertIsInstance(answers[0], OSError)
        wait_for(lambda: len(self.server.children()) == 2 and self.server.children()[1] != front, 60, 'another front')
        second = self.workshop.bundle('1.1.0')
        later = []
        thread = threading.Thread(target=lambda: later.append(self.server.import_bundle(second)['version']))
        thread.start()
        self.addCleanup(thread.join, 60)
        wait_for(lambda: (self.server.data / 'incoming' / 'import-2').exists(), 60, 'the second import')
        self.release()
        wait_for(lambda: later, 60, 'its answer')
        self.assertEqual(self.packages(), ['1.0.0', '1.1.0'])

    def test_what_a_front_that_died_had_written_of_an_upload_goes_with_it(self):
        incoming = self.server.data / 'incoming'
        token = self.server.token()
        connection = socket.create_connection(self.server.address, 10)
        self.addCleanup(connection.close)
        connection.sendall(f'POST /api/v1/packages?signature=AAAA HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n'
                           'Content-Type: application/octet-stream\r\nContent-Length: 100000\r\n\r\n'.encode() + bytes(5000))
        wait_for(lambda: list(incoming.glob('upload-1-*')), 20, 'the upload')
        os.kill(self.server.children()[1], signal.SIGKILL)
        wait_for(lambda: not list(incoming.iterdir()), 10, 'its end')
        # A front that is started anew counts its uploads anew.
        wait_for(lambda: len(self.server.children()) == 2, 20, 'another front')
        self.assertEqual(self.server.import_bundle(self.bundle)['version'], '1.0.0')


if __name__ == '__main__':
    sys.exit(unittest.main(verbosity=2))
