#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""affix itself in images: `--with-affix` and `--profile vm` of `affix image build` and `affix image inject`.

The image is a Debian tree's. What is in it is held against what `make install` makes of the same build, against
systemd-sysusers and systemd-tmpfiles, and against the same tree without affix.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import zlib

import images
from images import fixture

LIB = images.HERE.parent / 'lib'
LIST = 'usr/share/affix/host.list'
# What `make install` brings that no host and no image runs, or that is for people.
ELSEWHERE = ('usr/sbin/affixd', 'usr/lib/systemd/system/affixd.service', 'usr/share/man/', 'usr/share/bash-completion/',
             'usr/share/zsh/', 'usr/share/affix/openapi.json')


def listing(tree, *options):
    return fixture.run([LIB / 'tree-list', *options, tree]).stdout.splitlines()


def entries(tree):
    """The lines of an installed list."""
    return [line.split(' ') for line in (tree / LIST).read_text().splitlines()]


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if os.getuid() != 0:
            raise unittest.SkipTest('a Debian tree of the right owners needs root')
        made = subprocess.run([LIB / 'scratch-root'], stdout=subprocess.PIPE, text=True, check=False)
        if made.returncode != 0:
            raise unittest.SkipTest('there is no scratch root')
        cls.debian = pathlib.Path(made.stdout.strip())
        cls.work = pathlib.Path(tempfile.mkdtemp(prefix='affix-own-'))
        cls.addClassCleanup(shutil.rmtree, cls.work, ignore_errors=True)
        # Half of its files are of no interest here.
        cls.base = cls.work / 'debian.tar'
        fixture.run(['tar', '-cf', cls.base, '-C', cls.debian, '--exclude=./usr/share/*', '--exclude=./var/lib/dpkg', '--exclude=./var/cache', '.'])
        cls.trust = cls.work / 'trust'
        cls.trust.mkdir()
        fixture.affix(['keygen', '-W', '-p', cls.trust / 'own.pub', '-s', cls.work / 'own.sec'], check=True)
        (cls.trust / 'own.policy.yaml').write_text('ids: [probe]\n')

    def affix(self, *arguments, code=0, program=fixture.AFFIX):
        done = fixture.run([program, *arguments], check=False)
        self.assertEqual(done.returncode, code, f'{arguments}:\n{done.stdout}{done.stderr}')
        return done

    def build(self, *layers, options=('--with-affix', '--profile', 'vm'), name='own.img', code=0, program=fixture.AFFIX):
        image = self.work / name
        image.unlink(missing_ok=True)
        own = ('--trust', self.trust) if '--with-affix' in options else ()
        done = self.affix('image', 'build', self.base, *layers, '-o', image, '--size', '+64M', *own, *options, code=code,
                          program=program)
        return image if code == 0 else done

    def inject(self, image, *options, code=0, program=fixture.AFFIX):
        return self.affix('image', 'inject', image, '--with-affix', '--profile', 'vm', '--trust', self.trust, *options, code=code,
                          program=program)

    def drift(self, image):
        return json.loads(self.affix('image', 'drift', '--json', image).stdout)['data']['addons']

    def cat(self, image, path):
        return self.affix('image', 'cat', image, path).stdout

    def layer(self, files, name='layer'):
        """A directory that is a layer above the Debian tree."""
        tree = self.work / name
        shutil.rmtree(tree, ignore_errors=True)
        for path, text in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text)
        return tree

    @contextlib.contextmanager
    def installed(self):
        """What `make install DESTDIR=` makes."""
        with tempfile.TemporaryDirectory(dir=self.work) as directory:
            fixture.run(['meson', 'install', '--quiet', '--no-rebuild', '-C', fixture.BUILD],
                        env={**os.environ, 'DESTDIR': directory})
            yield pathlib.Path(directory)


