#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What stands before a registry, and what may be wrong with one: token services, other hosts that blobs are at, TLS,
answers that are too long, too short, late, or lies."""

import base64
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'fleet'))

import registry
from authority import Authority
from fleet import Workshop
from front import Front, TokenService
from registry import PASSWORD, Case, Layout, digest_of, scratch, tar_of


class Fronted(Case):
    def front(self, *words, **options):
        made = Front(*words, **options)
        self.addCleanup(made.close)
        return made


class Tokens(Fronted):
    def setUp(self):
        super().setUp()
        self.tokens = TokenService(self.directory, ['ann:secret'])
        self.addCleanup(self.tokens.close)
        self.made = self.serve(more=self.tokens.config())
        self.workshop = Workshop(self.directory)
        self.bundle = self.workshop.bundle()
        self.ref = self.made.ref('sensor:1.0.0')

    def test_a_token_is_had_for_what_is_to_be_done(self):
        said = self.refused('unauthorized', 'push', self.ref, self.bundle)
        self.assertIn('log in', said)
        self.assertNotIn('Authorization', self.tokens.seen[-1][2])
        self.log_in(self.made.port, password='wrong')
        self.refused('unauthorized', 'push', self.ref, self.bundle)
        self.log_in(self.made.port)
        self.tokens.seen.clear()
        self.affix('push', self.ref, self.bundle)
        self.assertEqual(len(self.tokens.seen), 1)
        self.assertIn('scope=repository%3Asensor%3Apull%2Cpush', self.tokens.seen[0][1])
        # Reading needs no name here.
        (self.directory / '.docker/config.json').unlink()
        self.tokens.seen.clear()
        self.affix('pull', self.ref, '-p', self.workshop.public, '-o', scratch(self))
        self.assertEqual(len(self.tokens.seen), 1)
        self.assertNotIn('Authorization', self.tokens.seen[0][2])

    def test_a_token_that_runs_out_before_the_upload_does_not_end_the_push(self):
        ran_out = []

        def refuse_once(handler):
            if handler.command != 'PUT' or ran_out or '/uploads/' not in handler.path:
                return False
            handler.rfile.read(int(handler.headers['Content-Length']))
            ran_out.append(handler.answer(401, b'{}', WWW_Authenticate='Bearer realm="x"'))
            return True

        front = self.front(self.made.port, refuse_once)
        self.log_in(front.port)
        self.affix('push', f'127.0.0.1:{front.port}/sensor:1', self.bundle)
        self.assertEqual(len(ran_out), 1)

    def test_a_token_that_is_none_is_refused(self):
        for answer in (b'{"token": "a\\nb"}', b'{}', b'[', b'{"token": ""}', b'{"token": "' + b'x' * 70000 + b'"}'):
            self.tokens.act = lambda handler, answer=answer: handler.answer(200, answer) or True
            done = self.affix('push', self.ref, self.bundle, '--quiet', code=1)
            self.assertRegex(done.stderr, r'\A(unauthorized|bad-image): [^\n]+\n\Z')


class Redirects(Fronted):
    def setUp(self):
        super().setUp()
        users = self.directory / 'htpasswd'
        users.write_text(f'ann:{PASSWORD}\n')
        self.made = self.serve(auth=users)
        self.workshop = Workshop(self.directory)
        self.bundle = self.workshop.bundle()
        self.log_in(self.made.port)
        self.affix('push', self.made.ref('sensor:1'), self.bundle)

    def send_blobs_to(self, place, kind='/blobs/'):
        """A front of the registry whose blobs are elsewhere."""
        def act(handler):
            if handler.command != 'GET' or kind not in handler.path:
                return False
            handler.answer(307, b'over there', Location=place + handler.path)
            return True

        made = self.front(self.made.port, act)
        self.log_in(made.port)
        return made

    def pull(self, front):
        return 'pull', f'127.0.0.1:{front.port}/sensor:1', '-p', self.workshop.public, '-o', scratch(self)

    def test_credentials_stay_with_the_registry(self):
        authorization = 'Basic ' + base64.b64encode(b'ann:secret').decode()

        def serve_blob(handler):
            handler.answer(200, self.made.blob(handler.path.rsplit('/', 1)[1]).read_bytes())
            return True

        store = self.front(act=serve_blob)
        front = self.send_blobs_to(f'http://127.0.0.1:{store.port}')
        self.affix(*self.pull(front))
        self.assertEqual(len(store.seen), 2)
        for _, _, headers in store.seen:
            self.assertNotIn('Authorization', headers)
        self.assertIn(authorization, [headers.get('Authorization') for _, _, headers in front.seen])

    def test_a_challenge_from_elsewhere_is_not_answered(self):
        thief = self.front(act=lambda handler: handler.answer(200, b'{"token": "stolen"}') or True)
        realms = [f'Bearer realm="http://127.0.0.1:{thief.port}/token",service="x"', 'Basic realm="x"']
        for realm in realms:
            store = self.front(act=lambda handler, realm=realm: handler.answer(401, WWW_Authenticate=realm) or True)
            for kind in ('/blobs/', '/manifests/'):
                front = self.send_blobs_to(f'http://127.0.0.1:{store.port}', kind)
                for identity in ({}, {'identitytoken': 'precious'}):
                    if identity:
                        config = json.loads(self.log_in(front.port).read_text())
                        config['auths'][f'127.0.0.1:{front.port}'] |= identity
                        front.act = lambda handler, place=f'http://127.0.0.1:{store.port}': handler.answer(
                            307, b'', Location=place + handler.path) or True
                        (self.directory / '.docker/config.json').write_text(json.dumps(config))
                    with self.subTest(realm=realm, kind=kind, identity=identity):
                        self.refused('registry-refused', *self.pull(front))
                        self.assertEqual(thief.seen, [])
                        self.assertGreater(len(store.seen), 0)
                        for _, _, headers in store.seen:
                            self.assertNotIn('Authorization', headers)

    def test_nobody_is_gone_to_without_tls(self):
        for place in ('http://192.0.2.1', 'http://localhost.example', 'http://127.0.0.1@192.0.2.1', 'ftp://127.0.0.1',
                      'file:///etc/passwd?', 'http://[::1].example'):
            self.refused('untrusted-server', *self.pull(self.send_blobs_to(place)))

    def test_a_circle_has_an_end(self):
        front = self.send_blobs_to('')
        self.refused('registry-refused', *self.pull(front))
        self.assertLess(len(front.seen), 30)


class Encrypted(Fronted):
    def test_tls_is_believed_by_its_authority_only(self):
        authority = Authority(self.directory)
        made = self.serve(tls=authority.sign('registry', 'IP:127.0.0.1'))
        workshop = Workshop(self.directory)
        bundle = workshop.bundle()
        self.refused('untrusted-server', 'push', made.ref('sensor:1'), bundle)
        self.affix('push', made.ref('sensor:1'), bundle, '--ca', authority.certificate)
        self.affix('pull', made.ref('sensor:1'), '-p', workshop.public, '-o', scratch(self), '--ca', authority.certificate)
        self.refused('untrusted-server', 'push', made.ref('sensor:1'), bundle, '--ca', '/nowhere')

    def test_a_certificate_for_another_is_not_believed(self):
        authority = Authority(self.directory)
        made = self.serve(tls=authority.sign('registry', 'DNS:other.example'))
        self.refused('untrusted-server', 'image', 'pull', made.ref('image:1'), '--ca', authority.certificate)


class Answers(Fronted):
    """A registry that the test plays: what docker-registry never says."""

    LAYER = tar_of({'a': b'x' * 50000})

    def setUp(self):
        super().setUp()
        self.layout = Layout(self.directory / 'played')
        self.descriptor = self.layout.image([self.LAYER], compress=False)
        self.changes = {}

    def blob(self, digest):
        return (self.layout.directory / 'blobs/sha256' / digest.removeprefix('sha256:')).read_bytes()

    def play(self, handler):
        kind, name = handler.path.split('/')[-2:]
        change = self.changes.get(kind) or self.changes.get(name)
        if change and change(handler):
            return True
        digest = self.descriptor['digest'] if name == 'v1' else name
        data = self.blob(digest)
        start = handler.headers.get('Range')
        if start and kind == 'blobs':
            start = int(start.removeprefix('bytes=').removesuffix('-'))
            handler.answer(206, data[start:], Content_Range=f'bytes {start}-{len(data) - 1}/{len(data)}')
        else:
            media_type = registry.INDEX if b'"manifests"' in data else registry.MANIFEST
            handler.answer(200, data, Content_Type=media_type if kind == 'manifests' else 'application/octet-stream')
        return True

    def start(self):
        self.played = self.front(act=self.play)
        return 'image', 'pull', f'127.0.0.1:{self.played.port}/image:v1'

    def layer_digest(self):
        return digest_of(self.LAYER)

    def test_what_is_played_is_an_image(self):
        self.affix(*self.start())
        self.check_cache()

    def test_a_manifest_without_end_is_refused(self):
        self.changes['manifests'] = lambda handler: handler.answer(200, b'{' + b' ' * (5 << 20)) or True
        self.assertIn('the answer has more than 4194304 bytes', self.refused('bad-image', *self.start()))

    def test_a_registry_that_contradicts_itself_is_refused(self):
        self.changes['v1'] = lambda handler: handler.answer(
            200, self.blob(self.descriptor['digest']), Docker_Content_Digest='sha256:' + '0' * 64) or True
        self.refused('bad-digest', *self.start())

    def test_more_bytes_than_there_should_be_are_not_read(self):
        self.changes[self.layer_digest()] = lambda handler: handler.answer(200, self.LAYER + bytes(64 << 20)) or True
        self.refused('bad-digest', *self.start())
        self.assertLess(sum(path.stat().st_size for path in self.cache.rglob('*') if path.is_file()), 1 << 20)

    def test_a_pause_that_was_asked_for_is_made(self):
        asked = []

        def busy(handler):
            asked.append(time.monotonic())
            if len(asked) > 2:
                return False
            handler.answer(429 if len(asked) == 1 else 503, b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow\\u001b[2Jly"}]}',
                           Retry_After='1')
            return True

        self.changes['v1'] = busy
        said = self.affix(*self.start()).stderr
        self.assertIn('TOOMANYREQUESTS: slow\\x1b[2Jly, retrying', said)
        self.assertGreater(asked[1] - asked[0], 0.9)

    def test_a_registry_that_cannot_resume_sends_all_again(self):
        cut = []

        def halve(handler):
            if cut:
                handler.answer(200, self.LAYER)
            else:
                cut.append(handler.answer(200, self.LAYER[:20000], Content_Length=len(self.LAYER)))
                handler.close_connection = True
            return True

        self.changes[self.layer_digest()] = halve
        self.affix(*self.start())
        self.assertEqual([headers.get('Range') for _, path, headers in self.played.seen if path.endswith(self.layer_digest())],
                         [None, 'bytes=20000-'])
        self.check_cache()

    def test_the_same_part_over_and_over_is_no_progress(self):
        layer = tar_of({'a': b'x' * 300000})
        self.descriptor = self.layout.image([layer], compress=False)
        asked = []

        def halve(handler):
            asked.append(time.monotonic())
            handler.answer(200, layer[:200000], Content_Length=len(layer))
            handler.close_connection = True
            return True

        self.changes[digest_of(layer)] = halve
        words = self.start()
        with subprocess.Popen([registry.AFFIX, *words, '--quiet'], env=self.environment) as pull:
            try:
                end = time.monotonic() + 30
                while len(asked) < 4 and time.monotonic() < end:
                    time.sleep(0.05)
            finally:
                pull.kill()
        # The first try brought something: 0.5 s, then as if it had failed, 1 s and 2 s.
        self.assertGreater(asked[3] - asked[0], 2.9)

    def test_a_registry_that_stops_sending_is_given_up_and_asked_again(self):
        asked = []
        ended = threading.Event()
        self.addCleanup(ended.set)

        def stall(handler):
            asked.append((time.monotonic(), handler.headers.get('Range')))
            if len(asked) > 1:
                return False
            # Half of it, and then a byte now and then: it is no answer that nothing comes at all.
            handler.answer(200, self.LAYER[:20000], Content_Length=len(self.LAYER))
            handler.wfile.flush()
            for number in range(20000, 20200):
                if ended.wait(1):
                    break
                handler.wfile.write(self.LAYER[number:number + 1])
            handler.close_connection = True
            return True

        self.changes[self.layer_digest()] = stall
        said = self.affix(*self.start()).stderr
        self.assertRegex(said, r'sha256:[0-9a-f]{12}: [^\n]+, retrying\n')
        # 30 s, of which not a byte of what had come is asked for again.
        self.assertGreater(asked[1][0] - asked[0][0], 25)
        self.assertLess(asked[1][0] - asked[0][0], 60)
        self.assertRegex(asked[1][1], r'\Abytes=200[0-9][0-9]-\Z')
        self.check_cache()

    def test_a_size_that_a_manifest_makes_up_costs_no_blob(self):
        self.affix(*self.start())
        manifest = json.loads(self.blob(self.descriptor['digest']))
        manifest['layers'][0]['size'] += 1
        self.descriptor = self.layout.add_json(manifest, registry.MANIFEST)
        self.refused('bad-digest', *self.start())
        self.assertIn(self.layer_digest(), self.cached())
        manifest['layers'][0]['size'] = 1 << 43
        self.descriptor = self.layout.add_json(manifest, registry.MANIFEST)
        self.refused('no-space', *self.start())
        self.assertIn(self.layer_digest(), self.cached())
        self.assertEqual(list((self.cache / 'partial').iterdir()), [])

    def test_another_part_than_was_asked_for_is_refused(self):
        cut = []

        def lie(handler):
            if cut:
                handler.answer(206, self.LAYER[:1000], Content_Range=f'bytes 0-999/{len(self.LAYER)}')
            else:
                cut.append(handler.answer(200, self.LAYER[:20000], Content_Length=len(self.LAYER)))
                handler.close_connection = True
            return True

        self.changes[self.layer_digest()] = lie
        self.refused('registry-refused', *self.start())
        self.assertNotIn(self.layer_digest(), self.cached())

    def test_indexes_in_indexes_have_an_end(self):
        for _ in range(6):
            self.descriptor = {**self.layout.index([self.descriptor]), 'platform': {'os': 'linux', 'architecture': 'amd64'}}
        self.assertIn('deep', self.refused('bad-image', *self.start(), '--platform', 'linux/amd64'))

    def test_layers_that_lie_elsewhere_are_not_fetched(self):
        manifest = json.loads(self.blob(self.descriptor['digest']))
        manifest['layers'][0]['mediaType'] = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'
        manifest['layers'][0]['urls'] = ['https://192.0.2.1/layer']
        self.descriptor = self.layout.add_json(manifest, registry.MANIFEST)
        self.refused('bad-image', *self.start())

    def test_what_a_registry_says_is_safe_to_show(self):
        self.changes['v1'] = lambda handler: handler.answer(
            403, json.dumps({'errors': [{'code': 'DENIED', 'message': 'a\x1b[2Jb\nc'}]}).encode()) or True
        self.assertIn('a\\x1b[2Jb\\x0ac', self.refused('unauthorized', *self.start()))


if __name__ == '__main__':
    registry.run()
