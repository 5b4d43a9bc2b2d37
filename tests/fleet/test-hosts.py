#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Hosts and a real affixd: enrolment, reports, offers, downloads, revocation, and processes that die."""

import concurrent.futures
import hashlib
import os
import signal
import sys
import time
import unittest
import urllib.parse

from fleet import AFFIXD, Workshop, scratch, start, wait_for
from opamp import Closed, PollAgent, Refused, SocketAgent, credential_of, describe


class Fleet(unittest.TestCase):
    def connect(self, server, kind=SocketAgent, authorization=None, **options):
        agent = kind(server.address, authorization=authorization or server.join_token(), **options)
        self.addCleanup(agent.close)
        return agent

    def enrol(self, server, labels=None, kind=SocketAgent, **facts):
        """An agent with a credential of its own, connected with it, and what it was answered."""
        first = self.connect(server, kind)
        credential = credential_of(first.ask(agent_description=describe(labels, **facts)))
        self.assertTrue(credential and credential.startswith('Bearer '), credential)
        first.close()
        agent = self.connect(server, kind, credential, uid=first.uid)
        agent.authorization = credential
        return agent, agent.ask(agent_description=describe(labels, **facts), health={'healthy': True})

    def publish(self, server, *versions, **options):
        workshop = Workshop(scratch(self))
        server.trust(workshop)
        bundles = [workshop.bundle(version, **options) for version in versions]
        for bundle, version in zip(bundles, versions):
            server.publish(bundle, version=version)
        return bundles


class Enrolment(Fleet):
    def test_join_token_becomes_a_credential_over_both_transports(self):
        server = start(self, fronts=2)
        for kind in (SocketAgent, PollAgent):
            with self.subTest(kind.__name__):
                agent, answer = self.enrol(server, {'env': kind.__name__}, kind)
                self.assertIsNone(credential_of(answer))
                self.assertEqual(answer['instance_uid'], agent.uid)
        hosts = server.api('GET', '/hosts')['items']
        self.assertEqual([host['labels']['env'] for host in hosts], ['SocketAgent', 'PollAgent'])
        self.assertEqual({host['presence'] for host in hosts}, {'connected'})

    def test_packed_polls_are_understood_and_answered(self):
        server = start(self)
        agent = self.connect(server, PollAgent, packs=True)
        self.assertTrue(credential_of(agent.ask(agent_description=describe({'env': 'x' * 5000}))))
        self.assertEqual(agent.ask(), {'instance_uid': agent.uid})

    def test_without_authorization_nothing_is_opened(self):
        server = start(self)
        with self.assertRaises(Refused) as caught:
            SocketAgent(server.address)
        self.assertEqual(caught.exception.status, 401)
        with self.assertRaises(Refused) as caught:
            PollAgent(server.address).ask()
        self.assertEqual(caught.exception.status, 401)
        self.assertEqual(caught.exception.headers['www-authenticate'], 'Bearer')

    def test_unknown_and_used_up_tokens_are_refused(self):
        server = start(self)
        once = server.join_token(max_uses=1)
        self.connect(server, authorization=once).ask(agent_description=describe())
        for token in (once, 'Bearer affix-join-' + 'A' * 43, 'Bearer x', 'Basic x'):
            with self.subTest(token):
                agent = self.connect(server, authorization=token)
                self.assertEqual(agent.ask(agent_description=describe())['error_response']['type'], 1)
                with self.assertRaises(Closed) as caught:
                    agent.receive()
                self.assertEqual(caught.exception.code, 1008)
                with self.assertRaises(Refused) as caught:
                    self.connect(server, PollAgent, token).ask(agent_description=describe())
                self.assertEqual(caught.exception.status, 401)
        self.assertEqual(len(server.api('GET', '/hosts')['items']), 1)


