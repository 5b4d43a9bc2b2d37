# SPDX-License-Identifier: Apache-2.0
"""Refusals: what a request may not ask for, what the host's state forbids, and what stands in the way."""

import fcntl
import os
import shutil
import struct
import subprocess
import time

import agent
import fixture
import hostile
from refusals import HOST, IMPOSSIBLE, TREE, case

INSTALL = {'verb': 'install', 'fds': ['bundle', 'signature']}
IMPOSSIBLE.update({
    ('unknown-verb', TREE): 'the command line has no way to name a verb that it does not know',
    ('forbidden', TREE): 'whoever may write to a tree is its administrator',
    ('protected', TREE): 'protection is from the fleet, and a tree has none',
    ('held', TREE): 'a hold is against the fleet, and a tree has none',
    ('timeout', TREE): 'nothing is waited for but the bytes of a local file, for a minute',
    ('no-manager', TREE): 'there is no systemd',
})


def pair(bundle):
    return [bundle, bundle.with_name(f'{bundle.name}.minisig')]


# --- versions -------------------------------------------------------------------------------------


@case('downgrade', 'a version below the newest that was ever installed')
def older(place):
    place.installed('1.1.0')
    for version in ('1.0.0', '1.1.0-rc.1', '0.9.9', '1.0.99999'):
        place.refuses('downgrade', 'install', place.bundle(version))
    # Neither a rollback nor an uninstall lowers the floor.
    place.installed('1.2.0')
    place.ask('rollback', place.id, as_admin=True)
    place.refuses('downgrade', 'install', place.bundle('1.1.5'))
    place.ask('uninstall', place.id, as_admin=True)
    place.refuses('downgrade', 'install', place.bundle('1.1.0'))


@case('downgrade', 'a higher version of an earlier epoch')
def earlier_epoch(place):
    place.installed('1.0.0', epoch=2)
    place.refuses('downgrade', 'install', place.bundle('9.0.0', epoch=1))
    place.refuses('downgrade', 'install', place.bundle('9.0.0'))


@case('same-version', 'other bytes of the version that is installed, not made later')
def same_version(place):
    place.installed('1.0.0')
    created = place.work.created
    for moment in (created - 1, created, 1_700_000_000):
        addon = place.addon()
        addon.extra = {'note': f'{moment}'}
        place.refuses('same-version', 'install', place.bundle(addon=addon, created=hostile.moment(moment)))
    # Nor after an uninstall.
    place.ask('uninstall', place.id, as_admin=True)
    place.refuses('same-version', 'install', place.bundle(created=hostile.moment(created - 1)))


def failing(place, note):
    addon = place.addon(options='--die-after 0 --exit 1')
    addon.extra = {'note': note}
    return place.work.bundle(addon)


@case('quarantined', 'a plan that failed here')
def quarantined(place):
    bundle = failing(place, 'bad')
    if place.way == HOST:
        answer = place.ask('install', bundle)
        place.test.assertEqual((answer.result['outcome'], answer.code), ('rolled-back', 3), answer)
    else:
        place.installed('0.9.0')
        plan = place.ask('plan', bundle).result['plan']
        place.edit_record(lambda record: record['quarantine'].append(entry(plan)))
    place.refuses('quarantined', 'install', bundle)


def entry(plan, version='1.0.0', since=None):
    return {'plan': plan, 'version': version, 'since': since or int(time.time()), 'reason': 'it ended'}


@case('version-barred', 'a version of which three plans failed within a day')
def barred(place):
    bundles = [failing(place, f'try {i}') for i in range(4)]
    if place.way == HOST:
        for bundle in bundles[:3]:
            place.test.assertEqual(place.ask('install', bundle).code, 3)
    else:
        place.installed('0.9.0')
        place.edit_record(lambda record: record['quarantine'].extend(entry(f'{i}' * 128) for i in range(3)))
    place.refuses('version-barred', 'install', bundles[3])
    # A clock that was set back makes nothing old.
    place.edit_record(lambda record: [plan.update(since=4102444800) for plan in record['quarantine']])
    place.refuses('version-barred', 'install', bundles[3])


