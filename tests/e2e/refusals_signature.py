# SPDX-License-Identifier: Apache-2.0
"""Refusals: signatures, trusted comments, trusted keys, identity and time."""

import base64
import os
import re
import subprocess
import time

import fixture
import hostile
from refusals import HOST, IMPOSSIBLE, TREE, case

TRUST = '/etc/affix/trust.d'
IMPOSSIBLE['key-binding', TREE] = 'whoever works on a tree is the administrator, whom no binding stops'


def signature_of(bundle):
    return bundle.with_name(f'{bundle.name}.minisig')


def flipped(data, at):
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def without(place):
    """Takes every trusted key away until the case ends."""
    for path in place.path(TRUST).iterdir():
        place.moved(f'{TRUST}/{path.name}')


def other_key(place, name='other', directory=None):
    public, secret = place.work.keygen(f'{place.id}-{name}')
    if directory:
        place.file(f'{directory}/{place.id}-{name}.pub', public.read_bytes())
    return public, secret


# --- keys -----------------------------------------------------------------------------------------


@case('no-trusted-key', 'no key is trusted')
def no_key(place):
    bundle = place.bundle()
    without(place)
    place.refuses('no-trusted-key', 'install', bundle)


@case('bad-signature', 'there is no signature')
def no_signature(place):
    bundle = place.bundle()
    signature_of(bundle).unlink()
    place.refuses('bad-signature', 'install', bundle)


@case('no-trusted-key', 'there is no directory of keys')
def no_directory(place):
    bundle = place.bundle()
    place.moved(TRUST)
    place.refuses('no-trusted-key', 'install', bundle)


@case('no-trusted-key', 'the only key was taken away')
def removed_key(place):
    place.installed('1.0.0')
    without(place)
    place.refuses('no-trusted-key', 'install', place.bundle('1.1.0'))


@case('untrusted-key', 'a key that is not trusted')
def wrong_key(place):
    place.refuses('untrusted-key', 'install', place.bundle(secret=other_key(place)[1]))


@case('untrusted-key', 'a key that is no longer trusted, among others that are')
def rotated_key(place):
    public, secret = other_key(place)
    trusted = place.path(f'{TRUST}/{place.id}.pub')
    trusted.write_bytes(public.read_bytes())
    try:
        addon = place.addon('1.0.0')
        place.installed(addon=addon, secret=secret)
    finally:
        trusted.unlink()
    place.refuses('untrusted-key', 'install', place.bundle('1.1.0', secret=secret))


@case('bad-signature', 'another key that says it is the trusted one')
def claimed_key(place):
    bundle = place.bundle(secret=other_key(place)[1])
    path = signature_of(bundle)
    lines = path.read_text().splitlines(keepends=True)
    blob = base64.b64decode(lines[1])
    trusted = base64.b64decode(place.work.public.read_text().splitlines()[1])
    lines[1] = base64.b64encode(blob[:2] + trusted[2:10] + blob[10:]).decode() + '\n'
    path.write_text(''.join(lines))
    place.refuses('bad-signature', 'install', bundle)


# --- bytes ----------------------------------------------------------------------------------------

