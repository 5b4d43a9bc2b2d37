#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Add-ons in images: what `affix image` makes of an image is what `affix --root` makes of the same tree.

Each image is made by mke2fs from a tree; the same operation is carried out on the image, by libext2fs, and on a copy of
the tree, by the kernel. e2fsck must have nothing to say, and the listing of what debugfs finds in the image must be the
tree's, records included.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock

import images
import scenario
from images import fixture

ACCOUNTS = ('passwd', 'group', 'shadow', 'gshadow')
# What mke2fs is told; images of all of these are to be worked on.
FILE_SYSTEMS = {
    'ext4': ['-t', 'ext4', '-b', '4096'],
    'blocks of 1k': ['-t', 'ext4', '-b', '1024'],
    'no checksums': ['-t', 'ext4', '-b', '4096', '-O', '^metadata_csum'],
    'no checksums, blocks of 1k': ['-t', 'ext4', '-b', '1024', '-O', '^metadata_csum,uninit_bg'],
    'no index': ['-t', 'ext4', '-b', '4096', '-O', '^dir_index'],
    'no extents': ['-t', 'ext4', '-b', '4096', '-O', '^extents,^64bit'],
    'small inodes': ['-t', 'ext4', '-b', '4096', '-I', '128'],
    'meta_bg': ['-t', 'ext4', '-b', '4096', '-O', 'meta_bg,^resize_inode'],
    'seeded checksums': ['-t', 'ext4', '-O', 'metadata_csum_seed,orphan_file'],
    'ext3': ['-t', 'ext3', '-b', '4096'],
    'ext2': ['-t', 'ext2', '-b', '1024'],
}
SMALL = ['-t', 'ext4', '-b', '1024', '-J', 'size=1']
F_OFD_SETLK = 37
OPERATIONS = ('install', 'upgrade', 'rebuild', 'uninstall')


def digest(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def image_command(story, image, *options):
    """The operation of a story, as a command on an image."""
    words = shlex.split(story.command)[1:]
    operands = [word for word in words[1:] if word not in ('--root', '{}')]
    if words[0] == 'uninstall':
        return ['image', 'rm-add-on', *options, image, *operands]
    if '--config' in operands:
        place = operands.index('--config')
        options = [*options, '--config', f'{scenario.ID}={operands[place + 1]}']
        del operands[place:place + 2]
    return ['image', 'inject', '--trust', story.tree / 'etc/affix/trust.d', *options, image, *operands]


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f'not within {seconds} s')
        time.sleep(0.01)


class Case(unittest.TestCase):
    operation = 'install'

    @classmethod
    def setUpClass(cls):
        if os.getuid() != 0:
            raise unittest.SkipTest('owners of files in a tree need root')
        cls.story = cls.enterClassContext(scenario.Scenario(cls.operation)) if hasattr(cls, 'enterClassContext') \
            else cls.enter(scenario.Scenario(cls.operation))
        cls.work = cls.story.work
        # What killed processes worked on goes with the rest.
        place = cls.work.fresh('tmp')
        place.mkdir()
        cls.enter(unittest.mock.patch.dict(os.environ, TMPDIR=str(place)))

    @classmethod
    def enter(cls, context):
        entered = context.__enter__()
        cls.addClassCleanup(context.__exit__, None, None, None)
        return entered

    def image(self, options=('-t', 'ext4', '-b', '4096'), tree=None, size='24M'):
        return images.make(tree or self.story.tree, self.work.fresh('disk.img'), options, size)

    def affix(self, *arguments, code=0, **more):
        done = fixture.affix(arguments, **more)
        self.assertEqual(done.returncode, code, f'{arguments}:\n{done.stdout}{done.stderr}')
        return done

    def refused(self, name, *arguments, code=1):
        """Says so, and leaves the image alone."""
        image = next(pathlib.Path(str(word).partition(':')[0]) for word in arguments[2:] if '.img' in str(word))
        before = digest(image)
        done = self.affix(*arguments, code=code)
        self.assertTrue(done.stderr.startswith(f'{name}: '), done.stderr)
        self.assertEqual(done.stderr.count('\n'), 1, done.stderr)
        self.assertEqual(digest(image), before, 'the image was changed')
        self.assertFalse(pathlib.Path(f'{image}.affix-redo').exists())
        return done

    def inject(self, image, *bundles, code=0, options=()):
        return self.affix('image', 'inject', '--trust', self.story.tree / 'etc/affix/trust.d', *options, image, *bundles,
                          code=code)

    def assertState(self, image, golden):
        images.check(image)
        with images.unpacked(image, self.work.path) as found:
            self.assertEqual(scenario.listing(found).splitlines(), golden.splitlines())