class Talk(Fleet):
    def test_heartbeats_are_answered_and_a_gap_asks_for_everything(self):
        server = start(self)
        for kind in (SocketAgent, PollAgent):
            with self.subTest(kind.__name__):
                agent, _ = self.enrol(server, kind=kind)
                for _ in range(3):
                    self.assertEqual(agent.ask(), {'instance_uid': agent.uid})
                agent.sequence += 1
                self.assertEqual(agent.ask().get('flags'), 1)
                self.assertEqual(agent.ask(agent_description=describe(), health={'healthy': True}).get('flags', 0), 0)

    def test_heartbeats_keep_a_host_from_being_silent(self):
        server = start(self, config='heartbeat_seconds: 5\n')
        agent, _ = self.enrol(server)
        before = server.api('GET', '/hosts')['items'][0]['last_seen']
        end = time.monotonic() + 6
        while time.monotonic() < end:
            agent.ask()
            time.sleep(1)
        wait_for(lambda: server.api('GET', '/hosts')['items'][0]['last_seen'] > before, what='a later time')

    def test_of_two_that_poll_with_one_credential_one_stays(self):
        for fronts in (1, 3):
            with self.subTest(fronts=fronts):
                server = start(self, fronts=fronts)
                agent, _ = self.enrol(server, kind=PollAgent)
                copy = self.connect(server, PollAgent, agent.authorization, uid=agent.uid)
                agent.sequence += 40
                with self.assertRaises(Refused) as caught:
                    for _ in range(8):
                        agent.ask()
                        copy.ask()
                self.assertEqual((caught.exception.status, caught.exception.headers['retry-after']), (409, '60'))
                self.assertIn(b'copied disks', caught.exception.body)
                for _ in range(3):
                    agent.ask()
                self.assertEqual(server.api('GET', '/hosts/1')['presence'], 'duplicate')

    def test_host_that_says_goodbye_is_away_at_once(self):
        server = start(self)
        for kind in (SocketAgent, PollAgent):
            with self.subTest(kind.__name__):
                agent, _ = self.enrol(server, kind=kind)
                def presence():
                    return server.api('GET', '/hosts')['items'][-1]['presence']
                self.assertEqual(presence(), 'connected')
                (agent.send if kind is SocketAgent else agent.ask)(agent_disconnect={})
                wait_for(lambda: presence() == 'away', 2, 'the goodbye')

    def test_what_a_host_says_is_seen_by_the_operator(self):
        server = start(self)
        agent, _ = self.enrol(server, {'env': 'prod', 'rack': 'b-2'}, **{'host.name': 'web-1'})
        agent.ask(effective_config={'config_map': {'config_map': {'sensor': {
            'body': b'{"interval":5}', 'content_type': 'application/json'}}}})
        host = server.api('GET', '/hosts?host=web-1')['items'][0]
        self.assertEqual((host['labels'], host['os'], host['arch'], host['healthy']),
                         ({'env': 'prod', 'rack': 'b-2'}, 'linux', 'amd64', True))
        config = server.api('GET', f'/hosts/{host["id"]}/config')['items']
        self.assertEqual(config[0]['body'], '{"interval":5}')
        found = server.api('GET', '/hosts?selector=' + urllib.parse.quote('env=prod,rack!=b-2'))
        self.assertEqual(found['items'], [])

    def test_message_in_many_frames_is_one_message(self):
        server = start(self)
        agent = self.connect(server)
        message = b'\0' + agent.message(agent_description=describe({'long': 'x' * 200000}))
        for at in range(0, len(message), 50000):
            agent.socket.send_frame(2 if at == 0 else 0, message[at:at + 50000], at + 50000 >= len(message))
        self.assertTrue(credential_of(agent.receive()))