class List(Case):
    """One list for `make install` and for images."""

    def test_what_is_installed_is_in_the_list_or_is_of_no_host(self):
        with self.installed() as tree:
            found = {str(path.relative_to(tree)) for path in tree.rglob('*') if path.is_symlink() or not path.is_dir()}
            listed = {entry[2].lstrip('/') for entry in entries(tree) if entry[1] == 'affix'}
            # Two that a host may use and nothing but the guest's set brings to an image.
            guest = {'usr/lib/affix/affix-guestd', 'usr/lib/systemd/system/affix-guestd.service'}
            self.assertEqual(sorted(path for path in found - listed - guest if not path.startswith(ELSEWHERE)), [])
            sources = {entry[3].lstrip('/') for entry in entries(tree) if entry[0] != 'link'}
            self.assertEqual(sorted(sources - listed), [])
            self.assertEqual(sorted(listed - found), [])

    def test_what_is_in_an_image_is_what_is_installed(self):
        image = self.build()
        images.check(image)
        with self.installed() as tree, images.unpacked(image, self.work) as found:
            for kind, _, path, source in entries(tree):
                target = found / path.lstrip('/')
                with self.subTest(path):
                    if kind == 'link':
                        self.assertEqual(os.readlink(target), source)
                        continue
                    real = target
                    if kind == 'program':
                        real = found / os.readlink(target).lstrip('/')
                        real = real.parent.parent / os.readlink(real.parent) / real.name
                    status, wanted = real.lstat(), (tree / source.lstrip('/')).stat()
                    self.assertEqual((status.st_mode, status.st_uid, status.st_gid), (wanted.st_mode, 0, 0))
                    self.assertEqual(real.read_bytes(), (tree / source.lstrip('/')).read_bytes())

    def test_an_installed_affix_finds_its_files_and_names_one_that_is_missing(self):
        with self.installed() as tree:
            program = tree / 'usr/bin/affix'
            # Bytes of equal programs are equal images.
            first = self.build(program=program, name='first.img')
            self.assertTrue(first.read_bytes() == self.build(program=program).read_bytes(), 'the bytes differ')
            agent = tree / 'usr/lib/affix/affix-agent'
            agent.unlink()
            self.assertIn(str(agent), self.build(program=program, code=1).stderr)
            (tree / LIST).unlink()
            self.assertIn(str(tree / LIST), self.build(program=program, code=1).stderr)
            self.assertFalse((self.work / 'own.img').exists())

    def test_an_affix_that_came_with_an_image_makes_the_same_images_also_where_opt_is_a_link(self):
        layer = self.layer({'var/opt/kept': ''})
        (layer / 'opt').symlink_to('var/opt')
        wanted = self.build(name='wanted.img').read_bytes()
        with images.unpacked(self.build(layer), self.work) as found:
            program = next((found / 'var/opt/affix/affix/versions').glob('*/affix'))
            # Another's, nearer by.
            (found / 'var/usr/bin').mkdir(parents=True)
            shutil.copy(program, found / 'var/usr/bin/affix')
            self.assertTrue(self.build(program=program).read_bytes() == wanted, 'the bytes differ')
            # And in a system whose root the tree is.
            shutil.copy(self.base, found / 'base.tar')
            shutil.copytree(self.trust, found / 'trust')
            inside = ['unshare', '--mount', 'sh', '-ec', 'mount -t proc proc "$0/proc"; exec chroot "$0" "$@"', found]
            fixture.run([*inside, '/usr/bin/affix', 'image', 'build', '/base.tar', '-o', '/own.img', '--size', '+64M', '--with-affix', '--profile', 'vm',
                         '--trust', '/trust'])
            self.assertTrue((found / 'own.img').read_bytes() == wanted, 'the bytes differ')
            guestd = found / 'usr/lib/affix/vm/affix-guestd'
            guestd.unlink()
            self.assertIn(f"'{guestd}' of affix's own files", self.build(program=program, code=1).stderr)