class SameTree(Case):
    """One operation, on all kinds of file systems."""

    def accounts_of(self, tree):
        found = {}
        for name in ACCOUNTS:
            path = tree / 'etc' / name
            status = path.stat()
            found[name] = (path.read_text(), status.st_mode, status.st_uid, status.st_gid)
        return found

    def test_each_operation_makes_the_tree_that_it_makes_of_a_directory(self):
        for operation in OPERATIONS:
            with scenario.Scenario(operation) as story, self.subTest(operation):
                image = images.make(story.tree, story.work.fresh('disk.img'))
                self.affix(*image_command(story, image))
                self.assertState(image, story.golden['new'].read_text())
                after = story.copy(story.tree)
                story.run(story.command, after)
                with images.unpacked(image, story.work.path) as found:
                    self.assertEqual(self.accounts_of(found), self.accounts_of(after))
                # Again, and nothing happens.
                before = digest(image)
                self.affix(*image_command(story, image), code=1 if operation == 'uninstall' else 0)
                self.assertEqual(digest(image), before)

    def test_all_kinds_of_file_systems_are_worked_on(self):
        addon = self.work.addon('fcap', '1.0.0')
        addon.manifest['requires']['os_capabilities'] = ['cap_net_raw']
        addon.manifest['exec']['file_capabilities'] = True
        capable = self.work.bundle(addon)
        tree = self.story.copy(self.story.tree)
        self.story.run(self.story.command, tree)
        self.story.install(tree, capable)
        golden = scenario.listing(tree)
        self.assertIn('security.capability=0x', golden)
        for name, options in FILE_SYSTEMS.items():
            with self.subTest(name):
                image = self.image(options)
                images.check(image)
                self.affix(*image_command(self.story, image), capable)
                self.assertState(image, golden)
                drift = json.loads(self.affix('image', 'drift', '--json', image).stdout)
                self.assertEqual([(addon['id'], addon['items']) for addon in drift['data']['addons']],
                                 [('fcap', []), ('neighbour', []), ('probe', [])])

    def test_partitions_are_worked_on_by_number(self):
        for label in ('gpt', 'dos'):
            with self.subTest(label):
                small = self.image()
                path, offset = images.disk(small, self.work.fresh('whole.img'), label)
                outside = self.around(path, offset, small.stat().st_size)
                self.affix(*image_command(self.story, f'{path}:2'))
                found = images.part(path, offset, small.stat().st_size, self.work.fresh('part.img'))
                self.assertState(found, self.story.golden['new'].read_text())
                self.assertEqual(self.around(path, offset, small.stat().st_size), outside)

    def around(self, path, offset, size):
        data = path.read_bytes()
        return hashlib.sha256(data[:offset] + data[offset + size:]).hexdigest()

    def test_removed_add_ons_leave_the_tree_as_it_was(self):
        image = self.image()
        self.affix(*image_command(self.story, image))
        self.affix('image', 'rm-add-on', image, scenario.ID)
        images.check(image)
        with images.unpacked(image, self.work.path) as found:
            self.assertEqual(scenario.listing(found, '--brief'), self.story.bare)

    def test_what_an_image_has_lost_of_an_add_on_comes_back_with_its_bundle(self):
        place = f'opt/affix/{scenario.ID}'
        tree = self.story.copy(self.story.tree)
        self.story.run(self.story.command, tree)
        self.assertIn('installed already, nothing changed', self.affix(*image_command(self.story, self.image(tree=tree))).stdout)
        for lost in (place, f'{place}/versions/1.0.0', f'{place}/versions/1.0.0/{scenario.ID}', f'{place}/current',
                     f'etc/systemd/system/affix-{scenario.ID}.service', f'etc/affix/addons/{scenario.ID}.json'):
            with self.subTest(lost):
                damaged = self.story.copy(tree)
                path = damaged / lost
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
                image = self.image(tree=damaged)
                self.assertIn(f"'{scenario.ID}' 1.0.0 is repaired", self.affix(*image_command(self.story, image)).stdout)
                images.check(image)
                self.assertIn(': as installed', self.affix('image', 'drift', image, scenario.ID).stdout)
                with images.unpacked(image, self.work.path) as found:
                    self.assertEqual(scenario.listing(found, '--brief'), scenario.listing(tree, '--brief'))

    def test_what_no_copy_of_an_image_shows_comes_back_and_is_said_to(self):
        addon = self.work.addon('fcap', '1.0.0')
        addon.manifest['requires']['os_capabilities'] = ['cap_net_raw']
        addon.manifest['exec']['file_capabilities'] = True
        bundles = self.work.bundle(self.work.addon('plain', '1.0.0')), self.work.bundle(addon)
        image = self.image()
        self.inject(image, *bundles)
        unchanged = "'plain' 1.0.0 is installed already, nothing changed"
        version, unit = '/opt/affix/fcap/versions/1.0.0', '/etc/systemd/system/affix-fcap.service'
        for command in (f'sif {unit} uid 7', f'sif {unit} mode 0100044', f'sif {version}/fcap gid 0', f'sif {version} gid 7',
                        f'sif {version} mode 040655', f'ea_rm {version}/fcap security.capability'):
            with self.subTest(command):
                images.debugfs(image, [command], write=True)
                self.assertIn(': not as installed', self.affix('image', 'drift', image, 'fcap').stdout)
                self.assertEqual(self.inject(image, *bundles).stdout, f"{unchanged}\n'fcap' 1.0.0 is repaired\n")
                self.assertIn(': as installed', self.affix('image', 'drift', image, 'fcap').stdout)
        images.check(image)
        after = digest(image)
        done = self.inject(image, *bundles, options=['--json'])
        self.assertEqual([result['message'] for result in json.loads(done.stdout)['results']],
                         [unchanged, unchanged.replace('plain', 'fcap')])
        self.assertEqual(digest(image), after)

    def test_whose_a_link_is_means_as_little_in_an_image_as_in_a_tree(self):
        tree = self.story.copy(self.story.tree)
        self.story.run(self.story.command, tree)
        os.chown(tree / f'opt/affix/{scenario.ID}/current', 7, 7, follow_symlinks=False)
        image = self.image(tree=tree)
        before = digest(image)
        self.assertIn('nothing changed', self.affix(*image_command(self.story, image)).stdout)
        self.assertEqual(digest(image), before)
        self.assertIn(': as installed', self.affix('image', 'drift', image, scenario.ID).stdout)
        self.assertIn(': as installed', self.affix('drift', scenario.ID, '--root', tree).stdout)

    def test_a_unit_that_is_masked_in_an_image_stays_masked(self):
        tree = self.story.copy(self.story.tree)
        self.story.run(self.story.command, tree)
        unit = tree / f'etc/systemd/system/affix-{scenario.ID}.service'
        unit.unlink()
        unit.symlink_to('/dev/null')
        image = self.image(tree=tree)
        before = digest(image)
        self.affix(*image_command(self.story, image))
        self.assertEqual(digest(image), before)
        (tree / f'opt/affix/{scenario.ID}/current').unlink()
        done = self.refused('held', *image_command(self.story, self.image(tree=tree)))
        # Nothing repairs an image, and nothing has to.
        self.assertIn('remove that link, then try again', done.stderr)
        unit.unlink()
        self.assertIn('is repaired', self.affix(*image_command(self.story, self.image(tree=tree))).stdout)

    def test_what_is_held_and_stopped_in_an_image_is_upgraded_and_stays_stopped(self):
        tree = self.story.copy(self.story.tree)
        self.story.run(self.story.command, tree)
        self.affix('hold', scenario.ID, '--stop', '--root', tree)
        again = image_command(self.story, self.image(tree=tree))
        before = digest(again[-2])
        self.assertIn('installed already, nothing changed', self.affix(*again).stdout)
        self.assertEqual(digest(again[-2]), before)
        newer = self.work.bundle(self.work.addon(scenario.ID, '2.0.0'))
        image = self.image(tree=tree)
        self.assertIn(f"'{scenario.ID}' 2.0.0 is installed", self.inject(image, newer).stdout)
        self.assertIn(': as installed', self.affix('image', 'drift', image, scenario.ID).stdout)
        self.story.install(tree, newer)
        self.assertState(image, scenario.listing(tree))
        self.assertFalse(os.path.lexists(tree / f'etc/systemd/system/multi-user.target.wants/affix-{scenario.ID}.service'))

    def test_the_live_updater_goes_on_with_the_record(self):
        image = self.image()
        self.affix(*image_command(self.story, image))
        with images.unpacked(image, self.work.path) as found:
            # What debugfs unpacks has the links of the image; the engine works on it as on any tree.
            status = json.loads(self.affix('status', '--root', found, '--json').stdout)
            self.assertEqual({addon['id'] for addon in status['data']['addons']}, {'neighbour', 'probe'})
            self.affix('uninstall', scenario.ID, '--root', found)

    def test_links_of_the_image_resolve_inside_it(self):
        tree = self.story.copy(self.story.tree)
        (tree / 'var/opt').mkdir()
        shutil.move(tree / 'opt/affix', tree / 'var/opt/affix')
        (tree / 'opt').rmdir()
        (tree / 'opt').symlink_to('/var/opt')
        (tree / 'real-etc').symlink_to('etc')
        (tree / 'lib').symlink_to('usr/lib')
        image = self.image(tree=tree)
        self.affix(*image_command(self.story, image))
        self.story.run(self.story.command, tree)
        self.assertState(image, scenario.listing(tree))
        self.assertIn('/var/opt/affix/probe/current', scenario.listing(tree))

    def test_large_directories_stay_indexed_and_right(self):
        tree = self.story.copy(self.story.tree)
        directory = tree / 'etc/systemd/system'
        for number in range(4000):
            (directory / f'unit-of-somebody-with-a-rather-long-name-{number}.service').touch()
        for name in ('ext4', 'blocks of 1k', 'no checksums', 'no index'):
            with self.subTest(name):
                image = self.image([*FILE_SYSTEMS[name], '-N', '16384'], tree=tree, size='48M')
                fixture.run(['e2fsck', '-fyD', image], check=False)
                self.affix(*image_command(self.story, image))
                images.check(image)
                [stat] = images.debugfs(image, ['stat /etc/systemd/system'])
                self.assertEqual('Flags: 0x81000' in stat, name != 'no index', stat)
                listed = self.affix('image', 'ls', image, '/etc/systemd/system').stdout
                self.assertEqual(listed.count('unit-of-somebody'), 4000)
                self.assertIn('affix-probe.service', listed)

    def test_several_bundles_are_injected_together_or_not_at_all(self):
        first = self.work.bundle(self.work.addon('first', '1.0.0'))
        second = self.work.bundle(self.work.addon('second', '1.0.0'))
        image = self.image()
        done = self.inject(image, first, second, options=['--json'])
        self.assertEqual([result['id'] for result in json.loads(done.stdout)['results']], ['first', 'second'])
        self.assertIn('second', self.affix('image', 'status', image).stdout)
        image = self.image()
        stranger = self.work.keygen('stranger')[1]
        other = self.work.bundle(self.work.addon('third', '1.0.0'), secret=stranger)
        self.refused('untrusted-key', 'image', 'inject', '--trust', self.story.tree / 'etc/affix/trust.d', image, first, other)

    def test_nothing_of_what_a_block_held_before_is_left_behind_the_end_of_a_file(self):
        image = self.work.fresh('disk.img')
        image.write_bytes(b'\xff' * (24 << 20))
        fixture.run(['mke2fs', '-q', '-F', '-t', 'ext4', '-b', '4096', '-E', 'nodiscard', '-d', self.story.tree, image])
        self.affix(*image_command(self.story, image))
        data = image.read_bytes()
        for name in (f'/opt/affix/{scenario.ID}/versions/1.0.0/{scenario.ID}', '/etc/passwd', '/etc/affix/addons/probe.json'):
            [blocks] = images.debugfs(image, [f'blocks {name}'])
            [content] = images.debugfs(image, [f'stat {name}'])
            size = int(re.search(r'Size: (\d+)', content)[1])
            last = int(blocks.split()[-1]) * 4096
            self.assertEqual(data[last + size % 4096:last + 4096], bytes(4096 - size % 4096), name)

    def test_two_at_once_wait_for_each_other(self):
        bundles = [self.work.bundle(self.work.addon(name, '1.0.0')) for name in ('first', 'second', 'third')]
        image = self.image()
        running = [subprocess.Popen([str(word) for word in (fixture.AFFIX, 'image', 'inject', '--trust',
                                                            self.story.tree / 'etc/affix/trust.d', image, bundle)],
                                    stdout=subprocess.DEVNULL) for bundle in bundles]
        self.assertEqual([process.wait() for process in running], [0, 0, 0])
        images.check(image)
        status = json.loads(self.affix('image', 'status', '--json', image).stdout)
        self.assertEqual([addon['id'] for addon in status['data']['addons']], ['first', 'neighbour', 'second', 'third'])

    def test_what_a_killed_process_left_to_work_on_is_replaced(self):
        image = self.image()
        place = self.work.fresh('tmp')
        place.mkdir()
        environment = {**os.environ, 'TMPDIR': str(place)}
        fixture.run(['strace', '-f', '-o', '/dev/null', '-e', 'trace=pwrite64', '-e', 'inject=pwrite64:signal=KILL:when=1',
                     fixture.AFFIX, *image_command(self.story, image)], check=False, env=environment)
        self.assertEqual(len(list(place.iterdir())), 1)
        self.affix(*image_command(self.story, image), env=environment)
        self.assertEqual(list(place.iterdir()), [])

    def test_what_killed_processes_left_to_work_on_goes_unless_somebody_works_in_it(self):
        place = self.work.fresh('tmp')
        place.mkdir()
        environment = {**os.environ, 'TMPDIR': str(place)}
        built = self.work.fresh('built.img')
        build = ['image', 'build', self.story.tree, '-o', built, '--add-on', shlex.split(self.story.command)[2], '--trust',
                 self.story.tree / 'etc/affix/trust.d']
        fixture.run(['strace', '-f', '-o', '/dev/null', '-e', 'trace=mkdirat', '-e', 'inject=mkdirat:signal=KILL:when=4', fixture.AFFIX, *build],
                    check=False, env=environment)
        self.assertFalse(built.exists())
        self.assertEqual(len(list(place.iterdir())), 1)
        used, other = place / f'affix-image-{os.getuid()}-1-2', place / f'affix-image-{os.getuid() + 1}-1-2'
        used.mkdir()
        other.mkdir()
        lock = os.open(used, os.O_RDONLY)
        self.addCleanup(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX)
        self.affix('image', 'status', self.image(), env=environment)
        self.assertEqual(sorted(place.iterdir()), sorted([used, other]))

    def test_an_ordinary_user_can_do_it(self):
        directory = self.work.fresh('of-nobody')
        directory.mkdir(mode=0o755)
        self.work.path.chmod(0o755)
        image = self.image()
        moved = directory / 'disk.img'
        shutil.move(image, moved)
        for path in (directory, moved):
            os.chown(path, 65534, 65534)
        command = [fixture.AFFIX, *image_command(self.story, moved)]
        done = subprocess.run(['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', *map(str, command)],
                              capture_output=True, text=True, check=False, env={**os.environ, 'TMPDIR': str(directory)})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertState(moved, self.story.golden['new'].read_text())
        self.assertEqual([path.name for path in directory.iterdir()], ['disk.img'])


