#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Disks that are full, stay full, or become full at any moment of an operation, and then have room again.

The disks are small tmpfs, mounted in a mount namespace of this test's own. They become full at each sixth system call
that changes something, or at each AFFIX_TEST_FAULTS-th (1: all).
"""

import importlib.machinery
import importlib.util
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import time
import unittest

import scenario
from scenario import fixture

INSIDE = 'AFFIX_TEST_MOUNTS'
KIB = 1024


def load_strace_fault():
    path = scenario.HERE.parent / 'lib' / 'strace-fault'
    loader = importlib.machinery.SourceFileLoader('strace_fault', str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module


class Disk:
    """A tmpfs; with room for so much."""

    def __init__(self, path, options='size=8m'):
        self.path = pathlib.Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        self.fillers = self.path / '.fill'
        subprocess.run(['mount', '-t', 'tmpfs', '-o', f'mode=755,{options}', 'tmpfs', self.path], check=True)

    def close(self):
        subprocess.run(['umount', self.path], check=True)

    def leave_bytes(self, left):
        self.empty()
        self.fillers.mkdir()
        now = os.statvfs(self.path)
        excess = now.f_bavail * now.f_frsize - left
        with open(self.fillers / 'data', 'wb') as filler:
            if excess > 0:
                os.posix_fallocate(filler.fileno(), 0, excess)

    def leave_inodes(self, left):
        self.empty()
        self.fillers.mkdir()
        for number in range(os.statvfs(self.path).f_favail - left):
            (self.fillers / str(number)).touch()

    def empty(self):
        shutil.rmtree(self.fillers, ignore_errors=True)


class FullDisk(unittest.TestCase):
    def setUp(self):
        self.disks = []
        self.addCleanup(self.unmount)

    def unmount(self):
        while self.disks:
            self.disks.pop().close()

    def mount(self, path, options='size=8m'):
        disk = Disk(path, options)
        self.disks.append(disk)
        return disk

    def on_disk(self, story, options='size=8m'):
        """The story's tree, on a disk of its own."""
        disk = self.mount(story.work.fresh('disk'), options)
        tree = disk.path / 'tree'
        subprocess.run(['cp', '-a', '--sparse=never', '--', story.tree, tree], check=True)
        return disk, tree

    def state(self, story, tree):
        done = story.run(story.check(), tree, check=False)
        return done.stdout.strip() + done.stderr

    def assertRefusedOrDone(self, story, tree, names):
        """Tries it with what room there is. Tells whether it was done."""
        done = story.run(story.command, tree, check=False)
        state = self.state(story, tree)
        if done.returncode == 0:
            self.assertEqual(state, 'new')
            return True
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(done.stderr.split(':')[0], names, done.stderr)
        self.assertEqual(state, 'old', done.stderr)
        return False

    def assertWorksAfterwards(self, story, tree):
        story.run(story.command, tree)
        self.assertEqual(self.state(story, tree), 'new')

    def sweep(self, operation, levels, leave, names, options='size=8m'):
        """With ever more room the operation is refused, refused, …, done."""
        with scenario.Scenario(operation) as story:
            outcomes = []
            for level in levels:
                disk, tree = self.on_disk(story, options)
                getattr(disk, leave)(level)
                outcomes.append(self.assertRefusedOrDone(story, tree, names))
                if not outcomes[-1]:
                    disk.empty()
                    self.assertWorksAfterwards(story, tree)
                self.unmount()
        self.assertFalse(outcomes[0], 'done on a full disk')
        self.assertTrue(outcomes[-1], 'refused with room enough')
        self.assertEqual(outcomes, sorted(outcomes))

    def test_install_without_room_is_refused_and_works_with_room(self):
        self.sweep('install', [KIB * n for n in (0, 4, 16, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048)],
                   'leave_bytes', ['no-space'])

    def test_upgrade_without_room_is_refused_and_works_with_room(self):
        self.sweep('upgrade', [KIB * n for n in (0, 4, 16, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048)],
                   'leave_bytes', ['no-space'])

    def test_install_without_inodes_is_refused_and_works_with_inodes(self):
        self.sweep('install', [*range(0, 40, 4), 48, 64, 128], 'leave_inodes', ['no-space', 'no-inodes'],
                   'size=8m,nr_inodes=600')

    def test_what_gets_rid_of_something_needs_no_room(self):
        for operation in ('uninstall', 'purge', 'hold'):
            for leave, options in (('leave_bytes', 'size=8m'), ('leave_inodes', 'size=8m,nr_inodes=600')):
                with self.subTest(operation, leave=leave), scenario.Scenario(operation) as story:
                    disk, tree = self.on_disk(story, options)
                    getattr(disk, leave)(0)
                    self.assertTrue(self.assertRefusedOrDone(story, tree, ['no-space']))
                    # What they leave is taken by others as soon as they end: the room is kept for the next one.
                    for verb in ('hold',), ('hold', '--release'), ('uninstall',):
                        getattr(disk, leave)(0)
                        story.run(story.recover(), tree)
                        fixture.affix([*verb, 'neighbour', '--root', tree], check=True)
                    self.unmount()

    def test_file_system_that_cannot_reserve_has_that_room_as_well(self):
        with scenario.Scenario('hold') as story:
            reserve = story.tree / 'var/lib/affix/updater/.reserve'
            reserve.unlink()
            strace = ['strace', '-o', '/dev/null', '-e', 'trace=fallocate', '-e', 'inject=fallocate:error=EOPNOTSUPP']
            fixture.run([*strace, fixture.AFFIX, 'hold', 'neighbour', '--root', story.tree])
            self.assertGreaterEqual(reserve.stat().st_blocks * 512, 64 * KIB)

    def test_files_that_the_disk_lost_are_not_committed(self):
        """It says so once: what is synced again has not been written again."""
        with scenario.Scenario('upgrade') as story:
            for ordinal, code in ((1, 1), (2, 3)):
                with self.subTest(ordinal):
                    tree = story.copy(story.tree)
                    command = [word.replace('{}', str(tree)) for word in shlex.split(story.command)]
                    strace = ['strace', '-o', '/dev/null', '-e', 'trace=syncfs', '-e', f'inject=syncfs:error=ENOSPC:when={ordinal}']
                    done = fixture.run([*strace, *command], check=False)
                    self.assertEqual(done.returncode, code, done.stderr)
                    self.assertEqual(self.state(story, tree), 'old')

    def test_what_is_new_leaves_that_room_alone(self):
        with scenario.Scenario('configure') as story:
            disk, tree = self.on_disk(story)
            disk.leave_bytes(0)
            self.assertFalse(self.assertRefusedOrDone(story, tree, ['no-space']))
            fixture.affix(['uninstall', scenario.ID, '--root', tree], check=True)
            self.unmount()

    def test_each_full_file_system_is_noticed_before_anything_is_changed(self):
        for place in ('opt', 'etc', 'var/lib'):
            with self.subTest(place), scenario.Scenario('install') as story:
                disk = self.mount(story.work.fresh('disk'))
                subprocess.run(['cp', '-a', '--', f'{story.tree / place}/.', disk.path], check=True)
                subprocess.run(['mount', '--bind', disk.path, story.tree / place], check=True)
                try:
                    # Outside of what is listed.
                    disk.fillers = disk.path / 'affix' / '.fill' if place == 'var/lib' else disk.fillers
                    disk.leave_bytes(64 * KIB)
                    done = story.run(story.command, story.tree, check=False)
                    disk.empty()
                    self.assertEqual(done.returncode, 1, done.stderr)
                    self.assertEqual(done.stderr.split(':')[0], 'no-space')
                    self.assertEqual(self.state(story, story.tree), 'old')
                    self.assertWorksAfterwards(story, story.tree)
                finally:
                    subprocess.run(['umount', story.tree / place], check=True)
                self.unmount()

    def test_disk_that_becomes_full_at_any_moment_leaves_old_or_new(self):
        for operation in ('install', 'upgrade', 'rebuild', 'configure', 'uninstall'):
            with self.subTest(operation), scenario.Scenario(operation) as story:
                points = self.points(story)
                tried = points[:: int(os.environ.get('AFFIX_TEST_FAULTS', '6'))]
                outcomes = [self.fill_at(story, point) for point in tried]
                print(f'{operation}: {len(tried)} of {len(points)} moments tried, {outcomes.count("new")} left new')

    def points(self, story):
        tree = story.copy(story.tree)
        trace = story.work.fresh('trace')
        command = [word.replace('{}', str(tree)) for word in shlex.split(story.command)]
        fixture.run(['strace', '-f', '-y', '-s', '64', '-qq', '-e', 'signal=none', '-o', trace, *command])
        with open(trace, errors='replace') as lines:
            return load_strace_fault().points_of(lines)[0]

    def fill_at(self, story, point):
        """Stops the command at a call, fills the disk, lets it go on; then recovers with and without room."""
        disk, tree = self.on_disk(story)
        command = [word.replace('{}', str(tree)) for word in shlex.split(story.command)]
        trace = story.work.fresh('trace')
        inject = f'inject={point.call}:signal=STOP:when={point.ordinal}'
        process = subprocess.Popen(
            ['strace', '-o', trace, '-s', '0', '-e', f'trace={point.call}', '-e', inject, *command],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        stopped = self.stopped_child(process, trace)
        self.assertIsNotNone(stopped, f'{point.text} was not reached')
        disk.leave_bytes(0)
        os.kill(stopped, signal.SIGCONT)
        error = process.communicate(timeout=60)[1]
        code, what = process.returncode, f'{point.text}: {error}'
        if code in (0, 1):
            # The file that fills the disk lies beside the tree.
            self.assertEqual(self.state(story, tree), {0: 'new', 1: 'old'}[code], what)
        else:
            self.assertEqual(code, 3, what)
        story.run(story.recover(), tree, check=False)
        disk.empty()
        story.run(story.recover(), tree)
        state = self.state(story, tree)
        self.assertIn(state, ('new',) if code == 0 else ('old',), what)
        if state == 'old':
            self.assertWorksAfterwards(story, tree)
        self.unmount()
        return state

    def stopped_child(self, process, trace):
        """The command under strace, once it has stopped; None if it ends before."""
        children = pathlib.Path(f'/proc/{process.pid}/task/{process.pid}/children')
        for _ in range(6000):
            if process.poll() is not None:
                return None
            if trace.exists() and 'stopped by SIGSTOP' in trace.read_text():
                return int(children.read_text().split()[0])
            time.sleep(0.005)
        self.fail('the command neither stopped nor ended')


def main():
    if os.getuid() != 0:
        print('SKIP: mounting needs root')
        return 77
    if INSIDE not in os.environ:
        inside = subprocess.run(['unshare', '--mount', '--propagation', 'private', 'true'], check=False)
        if inside.returncode != 0:
            print('SKIP: this machine gives no mount namespace')
            return 77
        environment = {**os.environ, INSIDE: '1'}
        return subprocess.run(['unshare', '--mount', '--propagation', 'private', *sys.argv], env=environment, check=False).returncode
    unittest.main()
    return 0


sys.exit(main())