class Tree(Case):
    """What the image is like."""

    def test_systemd_finds_nothing_left_to_do(self):
        with images.unpacked(self.build(), self.work) as found:
            before = {name: (found / 'etc' / name).read_text() for name in ('passwd', 'group', 'shadow', 'gshadow')}
            fixture.run(['systemd-sysusers', f'--root={found}', found / 'usr/lib/sysusers.d/affix.conf'], check=False)
            for name, text in before.items():
                after = (found / 'etc' / name).read_text()
                self.assertEqual([line for line in after.splitlines() if 'affixd' not in line], text.splitlines(), name)
            seen = listing(found, '--exclude', '/run', '--only', '/etc/affix', '--only', '/var', '--only', '/opt')
            fixture.run(['systemd-tmpfiles', f'--root={found}', '--create', found / 'usr/lib/tmpfiles.d/affix.conf'], check=False)
            self.assertEqual(listing(found, '--exclude', '/run', '--only', '/etc/affix', '--only', '/var', '--only', '/opt'), seen)
            self.assertEqual((found / 'var/lib/affix/agent').stat().st_mode, stat.S_IFDIR | 0o700)
            self.assertIn(f'affix:x:{(found / "var/lib/affix/agent").stat().st_uid}:', before['passwd'])
            # What it would have made of the user itself.
            ours = next(line for line in before['passwd'].splitlines() if line.startswith('affix:')).split(':')
            for name, text in before.items():
                (found / 'etc' / name).write_text(''.join(f'{line}\n' for line in text.splitlines() if not line.startswith('affix:')))
            fixture.run(['systemd-sysusers', f'--root={found}', found / 'usr/lib/sysusers.d/affix.conf'], check=False)
            theirs = next(line for line in (found / 'etc/passwd').read_text().splitlines() if line.startswith('affix:')).split(':')
            self.assertEqual((ours[0], *ours[4:6]), (theirs[0], *theirs[4:6]))

    def test_the_second_time_changes_nothing(self):
        image = self.build()
        before = image.read_bytes()
        done = self.inject(image)
        self.assertEqual(done.stdout.count('nothing changed'), 2, done.stdout)
        self.assertTrue(image.read_bytes() == before, 'the image was changed')

    def test_an_ordinary_user_makes_the_same_tree(self):
        image = self.build()
        plain = self.build(options=(), name='plain.img')
        os.chown(plain, 65534, 65534)
        self.work.chmod(0o755)
        with tempfile.TemporaryDirectory(dir=self.work) as own:
            os.chown(own, 65534, 65534)
            fixture.run([fixture.AFFIX, 'image', 'inject', shutil.move(plain, own), '--with-affix', '--profile', 'vm', '--trust', self.trust],
                        user=65534, group=65534, extra_groups=[], env={**os.environ, 'TMPDIR': own})
            made = pathlib.Path(own) / 'plain.img'
            images.check(made)
            with images.unpacked(image, self.work) as wanted, images.unpacked(made, self.work) as found:
                self.assertEqual(listing(found, '--affix'), listing(wanted, '--affix'))

    def test_the_answers_are_json_too(self):
        image = self.build(options=(), name='plain.img')
        answer = json.loads(self.inject(image, '--json').stdout)
        self.assertEqual([(result['id'], result['outcome'], result['verb']) for result in answer['results']],
                         [('affix', 'done', 'install'), ('vm', 'done', 'install')])

    def test_a_new_affix_replaces_the_old_one(self):
        image = self.build()
        with self.installed() as tree:
            unit = tree / 'usr/lib/systemd/system/affix-agent.service'
            unit.write_text(unit.read_text() + '# new\n')
            with open(tree / 'usr/lib/affix/affix-agent', 'ab') as program:
                program.write(b'new')
            self.inject(image, program=tree / 'usr/bin/affix')
            images.check(image)
            self.assertEqual(self.cat(image, '/usr/lib/systemd/system/affix-agent.service'), unit.read_text())
            with images.unpacked(image, self.work) as found:
                self.assertEqual((found / 'opt/affix/affix/versions/0.1.0/affix-agent').read_bytes()[-3:], b'new')
                self.assertEqual(os.listdir(found / 'opt/affix/affix/versions'), ['0.1.0'])
        self.assertIn('as installed', self.affix('image', 'drift', image).stdout)

    def test_a_new_affix_leaves_the_images_keys_unless_others_are_named(self):
        image = self.build()
        keys = ('/etc/affix/trust.d/own.pub', '/etc/affix/trust.d/own.policy.yaml')
        wanted = [self.cat(image, key) for key in keys]
        with self.installed() as tree:
            unit = tree / 'usr/lib/systemd/system/affix-agent.service'
            unit.write_text(unit.read_text() + '# new\n')
            done = self.affix('image', 'inject', image, '--with-affix', program=tree / 'usr/bin/affix')
            self.assertIn('is installed', done.stdout)
            self.assertEqual(self.cat(image, '/usr/lib/systemd/system/affix-agent.service'), unit.read_text())
        self.assertEqual([self.cat(image, key) for key in keys], wanted)
        self.assertIn('as installed', self.affix('image', 'drift', image).stdout)

    def test_an_older_affix_is_put_in_only_if_that_is_asked_for(self):
        image = self.build()
        record = self.cat(image, '/var/lib/affix/updater/affix.json')
        self.assertIn('"0.1.0"', record)
        with tempfile.NamedTemporaryFile('w', dir=self.work) as newer:
            newer.write(record.replace('"0.1.0"', '"9.0.0"').replace('versions/0.1.0', 'versions/9.0.0'))
            newer.flush()
            images.debugfs(image, ['rm /var/lib/affix/updater/affix.json', f'write {newer.name} /var/lib/affix/updater/affix.json',
                                   'set_inode_field /var/lib/affix/updater/affix.json mode 0100600'], write=True)
        before = image.read_bytes()
        self.assertTrue(self.inject(image, code=1).stderr.startswith("downgrade: 'affix' 0.1.0 is older than 9.0.0"))
        self.assertTrue(image.read_bytes() == before, 'the image was changed')
        self.inject(image, '--allow-downgrade')
        images.check(image)
        self.assertEqual(self.affix('image', 'ls', '--json', image, '/opt/affix/affix/versions').stdout.count('"name"'), 1)
        self.assertFalse(any(addon['drifted'] for addon in self.drift(image)))

    def test_killed_at_any_time_the_image_has_all_of_it_or_nothing(self):
        plain = self.build(options=(), name='plain.img')
        before = images.used_bytes(plain)
        ends = set()
        # Twice as long as it takes, in steps.
        began = time.monotonic()
        self.inject(shutil.copy(plain, self.work / 'killed.img'))
        step = (time.monotonic() - began) / 10
        for number in range(20):
            image = pathlib.Path(shutil.copy(plain, self.work / 'killed.img'))
            process = subprocess.Popen([fixture.AFFIX, 'image', 'inject', image, '--with-affix', '--profile', 'vm', '--trust', self.trust],
                                       stdout=subprocess.DEVNULL)
            time.sleep(number * step)
            process.kill()
            process.wait()
            installed = {addon['id'] for addon in self.drift(image) if not addon['drifted']}
            self.assertIn(installed, (set(), {'affix', 'vm'}))
            images.check(image)
            if not installed:
                self.assertTrue(images.used_bytes(image) == before, 'the image was changed')
            ends.add(bool(installed))
        self.assertEqual(ends, {True, False})

    def test_what_was_changed_in_the_image_is_drift(self):
        image = self.build()
        self.assertFalse(any(addon['drifted'] for addon in self.drift(image)))
        images.debugfs(image, ['rm /usr/lib/systemd/system/affix-vm.target', 'set_inode_field /etc/hostname uid 5',
                               'set_inode_field /usr/lib/systemd/system/affix-agent.service mode 0100666'], write=True)
        found = {(addon['id'], item['kind'], item['path']) for addon in self.drift(image) for item in addon['items']}
        self.assertEqual(found, {('vm', 'missing', '/usr/lib/systemd/system/affix-vm.target'),
                                 ('affix', 'mode', '/usr/lib/systemd/system/affix-agent.service')})

    def test_what_is_damaged_in_the_image_is_mended(self):
        image = self.build()
        images.debugfs(image, ['rm /usr/lib/systemd/system/affix-vm.target', 'rm /usr/lib/affix/affix-agent',
                               'rm /opt/affix/vm/versions/0.1.0/affix-guestd'], write=True)
        done = self.inject(image)
        self.assertEqual(done.stdout.count('is repaired'), 2, done.stdout)
        images.check(image)
        self.assertFalse(any(addon['drifted'] for addon in self.drift(image)))
        self.assertEqual(self.inject(image).stdout.count('nothing changed'), 2)
        images.debugfs(image, ['sif /usr/lib/systemd/system/affix-agent.service uid 7'], write=True)
        self.assertRegex(self.inject(image).stdout, r"^'affix' \S+ is repaired\n'vm' \S+ is installed already, nothing changed\n$")
        self.assertFalse(any(addon['drifted'] for addon in self.drift(image)))

    def test_sshd_does_not_start_without_keys_of_the_machines_own(self):
        with images.unpacked(self.build(), self.work) as found:
            unit = (found / 'usr/lib/systemd/system/affix-vm-ssh-keys.service').read_text()
            required = re.search(r'^RequiredBy=(.*)$', unit, re.MULTILINE)[1].split()
            self.assertEqual(sorted(required), ['ssh.service', 'ssh.socket', 'sshd.service', 'sshd.socket'])
            before = listing(found, '--only', '/etc/systemd')
            fixture.run(['systemctl', f'--root={found}', 'enable', 'affix-vm-ssh-keys.service'])
            self.assertEqual(listing(found, '--only', '/etc/systemd'), before)
            # Nor does a boot with ssh.socket go in circles.
            units = found / 'usr/lib/systemd/system'
            (units / 'ssh.service').write_text('[Service]\nExecStart=/bin/true\n')
            (units / 'ssh.socket').write_text('[Unit]\nBefore=sockets.target ssh.service\n[Socket]\nListenStream=22\n')
            (found / 'etc/systemd/system/sockets.target.wants').mkdir(exist_ok=True)
            (found / 'etc/systemd/system/sockets.target.wants/ssh.socket').symlink_to('/usr/lib/systemd/system/ssh.socket')
            done = fixture.run(['systemd-analyze', f'--root={found}', '--man=no', 'verify', 'multi-user.target'], check=False)
            self.assertNotIn('cycle', done.stdout + done.stderr)

    def test_what_is_done_from_a_bundle_is_not_for_affix_itself(self):
        configuration = self.work / 'configuration.json'
        configuration.write_text('{}')
        with images.unpacked(self.build(), self.work) as tree:
            for name, how in (('affix', '--with-affix'), ('vm', '--profile vm')):
                for words in (('rollback', name), ('configure', name, configuration)):
                    with self.subTest(words):
                        done = self.affix(*words, '--root', tree, code=1)
                        self.assertTrue(done.stderr.startswith(f"protected: '{name}' is affix itself"), done.stderr)
                        self.assertIn(f"'affix image inject {how}'", done.stderr)
            agent = next((tree / 'opt/affix/affix/versions').glob('*/affix-agent'))
            agent.write_bytes(b'')
            done = self.affix('repair', 'affix', '--root', tree, code=1)
            self.assertTrue(done.stderr.startswith("protected: 'affix' is affix itself"), done.stderr)

    def test_removed_it_leaves_the_machines_own_files_and_its_user(self):
        plain = self.build(options=(), name='plain.img')
        image = self.build()
        for name in ('vm', 'affix'):
            self.affix('image', 'rm-add-on', image, name)
        images.check(image)
        options = ['--affix', '--exclude', '/etc/fstab', '--exclude', '/etc/hostname', '--exclude', '/etc/machine-id',
                   '--exclude', '/etc/resolv.conf']
        with images.unpacked(plain, self.work) as before, images.unpacked(image, self.work) as after:
            self.assertEqual(listing(after, *options), listing(before, *options))
            self.assertIn('UUID=', (after / 'etc/fstab').read_text())


