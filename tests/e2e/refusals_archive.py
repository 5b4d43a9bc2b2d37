# SPDX-License-Identifier: Apache-2.0
"""Refusals: what a signed file must be to count as a bundle: compression, archive, entries, sizes, programs."""

import bz2
import os
import struct

import fixture
import hostile
from refusals import HOST, case, examine

MIB = 1 << 20
LINK = {'link': b'/etc/passwd'}


def offers(names, title, make, inspected=True):
    """A case for bytes that MAKE makes of a good bundle's files. What the command line says of them is asked too."""
    @case(names, title, dense=True)
    def offer(place):
        bundle = place.bundle(data=make(hostile.files(place.addon())))
        place.refuses(names, 'install', bundle)
        examine(place, bundle, names if inspected else None)


def archives(names, title, make, **how):
    """The same for the archive inside."""
    offers(names, title, lambda files: hostile.zstd(hostile.tar(make(files))), **how)


def with_entry(name, data=b'x', before=b'', **fields):
    """A good bundle's files with one more, where the order wants it."""
    text = name if isinstance(name, bytes) else name.encode()
    raw = before + hostile.entry(name, data, **fields)

    def make(files):
        parts = [(key.encode(), hostile.entry(key, value)) for key, value in files.items() if key != 'addon.yaml']
        parts = sorted([*parts, (text, raw)], key=lambda part: part[0])
        return [hostile.entry('addon.yaml', files['addon.yaml']), *(part for _, part in parts)]
    return make


def lying(size, name='zz', data=b'x' * 600):
    """A last entry whose header says SIZE."""
    return lambda files: [*files.items(), hostile.entry(name, data, size=size)]


# --- compression ----------------------------------------------------------------------------------

GOOD = hostile.tar
BROKEN = 'malformed-bundle'