# --- foreign files --------------------------------------------------------------------------------

SYSTEM = '/etc/systemd/system'
for title, where in {
    'a unit': SYSTEM + '/affix-{id}.service', 'a vendor unit': '/usr/lib/systemd/system/affix-{id}.service',
    'a local vendor unit': '/usr/local/lib/systemd/system/affix-{id}.service', 'a wants link': SYSTEM + '/multi-user.target.wants/affix-{id}.service',
    'a version directory': '/opt/affix/{id}/versions/1.0.0/x', 'a file for a version directory': '/opt/affix/{id}/versions/1.0.0',
    'a file for the versions': '/opt/affix/{id}/versions', 'a file for the add-on': '/opt/affix/{id}', 'a current version': '/opt/affix/{id}/current',
    'a directory for the current version': '/opt/affix/{id}/current/x', 'configuration': '/etc/affix/addons/{id}.json',
    'a file for users': '/etc/sysusers.d/affix-{id}.conf', "a drop-in of affix's name": SYSTEM + '/affix-{id}.service.d/50-affix.conf',
    'a policy of the name': SYSTEM + '/affix-{id}.service.d/zz-affix-policy.conf', 'a file for the drop-ins': SYSTEM + '/affix-{id}.service.d',
    'a directory for a unit': SYSTEM + '/affix-{id}.service/x',
}.items():
    @case('foreign-file', f"{title} that is not affix's", dense=True)
    def in_the_way(place, where=where):
        bundle = place.bundle()
        place.file(where.replace('{id}', place.id), '# mine\n')
        place.refuses('foreign-file', 'install', bundle)

for title, (where, target) in {
    'a unit that is masked': (SYSTEM + '/affix-{id}.service', '/dev/null'),
    'a unit that is a link to itself': (SYSTEM + '/affix-{id}.service', 'affix-{id}.service'),
    'a wants link elsewhere': (SYSTEM + '/multi-user.target.wants/affix-{id}.service', '/etc/passwd'),
    'a drop-in directory that is a link': (SYSTEM + '/affix-{id}.service.d', '/srv/elsewhere'),
    'a drop-in directory that is a link to nothing': (SYSTEM + '/affix-{id}.service.d', '/nowhere'),
    'an add-on that is a link': ('/opt/affix/{id}', '/srv/elsewhere'),
    'an add-on that is a link to nothing': ('/opt/affix/{id}', '/nowhere'),
    'versions that are a link': ('/opt/affix/{id}/versions', '/srv/elsewhere'),
    'a version that is a link': ('/opt/affix/{id}/versions/1.0.0', '/srv/elsewhere'),
    'a current version that is a link': ('/opt/affix/{id}/current', '/srv/elsewhere'),
    'configuration that is a link': ('/etc/affix/addons/{id}.json', '/etc/shadow'),
    'users that are a link': ('/etc/sysusers.d/affix-{id}.conf', '/dev/null'),
}.items():
    @case('foreign-file', title)
    def linked(place, where=where, target=target):
        bundle = place.bundle()
        place.directory('/srv/elsewhere')
        place.link(where.replace('{id}', place.id), target.replace('{id}', place.id))
        place.refuses('foreign-file', 'install', bundle)


@case('foreign-file', 'what an upgrade would bring, and a rollback')
def later_in_the_way(place):
    place.installed('1.0.0')
    addon = place.addon('1.1.0')
    addon.units[f'affix-{place.id}_more.service'] = {'Service': dict(addon.service['Service'])}
    bundle = place.bundle(addon=addon)
    mine = place.file(f'{SYSTEM}/affix-{place.id}_more.service', '# mine\n')
    place.refuses('foreign-file', 'install', bundle)
    text = mine.read_text()
    mine.unlink()
    place.installed(addon=addon)
    place.installed('1.2.0')
    mine.write_text(text)
    place.refuses('foreign-file', 'rollback', place.id)