class Machine(Case):
    """Files that an image may have already."""

    def test_what_says_nothing_is_replaced_and_what_somebody_wrote_stays(self):
        image = self.build(self.layer({'etc/fstab': '# UNCONFIGURED FSTAB FOR BASE SYSTEM\n', 'etc/hostname': 'web\n',
                                       'etc/machine-id': '0123456789abcdef0123456789abcdef\n', 'etc/resolv.conf': '\n'}))
        self.assertRegex(self.cat(image, '/etc/fstab'), r'^UUID=[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12} / ext4 ')
        self.assertEqual(self.cat(image, '/etc/hostname'), 'web\n')
        self.assertEqual(self.cat(image, '/etc/machine-id'), '')
        self.assertIn('nameserver', self.cat(image, '/etc/resolv.conf'))
        image = self.build(self.layer({'etc/fstab': '/dev/vda1 / ext4 defaults 0 1\n'}))
        self.assertEqual(self.cat(image, '/etc/fstab'), '/dev/vda1 / ext4 defaults 0 1\n')

    def test_an_id_that_dbus_kept_is_no_machines(self):
        # systemd would take it, since the other is empty.
        image = self.build(self.layer({'etc/machine-id': '0123456789abcdef0123456789abcdef\n',
                                       'var/lib/dbus/machine-id': '0123456789abcdef0123456789abcdef\n'}))
        images.check(image)
        with images.unpacked(image, self.work) as found:
            self.assertEqual((found / 'etc/machine-id').read_text(), '')
            self.assertEqual(os.readlink(found / 'var/lib/dbus/machine-id'), '/etc/machine-id')

    def test_a_machine_that_has_become_one_keeps_its_identity(self):
        image = self.build()
        with tempfile.NamedTemporaryFile('w', dir=self.work) as own:
            own.write('fedcba9876543210fedcba9876543210\n')
            own.flush()
            images.debugfs(image, ['rm /etc/machine-id', f'write {own.name} /etc/machine-id', 'rm /etc/resolv.conf'], write=True)
        (self.trust / 'second.pub').write_text((self.trust / 'own.pub').read_text())
        self.addCleanup((self.trust / 'second.pub').unlink)
        self.assertIn('bad-trust', self.inject(image, code=1).stderr)
        self.inject(image, '--trust', self.trust_of_two())
        self.assertEqual(self.cat(image, '/etc/machine-id'), 'fedcba9876543210fedcba9876543210\n')
        self.assertIn('minisign', self.cat(image, '/etc/affix/trust.d/other.pub'))

    def test_what_was_removed_and_comes_again_leaves_the_machine_alone(self):
        image = self.build()
        self.affix('image', 'rm-add-on', image, 'vm')
        with tempfile.NamedTemporaryFile('w', dir=self.work) as own:
            own.write('fedcba9876543210fedcba9876543210\n')
            own.flush()
            images.debugfs(image, ['rm /etc/machine-id', f'write {own.name} /etc/machine-id'], write=True)
        self.inject(image)
        self.assertEqual(self.cat(image, '/etc/machine-id'), 'fedcba9876543210fedcba9876543210\n')

    SECRET = 'of this machine alone\n'

    def booted(self):
        """An image as it is after a first boot, and what that made in it; with what it must keep."""
        own = {'etc/machine-id': 'fedcba9876543210fedcba9876543210\n', 'var/lib/dbus/machine-id': 'fedcba9876543210fedcba9876543210\n',
               'etc/ssh/ssh_host_ed25519_key': self.SECRET, 'etc/ssh/ssh_host_ed25519_key.pub': 'public\n', 'var/lib/affix/vm/ssh-keys': '',
               'var/lib/systemd/random-seed': self.SECRET, 'var/lib/systemd/credential.secret': self.SECRET,
               'var/lib/affix/agent/instance-uid': self.SECRET, 'var/lib/affix/agent/credential': self.SECRET, 'var/lib/affix/agent/offer.json': self.SECRET * 1000}
        kept = {'etc/ssh/sshd_config': '# kept\n', 'etc/hostname': 'web\n', 'etc/affix/agent.yaml': 'server: ws://127.0.0.1\n',
                'var/lib/systemd/timers': 'kept\n', 'var/lib/affix/agent/bundles/kept': 'kept\n'}
        image = self.build()
        layer = self.layer({**own, **kept}, 'booted')
        commands = []
        for path in sorted({str(parent) for name in {**own, **kept} for parent in pathlib.PurePath(name).parents} - {'.'}):
            commands.append(f'mkdir /{path}')
        for name in {**own, **kept}:
            commands += [f'rm /{name}', f'write {layer / name} /{name}']
        images.debugfs(image, commands, write=True)
        images.check(image)
        return image, own, kept

    def test_an_image_that_was_booted_is_reset_to_one_of_any_machine(self):
        image, own, kept = self.booted()
        with images.unpacked(image, self.work) as before:
            options = [word for name in own for word in ('--exclude', f'/{name}')]
            wanted = listing(before, '--affix', *options)
        answer = json.loads(self.affix('image', 'reset', '--json', image).stdout)
        self.assertEqual(sorted(answer['reset']), sorted(f'/{name}' for name in own))
        images.check(image)
        # Nor is it in blocks that are free now.
        for secret in (self.SECRET, own['etc/machine-id']):
            self.assertFalse(secret.encode() in image.read_bytes(), secret)
        with images.unpacked(image, self.work) as found:
            self.assertEqual(listing(found, '--affix', *options), wanted)
            self.assertEqual({name for name in own if (found / name).is_symlink() or (found / name).exists()}, {'etc/machine-id', 'var/lib/dbus/machine-id'})
            self.assertEqual((found / 'etc/machine-id').read_text(), '')
            self.assertEqual(os.readlink(found / 'var/lib/dbus/machine-id'), '/etc/machine-id')
            for name, text in kept.items():
                self.assertEqual((found / name).read_text(), text, name)
        self.assertFalse(any(addon['drifted'] for addon in self.drift(image)))
        before = image.read_bytes()
        self.assertEqual(self.affix('image', 'reset', image).stdout, '')
        self.assertTrue(image.read_bytes() == before, 'the image was changed')

    def test_an_image_whose_next_boot_would_make_no_keys_is_not_reset(self):
        image = self.build(self.layer({'etc/machine-id': 'fedcba9876543210fedcba9876543210\n'}), options=('--with-affix',))
        before = image.read_bytes()
        done = self.affix('image', 'reset', image, code=1)
        self.assertTrue(done.stderr.startswith("not-installed: 'vm' is not installed in the image"), done.stderr)
        self.assertTrue(image.read_bytes() == before, 'the image was changed')
        self.affix('image', 'reset', code=2)

    def test_an_image_in_which_the_maker_of_keys_will_not_run_is_not_reset(self):
        maker = 'affix-vm-ssh-keys.service'
        image = self.build()
        for name, commands, told in (('masked', (f'symlink /etc/systemd/system/{maker} /dev/null',), f"'/etc/systemd/system/{maker}' masks "),
                                     ('disabled', (f'rm /etc/systemd/system/{maker}', f'rm /etc/systemd/system/multi-user.target.wants/{maker}'),
                                      f"wants/{maker}' is missing; ")):
            with self.subTest(name):
                images.debugfs(image, commands, write=True)
                before = image.read_bytes()
                done = self.affix('image', 'reset', image, code=1)
                self.assertTrue(done.stderr.startswith('not-enabled: '), done.stderr)
                self.assertIn(told, done.stderr)
                self.assertTrue(image.read_bytes() == before, 'the image was changed')
        self.inject(image)
        self.affix('image', 'reset', image)

    def test_what_a_link_leads_to_is_not_emptied(self):
        image = self.build(self.layer({'etc/kept': 'kept\n'}))
        images.debugfs(image, ['rm /etc/machine-id', 'link /etc/kept /etc/machine-id', 'set_inode_field /etc/kept links_count 2'], write=True)
        images.check(image)
        self.assertEqual(self.affix('image', 'reset', image).stdout, '/etc/machine-id\n')
        images.check(image)
        self.assertEqual((self.cat(image, '/etc/machine-id'), self.cat(image, '/etc/kept')), ('', 'kept\n'))
        # Nor what it leads to.
        images.debugfs(image, ['rm /etc/machine-id', 'symlink /etc/machine-id kept'], write=True)
        self.assertEqual(self.affix('image', 'reset', image).stdout, '/etc/machine-id\n')
        images.check(image)
        self.assertEqual((self.cat(image, '/etc/machine-id'), self.cat(image, '/etc/kept')), ('', 'kept\n'))
        images.debugfs(image, ['rmdir /var/lib/affix/agent', 'symlink /var/lib/affix/agent /etc'], write=True)
        done = self.affix('image', 'reset', image, code=1)
        self.assertTrue(done.stderr.startswith("foreign-file: '/var/lib/affix/agent' "), done.stderr)
        self.assertEqual(self.cat(image, '/etc/kept'), 'kept\n')

    def trust_of_two(self):
        trust = self.work / 'two'
        shutil.rmtree(trust, ignore_errors=True)
        trust.mkdir()
        shutil.copy(self.trust / 'own.pub', trust)
        fixture.affix(['keygen', '-W', '-f', '-p', trust / 'other.pub', '-s', self.work / 'other.sec'], check=True)
        return trust

    def test_foreign_files_in_the_way_are_named(self):
        done = self.build(self.layer({'usr/bin/affix': '#!/bin/sh\n'}), code=1)
        self.assertTrue(done.stderr.startswith("foreign-file: '/usr/bin/affix' "), done.stderr)
        done = self.build(self.layer({'etc/systemd/network/80-affix-vm.network': ''}), code=1)
        self.assertTrue(done.stderr.startswith("foreign-file: '/etc/systemd/network/80-affix-vm.network' "), done.stderr)

    def test_libraries_that_the_image_lacks_are_named_with_their_packages(self):
        library = next(path for path in (self.debian / 'usr/lib').rglob('libisal.so.2'))
        tree = self.layer({str((library.parent / '.wh.libisal.so.2').relative_to(self.debian)): ''})
        archive = self.work / 'without.tar'
        fixture.run(['tar', '-cf', archive, '-C', tree, '.'])
        self.assertIn('libisal.so.2 (libisal2)', self.build(archive, code=1).stderr)
        self.assertFalse((self.work / 'own.img').exists())

    def of_libc(self, change):
        """A layer with another libc, and where it lies."""
        path = next((self.debian / 'usr/lib').glob('*/libc.so.6'))
        inside = path.relative_to(self.debian)
        tree = self.layer({})
        (tree / inside).parent.mkdir(parents=True)
        (tree / inside).write_bytes(change(path.read_bytes()))
        archive = self.work / 'libc.tar'
        fixture.run(['tar', '-cf', archive, '-C', tree, '.'])
        return archive, inside

    def test_a_libc_that_is_older_than_the_programs_is_named_with_both_versions(self):
        newer = re.compile(rb'\0GLIBC_2\.3([2-9])(?=\0)')
        archive, path = self.of_libc(lambda text: newer.sub(rb'\0GLIBC_1.3\1', text))
        error = self.build(archive, code=1).stderr
        self.assertIn("/own.img' are too old for affix's programs: ", error)
        needed = subprocess.run(['objdump', '-p', fixture.BUILD / 'src/agent/affix-agent'], stdout=subprocess.PIPE, text=True, check=True).stdout
        newest = max(int(number) for number in re.findall(r' GLIBC_2\.(\d+)', needed))
        self.assertGreaterEqual(newest, 32)
        self.assertIn(f"'affix-agent' needs GLIBC_2.{newest} of '/{path}', which has GLIBC_2.31 at most", error)
        self.assertFalse((self.work / 'own.img').exists())

    def test_a_libc_that_cannot_be_read_is_said_to_be_one(self):
        for change in (lambda text: text[:len(text) // 2], lambda text: text[:60] + bytes(2) + text[62:]):
            archive, path = self.of_libc(change)
            self.assertIn(f'cannot be read as libraries: /{path}; ', self.build(archive, code=1).stderr)

    def test_an_old_library_does_not_hide_one_that_will_do(self):
        good = next((self.debian / 'usr/lib').glob('*/libc.so.6'))
        archive, _ = self.of_libc(lambda text: re.sub(rb'\0GLIBC_2\.3([2-9])(?=\0)', rb'\0GLIBC_1.3\1', text))
        tree = self.layer({'usr/local/lib/libc.so.6': ''}, 'local')
        (tree / 'usr/local/lib/libc.so.6').write_bytes(good.read_bytes())
        self.build(archive, tree)

    @staticmethod
    def with_names_that_inflate(text):
        """A library's bytes with the names of its versions in a string table that is compressed and would be 64 MiB of empty ones."""
        wide = zlib.compressobj(9)
        packed = b''.join([*(wide.compress(bytes(1 << 24)) for _ in range(4)), wide.flush()])
        chunk = struct.pack('<IIQQ', 1, 0, 4 << 24, 1) + packed
        text = bytearray(text)
        headers, count = struct.unpack_from('<Q', text, 40)[0], struct.unpack_from('<H', text, 60)[0]
        at = next(at for at in range(headers, headers + 64 * count, 64) if struct.unpack_from('<I', text, at + 4)[0] == 0x6ffffffd)
        names = headers + 64 * struct.unpack_from('<I', text, at + 40)[0]
        struct.pack_into('<Q', text, names + 8, struct.unpack_from('<Q', text, names + 8)[0] & ~2 | 0x800)
        struct.pack_into('<QQ', text, names + 24, len(text), len(chunk))
        return bytes(text) + chunk

    def test_names_of_versions_are_not_inflated(self):
        archive, path = self.of_libc(self.with_names_that_inflate)
        self.assertIn(f'cannot be read as libraries: /{path}; ', self.build(archive, code=1).stderr)

    def of_another_machine(self, *paths):
        """A layer with files of the Debian tree whose headers name a machine that is not this one."""
        files = {}
        for path in paths:
            text = bytearray((self.debian / path).resolve().read_bytes())
            text[18:20] = (183 if text[18] != 183 else 62).to_bytes(2, 'little')
            files[path] = bytes(text)
        tree = self.work / 'foreign'
        shutil.rmtree(tree, ignore_errors=True)
        for path, text in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_bytes(text)
        archive = self.work / 'foreign.tar'
        fixture.run(['tar', '-cf', archive, '-C', tree, '.'])
        return archive

    def test_a_library_of_another_machine_is_one_that_the_image_lacks(self):
        library = next(path for path in (self.debian / 'usr/lib').rglob('libisal.so.2')).relative_to(self.debian)
        error = self.build(self.of_another_machine(library), code=1).stderr
        self.assertIn('lacks: libisal.so.2 (libisal2); ', error)

    def test_an_image_of_another_machine_is_said_to_be_one(self):
        loaders = [path.relative_to(self.debian) for path in (self.debian / 'usr/lib').rglob('ld-linux-*.so.*')]
        error = self.build(self.of_another_machine('usr/lib/systemd/systemd', *loaders), code=1).stderr
        self.assertTrue(error.startswith("wrong-platform: 'affix' "), error)

    def test_without_keys_nothing_is_built(self):
        empty = self.work / 'none'
        empty.mkdir(exist_ok=True)
        done = self.build(options=('--with-affix', '--trust', empty), code=1)
        self.assertTrue(done.stderr.startswith('no-trusted-key: '), done.stderr)

    def test_a_profile_that_is_none_is_a_mistake(self):
        self.assertIn("'vm'", self.build(options=('--profile', 'pet'), code=2).stderr)


if __name__ == '__main__':
    unittest.main()
