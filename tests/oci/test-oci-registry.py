#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Images and add-ons to and from Debian's docker-registry, with skopeo on the other side: pulled, pushed, asked for
credentials, interrupted, damaged, copied between registries."""

import fcntl
import filecmp
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'fleet'))

import registry
from fleet import AFFIXD, Workshop, start, wait_for
from registry import AFFIX, PASSWORD, Case, Layout, Link, scratch, skopeo, tar_of


class Linked(Case):
    def link(self, made, **options):
        link = Link(made.port, **options)
        self.addCleanup(link.close)
        return link


class Images(Linked):
    def test_an_image_is_pulled_and_then_is_in_the_cache(self):
        made = self.serve()
        layout = self.image(tar_of({'a': b'1' * 5000}), tar_of({'b': os.urandom(100000)}))
        self.put(made, layout)
        link = self.link(made)
        first = self.json('image', 'pull', f'127.0.0.1:{link.port}/image:v1')
        self.assertEqual([first['os'], first['arch'], len(first['layers'])], ['linux', 'amd64', 2])
        self.check_cache()
        self.assertLessEqual({layer['digest'] for layer in first['layers']}, set(self.cached()))
        link.requests = b''
        again = self.json('image', 'pull', f'127.0.0.1:{link.port}/image:v1')
        self.assertEqual(again, first)
        self.assertNotIn(b'/blobs/', link.requests)
        self.json('image', 'pull', f'127.0.0.1:{link.port}/image@{first["digest"]}')

    def test_a_layer_may_be_there_twice(self):
        made = self.serve()
        layer = tar_of({'a': os.urandom(50000)})
        self.put(made, self.image(layer, tar_of({'b': b'y'}), layer))
        layers = self.json('image', 'pull', made.ref('image:v1'))['layers']
        self.assertEqual(layers[0], layers[2])
        self.assertNotEqual(layers[0], layers[1])
        self.check_cache()

    def test_the_platforms_own_image_is_chosen(self):
        made = self.serve()
        layout = Layout(self.directory / 'several')
        images = [layout.image([tar_of({'x': arch.encode()})], arch=arch) for arch in ('arm64', 'amd64', 's390x')]
        layout.name('v1', layout.index(images))
        skopeo('copy', '--all', '--dest-tls-verify=false', f'oci:{layout.directory}:v1', f'docker://{made.ref("many:v1")}')
        for arch, image in zip(('arm64', 'amd64', 's390x'), images):
            found = self.json('image', 'pull', made.ref('many:v1'), '--platform', f'linux/{arch}')
            self.assertEqual([found['digest'], found['arch']], [image['digest'], arch])
        said = self.refused('no-platform', 'image', 'pull', made.ref('many:v1'), '--platform', 'linux/ppc64le')
        self.assertIn('arm64, amd64, s390x', said)

    def test_a_docker_schema_2_image_is_read(self):
        made = self.serve()
        layout = self.image(tar_of({'a': b'x'}))
        skopeo('copy', '--format', 'v2s2', '--dest-tls-verify=false', f'oci:{layout.directory}:v1',
               f'docker://{made.ref("old:v1")}')
        found = self.json('image', 'pull', made.ref('old:v1'))
        self.assertEqual(found['layers'][0]['media_type'], 'application/vnd.docker.image.rootfs.diff.tar.gzip')

    def test_layouts_and_archives_are_read(self):
        layout = self.image(tar_of({'a': b'x' * 3000}))
        wanted = self.json('image', 'pull', f'oci:{layout.directory}:v1')
        self.assertEqual(self.json('image', 'pull', layout.directory), wanted)
        archive = self.directory / 'image.tar'
        skopeo('copy', f'oci:{layout.directory}:v1', f'oci-archive:{archive}:v1')
        self.assertEqual(self.json('image', 'pull', f'oci-archive:{archive}:v1')['layers'], wanted['layers'])
        self.check_cache()
        self.assertIn("'v9'", self.refused('not-found', 'image', 'pull', f'oci:{layout.directory}:v9'))
        # A blob that is not what its name says.
        blob = layout.directory / 'blobs/sha256' / wanted['digest'][7:]
        blob.write_bytes(blob.read_bytes().replace(b'"schemaVersion": 2', b'"schemaVersion":  2'))
        self.refused('bad-digest', 'image', 'pull', f'oci:{layout.directory}:v1')
        data = bytearray(archive.read_bytes())
        data[data.index(b'\x1f\x8b\x08') + 30] ^= 1
        archive.write_bytes(data)
        self.affix('image', 'cache', 'prune')
        self.refused('bad-digest', 'image', 'pull', f'oci-archive:{archive}:v1')
        skopeo('copy', f'oci:{layout.directory}:v1', f'oci-archive:{archive}:v1')
        data = archive.read_bytes()
        archive.write_bytes(data[:data.index(b'\x1f\x8b\x08') + 30])
        self.refused('bad-image', 'image', 'pull', f'oci-archive:{archive}:v1')
        self.assertEqual(list((self.cache / 'partial').iterdir()), [])
        self.check_cache()

    def test_what_is_not_there_is_said(self):
        made = self.serve()
        self.refused('not-found', 'image', 'pull', made.ref('nothing:v1'))
        self.refused('bad-reference', 'image', 'pull', 'debian:12')
        self.refused('not-found', 'image', 'pull', f'oci:{self.directory}')
        started = time.monotonic()
        self.refused('unreachable', 'image', 'pull', f'127.0.0.1:{registry.free_port()}/x:1', code=4)
        self.assertLess(time.monotonic() - started, 5)

    def test_progress_is_lines_and_quiet_is_quiet(self):
        made = self.serve()
        self.put(made, self.image(tar_of({'a': b'x'})))
        self.assertEqual(self.affix('image', 'pull', made.ref('image:v1'), '--quiet').stderr, '')
        self.affix('image', 'cache', 'prune')
        said = self.affix('image', 'pull', made.ref('image:v1')).stderr.splitlines()
        self.assertEqual(len(said), 2)
        for line in said:
            self.assertRegex(line, r'\Asha256:[0-9a-f]{12}: \d+\.\d MiB, done\Z')

    def test_a_terminal_gets_a_bar(self):
        made = self.serve()
        self.put(made, self.image(tar_of({'a': os.urandom(200000)})))
        near, far = os.openpty()
        done = subprocess.Popen([AFFIX, 'image', 'pull', made.ref('image:v1')], env=self.environment, stderr=far,
                                stdout=subprocess.DEVNULL)
        os.close(far)
        shown = b''
        try:
            while data := os.read(near, 4096):
                shown += data
        except OSError:
            pass
        os.close(near)
        self.assertEqual(done.wait(60), 0)
        self.assertRegex(shown, rb'\[#{30}\] 0\.2 of 0\.2 MiB')
        self.assertTrue(shown.endswith(b'\r\x1b[K'))


class Interrupted(Linked):
    SIZE = 24 << 20

    def setUp(self):
        super().setUp()
        self.made = self.serve()
        layout = self.image(tar_of({'a': os.urandom(self.SIZE)}), tar_of({'b': os.urandom(1 << 20)}), compress=False)
        skopeo('copy', '--dest-tls-verify=false', '--dest-compress-format=gzip', f'oci:{layout.directory}:v1',
               f'docker://{self.made.ref("image:v1")}')

    def test_a_registry_that_restarts_in_mid_transfer_is_asked_for_the_rest(self):
        link = self.link(self.made, rate=24 << 20)
        pull = subprocess.Popen([AFFIX, 'image', 'pull', f'127.0.0.1:{link.port}/image:v1'], env=self.environment, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while link.moved < self.SIZE // 2:
            time.sleep(0.01)
            self.assertIsNone(pull.poll())
        self.made.stop()
        time.sleep(0.3)
        self.made.start()
        said = pull.communicate(timeout=60)
        self.assertEqual(pull.returncode, 0, said)
        self.assertIn('retrying', said[1])
        self.check_cache()
        self.assertLess(link.moved, self.SIZE * 1.4)
        self.assertRegex(link.requests, rb'\r\nRange: bytes=\d+-\r\n')

    def test_a_pull_that_was_killed_goes_on_where_it_was(self):
        link = self.link(self.made, rate=24 << 20)
        pull = subprocess.Popen([AFFIX, 'image', 'pull', f'127.0.0.1:{link.port}/image:v1', '--quiet'], env=self.environment)
        while link.moved < self.SIZE // 2:
            time.sleep(0.01)
        pull.kill()
        pull.wait(20)
        entries = {entry['digest']: entry for entry in self.json('image', 'cache', 'ls')['blobs']}
        self.assertIn(False, [entry['complete'] for entry in entries.values()])
        link.moved = 0
        link.rate = None
        self.affix('image', 'pull', f'127.0.0.1:{link.port}/image:v1')
        self.assertLess(link.moved, self.SIZE * 0.8)
        self.check_cache()
        self.assertEqual(list((self.cache / 'partial').iterdir()), [])

    def test_what_an_earlier_pull_left_and_is_wrong_is_forgotten(self):
        link = self.link(self.made)
        link.cut_after = self.SIZE // 2
        pull = subprocess.Popen([AFFIX, 'image', 'pull', f'127.0.0.1:{link.port}/image:v1', '--quiet'], env=self.environment)
        while link.cut_after is not None:
            time.sleep(0.01)
        pull.kill()
        pull.wait(20)
        for path in (self.cache / 'partial').iterdir():
            path.write_bytes(bytes(path.stat().st_size))
        self.affix('image', 'pull', self.made.ref('image:v1'))
        self.check_cache()

    def test_two_pulls_at_once_do_not_harm_each_other(self):
        link = self.link(self.made, rate=48 << 20)
        pulls = [subprocess.Popen([AFFIX, 'image', 'pull', f'127.0.0.1:{link.port}/image:v1', '--quiet'],
                                  env=self.environment, stdout=subprocess.DEVNULL) for _ in range(2)]
        self.wait_for_cache()
        self.assertRegex(self.affix('image', 'cache', 'prune', code=4).stderr, r'\Abusy: ')
        self.assertEqual([pull.wait(60) for pull in pulls], [0, 0])
        self.check_cache()
        self.assertEqual(list((self.cache / 'partial').iterdir()), [])

    def wait_for_cache(self):
        end = time.monotonic() + 10
        while time.monotonic() < end and not list(self.cache.glob('partial/*')):
            time.sleep(0.01)


class Damaged(Case):
    def test_a_corrupt_blob_is_refused_and_gets_no_name(self):
        made = self.serve()
        layout = self.image(tar_of({'a': os.urandom(300000)}))
        self.put(made, layout)
        layer = self.json('image', 'pull', made.ref('image:v1'))['layers'][0]['digest']
        blob = made.blob(layer)
        good = blob.read_bytes()
        for bad in (good[:1000] + bytes([good[1000] ^ 1]) + good[1001:], good[:-1] + b'?'):
            self.affix('image', 'cache', 'prune')
            blob.write_bytes(bad)
            said = self.refused('bad-digest', 'image', 'pull', made.ref('image:v1'))
            self.assertIn(layer, said)
            self.assertNotIn(layer, self.cached())
            self.assertFalse((self.cache / 'partial' / layer[7:]).exists())
        blob.write_bytes(good)
        self.affix('image', 'pull', made.ref('image:v1'))

    def test_a_corrupt_manifest_is_refused(self):
        made = self.serve()
        self.put(made, self.image(tar_of({'a': b'x'})))
        digest = self.json('image', 'pull', made.ref('image:v1'))['digest']
        path = made.blob(digest)
        path.write_bytes(path.read_bytes().replace(b'"schemaVersion"', b' "schemaVersion"'))
        self.affix('image', 'cache', 'prune')
        # docker-registry itself may notice, and says so in its own way.
        done = subprocess.run([AFFIX, 'image', 'pull', made.ref('image:v1'), '--quiet'], env=self.environment, text=True,
                              capture_output=True, timeout=120, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertNotIn(digest, self.cached())


class Credentials(Case):
    def setUp(self):
        super().setUp()
        users = self.directory / 'htpasswd'
        users.write_text('ann:' + PASSWORD + '\n')
        self.made = self.serve(auth=users)
        self.workshop = Workshop(self.directory)
        self.bundle = self.workshop.bundle()
        self.ref = self.made.ref('sensor:1.0.0')

    def test_name_and_password_are_sent_where_they_are_asked_for(self):
        said = self.refused('unauthorized', 'push', self.ref, self.bundle)
        self.assertIn('log in', said)
        self.log_in(self.made.port, password='wrong')
        self.refused('unauthorized', 'push', self.ref, self.bundle)
        config = self.log_in(self.made.port)
        self.affix('push', self.ref, self.bundle)
        self.affix('pull', self.ref, '-p', self.workshop.public, '-o', scratch(self))
        moved = config.rename(self.directory / 'elsewhere.json')
        self.refused('unauthorized', 'pull', self.ref, '-p', self.workshop.public, '-o', scratch(self))
        self.affix('pull', self.ref, '-p', self.workshop.public, '-o', scratch(self), '--authfile', moved)

    def test_helpers_are_not_run_and_that_is_said(self):
        config = self.log_in(self.made.port)
        config.write_text(json.dumps({'credHelpers': {f'127.0.0.1:{self.made.port}': 'osxkeychain'}}))
        self.assertIn("'osxkeychain'", self.refused('unauthorized', 'push', self.ref, self.bundle))
        config.write_text('{"auths": [')
        self.refused('bad-credentials', 'push', self.ref, self.bundle)


class Addons(Case):
    def setUp(self):
        super().setUp()
        self.made = self.serve()
        self.workshop = Workshop(self.directory)
        self.bundles = [self.workshop.bundle('1.2.0', arch=arch, size=200000) for arch in ('amd64', 'arm64')]
        self.ref = self.made.ref('addons/sensor:1.2.0')

    def pull(self, ref, *words):
        into = scratch(self)
        self.affix('pull', ref, '-p', self.workshop.public, '-o', into, *words)
        return into

    def check_same(self, directory, bundles):
        self.assertEqual(sorted(path.name for path in directory.iterdir()),
                         sorted(name for path in bundles for name in (path.name, path.name + '.minisig')))
        for path in bundles:
            for name in (path.name, path.name + '.minisig'):
                self.assertTrue(filecmp.cmp(directory / name, path.parent / name, shallow=False))

    def test_what_was_pushed_is_pulled_again(self):
        done = self.affix('push', self.ref, *self.bundles)
        self.assertRegex(done.stdout, r'\Asensor 1\.2\.0: \S+/addons/sensor:1\.2\.0@sha256:[0-9a-f]{64}\n\Z')
        self.check_same(self.pull(self.ref, '--platform', 'linux/arm64'), self.bundles[1:])
        self.check_same(self.pull(self.ref, '--all'), self.bundles)
        self.check_same(self.pull(self.ref, '--platform', 'linux/amd64'), self.bundles[:1])
        # The same again moves no blob.
        again = self.affix('push', self.ref, *self.bundles)
        self.assertEqual(again.stdout, done.stdout)
        self.assertNotIn('done', again.stderr)
        raw = json.loads(skopeo('inspect', '--raw', '--tls-verify=false', f'docker://{self.ref}').stdout)
        manifest = json.loads(self.made.blob(raw['manifests'][0]['digest']).read_text())
        self.assertEqual(manifest['artifactType'], 'application/vnd.affix.addon.v1')
        self.assertEqual(raw['annotations']['io.affix.addon.id'], 'sensor')
        self.assertEqual(raw['annotations']['io.affix.addon.version'], '1.2.0')
        self.assertEqual([item['platform'] for item in raw['manifests']],
                         [{'architecture': arch, 'os': 'linux'} for arch in ('amd64', 'arm64')])

    def test_a_pull_that_fails_keeps_what_was_there(self):
        self.affix('push', self.ref, *self.bundles)
        into = self.pull(self.ref, '--all')
        (into / self.bundles[1].name).unlink()
        (into / self.bundles[1].name / 'in the way').mkdir(parents=True)
        self.affix('pull', self.ref, '-p', self.workshop.public, '-o', into, '--all', code=1)
        self.assertTrue(filecmp.cmp(into / self.bundles[0].name, self.bundles[0], shallow=False))
        self.affix('verify', '-p', self.workshop.public, into / self.bundles[0].name)
        self.assertFalse([path.name for path in into.iterdir() if 'affix-new' in path.name])

    def test_skopeo_copies_it_to_another_registry_unharmed(self):
        other = self.serve('other')
        pushed = self.affix('push', self.ref, *self.bundles).stdout.split('@')[1]
        skopeo('copy', '--all', '--src-tls-verify=false', '--dest-tls-verify=false', f'docker://{self.ref}',
               f'docker://{other.ref("copied:v")}')
        self.made.stop()
        self.affix('image', 'cache', 'prune')
        self.check_same(self.pull(other.ref('copied:v'), '--all'), self.bundles)
        self.check_same(self.pull(other.ref(f'copied@{pushed.strip()}'), '--all'), self.bundles)

    def test_what_verify_refuses_is_not_written(self):
        self.affix('push', self.ref, *self.bundles)
        stranger = Workshop(scratch(self))
        into = scratch(self)
        self.refused('untrusted-key', 'pull', self.ref, '-p', stranger.public, '-o', into, '--all')
        self.assertEqual(list(into.iterdir()), [])
        # The registry calls it what it is not.
        layout = Layout(self.directory / 'lie')
        skopeo('copy', '--all', '--src-tls-verify=false', f'docker://{self.ref}', f'oci:{layout.directory}:v')
        index = json.loads((layout.directory / 'index.json').read_text())['manifests'][0]
        lie = json.loads((layout.directory / 'blobs/sha256' / index['digest'][7:]).read_text())
        for item in lie['manifests']:
            item['platform']['architecture'] = {'amd64': 'arm64', 'arm64': 'amd64'}[item['platform']['architecture']]
        layout.name('lie', layout.add_json(lie, registry.INDEX))
        self.refused('identity-mismatch', 'pull', f'oci:{layout.directory}:lie', '-p', self.workshop.public, '-o', into)
        self.assertEqual(list(into.iterdir()), [])

    def test_refusals_are_the_same_for_programs(self):
        """One line on stderr that begins with the name, nothing on stdout, and the exit code."""
        into = scratch(self)
        stranger = Workshop(scratch(self))
        self.affix('push', self.made.ref('stranger:1'), stranger.bundle(name='stranger'))
        broken = self.workshop.bundle('9.9.9')
        broken.write_bytes(b'no bundle')
        for name, code, words in (
                ('bad-reference', 1, ('pull', 'no reference')), ('not-found', 1, ('pull', self.made.ref('nothing:1'))),
                ('untrusted-key', 1, ('pull', self.made.ref('stranger:1'))), ('unreachable', 4, ('pull', '127.0.0.1:1/nothing:1')),
                ('bad-reference', 1, ('push', 'no reference', self.bundles[0])), ('unreachable', 4, ('push', '127.0.0.1:1/nothing:1', self.bundles[0])),
                ('malformed-bundle', 1, ('push', self.ref, broken))):
            with self.subTest(name=name, verb=words[0]):
                key = ('-p', self.workshop.public, '-o', into) if words[0] == 'pull' else ()
                done = self.affix(*words, *key, '--json', code=code)
                self.assertEqual(done.stdout, '')
                self.assertRegex(done.stderr, rf'\A{name}: [^\n]+\n\Z')
        self.assertEqual(list(into.iterdir()), [])

    def test_bundles_that_do_not_belong_together_are_not_pushed(self):
        other = self.workshop.bundle('1.3.0')
        self.refused('error', 'push', self.ref, self.bundles[0], other)
        self.refused('error', 'push', self.ref, self.bundles[0], self.bundles[0])
        self.refused('untrusted-key', 'push', self.ref, self.bundles[0], '-p', Workshop(scratch(self)).public)
        (self.bundles[0].parent / (self.bundles[0].name + '.minisig')).unlink()
        self.refused('bad-signature', 'push', self.ref, *self.bundles)
        self.refused('not-found', 'pull', self.ref, '-p', self.workshop.public)

    def test_an_image_is_no_addon(self):
        self.put(self.made, self.image(tar_of({'a': b'x'})), name='image:v1')
        self.refused('bad-image', 'pull', self.made.ref('image:v1'), '-p', self.workshop.public)


class Full(Linked):
    def test_a_full_disk_is_said_and_leaves_nothing_that_seems_whole(self):
        if os.geteuid() != 0:
            self.skipTest('only root may mount a small file system')
        made = self.serve()
        self.put(made, self.image(tar_of({'a': os.urandom(2 << 20)}), compress=False))
        small = self.directory / 'small'
        small.mkdir()
        subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1m,mode=700', 'affix-test', small], check=True)
        self.addCleanup(subprocess.run, ['umount', small], check=True)
        self.refused('no-space', 'image', 'pull', made.ref('image:v1'), '--cache', small / 'cache')
        names = [path.name for path in (small / 'cache/blobs/sha256').iterdir()]
        self.assertEqual([name for name in names if (small / 'cache/blobs/sha256' / name).stat().st_size > 1 << 19], [])
        self.affix('image', 'cache', '--cache', small / 'cache', 'prune')
        self.assertEqual(list((small / 'cache/partial').iterdir()), [])

    def test_a_push_that_breaks_off_is_begun_anew(self):
        made = self.serve()
        workshop = Workshop(self.directory)
        bundle = workshop.bundle(size=3 << 20)
        link = self.link(made)
        link.cut_up_after = 1 << 20
        done = self.affix('push', f'127.0.0.1:{link.port}/sensor:1', bundle)
        self.assertIsNone(link.cut_up_after)
        self.assertIn('retrying', done.stderr)
        into = scratch(self)
        self.affix('pull', made.ref('sensor:1'), '-p', workshop.public, '-o', into)
        self.assertTrue(filecmp.cmp(into / bundle.name, bundle, shallow=False))


class Import(Case):
    def serve_fleet(self, **config):
        """An affixd that trusts the workshop, and what an operator's environment has."""
        server = start(self, config=json.dumps(config))
        server.trust(self.workshop)
        return server, {'AFFIX_SERVER': server.url, 'AFFIX_TOKEN_FILE': str(server.data / 'admin-token')}

    def setUp(self):
        super().setUp()
        self.workshop = Workshop(self.directory)

    def refused_pull(self, name, ref, operator, code=1):
        said = self.affix('fleet', 'pull', ref, code=code, **operator).stderr
        self.assertRegex(said, rf'\A{name}: [^\n]+\n\Z')
        return said

    def test_affixd_takes_what_a_registry_has(self):
        server, operator = self.serve_fleet()
        workshop = self.workshop
        made = self.serve()
        ref = made.ref('sensor:1.0.0')
        self.affix('push', ref, *(workshop.bundle(arch=arch) for arch in ('amd64', 'arm64')))
        done = self.affix('fleet', 'import', ref, **operator)
        self.assertEqual(done.stdout, 'sensor 1.0.0: imported\n' * 2)
        package = json.loads(self.affix('fleet', 'packages', 'sensor', '1.0.0', '--json', **operator).stdout)
        self.assertEqual(sorted(item['arch'] for item in package['artifacts']), ['amd64', 'arm64'])
        # A key that the server does not know is no better for having been in a registry.
        stranger = Workshop(scratch(self))
        self.affix('push', made.ref('stranger:1'), stranger.bundle(name='stranger'))
        said = self.affix('fleet', 'import', made.ref('stranger:1'), code=1, **operator).stderr
        self.assertRegex(said, r'\Auntrusted-key: ')
        self.assertRegex(self.affix('fleet', 'import', made.ref('nothing:1'), code=1, **operator).stderr, r'\Anot-found: ')
        self.assertRegex(self.affix('fleet', 'import', 'no-such-file', code=1, **operator).stderr, r'\Aerror: ')

    def test_affixd_itself_fetches_from_registries_that_it_is_allowed(self):
        made, forbidden = self.serve(), self.serve('forbidden')
        server, operator = self.serve_fleet(registries=[f'127.0.0.1:{made.port}'])
        bundles = [self.workshop.bundle(arch=arch, size=3 << 20) for arch in ('amd64', 'arm64')]
        self.affix('push', made.ref('sensor:1.0.0'), *bundles)
        self.affix('push', forbidden.ref('sensor:1.0.0'), *bundles)
        self.assertIn('affixd.yaml', self.refused_pull('registry-not-allowed', forbidden.ref('sensor:1.0.0'), operator))
        for nothing in ('oci:/etc', f'{made.ref("sensor:1.0.0")} ', '../etc/passwd', 'http://127.0.0.1/x', ''):
            self.refused_pull('bad-reference', nothing, operator)
        self.assertEqual(self.affix('fleet', 'pull', made.ref('sensor:1.0.0'), **operator).stdout, 'sensor 1.0.0: imported\n')
        package = json.loads(self.affix('fleet', 'packages', 'sensor', '1.0.0', '--json', **operator).stdout)
        self.assertEqual(sorted(item['arch'] for item in package['artifacts']), ['amd64', 'arm64'])
        for bundle in bundles:
            self.assertIn(registry.digest_of(bundle.read_bytes())[7:], [path.name for path in (server.data / 'artifacts').iterdir()])
        # Once more changes nothing; nothing is left over; who did it is on record.
        again = json.loads(self.affix('fleet', 'pull', made.ref('sensor:1.0.0'), '--json', **operator).stdout)
        self.assertEqual([item['version'] for item in again['items']], ['1.0.0'])
        self.assertEqual(list((server.data / 'incoming').iterdir()), [])
        self.assertEqual([path for path in (server.data / 'pulled').rglob('*') if path.is_file() and path.name != 'lock'], [])
        entries = [entry for entry in server.api('GET', '/audit')['items'] if entry['action'] == 'pull']
        self.assertEqual([(entry['object'], entry['who']) for entry in entries], [(made.ref('sensor:1.0.0'), "token 'first'")] * 2)
        viewer = server.api('POST', '/api-tokens', {'name': 'looker', 'role': 'viewer'})['token']
        self.assertEqual(server.request('POST', '/api/v1/packages/pull', {'reference': made.ref('sensor:1.0.0')}, token=viewer)[0], 403)

    def test_a_pull_that_ends_beside_another_leaves_nothing(self):
        made = self.serve()
        server, operator = self.serve_fleet(registries=[f'127.0.0.1:{made.port}'])
        self.affix('push', made.ref('sensor:1.0.0'), self.workshop.bundle())
        self.affix('fleet', 'pull', made.ref('sensor:1.0.0'), **operator)
        with (server.data / 'pulled/lock').open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            pull = subprocess.Popen([AFFIX, 'fleet', 'pull', made.ref('sensor:1.0.0')], stdout=subprocess.DEVNULL,
                                    env={**self.environment, **operator})
            self.addCleanup(pull.kill)
            wait_for(lambda: any((server.data / 'incoming').iterdir()), 20, 'what was fetched')
            time.sleep(0.3)
        self.assertEqual(pull.wait(20), 0)
        self.assertEqual([path for path in (server.data / 'pulled').rglob('*') if path.is_file() and path.name != 'lock'], [])

    def test_what_affixd_fetches_is_believed_no_more_than_an_upload(self):
        made = self.serve()
        server, operator = self.serve_fleet(registries=[f'127.0.0.1:{made.port}'])
        stranger = Workshop(scratch(self))
        self.affix('push', made.ref('stranger:1'), stranger.bundle(name='stranger'))
        self.refused_pull('untrusted-key', made.ref('stranger:1'), operator)
        self.refused_pull('not-found', made.ref('nothing:1'), operator)
        self.put(made, self.image(tar_of({'a': b'x'})))
        self.refused_pull('bad-image', made.ref('image:v1'), operator)
        self.affix('push', made.ref('sensor:1'), self.workshop.bundle())
        made.stop()
        began = time.monotonic()
        self.refused_pull('unreachable', made.ref('sensor:1'), operator, code=4)
        self.assertLess(time.monotonic() - began, 60)
        self.assertEqual(server.api('GET', '/packages')['items'], [])
        self.assertEqual(list((server.data / 'incoming').iterdir()), [])

    def test_affixd_has_credentials_of_its_own_and_no_others(self):
        users = self.directory / 'htpasswd'
        users.write_text(f'ann:{PASSWORD}\n')
        made = self.serve(auth=users)
        config = self.log_in(made.port)
        self.affix('push', made.ref('sensor:1'), self.workshop.bundle())
        _, operator = self.serve_fleet(registries=[f'127.0.0.1:{made.port}'])
        self.assertIn("'registry_auth'", self.refused_pull('unauthorized', made.ref('sensor:1'), operator))
        _, operator = self.serve_fleet(registries=[f'127.0.0.1:{made.port}'], registry_auth=str(config))
        self.affix('fleet', 'pull', made.ref('sensor:1'), **operator)

    def test_registries_are_hosts_and_their_files_are_there(self):
        config = self.directory / 'affixd.yaml'
        there = self.directory / 'auth.json'
        there.write_text('{}')

        def check(**values):
            config.write_text(json.dumps(values))
            return subprocess.run([AFFIXD, 'serve', '--config', config, '--data', self.directory / 'data', '--check-config'], text=True,
                                  capture_output=True, timeout=60, check=False)

        good = check(registries=['registry.example', 'localhost:5000', '[::1]:5000'], registry_auth=str(there), registry_ca=str(there))
        self.assertEqual((good.returncode, good.stderr), (0, ''))
        for bad in ('https://registry.example', 'registry.example/name', 'registry.example:', 'a b', '*'):
            with self.subTest(bad):
                done = check(registries=[bad])
                self.assertEqual(done.returncode, 1)
                self.assertIn('HOST[:PORT] of a registry', done.stderr)
        self.assertIn('/nowhere', check(registry_auth='/nowhere').stderr)
        self.assertIn('/nowhere', check(registry_ca='/nowhere').stderr)

    def test_a_registry_that_stands_still_is_in_nobodys_way(self):
        made = self.serve()
        link = Link(made.port)
        self.addCleanup(link.close)
        server, operator = self.serve_fleet(registries=[f'127.0.0.1:{link.port}', f'127.0.0.1:{made.port}'])
        ref = f'127.0.0.1:{link.port}/sensor:1.0.0'
        bundle = self.workshop.bundle()
        self.affix('push', ref, bundle)
        link.rate = 1
        pulls = [subprocess.Popen([AFFIX, 'fleet', 'pull', ref], env={**self.environment, **operator}, stderr=subprocess.PIPE, text=True)
                 for _ in range(6)]
        try:
            wait_for(lambda: self.pullers(ref), 20, 'the process that fetches')
            self.assertEqual(server.import_bundle(bundle)['version'], '1.0.0')
            self.assertEqual(self.affix('fleet', 'pull', made.ref('sensor:1.0.0'), **operator).stdout, 'sensor 1.0.0: imported\n')
            # Nor do more than four wait for it.
            wait_for(lambda: sum(pull.poll() is not None for pull in pulls) == 2, 20, 'the refusals')
            for pull in pulls:
                if pull.poll() is not None:
                    self.assertEqual(pull.returncode, 4)
                    self.assertRegex(pull.stderr.read(), rf"\Abusy: 4 pulls from '127.0.0.1:{link.port}' [^\n]+\n\Z")
            self.assertEqual(len(self.pullers(ref)), 1)
        finally:
            for pull in pulls:
                pull.kill()
                pull.communicate()
        # What nobody waits for any more is not fetched, nor in anybody's way.
        wait_for(lambda: not self.pullers(ref), 20, 'the end of what was fetched for nobody')
        link.rate = None
        self.assertEqual(self.affix('fleet', 'pull', ref, **operator).stdout, 'sensor 1.0.0: imported\n')
        # The process that fetches ends with its server.
        link.rate = 1
        pull = subprocess.Popen([AFFIX, 'fleet', 'pull', ref], env={**self.environment, **operator}, stderr=subprocess.DEVNULL)
        self.addCleanup(pull.wait)
        self.addCleanup(pull.kill)
        wait_for(lambda: self.pullers(ref), 20, 'another')
        server.stop()
        wait_for(lambda: not self.pullers(ref), 20, 'its end')

    @staticmethod
    def pullers(ref):
        found = []
        for process in pathlib.Path('/proc').iterdir():
            try:
                words = (process / 'cmdline').read_bytes().split(b'\0') if process.name.isdigit() else []
            except OSError:
                continue
            if words[:3] == [b'affixd', b'pull', ref.encode()]:
                found.append(process)
        return found



class Cache(Case):
    def test_it_is_listed_and_pruned(self):
        layout = self.image(tar_of({'a': b'x' * 1000}))
        made = self.serve()
        self.put(made, layout)
        self.affix('image', 'pull', made.ref('image:v1'))
        listed = self.json('image', 'cache', 'ls')
        self.assertEqual(listed['path'], str(self.cache))
        self.assertEqual([entry['digest'] for entry in listed['blobs']], self.cached())
        old = self.cache / 'blobs/sha256' / self.cached()[0][7:]
        os.utime(old, (time.time() - 40 * 86400,) * 2)
        self.assertRegex(self.affix('image', 'cache', 'prune', '--older-than', '30d').stdout, r'\A1 blobs removed, \d+ bytes\n\Z')
        self.assertFalse(old.exists())
        self.affix('image', 'cache', 'prune')
        self.assertEqual(self.cached(), [])
        self.refused_usage('image', 'cache')
        self.refused_usage('image', 'cache', 'prune', '--older-than', 'soon')

    def refused_usage(self, *words):
        self.assertIn('usage: ', self.affix(*words, code=2).stderr)


if __name__ == '__main__':
    registry.run()