class Drift(Case):
    operation = 'upgrade'

    def drift(self, image):
        done = json.loads(self.affix('image', 'drift', '--json', image, scenario.ID).stdout)
        return {(item['kind'], item['path']) for item in done['data']['addons'][0]['items']}

    def test_each_kind_of_drift_is_found(self):
        unit = f'/etc/systemd/system/affix-{scenario.ID}.service'
        binary = f'/opt/affix/{scenario.ID}/versions/1.0.0/{scenario.ID}'
        for kind, path, commands in (
                ('owner', unit, [f'sif {unit} uid 7']),
                ('mode', unit, [f'sif {unit} mode 0100666']),
                ('mode', unit, [f'sif {unit} mode 0100044']),
                ('missing', unit, [f'rm {unit}']),
                ('capabilities', binary, [f'ea_set {binary} security.capability {"x" * 20}']),
        ):
            with self.subTest(kind):
                image = self.image()
                self.assertEqual(self.drift(image), set())
                images.debugfs(image, commands, write=True)
                self.assertEqual(self.drift(image), {(kind, path)})

    def test_links_that_lead_in_a_circle_hide_what_lies_behind_them(self):
        image = self.image()
        images.debugfs(image, [f'unlink /opt/affix/{scenario.ID}', f'symlink /opt/affix/{scenario.ID} {scenario.ID}'], write=True)
        found = self.drift(image)
        self.assertIn(('missing', f'/opt/affix/{scenario.ID}/current'), found)
        self.assertIn(('missing', f'/opt/affix/{scenario.ID}/versions/1.0.0/{scenario.ID}'), found)

    def test_content_is_compared(self):
        image = self.image()
        changed = self.work.fresh('changed')
        changed.write_text('[Unit]\n')
        unit = f'/etc/systemd/system/affix-{scenario.ID}.service'
        images.debugfs(image, [f'rm {unit}', f'write {changed} {unit}', f'sif {unit} mode 0100644'], write=True)
        self.assertIn(('content', unit), self.drift(image))


class Look(Case):
    def test_files_and_directories_are_shown(self):
        tree = self.story.copy(self.story.tree)
        (tree / 'long').symlink_to('x' * 200)
        (tree / 'big').write_bytes(os.urandom(3 << 20))
        (tree / 'holes').touch()
        os.truncate(tree / 'holes', 5 << 20)
        (tree / 'a\x1b[31mb').touch()
        image = self.image(tree=tree)
        listed = self.affix('image', 'ls', image).stdout
        self.assertIn('long -> ' + 'x' * 200, listed)
        self.assertIn('a\\x1b[31mb', listed)
        self.assertNotIn('\x1b', listed)
        for name in ('big', 'holes'):
            done = subprocess.run([fixture.AFFIX, 'image', 'cat', image, name], capture_output=True, check=True)
            self.assertEqual(done.stdout, (tree / name).read_bytes())
        self.affix('image', 'cat', image, '/etc/passwd')
        items = json.loads(self.affix('image', 'ls', '--json', image, '/etc').stdout)['items']
        self.assertIn('passwd', [item['name'] for item in items])
        self.refused('not-found', 'image', 'cat', image, '/nothing')
        self.refused('not-found', 'image', 'ls', image, '/nothing/there')

    def test_sizes_that_a_file_system_only_claims_are_not_believed(self):
        tree = self.story.copy(self.story.tree)
        (tree / 'etc/affix/holes').touch()
        os.truncate(tree / 'etc/affix/holes', 300 << 20)
        image = self.image(['-t', 'ext4', '-b', '4096'], tree=tree, size='512M')
        self.refused('bad-image', 'image', 'status', image)

    def test_what_only_has_affix_in_its_name_may_be_of_any_depth(self):
        deep = '/'.join('abcdefghijkl')
        tree = self.story.copy(self.story.tree)
        for place in ('usr/share/affix-notes', 'usr/share/affix', 'usr/lib/xaffixx', 'usr/bin/affix.d', 'usr/lib/systemd/system/affix-x.service.d'):
            (tree / place / deep).mkdir(parents=True)
            (tree / place / deep / 'file').write_text('theirs\n')
        image = self.image(tree=tree)
        self.affix('image', 'status', image)
        self.affix(*image_command(self.story, image))
        self.assertEqual(self.affix('image', 'cat', image, f'/usr/share/affix/{deep}/file').stdout, 'theirs\n')

    def test_what_is_deeper_than_anything_of_ours_is_said_to_be(self):
        tree = self.story.copy(self.story.tree)
        (tree / 'etc/affix' / '/'.join('abcdefghijkl')).mkdir(parents=True)
        error = self.refused('bad-image', 'image', 'status', self.image(tree=tree)).stderr
        self.assertIn('8 directories deep', error)
        self.assertNotIn('e2fsck', error)

    def test_holes_stay_holes_in_what_is_worked_on(self):
        tree = self.story.copy(self.story.tree)
        for name in ('etc/affix/holes', 'opt/affix/neighbour/holes'):
            (tree / name).touch()
            os.truncate(tree / name, 64 << 20)
        image = self.image(tree=tree, size='256M')
        trace = self.work.fresh('trace')
        fixture.run(['strace', '-f', '-o', trace, '-e', 'trace=write', fixture.AFFIX, 'image', 'status', image])
        written = sum(int(line.rpartition('= ')[2]) for line in trace.read_text().splitlines() if re.search(r'= \d+$', line))
        self.assertLess(written, 8 << 20)

    def test_loops_of_links_end(self):
        tree = self.story.copy(self.story.tree)
        (tree / 'a').symlink_to('b')
        (tree / 'b').symlink_to('a')
        (tree / 'up').symlink_to('../../../../etc')
        image = self.image(tree=tree)
        self.refused('not-found', 'image', 'ls', image, '/a')
        self.assertIn('passwd', self.affix('image', 'ls', image, '/up').stdout)