class Offers(Fleet):
    def offer(self, agent):
        """The next message that offers packages."""
        while True:
            message = agent.receive()
            if 'packages_available' in message:
                return message

    def test_assignment_reaches_a_connected_host_and_its_url_brings_the_bundle(self):
        server = start(self)
        bundle, = self.publish(server, '1.0.0', size=100000)
        agent, _ = self.enrol(server, {'env': 'prod'})
        other, _ = self.enrol(server, {'env': 'test'})
        server.api('POST', '/assignments', {'addon': 'sensor', 'version': '1.0.0', 'selector': 'env=prod',
                                            'config': {'interval': 7}})
        message = self.offer(agent)
        package = message['packages_available']['packages']['sensor']
        data = bundle.read_bytes()
        self.assertEqual(package['version'], '1.0.0')
        self.assertEqual(package['file']['content_hash'], hashlib.sha256(data).digest())
        self.assertEqual(package['file']['signature'], bundle.with_name(bundle.name + '.minisig').read_bytes())
        entries = message['remote_config']['config']['config_map']
        self.assertIn(b'"interval":7', entries['sensor']['body'].replace(b' ', b''))
        url = urllib.parse.urlsplit(package['file']['download_url'])
        # Without --public-url a host fetches from where it is connected, by the name that it has for it.
        self.assertEqual(f'{url.scheme}://{url.netloc}', server.url)
        self.check_download(server, f'{url.path}?{url.query}', data)
        self.assertEqual(other.ask(), {'instance_uid': other.uid})

    def test_urls_begin_with_the_name_by_which_a_host_came_and_with_nothing_that_it_made_up(self):
        server = start(self)
        self.publish(server, '1.0.0')
        server.api('POST', '/assignments', {'addon': 'sensor', 'version': '1.0.0', 'selector': 'env=prod'})
        for header, begin in (('fleet.example:4320', 'http://fleet.example:4320/'), ('[::1]:80', 'http://[::1]:80/'),
                              ('evil.example/a?b', '/'), ('user@evil.example', '/'), ('a' * 300, '/')):
            agent = self.connect(server, PollAgent)
            answer = agent.post(agent.message(agent_description=describe({'env': 'prod'})), Host=header)
            url = answer['packages_available']['packages']['sensor']['file']['download_url']
            self.assertTrue(url.startswith(begin), (header, url))

    def test_urls_are_https_where_something_before_affixd_ends_tls_which_is_said_once_and_by_hosts(self):
        server = start(self)
        with self.assertRaises(Refused):
            stranger = self.connect(server, PollAgent, 'Bearer nobody')
            stranger.post(stranger.message(), **{'Host': 'evil.example', 'X-Forwarded-Proto': 'https'})
        self.publish(server, '1.0.0')
        server.api('POST', '/assignments', {'addon': 'sensor', 'version': '1.0.0', 'selector': 'env=prod'})
        for proto, begin in (('https', 'https://fleet.example/'), ('HTTPS', 'https://fleet.example/'), ('http', 'http://fleet.example/'),
                             ('https, http', 'http://fleet.example/'), ('x' * 500, 'http://fleet.example/')):
            agent = self.connect(server, PollAgent)
            answer = agent.post(agent.message(agent_description=describe({'env': 'prod'})),
                                **{'Host': 'fleet.example', 'X-Forwarded-Proto': proto})
            url = answer['packages_available']['packages']['sensor']['file']['download_url']
            self.assertTrue(url.startswith(begin), (proto, url))
        agent = self.connect(server, SocketAgent, extra=['X-Forwarded-Proto: https'])
        agent.send(agent_description=describe({'env': 'prod'}))
        url = self.offer(agent)['packages_available']['packages']['sensor']['file']['download_url']
        self.assertTrue(url.startswith(f'https://127.0.0.1:{server.port}/'), url)
        said = [line for line in server.log if 'public_url' in line]
        self.assertEqual(len(said), 1, server.log)
        self.assertIn("'https://fleet.example'", said[0])

    def check_download(self, server, path, data):
        size = len(data)
        status, headers, body = server.request('GET', path, token='')
        self.assertEqual((status, body), (200, data))
        self.assertEqual(headers['accept-ranges'], 'bytes')
        etag = headers['etag']
        for text, start, end in (('0-', 0, size), ('100-199', 100, 200), (f'{size - 1}-', size - 1, size), ('-10', size - 10, size),
                                 (f'5-{size * 2}', 5, size), (f'-{size * 2}', 0, size)):
            status, headers, body = server.request('GET', path, token='', headers={'Range': 'bytes=' + text})
            with self.subTest(text):
                self.assertEqual((status, body), (206, data[start:end]))
                self.assertEqual(headers['content-range'], f'bytes {start}-{end - 1}/{size}')
        for text in (f'{size}-', '-0'):
            status, headers, _ = server.request('GET', path, token='', headers={'Range': 'bytes=' + text})
            self.assertEqual((status, headers['content-range']), (416, f'bytes */{size}'))
        for text in ('bytes=5-1', 'bytes=0-1,3-4', 'lines=1-2', 'bytes=a-b'):
            self.assertEqual(server.request('GET', path, token='', headers={'Range': text})[0], 200)
        self.assertEqual(server.request('GET', path, token='', headers={'If-None-Match': etag})[0::2], (304, b''))
        ranged = {'Range': 'bytes=1-2', 'If-Range': '"other"'}
        self.assertEqual(server.request('GET', path, token='', headers=ranged)[0], 200)
        ranged['If-Range'] = etag
        self.assertEqual(server.request('GET', path, token='', headers=ranged)[0], 206)
        status, headers, body = server.request('HEAD', path, token='')
        self.assertEqual((status, headers['content-length'], body), (200, str(size), b''))
        for wrong in (path[:-1] + ('0' if path[-1] != '0' else '1'), path.replace('host=', 'host=1'),
                      path.replace('expires=', 'expires=1')):
            self.assertEqual(server.request('GET', wrong, token='')[0], 403, wrong)
        self.assertEqual(server.request('GET', path.split('?')[0], token='')[0], 404)
        self.assertEqual(server.request('GET', '/v1/artifacts/../affixd.db', token='')[0], 404)

    def test_polling_host_gets_the_offer_with_its_next_poll(self):
        server = start(self)
        self.publish(server, '1.0.0')
        agent, _ = self.enrol(server, {'env': 'prod'}, PollAgent)
        server.api('POST', '/assignments', {'addon': 'sensor', 'version': 'latest', 'selector': 'env=prod'})
        message = wait_for(lambda: 'packages_available' in (said := agent.ask()) and said, what='the offer')
        self.assertEqual(message['packages_available']['packages']['sensor']['version'], '1.0.0')

    def test_polling_host_is_asked_to_poll_more_often_than_others_beat(self):
        server = start(self)
        for kind, seconds in ((PollAgent, 10), (SocketAgent, 30)):
            agent = self.connect(server, kind)
            settings = agent.ask(agent_description=describe())['connection_settings']['opamp']
            self.assertEqual(settings['heartbeat_interval_seconds'], seconds)

    def test_new_version_of_latest_reaches_the_host(self):
        server = start(self)
        workshop = Workshop(scratch(self))
        server.trust(workshop)
        server.publish(workshop.bundle('1.0.0'), version='1.0.0')
        agent, _ = self.enrol(server, {'env': 'prod'})
        server.api('POST', '/assignments', {'addon': 'sensor', 'version': 'latest', 'selector': 'env=prod'})
        self.assertEqual(self.offer(agent)['packages_available']['packages']['sensor']['version'], '1.0.0')
        server.publish(workshop.bundle('1.1.0'), version='1.1.0')
        self.assertEqual(self.offer(agent)['packages_available']['packages']['sensor']['version'], '1.1.0')

    def test_bundle_of_a_strange_key_is_refused_and_leaves_nothing(self):
        server = start(self)
        server.trust(Workshop(scratch(self)))
        stranger = Workshop(scratch(self))
        answer = server.import_bundle(stranger.bundle(), status=(400, 409, 422))
        self.assertEqual(answer['error']['name'], 'untrusted-key')
        self.assertEqual(os.listdir(server.data / 'artifacts'), [])
        self.assertEqual(os.listdir(server.data / 'incoming'), [])

    def test_upload_without_a_token_is_refused_before_it_is_sent(self):
        server = start(self)
        status, _, _ = server.request('POST', '/api/v1/packages?signature=eA', b'x' * 100000, token='',
                                      content_type='application/octet-stream')
        self.assertEqual(status, 401)
        self.assertEqual(os.listdir(server.data / 'incoming'), [])