@case('foreign-file', 'a directory where the add-on that is installed has a file')
def directory_for_own(place):
    place.installed('1.0.0')
    bundle = place.bundle('1.1.0')
    for inside in (f'{SYSTEM}/affix-{place.id}.service', f'/etc/affix/addons/{place.id}.json', f'/opt/affix/{place.id}/current'):
        path, kept = place.path(inside), place.path(f'{inside}.kept')
        path.rename(kept)
        path.mkdir()
        for words in (['repair', place.id], ['install', bundle]):
            place.refuses('foreign-file', *words)
        path.rmdir()
        kept.rename(path)


# --- room -----------------------------------------------------------------------------------------


def mount(place, inside, kind, options=''):
    """A file system of the case's own, until it ends."""
    path = place.directory(inside)
    words = ['mount', '-t', kind, *(['-o', options] if options else []), 'none']
    if place.way == HOST:
        place.host.run([*words, inside], check=True)
        place.stack.callback(place.host.run, ['umount', '--lazy', inside])
    else:
        fixture.run([*words, path])
        place.stack.callback(fixture.run, ['umount', '--lazy', path])


def large(place, size=1 << 20):
    addon = place.addon()
    addon.extra = {'data': os.urandom(size)}
    return place.bundle(addon=addon)


@case('no-space', 'not enough room for bytes')
def no_space(place):
    bundle = large(place)
    mount(place, '/opt', 'tmpfs', 'size=512k,mode=755')
    place.refuses('no-space', 'install', bundle)


@case('no-space', 'not enough room for what a switch needs')
def no_spare_space(place):
    bundle = place.bundle()
    mount(place, '/opt', 'tmpfs', 'size=64k,mode=755')
    place.refuses('no-space', 'install', bundle)


@case('no-space', 'not enough room for the copy that is verified')
def no_space_for_copy(place):
    bundle = large(place, 5 << 20)
    mount(place, '/var/lib/affix', 'tmpfs', 'size=512k,mode=755')
    place.refuses('no-space', 'install', bundle)


@case('no-space', 'not enough room for units and configuration')
def no_space_for_units(place):
    bundle = place.bundle()
    trust = place.work.public.read_bytes()
    mount(place, '/etc/affix', 'tmpfs', 'size=300k,mode=755')
    place.file('/etc/affix/trust.d/test.pub', trust)
    mount(place, SYSTEM, 'tmpfs', 'size=4k,mode=755')
    place.refuses('no-space', 'install', bundle)


@case('no-inodes', 'not enough inodes')
def no_inodes(place):
    bundle = place.bundle()
    mount(place, '/opt', 'tmpfs', 'nr_inodes=6,mode=755')
    place.refuses('no-inodes', 'install', bundle)


@case('no-inodes', 'no inode for the copy that is verified')
def no_inodes_for_copy(place):
    bundle = large(place, 5 << 20)
    mount(place, '/var/lib/affix', 'tmpfs', 'nr_inodes=2,mode=755')
    place.directory('/var/lib/affix/updater').chmod(0o700)
    place.refuses('no-inodes', 'install', bundle)


@case('unsupported-filesystem', 'a file system that has no nameless files')
def no_nameless_files(place):
    """bpffs has directories and links, and nothing else that affix needs."""
    bundle = place.bundle()
    mount(place, '/opt', 'bpf')
    place.refuses('unsupported-filesystem', 'install', bundle)


@case('unsupported-filesystem', 'a file system that is mounted read-only')
def read_only(place):
    bundle = place.bundle()
    for inside in ('/opt', SYSTEM):
        mount(place, inside, 'tmpfs', 'size=4m,mode=755,ro')
        place.refuses('unsupported-filesystem', 'install', bundle)


# --- other operations -----------------------------------------------------------------------------