for title, change in {
    'its first byte': lambda data: flipped(data, 0),
    'its fifth byte': lambda data: flipped(data, 4),
    'a byte in its middle': lambda data: flipped(data, len(data) // 2),
    'its last byte': lambda data: flipped(data, -1),
    'its end': lambda data: data[:-1],
    'all of it': lambda data: b'',
    'nothing, and a byte was added': lambda data: data + b'\0',
    'everything, for rubbish': lambda data: os.urandom(len(data)),
    'everything, for an archive of zeroes': lambda data: hostile.zstd(bytes(len(data))),
    'nothing, and it was packed anew': lambda data: hostile.gz(subprocess.run(['zstd', '-dqc'], input=data, stdout=subprocess.PIPE, check=True).stdout),
}.items():
    @case('bad-signature', f'a bundle of which somebody changed {title}', dense=True)
    def tampered(place, change=change):
        bundle = place.bundle()
        bundle.write_bytes(change(bundle.read_bytes()))
        place.refuses('bad-signature', 'install', bundle)


@case('bad-signature', 'bytes that no parser would take are not parsed before the signature holds')
def garbage_first(place):
    """Were anything of them looked at, it would be malformed-bundle or another platform's."""
    signed = signature_of(place.bundle()).read_bytes()
    for data in (b'', b'#!/bin/sh\n', hostile.zstd(b'x' * 4096), hostile.zstd(hostile.tar([hostile.entry('../x', b'x')])),
                 hostile.zstd(hostile.tar(hostile.files(place.addon())))[:99]):
        bundle = place.work.fresh(f'{place.id}.tar.zst')
        bundle.write_bytes(data)
        signature_of(bundle).write_bytes(signed)
        place.refuses('bad-signature', 'install', bundle)
        done = fixture.affix(['verify', '-p', place.work.public, bundle])
        place.test.assertTrue(done.returncode == 1 and done.stderr.startswith('bad-signature: '), done)


@case('bad-signature', 'not a byte of the copy is read back before the signature holds', only=TREE)
def order_of_reading(place):
    """strace says so: the nameless copy is written, and only where the signature holds is it read. A small bundle has none."""
    addons = [place.addon(version) for version in ('1.0.0', '1.0.1')]
    for addon in addons:
        addon.extra = {'data': os.urandom(5 << 20)}
    good, bad = [place.bundle(addon=addon) for addon in addons]
    bad.write_bytes(flipped(bad.read_bytes(), -1))
    for bundle, is_read in ((bad, False), (good, True)):
        log = place.work.fresh('strace')
        fixture.run(['strace', '-f', '-o', log, '-e', 'trace=openat,openat2,read,pread64,readv,preadv,preadv2,mmap,splice,sendfile,copy_file_range',
                     fixture.AFFIX, 'install', bundle, '--root', place.root], check=False)
        text = log.read_text()
        copy = re.search(r'openat\(\d+, "\.", [^)]*O_TMPFILE[^)]*\) = (\d+)', text)
        place.test.assertIsNotNone(copy, text)
        after = text[copy.end():]
        read = re.search(rf'(read|pread64|readv|preadv2?|splice|sendfile|copy_file_range)\({copy.group(1)}, |mmap\([^)]*, {copy.group(1)}, ', after)
        place.test.assertEqual(read is not None, is_read, text)


# --- signature files ------------------------------------------------------------------------------


def edited(line, change):
    """A signature file with one line changed."""
    def make(text):
        lines = text.splitlines(keepends=True)
        lines[line] = change(lines[line])
        return ''.join(lines)
    return make


for title, change in {
    'empty': lambda text: '',
    'a blank line': lambda text: '\n',
    'rubbish': lambda text: 'x' * 300,
    'zeroes': lambda text: '\0' * 300,
    'cut off behind the first line': lambda text: text.splitlines(keepends=True)[0],
    'cut off before the last line': lambda text: ''.join(text.splitlines(keepends=True)[:3]),
    'a line too long': lambda text: text + 'x\n',
    'there twice': lambda text: text + text,
    'with DOS line ends': lambda text: text.replace('\n', '\r\n'),
    'with a blank before its base64': edited(1, lambda line: ' ' + line),
    'with short base64': edited(1, lambda line: line[4:]),
    'with long base64': edited(1, lambda line: 'AAAA' + line),
    'with broken base64': edited(1, lambda line: '!' + line[1:]),
    'of an unknown algorithm': edited(1, lambda line: 'X' + line[1:]),
    'without the trusted comment': edited(2, lambda line: 'comment: x\n'),
    'with a control byte in the comment': edited(2, lambda line: line.rstrip('\n') + '\x1b[31m\n'),
    'with a comment of 3000 bytes': edited(2, lambda line: line.rstrip('\n') + 'x' * 3000 + '\n'),
    'with a short last line': edited(3, lambda line: line[8:]),
    'a public key': None,
}.items():
    @case('malformed-signature', f'a signature file that is {title}', dense=True)
    def malformed(place, change=change):
        bundle = place.bundle()
        path = signature_of(bundle)
        path.write_text(change(path.read_text()) if change else place.work.public.read_text())
        place.refuses('malformed-signature', 'install', bundle)


@case('malformed-signature', "minisign's legacy kind, over the file itself")
def legacy(place):
    bundle = place.bundle(arguments=['-l'])
    place.refuses('malformed-signature', 'install', bundle)


@case('bad-descriptor', 'a signature file of more than 4 KiB')
def long_signature(place):
    bundle = place.bundle()
    path = signature_of(bundle)
    path.write_text(path.read_text() + '\n' * 4096)
    place.refuses('bad-descriptor', 'install', bundle)


for title, change in {
    'its comment': edited(2, lambda line: line.replace('version=1.0.0', 'version=1.0.1')),
    'the case of its comment': edited(2, lambda line: line.replace('os=linux', 'os=Linux')),
    'the end of its comment': edited(2, lambda line: line.rstrip('\n') + ' epoch=9\n'),
    'its signature of the file': edited(1, lambda line: line[:40] + ('A' if line[40] != 'A' else 'B') + line[41:]),
    'its signature of the comment': edited(3, lambda line: line[:40] + ('A' if line[40] != 'A' else 'B') + line[41:]),
}.items():
    @case('bad-signature', f'a signature file of which somebody changed {title}', dense=True)
    def changed_signature(place, change=change):
        bundle = place.bundle()
        path = signature_of(bundle)
        path.write_text(change(path.read_text()))
        place.refuses('bad-signature', 'install', bundle)


@case('bad-signature', "another bundle's signature, and its parts")
def swapped(place):
    one, two = place.bundle('1.0.0'), place.bundle('2.0.0')
    first, second = (signature_of(bundle).read_text().splitlines(keepends=True) for bundle in (one, two))
    for lines in (second, first[:2] + second[2:], first[:3] + second[3:], second[:2] + first[2:]):
        signature_of(one).write_text(''.join(lines))
        place.refuses('bad-signature', 'install', one)


# --- comments -------------------------------------------------------------------------------------

FULL = 'affix:1 id={id} version=1.0.0 os=linux arch={arch} created=2026-10-01T00:00:00Z'
for text in (
    'timestamp:1790000000 file:x.tar.zst', '', 'affix:1', 'affix:2' + FULL[7:], FULL[8:], ' ' + FULL, FULL + ' ', FULL.replace(' os', '  os'),
    FULL.replace(' os', '\tos'), FULL + ' key=x', FULL + ' name', FULL + ' =x', FULL + ' id={id}', FULL + ' epoch=1 epoch=1', FULL + ' epoch=',
    FULL + ' epoch=01', FULL + ' epoch=-1', FULL + ' epoch=1.5', FULL + ' epoch=0x1', FULL + ' epoch=9007199254740992',
    FULL + ' epoch=99999999999999999999999', FULL + ' expires=', FULL + ' expires=never', FULL + ' expires=2099-02-30T00:00:00Z',
    FULL + ' expires=1970-01-01T00:00:00Z', FULL + ' expires=2099-01-01', FULL + ' Expires=2099-01-01T00:00:00Z',
    *(re.sub(rf' {key}=\S*', '', FULL) for key in ('id', 'version', 'os', 'arch', 'created')),
    FULL.replace('linux', 'darwin'), FULL.replace('linux', 'LINUX'), FULL.replace('{arch}', '386'), FULL.replace('{arch}', '*'),
    FULL.replace('{id}', '../x'), FULL.replace('{id}', 'updater'), FULL.replace('{id}', 'agent-x'), FULL.replace('{id}', 'ABC'),
    FULL.replace('{id}', 'a' * 26), FULL.replace('1.0.0', '1.0'), FULL.replace('1.0.0', '01.0.0'), FULL.replace('1.0.0', '../../x'),
    FULL.replace('1.0.0', '1.0.0-' + 'a' * 64), FULL.replace('2026-10-01T00:00:00Z', '1790000000'),
    FULL.replace('2026-10-01T00:00:00Z', '2026-10-01T00:00:00+02:00'), FULL + ' ' + 'x' * 900,
):
    @case('bad-comment', f'a trusted comment that says {text[:100]!r}', dense=True)
    def comment(place, text=text):
        place.refuses('bad-comment malformed-signature', 'install', place.bundle(comment=text.format(id=place.id, arch=fixture.ARCH)))


for title, words in {
    'another id': {'id': 'another'}, 'another version': {'version': '1.0.1'}, 'a version with other build metadata': {'version': '1.0.0+build.2'},
    'a pre-release of the version': {'version': '1.0.0-rc.1'}, 'an id that is the beginning of the other': {'id': 'c'},
}.items():
    @case('identity-mismatch', f'a comment that names {title}')
    def mismatch(place, words=words):
        place.refuses('identity-mismatch', 'install', place.bundle(**words))


@case('identity-mismatch', 'a bundle for a system that its manifest does not name')
def other_system(place):
    addon = place.addon()
    addon.manifest['requires']['platforms'] = ['darwin']
    place.refuses('identity-mismatch', 'install', place.bundle(addon=addon))


@case('identity-mismatch', 'another add-on than the request names', only=HOST)
def unexpected(place):
    bundle = place.bundle()
    for identifier in ('another', f'{place.id}x'):
        place.refuses_message('identity-mismatch', {'verb': 'install', 'id': identifier, 'fds': ['bundle', 'signature']},
                              [bundle, signature_of(bundle)])


# --- time -----------------------------------------------------------------------------------------


@case('expired', 'a signature whose time is over')
def expired(place):
    for moment in ('1970-01-01T00:00:01Z', '2001-01-01T00:00:00Z', '2026-09-20T00:00:00Z'):
        bundle = place.bundle(expires=moment)
        place.refuses('expired', 'install', bundle)
        done = fixture.affix(['verify', '-p', place.work.public, bundle])
        place.test.assertTrue(done.returncode == 1 and done.stderr.startswith('expired: '), done)


@case('expired', 'a signature that the clock, set back, would let live')
def clock_set_back(place):
    """The time floor: nothing is earlier than what was committed, also when that add-on is gone."""
    addon = place.addon()
    place.installed(addon=addon)
    # As it is where the clock was right once.
    place.edit_record(lambda record: record.update(newest_created=3786912000))
    place.stack.callback(place.edit_record, lambda record: record.update(newest_created=0))
    for _ in range(2):
        place.refuses('expired', 'install', place.bundle('1.1.0', expires='2089-12-31T23:59:59Z'))
        place.ask('uninstall', place.id, as_admin=True)
    other = type(place)(place.test, place.work)
    with other:
        if place.way == TREE:
            other.root = place.root
        other.refuses('expired', 'install', other.bundle(expires='2089-12-31T23:59:59Z'))


@case('expired', 'a clock that was never set', only=TREE)
def clock_at_1970(place):
    """The program knows when it was built."""
    bundle = place.bundle(expires='2001-01-01T00:00:00Z')
    done = fixture.run(['unshare', '--time', '--', fixture.AFFIX, 'install', bundle, '--root', place.root], check=False)
    place.test.assertTrue(done.returncode == 1 and done.stderr.startswith('expired: '), done)


@case('not-yet-valid', 'a signature from the future')
def from_the_future(place):
    now = time.time()
    bundle = place.bundle(created='2090-01-01T00:00:00Z', expires='2091-01-01T00:00:00Z')
    place.refuses('not-yet-valid', 'install', bundle)
    place.refuses('not-yet-valid', 'install', place.bundle(created=hostile.moment(int(now) + 24 * 3600)))
    done = fixture.affix(['verify', '-p', place.work.public, bundle])
    place.test.assertTrue(done.returncode == 4 and done.stderr.startswith('not-yet-valid: '), done)
    # Clocks are never quite the same.
    place.installed(created=int(now) + 240)


# --- policies of keys -----------------------------------------------------------------------------


@case('key-policy', 'a key that is trusted for other ids, capabilities or models only')
def key_policy(place):
    _, secret = other_key(place, directory=TRUST)
    addon = place.addon()
    addon.manifest['requires']['os_capabilities'] = ['cap_net_raw']
    bundle = place.bundle(addon=addon, secret=secret)
    for text in ('ids: [another]', f'ids: [{place.id}x, x{place.id}]', 'capabilities: [cap_bpf]', 'capabilities: []', 'supervision: [systemd-timer]',
                 f'ids: [{place.id}]\ncapabilities: [cap_net_admin]', f'ids: [{place.id}]\nsupervision: [systemd-timer]'):
        place.file(f'{TRUST}/{place.id}-other.policy.yaml', text)
        place.refuses('key-policy', 'install', bundle)
    # The policy of one key is no other's.
    place.file(f'{TRUST}/{place.id}-other.policy.yaml', f'ids: [{place.id}]\ncapabilities: [cap_net_raw]\n')
    place.test.assertEqual(place.ask('plan', bundle).code, 0)


@case('key-binding', 'another trusted key than the one of the first install', only=HOST)
def key_binding(place):
    _, secret = other_key(place, directory=TRUST)
    place.installed('1.0.0')
    bundle = place.bundle('1.1.0', secret=secret)
    place.refuses('key-binding', 'install', bundle)
    place.file(f'{TRUST}/{place.id}-other.policy.yaml', 'capabilities: [cap_net_raw]\n')
    place.refuses('key-binding', 'install', bundle)
    # Across an uninstall too.
    place.ask('uninstall', place.id, as_admin=True)
    place.refuses('key-binding', 'install', bundle)


# --- the directory of keys ------------------------------------------------------------------------


@case('bad-trust', 'a key file that is none')
def broken_keys(place):
    bundle = place.bundle()
    good = place.work.public.read_text()
    for text in place.some(('', 'rubbish\n', good + good, good.splitlines()[0], good.replace('RW', 'XX', 1), good + 'x' * 4096, '\0' * 100)):
        place.file(f'{TRUST}/{place.id}.pub', text)
        place.refuses('bad-trust', 'install', bundle)


@case('bad-trust', 'two files with one key')
def twin_keys(place):
    bundle = place.bundle()
    place.file(f'{TRUST}/{place.id}.pub', place.work.public.read_bytes())
    place.refuses('bad-trust', 'install', bundle)


@case('bad-trust', 'a key, policy or directory that others may write')
def writable_keys(place):
    bundle = place.bundle()
    place.file(f'{TRUST}/test.policy.yaml', 'ids: []\n')
    for path in (f'{TRUST}/test.pub', f'{TRUST}/test.policy.yaml', TRUST):
        old = place.path(path).stat()
        for mode, uid in place.some(((0o666, 0), (0o664, 0), (0o646, 0), (0o644, 1))):
            os.chown(place.path(path), uid, 0)
            place.path(path).chmod(mode | (0o111 if path == TRUST else 0))
            place.refuses('bad-trust', 'install', bundle)
        os.chown(place.path(path), old.st_uid, old.st_gid)
        place.path(path).chmod(old.st_mode & 0o7777)


@case('bad-trust', 'a key file that is no regular file')
def odd_keys(place):
    bundle = place.bundle()
    path = place.path(f'{TRUST}/{place.id}.pub')
    for make in (lambda: path.symlink_to('test.pub'), lambda: path.symlink_to('/nowhere'), path.mkdir, lambda: os.mkfifo(path)):
        make()
        try:
            place.refuses('bad-trust', 'install', bundle)
        finally:
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


@case('bad-trust', 'a policy that is none')
def broken_policies(place):
    bundle = place.bundle()
    for text in place.some(('', '[]', 'ids: x y', 'ids: [UPPER]', 'unknown: 1', 'ids: [a]\nids: [b]', 'capabilities: [cap_everything]', 'supervision: [x]',
                 'ids: &a [x]', '\t- x', 'ids: [' + 'a, ' * 50000 + 'a]', 'ids: []', '\xff', 'ids: ["../x"]')):
        place.file(f'{TRUST}/test.policy.yaml', text.encode('latin-1'))
        place.refuses('bad-trust', 'install', bundle)


@case('bad-trust', 'more keys than there may be, and one with an odd name')
def many_keys(place):
    bundle = place.bundle()
    place.file(f'{TRUST}/\x1b[31m.pub', 'x')
    place.refuses('bad-trust', 'install', bundle)
    for i in range(65):
        place.file(f'{TRUST}/{i}.pub', 'x')
    place.refuses('bad-trust', 'install', bundle)
