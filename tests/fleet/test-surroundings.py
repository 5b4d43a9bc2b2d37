#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""affix-agent and affixd, both real, with what stands between them and what is wrong around them: certificates, proxies, clocks."""

import hashlib
import os
import pathlib
import shutil
import sys
import unittest

from agent_host import Host
from authority import Authority
from fleet import Workshop, scratch, start, wait_for
import proxy

CLOCK = pathlib.Path(os.environ['AFFIX_BUILD']).resolve() / 'tests/fleet/clock-shift.so'
LONG = 60


class Surroundings(unittest.TestCase):
    def setUp(self):
        self.authority = Authority(scratch(self))

    def serve_tls(self, *options, context=None, days=(0, 2)):
        certificate, key = self.authority.sign('server', 'IP:127.0.0.1', days)
        self.serve('--tls-cert', certificate, '--tls-key', key, *options)
        self.server.context = context or self.authority.context()

    def way(self, pair=None, **more):
        shown = {'client_certificate': str(pair[0]), 'client_key': str(pair[1])} if pair else {}
        return {'ca_file': str(self.authority.certificate), **shown, **more}

    def serve(self, *options, **more):
        self.server = start(self, *options, config='heartbeat_seconds: 5\n', **more)
        self.workshop = Workshop(scratch(self))
        self.versions = {}

    def publish(self):
        self.server.trust(self.workshop)
        bundle = self.workshop.bundle('1.0.0', size=100000)
        self.versions[hashlib.sha256(bundle.read_bytes()).hexdigest()] = '1.0.0'
        self.server.publish(bundle, version='1.0.0')
        self.server.api('POST', '/assignments', {'addon': 'sensor', 'version': '1.0.0', 'selector': 'env=prod'})

    def host(self, way=None, **options):
        return Host(self, self.server, 'a', self.versions, way=way, env='prod', **options)

    def wait_log(self, host, *texts):
        """Waits until the agent has said all of it in one line."""
        def said():
            return next((line for line in host.log().splitlines() if all(text in line for text in texts)), None)
        try:
            return wait_for(said, LONG, f'{texts}')
        except AssertionError as error:
            raise AssertionError(f'{error}: {host.log()}') from None

    def wait_running(self, host):
        def runs():
            return any(item['addon'] == 'sensor' and (item['state'], item['running']) == ('running', '1.0.0')
                       for item in self.server.api('GET', '/status')['items'])
        try:
            wait_for(runs, LONG, 'the add-on')
        except AssertionError as error:
            raise AssertionError(f'{error}: {host.log()}') from None

    def between(self, made):
        made.start()
        self.addCleanup(made.stop)
        return made

    def assertUnheard(self, host):
        self.assertEqual(self.server.api('GET', '/hosts')['items'], [])
        self.assertEqual(host.updater.verbs(), [])


class Certificates(Surroundings):
    def demand(self):
        self.serve_tls('--client-ca', self.authority.certificate, context=self.authority.context(self.authority.sign('operator')))

    def test_host_with_the_certificate_that_is_wanted_is_served(self):
        self.demand()
        self.publish()
        self.wait_running(self.host(self.way(self.authority.sign('host'))))

    def test_host_whose_certificate_is_wrong_is_told_what_to_do(self):
        self.demand()
        stranger = Authority(scratch(self))
        cases = [
            (None, 'set server.client_certificate'),
            (stranger.sign('stranger'), 'client_ca'),
            (self.authority.sign('old', days=(-2, -1)), 'expired; renew server.client_certificate'),
            (self.authority.sign('early', days=(1, 2)), 'server.client_certificate is valid already'),
        ]
        for transport in ('websocket', 'http'):
            hosts = [(self.host(self.way(pair), transport=transport), text) for pair, text in cases]
            for host, text in hosts:
                with self.subTest(transport=transport, text=text):
                    self.wait_log(host, 'no connection to the server', text)
                    self.assertUnheard(host)
                host.stop()

    def test_clock_that_is_wrong_is_named_and_mended(self):
        self.serve_tls(days=(-0.1, 0.5))
        self.publish()
        for days, text in ((1, 'expired'), (3650, 'expired'), (-1, 'not valid yet'), (-3650, 'not valid yet')):
            host = self.host(self.way(), environment=at(days))
            with self.subTest(days=days):
                self.wait_log(host, text, "this host's clock")
                self.assertUnheard(host)
            host.stop()
        host.environment = {}
        host.start()
        self.wait_running(host)

    def test_server_whose_certificate_is_outside_its_time_or_vouched_for_by_others_hears_nothing(self):
        stranger = Authority(scratch(self))
        for days, authority, texts in (((-2, -1), self.authority, ('expired', 'renew it')), ((1, 2), self.authority, ('not valid yet', 'clock')),
                                       ((0, 2), stranger, ('certificate',))):
            with self.subTest(texts=texts):
                self.serve_tls(days=days)
                self.server.context.check_hostname = False
                self.server.context.verify_mode = 0
                host = self.host({'ca_file': str(authority.certificate)})
                self.wait_log(host, 'no connection to the server', *texts)
                self.assertUnheard(host)
                host.stop()