for title, make in {
    'an empty file': lambda files: b'',
    'one byte': lambda files: b'\x28',
    'an archive that is not compressed': GOOD,
    'bzip2': lambda files: bz2.compress(GOOD(files)),
    'text': lambda files: b'#!/bin/sh\nexec reboot\n',
    'four bytes of zstd': lambda files: hostile.zstd(GOOD(files))[:4],
    'zstd cut off in its middle': lambda files: (lambda data: data[: len(data) // 2])(hostile.zstd(GOOD(files))),
    'zstd without its last byte': lambda files: hostile.zstd(GOOD(files))[:-1],
    'gzip cut off in its middle': lambda files: (lambda data: data[: len(data) // 2])(hostile.gz(GOOD(files))),
    'gzip without its last byte': lambda files: hostile.gz(GOOD(files))[:-1],
    'gzip with a wrong checksum': lambda files: (lambda data: data[:-8] + bytes([data[-8] ^ 1]) + data[-7:])(hostile.gz(GOOD(files))),
    'gzip with a wrong length': lambda files: (lambda data: data[:-1] + bytes([data[-1] ^ 1]))(hostile.gz(GOOD(files))),
    'zstd with a wrong checksum': lambda files: (lambda data: data[:-1] + bytes([data[-1] ^ 1]))(hostile.zstd(GOOD(files), ['--check'])),
    'zstd that needs a window of 128 MiB': lambda files: hostile.zstd(GOOD(files), ['--long=27']),
    'zstd that needs a dictionary': lambda files: b'\x28\xb5\x2f\xfd\x23\x01\x02\x03\x04' + hostile.zstd(GOOD(files))[6:],
    'a skippable frame first': lambda files: b'\x50\x2a\x4d\x18\x04\0\0\0abcd' + hostile.zstd(GOOD(files)),
}.items():
    offers(BROKEN, title, make)

for title, make in {
    'a byte behind the zstd frame': lambda files: hostile.zstd(GOOD(files)) + b'\0',
    'a second zstd frame': lambda files: hostile.zstd(GOOD(files)) + hostile.zstd(b'more'),
    'an empty second zstd frame': lambda files: hostile.zstd(GOOD(files)) + hostile.zstd(b''),
    'a skippable frame behind the frame': lambda files: hostile.zstd(GOOD(files)) + b'\x50\x2a\x4d\x18\x04\0\0\0abcd',
    'an archive in two zstd frames': lambda files: hostile.zstd(GOOD(files)[:1024]) + hostile.zstd(GOOD(files)[1024:]),
    'a byte behind the gzip member': lambda files: hostile.gz(GOOD(files)) + b'\0',
    'a second gzip member': lambda files: hostile.gz(GOOD(files)) + hostile.gz(b'more'),
    'an archive in two gzip members': lambda files: hostile.gz(GOOD(files)[:1024]) + hostile.gz(GOOD(files)[1024:]),
    'a byte behind the archive': lambda files: hostile.zstd(GOOD(files) + b'x'),
    'another entry behind the end mark': lambda files: hostile.zstd(GOOD(files) + hostile.entry('more', b'x') + hostile.END),
    'a second archive behind the end mark': lambda files: hostile.zstd(GOOD(files) + GOOD(files)),
    'nothing but zeroes': lambda files: hostile.zstd(bytes(64 * 512)),
    'padding without end': lambda files: hostile.zstd(GOOD(files) + bytes(4 * MIB)),
}.items():
    # A frame that ends before the archive does may be found by either.
    offers('trailing-data', title, make)

# --- the table of digests behind the frames --------------------------------------------------------


def tabled(files, *more, **others):
    return hostile.frames(GOOD(files)) + hostile.table(hostile.digests(files, **others)) + b''.join(more)


for title, make in {
    'a table with another digest of the manifest': lambda files: tabled(files, addon_yaml=b'other'),
    'a table with another digest of the schema': lambda files: tabled(files, config_schema_json=b'other'),
    'a table of one digest too few': lambda files: hostile.frames(GOOD(files)) + hostile.table(hostile.digests(files)[:-1]),
    'a table of one digest too many': lambda files: hostile.frames(GOOD(files)) + hostile.table([*hostile.digests(files), bytes(64)]),
}.items():
    offers(BROKEN, title, make)

@case(BROKEN, 'a table with another digest of the program', only=HOST)
def lies_about_the_program(place):
    addon = place.addon()
    files = hostile.files(addon)
    place.refuses(BROKEN, 'install', place.bundle(data=tabled(files, **{addon.id: b'other'})))


for title, make in {
    'a byte behind the table': lambda files: tabled(files, b'\0'),
    'a second table': lambda files: tabled(files, hostile.table(hostile.digests(files))),
    'a frame behind the table': lambda files: tabled(files, hostile.frames(b'more')),
    'a table without its last byte': lambda files: tabled(files)[:-1],
    'a table with another tag': lambda files: hostile.frames(GOOD(files)) + hostile.table(hostile.digests(files), tag=b'affix:b3'),
    'a table that says another number': lambda files: hostile.frames(GOOD(files)) + hostile.table(hostile.digests(files), number=2),
    'a table of nothing': lambda files: hostile.frames(GOOD(files)) + hostile.table([]),
    'a table behind a frame of unknown size': lambda files: hostile.zstd(GOOD(files)) + hostile.table(hostile.digests(files)),
    'a table behind gzip': lambda files: hostile.gz(GOOD(files)) + hostile.table(hostile.digests(files)),
}.items():
    offers('trailing-data', title, make)

# --- the archive ----------------------------------------------------------------------------------

for title, make in {
    'an archive without entries': lambda files: b'',
    'an archive without an end mark': lambda files: GOOD(files, end=b''),
    'half an end mark': lambda files: GOOD(files, end=bytes(512)),
    'an archive cut off in an entry': lambda files: GOOD(files, end=b'')[:700],
    'an archive cut off in a header': lambda files: GOOD(files, end=b'')[:300],
    'a header with a wrong checksum': lambda files: GOOD([*files.items(), hostile.entry('zz', b'x', checksum=b'000001\0 ')]),
    'a header of rubbish': lambda files: GOOD([*files.items(), os.urandom(512)]),
    'no manifest first': lambda files: GOOD(dict(sorted(files.items(), reverse=True))),
    'no manifest at all': lambda files: GOOD({name: data for name, data in files.items() if name != 'addon.yaml'}),
    'entries out of order': lambda files: GOOD({'addon.yaml': files['addon.yaml'], **dict(sorted(files.items(), reverse=True))}),
}.items():
    offers(BROKEN, title, lambda files, make=make: hostile.zstd(make(files)))

# --- sizes ----------------------------------------------------------------------------------------

for title, size in {
    '512 MiB and a byte': 512 * MIB + 1,
    '2 GiB less a byte': (2 << 30) - 1,
    '2 GiB': 2 << 30,
    '2 GiB and what there is': (2 << 30) + 600,
    '4 GiB less a byte': (4 << 30) - 1,
    '4 GiB': 4 << 30,
    '4 GiB and what there is': (4 << 30) + 600,
    '8 GiB less a byte': (8 << 30) - 1,
    '8 GiB in binary': hostile.base256(8 << 30),
    'what fills 63 bits': hostile.base256((1 << 63) - 1),
    'what fills 63 bits but a block': hostile.base256((1 << 63) - 512),
}.items():
    archives(f'entry-too-large {BROKEN}', f'a header that says {title}', lying(size))

for title, size in {
    'less than nothing': hostile.base256(-1),
    'the least there is': hostile.base256(-(1 << 63)),
    'more than 64 bits hold': hostile.base256(1 << 64),
    'no number': b'notanumber!\0',
    'a minus': b'-0000000001\0',
    'one block less than there is': 88,
    'more than there is': 4096,
    '400 MiB more than there is': 400 * MIB,
}.items():
    archives(f'{BROKEN} entry-too-large trailing-data bad-entry-name', f'a header that says {title}', lying(size))

archives('entry-too-large', 'a manifest of more than 256 KiB',
         lambda files: {**files, 'addon.yaml': files['addon.yaml'] + b'#' * (256 << 10)})
archives('entry-too-large', 'a schema of more than 256 KiB',
         lambda files: {**files, 'config.schema.json': files['config.schema.json'] + b' ' * (256 << 10)})
archives('entry-too-large', 'a unit of more than 64 KiB',
         lambda files: {name: data + b'#' * (64 << 10) if name.endswith('.service') else data for name, data in files.items()})
archives('too-many-entries', '65 entries',
         lambda files: {**files, **{f'd{i:03}': b'' for i in range(65 - len(files))}})
archives('too-many-entries', '100000 entries',
         lambda files: {**files, **{f'd{i:06}': b'' for i in range(100000)}})


def zeroes(place, sizes):
    """A bundle of the add-on with entries of so many zeroes; it is small."""
    parts = [hostile.tar(hostile.files(place.addon()), end=b'')]
    for i, size in enumerate(sizes):
        parts += [hostile.header(f'z{i}', size), size, bytes(-size % 512)]
    return place.bundle(data=hostile.zstd_file(place.work.fresh('zeroes'), [*parts, hostile.END]))


@case('entry-too-large', 'an entry that has 512 MiB and a byte')
def large_entry(place):
    bundle = zeroes(place, [512 * MIB + 1])
    place.refuses('entry-too-large', 'install', bundle)
    examine(place, bundle, 'entry-too-large')


@case('bundle-too-large', 'entries that have more than 1 GiB together')
def large_bundle(place):
    bundle = zeroes(place, [512 * MIB, 512 * MIB])
    place.test.assertLess(bundle.stat().st_size, MIB)
    place.refuses('bundle-too-large', 'install', bundle)


@case('bad-descriptor bundle-too-large', 'a file of more than 1 GiB')
def large_file(place):
    bundle = place.bundle()
    os.truncate(bundle, (1 << 30) + 1)
    if place.way == HOST:
        place.refuses_message('bad-descriptor', {'verb': 'install', 'fds': ['bundle', 'signature']}, [bundle, f'{bundle}.minisig'])
    else:
        place.refuses('bundle-too-large', 'install', bundle)


# --- names ----------------------------------------------------------------------------------------

for name in ('a/b', '../x', '..', '.', './x', 'x/', '/etc/passwd', 'a\\b', '..\\x', 'a\nb', 'a\rb', 'a\tb', 'a\x1b[31mb', 'a\x7fb',
             'a b', ' a', 'a ', '-rf', '--root=', '.hidden', '.a.affix-tmp', 'x.affix-new', 'ä', 'a‮b', 'а', 'cafe\u0301', 'a:b', 'a*', '~', '$x'):
    archives('bad-entry-name bad-entry-type', f'an entry called {name!r}', with_entry(name))
archives('bad-entry-name', 'an entry with a NUL in its name', with_entry(b'zz\0zz'))
archives('bad-entry-name', 'an entry whose name is no UTF-8', with_entry(b'z\xff\xfe'))
archives('bad-entry-name malformed-bundle', 'an entry without a name', lambda files: [*files.items(), hostile.entry('', b'x')])
archives('bad-entry-name', 'an entry of 100 dots', with_entry('.' * 100))
archives('bad-entry-name', 'an entry below a prefix', with_entry('zz', prefix=b'../../etc'))

for name in ('data', 'Data', 'DATA'):
    archives('duplicate-entry', f'entries called {name} and data',
             lambda files, name=name: with_entry(name)({**files, 'data': b'x'}))
archives('duplicate-entry', 'a second manifest', lambda files: [*files.items(), ('addon.yaml', files['addon.yaml'])])
archives('duplicate-entry', 'a manifest in capitals', with_entry('ADDON.YAML'))

# --- types ----------------------------------------------------------------------------------------

for title, kind, fields in (
    ('symbolic link', b'2', LINK), ('symbolic link to a neighbour', b'2', {'link': b'addon.yaml'}),
    ('hard link', b'1', LINK), ('hard link to a neighbour', b'1', {'link': b'addon.yaml'}),
    ('hard link to itself', b'1', {'link': b'zz'}), ('character device', b'3', {'device': (1, 1)}),
    ('block device', b'4', {'device': (8, 0)}), ('directory', b'5', {}), ('fifo', b'6', {}),
    ('contiguous file', b'7', {}), ('sparse file', b'S', {}), ('volume label', b'V', {}), ('part of a volume', b'M', {}),
    ('dump directory', b'D', {}), ('Solaris list', b'A', {}), ('type nobody knows', b'Z', {}), ('type of a byte', b'\xff', {}),
    ('type of one', b'\x01', {}), ('file with a link', b'0', LINK),
):
    archives('bad-entry-type malformed-bundle', f'a {title}', with_entry('zz', b'', kind=kind, **fields))
    archives('bad-entry-type malformed-bundle bad-entry-name duplicate-entry trailing-data', f'a {title} with data',
             with_entry('zz', b'x' * 512, kind=kind, **fields))
archives('bad-entry-type malformed-bundle', 'a header without a magic', with_entry('zz', magic=bytes(8)))
archives('bad-entry-type malformed-bundle', 'a header with another magic', with_entry('zz', magic=b'tar\0\0\0\0\0'))

for title, before in {
    'a path': hostile.pax({'path': '../../../etc/cron.d/x'}),
    'the same path': hostile.pax({'path': 'zz'}),
    'a path with a NUL': hostile.pax({'path': b'zz\0/x'}),
    'a size': hostile.pax({'size': '4294967297'}),
    'a size below nothing': hostile.pax({'size': '-1'}),
    'a file capability': hostile.pax({'SCHILY.xattr.security.capability': b'\x01\0\0\x02' + b'\xff' * 16}),
    'an access list': hostile.pax({'SCHILY.acl.access': 'user::rwx,group::rwx,other::rwx'}),
    'a link': hostile.pax({'linkpath': '/etc/shadow'}),
    'an owner': hostile.pax({'uid': '1000', 'uname': 'nobody'}),
    'a sparse map': hostile.pax({'GNU.sparse.major': '1', 'GNU.sparse.minor': '0', 'GNU.sparse.name': 'zz', 'GNU.sparse.realsize': '99999'}),
    'a character set': hostile.pax({'hdrcharset': 'BINARY'}),
    'a path for all': hostile.pax({'path': 'zz'}, kind=b'g'),
    'a comment for all': hostile.pax({'comment': 'x'}, kind=b'g'),
    'nothing, twice': hostile.pax({}) + hostile.pax({}),
    'rubbish': hostile.entry('PaxHeader', b'99999 path=x\n', kind=b'x'),
    'a long name': hostile.entry('././@LongLink', b'../../etc/passwd\0', kind=b'L'),
    'a long link': hostile.entry('././@LongLink', b'/etc/passwd\0', kind=b'K'),
    'a megabyte of a path': hostile.pax({'path': 'z' * MIB}),
}.items():
    archives('bad-entry-type malformed-bundle bad-entry-name', f'an extended header with {title}', with_entry('zz', before=before))


for title, block in {'a volume label': hostile.entry('label', kind=b'V'), 'an extended header': hostile.pax({'path': 'zz'}),
                     'an extended header for all': hostile.pax({'comment': 'x'}, kind=b'g')}.items():
    archives('bad-entry-type malformed-bundle', f'{title} behind the last entry', lambda files, block=block: [*files.items(), block])


@case('bad-entry-type', 'an extended header before the first entry')
def extended_first(place):
    files = hostile.files(place.addon())
    place.refuses('bad-entry-type malformed-bundle', 'install',
                  place.bundle(data=hostile.zstd(hostile.pax({'comment': 'x'}, kind=b'g') + hostile.tar(files))))


# --- what must be there ---------------------------------------------------------------------------


@case('missing-entry', 'a bundle without its program, its schema or its units')
def incomplete(place):
    for missing in (place.id, 'config.schema.json', f'affix-{place.id}.service'):
        files = {name: data for name, data in hostile.files(place.addon()).items() if name != missing}
        bundle = place.bundle(data=hostile.zstd(hostile.tar(files)))
        place.refuses('missing-entry', 'install', bundle)
        examine(place, bundle, 'missing-entry')


@case('missing-entry', 'a timer add-on without a timer, or without a service')
def no_timer(place):
    addon = place.addon(supervision='systemd-timer', timer={'OnCalendar': 'hourly'})
    for missing in ('.timer', '.service'):
        files = {name: data for name, data in hostile.files(addon).items() if not name.endswith(missing)}
        place.refuses('missing-entry', 'install', place.bundle(data=hostile.zstd(hostile.tar(files))))


# --- programs -------------------------------------------------------------------------------------

OTHER = hostile.OTHER_ARCH[fixture.ARCH]
BIG_ENDIAN = hostile.elf(order=2)[:16] + struct.pack('>HH', 3, hostile.MACHINES[fixture.ARCH]) + hostile.elf()[20:]

for title, binary in {
    'a script': b'#!/bin/sh\nexec sleep 1000\n',
    'empty': b'',
    'the first bytes of a program': hostile.elf(size=0)[:63],
    'for another machine': hostile.elf(OTHER),
    'for no machine': hostile.elf(machine=0),
    'for a machine of 32 bits': hostile.elf(machine=3, elf_class=1),
    'of 32 bits': hostile.elf(elf_class=1),
    'of class 0': hostile.elf(elf_class=0),
    'big-endian by its mark': hostile.elf(order=2),
    'big-endian': BIG_ENDIAN,
    'of FreeBSD': hostile.elf(abi=9),
    'an object file': hostile.elf(kind=1),
    'a core dump': hostile.elf(kind=4),
    'of macOS': b'\xcf\xfa\xed\xfe' + bytes(4092),
    'of Windows': b'MZ' + bytes(4094),
}.items():
    @case('wrong-elf', f'a program that is {title}', dense=True)
    def wrong_program(place, binary=binary):
        addon = place.addon()
        bundle = place.bundle(data=hostile.zstd(hostile.tar(hostile.files(addon, binary))))
        place.refuses('wrong-elf', 'install', bundle)
        done = fixture.affix(['verify', '-p', place.work.public, bundle])
        place.test.assertTrue(done.returncode == 1 and done.stderr.startswith('wrong-elf: '), done)
        place.test.assertIn(fixture.affix(['inspect', bundle]).returncode, (0, 1))
        built(place, addon, binary)


def built(place, addon, binary):
    """What is no program for the machine is not built either, and nothing is left of the try."""
    source, out, program = (place.work.fresh(name) for name in ('source', 'out', 'program'))
    addon.write(source)
    out.mkdir()
    program.write_bytes(binary)
    done = fixture.affix(['build', source, '--bin', f'linux/{fixture.ARCH}={program}', '-o', out])
    place.test.assertEqual((done.returncode, list(out.iterdir())), (1, []), done)


@case('wrong-platform', 'a bundle for another architecture')
def other_platform(place):
    bundle = place.bundle(data=hostile.zstd(hostile.tar(hostile.files(place.addon(), hostile.elf(OTHER)))), arch=OTHER)
    place.refuses('wrong-platform', 'install', bundle)
    # It is a good bundle, for another host.
    place.test.assertEqual(fixture.affix(['verify', '-p', place.work.public, bundle]).returncode, 0)


@case('wrong-platform', 'a bundle for this machine that is signed for another')
def claimed_platform(place):
    place.refuses('wrong-platform', 'install', place.bundle(arch=OTHER))
