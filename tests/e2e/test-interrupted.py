#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Operations that are cut short on a booted host: the updater killed at its system calls, the host reset, the client gone.

Whatever is cut where, the host ends by itself (affix-updater-settle is the updater's OnFailure=) with one version that
runs and is healthy, a result under the request's id, no quarantine, and an old unit that never ran the new binary.

A drop-in puts a shim before the updater. It does nothing unless /var/lib/affix/fault/next is there, which holds strace
options for one run. The sandbox gives way to strace only where it must.
"""

import collections
import json
import os
import pathlib
import re
import signal
import threading
import time

import agent
import live

FAULT = '/var/lib/affix/fault'
SHIM = f'''#!/bin/sh
next={FAULT}/next
if mv "$next" "$next.$$" 2>/dev/null; then
	set -- $(cat "$next.$$")
	rm "$next.$$"
	exec strace -D -f "$@" /usr/lib/affix/affix-updater
fi
exec /usr/lib/affix/affix-updater
'''
DROP_IN = '''[Service]
ExecStart=
ExecStart=/usr/local/sbin/fault-shim
SystemCallFilter=
MemoryDenyWriteExecute=no
TasksMax=64
'''
# What changes the tree, the record or PID 1.
CALLS = ('renameat', 'renameat2', 'unlinkat', 'linkat', 'symlinkat', 'mkdirat', 'syncfs', 'sendmsg')
# Points tried per operation, evenly taken from all there are.
POINTS = int(os.environ.get('AFFIX_TEST_POINTS', '4'))
UPDATERS = 'affix-updater-admin@*.service affix-updater@*.service affix-updater-settle@*.service'.split()


class Administrator(agent.Agent):
    """Root on the administrator's socket, with requests of any form."""

    def __init__(self, host):
        super().__init__(host, user='root')

    def connect(self, name='admin.sock', timeout=120):
        return super().connect(name, timeout)

    def ask(self, message, descriptors=(), timeout=120):
        return super().ask(message, descriptors, timeout)


class Case(live.Case):
    """A host whose updater can be cut, and add-ons whose log tells which unit started which binary."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.serial = 0
        cls.host.run(['mkdir', '-p', FAULT], check=True)
        cls.host.write('/usr/local/sbin/fault-shim', SHIM, mode=0o755)
        cls.host.write('/etc/systemd/system/affix-updater-admin@.service.d/fault.conf', DROP_IN)
        cls.host.run(['systemctl', 'daemon-reload'], check=True)

    def tagged(self, identifier, version, options='', window=1):
        addon = self.addon(identifier, version, options=f'--write /var/lib/affix/{identifier}/log {options}'.strip())
        addon.service['Service']['StateDirectory'] = f'affix/{identifier}'
        addon.service['Service']['ExecStart'] += f' --tag unit-{version}'
        addon.manifest['health']['window_seconds'] = window
        return self.work.bundle(addon)

    def fresh_id(self):
        type(self).serial += 1
        return f'request-{self.serial}'

    def ask(self, verb, identifier, bundle=None, config=None, request_id=None, **more):
        """A request of the administrator; the result, or None where the updater ended without one."""
        message = {'verb': verb, 'id': identifier, 'request_id': request_id or self.fresh_id(), **more}
        descriptors = []
        if bundle:
            message['fds'] = ['bundle', 'signature']
            descriptors = [bundle, f'{bundle}.minisig']
        if config is not None:
            message['fds'] = ['config']
            descriptors = [agent.memfd(json.dumps(config).encode())]
        self.request_id = message['request_id']
        try:
            with Administrator(self.host) as administrator:
                return administrator.ask(message, descriptors)
        finally:
            if config is not None:
                os.close(descriptors[0])

    def in_background(self, *arguments, **more):
        """The same beside the test; .join() returns the result."""
        task = Background(lambda: self.ask(*arguments, **more))
        task.start()
        return task

    def fault(self, options):
        self.host.write(f'{FAULT}/next', options)

    def freeze(self, call, number):
        """The next request of the administrator stops before its call of that number."""
        self.fault(f'-o /dev/null -e trace={call} -e inject={call}:signal=STOP:when={number}')

    def frozen(self):
        """The updater that stands still, as a number outside; waits for it."""
        return self.until(lambda: next((pid for pid in self.updaters() if is_still(pid)), None), 30)

    def updaters(self):
        """Updaters that are at work, as numbers outside."""
        found = []
        for entry in os.listdir('/proc'):
            if not entry.isdigit():
                continue
            try:
                name = pathlib.Path(f'/proc/{entry}/comm').read_text().strip()
                root = os.readlink(f'/proc/{entry}/ns/pid')
            except OSError:
                continue
            if name == 'affix-updater' and root == os.readlink(f'/proc/{self.host.leader}/ns/pid'):
                found.append(int(entry))
        return found

    def phase(self, identifier):
        try:
            record = json.loads(self.host.path(f'/var/lib/affix/updater/{identifier}.json').read_text())
        except OSError:
            return None
        return (record.get('transaction') or {}).get('phase')

    def settled(self, identifier, seconds=60):
        """Nobody asks for anything, and it ends: the status then."""
        def is_quiet():
            jobs = self.host.run(['systemctl', 'list-units', '--no-legend', '--plain', '--state=active,activating,deactivating',
                                  *UPDATERS]).stdout
            return not jobs.strip() and self.phase(identifier) is None
        self.until(is_quiet, seconds)
        return self.status(identifier)

    def assertOldUnitNeverRanNewBinary(self, identifier):
        for line in self.lines(f'/var/lib/affix/{identifier}/log'):
            _, version, tag = line.split()[:3]
            self.assertEqual(tag, f'unit-{version}')

    def assertState(self, identifier, version):
        """The version runs and is healthy, or with None nothing is left."""
        if version is None:
            return self.assertNothingLeft(identifier)
        self.until(lambda: self.status(identifier)['state'] == 'running')
        self.assertRuns(identifier, version)
        self.assertFalse(self.affix('drift', identifier)['data']['addons'][0]['drifted'])
        return self.assertOldUnitNeverRanNewBinary(identifier)

    def assertNothingLeft(self, identifier):
        root = self.host.path('/')
        for pattern in (f'etc/systemd/system/affix-{identifier}*', f'etc/systemd/system/*.wants/affix-{identifier}*',
                        f'opt/affix/{identifier}', f'etc/affix/addons/{identifier}.json',
                        f'etc/*.d/affix-{identifier}.conf'):
            self.assertEqual(list(root.glob(pattern)), [])
        self.assertEqual(self.show(f'affix-{identifier}.service', 'LoadState'), 'not-found')

    def assertEnded(self, identifier, request_id, old, new):
        """After a cut: old or new, as the result says, healthy, and no quarantine. Whether it is new."""
        status = self.settled(identifier)
        last = status['last_result'] if status else None
        is_new = False
        if last is not None and last['request_id'] == request_id:
            is_new = last['outcome'] == 'done'
            self.assertIn((last['outcome'], last['name']), (('interrupted', 'interrupted'), ('done', None)))
        self.assertEqual(status['version'] if status else None, new if is_new else old)
        self.assertEqual(status['quarantine'] if status else [], [])
        self.assertState(identifier, new if is_new else old)
        return is_new


class Background(threading.Thread):
    def __init__(self, work):
        super().__init__(daemon=True)
        self.work, self.result = work, None

    def run(self):
        self.result = self.work()

    def join(self, timeout=120):
        super().join(timeout)
        if self.is_alive():
            raise AssertionError(f'there was no end in {timeout} s')
        return self.result


def is_still(pid):
    """Stopped, and not just for the moment in which strace looks at a call."""
    def look():
        try:
            text = pathlib.Path(f'/proc/{pid}/status').read_text()
        except OSError:
            return None
        return re.search(r'^State:\s+[Tt]', text, re.MULTILINE) and re.findall(r'ctxt_switches:\s+(\d+)', text)
    before = look()
    time.sleep(0.3)
    return before and look() == before


def points_of(trace):
    """The calls of a trace in their order: [(name, its number, is the record replaced)]."""
    counts, points = collections.Counter(), []
    for line in trace.splitlines():
        match = re.match(r'(?:\d+ +)?(\w+)\((.*)', line)
        if match and match[1] in CALLS:
            counts[match[1]] += 1
            points.append((match[1], counts[match[1]], match[1].startswith('rename') and '.json"' in match[2]))
    return points


def some_of(points, number):
    """Those that replace the record, and of the others as many, evenly."""
    records = [point for point in points if point[2]]
    others = [point for point in points if not point[2]]
    step = max(1, len(others) // max(1, number))
    return [point for point in points if point in records or point in others[step // 2::step]]


class Killed(Case):
    def run_and_count(self, *arguments, **more):
        self.fault(f'-o {FAULT}/trace -e trace={",".join(CALLS)}')
        self.assertEqual(self.ask(*arguments, **more)['outcome'], 'done')
        return points_of(self.host.read(f'{FAULT}/trace'))

    def cut_everywhere(self, old, new, arguments, undo, check=lambda is_new: None):
        """Kills the operation, old to new, at one call after the other; UNDO makes it old again, CHECK hears which it is."""
        identifier = arguments['identifier']
        points = self.run_and_count(**arguments)
        undo()
        tried = some_of(points, POINTS)
        seen = collections.Counter()
        for call, number, _ in tried:
            with self.subTest(call=call, number=number):
                self.fault(f'-o /dev/null -e trace={call} -e inject={call}:signal=KILL:when={number}')
                result = self.ask(**arguments)
                is_new = self.assertEnded(identifier, self.request_id, old, new)
                check(is_new)
                # Bytes that are there already take fewer calls.
                how = 'done before' if result else 'killed, now new' if is_new else 'killed, now old'
                seen[how] += 1
                if is_new:
                    undo()
            self.host.path(f'{FAULT}/next').unlink(missing_ok=True)
        self.assertEqual(self.ask(**arguments)['outcome'], 'done', 'the next request works')
        self.assertState(identifier, new)
        print(f'{arguments["verb"]}: cut at {len(tried)} of {len(points)} calls: {dict(seen)}', flush=True)
        self.assertGreater(seen['killed, now old'], 0)

    def test_upgrade_ends_old_or_new_wherever_it_is_killed(self):
        old, new = self.tagged('up', '1.0.0'), self.tagged('up', '1.1.0')
        self.assertEqual(self.ask('install', 'up', old)['outcome'], 'done')
        self.cut_everywhere('1.0.0', '1.1.0', {'verb': 'install', 'identifier': 'up', 'bundle': new},
                            lambda: self.assertEqual(self.ask('rollback', 'up')['outcome'], 'done'))

    def test_first_install_ends_with_all_or_nothing_wherever_it_is_killed(self):
        bundle = self.tagged('first', '1.0.0')
        self.cut_everywhere(None, '1.0.0', {'verb': 'install', 'identifier': 'first', 'bundle': bundle},
                            lambda: self.assertEqual(self.ask('uninstall', 'first')['outcome'], 'done'))

    def test_rollback_ends_old_or_new_wherever_it_is_killed(self):
        old, new = self.tagged('back', '1.0.0'), self.tagged('back', '1.1.0')
        for bundle in (old, new):
            self.assertEqual(self.ask('install', 'back', bundle)['outcome'], 'done')
        self.cut_everywhere('1.1.0', '1.0.0', {'verb': 'rollback', 'identifier': 'back'},
                            lambda: self.assertEqual(self.ask('install', 'back', new)['outcome'], 'done'))

    def test_uninstall_ends_with_all_or_nothing_wherever_it_is_killed(self):
        bundle = self.tagged('off', '1.0.0')
        self.assertEqual(self.ask('install', 'off', bundle)['outcome'], 'done')
        self.cut_everywhere('1.0.0', None, {'verb': 'uninstall', 'identifier': 'off'},
                            lambda: self.assertEqual(self.ask('install', 'off', bundle)['outcome'], 'done'))

    def test_configure_ends_with_old_or_new_configuration_wherever_it_is_killed(self):
        self.assertEqual(self.ask('install', 'conf', self.tagged('conf', '1.0.0'))['outcome'], 'done')
        self.assertEqual(self.ask('configure', 'conf', config={'level': 1})['outcome'], 'done')
        self.cut_everywhere('1.0.0', '1.0.0', {'verb': 'configure', 'identifier': 'conf', 'config': {'level': 2}},
                            lambda: self.assertEqual(self.ask('configure', 'conf', config={'level': 1})['outcome'], 'done'),
                            lambda is_new: self.assertEqual(json.loads(self.host.read('/etc/affix/addons/conf.json')),
                                                            {'level': 2 if is_new else 1}))


class Cut(Case):
    def install(self, identifier, bundle):
        self.assertEqual(self.ask('install', identifier, bundle)['outcome'], 'done')

    def reset_at(self, call, number, phase):
        """The host is reset in this phase of an upgrade, and booted."""
        identifier = f'reset-{phase}'
        self.install(identifier, self.tagged(identifier, '1.0.0'))
        self.freeze(call, number)
        self.in_background('install', identifier, self.tagged(identifier, '1.1.0', window=3))
        if call == 'none':
            self.until(lambda: self.phase(identifier) == phase, 30)
        else:
            self.frozen()
        request_id = self.request_id
        self.assertEqual(self.phase(identifier), phase)
        self.host.kill()
        self.host.boot()
        status = self.settled(identifier)
        self.assertEqual(status['last_result']['request_id'], request_id)
        self.assertEqual((status['last_result']['outcome'], status['quarantine']), ('interrupted', []))
        self.assertState(identifier, '1.0.0')
        recovered, started = (int(self.show(unit, name)) for unit, name in (
            ('affix-updater-recover.service', 'ExecMainExitTimestampMonotonic'),
            ('sysinit.target', 'ActiveEnterTimestampMonotonic')))
        self.assertEqual(self.show('affix-updater-recover.service', 'Result'), 'success')
        self.assertLess(recovered, started)
        self.install(identifier, self.tagged(identifier, '1.1.0'))

    def test_reset_while_staging_is_as_if_nothing_had_been(self):
        self.reset_at('syncfs', 1, 'staging')

    def test_reset_while_switching_boots_into_the_old_version(self):
        self.reset_at('renameat', 5, 'switching')

    def test_reset_while_watching_boots_into_the_old_version(self):
        self.reset_at('none', 1, 'watching')

    def test_reboot_in_the_watch_goes_back(self):
        self.install('reboot', self.tagged('reboot', '1.0.0'))
        self.in_background('install', 'reboot', self.tagged('reboot', '1.1.0', window=60))
        self.until(lambda: self.phase('reboot') == 'watching', 30)
        request_id = self.request_id
        self.host.reboot()
        status = self.settled('reboot')
        last = status['last_result']
        self.assertEqual((last['outcome'], last['request_id'], status['quarantine']), ('interrupted', request_id, []))
        self.assertState('reboot', '1.0.0')

    def test_updater_killed_in_the_watch_is_relieved_and_the_watch_goes_on(self):
        self.install('watch', self.tagged('watch', '1.0.0'))
        task = self.in_background('install', 'watch', self.tagged('watch', '1.1.0', window=3))
        self.until(lambda: self.phase('watch') == 'watching', 30)
        for pid in self.updaters():
            os.kill(pid, signal.SIGKILL)
        self.assertIsNone(task.join())
        last = self.settled('watch')['last_result']
        self.assertEqual((last['outcome'], last['request_id']), ('done', self.request_id))
        self.assertState('watch', '1.1.0')

    def test_bad_version_whose_watch_was_taken_over_is_rolled_back_and_quarantined(self):
        self.install('relay', self.tagged('relay', '1.0.0'))
        self.in_background('install', 'relay', self.tagged('relay', '1.1.0', options='--die-after 4000', window=6))
        self.until(lambda: self.phase('relay') == 'watching', 30)
        for pid in self.updaters():
            os.kill(pid, signal.SIGKILL)
        status = self.settled('relay')
        self.assertEqual(status['last_result']['outcome'], 'rolled-back')
        self.assertEqual([entry['version'] for entry in status['quarantine']], ['1.1.0'])
        self.assertState('relay', '1.0.0')

    def test_what_is_masked_in_the_watch_stays_masked_and_off(self):
        self.install('shut', self.tagged('shut', '1.0.0'))
        for place, target in ('/etc/systemd/system', '../../../dev/null'), ('/run/systemd/system.control', '/dev/null'):
            with self.subTest(place):
                link = self.host.path(f'{place}/affix-shut.service')
                task = self.in_background('install', 'shut', self.tagged('shut', '1.1.0', window=60))
                self.until(lambda: self.phase('shut') == 'watching', 30)
                self.until(lambda: self.show('affix-shut.service', 'ActiveState') == 'active')
                self.host.shell(f'mkdir -p {place} && ln -sf {target} {place}/affix-shut.service && systemctl daemon-reload'
                                ' && systemctl stop affix-shut.service', check=True)
                result = task.join()
                self.assertEqual((result['outcome'], result['name']), ('rolled-back', 'unhealthy'), result)
                self.assertIn(f'{place}/affix-shut.service', result['message'])
                self.assertIn('1.0.0 is back, but not started', result['message'])
                self.assertEqual(os.readlink(link), target)
                self.assertEqual(self.show('affix-shut.service', 'ActiveState'), 'inactive')
                self.assertEqual((self.phase('shut'), self.status('shut')['quarantine']), (None, []))
                if place.startswith('/run'):
                    self.assertEqual(self.ask('repair', 'shut')['name'], 'held')
                    link.unlink()
                self.assertEqual(self.ask('repair', 'shut')['outcome'], 'done')
                self.assertState('shut', '1.0.0')

    def test_what_is_masked_while_the_old_version_stops_stays_masked_and_off(self):
        addon = self.addon('veil', '1.0.0', options='--ignore-term')
        addon.service['Service']['TimeoutStopSec'] = '4'
        self.install('veil', self.work.bundle(addon))
        link = self.host.path('/etc/systemd/system/affix-veil.service')
        task = self.in_background('install', 'veil', self.tagged('veil', '1.1.0'))
        self.until(lambda: self.show('affix-veil.service', 'ActiveState') == 'deactivating', 30)
        self.host.shell('ln -sf /dev/null /etc/systemd/system/affix-veil.service', check=True)
        result = task.join()
        self.assertEqual((result['outcome'], result['name']), ('rolled-back', 'held'), result)
        self.assertIn("'/etc/systemd/system/affix-veil.service' masks a unit of it", result['message'])
        self.assertIn('1.0.0 is back, but not started', result['message'])
        self.assertEqual(os.readlink(link), '/dev/null')
        self.assertEqual(self.show('affix-veil.service', 'ActiveState'), 'inactive')
        self.assertEqual((self.phase('veil'), self.status('veil')['quarantine']), (None, []))
        self.assertEqual(self.ask('repair', 'veil')['outcome'], 'done')
        self.assertRuns('veil', '1.0.0')

    def test_a_directory_in_the_place_of_a_unit_stops_nothing_and_bars_no_way_back(self):
        addon = self.addon('lane', '1.0.0', options='--ignore-term')
        addon.service['Service']['TimeoutStopSec'] = '2'
        self.install('lane', self.work.bundle(addon))
        unit = '/etc/systemd/system/affix-lane.service'
        task = self.in_background('install', 'lane', self.tagged('lane', '1.1.0'))
        self.until(lambda: self.show('affix-lane.service', 'ActiveState') == 'deactivating', 30)
        self.host.shell(f'rm {unit} && mkdir -p {unit}/mine', check=True)
        result = task.join()
        self.assertEqual((result['outcome'], result['name']), ('rolled-back', 'error'), result)
        self.assertIn('Is a directory; 1.0.0 is back', result['message'])
        self.assertRuns('lane', '1.0.0')
        self.assertTrue(self.host.path('/etc/systemd/system/.affix-lane.service.affix-aside/mine').is_dir())
        pid = self.show('affix-lane.service', 'MainPID')
        self.host.shell(f'rm {unit} && mkdir {unit}', check=True)
        self.assertEqual(self.ask('repair', 'lane')['name'], 'foreign-file')
        self.assertEqual(self.show('affix-lane.service', 'MainPID'), pid)
        self.host.shell(f'rmdir {unit}', check=True)
        self.assertEqual(self.ask('repair', 'lane')['outcome'], 'done')
        self.assertRuns('lane', '1.0.0')

    def test_a_mount_on_a_unit_is_named_and_the_next_request_ends_what_it_interrupted(self):
        self.install('moor', self.tagged('moor', '1.0.0'))
        unit = '/etc/systemd/system/affix-moor.service'
        mount, named = ['mount', '--bind', '/etc/passwd', unit], f"'{unit}' is a mount point; unmount it"
        task = self.in_background('install', 'moor', self.tagged('moor', '1.1.0', window=60))
        self.until(lambda: self.phase('moor') == 'watching', 30)
        self.until(lambda: self.show('affix-moor.service', 'ActiveState') == 'active')
        self.host.run(mount, check=True)
        try:
            self.host.shell('systemctl kill -s KILL affix-moor.service', check=True)
            for result in task.join(), self.ask('repair', 'moor'):
                self.assertEqual((result['outcome'], result['name']), ('failed', 'error'), result)
                self.assertIn(named, result['message'])
            self.until(lambda: not self.updaters())
            checks = json.loads(self.host.run(['affix', 'doctor', '--json']).stdout)['checks']
            self.assertTrue(any(f"unmount '{unit}'" in check['text'] for check in checks), checks)
            done = self.host.run(['/usr/lib/affix/affix-updater', '--settle'])
            self.assertIn(f"'moor' could not be ended, unmount '{unit}'", done.stderr)
        finally:
            self.host.run(['umount', unit], check=True)
        self.assertEqual(self.ask('repair', 'moor')['outcome'], 'done')
        self.assertState('moor', '1.0.0')
        # Before anything is begun it is no more than refused.
        self.host.run(mount, check=True)
        try:
            for result in self.ask('install', 'moor', self.tagged('moor', '1.2.0')), self.ask('uninstall', 'moor'):
                self.assertEqual((result['outcome'], result['name']), ('refused', 'foreign-file'))
                self.assertIn(named, result['message'])
            self.assertIsNone(self.phase('moor'))
        finally:
            self.host.run(['umount', unit], check=True)
        self.assertState('moor', '1.0.0')

    def test_old_version_has_its_time_to_stop_when_the_updater_is_killed_meanwhile(self):
        addon = self.addon('calm', '1.0.0', options='--ignore-term')
        addon.service['Service']['TimeoutStopSec'] = '13'
        self.install('calm', self.work.bundle(addon))
        task = self.in_background('install', 'calm', self.tagged('calm', '1.1.0'))
        self.until(lambda: self.show('affix-calm.service', 'ActiveState') == 'deactivating', 30)
        for pid in self.updaters():
            os.kill(pid, signal.SIGKILL)
        self.assertIsNone(task.join())
        self.assertEqual(self.settled('calm')['last_result']['outcome'], 'interrupted')
        self.assertRuns('calm', '1.0.0')
        log = self.host.shell('journalctl --unit affix-calm.service --output cat').stdout
        self.assertIn("State 'stop-sigterm' timed out", log)

    def test_settling_that_is_killed_is_taken_up_again(self):
        self.install('again', self.tagged('again', '1.0.0'))
        self.in_background('install', 'again', self.tagged('again', '1.1.0', window=20))
        self.until(lambda: self.phase('again') == 'watching', 30)
        first = self.updaters()
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        second = self.until(lambda: [pid for pid in self.updaters() if pid not in first])
        for pid in second:
            os.kill(pid, signal.SIGKILL)
        self.until(lambda: [pid for pid in self.updaters() if pid not in first + second], 30)
        self.assertEqual(self.settled('again', 90)['last_result']['outcome'], 'done')
        self.assertState('again', '1.1.0')

    def test_client_that_goes_away_changes_nothing(self):
        self.install('client', self.tagged('client', '1.0.0'))
        bundle = self.send(self.tagged('client', '1.1.0', window=2))
        client = self.host.popen(['affix', 'install', bundle])
        self.until(lambda: self.phase('client') == 'watching', 30)
        os.killpg(client.pid, signal.SIGKILL)
        client.wait()
        last = self.settled('client')['last_result']
        self.assertEqual((last['outcome'], last['verb'], last['version']), ('done', 'install', '1.1.0'))
        self.assertState('client', '1.1.0')

    def test_request_id_that_was_answered_is_answered_again(self):
        self.install('repeat', self.tagged('repeat', '1.0.0'))
        new = self.tagged('repeat', '1.1.0')
        first = self.ask('install', 'repeat', new, request_id='the-same')
        pid = self.pid('affix-repeat.service')
        self.assertEqual(self.ask('install', 'repeat', new, request_id='the-same'), first)
        self.assertEqual(self.ask('rollback', 'repeat', request_id='and-back')['outcome'], 'done')
        self.assertEqual(self.ask('install', 'repeat', new, request_id='the-same'), first, 'it is not done twice')
        self.assertNotEqual(self.pid('affix-repeat.service'), pid)
        self.assertState('repeat', '1.0.0')

    def test_request_id_repeated_while_it_is_worked_on_is_done_once(self):
        for version in ('1.0.0', '1.1.0', '1.2.0'):
            self.install('once', self.tagged('once', version))
        tasks = [self.in_background('rollback', 'once', request_id='once') for _ in range(2)]
        first, second = [task.join() for task in tasks]
        self.assertEqual(first, second)
        self.assertState('once', '1.1.0')

    def test_fleet_is_told_busy_and_the_administrator_waits(self):
        self.install('queue', self.tagged('queue', '1.0.0'))
        self.freeze('syncfs', 1)
        first = self.in_background('install', 'queue', self.tagged('queue', '1.1.0'))
        pid = self.frozen()
        with agent.Agent(self.host) as fleet:
            reply = fleet.ask({'verb': 'rollback', 'id': 'queue', 'request_id': 'fleet-1'})
            self.assertEqual((reply['outcome'], reply['name']), ('refused', 'busy'))
            self.assertEqual(fleet.ask({'verb': 'status', 'id': 'queue'})['outcome'], 'done', 'status takes no lock')
        second = self.in_background('install', 'queue', self.tagged('queue', '1.2.0'))
        time.sleep(1)
        self.assertTrue(second.is_alive())
        os.kill(pid, signal.SIGCONT)
        self.assertEqual(first.join()['outcome'], 'done')
        self.assertEqual(second.join()['outcome'], 'done')
        self.assertState('queue', '1.2.0')
        self.assertEqual(self.status('queue')['previous']['version'], '1.1.0')

    def test_different_addons_do_not_wait_for_each_other(self):
        self.install('left', self.tagged('left', '1.0.0'))
        self.freeze('syncfs', 1)
        first = self.in_background('install', 'left', self.tagged('left', '1.1.0'))
        pid = self.frozen()
        self.install('right', self.tagged('right', '1.0.0'))
        self.assertState('right', '1.0.0')
        os.kill(pid, signal.SIGCONT)
        self.assertEqual(first.join()['outcome'], 'done')
        slow = self.in_background('install', 'left', self.tagged('left', '1.2.0', window=5))
        self.until(lambda: self.phase('left') == 'watching', 30)
        self.install('right', self.tagged('right', '1.1.0'))
        self.assertTrue(slow.is_alive(), 'a watch keeps nobody else waiting')
        self.assertEqual(slow.join()['outcome'], 'done')

    def test_fleet_operation_that_others_end_stays_the_fleets(self):
        bundle = self.tagged('origin', '1.0.0', window=3)
        with agent.Agent(self.host) as fleet:
            connection = fleet.connect()
            fleet.send(connection, {'verb': 'install', 'id': 'origin', 'request_id': 'fleet-2',
                                    'fds': ['bundle', 'signature']}, [bundle, f'{bundle}.minisig'])
            self.until(lambda: self.phase('origin') == 'watching', 30)
            for pid in self.updaters():
                os.kill(pid, signal.SIGKILL)
            connection.close()
        status = self.settled('origin')
        self.assertEqual((status['last_result']['outcome'], status['origin']), ('done', 'fleet'))

    def test_first_install_that_failed_leaves_no_origin(self):
        bad = self.tagged('whose', '1.0.0', options='--die-after 0')
        self.assertEqual(self.ask('install', 'whose', bad)['outcome'], 'rolled-back')
        self.assertIsNone(self.status('whose')['origin'])
        good = self.tagged('whose', '1.0.1')
        with agent.Agent(self.host) as fleet:
            reply = fleet.ask({'verb': 'install', 'id': 'whose', 'fds': ['bundle', 'signature']}, [good, f'{good}.minisig'])
            self.assertEqual((reply['outcome'], self.status('whose')['origin']), ('done', 'fleet'))
            self.assertEqual(fleet.ask({'verb': 'uninstall', 'id': 'whose'})['outcome'], 'done')

    def test_lost_connection_to_the_manager_ends_old_or_new(self):
        self.install('bus', self.tagged('bus', '1.0.0'))
        # The stop of the old unit, its reload, the start of the new one: each is some call of these.
        for number in (6, 9, 12, 15):
            with self.subTest(number=number):
                self.fault(f'-o /dev/null -e trace=sendmsg -e inject=sendmsg:error=ECONNRESET:when={number}')
                result = self.ask('install', 'bus', self.tagged('bus', f'1.{number}.0'))
                status = self.settled('bus')
                self.assertEqual(status['quarantine'], [])
                self.assertState('bus', status['version'])
                self.assertIn(result['outcome'], ('done', 'failed', 'rolled-back', 'refused'), result)

    def test_unit_directory_that_cannot_be_written_changes_nothing(self):
        self.install('solid', self.tagged('solid', '1.0.0'))
        pid = self.pid('affix-solid.service')
        self.host.shell('mount --bind /etc/systemd/system /etc/systemd/system'
                        ' && mount -o remount,bind,ro /etc/systemd/system', check=True)
        try:
            result = self.ask('install', 'solid', self.tagged('solid', '1.1.0'))
        finally:
            self.host.run(['umount', '/etc/systemd/system'], check=True)
        self.assertNotEqual(result['outcome'], 'done')
        self.assertEqual(self.settled('solid')['version'], '1.0.0')
        self.assertEqual(self.pid('affix-solid.service'), pid)
        self.install('solid', self.tagged('solid', '1.1.0'))

    def test_service_that_does_not_stop_is_killed(self):
        for version in ('1.0.0', '1.1.0'):
            addon = self.addon('deaf', version, options='--ignore-term')
            addon.service['Service']['TimeoutStopSec'] = '2'
            self.install('deaf', self.work.bundle(addon))
            self.assertRuns('deaf', version)

    def test_masked_unit_is_refused_and_stays_masked(self):
        link = self.host.path('/etc/systemd/system/affix-mask.service')
        link.symlink_to('/dev/null')
        result = self.ask('install', 'mask', self.tagged('mask', '1.0.0'))
        self.assertEqual((result['outcome'], result['name']), ('refused', 'foreign-file'), result)
        self.assertEqual(os.readlink(link), '/dev/null')
        link.unlink()

    def test_administrators_drop_in_that_breaks_the_service_is_named(self):
        self.install('own', self.tagged('own', '1.0.0'))
        self.host.write('/etc/systemd/system/affix-own.service.d/10-mine.conf', '[Service]\nExecStartPre=/bin/false\n')
        self.host.run(['systemctl', 'daemon-reload'], check=True)
        result = self.ask('install', 'own', self.tagged('own', '1.1.0'))
        self.assertEqual((result['outcome'], result['name']), ('failed', 'host-at-fault'), result)
        self.assertIn('10-mine.conf', result['message'])
        self.assertEqual(self.status('own')['quarantine'], [])


if __name__ == '__main__':
    live.main()