class Proxies(Surroundings):
    def setUp(self):
        super().setUp()
        self.serve_tls()
        self.publish()

    def test_everything_goes_through_a_proxy_that_wants_a_password(self):
        between = self.between(proxy.Proxy('fleet:s3cret'))
        for name in ('', 'fleet:wrong@'):
            host = self.host(self.way(proxy=f'http://{name}127.0.0.1:{between.port}'))
            self.wait_log(host, 'the proxy wants a name and a password', 'server.proxy')
            self.assertUnheard(host)
            host.stop()
        host = self.host(self.way(proxy=f'http://fleet:s3cret@127.0.0.1:{between.port}'))
        self.wait_running(host)
        self.assertIn(('CONNECT', f'127.0.0.1:{self.server.port}', 200), between.seen)
        self.assertNotIn('s3cret', host.log())

    def test_proxy_that_goes_down_is_waited_for(self):
        between = self.between(proxy.Proxy())
        host = self.host(self.way(proxy=f'http://127.0.0.1:{between.port}'))
        self.wait_running(host)
        between.stop()
        wait_for(lambda: self.presence() != 'connected', LONG, 'the host is not missed')
        self.wait_log(host, 'no connection to the server')
        tunnels = len(between.seen)
        between.start()
        wait_for(lambda: self.presence() == 'connected' and len(between.seen) > tunnels, LONG, 'the host does not come back')
        self.assertEqual(host.updater.verbs(), [('install', 'sensor')])

    def presence(self):
        return self.server.api('GET', '/hosts')['items'][0]['presence']

    def test_proxy_that_hangs_is_given_up_and_tried_again(self):
        between = self.between(proxy.Proxy())
        between.hangs.set()
        host = self.host(self.way(proxy=f'http://127.0.0.1:{between.port}'))
        wait_for(lambda: between.seen, LONG, 'a request to the proxy')
        between.hangs.clear()
        self.wait_running(host)
        self.assertIn('imeout', self.wait_log(host, 'no connection to the server').replace('timed out', 'timeout'))


class Middleboxes(Surroundings):
    def test_where_a_middlebox_knows_no_websocket_the_host_polls(self):
        self.serve()
        self.publish()
        for status in (None, 400, 426, 501):
            between = self.between(proxy.Middlebox(self.server.port, status))
            host = self.host({'url': f'http://127.0.0.1:{between.port}/v1/opamp'})
            with self.subTest(status=status):
                wait_for(lambda host=host: host.updater.verbs() == [('install', 'sensor')], LONG, 'the add-on')
                self.wait_log(host, 'connected to the server by http')
                self.assertEqual([seen[0] for seen in between.seen if seen[2]], ['GET'])
            host.stop()


class Clocks(Surroundings):
    def test_clock_that_is_wrong_and_then_put_right_changes_nothing_else(self):
        self.serve()
        self.publish()
        for days in (1, -1, 3650, -3650):
            with self.subTest(days=days):
                host = self.host(environment=at(days))
                wait_for(lambda host=host: host.updater.verbs() == [('install', 'sensor')], LONG, 'the add-on')
                wait_for(lambda host=host: self.is_remembered(host), LONG, 'the end of the installation')
                host.stop()
                host.environment = {}
                host.start()
                questions = host.updater.questions
                host.updater.wait(lambda host=host, questions=questions: host.updater.questions >= questions + 2)
                self.wait_log(host, 'connected')
                self.assertEqual(host.updater.verbs(), [('install', 'sensor')])
                host.stop()

    def is_remembered(self, host):
        memory = host.directory / 'state' / 'memory.json'
        return memory.exists() and next(iter(self.versions)) in memory.read_text()


def at(days):
    """The environment of a program whose clock is so many days ahead."""
    return {'LD_PRELOAD': str(CLOCK), 'AFFIX_TEST_CLOCK': str(days * 86400)}


if __name__ == '__main__':
    if not shutil.which('openssl'):
        print('openssl is not installed')
        sys.exit(77)
    sys.exit(unittest.main(verbosity=2))
