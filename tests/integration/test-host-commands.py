#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The commands for hosts as the one at the terminal meets them: what is printed where, what exit codes say. On trees
that are not running, and against an updater that is not there; what add-ons then do is tests/e2e's business."""

import contextlib
import fcntl
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

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / 'e2e'))

import fixture  # noqa: E402

RESULT = {'schema', 'outcome', 'name', 'message', 'request_id', 'verb', 'id', 'version', 'plan', 'time', 'log', 'data'}
NOBODY = 65534
MANUAL = fixture.TOP / 'man' / 'affix.1.scd'

# Members of the answers, by the path to the objects that have them: another program relies on these. Schema 1 may get more.
MEMBERS = {
    'status': {
        'addons': {'id', 'version', 'installed', 'state', 'reason', 'units', 'origin', 'held', 'hold_reason', 'current', 'previous', 'older',
                   'quarantine', 'floor', 'bound_key', 'transaction', 'last_result'},
        'addons.current': {'version', 'arch', 'created', 'key', 'bundle', 'plan'},
        'addons.previous': {'version', 'arch', 'created', 'key', 'bundle', 'plan'},
        'addons.floor': {'epoch', 'version', 'created'},
        'addons.last_result': RESULT,
    },
    'drift': {
        'addons': {'id', 'version', 'held', 'drifted', 'items'},
        'addons.items': {'kind', 'path', 'wanted', 'found'},
    },
    'plan': {
        'plan': {'schema', 'addon', 'user', 'capabilities', 'file_capabilities', 'binary', 'health', 'limits', 'state_dirs', 'objects', 'units'},
        'plan.addon': {'id', 'version', 'os', 'arch', 'created', 'epoch', 'bundle', 'key', 'supervision'},
        'plan.health': {'window_seconds', 'max_restarts', 'run_once'},
        'plan.limits': {'tasks_max'},
        'plan.objects': {'path', 'type', 'mode', 'owner', 'group', 'shared', 'content', 'entry', 'size', 'digest', 'target'},
        'plan.units': {'name', 'type', 'primary'},
    },
}


def members(data, path):
    """The names of all members of all objects that a path of members leads to."""
    found = [data]
    for step in path.split('.'):
        found = [item for one in found for item in (one[step] if isinstance(one[step], list) else [one[step]])]
    return set().union(*found)