@case('not-installed', 'an add-on that is not here')
def not_installed(place):
    config = place.work.fresh('config.json')
    config.write_text('{}')
    bundle = place.bundle()
    for words in (['rollback', place.id], ['uninstall', place.id], ['configure', place.id, config], ['configure', place.id, '--reread'],
                  ['status', place.id], ['drift', place.id], ['repair', place.id], ['repair', place.id, '--bundle', bundle]):
        place.refuses('not-installed', *words)
    for words in (['hold', place.id], ['hold', place.id, '--release'], ['prune', place.id], ['clear-quarantine', place.id],
                  ['rollback', place.id, '--to', '1.0.0'], ['uninstall', place.id, '--purge']):
        place.refuses('not-installed', *words, as_admin=True)
    # Ids are free, and what is kept for each of them is not.
    locks = place.path('/var/lib/affix/updater/locks')
    place.test.assertEqual(list(locks.glob(f'{place.id}.*')) if locks.exists() else [], [])


@case('not-installed', 'an add-on that is no longer here')
def uninstalled(place):
    place.installed()
    place.ask('uninstall', place.id, as_admin=True)
    for words in (['rollback', place.id], ['uninstall', place.id], ['drift', place.id], ['repair', place.id]):
        place.refuses('not-installed', *words)


@case('no-previous', 'a rollback from the only version')
def no_previous(place):
    place.installed()
    place.refuses('no-previous', 'rollback', place.id)
    for version in ('0.9.0', '1.0.1', '9.9.9'):
        place.refuses('no-previous', 'rollback', place.id, '--to', version, as_admin=True)


@case('no-previous', 'a rollback forth')
def no_way_forth(place):
    place.installed('1.0.0')
    place.installed('1.1.0')
    place.ask('rollback', place.id)
    place.refuses('no-previous', 'rollback', place.id, as_admin=True)


@case('forbidden', "a second step back by the fleet, which would end at the oldest version", only=HOST)
def second_step(place):
    for version in ('1.0.0', '1.1.0', '1.2.0'):
        place.installed(version)
    place.test.assertEqual(place.ask('rollback', place.id).code, 0)
    place.refuses('forbidden', 'rollback', place.id)


def damage(path):
    """Other bytes of the same length, where nothing runs any more."""
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-2] + b'?\n')
    path.chmod(0o755)


@case('rollback-impossible', 'a rollback to files that are changed or gone')
def damaged_target(place):
    place.installed('1.0.0')
    place.installed('1.1.0')
    version = place.path(f'/opt/affix/{place.id}/versions/1.0.0')
    damage(version / place.id)
    place.refuses('rollback-impossible', 'rollback', place.id)
    (version / place.id).unlink()
    place.refuses('rollback-impossible', 'rollback', place.id)
    away = place.path('/srv/away')
    place.directory('/srv')
    shutil.move(version, away)
    place.stack.callback(shutil.rmtree, away)
    place.refuses('rollback-impossible', 'rollback', place.id)
    version.symlink_to('/srv/away')
    place.refuses('rollback-impossible', 'rollback', place.id)


@case('needs-bundle', 'a repair of bytes that only a bundle has')
def damaged_bytes(place):
    place.installed()
    damage(place.path(f'/opt/affix/{place.id}/versions/1.0.0/{place.id}'))
    place.refuses('needs-bundle', 'repair', place.id)
    # Another bundle of the version will not do.
    addon = place.addon()
    addon.extra = {'note': 'rebuilt'}
    place.refuses('needs-bundle', 'repair', place.id, '--bundle', place.bundle(addon=addon))
    place.refuses('needs-bundle', 'repair', place.id, '--bundle', place.bundle('1.1.0'))