class Ends(Fleet):
    def test_revoked_host_is_out_at_once(self):
        server = start(self)
        agent, _ = self.enrol(server)
        poller, _ = self.enrol(server, kind=PollAgent)
        for host in server.api('GET', '/hosts')['items']:
            server.api('POST', f'/hosts/{host["id"]}/revoke')
        begin = time.monotonic()
        with self.assertRaises(Closed) as caught:
            while True:
                agent.receive()
        self.assertEqual(caught.exception.code, 1008)
        self.assertLess(time.monotonic() - begin, 1)
        with self.assertRaises(Refused) as caught:
            poller.ask()
        self.assertEqual(caught.exception.status, 403)
        again = self.connect(server, authorization=agent.authorization, uid=agent.uid)
        self.assertIn('error_response', again.ask(agent_description=describe()))

    def test_restart_keeps_hosts_and_their_credentials(self):
        server = start(self)
        self.publish(server, '1.0.0')
        agent, _ = self.enrol(server, {'env': 'prod'})
        server.api('POST', '/assignments', {'addon': 'sensor', 'version': '1.0.0', 'selector': 'env=prod'})
        for number in (signal.SIGTERM, signal.SIGKILL):
            with self.subTest(number.name):
                server.restart(number)
                again = self.connect(server, authorization=agent.authorization, uid=agent.uid)
                answer = again.ask(agent_description=describe({'env': 'prod'}))
                self.assertIn('sensor', answer['packages_available']['packages'])
                self.assertEqual(len(server.api('GET', '/hosts')['items']), 1)
                again.close()

    def test_stop_tells_hosts_over_what_time_to_come_back_and_ends_cleanly(self):
        server = start(self, fronts=3)
        agent, _ = self.enrol(server)
        server.process.terminate()
        failure = agent.receive()['error_response']
        self.assertEqual((failure['type'], failure['retry_info']), (2, {'retry_after_nanoseconds': 10 ** 9}))
        with self.assertRaises(Closed) as caught:
            agent.receive()
        self.assertEqual(caught.exception.code, 1001)
        self.assertEqual(server.stop(), 0)

    def test_stop_answers_polls_and_requests_that_wait(self):
        server = start(self)
        poller, _ = self.enrol(server, kind=PollAgent)
        store = server.children()[0]
        os.kill(store, signal.SIGSTOP)
        self.addCleanup(lambda: os.path.exists(f'/proc/{store}') and os.kill(store, signal.SIGCONT))
        with concurrent.futures.ThreadPoolExecutor() as pool:
            request = pool.submit(server.request, 'GET', '/api/v1/hosts')
            poll = pool.submit(poller.ask, agent_description=describe({'a': 'b'}))
            time.sleep(0.5)
            server.process.terminate()
            refused = poll.exception(5)
            self.assertIsInstance(refused, Refused)
            self.assertEqual((refused.status, refused.headers['retry-after'], refused.headers['connection']), (503, '1', 'close'))
            time.sleep(0.6)
            self.assertFalse(request.done())
            os.kill(store, signal.SIGCONT)
            self.assertEqual(request.result(5)[0], 200)
        self.assertEqual(server.stop(), 0)

    def test_front_that_dies_is_started_again(self):
        server = start(self)
        agent, _ = self.enrol(server)
        front = server.children()[-1]
        os.kill(front, signal.SIGKILL)
        wait_for(lambda: server.children()[-1] != front and len(server.children()) == 2, what='another front')
        again = wait_for(lambda: self.try_connect(server, agent), what='a connection')
        self.assertEqual(again.ask(agent_description=describe())['instance_uid'], agent.uid)
        self.assertTrue(any('front 1 was ended by signal 9' in line for line in server.log), server.log)
        self.assertEqual(server.api('GET', '/hosts')['items'][0]['presence'], 'connected')

    def try_connect(self, server, agent):
        try:
            return self.connect(server, authorization=agent.authorization, uid=agent.uid)
        except (OSError, Closed):
            return None

    def test_end_of_the_store_is_the_end_of_all(self):
        server = start(self, fronts=2)
        children = server.children()
        os.kill(children[0], signal.SIGKILL)
        self.assertEqual(server.process.wait(10), 1)
        wait_for(lambda: any('the store was ended by signal 9' in line for line in server.log), what='a word about it')
        wait_for(lambda: not any(os.path.exists(f'/proc/{pid}/fd/0') for pid in children), what='the end of all')

    def test_second_affixd_on_the_same_data_says_so(self):
        server = start(self)
        import subprocess
        done = subprocess.run([AFFIXD, 'serve', '--data', server.data, '--listen', '127.0.0.1:0'], text=True,
                              capture_output=True, timeout=20)
        self.assertEqual(done.returncode, 1)
        self.assertIn('another affixd', done.stderr)
        self.assertEqual(server.request('GET', '/healthz', token='')[0], 200)


if __name__ == '__main__':
    sys.exit(unittest.main(verbosity=2))