@unittest.skipIf(os.getuid() != 0, 'owners of a tree can only be set by root')
class Trees(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = fixture.Workshop()
        cls.addClassCleanup(cls.work.close)
        cls.one = cls.work.bundle(cls.work.addon('probe', '1.0.0'))
        cls.two = cls.work.bundle(cls.work.addon('probe', '1.1.0'))

    def setUp(self):
        self.tree = self.work.tree()

    def affix(self, *words):
        return fixture.affix([*words, '--root', self.tree])

    def result(self, *words):
        done = self.affix(*words, '--json')
        self.assertNotEqual(done.stdout, '', done.stderr)
        return json.loads(done.stdout)

    def assertFails(self, done, code, name, *parts):
        self.assertEqual((done.returncode, done.stdout), (code, ''), done.stderr)
        self.assertRegex(done.stderr, rf'\A{name}: [^\n]+\n\Z')
        for part in parts:
            self.assertIn(part, done.stderr)

    def test_an_add_ons_life_in_words(self):
        self.assertEqual(self.affix('status').stdout, 'no add-on is installed\n')
        self.assertIn("'probe' 1.0.0", self.affix('install', self.one).stdout)
        self.affix('install', self.two)
        table = self.affix('status').stdout.splitlines()
        self.assertEqual(table[0].split(), ['ADD-ON', 'VERSION', 'STATE', 'ORIGIN', 'REASON'])
        self.assertEqual(table[1].split(), ['probe', '1.1.0', 'installed', 'local', '-'])
        self.assertIn('1.0.0', self.affix('status', 'probe').stdout)
        self.assertEqual(self.affix('drift').stdout, 'probe 1.1.0: as installed\n')
        self.assertEqual(self.affix('rollback', 'probe').returncode, 0)
        self.assertIn('1.0.0', self.affix('status').stdout)
        self.assertEqual(self.affix('hold', 'probe', '--reason', 'look').returncode, 0)
        self.assertIn('look', self.affix('status', 'probe').stdout)
        for command in (['hold', 'probe', '--release'], ['clear-quarantine', 'probe'], ['prune', 'probe'],
                        ['uninstall', 'probe', '--purge']):
            done = self.affix(*command)
            self.assertEqual((done.returncode, done.stderr), (0, ''), command)
        for verb in 'status', 'drift', 'repair', 'uninstall':
            self.assertFails(self.affix(verb, 'nothing'), 1, 'not-installed', "'nothing' is not installed in this tree; 'affix status' lists")

    def test_a_bundle_that_is_installed_and_damaged_is_said_to_be(self):
        self.affix('install', self.one)
        whole = self.affix('install', self.one).stdout
        self.assertTrue(whole.endswith('installed already, nothing changed\n'), whole)
        (self.tree / 'opt/affix/probe/versions/1.0.0/probe').unlink()
        done = self.affix('install', self.one)
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.assertTrue(done.stdout.endswith("; it is not as it was installed, 'affix drift probe' says where\n"), done.stdout)

    def test_links_that_lead_to_themselves_are_damage_like_any_other(self):
        other = self.work.bundle(self.work.addon('another', '1.0.0'))
        for loop in 'opt/affix/probe/versions/1.0.0', 'opt/affix/probe/versions', 'opt/affix/probe', 'etc/systemd/system/affix-probe.service.d':
            with self.subTest(loop):
                self.tree = self.work.tree()
                self.affix('install', self.one)
                self.affix('install', other)
                path = self.tree / loop
                shutil.rmtree(path)
                path.symlink_to(path.name)
                done = self.affix('install', self.one)
                self.assertEqual((done.returncode, done.stderr), (0, ''))
                self.assertTrue(done.stdout.endswith("; it is not as it was installed, 'affix drift probe' says where\n"), done.stdout)
                self.assertRegex(self.affix('drift').stdout, r"\Aanother 1.0.0: as installed\nprobe 1.0.0: not as installed\n(.*\n)*  missing ")
                done = self.affix('repair', 'probe')
                self.assertFails(done, 1, 'needs-bundle' if loop.endswith('1.0.0') else 'foreign-file')
                if loop.endswith('1.0.0'):
                    self.assertEqual(self.affix('repair', 'probe', '--bundle', self.one).returncode, 0)
                    self.assertEqual(self.affix('drift', 'probe').stdout, 'probe 1.0.0: as installed\n')
                self.assertEqual(self.affix('uninstall', 'probe').returncode, 0)

    def test_what_is_installed_is_said_to_be_though_it_cannot_be_looked_at(self):
        self.affix('install', self.one)
        (self.tree / 'etc/systemd/system/service.d').symlink_to('n' * 300)
        done = self.affix('install', self.one)
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.assertTrue(done.stdout.endswith('nothing changed; whether it is as it was installed cannot be seen: File name too long\n'), done.stdout)

    def test_an_add_on_that_cannot_be_looked_at_is_said_to_be_and_the_others_are_compared(self):
        for name in 'another', 'probe', 'zeta':
            self.affix('install', self.work.bundle(self.work.addon(name, '1.0.0')))
        place = self.tree / 'etc/systemd/system/affix-probe.service.d'
        place.rename(place.with_name('kept'))
        place.symlink_to('n' * 300)
        done = self.affix('drift')
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.assertIn('another 1.0.0: as installed\nprobe 1.0.0: cannot be looked at\n', done.stdout)
        self.assertTrue(done.stdout.endswith('zeta 1.0.0: as installed\n'), done.stdout)
        probe = self.result('drift')['data']['addons'][1]
        self.assertEqual((probe['drifted'], probe['items']),
                         (None, [{'kind': 'unseen', 'path': '/opt/affix/probe', 'wanted': None, 'found': 'File name too long'}]))
        self.assertFails(self.affix('drift', 'probe'), 1, 'error', 'File name too long')

    def test_what_the_machine_lacks_for_a_moment_is_the_end_of_a_comparison_and_not_drift(self):
        self.affix('install', self.one)
        if not shutil.which('strace'):
            self.skipTest('strace is not installed')
        read = self.tree / 'opt/affix/probe/versions/1.0.0/probe'
        for error, text in ('EMFILE', 'Too many open files'), ('ENFILE', 'Too many open files in system'), ('ENOMEM', 'Cannot allocate memory'):
            broken = ['strace', '-f', '-qq', '-o', '/dev/null', '-P', read, '-e', f'inject=read,pread64:error={error}', fixture.AFFIX]
            self.assertFails(fixture.run([*broken, 'drift', '--root', self.tree], check=False), 1, 'error', text)

    def test_what_is_held_and_stopped_is_as_it_should_be_without_its_links(self):
        self.affix('install', self.one)
        self.affix('hold', 'probe', '--stop')
        for words in ['repair', 'probe'], ['install', self.one]:
            self.assertTrue(self.affix(*words).stdout.endswith(', nothing changed\n'), words)

    def test_a_directory_in_place_of_an_enablement_bars_the_release_by_its_name(self):
        link = self.tree / 'etc/systemd/system/multi-user.target.wants/affix-probe.service'
        self.affix('install', self.one)
        self.affix('hold', 'probe', '--stop')
        link.mkdir()
        done = self.affix('hold', 'probe', '--release')
        self.assertFails(done, 1, 'foreign-file', f"'/{link.relative_to(self.tree)}'", 'move it away or remove it')
        self.assertTrue(self.result('status', 'probe')['data']['addons'][0]['held'])
        link.rmdir()
        self.assertEqual(self.affix('hold', 'probe', '--release').returncode, 0)
        self.assertTrue(link.is_symlink())

    def test_nothing_is_held_where_nothing_is_installed(self):
        self.affix('install', self.one)
        self.affix('hold', 'probe', '--stop', '--reason', 'look')
        self.affix('uninstall', 'probe')
        addon, = self.result('status')['data']['addons']
        self.assertEqual((addon['held'], addon['hold_reason']), (False, None))

    def test_every_command_answers_json_with_all_members(self):
        for words in (['plan', self.one], ['install', self.one], ['status'], ['drift'], ['repair', 'probe'],
                      ['configure', 'probe', '--reread'], ['rollback', 'probe'], ['hold', 'probe'], ['prune', 'probe'],
                      ['clear-quarantine', 'probe'], ['uninstall', 'probe'], ['rollback', 'probe']):
            with self.subTest(words[0]):
                result = self.result(*words)
                self.assertEqual(set(result), RESULT)
                self.assertEqual((result['schema'], result['verb']), (1, words[0]))

    def test_the_members_of_status_drift_and_plan_are_those_that_the_manual_names(self):
        for bundle in self.one, self.two:
            self.affix('install', bundle, '--limit', 'tasks_max=7')
        (self.tree / 'etc/systemd/system/affix-probe.service').write_text('another')
        manual = MANUAL.read_text()
        manual = manual[manual.index('## Commands for hosts, and plan'):]
        manual = manual[:manual.index('# EXIT STATUS')]
        for words in ['status'], ['drift'], ['plan', self.one, '--limit', 'tasks_max=7']:
            data = self.result(*words)['data']
            for path, wanted in MEMBERS[words[0]].items():
                with self.subTest(f'{words[0]} {path}'):
                    self.assertEqual(members(data, path), wanted)
                    self.assertEqual([name for name in sorted(wanted) if not re.search(rf'\b{name}\b', manual)], [])

    def test_a_plan_names_every_object_and_makes_none(self):
        before = sorted(self.tree.rglob('*'))
        lines = self.affix('plan', self.one).stdout.splitlines()
        self.assertIn('0755 root:root file /opt/affix/probe/versions/1.0.0/probe', lines)
        self.assertIn('0777 root:root link /opt/affix/probe/current -> versions/1.0.0', lines)
        self.assertEqual(sorted(self.tree.rglob('*')), before)

    def test_a_binary_with_file_capabilities_belongs_to_the_group_that_is_made_with_it(self):
        addon = self.work.addon('fcap', '1.0.0')
        addon.manifest['requires']['os_capabilities'] = ['cap_net_raw']
        addon.manifest['exec']['file_capabilities'] = True
        done = self.affix('install', self.work.bundle(addon))
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        status = (self.tree / 'opt/affix/fcap/versions/1.0.0/fcap').stat()
        group = re.search(r'^affix-fcap:x:(\d+):', (self.tree / 'etc/group').read_text(), re.MULTILINE)
        self.assertEqual((status.st_mode & 0o7777, status.st_uid, status.st_gid), (0o750, 0, int(group[1])))
        self.assertEqual(self.affix('drift').stdout, 'fcap 1.0.0: as installed\n')

    def break_policy(self):
        policy = self.tree / 'etc/affix/updater.yaml'
        policy.write_text('keep_versions: 2\nprotected: yes please\n')
        policy.chmod(0o644)

    def test_a_mistake_in_the_policy_bars_only_what_asks_it(self):
        for bundle in (self.one, self.two):
            self.affix('install', bundle)
        self.break_policy()
        for words in (['install', self.two], ['plan', self.two], ['configure', 'probe', '--reread']):
            self.assertFails(self.affix(*words), 1, 'bad-host-policy', 'updater.yaml:2:12: ')
        for words in (['status'], ['drift'], ['repair', 'probe'], ['rollback', 'probe'], ['hold', 'probe'], ['hold', 'probe', '--release'],
                      ['clear-quarantine', 'probe'], ['prune', 'probe'], ['uninstall', 'probe']):
            done = self.affix(*words)
            self.assertEqual((done.returncode, done.stderr), (0, ''), words)

    @unittest.skipUnless(shutil.which('strace'), 'strace is not installed')
    def test_a_mistake_in_the_policy_does_not_bar_recovery(self):
        record = self.tree / 'var/lib/affix/updater/probe.json'
        self.affix('install', self.one)
        for end in ([fixture.UPDATER, '--recover'], [fixture.AFFIX, 'rollback', 'probe']):
            (self.tree / 'etc/affix/updater.yaml').unlink(missing_ok=True)
            fixture.run(['strace', '-f', '-o', '/dev/null', '-e', 'trace=renameat', '-e', 'inject=renameat:signal=KILL:when=4',
                         fixture.AFFIX, 'install', self.two, '--root', self.tree], check=False)
            self.assertIsNotNone(json.loads(record.read_text())['transaction'])
            self.break_policy()
            fixture.run([*end, '--root', self.tree], check=end[0] == fixture.UPDATER)
            self.assertIsNone(json.loads(record.read_text())['transaction'])
            self.assertEqual(os.readlink(self.tree / 'opt/affix/probe/current'), 'versions/1.0.0')

    def test_drift_shows_what_is_wanted_and_what_was_found(self):
        self.affix('install', self.one)
        binary = self.tree / 'opt/affix/probe/versions/1.0.0/probe'
        binary.chmod(0o777)
        (self.tree / 'opt/affix/probe/current').unlink()
        text = self.affix('drift').stdout
        self.assertTrue(text.startswith('probe 1.0.0: not as installed\n'), text)
        self.assertRegex(text, r'mode +/opt/affix/probe/versions/1.0.0/probe +0755 +0777')
        self.assertRegex(text, r'missing +/opt/affix/probe/current')
        self.assertEqual(self.affix('repair', 'probe').returncode, 0)
        self.assertEqual(self.affix('drift').stdout, 'probe 1.0.0: as installed\n')

    def test_recovery_says_what_is_wrong_with_a_record(self):
        self.affix('install', self.one)
        (self.tree / 'var/lib/affix/updater/probe.json').write_text('{')
        done = fixture.run([fixture.UPDATER, '--recover', '--root', self.tree], check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"\Aaffix-updater: the record '/var/lib/affix/updater/probe.json' cannot be used .*, and install 'probe' again\n\Z")

    def test_drift_lists_a_damaged_record_and_goes_on(self):
        self.affix('install', self.one)
        self.affix('install', self.work.bundle(self.work.addon('other', '1.0.0')))
        (self.tree / 'var/lib/affix/updater/other.json').write_text('{')
        other, probe = self.result('drift')['data']['addons']
        self.assertEqual((other['id'], other['version'], other['drifted']), ('other', None, True))
        self.assertEqual([(item['kind'], item['path']) for item in other['items']], [('bad-record', '/var/lib/affix/updater/other.json')])
        self.assertEqual((probe['id'], probe['drifted']), ('probe', False))
        self.assertEqual(len(self.result('drift', 'other')['data']['addons']), 1)
        self.assertIn('bad-record', self.affix('drift').stdout)

    def test_drop_ins_for_the_type_and_for_beginnings_of_the_name_are_shown_before_and_after(self):
        places = [f'etc/systemd/system/{name}.d/10-mine.conf' for name in
                  ('affix-.service', 'affix-probe.service', 'service')] + ['run/systemd/system/service.d/20-mine.conf']
        others = [f'etc/systemd/system/{name}.d/10-mine.conf' for name in ('affix.service', 'timer', 'affix-pro.service', '.service')]
        for place in places + others:
            (self.tree / place).parent.mkdir(parents=True)
            (self.tree / place).write_text('[Service]\nNice=1\n')
        places = [f'/{place}' for place in places]
        self.assertEqual(self.result('plan', self.one)['data']['overrides'], places)
        text = self.affix('plan', self.one).stdout
        self.assertIn('/etc/systemd/system/service.d/10-mine.conf', text)
        self.assertEqual(self.affix('install', self.one).returncode, 0)
        addon = self.result('drift', 'probe')['data']['addons'][0]
        self.assertEqual([(item['kind'], item['path']) for item in addon['items']], [('local-override', place) for place in places])
        self.assertFalse(addon['drifted'])

    def test_damaged_bytes_are_repaired_from_the_bundle(self):
        self.affix('install', self.one)
        (self.tree / 'opt/affix/probe/versions/1.0.0/probe').write_text('x')
        self.assertFails(self.affix('repair', 'probe'), 1, 'needs-bundle', '--bundle')
        self.assertFails(self.affix('repair', 'probe', '--bundle', self.two), 1, 'needs-bundle')
        self.assertEqual(self.affix('repair', 'probe', '--bundle', self.one).returncode, 0)
        self.assertEqual(self.affix('drift').stdout, 'probe 1.0.0: as installed\n')

    def lose(self, version, how):
        directory = self.tree / f'opt/affix/probe/versions/{version}'
        if how == 'all':
            shutil.rmtree(directory)
        elif how == 'a file':
            (directory / 'probe').unlink()
        elif how == 'a file, for a link':
            (directory / 'probe').unlink()
            (directory / 'probe').symlink_to('/nowhere')
        else:
            (directory / 'probe').write_text('x')

    LOSSES = ('all', 'a file', 'a file, for a link', 'bytes')

    def test_an_upgrade_from_a_version_whose_files_are_lost_promises_no_way_back(self):
        for how in self.LOSSES:
            with self.subTest(how):
                self.tree = self.work.tree()
                self.affix('install', self.one)
                self.lose('1.0.0', how)
                result = self.result('install', self.two)
                self.assertEqual(result['outcome'], 'done', result)
                self.assertIn('no way back to 1.0.0', result['message'])
                self.assertIsNone(self.result('status', 'probe')['data']['addons'][0]['previous'])
                self.assertFails(self.affix('rollback', 'probe'), 1, 'no-previous', 'were lost')
                self.assertEqual(self.affix('drift').stdout, 'probe 1.1.0: as installed\n')

    @unittest.skipUnless(shutil.which('strace'), 'strace is not installed')
    def test_an_interrupted_upgrade_ends_where_the_old_files_are_lost(self):
        again = self.work.addon('probe', '1.0.0')
        again.extra = {'note': 'rebuilt'}
        rebuilt = self.work.bundle(again)
        for new in (self.two, rebuilt):
            for how in self.LOSSES:
                for number in (4, 12, 14, 18):
                    with self.subTest(how, number=number, new=new.name):
                        self.tree = self.work.tree()
                        self.affix('install', self.one)
                        self.lose('1.0.0', how)
                        fixture.run(['strace', '-f', '-o', '/dev/null', '-e', 'trace=renameat,renameat2', '-e',
                                     f'inject=renameat,renameat2:signal=KILL:when={number}', fixture.AFFIX, 'install', new, '--root', self.tree],
                                    check=False)
                        fixture.run([fixture.UPDATER, '--recover', '--root', self.tree])
                        status = self.result('status', 'probe')['data']['addons'][0]
                        self.assertIsNone(status['transaction'])
                        self.assertFalse((self.tree / 'opt/affix/probe/versions/1.0.0/note').exists() and status['last_result']['outcome'] != 'done')
                        self.assertEqual(self.affix('install', new).returncode, 0)

    @unittest.skipUnless(shutil.which('strace'), 'strace is not installed')
    def test_what_failed_is_told_in_one_sentence_without_gaps(self):
        for words, said in ((['install', self.two], "install of 'probe' 1.1.0 failed: "), (['uninstall', 'probe'], "uninstall of 'probe' failed: ")):
            with self.subTest(words[0]):
                self.tree = self.work.tree()
                self.affix('install', self.one)
                # The rename or removal at which the files are already being changed.
                fixture.run(['strace', '-f', '-o', '/dev/null', '-e', 'trace=unlinkat,renameat', '-e', 'inject=unlinkat,renameat:signal=KILL:when=6',
                             fixture.AFFIX, *words, '--root', self.tree], check=False)
                fixture.run([fixture.UPDATER, '--recover', '--root', self.tree])
                last = self.result('status', 'probe')['data']['addons'][0]['last_result']
                self.assertEqual((last['outcome'], last['message'][:len(said)]), ('interrupted', said))

    def test_downgrade_rollback_to_a_version_and_purge_are_options(self):
        self.affix('install', self.two)
        self.assertFails(self.affix('install', self.one), 1, 'downgrade', '--allow-downgrade')
        self.assertEqual(self.affix('install', self.one, '--allow-downgrade').returncode, 0)
        self.assertFails(self.affix('rollback', 'probe', '--to', '9.9.9'), 1, 'no-previous', '9.9.9')
        self.assertEqual(self.affix('rollback', 'probe', '--to', '1.1.0').returncode, 0)

    def test_what_was_rolled_back_to_can_be_granted_less(self):
        drop_in = self.tree / 'etc/systemd/system/affix-probe.service.d/50-affix.conf'
        self.affix('install', self.one)
        self.affix('install', self.two)
        self.affix('rollback', 'probe')
        self.assertEqual(self.affix('install', self.one, '--limit', 'tasks_max=3').returncode, 0)
        self.assertIn('TasksMax=3\n', drop_in.read_text())
        self.assertEqual(self.history(), ['1.0.0', '1.1.0'])
        # Any other that is older than what was installed is none that runs.
        self.assertFails(self.affix('install', self.work.bundle(self.work.addon('probe', '1.0.5'))), 1, 'downgrade')

    def test_a_rollback_has_the_administrators_keys_of_today(self):
        own = self.tree / 'etc/affix/addons.d/probe.json'
        own.parent.mkdir()
        merged = lambda: json.loads((self.tree / 'etc/affix/addons/probe.json').read_text())
        own.write_text('{"secret": "old", "level": 1}')
        for bundle in self.one, self.two:
            self.assertEqual(self.affix('install', bundle).returncode, 0)
        own.write_text('{"level": 2}')
        self.assertEqual(self.affix('rollback', 'probe').returncode, 0)
        self.assertEqual(merged(), {'level': 2})
        self.assertFalse(self.result('drift')['data']['addons'][0]['drifted'])
        # What the version does not take does not bar the way back.
        own.write_text('{"level": -1}')
        self.assertEqual(self.affix('rollback', 'probe', '--to', '1.1.0').returncode, 0)
        self.assertEqual(merged(), {'secret': 'old', 'level': 1})

    def test_a_rollback_has_the_fleets_own_values_where_the_administrators_are_gone(self):
        own = self.tree / 'etc/affix/addons.d/probe.json'
        own.parent.mkdir()
        config = self.work.fresh('config.json')
        merged = lambda: json.loads((self.tree / 'etc/affix/addons/probe.json').read_text())
        own.write_text('{"level": 1}')
        config.write_text('{"level": 7}')
        self.assertEqual(self.affix('install', self.one, '--config', config).returncode, 0)
        config.write_text('{"level": 8}')
        self.assertEqual(self.affix('install', self.two, '--config', config).returncode, 0)
        self.assertEqual(merged(), {'level': 1})
        own.unlink()
        self.assertEqual(self.affix('rollback', 'probe').returncode, 0)
        self.assertEqual(merged(), {'level': 7})
        self.assertEqual(self.affix('rollback', 'probe', '--to', '1.1.0').returncode, 0)
        self.assertEqual(merged(), {'level': 8})
        # An upgrade keeps what the fleet said for what runs.
        self.assertEqual(self.affix('rollback', 'probe').returncode, 0)
        self.assertEqual(self.affix('install', self.work.bundle(self.work.addon('probe', '1.2.0'))).returncode, 0)
        self.assertEqual(merged(), {'level': 7})

    def test_a_record_that_has_no_room_for_old_configurations_forgets_the_oldest(self):
        own = self.tree / 'etc/affix/addons.d/probe.json'
        own.parent.mkdir()
        own.write_text('{"level": 1}')
        (self.tree / 'etc/affix/updater.yaml').write_text('keep_versions: 9\n')
        config = self.work.fresh('config.json')
        for number in range(10):
            addon = self.work.addon('probe', f'1.{number}.0')
            addon.schema['properties']['secret'] = {'type': 'string'}
            # Each is twice as long in a text in the record.
            config.write_text(json.dumps({'secret': str(number) + '\\' * 125000}))
            self.assertEqual(self.affix('install', self.work.bundle(addon), '--config', config).returncode, 0)
        record = json.loads((self.tree / 'var/lib/affix/updater/probe.json').read_text())
        kept = [json.loads(text)['secret'][:2].strip('\\') for text in record['configs'].values()]
        self.assertEqual(kept, [str(number) for number in range(9 - len(kept), 9)])
        self.assertIn(len(kept), range(1, 9))
        own.unlink()
        self.assertEqual(self.affix('rollback', 'probe').returncode, 0)

    def test_a_masked_unit_stays_off_until_the_administrator_says_otherwise(self):
        self.affix('install', self.one)
        unit = self.tree / 'etc/systemd/system/affix-probe.service'
        control = self.tree / 'etc/systemd/system.control/affix-probe.service'
        early = self.tree / 'run/systemd/generator.early/affix-probe.service'
        for mask, target in (unit, '/dev/null'), (unit, '../../.././dev/null'), (early, '/dev/null'), (control, '/dev/null'):
            mask.parent.mkdir(parents=True, exist_ok=True)
            mask.unlink(missing_ok=True)
            mask.symlink_to(target)
            path = f'/{mask.relative_to(self.tree)}'
            addon = self.result('drift', 'probe')['data']['addons'][0]
            self.assertEqual(([(item['kind'], item['path']) for item in addon['items']], addon['drifted']), ([('masked', path)], True))
            self.assertFails(self.affix('install', self.two), 1, 'held', path, 'affix repair probe')
            self.assertEqual(os.readlink(mask), target)
            if mask == unit:
                self.assertEqual(self.affix('repair', 'probe').returncode, 0)
                continue
            # What is not in the place of a file of its own is not its to remove.
            self.assertFails(self.affix('repair', 'probe'), 1, 'held', path)
            mask.unlink()
        self.assertEqual(self.affix('install', self.two).returncode, 0)
        unit.unlink()
        unit.symlink_to('/dev/null')
        self.assertFails(self.affix('rollback', 'probe'), 1, 'held', path.replace('.control', ''))
        # One under another name is a mask as well, if it is the version's that runs.
        other = self.work.addon('probe', '1.2.0')
        other.units['affix-probe_other.service'] = other.units.pop('affix-probe.service')
        self.assertFails(self.affix('install', self.work.bundle(other)), 1, 'held')
        # It outlives the add-on.
        self.assertEqual(self.affix('uninstall', 'probe').returncode, 0)
        self.assertEqual(os.readlink(unit), '/dev/null')
        self.assertFails(self.affix('install', self.two), 1, 'foreign-file', '/etc/systemd/system/affix-probe.service')

    def test_a_mask_that_is_set_while_the_switch_is_waited_for_stays(self):
        unit = self.tree / 'etc/systemd/system/affix-probe.service'
        self.affix('install', self.one)
        for words in ['install', self.two], ['configure', 'probe', '--reread']:
            with self.subTest(words):
                (self.tree / 'etc/affix/addons.d').mkdir(exist_ok=True)
                (self.tree / 'etc/affix/addons.d/probe.json').write_text('{"level": 7}')
                with self.waiting(*words) as done:
                    unit.unlink()
                    unit.symlink_to('/dev/null')
                self.assertFails(done[0], 3, 'held', '/etc/systemd/system/affix-probe.service', '1.0.0 is back')
                self.assertEqual(os.readlink(unit), '/dev/null')
                self.assertEqual(self.affix('repair', 'probe').returncode, 0)
                self.assertEqual(self.affix('drift').stdout, 'probe 1.0.0: as installed\n')

    def test_the_accounts_of_a_tree_are_not_locked_while_the_bundle_is_copied(self):
        with self.waiting('install', self.one, lock='etc/.pwd.lock') as done:
            staged, = (self.tree / 'opt/affix/probe/versions').glob('.1.0.0~*')
            self.assertIn('probe', os.listdir(staged))
        self.assertEqual((done[0].returncode, done[0].stderr), (0, ''))
        self.assertIn('affix-probe:', (self.tree / 'etc/passwd').read_text())

    @unittest.skipUnless(shutil.which('strace'), 'strace is not installed')
    def test_nothing_lies_beside_the_accounts_after_a_kill_once_the_tree_boots_or_recovers(self):
        boot = ['systemd-tmpfiles', '--boot', '--remove', '--prefix=/etc', fixture.TOP / 'tmpfiles.d/affix.conf']
        for command in boot, [fixture.UPDATER, '--recover']:
            with self.subTest(command):
                tree = self.work.tree()
                for name in 'shadow', 'gshadow':
                    (tree / 'etc' / name).touch()
                fixture.run(['strace', '-f', '-o', '/dev/null', '-e', 'trace=syncfs', '-e', 'inject=syncfs:signal=KILL:when=2',
                             fixture.AFFIX, 'install', self.one, '--root', tree], check=False)
                self.assertEqual(len(list((tree / 'etc').glob('.*.affix-new'))), 4)
                fixture.run([*command, '--root', tree])
                self.assertEqual(list((tree / 'etc').glob('.*.affix-new')), [])

    PLACES = ('etc/systemd/system/affix-probe.service', 'etc/systemd/system/multi-user.target.wants/affix-probe.service',
              'etc/affix/addons/probe.json', 'opt/affix/probe/current')

    def put_directory(self, place, leaf='mine'):
        """Something of somebody else's, where affix has a file or a link."""
        path = self.tree / place
        path.unlink(missing_ok=True)
        (path / leaf).mkdir(parents=True)
        return path

    @contextlib.contextmanager
    def waiting(self, *words, lock='var/lib/affix/updater/locks/.switch'):
        """A request that got as far as the lock (around the switch), and goes on at the end; [its end]."""
        done = []
        with open(self.tree / lock, 'a+b') as file:
            fcntl.fcntl(file, 37, struct.pack('hhqqi4x', fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))  # F_OFD_SETLK
            running = subprocess.Popen([fixture.AFFIX, *words, '--root', self.tree], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            wait = pathlib.Path(f'/proc/{running.pid}/syscall')
            until = time.monotonic() + 20
            # Of all calls it makes only this one waits: fcntl() with F_OFD_SETLKW.
            while not re.match(r'\d+ 0x\w+ 0x26 ', wait.read_text()):
                self.assertLess(time.monotonic(), until)
                time.sleep(0.01)
            yield done
        stdout, stderr = running.communicate()
        done.append(subprocess.CompletedProcess(running.args, running.returncode, stdout, stderr))

    def test_a_directory_in_the_place_of_a_file_is_refused_and_kept(self):
        for place in self.PLACES:
            with self.subTest(place):
                self.tree = self.work.tree()
                self.affix('install', self.one)
                path = self.put_directory(place)
                for words in ['repair', 'probe'], ['install', self.two]:
                    self.assertFails(self.affix(*words), 1, 'foreign-file', f"'/{place}'")
                self.assertIsNone(self.result('status', 'probe')['data']['addons'][0]['transaction'])
                done = self.affix('uninstall', 'probe')
                self.assertEqual((done.returncode, done.stderr), (0, ''))
                self.assertTrue((path / 'mine').is_dir())
                self.assertFails(self.affix('install', self.two), 1, 'foreign-file')
                shutil.rmtree(path)
                self.assertEqual(self.affix('install', self.two).returncode, 0)

    def test_a_file_in_the_place_of_a_directory_is_refused_and_kept(self):
        for place in 'etc/systemd/system/affix-probe.service.d', 'etc/affix/addons', 'opt/affix':
            with self.subTest(place):
                self.tree = self.work.tree()
                self.affix('install', self.one)
                path = self.tree / place
                shutil.rmtree(path)
                path.write_text('mine')
                for words in ['repair', 'probe'], ['install', self.two]:
                    self.assertFails(self.affix(*words), 1, 'foreign-file', place)
                done = self.affix('uninstall', 'probe')
                self.assertEqual((done.returncode, done.stderr), (0, ''))
                self.assertEqual(path.read_text(), 'mine')

    def test_a_stopped_add_on_is_swept_where_a_file_stands_for_the_directory_of_its_links(self):
        self.affix('install', self.one)
        self.affix('hold', 'probe', '--stop')
        wants = self.tree / 'etc/systemd/system/multi-user.target.wants'
        shutil.rmtree(wants, ignore_errors=True)
        wants.write_text('mine')
        done = self.affix('prune', 'probe')
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.assertEqual(wants.read_text(), 'mine')

    def test_what_comes_into_the_way_of_a_switch_is_moved_aside_for_the_old_version(self):
        self.affix('install', self.one)
        for place in self.PLACES:
            for words in ['install', self.two], ['uninstall', 'probe']:
                with self.subTest(place, words=words):
                    self.tree = self.work.tree()
                    self.affix('install', self.one)
                    with self.waiting(*words) as done:
                        self.put_directory(place)
                    if words[0] == 'install':
                        self.assertFails(done[0], 3, 'error', 'Is a directory', '1.0.0 is back')
                        self.assertEqual(self.affix('drift').stdout, 'probe 1.0.0: as installed\n')
                        path = self.tree / place
                        self.assertTrue((path.parent / f'.{path.name}.affix-aside/mine').is_dir())
                    else:
                        self.assertEqual((done[0].returncode, done[0].stderr), (0, ''))
                        self.assertTrue((self.tree / place / 'mine').is_dir())

    @unittest.skipUnless(shutil.which('strace'), 'strace is not installed')
    def test_recovery_ends_whatever_came_into_the_way_meanwhile(self):
        drop_ins = 'etc/systemd/system/affix-probe.service.d'
        ways = [(place, self.put_directory) for place in (*self.PLACES, 'etc/systemd/system/.affix-probe.service.affix-new')]
        ways.append((drop_ins, lambda place: (shutil.rmtree(self.tree / place), (self.tree / place).write_text('mine'))))
        ways.append((drop_ins, lambda place: (shutil.rmtree(self.tree / place), (self.tree / place).symlink_to('nowhere'))))
        for number, (place, obstruct) in enumerate(ways):
            with self.subTest(number, place=place):
                self.tree = self.work.tree()
                self.affix('install', self.one)
                (self.tree / 'etc/systemd/system/affix-probe.service').write_text('damaged')
                fixture.run(['strace', '-f', '-o', '/dev/null', '-e', 'trace=syncfs', '-e', 'inject=syncfs:signal=KILL:when=1',
                             fixture.AFFIX, 'install', self.two, '--root', self.tree], check=False)
                self.assertIsNotNone(self.result('status', 'probe')['data']['addons'][0]['transaction'])
                obstruct(place)
                done = fixture.run([fixture.UPDATER, '--recover', '--root', self.tree], check=False)
                self.assertEqual((done.returncode, done.stderr), (0, ''))
                self.assertIsNone(self.result('status', 'probe')['data']['addons'][0]['transaction'])
                self.assertEqual(self.affix('drift').stdout, 'probe 1.0.0: as installed\n')

    def test_a_damaged_version_does_not_give_its_place_to_another_build_of_it(self):
        again = self.work.addon('probe', '1.0.0')
        again.service['Unit']['Description'] = 'another build'
        again = self.work.bundle(again)
        for words in [self.one], [self.two], [again, '--allow-downgrade']:
            self.assertEqual(self.affix('install', *words).returncode, 0)
        versions = self.tree / 'opt/affix/probe/versions'
        parked, = versions.glob('.1.0.0~*')
        bundle = self.result('status', 'probe')['data']['addons'][0]['current']['bundle']
        parked.rename(versions / f'.1.0.0~{bundle[:16]}')
        (versions / '1.0.0/probe').write_text('damaged')
        self.assertEqual(self.affix('hold', 'probe').returncode, 0)
        self.assertEqual((versions / '1.0.0/probe').read_text(), 'damaged')
        self.assertEqual(sorted(path.name for path in versions.iterdir()), sorted([parked.name, '1.0.0', '1.1.0']))
        self.assertEqual(self.affix('rollback', 'probe', '--to', '1.0.0').returncode, 0)
        self.assertEqual(self.affix('drift', 'probe').stdout, 'probe 1.0.0: as installed\n')

    def mounted(self, source, inside, *words, program=fixture.AFFIX):
        """The command among mounts of its own, with *source* on a path of the tree, of which it is the same file system."""
        script = f'mount --bind {source} {self.tree}/{inside} && exec "$@"'
        return fixture.run(['unshare', '--mount', 'sh', '-c', script, 'sh', program, *words, '--root', self.tree], check=False)

    def test_what_is_mounted_in_an_add_ons_directories_is_not_the_add_ons_to_remove_or_change(self):
        three = self.work.bundle(self.work.addon('probe', '1.2.0'))
        source = self.work.fresh('source')
        (source / 'deep').mkdir(parents=True)
        (source / 'deep/file').write_text('kept')
        file = self.work.fresh('file')
        old, new = (f'opt/affix/probe/versions/{version}' for version in ('1.0.0', '1.1.0'))
        for what, inside, words in (
                (source, old, ['uninstall', 'probe']), (source, old, ['uninstall', 'probe', '--purge']), (source, old, ['rollback', 'probe']),
                (source, f'{old}/data', ['rollback', 'probe']), (source, f'{old}/data', ['uninstall', 'probe']),
                (source, f'{new}/data', ['uninstall', 'probe']), (file, f'{old}/probe', ['rollback', 'probe']), (source, old, ['prune', 'probe'])):
            with self.subTest(inside=inside, words=words):
                self.tree = self.work.tree()
                for bundle in self.one, self.two, *([three] if words[0] == 'prune' else []):
                    self.affix('install', bundle)
                shutil.copyfile(self.tree / old / 'probe', file)
                file.chmod(0o600)
                if inside.endswith('/data'):
                    (self.tree / inside).mkdir()
                done = self.mounted(what, inside, *words)
                # To a version whose files are covered there is no way back.
                name, part = (('rollback-impossible', 'is lost') if what == source and inside == old and words[0] == 'rollback' else
                              ('foreign-file', f"'/{inside}' is a mount point; unmount it, then try again"))
                self.assertFails(done, 1, name, part)
                self.assertEqual((source / 'deep/file').read_text(), 'kept')
                self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
                self.assertEqual(self.affix(*words).returncode, 0)

    def test_recovery_neither_removes_nor_changes_what_is_mounted_in_a_version(self):
        if not shutil.which('strace'):
            self.skipTest('strace is not installed')
        self.affix('install', self.one)
        version = 'opt/affix/probe/versions/1.0.0'
        (self.tree / version / 'data').mkdir()
        source = self.work.fresh('source')
        source.mkdir()
        file = source / 'file'
        shutil.copyfile(self.tree / version / 'probe', file)
        file.chmod(0o600)
        fixture.run(['strace', '-f', '-o', '/dev/null', '-e', 'trace=renameat', '-e', 'inject=renameat:signal=KILL:when=4',
                     fixture.AFFIX, 'install', self.two, '--root', self.tree], check=False)
        for what, inside in (source, f'{version}/data'), (file, f'{version}/probe'), (source, version):
            done = self.mounted(what, inside, '--recover', program=fixture.UPDATER)
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"'probe' could not be ended, unmount '/{inside}', which is a mount point: Device or resource busy\n", done.stderr)
            self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        fixture.run([fixture.UPDATER, '--recover', '--root', self.tree])
        self.assertEqual(self.affix('drift').stdout, 'probe 1.0.0: as installed\n')

    def test_what_is_mounted_in_state_that_is_purged_is_kept_and_the_rest_of_it_goes_later(self):
        source = self.work.fresh('source')
        source.mkdir()
        for inside in 'var/lib/affix/probe/m', 'var/lib/affix/probe':
            with self.subTest(inside):
                (source / 'file').write_text('kept')
                self.affix('install', self.one)
                (self.tree / inside).mkdir(parents=True, exist_ok=True)
                done = self.mounted(source, inside, 'uninstall', 'probe', '--purge')
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn('could not be removed', done.stdout)
                self.assertEqual((source / 'file').read_text(), 'kept')
                self.affix('clear-quarantine', 'probe')
                self.assertFalse((self.tree / 'var/lib/affix/probe').exists())

    def test_every_file_system_that_is_written_to_is_synced(self):
        script = f'cd {self.tree} && cp -a etc/affix keys && mount -t tmpfs none etc/affix && cp -a keys/. etc/affix'
        trace = self.work.fresh('trace')
        command = ['strace', '-f', '-y', '-e', 'trace=syncfs', '-o', trace, fixture.AFFIX, 'install', self.one, '--root', self.tree]
        fixture.run(['unshare', '--mount', 'sh', '-c', f'{script} && exec "$@"', 'sh', *command])
        synced = re.findall(r'syncfs\(\d+<([^>]*)>', trace.read_text())
        # Before the renames, and behind them.
        self.assertEqual(synced.count(f'{self.tree}/etc/affix/addons'), 2, synced)
        self.assertGreaterEqual(synced.count(f'{self.tree}/etc'), 2, synced)

    def test_another_build_of_a_recorded_version_leaves_the_recorded_one_its_files(self):
        again = self.work.addon('probe', '1.0.0')
        again.service['Unit']['Description'] = 'another build'
        again = self.work.bundle(again)
        for words in [self.one], [self.two], [again, '--allow-downgrade']:
            self.assertEqual(self.affix('install', *words).returncode, 0)
        unit = self.tree / 'etc/systemd/system/affix-probe.service'
        self.assertIn('another build', unit.read_text())
        self.assertEqual(self.affix('rollback', 'probe').returncode, 0)
        self.assertNotIn('another build', unit.read_text())
        self.assertEqual(self.affix('drift', 'probe').stdout, 'probe 1.0.0: as installed\n')
        self.assertEqual(self.affix('rollback', 'probe', '--to', '1.1.0').returncode, 0)
        self.assertEqual(self.affix('rollback', 'probe').returncode, 0)

    def test_a_bad_block_is_drift_and_repaired(self):
        self.assertEqual(self.affix('install', self.one).returncode, 0)
        if not shutil.which('strace'):
            self.skipTest('strace is not installed')
        for inside, words in (('etc/systemd/system/affix-probe.service', []), ('opt/affix/probe/versions/1.0.0/probe', ['--bundle', self.one])):
            with self.subTest(inside):
                broken = ['strace', '-f', '-qq', '-o', '/dev/null', '-P', self.tree / inside, '-e', 'inject=read,pread64:error=EIO', fixture.AFFIX]
                done = fixture.run([*broken, 'drift', '--json', '--root', self.tree], check=False)
                item, = json.loads(done.stdout)['data']['addons'][0]['items']
                self.assertEqual((item['kind'], item['path'], item['found']), ('content', f'/{inside}', 'cannot be read'))
                before = (self.tree / inside).stat().st_ino
                done = fixture.run([*broken, 'repair', 'probe', *words, '--root', self.tree], check=False)
                self.assertEqual(done.stdout, "'probe' 1.0.0 is repaired\n", done.stderr)
                self.assertNotEqual((self.tree / inside).stat().st_ino, before)
                self.assertEqual(self.affix('drift').stdout, 'probe 1.0.0: as installed\n')

    def history(self):
        addon = self.result('status', 'probe')['data']['addons'][0]
        return [plan['version'] if plan else None for plan in (addon['current'], addon['previous'], *addon['older'])]

    def test_previous_is_what_ran_before_also_after_a_rollback(self):
        policy = self.tree / 'etc/affix/updater.yaml'
        policy.write_text('keep_versions: 5\n')
        policy.chmod(0o644)
        for bundle in (self.one, self.two, *(self.work.bundle(self.work.addon('probe', f'1.{minor}.0')) for minor in (2, 3))):
            self.affix('install', bundle)
        self.assertEqual(self.history(), ['1.3.0', '1.2.0', '1.1.0', '1.0.0'])
        self.affix('rollback', 'probe', '--to', '1.1.0')
        self.assertEqual(self.history(), ['1.1.0', '1.3.0', '1.2.0', '1.0.0'])
        # Back, and never forth.
        self.affix('rollback', 'probe')
        self.assertEqual(self.history(), ['1.0.0', '1.1.0', '1.3.0', '1.2.0'])
        self.assertFails(self.affix('rollback', 'probe'), 1, 'no-previous')
        self.affix('rollback', 'probe', '--to', '1.3.0')
        self.assertEqual(self.history(), ['1.3.0', '1.0.0', '1.1.0', '1.2.0'])

    def test_origin_is_nobodys_where_nothing_is_installed(self):
        self.affix('install', self.one)
        self.assertEqual(self.result('status')['data']['addons'][0]['origin'], 'local')
        self.affix('uninstall', 'probe')
        self.assertIsNone(self.result('status')['data']['addons'][0]['origin'])

    def test_dropped_keys_are_said(self):
        self.affix('install', self.one)
        config = self.work.fresh('config')
        config.write_text('{"secret": "x", "level": 2}')
        self.assertIn("'secret' was dropped", self.affix('configure', 'probe', config).stdout)

    def test_a_signature_or_key_directory_elsewhere_is_named(self):
        elsewhere = self.work.fresh('elsewhere.minisig')
        beside = pathlib.Path(f'{self.one}.minisig')
        beside.rename(elsewhere)
        try:
            self.assertFails(self.affix('install', self.one), 1, 'bad-signature', 'is not signed', '.minisig')
            self.assertEqual(self.affix('install', self.one, '--signature', elsewhere).returncode, 0)
        finally:
            elsewhere.rename(beside)
        with tempfile.TemporaryDirectory() as empty:
            self.assertFails(self.affix('install', self.two, '--trust', empty), 1, 'no-trusted-key')

    def test_files_that_cannot_be_opened_are_named(self):
        self.assertFails(self.affix('install', '/nonexistent'), 1, 'error', "'/nonexistent'", 'No such file')
        self.assertFails(self.affix('install', self.tree), 1, 'error', 'Is a directory')
        self.assertFails(self.affix('install', self.one, '--config', '/nonexistent'), 1, 'error', 'config')

    def test_a_request_that_breaks_the_protocols_rules_does_so_here_too(self):
        self.assertFails(self.affix('drift', 'Bad_Id'), 1, 'bad-request', "'id'")
        self.assertFails(self.affix('install', self.one, '--limit', 'nice=1'), 1, 'bad-request', "'limits'")
        self.assertFails(self.affix('install', self.one, '--capabilities', 'a,a'), 1, 'bad-request', 'capabilities')
        self.assertFails(self.affix('hold', 'probe', '--release', '--stop'), 1, 'bad-request', "'stop'")
        result = self.result('drift', 'Bad_Id')
        self.assertEqual((result['outcome'], result['name']), ('refused', 'bad-request'))

    def test_operands_and_values_that_make_no_sense_are_usage_errors(self):
        for words in (['install'], ['install', self.one, self.two], ['rollback'], ['status', 'a', 'b'], ['drift', 'x' * 26],
                      ['configure', 'probe'], ['configure', 'probe', 'file', '--reread'],
                      ['install', self.one, '--limit', 'tasks_max'], ['install', self.one, '--limit', 'tasks_max=-1'],
                      ['install', self.one, '--limit', 'tasks_max=1K'], ['repair', 'probe', '--signature', 'x']):
            with self.subTest(words):
                self.assertFails(self.affix(*words), 2, 'usage')

    def test_an_install_is_done_though_its_answer_is_lost(self):
        with open('/dev/full', 'w') as full:
            def lost(*words):
                return subprocess.run([fixture.AFFIX, *words, '--root', self.tree], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
            for more in [], ['--json']:
                done = lost('install', self.one, *more)
                self.assertEqual(done.returncode, 0)
                self.assertRegex(done.stderr, r'\Awarning: it is done, but [^\n]+\n\Z')
            done = lost('status', 'probe')
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, r'\Aerror: [^\n]+\n\Z')
        self.assertEqual(self.result('status', 'probe')['outcome'], 'done')

    def test_a_tree_that_is_not_there_or_no_directory_is_refused_by_name(self):
        for words in ['status'], ['drift'], ['hold', 'probe'], ['install', self.one], ['plan', self.one]:
            with self.subTest(words):
                self.assertFails(fixture.affix([*words, '--root', '/nonexistent']), 1, 'no-tree', "'/nonexistent'", 'No such file')
                self.assertFails(fixture.affix([*words, '--root', self.one]), 1, 'no-tree', f"'{self.one}'", 'not a directory')
        done = fixture.affix(['status', '--json', '--root', '/nonexistent'])
        self.assertEqual((done.returncode, json.loads(done.stdout)['name']), (1, 'no-tree'))

    def test_a_tree_that_cannot_be_written_to_is_refused_and_stays_as_it_is(self):
        read_only = ['unshare', '--mount', 'sh', '-c', 'mount --bind -o ro "$1" "$1" && shift && exec "$@"', 'sh', self.tree]
        for words in ['install', self.one], ['hold', 'probe'], ['uninstall', 'probe']:
            with self.subTest(words):
                done = fixture.run([*read_only, fixture.AFFIX, *words, '--root', self.tree], check=False)
                self.assertFails(done, 1, 'unsupported-filesystem', f"'{self.tree}", 'read-only')
        self.assertFalse((self.tree / 'var/lib/affix').exists())
        self.assertFalse((self.tree / 'opt/affix').exists())

    def test_a_directory_of_records_that_cannot_be_made_is_not_called_forged(self):
        # What makes no directories for anybody says EPERM, as one that is immutable does.
        (self.tree / 'var/lib/affix').mkdir(parents=True)
        immutable = ['unshare', '--mount', 'sh', '-c', 'mount -t sysfs none "$1/var/lib/affix" && shift && exec "$@"', 'sh', self.tree]
        done = fixture.run([*immutable, fixture.AFFIX, 'install', self.one, '--root', self.tree], check=False)
        self.assertFails(done, 1, 'forbidden', f"'{self.tree}' may not be written to", 'Operation not permitted')

    def test_a_tree_may_be_begun_by_its_first_add_on(self):
        trust = self.tree / 'etc/affix/trust.d'
        self.tree = self.work.fresh('empty')
        self.tree.mkdir()
        done = self.affix('install', self.one, '--trust', trust)
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.assertIn('affix-probe:x:999:999:', (self.tree / 'etc/passwd').read_text())
        self.assertEqual((self.tree / 'etc').stat().st_mode & 0o7777, 0o755)
        self.assertFalse(self.result('drift')['data']['addons'][0]['drifted'])
        self.assertEqual(self.affix('uninstall', 'probe').returncode, 0)
        self.assertEqual(sorted(path.name for path in self.tree.glob('*/*')), ['.pwd.lock', 'group', 'lib', 'passwd'])

    def test_a_tree_of_somebody_else_is_refused(self):
        tree = pathlib.Path(tempfile.mkdtemp(prefix='affix-test-'))
        self.addCleanup(tree.rmdir)
        tree.chmod(0o755)
        nobody = {'user': NOBODY, 'group': NOBODY, 'extra_groups': []}
        if fixture.run(['unshare', '--map-root-user', 'true'], check=False, **nobody).returncode != 0:
            self.skipTest('user namespaces are not allowed here')
        done = fixture.run(['unshare', '--map-root-user', fixture.AFFIX, 'hold', 'probe', '--root', tree], check=False, **nobody)
        self.assertFails(done, 1, 'forbidden', f"'{tree}'", 'nothing was changed')

    def test_a_version_that_is_lost_is_had_back_as_the_refusal_says(self):
        self.affix('install', self.one)
        self.affix('install', self.two)
        shutil.rmtree(self.tree / 'opt/affix/probe/versions/1.0.0')
        self.assertFails(self.affix('rollback', 'probe'), 1, 'rollback-impossible', 'install its bundle with --allow-downgrade')
        self.assertEqual(self.affix('install', self.one, '--allow-downgrade').returncode, 0)
        self.assertEqual(self.affix('drift').stdout, 'probe 1.0.0: as installed\n')

    def test_records_that_others_may_have_written_are_not_believed(self):
        self.affix('install', self.one)
        (self.tree / 'var/lib/affix/updater').chmod(0o1777)
        for words in ['status'], ['drift'], ['install', self.two], ['uninstall', 'probe']:
            self.assertFails(self.affix(*words), 1, 'bad-record', "'/var/lib/affix/updater'", 'chmod 0700')

    def test_what_the_manual_removes_with_a_bad_record_lets_the_add_on_be_installed_again(self):
        addon = self.work.addon('broken', '1.0.0')
        addon.manifest['state_dirs'] = ['/var/lib/affix/broken']
        extra = json.loads(json.dumps(addon.service))
        del extra['Install']
        addon.units['affix-broken_part.service'] = extra
        bundle = self.work.bundle(addon)
        self.affix('install', bundle)
        self.affix('install', self.one)
        record = self.tree / 'var/lib/affix/updater/broken.json'
        record.write_text('{')
        self.assertFails(self.affix('install', bundle), 1, 'bad-record', 'affix-updater(8)')
        manual = (fixture.TOP / 'man/affix-updater.8.scd').read_text()
        command, = re.findall(r'^rm -rf (?:.*\\\n)*.*$', manual, re.MULTILINE)
        fixture.run(['bash', '-c', command.replace('ID', 'broken').replace(' /', f' {self.tree}/')])
        self.assertEqual([path for path in self.tree.rglob('*broken*') if 'locks' not in path.parts and 'parted' not in path.name], [])
        done = self.affix('install', bundle)
        self.assertEqual((done.returncode, done.stderr), (0, ''))
        self.assertEqual(self.affix('drift').stdout, 'broken 1.0.0: as installed\nprobe 1.0.0: as installed\n')

    def test_files_that_are_none_are_said_to_be(self):
        fifo = self.work.fresh('fifo')
        os.mkfifo(fifo)
        for words in ['install', '/dev/zero'], ['install', fifo], ['install', self.one, '--signature', fifo], ['configure', 'probe', '/dev/null']:
            self.assertFails(self.affix(*words), 1, 'error', f"'{words[-1]}'", ': it is no regular file')
        done = fixture.affix(['verify', '-p', self.work.public, fifo])
        self.assertFails(done, 1, 'error', f"'{fifo}'", ': it is no regular file')

    def test_the_host_that_runs_is_no_tree(self):
        done = fixture.run(['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && exec "$@"', 'sh',
                            fixture.AFFIX, 'status', '--root', '/'], check=False)
        self.assertFails(done, 2, 'usage', 'leave --root out')

    def test_a_directory_of_keys_that_is_not_there_is_named(self):
        self.assertFails(self.affix('install', self.one, '--trust', '/nonexistent'), 1, 'no-trusted-key', "'/nonexistent'")
        shutil.rmtree(self.tree / 'etc/affix')
        self.assertFails(self.affix('plan', self.one), 1, 'no-trusted-key', f"'{self.tree}/etc/affix/trust.d'", '--trust')

    def test_root_option_without_the_right_to_set_owners_is_a_usage_error(self):
        readable = pathlib.Path(tempfile.mkdtemp(prefix='affix-test-'))
        self.addCleanup(readable.rmdir)
        readable.chmod(0o755)
        done = fixture.affix(['status', '--root', readable], user=NOBODY, group=NOBODY, extra_groups=[])
        self.assertFails(done, 2, 'usage', 'namespace')


class NoUpdater(unittest.TestCase):
    @unittest.skipIf(os.path.exists('/run/affix'), 'an updater is installed on this machine')
    def test_a_host_without_updater_is_told_from_a_refusal_and_may_be_asked_later(self):
        done = fixture.affix(['status', '--json'])
        self.assertEqual(done.returncode, 4)
        self.assertRegex(done.stderr, r'\Ano-updater: [^\n]+\n\Z')
        self.assertEqual(json.loads(done.stdout)['name'], 'no-updater')

    @unittest.skipIf(os.path.exists('/run/affix'), 'an updater is installed on this machine')
    def test_the_plan_without_an_updater_is_that_of_a_host_without_a_policy(self):
        with fixture.Workshop() as work:
            addon = work.addon('probe', '1.0.0')
            addon.manifest['requires']['os_capabilities'] = ['cap_net_raw', 'cap_net_admin']
            bundle, config, bad = work.bundle(addon), work.fresh('config'), work.fresh('bad')
            config.write_text('{"level": 3, "secret": "not for the fleet to say"}')
            bad.write_text('{"level": -1}')
            for options in ([], ['--config', config], ['--limit', 'tasks_max=7', '--capabilities', 'cap_net_raw']):
                here = fixture.affix(['plan', bundle, '--json', *options])
                there = fixture.affix(['plan', bundle, '--json', *options, '--root', work.tree()])
                self.assertRegex(here.stderr, r'\Anote: no updater runs here[^\n]+\n\Z')
                here, there = json.loads(here.stdout), json.loads(there.stdout)
                self.assertEqual((here['data'].pop('verified'), there['data'].pop('verified')), (False, True))
                self.assertEqual({**here, 'time': 0}, {**there, 'time': 0}, options)
            for name, options in (('bad-request', ['--limit', 'nice=1']), ('bad-config', ['--config', bad]),
                                  ('bad-signature', ['--signature', work.path / 'none'])):
                done = fixture.affix(['plan', bundle, '--json', *options])
                self.assertEqual((done.returncode, json.loads(done.stdout)['name']), (1, name), done.stderr)
            unsigned = fixture.affix(['plan', work.build(work.addon('probe', '1.0.0'))])
            self.assertIn('/etc/systemd/system/affix-probe.service.d/zz-affix-policy.conf', unsigned.stdout)

    def test_keys_of_ones_own_go_with_a_tree_only(self):
        done = fixture.affix(['install', 'x', '--trust', '/tmp'])
        self.assertEqual(done.returncode, 2)
        self.assertIn('--root', done.stderr)


if __name__ == '__main__':
    unittest.main(verbosity=2)