@case('needs-bundle', 'configuration for files that are changed or gone')
def damaged_manifest(place):
    place.installed()
    config = place.work.fresh('config.json')
    config.write_text('{"level": 7}')
    version = place.path(f'/opt/affix/{place.id}/versions/1.0.0')
    for name in ('config.schema.json', 'addon.yaml', f'affix-{place.id}.service'):
        path = version / name
        old = path.read_text()
        path.write_text(old + ' ')
        place.refuses('needs-bundle', 'configure', place.id, config)
        path.unlink()
        place.refuses('needs-bundle', 'configure', place.id, config)
        path.symlink_to('/etc/passwd')
        place.refuses('needs-bundle', 'configure', place.id, config)
        path.unlink()
        path.write_text(old)
    shutil.rmtree(version)
    place.refuses('needs-bundle', 'configure', place.id, config)


@case('busy', 'an add-on that another operation works on')
def busy(place):
    if place.way == TREE:
        return busy_tree(place)
    addon = place.addon()
    addon.manifest['health']['window_seconds'] = 120
    inside = place.send(place.work.bundle(addon))
    running = place.host.popen(['affix', 'install', inside], user='affix', stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    place.stack.callback(running.wait)
    place.test.until(lambda: place.record().exists() and '"phase": "watching"' in place.record().read_text())
    second = place.bundle('1.1.0')
    for words in (['uninstall', place.id], ['rollback', place.id], ['install', second], ['repair', place.id], ['configure', place.id, '--reread']):
        place.refuses('busy', *words)
    # Nobody wants to wait for its end.
    place.host.run(['systemctl', 'kill', '--signal=KILL', f'affix-{place.id}.service'], check=True)
    place.test.assertEqual(running.wait(), 3)
    return None


def busy_tree(place):
    """The administrator waits half a minute for another's end."""
    place.installed()
    lock = struct.pack('hhqqi4x', fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    with open(place.path(f'/var/lib/affix/updater/locks/{place.id}.lock'), 'r+b') as file:
        fcntl.fcntl(file, 37, lock)  # F_OFD_SETLK
        place.refuses('busy', 'uninstall', place.id)


# --- configuration --------------------------------------------------------------------------------

BAD_CONFIGS = (b'', b' ', b'null', b'true', b'7', b'"x"', b'[]', b'[{}]', b'{', b'{"level": 1', b'{"level": 1} x', b'{}{}', b'{"level": 1, "level": 2}',
               b'{"a": {"b": 1, "b": 2}}', b'{"level": -1}', b'{"level": "1"}', b'{"level": 1.5}', b'{"level": null}', b'{"level": 1e400}', b'{"level": NaN}',
               b'{"level": 0x1}', b'{"level": 01}', b"{'level': 1}", b'{level: 1}', b'{"level": []}', b'{"a": "\xff"}', b'{"a": "\\ud800"}',
               b'{"a": "\\u0000"}', b'\0{}', b'{}\0', b'\xef\xbb\xbf{}', b'{"a":' + b'[' * 100_000 + b']' * 100_000 + b'}', b'{"a":' * 40_000,
               b'{"level": 99999999999999999999999999}', b'{"level": 1, // one\n}', b'level: 1\n')


@case('bad-config', 'configuration that is not one JSON object, or does not fit')
def bad_config(place):
    place.installed()
    bundle = place.bundle('1.1.0')
    for number, text in enumerate(place.some(BAD_CONFIGS)):
        with place.test.subTest(text[:40]):
            config = place.work.fresh('config.json')
            config.write_bytes(text)
            config.chmod(0o644)
            place.refuses('bad-config', 'configure', place.id, config)
            if number % 6 == 0:
                place.refuses('bad-config', 'install', bundle, '--config', config)


@case('bad-config', "the administrator's own keys that are no JSON object, or do not fit")
def bad_local_config(place):
    bundle = place.bundle()
    for text in ('', '[]', '{"level": -1}', '{"secret": 7}', '{"level": 1, "level": 2}', '{"a": "' + 'x' * (256 << 10) + '"}'):
        place.file(f'/etc/affix/addons.d/{place.id}.json', text, mode=0o600)
        place.refuses('bad-config', 'install', bundle)


@case('bad-descriptor', 'configuration of more than 256 KiB')
def long_config(place):
    place.installed()
    config = place.work.fresh('config.json')
    config.write_text('{"a": "' + 'x' * (256 << 10) + '"}')
    place.refuses('bad-descriptor', 'configure', place.id, config)


@case('bad-limits', 'a limit above the signed one, or out of range')
def bad_limits(place):
    addon = place.addon()
    addon.manifest['resources'] = {'cpu_max_percent': 50, 'memory_high_bytes': 32 << 20, 'memory_max_bytes': 64 << 20, 'tasks_max': 8}
    bundle = place.bundle(addon=addon)
    for limit in ('cpu_max_percent=51', f'memory_high_bytes={(32 << 20) + 1}', f'memory_max_bytes={1 << 40}', 'tasks_max=9', f'tasks_max={1 << 40}',
                  f'cpu_max_percent={1 << 33}', f'memory_max_bytes={(1 << 63) - 1}'):
        place.refuses('bad-limits', 'install', bundle, '--limit', limit)


# --- the request ----------------------------------------------------------------------------------


@case('bad-request', 'what no request may hold')
def bad_request(place):
    bundle = place.bundle()
    for words in (['rollback', 'UPPER'], ['rollback', '../x'], ['uninstall', 'a--b'], ['status', '-'], ['rollback', '\x1b[31m'], ['rollback', 'é'],
                  ['install', bundle, '--limit', 'nice=1'], ['install', bundle, '--capabilities', 'CAP_NET_RAW'], ['install', bundle, '--capabilities', 'cap_everything'],
                  ['install', bundle, '--capabilities', 'cap_bpf,cap_bpf'], ['install', bundle, '--capabilities', 'a b']):
        place.refuses('bad-request', *words)
    for words in (['rollback', 'x', '--to', '../x'], ['hold', 'x', '--release', '--stop'], ['hold', 'x', '--reason', 'a\nb'], ['hold', 'x', '--release', '--reason', 'x']):
        place.refuses('bad-request', *words, as_admin=True)


@case('bad-request', 'a header that is none', only=HOST)
def bad_header(place):
    deep = '{"schema":1,"verb":"status","id":' + '[' * 5000 + ']' * 5000 + '}'
    for text in ('[]', '{', 'GET / HTTP/1.1\r\n\r\n', '{"schema":1,"verb":"status"}{}', '{"schema":1,"verb":"status","verb":"prune"}', deep, '\0' * 9,
                 '{"schema":2,"verb":"status"}', '{"schema":1}', '{"schema":1,"verb":7}', '{"schema":1,"verb":"status","path":"/etc/shadow"}',
                 '{"schema":1,"verb":"status","\x1b[31m":1}', '{"schema":1,"verb":"status","id":"a\\u0000b"}', b'{"schema":1,"verb":"status","id":"\xff"}',
                 '{"schema":1,"verb":"status","id":"' + 'a' * 26 + '"}', '{"schema":1,"verb":"install"}', '{"schema":1,"verb":"install","fds":["bundle"]}',
                 '{"schema":1,"verb":"status","request_id":"a b"}', '{"schema":1,"verb":"status"}' + ' ' * 20000):
        place.refuses_message('bad-request', text)


@case('unknown-verb', 'a verb that there is not', only=HOST)
def unknown_verb(place):
    for verb in ('exec', 'Install', 'install ', '', 'none', 'recover', '\x1b]0;x\x07', 'x' * 9000):
        place.refuses_message('unknown-verb', {'verb': verb})


@case('forbidden', "the administrator's verbs and members, asked for by the fleet", only=HOST)
def forbidden(place):
    bundle = place.installed()
    for words in (['prune', place.id], ['clear-quarantine', place.id], ['hold', place.id], ['hold', place.id, '--release'],
                  ['rollback', place.id, '--to', '1.0.0'], ['uninstall', place.id, '--purge'], ['install', bundle, '--allow-downgrade']):
        place.refuses('forbidden', *words)
    place.test.assertEqual(place.ask('install', place.work.bundle(place.addon('1.1.0')), as_admin=True).code, 0)
    place.test.assertEqual(place.ask('uninstall', place.id, as_admin=True).code, 0)
    # What the administrator brought, only the administrator removes.
    place.test.assertEqual(place.ask('install', place.work.bundle(place.addon('1.2.0')), as_admin=True).code, 0)
    place.refuses('forbidden', 'uninstall', place.id)


@case('held', 'a change of what the administrator holds', only=HOST)
def held(place):
    place.installed('1.0.0')
    bundle = place.bundle('1.1.0')
    place.ask('hold', place.id, '--reason', 'a look at it', as_admin=True)
    for words in (['install', bundle], ['uninstall', place.id], ['rollback', place.id], ['repair', place.id], ['configure', place.id, '--reread']):
        result = place.refuses('held', *words)
        place.test.assertIn('a look at it', result['message'])


@case('protected', 'a removal or configuration of what is protected', only=HOST)
def protected(place):
    place.installed('1.0.0')
    place.policy(f'protected: [another, {place.id}]\n')
    for words in (['uninstall', place.id], ['configure', place.id, '--reread']):
        place.refuses('protected', *words)


@case('bad-descriptor', 'descriptors that are no readable files, too many or too few', only=HOST)
def bad_descriptor(place):
    bundle, signature = pair(place.bundle())
    held = [os.pipe(), (os.eventfd(0),), (os.open('/', os.O_RDONLY),), (os.open(bundle, os.O_PATH),), (os.open('/dev/zero', os.O_RDONLY),),
            (os.open(bundle, os.O_WRONLY),), (agent.memfd(size=(1 << 30) + 1),)]
    try:
        for descriptors in held:
            place.refuses_message('bad-descriptor', INSTALL, [descriptors[0], signature])
    finally:
        for descriptor in (number for descriptors in held for number in descriptors):
            os.close(descriptor)
    for descriptors in ([], [bundle], [bundle] * 3, [bundle] * 20):
        place.refuses_message('bad-descriptor', INSTALL, descriptors)
    place.refuses_message('bad-descriptor', {'verb': 'status'}, [bundle])


@case('timeout', 'a connection on which nothing comes', only=HOST)
def silent(place):
    mallory = place.agent()
    before = place.state()
    with mallory.connect() as connection:
        reply = mallory.receive(connection)
    place.test.assertEqual((reply['outcome'], reply['name']), ('refused', 'timeout'), reply)
    place.check_sentence(reply, None)
    place.check_unchanged(before, place.state())


# --- what the host keeps --------------------------------------------------------------------------


@case('bad-record', 'a record that cannot be read')
def bad_record(place):
    place.installed('1.0.0')
    bundle = place.bundle('1.1.0')
    record = place.record()
    good = record.read_bytes()
    other = type(place)(place.test, place.work)
    place.stack.callback(lambda: (record.unlink(), record.write_bytes(good), record.chmod(0o600)))
    try:
        for text in place.some((b'', b'{', b'[]', b'{}', good[:-40], good + b'x', good.replace(b'"schema": 1', b'"schema": 9', 1), good.replace(place.id.encode(), b'another', 1),
                     good.replace(b'"held": false', b'"held": false, "held": true', 1), good.replace(b'"origin": "local"', b'"origin": "elsewhere"').replace(b'"origin": "fleet"', b'"origin": "elsewhere"'),
                     good.replace(b'/opt/affix/', b'/opt/../etc/', 1), b'{"a":' * 50_000, good + b' ' * (8 << 20))):
            record.write_bytes(text)
            place.refuses('bad-record', 'install', bundle)
            place.refuses('bad-record', 'rollback', place.id)
        record.write_bytes(good)
        record.chmod(0o666)
        place.refuses('bad-record', 'rollback', place.id)
        record.unlink()
        record.symlink_to('/etc/passwd')
        place.refuses('bad-record', 'rollback', place.id)
        # Nobody gets a lower time floor by damaging the record of another.
        if place.way == TREE:
            other.root = place.root
        other.refuses('bad-record', 'install', other.bundle())
    finally:
        other.stack.close()


@case('shared-user', "an account of the add-on's name whose numbers are another's too")
def shared_user(place):
    bundle = place.bundle()
    passwd, group = (place.path(f'/etc/{name}').read_text() for name in ('passwd', 'group'))
    name = f'affix-{place.id}'
    # The host makes users of other add-ons meanwhile: numbers from where no others are.
    for users, groups in (
        (f'{name}:x:70001:70001::/:/bin/false\naffix-other{place.id}:x:70001:70002::/:/bin/false\n', f'{name}:x:70001:\n'),
        (f'{name}:x:0:70001::/:/bin/false\n', f'{name}:x:70001:\n'),
        (f'{name}:x:70001:70001::/:/bin/false\n', f'{name}:x:70001:\nstaff{place.id}:x:70001:\n'),
        ('', f'staff{place.id}:x:70001:\n{name}:x:70001:\n'),
    ):
        place.file('/etc/passwd', passwd + users)
        place.file('/etc/group', group + groups)
        place.refuses('shared-user', 'install', bundle)
    place.file('/etc/passwd', passwd + f'{name}:x:70001:70001::/:/bin/false\n')
    place.file('/etc/group', group + f'{name}:x:70001:\n')
    place.installed()


@case('bad-host-policy', "a policy of the host that is none, or not root's alone")
def bad_host_policy(place):
    bundle = place.bundle()
    for text in place.some(('', '[]', 'x', 'unknown: 1\n', 'protected: x\n', 'protected: [UPPER]\n', 'capabilities: [cap_everything]\n', 'users: [x]\n', 'users:\n  a: ../x\n',
                 'keep_versions: 0\n', 'keep_versions: 101\n', 'keep_versions: many\n', 'targets: [sshd.service]\n', 'read_only_paths: [relative]\n',
                 'read_only_paths: [/a/../b]\n', 'results_carry_logs: maybe\n', 'protected: [a]\nprotected: [b]\n', 'protected: &a [a]\n', '\t\n', '#' * (64 << 10) + '\n')):
        with place.test.subTest(text[:40]):
            place.policy(text)
            place.refuses('bad-host-policy', 'install', bundle)
    place.policy('keep_versions: 2\n')
    # What goes on without it.
    place.installed()
    place.policy('protected: x\n')
    place.refuses('bad-host-policy', 'configure', place.id, '--reread')
    if place.way == HOST:
        place.refuses('bad-host-policy', 'uninstall', place.id)
    for words in (['status', place.id], ['repair', place.id]):
        place.test.assertEqual(place.ask(*words).code, 0)
    place.test.assertEqual(place.ask('uninstall', place.id, as_admin=True).code, 0)
    place.policy('keep_versions: 2\n')
    place.attribute('/etc/affix/updater.yaml', mode=0o666)
    place.refuses('bad-host-policy', 'install', bundle)
    place.attribute('/etc/affix/updater.yaml', mode=0o644, uid=1)
    place.refuses('bad-host-policy', 'install', bundle)


@case('no-manager', 'a systemd that does not answer', only=HOST)
def no_manager(place):
    bundle = place.bundle()
    place.host.run(['mount', '--bind', '/dev/null', '/run/systemd/private'], check=True)
    place.stack.callback(place.host.run, ['umount', '/run/systemd/private'])
    before = place.state()
    answer = place.ask('install', bundle)
    place.test.assertEqual((answer.result['outcome'], answer.result['name'], answer.code), ('refused', 'no-manager', 4), answer)
    place.check_sentence(answer.result, answer.complaint)
    place.check_unchanged(before, place.state())