class Content(Case):
    """Of many pieces: written, brought back and digested at the same time."""

    def setUp(self):
        self.data = self.work.fresh('data')
        self.data.write_bytes(os.urandom((5 << 20) + 12345))
        self.bundle = self.work.bundle(self.work.addon('large', '1.0.0'), entries=[self.data])

    def test_large_files_are_there_whole(self):
        for kind in ('ext4', 'blocks of 1k', 'no extents', 'ext2'):
            with self.subTest(kind):
                image = self.image(FILE_SYSTEMS[kind])
                self.inject(image, self.bundle)
                images.check(image)
                path = f'/opt/affix/large/current/{self.data.name}'
                done = subprocess.run([fixture.AFFIX, 'image', 'cat', image, path], capture_output=True, check=True)
                self.assertEqual(done.stdout, self.data.read_bytes())

    def test_content_is_read_past_the_kernels_memory_of_it(self):
        image, trace = self.image(), self.work.fresh('trace')
        fixture.run(['strace', '-f', '-o', trace, '-e', 'trace=openat,pread64', fixture.AFFIX, *self.command(image)])
        direct, reading, done = set(), {}, 0
        for line in trace.read_text().splitlines():
            thread = line.split()[0]
            opened, begun, ended = re.search(r'O_DIRECT\b.* = (\d+)$', line), re.search(r' pread64\((\d+),', line), re.search(r' = (\d+)$', line)
            if opened:
                direct.add(opened[1])
            if begun:
                reading[thread] = begun[1]
            if ended and 'pread64' in line and reading[thread] in direct:
                done += int(ended[1])
        # Once, and all of it.
        size = self.data.stat().st_size
        self.assertTrue(size <= done < size + (1 << 20), f'{done} of {size}')

    def refusing(self, where):
        """A program's surroundings in which no disk can be read so."""
        return ['-E', f"LD_PRELOAD={self.library('nodirect')}", '-E', f'NODIRECT={where}']

    def library(self, name):
        library = self.work.fresh(f'{name}.so')
        fixture.run(['cc', '-shared', '-fPIC', '-o', library, images.HERE.parent / f'lib/{name}.c'])
        return library

    def small(self):
        """What is read back when all is written, in files that follow each other."""
        entries = [self.work.fresh(f'entry{i}') for i in range(4)]
        for entry in entries:
            entry.write_bytes(os.urandom(100 << 10))
        return self.work.bundle(self.work.addon('small', '1.0.0'), entries=entries)

    def assertForgotten(self, trace, size, n):
        """What was written in *n* pieces of *size* was forgotten before it was read."""
        calls = re.findall(r'(p\w+64)\(.*, (\d+), (\d+)\) = (\d+)$|(fadvise64)\(\d+, (\d+), (\d+), POSIX_FADV_DONTNEED', trace.read_text(), re.MULTILINE)
        steps = [('forget', int(call[5]), int(call[6])) if call[4] else (call[0], int(call[2]), int(call[3])) for call in calls]
        written = [step[1] for step in steps if step[0] == 'pwrite64' and step[2] == size]
        self.assertEqual(len(written), n)
        for offset in written:
            over = [step[0] for step in steps if step[1] < offset + size and offset < step[1] + step[2]]
            self.assertIn('pread64', over[over.index('forget', over.index('pwrite64')):])

    def test_nothing_is_kept_of_an_image_that_was_just_read(self):
        kept = self.work.fresh('kept')
        # On a disk: what is in memory alone cannot be forgotten.
        with tempfile.TemporaryDirectory(prefix='affix-image-', dir='/var/tmp') as place:
            image = images.make(self.story.tree, pathlib.Path(place) / 'disk.img')
            fixture.run(['sha256sum', image])
            self.affix(*self.command(image, self.small()), env={**os.environ, 'LD_PRELOAD': str(self.library('kept')), 'KEPT': str(kept)})
            images.check(image)
        pages = [int(line) for line in kept.read_text().split()]
        self.assertEqual(pages, [0] * len(pages))
        self.assertTrue(pages)

    def test_nothing_is_brought_ahead_of_what_was_not_forgotten(self):
        image, trace = self.image(), self.work.fresh('trace')
        fixture.run(['strace', *self.refusing('read'), '-f', '-o', trace, '-P', image, '-e', 'trace=pread64,pwrite64,fadvise64', fixture.AFFIX,
                     *self.command(image, self.small())])
        self.assertForgotten(trace, 100 << 10, 4)

    def test_where_that_cannot_be_the_kernel_forgets_it_and_reads_it_again(self):
        for where in ('open', 'read', 'statx'):
            with self.subTest(where):
                image, trace = self.image(), self.work.fresh('trace')
                fixture.run(['strace', *self.refusing(where), '-f', '-o', trace, '-P', image, '-e', 'trace=pread64,pwrite64,fadvise64', fixture.AFFIX,
                             *self.command(image)])
                self.assertForgotten(trace, 256 << 10, 20)
                images.check(image)
                done = subprocess.run([fixture.AFFIX, 'image', 'cat', image, f'/opt/affix/large/current/{self.data.name}'], capture_output=True, check=True)
                self.assertEqual(done.stdout, self.data.read_bytes())

    def writes(self, image):
        """The sizes of what an inject writes to the image."""
        trace = self.work.fresh('trace')
        fixture.run(['strace', '-f', '-o', trace, '-P', image, '-e', 'trace=pwrite64', fixture.AFFIX, *self.command(image)])
        return [int(size) for size in re.findall(r' = (\d+)$', trace.read_text(), re.MULTILINE)]

    def command(self, image, bundle=None):
        return ['image', 'inject', '--trust', self.story.tree / 'etc/affix/trust.d', image, bundle or self.bundle]

    def test_what_is_refused_once_it_is_unpacked_is_in_free_blocks(self):
        image, config = self.image(), self.work.fresh('config.json')
        before, room = images.used_bytes(image), image.stat().st_blocks
        config.write_text('{"level": -1}')
        done = self.inject(image, self.bundle, code=1, options=['--config', f'large={config}'])
        self.assertTrue(done.stderr.startswith('bad-config: '), done.stderr)
        self.assertEqual(images.used_bytes(image), before)
        # What were holes are holes again.
        self.assertEqual(image.stat().st_blocks, room)
        images.check(image)

    def test_what_a_kill_left_in_holes_goes_with_the_next_change_but_not_what_is_in_use_by_then(self):
        image, config = self.image(), self.work.fresh('config.json')
        room = image.stat().st_blocks
        config.write_text('{"level": -1}')
        fixture.run(['strace', '-f', '-o', '/dev/null', '-P', image, '-e', 'trace=pwrite64', '-e', 'inject=pwrite64:signal=KILL:when=12',
                     fixture.AFFIX, *self.command(image)], check=False)
        taken = image.stat().st_blocks
        self.assertGreater(taken - room, (2 << 20) // 512)
        other = self.work.fresh('other')
        other.write_bytes(os.urandom(1 << 20))
        images.debugfs(image, [f'write {other} other'], write=True)
        self.inject(image, self.bundle, code=1, options=['--config', f'large={config}'])
        self.assertLess(image.stat().st_blocks - room, (1 << 20) // 512 + 256)
        self.assertEqual(subprocess.run([fixture.AFFIX, 'image', 'cat', image, '/other'], capture_output=True, check=True).stdout, other.read_bytes())
        images.check(image)

    def test_an_image_that_is_too_small_is_told_apart_from_a_disk_that_is(self):
        image = self.image(['-t', 'ext4', '-b', '4096', '-m', '0', '-O', '^has_journal'], size='4M')
        done = self.refused('no-space', *self.command(image))
        self.assertRegex(done.stderr, rf"\Ano-space: \d+ bytes are needed in '{image}' and \d+ are free; make its file system larger")
        # It counts more than there are.
        images.debugfs(image, ['ssv free_blocks_count 5000'], write=True)
        done = self.refused('no-space', *self.command(image))
        self.assertEqual(done.stderr, f"no-space: the file system in '{image}' has too little room; "
                                      'make its file system larger (truncate, resize2fs)\n')

    def test_large_files_are_replaced_by_those_of_the_same_version_and_of_the_next(self):
        image = self.image(size='48M')
        other = self.work.fresh('other')
        other.write_bytes(os.urandom((5 << 20) + 54321))
        built = [(self.bundle, self.data)]
        for version, data in (('2.0.0', self.data), ('2.0.0', other), ('3.0.0', other)):
            built.append((self.work.bundle(self.work.addon('large', version), entries=[data]), data))
        for step, (bundle, data) in enumerate(built):
            with self.subTest(step):
                self.inject(image, bundle)
                images.check(image)
                path = f'/opt/affix/large/current/{data.name}'
                done = subprocess.run([fixture.AFFIX, 'image', 'cat', image, path], capture_output=True, check=True)
                self.assertEqual(done.stdout, data.read_bytes())
                drift = json.loads(self.affix('image', 'drift', '--json', image).stdout)
                self.assertEqual([addon['items'] for addon in drift['data']['addons'] if addon['id'] == 'large'], [[]])
        self.affix('image', 'rm-add-on', image, 'large')
        images.check(image)
        self.assertNotIn('large', self.affix('image', 'ls', image, '/opt/affix').stdout)

    def test_many_large_files_are_not_held_open(self):
        zeros = []
        for number in range(12):
            zeros.append(self.work.fresh('zeros'))
            zeros[-1].write_bytes(bytes((2 << 20) + 1))
        bundles = [self.work.bundle(self.work.addon(name, '1.0.0'), entries=zeros) for name in ('first', 'second', 'third', 'fourth')]
        image = self.image(size='160M')
        done = fixture.run(['sh', '-c', 'ulimit -n 64 && exec "$@"', 'sh', fixture.AFFIX, 'image', 'inject', '--trust',
                            self.story.tree / 'etc/affix/trust.d', image, *bundles], check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        images.check(image)
        self.assertEqual(self.affix('image', 'ls', image, '/opt/affix/fourth/current').stdout.count('zeros'), 12)

    def test_memory_grows_by_one_row_of_the_table_for_each_cell(self):
        peaks = []
        # The lesser one, too, is read back while it is unpacked.
        for megabytes in (24, 184):
            data = self.work.fresh('zeros')
            data.write_bytes(bytes(megabytes << 20))
            bundle, image = self.work.bundle(self.work.addon('zeros', '1.0.0'), entries=[data]), self.image(size=f'{megabytes + 64}M')
            done = fixture.run(['/usr/bin/time', '-f', '%M', fixture.AFFIX, 'image', 'inject', '--trust', self.story.tree / 'etc/affix/trust.d', image, bundle])
            peaks.append(int(done.stderr.split()[-1]) << 10)
        # Rows of 24 bytes, and what the table is longer than it has to be.
        self.assertLess(peaks[1] - peaks[0], (160 << 20) / 1024 * 24 + (1 << 20))

    def scattered(self):
        """An image with no more room than the holes between small files."""
        tree = self.work.fresh('tree')
        shutil.copytree(self.story.tree, tree, symlinks=True)
        (tree / 'many').mkdir()
        for number in range(4000):
            (tree / 'many' / f'{number:04}').write_bytes(b'x')
        image = self.image(['-t', 'ext4', '-b', '4096', '-m', '0', '-N', '8192', '-O', '^has_journal'], tree, '24M')
        text = fixture.run(['dumpe2fs', '-h', image]).stdout
        filler = self.work.fresh('filler')
        filler.write_bytes(b'f' * ((int(re.search(r'^Free blocks: +(\d+)', text, re.MULTILINE)[1]) - 150) * 4096))
        images.debugfs(image, [f'write {filler} filler', *(f'rm many/{number:04}' for number in range(0, 4000, 2))], write=True)
        return image

    def test_scattered_blocks_are_brought_back_once_and_without_what_lies_between(self):
        image, trace = self.scattered(), self.work.fresh('trace')
        fixture.run(['strace', '-f', '-o', trace, '-P', image, '-e', 'trace=fadvise64,pwrite64', fixture.AFFIX, *self.command(image)])
        text = trace.read_text()
        self.assertGreater(len(re.findall(r'pwrite64', text)), 1000, 'nothing was scattered')
        asked = sum(int(size) for size in re.findall(r'fadvise64\(\d+, \d+, (\d+), POSIX_FADV_WILLNEED', text))
        size = self.data.stat().st_size
        self.assertTrue(size <= asked < size + (2 << 20), f'{asked} of {size}')
        images.check(image)
        self.assertEqual(subprocess.run([fixture.AFFIX, 'image', 'cat', image, f'/opt/affix/large/current/{self.data.name}'],
                                        capture_output=True, check=True).stdout, self.data.read_bytes())

    def test_what_a_disk_makes_of_content_is_found_out(self):
        image = self.image()
        source = shutil.copy(image, self.work.fresh('source.img'))
        sizes = self.writes(image)
        large = [number for number, size in enumerate(sizes, 1) if size == 256 << 10]
        self.assertGreater(len(large), 15)
        numbers = (1, large[0], large[9], large[-1], large[-1] + 1, large[-1] + 2, large[-1] + 4)
        for number, surroundings in [*((number, []) for number in numbers), *((large[9], self.refusing(where)) for where in ('open', 'read'))]:
            with self.subTest((number, surroundings)):
                shutil.copy(source, image)
                done = fixture.run(['strace', *surroundings, '-f', '-o', '/dev/null', '-P', image, '-e', 'trace=pwrite64', '-e',
                                    f'inject=pwrite64:poke_enter=@arg2=a5a5a5a5a5a5a5a5:when={number}', fixture.AFFIX, *self.command(image)], check=False)
                self.assertEqual((done.returncode, done.stdout), (1, ''), done.stderr)
                self.assertIn('nothing was changed', done.stderr)
                self.assertFalse(pathlib.Path(f'{image}.affix-redo').exists())
                self.assertEqual(images.used_bytes(image), images.used_bytes(source))


class Redo(Case):
    """What an interrupted change left is finished, or given up, by the next command."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.left, cls.before = cls.interrupted()

    @classmethod
    def interrupted(cls):
        """An image from before beside a committed redo file, and the image's bytes."""
        directory = cls.work.fresh('interrupted')
        directory.mkdir()
        image = images.make(cls.story.tree, directory / 'disk.img', SMALL, '4M')
        old = shutil.copy(image, cls.work.fresh('before.img'))
        # Killed when all is copied in: put back what was there before, but for what is in blocks that were free.
        fixture.run(['strace', '-f', '-o', '/dev/null', '-e', 'trace=fdatasync', '-e', 'inject=fdatasync:signal=KILL:when=3',
                     fixture.AFFIX, *image_command(cls.story, image)], check=False)
        if not cls.redo(image).exists():
            raise AssertionError('no redo file was left')
        cls.base = pathlib.Path(old).read_bytes()
        before, after, used = images.used_bytes(old), image.read_bytes(), images.used_bytes(image, old)
        image.write_bytes(bytes(now if now != kept else then for then, now, kept in zip(before, after, used)))
        return image, before

    @staticmethod
    def redo(image):
        return pathlib.Path(f'{image}.affix-redo')

    def copy(self):
        directory = self.work.fresh('copy')
        shutil.copytree(self.left.parent, directory)
        return directory / self.left.name

    def test_any_command_finishes_what_was_committed(self):
        for words in (('status',), ('drift',), ('ls',), ('cat', '/etc/passwd')):
            with self.subTest(words[0]):
                copy = self.copy()
                self.affix('image', words[0], copy, *words[1:])
                self.assertFalse(self.redo(copy).exists())
                self.assertState(copy, self.story.golden['new'].read_text())

    def test_finishing_can_be_interrupted_anywhere(self):
        whole = None
        for call in ('pwrite64', 'fdatasync', 'unlinkat', 'fsync'):
            for number in (1, 2, 3, 7, 12, 20, 26, 30, 31):
                copy = self.copy()
                fixture.run(['strace', '-f', '-o', '/dev/null', '-e', f'trace={call}', '-e',
                             f'inject={call}:signal=KILL:when={number}', fixture.AFFIX, 'image', 'ls', copy], check=False)
                self.affix('image', 'ls', copy)
                self.assertFalse(self.redo(copy).exists())
                if whole is None:
                    self.assertState(copy, self.story.golden['new'].read_text())
                    whole = digest(copy)
                self.assertEqual(digest(copy), whole, f'{call} {number}')

    def test_what_was_not_committed_is_given_up(self):
        whole = self.redo(self.left).read_bytes()
        for name, data in (('cut off', whole[:-1]), ('without a header', bytes(4096) + whole[4096:]),
                           ('empty', b''), ('a block lost', whole[:8192] + bytes(1024) + whole[9216:]),
                           ('a number changed', whole[:-8] + b'\x07' + whole[-7:]),
                           ('endless', whole[:32] + b'\xff' * 8 + whole[40:])):
            with self.subTest(name):
                copy = self.copy()
                self.redo(copy).write_bytes(data)
                self.affix('image', 'status', copy)
                self.assertFalse(self.redo(copy).exists())
                self.assertEqual(images.used_bytes(copy), self.before)

    def test_files_that_belong_to_another_image_are_refused(self):
        for name in ('another', 'larger', 'changed since', 'the one from before', 'a block lost', 'no redo file'):
            with self.subTest(name):
                copy = self.copy()
                if name == 'another':
                    images.make(self.story.tree, copy, SMALL, '4M')
                elif name == 'larger':
                    copy.write_bytes(self.before + bytes(4096))
                elif name == 'changed since':
                    images.debugfs(copy, ['mkdir /new', 'ssv mtime now'], write=True)
                elif name == 'the one from before':
                    # It lacks what went past the redo file.
                    copy.write_bytes(self.base)
                elif name == 'a block lost':
                    data = copy.read_bytes()
                    place = data.index(b'root:x:0:0:')
                    copy.write_bytes(data[:place] + bytes(16) + data[place + 16:])
                else:
                    self.redo(copy).write_text('what somebody else wrote here\n')
                found, redo = copy.read_bytes(), self.redo(copy).read_bytes()
                done = self.affix('image', 'ls', copy, code=1)
                self.assertTrue(done.stderr.startswith('foreign-redo: '), done.stderr)
                self.assertEqual((copy.read_bytes(), self.redo(copy).read_bytes()), (found, redo))

    def test_what_another_version_left_is_for_that_version_to_finish(self):
        copy = self.copy()
        self.redo(copy).write_bytes(b'affix-redo 1\n'.ljust(16, b'\0') + self.redo(copy).read_bytes()[16:])
        before = digest(copy), self.redo(copy).read_bytes()
        error = self.affix('image', 'ls', copy, code=1).stderr
        self.assertTrue(error.startswith('foreign-redo: '), error)
        self.assertIn('another version of affix', error)
        self.assertNotIn('remove', error)
        self.assertEqual((digest(copy), self.redo(copy).read_bytes()), before)

    def test_files_that_others_may_have_made_are_refused(self):
        for owner, mode, code in ((65534, 0o600, 1), (0, 0o620, 1), (0, 0o602, 1), (0, 0o644, 0)):
            with self.subTest(owner=owner, mode=oct(mode)):
                copy = self.copy()
                os.chown(self.redo(copy), owner, owner)
                self.redo(copy).chmod(mode)
                before = digest(copy)
                done = self.affix('image', 'ls', copy, code=code)
                if code == 1:
                    self.assertTrue(done.stderr.startswith('foreign-redo: '), done.stderr)
                    self.assertEqual(digest(copy), before)
                    # Whose the image is, may say what is in it.
                    self.redo(copy).chmod(0o600)
                    os.chown(copy, owner, owner)
                    self.affix('image', 'ls', copy)
        copy = self.copy()
        self.redo(copy).unlink()
        self.redo(copy).symlink_to(self.redo(self.left))
        done = self.affix('image', 'ls', copy, code=1)
        self.assertTrue(done.stderr.startswith('foreign-redo: '), done.stderr)

    def failing(self, when):
        """An inject whose redo file cannot be synced, at its *when*-th time, and never be removed."""
        directory = self.work.fresh('failing')
        directory.mkdir()
        image = directory / 'disk.img'
        image.write_bytes(self.base)
        done = fixture.run(['strace', '-f', '-o', '/dev/null', '-P', directory, '-P', self.redo(image), '-e',
                            'trace=fdatasync,unlinkat', '-e', f'inject=fdatasync:error=EIO:when={when}', '-e',
                            'inject=unlinkat:error=EIO', fixture.AFFIX, *image_command(self.story, image)], check=False)
        self.assertTrue(self.redo(image).exists(), done.stderr)
        return image, done

    def test_a_commit_that_failed_is_none(self):
        image, done = self.failing('1')
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn('nothing was changed', done.stderr)
        self.affix('image', 'ls', image)
        self.assertFalse(self.redo(image).exists())
        self.assertEqual(images.used_bytes(image), self.before)

    def test_a_commit_that_nobody_knows_of_is_not_said_to_be_none(self):
        image, done = self.failing('1+')
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertNotIn('nothing was changed', done.stderr)
        self.affix('image', 'ls', image)
        self.assertFalse(self.redo(image).exists())

    def test_sectors_may_have_been_copied_one_by_one(self):
        copy = self.copy()
        redo = self.redo(copy).read_bytes()
        _, offset, cells, rows = struct.unpack('<4Q', redo[16:48])
        self.assertGreater(rows, cells)
        table = 4096 + cells * 1024
        with copy.open('r+b') as file:
            for index in range(0, cells, 3):
                [cell] = struct.unpack('<Q', redo[table + index * 24:table + index * 24 + 8])
                half = index % 2 * 512
                file.seek(offset + cell * 1024 + half)
                file.write(redo[4096 + index * 1024 + half:][:512])
        self.affix('image', 'ls', copy)
        self.assertFalse(self.redo(copy).exists())
        self.assertState(copy, self.story.golden['new'].read_text())

    def test_images_that_are_built_again_have_nothing_to_finish(self):
        directory = self.work.fresh('again')
        directory.mkdir()
        image, other = directory / 'disk.img', self.work.fresh('other.img')
        build = ('image', 'build', '--size', '8M', self.story.tree)
        self.affix(*build, '--hostname', 'second', '-o', other)
        self.affix(*build, '--hostname', 'first1', '-o', image)
        fixture.run(['strace', '-f', '-o', '/dev/null', '-e', 'trace=fdatasync', '-e', 'inject=fdatasync:signal=KILL:when=3',
                     fixture.AFFIX, *image_command(self.story, image)], check=False)
        left = self.redo(image).read_bytes()
        self.affix(*build, '--hostname', 'second', '-o', image)
        self.assertFalse(self.redo(image).exists())
        self.assertEqual(digest(image), digest(other))
        # Killed before it could remove it.
        self.redo(image).write_bytes(left)
        done = self.affix('image', 'ls', image, code=1)
        self.assertTrue(done.stderr.startswith('foreign-redo: '), done.stderr)
        self.assertEqual(digest(image), digest(other))
        # What is somebody's is not removed.
        self.redo(image).write_text('what somebody else wrote here\n')
        done = self.affix(*build, '--hostname', 'third1', '-o', image, code=1)
        self.assertTrue(done.stderr.startswith('foreign-redo: '), done.stderr)
        self.assertEqual(digest(image), digest(other))
    def test_each_step_is_on_the_disk_before_the_next_begins(self):
        """What kills do not show: content, redo file and its name are durable before the image's own blocks change, and they before it goes."""
        directory = self.work.fresh('order')
        directory.mkdir()
        image, trace = images.make(self.story.tree, directory / 'disk.img', SMALL, '4M'), self.work.fresh('trace')
        fixture.run(['strace', '-f', '-y', '-o', trace, '-e', 'trace=pwrite64,fdatasync,fsync,unlinkat', fixture.AFFIX,
                     *image_command(self.story, image)])
        kinds = ((rf'pwrite64\(\d+<{image}>', 'W'), (rf'fdatasync\(\d+<{image}>', 's'), (rf'pwrite64\(\d+<{image}.affix-redo>', 'R'),
                 (rf'fdatasync\(\d+<{image}.affix-redo>', 'c'), (rf'fsync\(\d+<{directory}>', 'n'), (r'unlinkat\(.*affix-redo"', 'u'))
        letters = [letter for line in trace.read_text().splitlines() for kind, letter in kinds if re.search(kind, line)]
        self.assertRegex(''.join(letters), r'^[RW]+sR+cnW+sun$')

    def test_links_to_an_image_find_its_redo_file(self):
        copy = self.copy()
        link = self.work.fresh('link.img')
        link.symlink_to(copy)
        self.affix('image', 'ls', link)
        self.assertFalse(self.redo(copy).exists())

    def test_a_full_disk_leaves_the_image_as_it_was(self):
        image = self.image(SMALL, size='4M')
        before = images.used_bytes(image)
        for limit in (0, 64, 200):
            with self.subTest(limit):
                words = shlex.join(str(word) for word in [fixture.AFFIX, *image_command(self.story, image)])
                done = fixture.run(['sh', '-c', f'trap "" XFSZ; ulimit -f {limit}; exec {words}'], check=False)
                self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
                self.assertEqual(images.used_bytes(image), before)
                self.assertFalse(self.redo(image).exists())


class Replaced(Case):
    """Images that get another file's name while somebody works on them."""

    def setUp(self):
        self.directory = self.work.fresh('replaced')
        self.directory.mkdir()
        self.path = self.directory / 'disk.img'
        self.redo = self.directory / 'disk.img.affix-redo'
        shutil.move(self.image(SMALL, size='4M'), self.path)
        self.other = shutil.copy(self.path, self.work.fresh('other.img'))

    @contextlib.contextmanager
    def held(self):
        """An inject that waits for the disk, before the commit, for a second."""
        process = subprocess.Popen([str(word) for word in (
            'strace', '-f', '-o', '/dev/null', '-e', 'trace=fdatasync', '-e', 'inject=fdatasync:delay_enter=1s:when=1',
            fixture.AFFIX, *image_command(self.story, self.path))], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            until(self.redo.exists)
            yield process
        finally:
            process.communicate()

    def test_who_waited_for_the_lock_works_on_what_has_the_name_now(self):
        with self.path.open('rb') as old:
            fcntl.flock(old, fcntl.LOCK_EX)
            process = subprocess.Popen([str(word) for word in (fixture.AFFIX, *image_command(self.story, self.path))],
                                       stdout=subprocess.DEVNULL)
            until(lambda: str(self.path) in self.open_files(process.pid))
            os.replace(self.other, self.path)
        self.assertEqual(process.wait(), 0)
        self.assertState(self.path, self.story.golden['new'].read_text())

    @staticmethod
    def open_files(pid):
        with contextlib.suppress(FileNotFoundError):
            return [os.readlink(f'/proc/{pid}/fd/{fd}') for fd in os.listdir(f'/proc/{pid}/fd')]
        return []

    def test_virtual_machines_are_kept_out_meanwhile(self):
        lock = struct.pack('hhqqi4x', fcntl.F_RDLCK, 0, 100, 1, 0)
        with self.held(), self.path.open('rb') as machine:
            with self.assertRaises(BlockingIOError):
                fcntl.fcntl(machine, F_OFD_SETLK, lock)
        with self.path.open('rb') as machine:
            fcntl.fcntl(machine, F_OFD_SETLK, lock)

    def test_what_has_lost_its_name_is_not_changed_and_nobody_s_files_are_removed(self):
        before = digest(self.other)
        with self.held() as process:
            os.replace(self.other, self.path)
            self.redo.unlink()
            self.redo.write_text('of somebody who works on the other\n')
            _, error = process.communicate()
        self.assertEqual(process.returncode, 1, error)
        self.assertIn('nothing was changed', error)
        self.assertEqual(digest(self.path), before)
        self.assertEqual(self.redo.read_text(), 'of somebody who works on the other\n')

    def test_a_build_waits_for_who_works_on_the_image(self):
        build = ('image', 'build', '--size', '8M', self.story.tree, '-o')
        self.affix(*build, self.other)
        with self.held() as process:
            self.affix(*build, self.path)
            self.assertFalse(self.redo.exists())
            self.assertEqual(digest(self.path), digest(self.other))
            _, error = process.communicate()
        self.assertEqual(process.returncode, 0, error)
        self.assertEqual(digest(self.path), digest(self.other))
        self.assertEqual(os.listdir(self.directory), ['disk.img'])


class Built(Case):
    """Images that have their add-ons when they get their name."""

    def setUp(self):
        self.directory = self.work.fresh('built')
        self.directory.mkdir()
        self.path = self.directory / 'disk.img'
        addon = self.work.addon('fcap', '1.0.0')
        addon.manifest['requires']['os_capabilities'] = ['cap_net_raw']
        addon.manifest['exec']['file_capabilities'] = True
        self.bundles = [shlex.split(self.story.command)[2], self.work.bundle(addon)]
        self.options = ['--trust', self.story.tree / 'etc/affix/trust.d', '--config', f'{scenario.ID}={self.story.config}']

    def build(self, *options, bundles=None, code=0, **more):
        words = [word for bundle in bundles or self.bundles for word in ('--add-on', bundle)]
        return self.affix('image', 'build', self.story.tree, '-o', self.path, *words, *self.options, *options, code=code, **more)

    def large(self):
        data = self.work.fresh('data')
        data.write_bytes(os.urandom(12 << 20))
        return self.work.bundle(self.work.addon('large', '1.0.0'), entries=[data])

    def test_an_image_built_with_add_ons_is_one_that_they_were_injected_into(self):
        plain = self.work.fresh('plain.img')
        self.affix('image', 'build', '--size', '32M', self.story.tree, '-o', plain)
        self.affix('image', 'inject', *self.options, plain, *self.bundles)
        images.check(plain)
        with images.unpacked(plain, self.work.path) as found:
            golden = scenario.listing(found)
        self.assertIn('security.capability=0x', golden)
        said = json.loads(self.build('--size', '32M', '--json').stdout)
        self.assertEqual([result['id'] for result in said['results']], [scenario.ID, 'fcap'])
        self.assertState(self.path, golden)
        self.assertEqual(os.listdir(self.directory), ['disk.img'])
        self.assertEqual(os.listdir(os.environ['TMPDIR']), [])
        for image in (plain, self.path):
            text = fixture.run(['dumpe2fs', '-h', image]).stdout
            count = {name: int(re.search(rf'^{name}: +(\d+)', text, re.MULTILINE)[1]) for name in ('Free blocks', 'Inode count', 'Free inodes')}
            self.assertEqual((said['free'], said['inodes']), (count['Free blocks'] * 4096, count['Inode count'] - count['Free inodes']))
        drift = json.loads(self.affix('image', 'drift', '--json', self.path).stdout)
        self.assertEqual([(addon['id'], addon['items']) for addon in drift['data']['addons']], [('fcap', []), ('neighbour', []), (scenario.ID, [])])

    def test_the_same_input_gives_the_same_bytes_at_another_time_too(self):
        digests = []
        for mask, epoch in ((0o022, {}), (0o077, {}), (0o022, {'SOURCE_DATE_EPOCH': '1800000000'}), (0o077, {'SOURCE_DATE_EPOCH': '1800000000'})):
            place = self.work.fresh('elsewhere')
            place.mkdir()
            self.build(env={**os.environ, **epoch, 'TMPDIR': str(place)}, preexec_fn=lambda mask=mask: os.umask(mask))
            digests.append(digest(self.path))
            time.sleep(1.1 * (len(digests) % 2))
        self.assertEqual((digests[0], digests[2]), (digests[1], digests[3]))
        self.assertNotEqual(digests[0], digests[2])

    def test_what_is_refused_leaves_what_had_the_name(self):
        self.path.write_text('precious')
        stranger = self.work.bundle(self.work.addon('third', '1.0.0'), secret=self.work.keygen('stranger')[1])
        broken = self.work.bundle(self.work.addon('fourth', '1.0.0'))
        broken.write_bytes(broken.read_bytes()[:-1] + b'x')
        unsigned = self.work.build(self.work.addon('fifth', '1.0.0'))
        large = self.large()
        config = self.work.fresh('config')
        config.write_text('{"level": -1}')
        for name, bundles, options in (
                ('untrusted-key', [*self.bundles, stranger], []), ('bad-signature', [*self.bundles, broken], []), ('bad-signature', [*self.bundles, unsigned], []),
                ('no-trusted-key', self.bundles, ['--trust', self.directory]), ('no-trusted-key', self.bundles, ['--trust', '/nonexistent']),
                # Only the engine sees this, when the layers are written.
                ('bad-config', self.bundles, ['--config', f'fcap={config}']), ('no-space', [*self.bundles, large], ['--size', '8M'])):
            with self.subTest(name, options=options):
                done = self.build(*options, bundles=bundles, code=1)
                self.assertRegex(done.stderr, rf'\A{name}: [^\n]+\n\Z')
                self.assertEqual(self.path.read_text(), 'precious')
                self.assertEqual((os.listdir(self.directory), os.listdir(os.environ['TMPDIR'])), (['disk.img'], []))
        self.build('--config', f'other={config}', code=2)
        for options in (self.options[:2], self.options[2:]):
            self.affix('image', 'build', self.story.tree, '-o', self.path, *options, code=2)
        self.assertEqual(self.path.read_text(), 'precious')

    def test_a_full_disk_is_not_taken_for_a_full_image_and_nothing_is_left(self):
        command = [fixture.AFFIX, 'image', 'build', self.story.tree, '-o', self.path, '--add-on', self.large(), *self.options[:2]]
        # The layers fit, the add-on does not.
        done = fixture.run(['unshare', '-m', 'sh', '-c', f'mount -t tmpfs -o size=8M none {self.directory} && {{ {shlex.join(str(word) for word in command)}; '
                            f'code=$?; ls -A {self.directory}; exit $code; }}'], check=False)
        self.assertEqual((done.returncode, done.stdout), (1, ''))
        self.assertRegex(done.stderr, r'\Aerror: [^\n]+No space left on device; nothing was changed\n\Z')

    def test_an_image_that_is_to_fit_has_room_for_them(self):
        many = self.work.addon('many', '1.0.0')
        for number in range(40):
            many.units[f'affix-many_{number}.service'] = {'Unit': {'Description': 'd' * 2000}, 'Service': many.service['Service']}
        large = self.large()
        for size in ('fit', '+16M'):
            with self.subTest(size):
                said = json.loads(self.build('--size', size, '--json', bundles=[*self.bundles, large, self.work.bundle(many)]).stdout)
                images.check(self.path)
                spare = said['free'] - (16 << 20 if size != 'fit' else 0)
                self.assertIn(spare >> 20, range(10))


class Refusals(Case):
    """One by one; the image is never changed."""

    def command(self, image):
        return image_command(self.story, image)

    def test_file_systems_that_are_not_understood(self):
        for options in (['-O', 'inline_data'], ['-O', 'bigalloc'], ['-O', 'quota'], ['-O', 'encrypt'], ['-O', 'casefold'],
                        ['-O', 'ea_inode'], ['-O', 'mmp'], ['-O', 'verity']):
            with self.subTest(options[1]):
                image = self.image(['-t', 'ext4', *options])
                done = self.refused('unsupported-filesystem', *self.command(image))
                self.assertIn(options[1], done.stderr)

    def test_a_disk_that_fails_from_some_time_on(self):
        image = self.image(SMALL, size='4M')
        before = digest(image)
        for number in 1, 3, 6:
            with self.subTest(number):
                done = fixture.run(['strace', '-f', '-o', '/dev/null', '-e', 'trace=renameat', '-e', f'inject=renameat:error=EIO:when={number}+',
                                    fixture.AFFIX, *self.command(image)], check=False)
                self.assertEqual((done.returncode, done.stdout), (1, ''))
                self.assertRegex(done.stderr, r'\Aerror: .*: Input/output error; nothing was changed\n\Z')
                self.assertEqual(digest(image), before)

    def test_a_link_to_no_directory_in_the_place_of_opt(self):
        for target in ('var/opt', 'opt'):
            with self.subTest(target):
                tree = self.story.copy(self.story.tree)
                shutil.rmtree(tree / 'opt', ignore_errors=True)
                (tree / 'opt').symlink_to(target)
                told = f"foreign-file: '/opt' is a link to '{target}', which leads to no directory; "
                self.assertTrue(self.refused('foreign-file', *self.command(self.image(tree=tree))).stderr.startswith(told))
                words = [tree if word == '{}' else word for word in shlex.split(self.story.command)[1:]]
                self.assertTrue(self.affix(*words, code=1).stderr.startswith(told))

    def test_features_that_do_not_exist_yet(self):
        image = self.image()
        images.debugfs(image, ['feature FEATURE_I30'], write=True)
        self.refused('unsupported-filesystem', *self.command(image))

    def test_journals_that_are_not_empty(self):
        image = self.image()
        images.debugfs(image, ['feature needs_recovery'], write=True)
        done = self.refused('dirty-journal', *self.command(image))
        self.assertIn(f'e2fsck -fy {image}', done.stderr)
        self.refused('dirty-journal', 'image', 'ls', image)
        image = self.image()
        images.debugfs(image, ['ssv state 2'], write=True)
        self.refused('dirty-journal', *self.command(image))

    def test_what_is_no_image(self):
        empty = self.work.fresh('empty.img')
        empty.write_bytes(bytes(1 << 20))
        self.refused('bad-image', *self.command(empty))
        text = self.work.fresh('text.img')
        text.write_text('text\n')
        self.refused('bad-image', *self.command(text))
        missing = self.affix(*self.command(self.work.path / 'none'), code=1)
        self.assertTrue(missing.stderr.startswith('bad-image: '), missing.stderr)
        self.affix(*self.command(self.work.path), code=1)

    def test_images_that_are_cut_off(self):
        image = self.image()
        os.truncate(image, 8 << 20)
        self.refused('bad-image', *self.command(image))

    def test_file_systems_that_call_free_what_they_stand_on(self):
        plain = ['-t', 'ext4', '-b', '4096', '-O', '^metadata_csum,^uninit_bg,^has_journal,^flex_bg']
        journal = ['-t', 'ext4', '-b', '4096', '-O', '^metadata_csum,^uninit_bg']
        data = self.work.fresh('data')
        data.write_bytes(os.urandom(5 << 20))
        bundle = self.work.bundle(self.work.addon('large', '1.0.0'), entries=[data])
        for options, place, count in ((plain, None, 640), (plain, 'super', 1), (journal, 'blocks <8>', 1), (journal, 'blocks <7>', 1),
                                      (journal, 'blocks <2>', 1), (plain, 'Inode bitmap', 1)):
            with self.subTest(place):
                image = self.image(options)
                if place is None:
                    first = 16
                elif place.startswith('blocks'):
                    [blocks] = images.debugfs(image, [place])
                    first = int(blocks.split()[0])
                elif place == 'super':
                    image = self.image(options, size='136M')
                    first = 32768
                else:
                    first = int(re.search(r'Inode bitmap at (\d+)', fixture.run(['dumpe2fs', image]).stdout)[1])
                images.debugfs(image, [f'freeb {first} {count}'], write=True)
                done = self.refused('bad-image', 'image', 'inject', '--trust', self.story.tree / 'etc/affix/trust.d', image, bundle)
                self.assertIn(f"run 'e2fsck -fy {image}' on it first", done.stderr)

    def test_partitions_that_do_not_exist(self):
        path, _ = images.disk(self.image(), self.work.fresh('whole.img'), 'gpt')
        done = self.refused('no-partition', *self.command(path))
        self.assertIn('1, 2', done.stderr)
        self.refused('no-partition', *self.command(f'{path}:3'))
        self.refused('bad-image', *self.command(f'{path}:1'))
        os.truncate(path, 4 << 20)
        self.refused('no-partition', *self.command(f'{path}:2'))

    def test_images_that_somebody_has_locked(self):
        image = self.image()
        holder = subprocess.Popen([sys.executable, '-c', 'import fcntl, struct, sys\n'
                                   f'file = open({str(image)!r}, "r+b")\n'
                                   'fcntl.fcntl(file, 37, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 100, 1, 0))\n'
                                   'print("held", flush=True)\nsys.stdin.read()'],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.assertEqual(holder.stdout.readline(), 'held\n')
        try:
            self.refused('busy', *self.command(image), code=4)
            self.refused('busy', 'image', 'ls', image, code=4)
        finally:
            holder.communicate()
        self.affix(*self.command(image))

    def test_images_that_are_mounted(self):
        image = self.image()
        blocks = self.work.fresh('block')
        (blocks / 'loop7/loop').mkdir(parents=True)
        (blocks / 'loop7/loop/backing_file').write_text(f'{image}\n')
        before = digest(image)
        words = ' '.join(shlex.quote(str(word)) for word in [fixture.AFFIX, *self.command(image)])
        done = fixture.run(['unshare', '-m', 'sh', '-c', f'mount --bind {blocks} /sys/block && {words}'], check=False)
        if 'mount' in done.stderr and 'denied' in done.stderr:
            self.skipTest(done.stderr)
        self.assertEqual((done.returncode, done.stderr.partition(':')[0]), (1, 'mounted'), done.stderr)
        self.assertEqual(digest(image), before)

    def test_foreign_files(self):
        tree = self.story.copy(self.story.tree)
        unit = tree / f'etc/systemd/system/affix-{scenario.ID}.service'
        unit.write_text('mine\n')
        image = self.image(tree=tree)
        done = self.refused('foreign-file', *self.command(image))
        self.assertIn(unit.name, done.stderr)
        unit.unlink()
        shipped = tree / f'usr/lib/systemd/system/affix-{scenario.ID}.service'
        shipped.parent.mkdir(parents=True)
        shipped.write_text('shipped\n')
        self.refused('foreign-file', *self.command(self.image(tree=tree)))

    def test_directories_in_the_place_of_what_is_installed(self):
        tree = self.story.copy(self.story.tree)
        self.story.run(self.story.command, tree)
        for place in f'etc/systemd/system/affix-{scenario.ID}.service', f'etc/affix/addons/{scenario.ID}.json', f'opt/affix/{scenario.ID}/current':
            with self.subTest(place):
                taken = self.story.copy(tree)
                (taken / place).unlink()
                (taken / place).mkdir()
                done = self.refused('foreign-file', *self.command(self.image(tree=taken)))
                self.assertIn(f"'/{place}'", done.stderr)

    def test_too_little_room(self):
        tree = self.story.copy(self.story.tree)
        (tree / 'ballast').write_bytes(os.urandom(1 << 20) * 5)
        self.refused('no-space', *self.command(self.image(['-t', 'ext4', '-b', '1024', '-O', '^has_journal', '-m', '0',
                                                           '-N', '200'], tree=tree, size='5450k')))
        image = self.image(['-t', 'ext4', '-b', '1024', '-N', '64'], size='8M')
        self.refused('no-inodes', *self.command(image))

    def test_keys_that_are_not_trusted(self):
        image = self.image()
        empty = self.work.fresh('trust')
        empty.mkdir()
        words = self.command(image)
        words[words.index('--trust') + 1] = empty
        self.refused('no-trusted-key', *words)
        # The image's own keys do not count.
        self.refused('no-trusted-key', 'image', 'inject', '--trust', '/nonexistent', image, words[-1])

    def test_configurations_that_fit_nothing(self):
        image = self.image()
        config = self.work.fresh('config')
        config.write_text('{"level": -1}')
        bundle = self.work.bundle(self.work.addon('plain', '1.0.0'))
        self.refused('bad-config', 'image', 'inject', '--trust', self.story.tree / 'etc/affix/trust.d', '--config',
                     f'plain={config}', image, bundle)
        self.affix('image', 'inject', '--config', f'other={config}', image, bundle, code=2)

    def test_add_ons_that_are_not_there(self):
        for verb in ('rm-add-on', 'status', 'drift'):
            done = self.refused('not-installed', 'image', verb, self.image(), 'nothing')
            self.assertIn("is not installed in this image; 'affix image status' lists what is", done.stderr)


if __name__ == '__main__':
    unittest.main(verbosity=2)
