#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What counts as healthy, and what the host does when a version is not: back to the old one, which is watched in turn."""

import os
import time

import hanging
import live


class Health(live.Case):
    def upgrade(self, identifier, options='', good=None, **changes):
        """Installs a good 1.0.0, then a 1.1.0 with these options; the result of the latter."""
        good = good or self.addon(identifier, '1.0.0')
        self.assertDone(self.install(good))
        bad = self.addon(identifier, '1.1.0', options=options)
        bad.service['Service'].update(changes.get('service', {}))
        bad.manifest['health'].update(changes.get('health', {}))
        return self.install(bad)

    def assertBack(self, identifier, result):
        self.assertRolledBack(result)
        self.assertRuns(identifier, '1.0.0')
        status = self.status(identifier)
        self.assertEqual(status['version'], '1.0.0')
        self.assertEqual([entry['version'] for entry in status['quarantine']], ['1.1.0'])

    def test_dies_at_once(self):
        result = self.upgrade('dies', '--die-after 0 --log last-words --log-lines 70')
        self.assertBack('dies', result)
        self.assertEqual(len(result['log']), 50)
        self.assertTrue(any(line.endswith(': 69 last-words') for line in result['log']), result['log'])

    def test_dies_just_before_the_window_ends(self):
        self.assertBack('late', self.upgrade('late', '--die-after 1900', health={'window_seconds': 2}))

    def test_forks_away(self):
        self.assertBack('forks', self.upgrade('forks', '--fork-away'))

    def test_restarts_more_often_than_allowed(self):
        service = {'Restart': 'always', 'RestartSec': '100ms'}
        self.assertBack('again', self.upgrade('again', '--die-after 200', service=service))

    def test_restart_that_is_still_to_come_counts_at_once(self):
        self.assertDone(self.install(self.addon('slow', '1.0.0')))
        bad = self.addon('slow', '1.1.0', options='--die-after 300')
        bad.service['Service'].update({'Restart': 'on-failure', 'RestartSec': '60'})
        bad.manifest['health']['window_seconds'] = 90
        began = time.monotonic()
        self.assertRolledBack(self.install(bad))
        self.assertLess(time.monotonic() - began, 30)

    def test_restarts_as_often_as_allowed_are_no_fault(self):
        addon = self.addon('allowed', '1.0.0', options='--die-after 700')
        addon.service['Service'].update({'Restart': 'always', 'RestartSec': '100ms'})
        addon.manifest['health'].update({'max_restarts': 3})
        self.assertDone(self.install(addon))

    def test_notify_is_waited_for(self):
        addon = self.addon('ready', '1.0.0', options='--notify-after 1500')
        addon.service['Service']['Type'] = 'notify'
        began = time.monotonic()
        self.assertDone(self.install(addon))
        self.assertGreater(time.monotonic() - began, 2.4)

    def test_never_becomes_ready(self):
        service = {'Type': 'notify', 'TimeoutStartSec': '2'}
        self.assertBack('never', self.upgrade('never', '', service=service))

    def socket_addon(self, identifier, version, options):
        addon = self.addon(identifier, version, options=f'--listen /run/affix/{identifier}/s {options}')
        addon.service['Service']['RuntimeDirectory'] = f'affix/{identifier}'
        addon.manifest['health'].update({'ready_socket': f'/run/affix/{identifier}/s', 'window_seconds': 2})
        return addon

    def test_ready_socket_must_accept(self):
        self.assertDone(self.install(self.socket_addon('sock', '1.0.0', '')))
        self.assertBack('sock', self.install(self.socket_addon('sock', '1.1.0', '--close-after 500')))

    def test_becomes_ready_and_then_hangs(self):
        self.assertDone(self.install(self.socket_addon('hang', '1.0.0', '')))
        self.assertBack('hang', self.install(self.socket_addon('hang', '1.1.0', '--hang-after 600')))

    def test_capabilities_are_those_granted(self):
        addon = self.addon('caps', '1.0.0')
        addon.manifest['requires']['os_capabilities'] = ['cap_net_raw']
        addon.service['Service'].update({'AmbientCapabilities': 'CAP_NET_RAW', 'CapabilityBoundingSet': 'CAP_NET_RAW'})
        self.assertDone(self.install(addon))
        status = self.host.run(['cat', f"/proc/{self.pid('affix-caps.service')}/status"]).stdout
        wanted = f'{1 << 13:016x}'
        for field in ('CapBnd', 'CapAmb'):
            self.assertIn(f'{field}:\t{wanted}', status)

    def test_file_capabilities_stay_with_the_addons_group(self):
        addon = self.addon('fcap', '1.0.0')
        addon.manifest['requires']['os_capabilities'] = ['cap_net_raw']
        addon.manifest['exec']['file_capabilities'] = True
        self.assertDone(self.install(addon))
        listing = self.host.run(['stat', '-c', '%a %U %G', '/opt/affix/fcap/versions/1.0.0/fcap']).stdout.strip()
        self.assertEqual(listing, '750 root affix-fcap')

    def test_bad_version_that_will_not_stop_does_not_delay_the_way_back(self):
        began = time.monotonic()
        # It ends soon enough, but what is started after its end does not.
        result = self.upgrade('deaf', '--ignore-term', service={'TimeoutStopSec': '300', 'Type': 'notify',
                                                               'TimeoutStartSec': '2', 'ExecStopPost':
                                                               '/opt/affix/deaf/current/deaf --ignore-term'})
        self.assertBack('deaf', result)
        self.assertLess(time.monotonic() - began, 60)

    def test_bad_version_that_cannot_be_killed_does_not_keep_the_files(self):
        if hanging.unavailable():
            self.skipTest(hanging.unavailable())
        with hanging.File('stuck', 200, inside=self.host.leader):
            self.assertDone(self.install(self.addon('stuck', '1.0.0')))
            bad = self.addon('stuck', '1.1.0', options=f'--config {hanging.INSIDE}/file')
            bad.service['Service'].update({'Type': 'notify', 'TimeoutStartSec': '2'})
            # Its sibling can be stopped, and is.
            bad.service['Unit']['Wants'] = 'affix-stuck_side.service'
            side = self.addon('stuck', '1.1.0').service
            del side['Install']
            bad.units['affix-stuck_side.service'] = side
            result = self.install(bad)
            self.assertEqual((result['outcome'], result['name']), ('failed', 'host-at-fault'), result)
            self.assertEqual(os.readlink(self.host.path('/opt/affix/stuck/current')), 'versions/1.0.0')
            self.assertIsNone(self.status('stuck')['transaction'])
            self.assertNotEqual(self.show('affix-stuck_side.service', 'ActiveState'), 'active')
        # It dies when the kernel lets it, and who waited for it starts.
        self.until(lambda: self.show('affix-stuck.service', 'ActiveState') == 'active', 30)
        self.assertRuns('stuck', '1.0.0')
        self.host.run(['umount', '--lazy', hanging.INSIDE], check=True)

    def test_first_install_that_fails_leaves_nothing_but_the_user(self):
        self.assertRolledBack(self.install(self.addon('fresh', '1.0.0', options='--die-after 0')))
        self.assertGone('fresh')

    def test_a_quarantined_plan_is_refused_until_it_is_cleared(self):
        self.assertDone(self.install(self.addon('jail', '1.0.0')))
        bad = self.work.bundle(self.addon('jail', '1.1.0', options='--die-after 0'))
        self.assertRolledBack(self.install(bad))
        self.assertRefused(self.install(bad), 'quarantined')
        self.assertDone(self.affix('clear-quarantine', 'jail'))
        self.assertRolledBack(self.install(bad))

    def test_three_quarantined_plans_bar_the_version(self):
        self.assertDone(self.install(self.addon('bar', '1.0.0')))
        for number in range(3):
            self.assertRolledBack(self.install(self.addon('bar', '1.1.0', options=f'--die-after 0 --log {number}')))
        self.assertRefused(self.install(self.addon('bar', '1.1.0', options='--die-after 0 --log x')), 'version-barred')

    def test_when_the_old_version_fails_as_well_nothing_is_quarantined(self):
        # What both need is a file, as it might be a network, that is there at first and then is not.
        need = '--need-file /var/lib/affix/world/up'
        good = self.addon('world', '1.0.0', options=need)
        good.service['Service']['StateDirectory'] = 'affix/world'
        self.host.run(['mkdir', '-p', '/var/lib/affix/world'], check=True)
        self.host.write('/var/lib/affix/world/up', '')
        self.assertDone(self.install(good))
        self.host.path('/var/lib/affix/world/up').unlink()
        result = self.install(self.addon('world', '1.1.0', options=need))
        self.assertEqual((result['outcome'], result['name'], result['exit']), ('failed', 'host-at-fault', 3))
        status = self.status('world')
        self.assertEqual((status['quarantine'], status['version']), ([], '1.0.0'))

    def test_failed_upgrade_of_a_version_that_is_lost_says_so_and_leaves_a_way_out(self):
        self.assertDone(self.install(self.addon('lost', '1.0.0')))
        self.host.run(['rm', '-r', '/opt/affix/lost/versions/1.0.0'], check=True)
        result = self.install(self.addon('lost', '1.1.0', options='--die-after 0'))
        self.assertEqual((result['outcome'], result['name'], result['exit']), ('failed', 'old-version-lost', 3), result)
        self.assertIn('1.0.0 is lost', result['message'])
        self.assertIsNone(self.status('lost')['transaction'])
        self.assertDone(self.install(self.addon('lost', '1.2.0')))
        self.assertRuns('lost', '1.2.0')
        self.assertRefused(self.affix('rollback', 'lost'), 'no-previous')

    def assertSpared(self, identifier, result, drop_in):
        self.assertRolledBack(result)
        self.assertIn(drop_in, result['message'])
        self.assertEqual(self.status(identifier)['quarantine'], [])

    def test_failure_under_an_administrators_drop_in_names_it_and_quarantines_nothing(self):
        own = '/etc/systemd/system/affix-mine.service.d/10-mine.conf'
        self.host.run(['mkdir', '-p', own.rpartition('/')[0]], check=True)
        self.host.write(own, '[Service]\nExecStartPre=/bin/false\n')
        bundle = self.work.bundle(self.addon('mine', '1.0.0'))
        self.assertSpared('mine', self.install(bundle), own)
        self.host.path(own).unlink()
        self.assertDone(self.install(bundle))
        # Nor where the old version stands it.
        self.host.write(own, '[Service]\nEnvironment=STRICT=1\n')
        self.host.run(['systemctl', 'daemon-reload'], check=True)
        self.assertSpared('mine', self.install(self.addon('mine', '1.1.0', options='--die-after 0')), own)
        self.assertRuns('mine', '1.0.0')

    def test_failure_under_a_drop_in_for_all_services_quarantines_nothing(self):
        everyones = '/etc/systemd/system/service.d/10-everyone.conf'
        self.host.run(['mkdir', '-p', everyones.rpartition('/')[0]], check=True)
        self.host.write(everyones, '[Service]\nEnvironment=EVERYONE=1\n')
        self.addCleanup(self.host.run, ['sh', '-c', f'rm {everyones}; systemctl daemon-reload'])
        bad = self.work.bundle(self.addon('every', '1.0.0', options='--die-after 0'))
        self.assertSpared('every', self.install(bad), everyones)
        self.host.path(everyones).unlink()
        self.assertRolledBack(self.install(bad))
        self.assertEqual(len(self.status('every')['quarantine']), 1)

    def test_start_limit_and_failures_of_earlier_versions_are_forgotten(self):
        limits = {'StartLimitIntervalSec': '3600', 'StartLimitBurst': '2'}
        bad = self.addon('limit', '1.0.0', options='--die-after 0')
        bad.service['Unit'].update(limits)
        bad.service['Service'].update({'Restart': 'always', 'RestartSec': '0'})
        bad.manifest['health']['max_restarts'] = 9
        self.assertRolledBack(self.install(bad))
        self.assertNotIn('affix-limit', self.host.run(['systemctl', 'list-units', '--all', '--plain', '--no-legend', 'affix-limit*']).stdout)
        for number in range(3):
            good = self.addon('limit', f'1.{number}.1')
            good.service['Unit'].update(limits)
            self.assertDone(self.install(good))
        bad.manifest['version'] = bad.version = '1.3.0'
        self.assertRolledBack(self.install(bad))
        self.assertRuns('limit', '1.2.1')

    def test_timer_whose_job_fails_is_rolled_back(self):
        timer = {'OnCalendar': 'hourly'}
        good = self.addon('job', '1.0.0', options='--die-after 0 --exit 0', supervision='systemd-timer', timer=timer)
        self.assertDone(self.install(good))
        bad = self.addon('job', '1.1.0', options='--die-after 0 --exit 9', supervision='systemd-timer', timer=timer)
        self.assertRolledBack(self.install(bad))
        self.assertEqual(self.show('affix-job.timer', 'ActiveState'), 'active')
        self.assertEqual(self.status('job')['version'], '1.0.0')

    def test_timer_without_a_next_trigger_is_rolled_back(self):
        good = {'OnCalendar': 'hourly'}
        options = '--die-after 0 --exit 0'
        self.assertDone(self.install(self.addon('once', '1.0.0', options=options, supervision='systemd-timer', timer=good)))
        past = {'OnCalendar': '2020-01-01 00:00:00'}
        result = self.install(self.addon('once', '1.1.0', options=options, supervision='systemd-timer', timer=past))
        self.assertRolledBack(result)


if __name__ == '__main__':
    live.main()
