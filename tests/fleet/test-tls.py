#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""affixd over TLS: hosts, operators, and client certificates."""

import shutil
import signal
import socket
import ssl
import subprocess
import sys
import unittest

from authority import Authority
from fleet import AFFIX, scratch, start, wait_for
from opamp import PollAgent, Refused, SocketAgent, credential_of, describe


class Tls(unittest.TestCase):
    def setUp(self):
        self.authority = Authority(scratch(self))
        certificate, key = self.authority.sign('server', 'IP:127.0.0.1')
        self.options = ['--tls-cert', certificate, '--tls-key', key]

    def serve(self, *options, context=None, **more):
        server = start(self, *self.options, *options, **more)
        server.context = context or self.authority.context()
        return server

    def connect(self, server, kind=SocketAgent, authorization=None, context=None):
        agent = kind(server.address, authorization=authorization, context=context or server.context)
        self.addCleanup(agent.close)
        return agent

    def test_hosts_and_operators_are_served(self):
        server = self.serve()
        self.assertTrue(server.url.startswith('https://'))
        for kind in (SocketAgent, PollAgent):
            agent = self.connect(server, kind, server.join_token())
            self.assertTrue(credential_of(agent.ask(agent_description=describe({'long': 'x' * 50000}))))
            self.assertEqual(agent.ask(), {'instance_uid': agent.uid})
        self.assertEqual(len(server.api('GET', '/hosts')['items']), 2)

    def test_two_requests_in_one_record_do_not_hold_up_others(self):
        server = self.serve()
        get = b'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'
        post = b'POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc'
        with server.context.wrap_socket(socket.create_connection(server.address, 5), server_hostname='127.0.0.1') as connection:
            connection.sendall(get + post)
            received = b''
            while data := connection.recv(65536):
                received += data
            self.assertEqual(received.count(b'HTTP/1.1 '), 1, received)
        self.assertEqual(server.request('GET', '/healthz', token='')[0], 200)
        with server.context.wrap_socket(socket.create_connection(server.address, 5), server_hostname='127.0.0.1') as connection:
            for request in (get, post, post):
                connection.sendall(request)
                self.assertIn(b'HTTP/1.1 ', connection.recv(65536))
                connection.settimeout(0.5)
                try:
                    connection.recv(65536)
                except TimeoutError:
                    pass

    def test_old_versions_and_plain_http_are_not(self):
        server = self.serve()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_ciphers('ALL:@SECLEVEL=0')
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        with self.assertRaises((ssl.SSLError, OSError)):
            self.connect(server, authorization='Bearer x', context=context)
        server.scheme = 'http'
        with self.assertRaises(Exception):
            server.request('GET', '/healthz', token='')
        server.scheme = 'https'
        self.assertEqual(server.request('GET', '/healthz', token='')[0], 200)

    def test_client_certificate_is_demanded_where_configured(self):
        good = self.authority.context(self.authority.sign('operator'))
        server = self.serve('--client-ca', self.authority.certificate, context=good)
        self.assertEqual(server.request('GET', '/healthz', token='')[0], 200)
        stranger = Authority(scratch(self))
        for pair in (None, stranger.sign('operator'), self.authority.sign('old', days=(-2, -1)), self.authority.sign('early', days=(1, 2))):
            server.context = self.authority.context(pair)
            with self.assertRaises((ssl.SSLError, OSError)):
                server.request('GET', '/healthz', token='')
        server.context = good
        self.assertEqual(server.request('GET', '/healthz', token='')[0], 200)

    def test_certificate_stands_for_the_credential_where_configured(self):
        server = self.serve('--client-ca', self.authority.certificate,
                            config='client_certificate: optional\ncertificate_is_credential: true\n')
        named = self.authority.context(self.authority.sign('host-7.example'))
        first = self.connect(server, authorization=server.join_token(), context=named)
        first.ask(agent_description=describe())
        first.close()
        again = self.connect(server, context=named)
        again.uid = first.uid
        self.assertNotIn('error_response', again.ask(agent_description=describe()))
        nameless = self.connect(server)
        self.assertIn('error_response', nameless.ask(agent_description=describe()))
        with self.assertRaises(Refused):
            self.connect(server, PollAgent).ask(agent_description=describe())

    def test_hosts_are_told_apart_by_names_behind_long_parts(self):
        server = self.serve('--client-ca', self.authority.certificate,
                            config='client_certificate: optional\ncertificate_is_credential: true\n')
        before = '/O=An organization of many words/OU=A department whose name is longer than that'
        for name in ('host-1.example', 'host-2.example'):
            agent = self.connect(server, context=self.authority.context(self.authority.sign(name, before=before)))
            self.assertNotIn('error_response', agent.ask(agent_description=describe()))
        self.assertEqual(sorted(host['certificate'] for host in server.api('GET', '/hosts')['items']), ['host-1.example', 'host-2.example'])

    def test_host_that_polls_by_certificate_is_not_spoken_for_by_others(self):
        server = self.serve('--client-ca', self.authority.certificate,
                            config='client_certificate: optional\ncertificate_is_credential: true\n')
        host = self.connect(server, PollAgent, context=self.authority.context(self.authority.sign('host-1.example')))
        host.ask(agent_description=describe({'who': 'it'}))
        stranger = self.connect(server, PollAgent)
        stranger.uid, stranger.sequence = host.uid, host.sequence
        with self.assertRaises(Refused) as caught:
            stranger.ask(agent_description=describe({'who': 'a stranger'}))
        self.assertEqual(caught.exception.status, 401)
        other = self.connect(server, PollAgent, context=self.authority.context(self.authority.sign('host-2.example')))
        other.uid, other.sequence = host.uid, host.sequence
        other.ask(agent_description=describe({'who': 'another'}))
        self.assertEqual(sorted((item['certificate'], item['labels']['who']) for item in server.api('GET', '/hosts')['items']),
                         [('host-1.example', 'it'), ('host-2.example', 'another')])
        self.assertEqual(host.ask(), {'instance_uid': host.uid})

    def test_command_line_trusts_only_whom_it_is_told_to(self):
        server = self.serve()
        words = [AFFIX, 'fleet', 'hosts', '--server', server.url, '--token-file', server.data / 'admin-token']
        done = subprocess.run(words, capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 1)
        self.assertIn('untrusted-server: ', done.stderr)
        done = subprocess.run([*words, '--ca', self.authority.certificate], capture_output=True, text=True, timeout=30)
        self.assertEqual((done.returncode, done.stderr), (0, ''))

    def test_new_certificate_is_served_after_a_hangup(self):
        server = self.serve(fronts=2)
        agent = self.connect(server, authorization=server.join_token())
        agent.ask(agent_description=describe())
        before = server.children()
        certificate, key = self.authority.sign('renewed', 'IP:127.0.0.1')
        shutil.copy(certificate, self.options[1])
        shutil.copy(key, self.options[3])
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: not set(before[1:]) & set(server.children()) and len(server.children()) == 3, 15, 'other fronts')
        self.assertEqual(server.children()[0], before[0])
        wait_for(lambda: self.name_of(server) == 'renewed', what='the new certificate')

    def name_of(self, server):
        try:
            with socket.create_connection(server.address, 5) as plain, \
                    server.context.wrap_socket(plain, server_hostname='127.0.0.1') as connection:
                return dict(pair[0] for pair in connection.getpeercert()['subject'])['commonName']
        except OSError:
            return None

    def test_files_that_do_not_fit_are_said(self):
        other = Authority(scratch(self)).sign('other')
        server_options = ['--tls-cert', self.options[1], '--tls-key', other[1]]
        with self.assertRaises(AssertionError) as caught:
            start(self, *server_options)
        self.assertIn('tls_key', str(caught.exception))


if __name__ == '__main__':
    if not shutil.which('openssl'):
        print('openssl is not installed')
        sys.exit(77)
    sys.exit(unittest.main(verbosity=2))
