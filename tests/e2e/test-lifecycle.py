#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An add-on's life on a booted host: install, upgrade, configure, roll back, hold, repair, uninstall, reboot."""

import json

import live


class Lifecycle(live.Case):
    def test_install_makes_a_running_service_of_its_own_user(self):
        self.assertDone(self.install(self.addon('first', '1.0.0')))
        self.assertRuns('first', '1.0.0')
        pid = self.pid('affix-first.service')
        self.assertEqual(self.host.run(['stat', '-c', '%U:%G', f'/proc/{pid}'], check=True).stdout, 'affix-first:affix-first\n')
        unit, = self.status('first')['units']
        self.assertEqual(unit, {'name': 'affix-first.service', 'active_state': 'active', 'sub_state': 'running', 'result': 'success',
                                'main_pid': int(pid), 'restarts': 0})
        self.assertEqual(self.show('affix-first.service', 'UnitFileState'), 'enabled')

    def test_installing_the_same_bundle_twice_changes_nothing(self):
        bundle = self.work.bundle(self.addon('twice', '1.0.0'))
        self.assertDone(self.install(bundle))
        pid = self.pid('affix-twice.service')
        result = self.install(bundle)
        self.assertDone(result)
        self.assertIn('already', result['message'])
        self.assertEqual(self.pid('affix-twice.service'), pid)

    def test_upgrade_while_running_starts_the_new_version_and_keeps_the_old_one(self):
        self.assertDone(self.install(self.addon('grow', '1.0.0')))
        self.assertDone(self.install(self.addon('grow', '1.1.0')))
        self.assertRuns('grow', '1.1.0')
        self.assertEqual(self.status('grow')['previous']['version'], '1.0.0')

    def test_old_unit_never_runs_the_new_binary(self):
        log = '--write /var/lib/affix/order/log'
        for version in ('1.0.0', '1.1.0'):
            addon = self.addon('order', version, options=log)
            addon.service['Service'].update({'StateDirectory': 'affix/order', 'Restart': 'always', 'RestartSec': '0'})
            # The unit's tag says which unit started the binary, the binary's own line which version it is.
            addon.service['Service']['ExecStart'] += f' --tag unit-{version}'
            self.assertDone(self.install(addon))
        for line in self.lines('/var/lib/affix/order/log'):
            _, version, tag = line.split()[:3]
            self.assertEqual(tag, f'unit-{version}')

    def test_upgrade_that_renames_a_unit_leaves_no_trace_of_the_old_one(self):
        old = self.addon('rename', '1.0.0')
        old.units['affix-rename_extra.service'] = json.loads(json.dumps(old.service))
        del old.units['affix-rename_extra.service']['Install']
        self.assertDone(self.install(old))
        new = self.addon('rename', '1.1.0')
        new.units['affix-rename_other.service'] = json.loads(json.dumps(new.service))
        del new.units['affix-rename_other.service']['Install']
        self.assertDone(self.install(new))
        self.assertRuns('rename', '1.1.0')
        self.assertEqual(self.show('affix-rename_extra.service', 'LoadState'), 'not-found')
        self.assertEqual(self.show('affix-rename_other.service', 'LoadState'), 'loaded')
        self.assertFalse(self.host.path('/etc/systemd/system/affix-rename_extra.service.d').exists())

    def test_upgrade_that_drops_a_unit_stops_and_removes_it(self):
        old = self.addon('drop', '1.0.0')
        old.units['affix-drop_extra.service'] = json.loads(json.dumps(old.service))
        del old.units['affix-drop_extra.service']['Install']
        old.service['Unit']['Wants'] = 'affix-drop_extra.service'
        old.service['Install']['RequiredBy'] = 'affix-drop_extra.service'
        self.assertDone(self.install(old))
        self.assertEqual(self.show('affix-drop_extra.service', 'ActiveState'), 'active')
        self.assertIn('affix-drop.service', self.show('affix-drop_extra.service', 'Requires').split())
        self.assertDone(self.install(self.addon('drop', '1.1.0')))
        self.assertEqual(self.show('affix-drop_extra.service', 'LoadState'), 'not-found')
        self.assertEqual(list(self.host.path('/etc/systemd/system').glob('affix-drop_extra*')), [])

    def test_same_version_with_other_bytes_is_an_upgrade_when_it_was_made_later(self):
        self.assertDone(self.install(self.addon('same', '1.0.0')))
        later = self.work.build(self.addon('same', '1.0.0', options='--log rebuilt'))
        earlier = self.work.build(self.addon('same', '1.0.0', options='--log older'))
        self.assertDone(self.install(self.work.sign(later)))
        self.assertRuns('same', '1.0.0')
        self.assertRefused(self.install(self.work.sign(earlier, created=1_700_000_000)), 'same-version')
        self.assertDone(self.affix('rollback', 'same'))
        self.assertRuns('same', '1.0.0')

    def test_failed_build_of_a_recorded_version_leaves_the_recorded_one_its_files(self):
        for version in ('2.0.0', '3.0.0'):
            self.assertDone(self.install(self.addon('third', version)))
        versions = self.host.path('/opt/affix/third/versions')
        before = sorted(versions.rglob('*'))
        self.assertRolledBack(self.install(self.addon('third', '2.0.0', '--die-after 1 --exit 1'), '--allow-downgrade'))
        self.assertRuns('third', '3.0.0')
        self.assertEqual(sorted(versions.rglob('*')), before)
        self.assertDone(self.affix('rollback', 'third'))
        self.assertRuns('third', '2.0.0')

    def test_rollback_goes_back_and_not_forth(self):
        for version in ('1.0.0', '1.1.0'):
            self.assertDone(self.install(self.addon('back', version)))
        self.assertDone(self.affix('rollback', 'back'))
        self.assertRuns('back', '1.0.0')
        self.assertRefused(self.affix('rollback', 'back'), 'no-previous')
        self.assertRuns('back', '1.0.0')

    def test_downgrade_is_refused_unless_the_administrator_says_so(self):
        for version in ('1.0.0', '1.1.0'):
            self.assertDone(self.install(self.addon('floor', version)))
        old = self.work.bundle(self.addon('floor', '1.0.5'))
        self.assertRefused(self.install(old), 'downgrade')
        self.assertDone(self.install(old, '--allow-downgrade'))
        self.assertRuns('floor', '1.0.5')

    def test_floor_survives_uninstall(self):
        self.assertDone(self.install(self.addon('kept', '2.0.0')))
        self.assertDone(self.affix('uninstall', 'kept'))
        self.assertRefused(self.install(self.addon('kept', '1.0.0')), 'downgrade')

    def test_uninstall_leaves_nothing_but_the_user(self):
        self.assertDone(self.install(self.addon('gone', '1.0.0')))
        self.assertDone(self.affix('uninstall', 'gone'))
        self.assertGone('gone')
        self.assertRefused(self.affix('uninstall', 'gone'), 'not-installed')

    def test_uninstall_keeps_state_and_purge_removes_it(self):
        addon = self.addon('state', '1.0.0')
        addon.service['Service']['StateDirectory'] = 'affix/state'
        self.assertDone(self.install(addon))
        self.host.write('/var/lib/affix/state/kept', 'data')
        self.assertDone(self.affix('uninstall', 'state'))
        self.assertTrue(self.host.path('/var/lib/affix/state/kept').exists())
        self.assertDone(self.install(self.addon('state', '1.1.0')))
        self.assertDone(self.affix('uninstall', 'state', '--purge'))
        self.assertFalse(self.host.path('/var/lib/affix/state').exists())

    def test_configuration_reaches_the_service_as_a_credential_and_restarts_it(self):
        addon = self.addon('conf', '1.0.0')
        self.assertDone(self.install(addon))
        before = self.pid('affix-conf.service')
        self.host.write('/root/conf.json', '{"level": 3, "secret": "from afar"}')
        result = self.affix('configure', 'conf', '/root/conf.json')
        self.assertDone(result)
        self.assertEqual(result['data']['dropped_keys'], ['secret'])
        self.assertNotEqual(self.pid('affix-conf.service'), before)
        merged = json.loads(self.host.path('/etc/affix/addons/conf.json').read_text())
        self.assertEqual(merged, {'level': 3})
        self.assertRefused(self.configure('conf', {'level': -1}), 'bad-config')
        self.host.run(['mkdir', '-p', '/etc/affix/addons.d'], check=True)
        self.host.write('/etc/affix/addons.d/conf.json', '{"level": 9, "secret": "from here"}')
        self.assertDone(self.configure('conf', {'level': 4}))
        merged = json.loads(self.host.path('/etc/affix/addons/conf.json').read_text())
        self.assertEqual(merged, {'level': 9, 'secret': 'from here'})

    def configure(self, identifier, config):
        self.host.write('/root/c.json', json.dumps(config))
        return self.affix('configure', identifier, '/root/c.json')

    def test_drift_is_found_and_repaired(self):
        bundle = self.work.bundle(self.addon('drift', '1.0.0'))
        self.assertDone(self.install(bundle))
        unit = self.host.path('/etc/systemd/system/affix-drift.service')
        unit.write_text(unit.read_text() + '# changed\n')
        policy = self.host.path('/etc/systemd/system/affix-drift.service.d/zz-affix-policy.conf')
        policy.unlink()
        own = self.host.path('/etc/systemd/system/affix-drift.service.d/10-mine.conf')
        own.write_text('[Service]\nNice=5\n')
        found = {(item['kind'], item['path']) for item in self.drift('drift')['items']}
        self.assertIn(('content', '/etc/systemd/system/affix-drift.service'), found)
        self.assertIn(('missing', '/etc/systemd/system/affix-drift.service.d/zz-affix-policy.conf'), found)
        self.assertIn(('local-override', '/etc/systemd/system/affix-drift.service.d/10-mine.conf'), found)
        self.assertDone(self.affix('repair', 'drift'))
        self.assertFalse(self.drift('drift')['drifted'])
        self.assertTrue(own.exists())

    def test_what_was_stopped_disabled_or_masked_by_hand_is_drift_and_repaired(self):
        self.assertDone(self.install(self.addon('hand', '1.0.0')))
        unit = self.host.path('/etc/systemd/system/affix-hand.service')
        for kind, path, command in (
            ('stopped', 'affix-hand.service', 'systemctl stop affix-hand.service'),
            ('missing', '/etc/systemd/system/multi-user.target.wants/affix-hand.service', 'systemctl disable --now affix-hand.service'),
            ('not-loaded', 'affix-hand.service', f'ln -sf /dev/null {"/etc/systemd/system/affix-hand.service"}; systemctl daemon-reload; systemctl stop affix-hand.service'),
        ):
            with self.subTest(kind):
                self.host.shell(command, check=True)
                drift = self.drift('hand')
                self.assertTrue(drift['drifted'], drift)
                self.assertIn((kind, path), {(item['kind'], item['path']) for item in drift['items']})
                self.assertDone(self.affix('repair', 'hand'))
                self.assertRuns('hand', '1.0.0')
                self.assertFalse(unit.is_symlink())
                self.assertEqual((self.drift('hand')['drifted'], self.drift('hand')['items']), (False, []))
        self.host.run(['systemctl', 'kill', '--signal=KILL', 'affix-hand.service'], check=True)
        self.until(lambda: self.show('affix-hand.service', 'ActiveState') == 'failed')
        self.assertDone(self.affix('repair', 'hand'))
        self.assertRuns('hand', '1.0.0')

    def test_mask_where_systemd_looks_first_bars_what_starts_and_leaves_nothing_open(self):
        self.assertDone(self.install(self.addon('early', '1.0.0')))
        self.host.shell('mkdir -p /etc/systemd/system.control && ln -s /dev/null /etc/systemd/system.control/affix-early.service'
                        ' && systemctl daemon-reload && systemctl stop affix-early.service', check=True)
        self.assertRefused(self.affix('repair', 'early'), 'held')
        self.assertRefused(self.install(self.addon('early', '1.1.0')), 'held')
        self.assertDone(self.affix('hold', 'early', '--stop'))
        self.assertDone(self.affix('hold', 'early', '--release'))
        self.assertEqual(self.show('affix-early.service', 'LoadState'), 'masked')
        self.host.shell('rm -r /etc/systemd/system.control && systemctl daemon-reload', check=True)
        self.assertDone(self.affix('repair', 'early'))
        self.assertRuns('early', '1.0.0')

    def test_stopped_timer_is_drift_and_repaired(self):
        addon = self.addon('clock', '1.0.0', options='--die-after 0 --exit 0', supervision='systemd-timer', timer={'OnCalendar': 'hourly'})
        self.assertDone(self.install(addon))
        self.assertFalse(self.drift('clock')['drifted'])
        self.host.run(['systemctl', 'stop', 'affix-clock.timer'], check=True)
        self.assertEqual([item['kind'] for item in self.drift('clock')['items']], ['stopped'])
        self.assertDone(self.affix('repair', 'clock'))
        self.assertEqual(self.show('affix-clock.timer', 'ActiveState'), 'active')

    def drift(self, identifier):
        return self.affix('drift', identifier)['data']['addons'][0]

    def test_repair_of_bytes_needs_the_bundle(self):
        bundle = self.work.bundle(self.addon('bytes', '1.0.0'))
        self.assertDone(self.install(bundle))
        binary = self.host.path('/opt/affix/bytes/versions/1.0.0/bytes')
        data = binary.read_bytes()
        binary.unlink()
        binary.write_bytes(data + b'x')
        binary.chmod(0o755)
        self.assertRefused(self.affix('repair', 'bytes'), 'needs-bundle')
        self.assertDone(self.affix('repair', 'bytes', '--bundle', self.send(bundle)))
        self.assertEqual(binary.read_bytes(), data)
        self.assertRuns('bytes', '1.0.0')

    def test_hold_stops_an_addon_across_a_reboot_and_lets_go(self):
        self.assertDone(self.install(self.addon('hold', '1.0.0')))
        self.assertDone(self.affix('hold', 'hold', '--stop', '--reason', 'investigating'))
        self.assertEqual(self.show('affix-hold.service', 'ActiveState'), 'inactive')
        self.host.reboot()
        self.assertEqual(self.show('affix-hold.service', 'ActiveState'), 'inactive')
        self.assertTrue(self.status('hold')['held'])
        self.assertDone(self.affix('hold', 'hold', '--release'))
        self.until(lambda: self.show('affix-hold.service', 'ActiveState') == 'active')

    def test_stopped_addon_stays_stopped_whatever_is_done_to_it(self):
        self.assertDone(self.install(self.addon('rest', '1.0.0')))
        self.assertDone(self.affix('hold', 'rest', '--stop'))
        wants = self.host.path('/etc/systemd/system/multi-user.target.wants/affix-rest.service')
        for step in (lambda: self.install(self.addon('rest', '1.1.0')), lambda: self.affix('rollback', 'rest')):
            self.assertDone(step())
            self.assertEqual(self.show('affix-rest.service', 'ActiveState'), 'inactive')
            self.assertFalse(wants.is_symlink())
            self.assertFalse(self.drift('rest')['drifted'])
        self.assertDone(self.affix('hold', 'rest', '--release'))
        self.until(lambda: self.show('affix-rest.service', 'ActiveState') == 'active')
        self.assertTrue(wants.is_symlink())

    def test_addon_starts_again_after_a_reboot(self):
        self.assertDone(self.install(self.addon('boot', '1.0.0')))
        self.host.reboot()
        self.until(lambda: self.show('affix-boot.service', 'ActiveState') == 'active')
        self.assertRuns('boot', '1.0.0')

    def test_timer_runs_its_job_once_and_has_a_next_trigger(self):
        addon = self.addon('tick', '1.0.0', options='--die-after 0 --exit 0', supervision='systemd-timer',
                           timer={'OnCalendar': 'hourly'})
        self.assertDone(self.install(addon))
        self.assertEqual(self.show('affix-tick.timer', 'ActiveState'), 'active')
        self.assertEqual(self.show('affix-tick.service', 'Result'), 'success')
        self.assertNotEqual(self.show('affix-tick.service', 'ExecMainStartTimestampMonotonic'), '0')

    def test_limits_may_be_lowered_by_a_request_and_not_raised(self):
        addon = self.addon('limit', '1.0.0')
        addon.manifest['resources'] = {'tasks_max': 20}
        bundle = self.work.bundle(addon)
        self.assertRefused(self.install(bundle, '--limit', 'tasks_max=30'), 'bad-limits')
        self.assertDone(self.install(bundle, '--limit', 'tasks_max=10'))
        self.assertEqual(self.show('affix-limit.service', 'TasksMax'), '10')
        # Another configuration takes nothing back.
        self.host.path('/root/limit.json').write_text('{"level": 1}')
        self.assertDone(self.affix('configure', 'limit', '/root/limit.json'))
        self.assertEqual(self.show('affix-limit.service', 'TasksMax'), '10')
        # Another version has the manifest's own again, unless it is asked for less.
        addon.manifest['version'] = '1.1.0'
        self.assertDone(self.install(self.work.bundle(addon)))
        self.assertEqual(self.show('affix-limit.service', 'TasksMax'), '20')


if __name__ == '__main__':
    live.main()
